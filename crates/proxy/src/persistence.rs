//! Which server a stream is bound to before the strategy is asked, and whether it stays so.
//!
//! ```text
//! begin: force-persist, ignore-persist        when the backend is chosen, before its rules
//! choose: use-server > cookie > stick         when they are through; the first that binds wins
//! server: dial asks the pool for that server; a redispatch gives the binding up
//! response: what the answer sets
//! ```
//!
//! Each source calls [`Persistence::bind`] for the server it names and leaves a stream that is bound already alone.
//! Source: HAProxy configuration manual, `use-server`, `cookie`, `force-persist`, `ignore-persist`, `option persist`,
//! `option redispatch`.

use telamon_balance::{MemberId, Pinned};

use crate::model::{Backend, Mode, Proxy, ServerId};
use crate::rules;
use crate::stream::{Direction, Stream};

mod cookie;

pub(crate) use cookie::response;
use cookie::{CookieState, RequestCookie};

/// What persistence has to say about one stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Persistence {
    /// The server that it is bound to, until a redispatch.
    server: Option<ServerId>,
    rule: Option<PersistRule>,
    pub(crate) cookie: CookieState,
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
    /// Binds to `server` unless that is down and nothing says to stay with it. Says whether it is bound.
    ///
    /// To be called while it is not bound.
    pub(crate) fn bind(&mut self, proxy: &Proxy, backend: &Backend, server: ServerId) -> bool {
        let Some(found) = backend.servers.get(server.0 as usize) else { return false };
        let stays = proxy.options.persist || self.is_forced();
        let binds = stays || found.state.member.is_reachable();
        if binds {
            self.server = Some(server);
        }
        binds
    }

    /// Gives up the binding: the strategy chooses.
    pub(crate) fn give_up(&mut self) {
        self.server = None;
    }

    /// It went to another server than the one it was bound to, or had come from.
    pub(crate) fn moved(&mut self) {
        self.server = None;
        if self.cookie.request == RequestCookie::Valid {
            self.cookie.request = RequestCookie::Down;
        }
    }

    /// The server that the stream is bound to.
    pub(crate) fn server(&self) -> Option<ServerId> {
        self.server
    }

    /// Whether `force-persist` applies: the stream does not leave its server.
    pub(crate) fn is_forced(&self) -> bool {
        self.rule == Some(PersistRule::Force)
    }

    /// Whether `ignore-persist` applies.
    fn is_ignored(&self) -> bool {
        self.rule == Some(PersistRule::Ignore)
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
    stream.persistence =
        Persistence { rule: rule.map(|rule| rule.action), ..Persistence::default() };
}

/// Binds the stream to a server, if there is one it is to go to. Its rules are through, and its head can be edited.
pub(crate) fn choose(stream: &mut Stream, proxy: &Proxy, backend: &Backend) {
    rules::choose_server(&backend.use_server, stream, |stream, server| {
        stream.persistence.bind(proxy, backend, server)
    });
    look_at_cookie(stream, proxy, backend);
    if !backend.stick_request.is_empty() {
        crate::sticking::choose(stream, proxy, backend);
    }
}

/// A rule refuses the request: the log tells of its cookie all the same, and of the server that this names.
pub(crate) fn refused(stream: &mut Stream) {
    let snapshot = stream.snapshot.clone();
    let proxy = snapshot.proxy(stream.backend);
    crate::log::capture_cookie(stream);
    if let Some(backend) = &proxy.backend {
        look_at_cookie(stream, proxy, backend);
        stream.server = stream.persistence.server();
    }
}

fn look_at_cookie(stream: &mut Stream, proxy: &Proxy, backend: &Backend) {
    if let Some(cookie) = &backend.cookie
        && proxy.mode == Mode::Http
    {
        cookie::request(stream, proxy, backend, cookie);
    }
}
