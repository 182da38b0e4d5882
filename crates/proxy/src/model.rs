//! What a configuration means: typed, checked, immutable.
//!
//! [`load`](crate::load) makes a [`Model`] from the sections that `telamon-config` has read; the data path,
//! the checks, the logs and the console only ever read it. Nothing here changes while it runs: what does
//! (health, load, counters, addresses set from the socket) lives in [`state`](crate::state), found through
//! the `state` field that a frontend, backend and server have.
//!
//! Proxies and servers refer to one another by index ([`ProxyId`], [`ServerId`]), valid in one [`Model`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use telamon_config::Location;

use crate::expr::LogFormat;
use crate::log::LogTarget;
use crate::rules::{
    AfterResponseRule, BackendChoice, HttpRequestRule, HttpResponseRule, PersistenceRule, Reply,
    Routes, TcpRequestRule, TcpResponseRule, UseServerRule,
};
use crate::state::ProxyState;

mod balance;
mod check;
mod cookie;
mod global;
mod listener;
mod resolvers;
mod retry;
mod server;
mod table;
mod tls;

pub use balance::*;
pub use check::*;
pub use cookie::*;
pub use global::*;
pub use listener::*;
pub use resolvers::*;
pub use retry::RetryOn;
pub use server::*;
pub use table::*;
pub use tls::*;

/// A whole configuration.
#[derive(Debug, Default)]
pub struct Model {
    pub global: Global,
    /// Frontends, backends and listens in the order of the files.
    pub proxies: Vec<Proxy>,
    /// `resolvers` sections; the one called `default` may come from `/etc/resolv.conf`.
    pub resolvers: Vec<Arc<Resolvers>>,
    /// Stick tables in the order of the files.
    pub tables: Vec<StickTable>,
    /// Lists that ACLs and maps read from files, and that the socket may change.
    pub lists: Arc<crate::expr::Lists>,
    /// Certificates, authorities and lists of them, which the socket may change.
    pub tls: Arc<telamon_tls::Store>,
    /// The names of the files that it was read from.
    pub files: HashMap<telamon_config::FileId, String>,
    /// Variables of scope `proc`, shared by all workers.
    pub variables: Arc<crate::expr::ProcessVariables>,
    /// The first backend of each name, made when one is first looked for.
    pub(crate) backends: std::sync::OnceLock<HashMap<Arc<str>, ProxyId>>,
}

/// Index of a proxy in [`Model::proxies`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyId(pub u32);

/// Index of a server in its [`Backend::servers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u32);

/// What traffic a proxy understands. Source: HAProxy configuration manual, `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Tcp,
    Http,
}

/// One `frontend`, `backend` or `listen` section with the `defaults` it inherits.
#[derive(Debug)]
pub struct Proxy {
    pub name: Arc<str>,
    /// HAProxy's numeric id (`id`, else counted from 2 in file order, as its statistics show).
    pub number: u32,
    /// It was written (`id`).
    pub has_own_number: bool,
    /// `frontend`, `backend` or `listen`.
    pub section: &'static str,
    pub at: Location,
    pub mode: Mode,
    /// `disabled`: configured, but it neither listens nor checks, and takes no traffic.
    pub disabled: bool,
    pub description: Option<Box<str>>,
    pub options: Options,
    pub timeouts: Timeouts,
    pub rules: Rules,
    pub errors: ErrorReplies,
    pub log: LogSettings,
    pub captures: Captures,
    /// `unique-id-format` and `unique-id-header`.
    pub unique_id_format: Option<Arc<LogFormat>>,
    pub unique_id_header: Option<Box<[u8]>>,
    /// `stats …` when the proxy serves the status page on its own listener.
    pub stats: Option<Arc<StatsPage>>,
    /// Present in `frontend` and `listen`.
    pub frontend: Option<Frontend>,
    /// Present in `backend` and `listen`.
    pub backend: Option<Backend>,
    pub state: Arc<ProxyState>,
}

/// The side of a proxy that accepts.
#[derive(Debug)]
pub struct Frontend {
    pub listeners: Vec<Arc<Listener>>,
    /// `maxconn`; `None` takes the global one.
    pub maxconn: Option<u32>,
    /// `backlog`; `None` derives it from `maxconn`.
    pub backlog: Option<u32>,
    /// `rate-limit sessions`: new sessions per second; 0 is no limit.
    pub rate_limit_sessions: u32,
    /// `use_backend`, in order.
    pub use_backend: Routes,
    pub default_backend: Option<ProxyId>,
    pub monitor_uri: Option<Box<[u8]>>,
    /// `monitor fail if …`: any that holds makes the monitor answer 503.
    pub monitor_fail: Vec<crate::expr::Condition>,
}

/// The side of a proxy that has servers.
#[derive(Debug)]
pub struct Backend {
    pub servers: Vec<Server>,
    pub balance: Balance,
    /// The servers as members, the strategy among them, and the queue.
    pub pool: telamon_balance::Pool<crate::upstream::Waiter>,
    /// `use-server`, in order.
    pub use_server: Vec<UseServerRule>,
    /// `cookie NAME …`.
    pub cookie: Option<PersistenceCookie>,
    pub(crate) cookie_index: CookieIndex,
    /// `force-persist` and `ignore-persist`, in order; the first that holds counts.
    pub persist_rules: Vec<PersistenceRule>,
    /// `stick on`, `match` and `store-request`, in order.
    pub stick_request: Vec<StickRule>,
    /// `stick store-response`, in order.
    pub stick_response: Vec<StickRule>,
    /// `fullconn`; without it [`Model::share_fullconn`] derives one for the pool.
    pub fullconn: Option<u32>,
    /// `retries`, 0 to any; default 3.
    pub retries: u32,
    /// `retry-on`; default `conn-failure`. In `mode tcp` only that one has a meaning.
    pub retry_on: RetryOn,
    /// `retry-budget`; without one, `retries` alone bounds what is sent again.
    pub retry_budget: Option<telamon_balance::RetryBudget>,
    /// `outlier-ejection`; without one, no server is kept out for what its traffic shows.
    pub outlier_ejection: Option<telamon_balance::outlier::OutlierConfig>,
    /// `option redispatch [N]`: 0 never, N every Nth retry, -1 only the last one (the default form).
    pub redispatch: i32,
    pub reuse: HttpReuse,
    /// Where connections go without a choice: `dispatch ADDRESS`, or `option transparent` (the address is then all
    /// zeros, which stands for where the client was going). It is no member of the pool and has no statistics.
    pub direct: Option<Box<Server>>,
    pub check: CheckMethod,
    /// `http-send-name-header`.
    pub send_name_header: Option<Box<[u8]>>,
    pub max_keep_alive_queue: Option<u32>,
}

impl Proxy {
    /// The side that has servers, unless it is `disabled`.
    pub(crate) fn serving(&self) -> Option<&Backend> {
        self.backend.as_ref().filter(|_| !self.disabled)
    }
}

impl Backend {
    /// A server by its number; without one, what takes the place of servers (see [`direct`](Self::direct)).
    pub(crate) fn reached(&self, server: Option<ServerId>) -> Option<&Server> {
        match server {
            Some(ServerId(index)) => self.servers.get(index as usize),
            None => self.direct.as_deref(),
        }
    }
}

/// `http-reuse`. Source: HAProxy configuration manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpReuse {
    Never,
    #[default]
    Safe,
    Aggressive,
    Always,
}

/// Every `option …` that is a plain switch, after defaults and `no option`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub abortonclose: bool,
    pub accept_invalid_http_request: bool,
    pub accept_invalid_http_response: bool,
    pub allbackups: bool,
    pub clitcpka: bool,
    pub srvtcpka: bool,
    pub contstats: bool,
    pub dontlog_normal: bool,
    pub dontlognull: bool,
    pub http_buffer_request: bool,
    pub http_ignore_probes: bool,
    pub http_pretend_keepalive: bool,
    pub http_use_proxy_header: bool,
    pub idle_close_on_response: bool,
    pub disable_h2_upgrade: bool,
    pub independent_streams: bool,
    pub log_health_checks: bool,
    pub log_separate_errors: bool,
    pub logasap: bool,
    /// `option nolinger`, as seen from the side that the proxy is used on.
    pub nolinger: bool,
    pub persist: bool,
    pub prefer_last_server: bool,
    pub socket_stats: bool,
    pub splice_request: bool,
    pub splice_response: bool,
    /// `no option splice-auto`: bytes are copied where no other option asks for more. Without a word they are spliced
    /// where it is worth it.
    pub no_splice_auto: bool,
    /// `option transparent`: without servers, connections go where the client was going.
    pub transparent: bool,
    /// `None` is on in `mode http` alone.
    pub tcp_smart_accept: Option<bool>,
    pub tcp_smart_connect: bool,
    pub connection: ConnectionMode,
    pub forwardfor: Option<AddressHeader>,
    pub originalto: Option<AddressHeader>,
    /// `option http-restrict-req-hdr-names`.
    pub restrict_header_names: RestrictNames,
}

/// `option httpclose | http-server-close | http-keep-alive` (the default).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionMode {
    #[default]
    KeepAlive,
    ServerClose,
    Close,
}

/// `option http-restrict-req-hdr-names`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestrictNames {
    #[default]
    Preserve,
    Delete,
    Reject,
}

/// `option forwardfor` and `option originalto`.
#[derive(Debug, Clone)]
pub struct AddressHeader {
    /// Lower case; `x-forwarded-for` or `x-original-to` unless set.
    pub header: Box<[u8]>,
    pub except: Vec<crate::expr::Network>,
    pub if_none: bool,
}

/// `timeout …`; `None` where the configuration sets none, which waits for ever.
#[derive(Debug, Clone, Default)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub client: Option<Duration>,
    pub server: Option<Duration>,
    pub client_fin: Option<Duration>,
    pub server_fin: Option<Duration>,
    pub tunnel: Option<Duration>,
    pub http_request: Option<Duration>,
    pub http_keep_alive: Option<Duration>,
    pub queue: Option<Duration>,
    pub tarpit: Option<Duration>,
    pub check: Option<Duration>,
}

/// Rule sets in the order in which a request meets them.
#[derive(Debug, Default)]
pub struct Rules {
    pub tcp_request_connection: Vec<TcpRequestRule>,
    pub tcp_request_session: Vec<TcpRequestRule>,
    pub tcp_request_content: Vec<TcpRequestRule>,
    pub tcp_request_inspect_delay: Option<Duration>,
    pub tcp_response_content: Vec<TcpResponseRule>,
    pub tcp_response_inspect_delay: Option<Duration>,
    pub http_request: Vec<HttpRequestRule>,
    /// `redirect …` lines, evaluated after `http-request`.
    pub redirect: Vec<HttpRequestRule>,
    pub http_response: Vec<HttpResponseRule>,
    pub http_after_response: Vec<AfterResponseRule>,
}

/// Replies that replace the built-in ones: `errorfile`, `errorloc*`, `http-error`, `errorfiles`.
#[derive(Debug, Clone, Default)]
pub struct ErrorReplies {
    by_status: HashMap<u16, Arc<Reply>>,
}

/// `log`, `log-format`, `log-tag` and the options about logging.
#[derive(Debug, Clone, Default)]
pub struct LogSettings {
    pub targets: Vec<Arc<LogTarget>>,
    /// What is written for each session or request; `None` writes HAProxy's short default line.
    pub format: Option<Arc<LogFormat>>,
    /// `log-format-sd`: the structured data of RFC 5424 headers.
    pub format_sd: Option<Arc<LogFormat>>,
    /// `error-log-format`: for requests that were not understood and connections that failed before one.
    pub error_format: Option<Arc<LogFormat>>,
    /// `log-tag`, else the global one; `None` is `haproxy`.
    pub tag: Option<Box<str>>,
    /// The name that the global `log-send-hostname` sends, in every proxy.
    pub send_hostname: Option<Box<str>>,
    /// Lines written so far (`%lc`).
    pub lines: crate::log::LineCount,
}

/// `capture …` and `declare capture …`.
#[derive(Debug, Clone, Default)]
pub struct Captures {
    pub request: Vec<HeaderCapture>,
    pub response: Vec<HeaderCapture>,
    /// `capture cookie NAME len N`.
    pub cookie: Option<CookieCapture>,
}

impl Captures {
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty() && self.cookie.is_none()
    }
}

/// A slot that a header (or `http-request capture`) fills; `len` is its limit in bytes.
#[derive(Debug, Clone)]
pub struct HeaderCapture {
    /// `None` for `declare capture`, filled by a rule.
    pub header: Option<Box<[u8]>>,
    pub len: usize,
}

/// `capture cookie NAME len N`; a name that ends in `=` is an exact name, else a prefix.
#[derive(Debug, Clone)]
pub struct CookieCapture {
    pub name: Box<[u8]>,
    pub exact: bool,
    pub len: usize,
}

/// The status page of a proxy: `stats …`.
#[derive(Debug, Clone, Default)]
pub struct StatsPage {
    /// Path prefix; `/haproxy?stats` unless set.
    pub uri: Box<[u8]>,
    pub refresh: Option<Duration>,
    /// `realm` of the password prompt.
    pub realm: Option<Box<str>>,
    /// `user:password` pairs of `stats auth`.
    pub auth: Vec<(Box<str>, Box<str>)>,
    pub hide_version: bool,
    /// Proxies that are shown; empty shows all. `.` is replaced by the proxy's own name.
    pub scope: Vec<Box<str>>,
    pub show_legends: bool,
    pub show_node: Option<Box<str>>,
    pub show_desc: Option<Box<str>>,
    /// `stats admin if …`, in order; the first that holds allows changes.
    pub admin: Arc<[crate::expr::Condition]>,
    /// `stats http-request …`.
    pub rules: Arc<[HttpRequestRule]>,
}

impl Model {
    pub fn proxy(&self, id: ProxyId) -> &Proxy {
        &self.proxies[id.0 as usize]
    }

    /// The proxies with their ids.
    pub fn numbered(&self) -> impl Iterator<Item = (ProxyId, &Proxy)> {
        (0..).map(ProxyId).zip(&self.proxies)
    }

    pub fn table(&self, id: TableId) -> Option<&StickTable> {
        self.tables.get(id.0 as usize)
    }

    /// A server of a proxy; `None` where there is no such server.
    pub fn server(&self, proxy: ProxyId, server: ServerId) -> Option<&Server> {
        self.proxies.get(proxy.0 as usize)?.backend.as_ref()?.servers.get(server.0 as usize)
    }

    /// Gives pools of backends without `fullconn` a tenth of what their frontends accept, as HAProxy does.
    ///
    /// `connections_max` is the process's `maxconn`, which frontends without one accept.
    pub fn share_fullconn(&mut self, connections_max: u32) {
        let mut reach = vec![0u64; self.proxies.len()];
        for (index, proxy) in self.proxies.iter().enumerate() {
            let Some(frontend) = &proxy.frontend else { continue };
            let maxconn = frontend.maxconn.filter(|max| *max > 0).unwrap_or(connections_max);
            let mut targets: Vec<usize> = frontend
                .use_backend
                .iter()
                .filter_map(|rule| match rule.action {
                    BackendChoice::Static(target) => Some(target.0 as usize),
                    BackendChoice::Dynamic(_) => None,
                })
                .chain(frontend.default_backend.map(|target| target.0 as usize))
                .collect();
            if proxy.backend.is_some() {
                targets.push(index);
            }
            targets.sort_unstable();
            targets.dedup();
            for target in targets {
                reach[target] += u64::from(maxconn);
            }
        }
        for (proxy, reach) in self.proxies.iter_mut().zip(reach) {
            if let Some(backend) = &mut proxy.backend
                && backend.fullconn.is_none()
            {
                backend.pool.set_fullconn(u32::try_from(reach.div_ceil(10)).unwrap_or(u32::MAX));
            }
        }
    }

    /// Tells every server which others track it. Called once all `tracks` are resolved.
    pub fn link_trackers(&mut self) {
        let mut links = Vec::new();
        for (proxy, id) in self.proxies.iter().zip((0..).map(ProxyId)) {
            for server in proxy.backend.iter().flat_map(|backend| &backend.servers) {
                links.extend(server.tracks.map(|tracked| (tracked, (id, ServerId(server.index)))));
            }
        }
        for ((proxy, server), tracker) in links {
            let backend = self.proxies.get_mut(proxy.0 as usize).and_then(|p| p.backend.as_mut());
            if let Some(server) = backend.and_then(|b| b.servers.get_mut(server.0 as usize)) {
                server.trackers.push(tracker);
            }
        }
    }

    /// The `resolvers` section of that name.
    pub fn resolvers(&self, name: &str) -> Option<&Arc<Resolvers>> {
        self.resolvers.iter().find(|section| &*section.name == name)
    }

    /// Finds the frontend of that name; a frontend and a backend may share one.
    pub fn frontend(&self, name: &str) -> Option<ProxyId> {
        self.position(|proxy| proxy.frontend.is_some() && &*proxy.name == name)
    }

    /// Finds the backend (or `listen`) of that name.
    pub fn backend(&self, name: &str) -> Option<ProxyId> {
        let backends = self.backends.get_or_init(|| {
            let mut backends = HashMap::new();
            for (index, proxy) in self.proxies.iter().enumerate() {
                if proxy.backend.is_some() {
                    backends.entry(Arc::clone(&proxy.name)).or_insert(ProxyId(index as u32));
                }
            }
            backends
        });
        backends.get(name).copied()
    }

    fn position(&self, wanted: impl Fn(&Proxy) -> bool) -> Option<ProxyId> {
        self.proxies.iter().position(wanted).map(|index| ProxyId(index as u32))
    }
}

impl ErrorReplies {
    /// The configured reply for a status, if any.
    pub fn get(&self, status: u16) -> Option<&Arc<Reply>> {
        self.by_status.get(&status)
    }

    /// Replaces the reply for a status.
    pub fn set(&mut self, status: u16, reply: Arc<Reply>) {
        self.by_status.insert(status, reply);
    }

    /// Takes every reply of `other` that is not set here.
    pub fn inherit(&mut self, other: &Self) {
        for (status, reply) in &other.by_status {
            self.by_status.entry(*status).or_insert_with(|| Arc::clone(reply));
        }
    }
}

/// Who may log in: one `userlist` section.
#[derive(Debug, Default)]
pub struct Userlist {
    pub name: Box<str>,
    pub users: HashMap<Box<[u8]>, User>,
    /// The names of its groups.
    pub groups: Vec<Box<str>>,
}

/// One `user` of a `userlist`.
#[derive(Debug)]
pub struct User {
    pub password: Password,
    pub groups: Vec<Box<str>>,
}

/// `password` (crypt(3) form) or `insecure-password` (clear text).
#[derive(Debug)]
pub enum Password {
    Crypt(Box<str>),
    Clear(Box<[u8]>),
}
