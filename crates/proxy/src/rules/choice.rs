//! `use_backend`, `default_backend`, `use-server`.

use super::{UseBackendRule, UseServerRule, with_rendered};
use crate::expr::LogFormat;
use crate::model::{Proxy, ProxyId, ServerId};
use crate::stream::{Direction, Stream};

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

/// The backend that the first `use_backend` rule names whose condition holds.
pub fn choose_backend(rules: &[UseBackendRule], stream: &Stream) -> Option<ProxyId> {
    let holding = rules.iter().filter(|rule| rule.applies(stream, Direction::Request));
    holding.into_iter().find_map(|rule| match &rule.action {
        BackendChoice::Static(backend) => Some(*backend),
        BackendChoice::Dynamic(name) => with_rendered(name, stream, |name| {
            stream.snapshot.backend(std::str::from_utf8(name).ok()?)
        }),
    })
}

/// The backend of a frontend's stream: `use_backend` in order, then `default_backend`, then the proxy itself if it has
/// servers.
pub fn choose_backend_of(stream: &Stream, proxy: &Proxy) -> Option<ProxyId> {
    let frontend = proxy.frontend.as_ref()?;
    choose_backend(&frontend.use_backend, stream)
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
