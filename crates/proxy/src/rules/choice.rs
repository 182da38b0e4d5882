//! `use_backend`, `default_backend`, `use-server`.

use std::cell::Cell;

use super::{UseBackendRule, UseServerRule, with_rendered};
use crate::expr::{ConditionIndex, LogFormat};
use crate::model::{Proxy, ProxyId, ServerId};
use crate::stream::{Context, Direction, Stream};

/// What `use_backend` names.
#[derive(Debug)]
pub enum BackendChoice {
    Static(ProxyId),
    /// `use_backend %[…]`: evaluated per request; a name that does not exist passes to the next rule.
    Dynamic(LogFormat),
}

/// What `use-server` names.
#[derive(Debug)]
pub enum ServerChoice {
    Static(ServerId),
    /// A name that does not exist leaves the choice to others.
    Dynamic(LogFormat),
}

/// The `use_backend` rules of a frontend, in order, and an index over their conditions.
#[derive(Debug, Default)]
pub struct Routes {
    rules: Vec<UseBackendRule>,
    index: Option<ConditionIndex>,
}

impl Routes {
    /// Rules that are complete: nothing may be added to the ACLs that they name.
    pub fn new(rules: Vec<UseBackendRule>) -> Self {
        let index = ConditionIndex::build(rules.iter().map(|rule| rule.condition.as_ref()));
        Self { rules, index }
    }

    /// The rules, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, UseBackendRule> {
        self.rules.iter()
    }

    /// The backend that the first rule names whose condition holds.
    pub fn choose(&self, stream: &Stream) -> Option<ProxyId> {
        match self.possible(stream) {
            Some(places) => {
                places.iter().find_map(|place| self.rules.get(*place as usize)?.backend(stream))
            }
            None => self.rules.iter().find_map(|rule| rule.backend(stream)),
        }
    }

    /// The places of the rules whose conditions may hold; `None` where each has to be tried.
    pub(super) fn possible(&self, stream: &Stream) -> Option<Vec<u32>> {
        let waits = Cell::new(false);
        self.index.as_ref()?.possible(&Context::for_stream(stream, Direction::Request, &waits))
    }

    #[cfg(test)]
    pub(super) fn holds(&self, place: u32, stream: &Stream) -> bool {
        self.rules[place as usize].applies(stream, Direction::Request)
    }
}

impl UseBackendRule {
    /// The backend that it names, if its condition holds.
    fn backend(&self, stream: &Stream) -> Option<ProxyId> {
        if !self.applies(stream, Direction::Request) {
            return None;
        }
        match &self.action {
            BackendChoice::Static(backend) => Some(*backend),
            BackendChoice::Dynamic(name) => with_rendered(name, stream, |name| {
                stream.snapshot.backend(std::str::from_utf8(name).ok()?)
            }),
        }
    }
}

/// The backend of a frontend's stream: `use_backend` in order, then `default_backend`, then the proxy itself if it has
/// servers.
pub fn choose_backend_of(stream: &Stream, proxy: &Proxy) -> Option<ProxyId> {
    let frontend = proxy.frontend.as_ref()?;
    let routed = frontend.use_backend.choose(stream);
    routed
        .or(frontend.default_backend)
        .or_else(|| proxy.backend.is_some().then_some(stream.frontend))
}

/// Has `takes` try the server of each `use-server` rule whose condition holds, until it takes one. A rule that names
/// none by its expression ends the search.
pub fn choose_server(
    rules: &[UseServerRule],
    stream: &mut Stream,
    mut takes: impl FnMut(&mut Stream, ServerId) -> bool,
) {
    for rule in rules {
        if !rule.applies(stream, Direction::Request) {
            continue;
        }
        let server = match &rule.action {
            ServerChoice::Static(server) => Some(*server),
            ServerChoice::Dynamic(name) => with_rendered(name, stream, |name| {
                let backend = stream.snapshot.proxy(stream.backend).backend.as_ref()?;
                let mut servers = backend.servers.iter();
                let found = servers.position(|server| server.name.as_bytes() == name);
                found.map(|index| ServerId(index as u32))
            }),
        };
        if server.is_none_or(|server| takes(stream, server)) {
            return;
        }
    }
}
