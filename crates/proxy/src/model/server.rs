use std::net::IpAddr;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::sync::Arc;

use telamon_balance::Run;
use telamon_config::Location;

use super::{AgentCheck, HttpVersion, ServerCheck};
use crate::check::CheckStatus;
use crate::state::ServerState;

/// One `server` line, or one of a `server-template`'s.
#[derive(Debug)]
pub struct Server {
    pub name: Arc<str>,
    /// Its place in [`Backend::servers`](super::Backend::servers).
    pub index: u32,
    /// HAProxy's numeric id (`id`, else counted from 1).
    pub number: u32,
    /// It was written (`id`).
    pub has_own_number: bool,
    pub at: Location,
    /// The address as written; what it resolves to now is in the state, which the socket can change.
    pub address: ServerAddress,
    /// How its address is found out while traffic flows (`resolvers`).
    pub resolution: Option<super::Resolution>,
    pub check: Option<ServerCheck>,
    /// `ssl`: how connections to it are encrypted; `None` speaks plain text.
    pub tls: Option<Arc<super::ServerTls>>,
    /// How checks are encrypted; `None` checks in plain text.
    pub check_tls: Option<Arc<super::CheckTls>>,
    /// `proto`: the protocol where ALPN does not say.
    pub protocol: Option<super::HttpVersion>,
    /// `ws`: the protocol of WebSockets; `None` takes that of other requests (`ws auto`).
    pub websocket: Option<super::HttpVersion>,
    pub agent: Option<AgentCheck>,
    /// `rise`, which dumps of states show also where nothing is checked; 2 unless set.
    pub rise: u16,
    /// `slowstart`: seconds from coming up to its full weight; 0 is at once.
    pub slow_start_s: u32,
    /// `disabled`: starts in maintenance.
    pub disabled: bool,
    /// Its name has no address yet (`init-addr none`, `-dr`): it is in maintenance until the socket gives it one.
    pub unresolved: bool,
    /// What `weight`, `maxconn`, `minconn`, `maxqueue`, `backup` and `id` say; the state's member has it applied.
    pub member_config: telamon_balance::MemberConfig,
    /// How connections to it are opened: `source`, keep-alive, `tcp-ut` and the like, of the server and its backend.
    pub connect: telamon_runtime::ConnectOptions,
    /// `pool-max-conn`: idle connections kept, over all workers; `None` is no limit.
    pub pool_max_conn: Option<u32>,
    /// `pool-low-conn`: below this many idle connections a worker takes none from another.
    pub pool_low_conn: u32,
    /// `pool-purge-delay`: how long an idle connection is kept; default 5 s.
    pub pool_purge_delay: std::time::Duration,
    /// `max-reuse`: requests that one connection may carry after its first; `None` is no limit.
    pub max_reuse: Option<u32>,
    /// `send-proxy` and its kin; `None` sends no header.
    pub send_proxy: Option<SendProxy>,
    /// `observe`, and `outlier-ejection` of its backend; `None` where nothing is to be learnt.
    pub learning: Option<crate::learn::Learning>,
    /// `on-marked-down shutdown-sessions`
    pub shuts_down: bool,
    /// `on-marked-up shutdown-backup-sessions`
    pub takes_back: bool,
    /// `redir PREFIX`: clients are redirected instead of relayed.
    pub redir: Option<Box<[u8]>>,
    /// What a former process wrote of it, for its first state.
    pub saved: Option<Box<SavedState>>,
    /// `track BACKEND/SERVER` is resolved at load; checks of that server decide this one's health.
    pub tracks: Option<(super::ProxyId, super::ServerId)>,
    /// Those that track this one; [`Model::link_trackers`](super::Model::link_trackers) fills it.
    pub trackers: Vec<(super::ProxyId, super::ServerId)>,
    /// `non-stick`: stick tables do not remember it.
    pub non_stick: bool,
    /// `cookie VALUE`, which is stronger than a dynamic one; [`Server::cookie`] is the one in use.
    pub written_cookie: Option<Box<[u8]>>,
    /// Weight, limits, health, load, counters and current address, shared with every worker.
    pub state: Arc<ServerState>,
}

/// The versions of HTTP that a request may go to a server in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speech {
    pub(crate) http1: bool,
    pub(crate) http2: bool,
    /// TLS decides, of what is offered.
    pub(crate) negotiated: bool,
    /// Not all of what the line offers is offered.
    pub(crate) narrowed: bool,
}

impl Speech {
    pub(crate) const HTTP1: Self =
        Self { http1: true, http2: false, negotiated: false, narrowed: false };
    pub(crate) const HTTP2: Self = Self { http1: false, http2: true, ..Self::HTTP1 };
}

impl Server {
    /// What this request may go to it in. WebSockets need not go where the others go.
    pub(crate) fn speech(&self, request: &telamon_http_proto::Head) -> Speech {
        if self.protocol.is_none() && self.tls.is_none() && self.websocket.is_none() {
            return Speech::HTTP1;
        }
        let websocket = request.wants_upgrade() && crate::http::websocket::is_websocket(request);
        let offered = self.tls.as_ref().and_then(|tls| tls.connector.spec().offer.alpn.as_deref());
        let Some(offered) = offered.filter(|_| self.protocol.is_none()) else {
            let asked = self.websocket.filter(|_| websocket).or(self.protocol);
            return if asked == Some(HttpVersion::Http2) { Speech::HTTP2 } else { Speech::HTTP1 };
        };
        let offers = |name: &[u8]| offered.iter().any(|offer| offer[..] == *name);
        let narrowed = match self.websocket {
            _ if !websocket => None,
            None if offers(b"http/1.1") => Some(HttpVersion::Http1),
            asked => asked,
        };
        Speech {
            http1: narrowed != Some(HttpVersion::Http2),
            http2: narrowed.map_or(offers(b"h2"), |version| version == HttpVersion::Http2),
            negotiated: true,
            narrowed: narrowed.is_some(),
        }
    }

    /// The value of the backend's `cookie` that means this server.
    pub fn cookie(&self) -> Option<ServerCookie<'_>> {
        match &self.written_cookie {
            Some(value) => Some(ServerCookie::Written(value)),
            None => self.state.dynamic_cookie().map(ServerCookie::dynamic),
        }
    }
}

/// A server's value of its backend's cookie.
#[derive(Debug, Clone, Copy)]
pub enum ServerCookie<'s> {
    Written(&'s [u8]),
    Dynamic([u8; 16]),
}

impl ServerCookie<'_> {
    fn dynamic(value: NonZeroU64) -> Self {
        let digit = |at: u32| b"0123456789abcdef"[(value.get() >> (60 - 4 * at) & 15) as usize];
        let mut at = 0..;
        Self::Dynamic([0; 16].map(|_: u8| at.next().map_or(b'0', digit)))
    }
}

impl Deref for ServerCookie<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Written(value) => value,
            Self::Dynamic(digits) => digits,
        }
    }
}

/// The header of the PROXY protocol that connections to a server begin with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendProxy {
    /// `send-proxy-v2`; else version 1.
    pub version_2: bool,
    /// What version 2 carries besides the addresses (`proxy-v2-options`, `send-proxy-v2-ssl`).
    pub checksum: bool,
    pub unique_id: bool,
    /// The host that the client asked for.
    pub authority: bool,
    /// Whether the client came by TLS, and of that what follows.
    pub tls: bool,
    /// The common name of its certificate.
    pub tls_name: bool,
    /// The key of ours, and how it was signed.
    pub tls_key: bool,
    pub tls_signature: bool,
    pub tls_cipher: bool,
}

/// What a file of states has of a server (`load-server-state-from-file`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    pub run: Run,
    pub maintenance_forced: bool,
    pub maintenance_configured: bool,
    pub drain_forced: bool,
    pub weight: u32,
    /// The configuration's weight then.
    pub weight_initial: u32,
    pub check_status: CheckStatus,
    /// Switched off by the socket, as the agent.
    pub checks_disabled: bool,
    pub agent_disabled: bool,
    /// Where it was; for a server that has a name, it may begin there.
    pub address: Option<IpAddr>,
    pub port: u16,
    pub check_address: Option<IpAddr>,
    pub check_port: Option<u16>,
    pub agent_address: Option<IpAddr>,
    pub agent_port: Option<u16>,
}

/// Where a server is, as its line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// An address or a resolved name; `port` says how the port is found.
    Ip { address: std::net::IpAddr, port: ServerPort, host: Option<Box<str>> },
    /// `unix@PATH` or `/PATH`.
    Unix(std::path::PathBuf),
    /// `abns@NAME`.
    Abstract(Box<[u8]>),
}

/// A server's port: fixed, or derived from the port that the client connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerPort {
    Fixed(u16),
    /// No port, `+N` or `-N`: the client's port plus this.
    Mapped(i32),
}
