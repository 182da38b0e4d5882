//! Which server a stream is bound to before the strategy is asked, and whether it stays so.
//!
//! ```text
//! begin: force-persist, ignore-persist        when the backend is chosen, before its rules
//! choose: use-server                          when they are through; the first that binds wins
//! ```
//!
//! Each source calls [`bind`] for the server it names and leaves a stream that is bound already alone. `dial` asks the
//! pool for that server; a redispatch gives the binding up ([`Persistence::give_up`]). Source: HAProxy configuration
//! manual, `use-server`, `force-persist`, `ignore-persist`, `option persist`, `option redispatch`.

use telamon_balance::{MemberId, Pinned};

use crate::model::{Backend, Proxy, ServerId};
use crate::rules;
use crate::stream::{Direction, Stream};

/// What persistence has to say about one stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Persistence {
    /// The server that it is bound to, until a redispatch.
    server: Option<ServerId>,
    rule: Option<PersistRule>,
}

/// What the first `force-persist` or `ignore-persist` rule says whose condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersistRule {
    /// A server that is down is tried all the same.
    Force,
    /// Cookies are not looked at; `use-server` and stick tables are.
    Ignore,
}

impl Persistence {
    /// Gives up the binding: the strategy chooses.
    pub(crate) fn give_up(&mut self) {
        self.server = None;
    }

    /// The server that the stream is bound to.
    pub(crate) fn server(&self) -> Option<ServerId> {
        self.server
    }

    /// Whether `force-persist` applies: the stream does not leave its server.
    pub(crate) fn is_forced(&self) -> bool {
        self.rule == Some(PersistRule::Force)
    }

    /// What the pool is asked for.
    pub(crate) fn pinned(&self, proxy: &Proxy) -> Option<Pinned> {
        let ServerId(index) = self.server?;
        Some(Pinned { member: MemberId(index), force: proxy.options.persist || self.is_forced() })
    }
}

/// The stream has come to a backend.
pub(crate) fn begin(stream: &mut Stream, backend: &Backend) {
    let mut rules = backend.persist_rules.iter();
    let rule = rules.find(|rule| rule.applies(stream, Direction::Request));
    stream.persistence = Persistence { server: None, rule: rule.map(|rule| rule.action) };
}

/// Binds the stream to a server, if there is one it is to go to. Its rules are through, and its head can be edited.
pub(crate) fn choose(stream: &mut Stream, proxy: &Proxy, backend: &Backend) {
    rules::choose_server(&backend.use_server, stream, |stream, server| {
        bind(stream, proxy, backend, server)
    });
}

/// Binds the stream to `server` unless that is down and nothing says to stay with it. Says whether it is.
///
/// A stream that is bound already is not to come here.
pub(crate) fn bind(
    stream: &mut Stream,
    proxy: &Proxy,
    backend: &Backend,
    server: ServerId,
) -> bool {
    let Some(found) = backend.servers.get(server.0 as usize) else { return false };
    let stays = proxy.options.persist || stream.persistence.is_forced();
    let binds = stays || found.state.member.is_reachable();
    if binds {
        stream.persistence.server = Some(server);
    }
    binds
}
