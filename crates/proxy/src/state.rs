//! What changes while a configuration runs: load, counters, health, addresses and limits set from the socket.
//!
//! These values are shared by every worker and survive reloads: a proxy, listener or server of the same name keeps
//! them ([`adopt`]). The model points to them; they never point back.

use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use telamon_balance::health::Health;
use telamon_balance::member::Times;
use telamon_balance::outlier::Outliers;
use telamon_balance::{Admin, Load, Member, PerWorker, RateCounter, RetryMeter};
use telamon_dns_proto::Name;
use telamon_runtime::Endpoint;
use telamon_runtime::limit::Limit;

use crate::check::{CheckStatus, Finding};
use crate::learn::Notes;
use crate::model::{Model, ServerAddress};
use crate::upstream::IdlePool;

/// The state of one proxy; a `listen` uses both sides.
#[derive(Debug)]
pub struct ProxyState {
    pub frontend: FrontendState,
    pub backend: BackendState,
}

/// What the accepting side of a proxy counts and lets be changed.
#[derive(Debug)]
pub struct FrontendState {
    /// Sessions now, at most, and ever.
    pub load: Load,
    pub counters: PerWorker,
    pub connection_rate: RateCounter,
    pub session_rate: RateCounter,
    pub request_rate: RateCounter,
    /// Connections that it accepts at a time: `maxconn`, or `set maxconn frontend`.
    pub limit: Limit,
    /// `disable frontend`: listeners are paused until `enable frontend`.
    pub paused: AtomicBool,
    /// `shutdown frontend`, or a reload that removed it.
    pub stopped: AtomicBool,
}

/// What the server side of a proxy counts.
#[derive(Debug)]
pub struct BackendState {
    pub load: Load,
    pub counters: PerWorker,
    pub session_rate: RateCounter,
    /// What of `retry-budget` is used.
    pub retries: RetryMeter,
    /// Which servers `outlier-ejection` keeps out; [`learn`](crate::learn) looks after it.
    outliers: Mutex<Outliers>,
    pub times: Times,
    /// When a server was last chosen: Unix seconds, 0 for never.
    pub last_session: AtomicI64,
    /// When the backend last went up or down, in milliseconds of the process's clock, and how often it went down.
    pub last_change_ms: AtomicU64,
    pub down_transitions: AtomicU32,
    /// Milliseconds spent down before the present state.
    pub downtime_ms: AtomicU64,
    dynamic_cookies: Mutex<DynamicCookieState>,
}

/// What the values of dynamic cookies are made with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DynamicCookies {
    /// `cookie … dynamic`, or `enable dynamic-cookie backend`.
    pub enabled: bool,
    /// `dynamic-cookie-key`, or `set dynamic-cookie-key backend`.
    pub key: Option<Box<[u8]>>,
}

/// What the configuration says about dynamic cookies, and what the socket has made of it.
#[derive(Debug, Default)]
pub struct DynamicCookieState {
    written: DynamicCookies,
    pub now: DynamicCookies,
}

/// What one bound address counts.
#[derive(Debug)]
pub struct ListenerState {
    /// Connections that it accepts at a time: its own `maxconn`.
    pub limit: Limit,
    pub load: Load,
    pub counters: PerWorker,
}

/// What one server counts and lets be changed; its weight, limits, health and load are the [`Member`]'s.
#[derive(Debug)]
pub struct ServerState {
    pub member: Arc<Member>,
    /// Where it is now; the configuration's address unless the socket or a resolver changed it.
    place: Mutex<Located>,
    /// The value of its dynamic cookie, which follows its address; 0 is none.
    dynamic_cookie: AtomicU64,
    /// The host whose addresses it takes, where `resolvers` look for them: its line's, an SRV record's, or the socket's.
    host: Mutex<Option<Name>>,
    /// That was, or is, another than its line names.
    pub renamed: AtomicBool,
    /// Counts changes of the address: idle connections made before are not used again.
    pub generation: AtomicU32,
    /// Where connections go depends on the client's destination: they cannot be shared.
    pub follows_client: AtomicBool,
    /// Idle connections over all workers.
    pub idle: AtomicU32,
    pub last_session: AtomicI64,
    /// Its health, as checks and orders made it; [`state_change`](crate::state_change) alone changes it. It also knows
    /// the failed checks, how often it went down and for how long.
    health: Mutex<Health>,
    /// It has its first state.
    pub(crate) begun: AtomicBool,
    /// What it last said of its load in an answer could not be read; logged once.
    pub(crate) usage_unreadable: AtomicBool,
    /// What the last check found, for pages and sockets.
    check: Mutex<CheckReport>,
    /// What its traffic shows of it.
    pub(crate) notes: Notes,
    /// Its next check is due after `fastinter` at the latest.
    pub(crate) hurried: AtomicBool,
    /// The socket disabled its checks.
    pub checks_disabled: AtomicBool,
    /// Made when first asked for: most servers have no agent.
    probing: OnceLock<Box<Mutex<Probing>>>,
    /// Connections kept for later use.
    pub idle_pool: IdlePool,
}

/// What its agent said, and what the socket set of checks and agent.
#[derive(Debug, Default)]
pub struct Probing {
    pub agent_report: CheckReport,
    /// The socket disabled the agent.
    pub agent_disabled: bool,
    /// Set by the socket in place of what the server's line says.
    pub agent_address: Option<IpAddr>,
    pub agent_port: Option<u16>,
    pub agent_send: Option<Box<[u8]>>,
    pub check_address: Option<IpAddr>,
    pub check_port: Option<u16>,
}

/// Where a server is, and the key that its dynamic cookie is made with.
#[derive(Debug)]
struct Located {
    address: Address,
    cookie_key: Option<Box<[u8]>>,
}

/// Where a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub endpoint: Endpoint,
    /// The port follows the port that the client connected to, shifted by this.
    pub mapped_port: Option<i32>,
}

/// What a check found: HAProxy's `check_status`, `check_desc`, `check_code`, `check_duration` and `last_chk`.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    pub status: CheckStatus,
    /// What the application answered; shown where [`CheckStatus::has_code`] says so.
    pub code: u16,
    /// `None` before the first check.
    pub duration_ms: Option<u64>,
    /// What it said, or what went wrong; at most 127 bytes.
    pub text: String,
    /// When it ended, in Unix milliseconds.
    pub at_ms: u64,
    /// Another one is under way (`* L4OK` in statistics).
    pub in_progress: bool,
}

impl CheckReport {
    /// Takes in what a check found that took so long and ends now.
    pub(crate) fn take(&mut self, finding: Finding, took: Option<Duration>) {
        self.status = finding.status;
        self.code = finding.code;
        self.text = finding.text;
        self.duration_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    }
}

impl ProxyState {
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            frontend: FrontendState {
                load: Load::default(),
                counters: PerWorker::new(workers),
                connection_rate: RateCounter::default(),
                session_rate: RateCounter::default(),
                request_rate: RateCounter::default(),
                limit: Limit::new(u32::MAX),
                paused: AtomicBool::new(false),
                stopped: AtomicBool::new(false),
            },
            backend: BackendState {
                load: Load::default(),
                counters: PerWorker::new(workers),
                session_rate: RateCounter::default(),
                retries: RetryMeter::default(),
                outliers: Mutex::default(),
                times: Times::default(),
                last_session: AtomicI64::new(0),
                last_change_ms: AtomicU64::new(0),
                down_transitions: AtomicU32::new(0),
                downtime_ms: AtomicU64::new(0),
                dynamic_cookies: Mutex::default(),
            },
        })
    }
}

impl BackendState {
    /// Which servers are ejected, and why.
    pub fn outliers(&self) -> MutexGuard<'_, Outliers> {
        self.outliers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn dynamic_cookies(&self) -> MutexGuard<'_, DynamicCookieState> {
        self.dynamic_cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DynamicCookies {
    /// The key, if cookies are made with one.
    pub fn key_in_use(&self) -> Option<&[u8]> {
        self.key.as_deref().filter(|_| self.enabled)
    }
}

impl DynamicCookieState {
    /// Takes what a configuration says; what the socket has set stays unless that has changed.
    pub fn configure(&mut self, written: &DynamicCookies) {
        if self.written != *written {
            self.written = written.clone();
            self.now = written.clone();
        }
    }
}

impl ListenerState {
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: Limit::new(u32::MAX),
            load: Load::default(),
            counters: PerWorker::new(workers),
        })
    }
}

impl Located {
    /// XXH64 of key, address and port (32 bits), all in network order, as HAProxy computes it.
    fn cookie(&self) -> u64 {
        let (Some(key), Endpoint::Inet(inet)) = (&self.cookie_key, &self.address.endpoint) else {
            return 0;
        };
        let mut text = key.to_vec();
        match inet.ip() {
            IpAddr::V4(ip) => text.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => text.extend_from_slice(&ip.octets()),
        }
        let port = self.address.mapped_port.unwrap_or(inet.port().into());
        text.extend_from_slice(&port.to_be_bytes());
        xxhash_rust::xxh64::xxh64(&text, 0)
    }
}

impl Address {
    /// The same port at another address.
    pub(crate) fn with_ip(mut self, ip: Option<IpAddr>) -> Self {
        if let (Endpoint::Inet(inet), Some(ip)) = (&mut self.endpoint, ip) {
            inet.set_ip(ip);
        }
        self
    }

    fn follows_client(&self) -> bool {
        self.mapped_port.is_some() || self.endpoint.ip().is_some_and(|ip| ip.is_unspecified())
    }
}

impl ServerState {
    pub fn new(member: Arc<Member>, address: Address, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            member,
            follows_client: AtomicBool::new(address.follows_client()),
            place: Mutex::new(Located { address, cookie_key: None }),
            dynamic_cookie: AtomicU64::new(0),
            host: Mutex::default(),
            renamed: AtomicBool::new(false),
            generation: AtomicU32::new(0),
            idle: AtomicU32::new(0),
            last_session: AtomicI64::new(0),
            health: Mutex::new(Health::new(None, Admin::READY, 0)),
            begun: AtomicBool::new(false),
            usage_unreadable: AtomicBool::new(false),
            check: Mutex::default(),
            notes: Notes::default(),
            hurried: AtomicBool::new(false),
            checks_disabled: AtomicBool::new(false),
            probing: OnceLock::new(),
            idle_pool: IdlePool::new(workers),
        })
    }

    pub fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the last check found.
    pub fn check_report(&self) -> MutexGuard<'_, CheckReport> {
        self.check.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What belongs to its agent, and what the socket set of its checks.
    pub fn probing(&self) -> MutexGuard<'_, Probing> {
        self.probing.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its checks go, as far as the socket has set it.
    pub(crate) fn check_target(&self) -> (Option<IpAddr>, Option<u16>) {
        if self.probing.get().is_none() {
            return (None, None);
        }
        let set = self.probing();
        (set.check_address, set.check_port)
    }

    /// Where the server is now.
    pub fn address(&self) -> Address {
        self.place().address.clone()
    }

    /// What its dynamic cookie stands for, as 16 hexadecimal digits in requests and answers.
    pub fn dynamic_cookie(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.dynamic_cookie.load(Relaxed))
    }

    /// Makes its dynamic cookie with another key, or with none no more.
    pub fn set_cookie_key(&self, key: Option<&[u8]>) {
        let mut place = self.place();
        place.cookie_key = key.map(Box::from);
        self.dynamic_cookie.store(place.cookie(), Relaxed);
    }

    fn place(&self) -> MutexGuard<'_, Located> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host whose addresses it takes now, where `resolvers` look for them.
    pub fn host(&self) -> Option<Name> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_host(&self, host: Option<Name>) {
        *self.host.lock().unwrap_or_else(PoisonError::into_inner) = host;
    }

    /// Moves the server; idle connections to the old place are not used again.
    pub fn set_address(&self, address: Address) {
        self.follows_client.store(address.follows_client(), Relaxed);
        let mut place = self.place();
        place.address = address;
        self.dynamic_cookie.store(place.cookie(), Relaxed);
        drop(place);
        self.generation.fetch_add(1, Relaxed);
        self.member.forget_usage();
    }
}

/// Gives every proxy, listener and server of `new` the state that its namesake in `old` has.
///
/// A server whose written address changed moves; one whose address is as it was keeps what the socket set.
pub fn adopt(new: &mut Model, old: &Model) {
    use std::collections::HashMap;
    let before: HashMap<(&str, bool, bool), usize> = old
        .proxies
        .iter()
        .enumerate()
        .map(|(index, p)| ((&*p.name, p.frontend.is_some(), p.backend.is_some()), index))
        .collect();
    adopt_tables(new, old);
    for proxy in &mut new.proxies {
        let key = (&*proxy.name, proxy.frontend.is_some(), proxy.backend.is_some());
        let Some(previous) = before.get(&key).map(|index| &old.proxies[*index]) else { continue };
        let fresh_state = std::mem::replace(&mut proxy.state, Arc::clone(&previous.state));
        if let (Some(new), Some(old)) = (&mut proxy.frontend, &previous.frontend) {
            // Nobody else has the new listeners yet.
            for listener in new.listeners.iter_mut().filter_map(Arc::get_mut) {
                let key = listener.bind.key();
                if let Some(was) = old.listeners.iter().find(|was| was.bind.key() == key) {
                    listener.state = Arc::clone(&was.state);
                }
            }
        }
        if let (Some(new), Some(old)) = (&mut proxy.backend, &previous.backend) {
            let mut cookies = previous.state.backend.dynamic_cookies();
            cookies.configure(&fresh_state.backend.dynamic_cookies().written);
            let key = cookies.now.key_in_use();
            let servers: HashMap<&str, usize> =
                old.servers.iter().enumerate().map(|(index, s)| (&*s.name, index)).collect();
            for server in &mut new.servers {
                let Some(index) = servers.get(&*server.name) else { continue };
                let was = &old.servers[*index];
                if was.agent != server.agent {
                    let mut set = was.state.probing();
                    (set.agent_address, set.agent_port, set.agent_send) = (None, None, None);
                }
                let fresh = std::mem::replace(&mut server.state, Arc::clone(&was.state));
                server.state.member.configure(&server.member_config);
                if server.resolution.is_none() || was.resolution != server.resolution {
                    server.state.set_host(fresh.host());
                    server.state.renamed.store(false, Relaxed);
                    if was.address != server.address || was.resolution != server.resolution {
                        server.state.set_address(fresh.address());
                    }
                } else if let (ServerAddress::Ip { port, .. }, ServerAddress::Ip { port: new, .. }) =
                    (&was.address, &server.address)
                    && port != new
                {
                    // It stays where name servers say it is.
                    let found = server.state.address().endpoint.ip();
                    server.state.set_address(fresh.address().with_ip(found));
                }
            }
            new.servers.iter().for_each(|server| server.state.set_cookie_key(key));
            // The pool was made before it was known which members there are already.
            let members = new.servers.iter().map(|server| Arc::clone(&server.state.member));
            let options = new.pool.options();
            new.pool = old.pool.renew(members.collect(), || new.balance.make(), options);
        }
    }
}

/// Gives every stick table the entries of its namesake, if its keys and data are the same; else it begins empty.
fn adopt_tables(new: &mut Model, old: &Model) {
    for table in &mut new.tables {
        let Some(before) = old.tables.iter().find(|before| before.name == table.name) else {
            continue;
        };
        if before.server_key == table.server_key && before.entries.reconfigure(&table.config) {
            table.entries = Arc::clone(&before.entries);
        } else if before.entries.used() > 0 {
            let name = &table.name;
            crate::log::warning(format_args!(
                "stick table {name} begins empty: its keys or data are not what they were."
            ));
        }
    }
}
