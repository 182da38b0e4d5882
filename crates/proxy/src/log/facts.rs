//! Where the variables of a line come from.

use std::sync::OnceLock;
use std::time::SystemTime;

use telamon_runtime::{Endpoint, Moment};

use super::date::Stamp;
use super::variable::{Facts, Peer};
use crate::model::{Mode, Model, PersistenceCookie, Proxy};
use crate::stream::{CheckSight, Context, LogState, Session, Stream};

impl<'a> Facts<'a> {
    /// All that is known in a context; `None` where nobody is served and nothing checked.
    pub(crate) fn of(cx: &Context<'a>) -> Option<Self> {
        let Some(session) = cx.session else {
            return cx.check.map(|check| Self::of_check(cx.model, check));
        };
        Some(match cx.stream {
            Some(stream) => Self::of_stream(session, stream),
            None => {
                let now = session.accepted.elapsed();
                let mut log = LogState::new(session.accepted, session.accepted_at);
                log.total_ms = Some(u32::try_from(now.as_millis()).unwrap_or(u32::MAX));
                Self::of_session(cx.model, session, &log)
            }
        })
    }

    pub(super) fn of_stream(session: &'a Session, stream: &'a Stream) -> Self {
        let model: &'a Model = &stream.snapshot;
        let backend = model.proxy(stream.backend);
        let server = stream
            .server
            .and_then(|server| backend.backend.as_ref()?.servers.get(server.0 as usize));
        let facts = Self::of_session(model, session, &stream.log);
        let cookie = backend.backend.as_ref().and_then(|backend| backend.cookie.as_ref());
        let handles_cookie =
            backend.mode == Mode::Http && cookie.is_some_and(PersistenceCookie::is_handled);
        let unanswered = stream.log.status == 0 && stream.request.is_complete();
        Self {
            server_source: peer(stream.log.server_source.as_ref()),
            server_address: peer(stream.log.server_address.as_ref()),
            backend: &backend.name,
            backend_http: backend.mode == Mode::Http,
            server: server.map_or(stream.log.service.unwrap_or("<NOSRV>"), |server| &server.name),
            cookies: [0, 1].map(|which| stream.cookie_captures[which].as_deref()),
            cookie_state: if handles_cookie { stream.persistence.cookie.letters() } else { *b"--" },
            backend_active: u64::from(backend.state.backend.load.current()),
            server_active: server.map_or(0, |server| u64::from(server.state.member.load.current())),
            request_captures: &stream.request_captures,
            response_captures: &stream.response_captures,
            request_line: (!stream.request_line.is_empty()).then_some(&stream.request_line[..]),
            unique_id: stream.unique_id.get().map(|id| &**id),
            status: if unanswered { -1 } else { facts.status },
            ..facts
        }
    }

    /// For a health check: what is known of its server, and of the process.
    fn of_check(model: &'a Model, check: &CheckSight<'_>) -> Self {
        let proxy = model.proxy(check.backend);
        let server = model.server(check.backend, check.server);
        let address = server.and_then(|server| peer(Some(&server.state.address().endpoint)));
        Self {
            server_address: address,
            server: server.map_or("<NOSRV>", |server| &server.name),
            active: 0,
            frontend_active: u64::from(proxy.state.frontend.load.current()),
            backend_active: u64::from(proxy.state.backend.load.current()),
            server_active: server.map_or(0, |s| u64::from(s.state.member.load.current())),
            ..Self::of_proxy(proxy, &LogState::new(Moment::now(), SystemTime::now()))
        }
    }

    /// For a session that never had a stream.
    pub(super) fn of_session(model: &'a Model, session: &'a Session, log: &LogState) -> Self {
        let frontend = model.proxy(session.frontend);
        Self {
            client: peer(Some(&session.src.borrow())),
            local: peer(Some(&session.dst.borrow())),
            listener: session.listener.number,
            tls: session.root().tls.get().map(|tls| &**tls),
            active: u64::from(session.worker.shared.connections.used()),
            frontend_active: u64::from(frontend.state.frontend.load.current()),
            ..Self::of_proxy(frontend, log)
        }
    }

    /// What a proxy and the state of a log line tell.
    fn of_proxy(frontend: &'a Proxy, log: &LogState) -> Self {
        Self {
            client: None,
            local: None,
            listener: 0,
            tls: None,
            server_source: None,
            server_address: None,
            frontend: &frontend.name,
            backend: &frontend.name,
            backend_http: frontend.mode == Mode::Http,
            server: "<NOSRV>",
            started: Stamp::from(log.started_at),
            handshake_ms: log.handshake_ms,
            idle_ms: log.idle_ms,
            request_ms: log.request_ms,
            queue_ms: log.queue_ms,
            connect_ms: log.connect_ms,
            response_ms: log.response_ms,
            total_ms: log.total_ms.unwrap_or(0),
            bytes_in: log.bytes_in,
            bytes_out: log.bytes_out,
            early: frontend.options.logasap,
            status: i32::from(log.status),
            cookies: [None, None],
            cause: log.cause,
            phase: log.phase,
            cookie_state: *b"--",
            active: 0,
            frontend_active: 0,
            backend_active: 0,
            server_active: 0,
            retries: log.retries,
            redispatched: log.redispatched,
            server_queue: log.server_queue,
            backend_queue: log.backend_queue,
            request_captures: &[],
            response_captures: &[],
            request_line: None,
            number: log.number,
            line: frontend.log.lines.get(),
            hostname: hostname(),
            pid: pid(),
            unique_id: None,
        }
    }
}

/// The name of this machine, as `uname -n` says it.
pub(crate) fn hostname() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

pub(crate) fn pid() -> u32 {
    std::process::id()
}

fn peer(endpoint: Option<&Endpoint>) -> Option<Peer> {
    Some(match endpoint? {
        Endpoint::Inet(address) => Peer::Ip(*address),
        _ => Peer::Unix,
    })
}
