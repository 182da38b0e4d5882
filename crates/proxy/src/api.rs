//! Commands of the stats sockets that look at or change the proxy. Their words and answers are HAProxy 2.6's.
//!
//! Each file has the commands on one thing: how they are written and what they do. A command runs on the control
//! thread; what belongs to the workers (sessions, listening sockets) is asked of them by mail. What HAProxy offers and
//! is not there yet ([`absent`]) says so in one line. `show info`, `show stat` and the commands about the socket itself
//! are the console's.

mod absent;
mod cookies;
mod counters;
mod errors;
mod frontends;
mod lists;
mod names;
mod outliers;
mod servers;
mod sessions;
mod ssl;
mod tables;
#[cfg(test)]
mod tests;
mod variables;

use std::sync::Arc;

use telamon_balance::health::Forced;
use telamon_balance::stats::{ActError, Action};
use telamon_runtime::api::{Answer, Command, Invocation, Level};

pub(crate) use self::frontends::tell as tell_frontend;
use crate::model::{Model, Proxy, ProxyId, Server, ServerId};
use crate::snapshot::Snapshot;
use crate::state_change::{self, Order, Place};
use crate::view::View;

/// All commands of the proxy.
pub fn commands(view: &View) -> Vec<Command> {
    let tables = [
        servers::COMMANDS,
        frontends::COMMANDS,
        cookies::COMMANDS,
        sessions::COMMANDS,
        tables::COMMANDS,
        lists::COMMANDS,
        names::COMMANDS,
        variables::COMMANDS,
        counters::COMMANDS,
        errors::COMMANDS,
        outliers::COMMANDS,
        absent::COMMANDS,
    ];
    let rows = tables.into_iter().chain(ssl::COMMANDS).flatten();
    rows.map(|row| {
        let (view, run) = (view.clone(), row.run);
        Command {
            words: row.words,
            level: row.level,
            usage: row.usage,
            help: row.help,
            run: Box::new(move |call| run(&view, call).unwrap_or_else(Answer::Failure)),
        }
    })
    .collect()
}

/// One row of a table of commands.
pub(crate) struct Row {
    words: &'static [&'static str],
    level: Level,
    usage: &'static str,
    help: &'static str,
    run: Run,
}

/// What a command does; the error is the text that says why it was not done.
type Run = fn(&View, &Invocation<'_>) -> Result<Answer, String>;

const fn row(
    words: &'static [&'static str],
    level: Level,
    usage: &'static str,
    help: &'static str,
    run: Run,
) -> Row {
    Row { words, level, usage, help, run }
}

/// Does what the status page asks of a server.
pub(crate) fn act(
    view: &View,
    backend: &str,
    server: &str,
    action: &Action,
) -> Result<(), ActError> {
    let target = Target::find(view, backend, server).map_err(|missing| match missing {
        Missing::Backend => ActError::UnknownBackend,
        Missing::Server => ActError::UnknownServer,
    })?;
    let checked = target.server().check.is_some();
    let has_agent = target.server().agent.is_some();
    let health = |forced| {
        if target.server().tracks.is_some() {
            return Err(ActError::NotPossible);
        }
        target.order(view, Order::Health(forced));
        Ok(())
    };
    match action {
        Action::Ready => target.order(view, Order::Ready),
        Action::Drain => target.order(view, Order::Drain),
        Action::Maintenance => target.order(view, Order::Maintenance),
        Action::Weight(text) => {
            servers::set_weight(view, &target, text).map_err(|_| ActError::BadWeight)?;
        }
        Action::DisableChecks if checked => target.set_checks(false),
        Action::EnableChecks if checked => target.set_checks(true),
        Action::ForceUp if checked => health(Forced::Up)?,
        Action::ForceStopping if checked => health(Forced::Stopping)?,
        Action::ForceDown if checked => health(Forced::Down)?,
        Action::DisableAgent if has_agent => target.set_agent(view, false),
        Action::EnableAgent if has_agent => target.set_agent(view, true),
        Action::AgentUp if target.has_agent() => target.order(view, Order::Agent { up: true }),
        Action::AgentDown if target.has_agent() => target.order(view, Order::Agent { up: false }),
        Action::KillSessions => sessions::kill_on(view, backend, server),
        _ => return Err(ActError::NotPossible),
    }
    Ok(())
}

/// A server that a command is about, in the configuration in force.
struct Target {
    snapshot: Arc<Snapshot>,
    place: Place,
}

/// `#N`, which names a proxy or a server by its id.
fn number(word: &str) -> Option<u32> {
    word.strip_prefix('#')?.parse().ok()
}

/// What was not found.
enum Missing {
    Backend,
    Server,
}

impl Target {
    /// The server that `backend/server` names.
    fn parse(view: &View, word: Option<&&str>) -> Result<Self, String> {
        let (backend, server) = word
            .and_then(|word| word.split_once('/'))
            .ok_or_else(|| "Require 'backend/server'.\n".to_owned())?;
        Self::find(view, backend, server).map_err(|missing| match missing {
            Missing::Backend => "No such backend.\n".to_owned(),
            Missing::Server => "No such server.\n".to_owned(),
        })
    }

    fn find(view: &View, backend: &str, server: &str) -> Result<Self, Missing> {
        let snapshot = view.snapshot();
        let model = &snapshot.model;
        let proxy = match number(backend) {
            Some(number) => {
                let named =
                    |(_, proxy): &(_, &Proxy)| proxy.backend.is_some() && proxy.number == number;
                model.numbered().find(named).map(|(id, _)| id)
            }
            None => model.backend(backend),
        };
        let proxy = proxy.ok_or(Missing::Backend)?;
        let mut servers = model.proxy(proxy).backend.iter().flat_map(|backend| &backend.servers);
        let index = match number(server) {
            Some(number) => servers.position(|known| known.number == number),
            None => servers.position(|known| &*known.name == server),
        };
        let server = ServerId(index.ok_or(Missing::Server)? as u32);
        Ok(Self { snapshot, place: Place { proxy, server } })
    }

    fn model(&self) -> &Model {
        &self.snapshot.model
    }

    fn proxy(&self) -> &Proxy {
        self.model().proxy(self.place.proxy)
    }

    fn server(&self) -> &Server {
        let backend = self.proxy().backend.as_ref().expect("found as a backend");
        &backend.servers[self.place.server.0 as usize]
    }

    fn order(&self, view: &View, order: Order) {
        let cause = if matches!(order, Order::Health(_) | Order::Agent { .. }) {
            "changed from CLI"
        } else {
            ""
        };
        state_change::order(&view.shared, &self.snapshot, self.place, order, cause);
    }

    /// Whether it has an agent that is switched on.
    fn has_agent(&self) -> bool {
        self.server().agent.is_some() && !self.server().state.probing().agent_disabled
    }

    fn set_agent(&self, view: &View, enabled: bool) {
        state_change::set_agent(&view.shared, &self.snapshot, self.place, enabled);
    }

    fn set_checks(&self, enabled: bool) {
        let state = &self.server().state;
        state.checks_disabled.store(!enabled, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The backends that a dump is about: the one that is named, or all.
fn backends<'m>(
    model: &'m Model,
    name: Option<&&str>,
) -> Result<impl Iterator<Item = &'m Proxy> + use<'m>, String> {
    let only = match name {
        Some(name) => Some(model.backend(name).ok_or("Can't find backend.\n")?),
        None => None,
    };
    let ids = (0..).map(ProxyId);
    let proxies = model.proxies.iter().zip(ids);
    Ok(proxies
        .filter(move |(proxy, id)| {
            proxy.backend.is_some() && !proxy.disabled && only.is_none_or(|only| only == *id)
        })
        .map(|(proxy, _)| proxy))
}

/// Nothing to say: it is done.
fn done() -> Result<Answer, String> {
    Ok(Answer::Text(String::new()))
}

fn text(text: impl Into<String>) -> Result<Answer, String> {
    Ok(Answer::Text(text.into()))
}

/// Bytes of peers in an answer.
fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
