//! One row of `show stat` from the state of one object.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use telamon_balance::member::{Times, WHOLE};
use telamon_balance::stats::{Column, Kind, Row};
use telamon_balance::{AgentState, Counter, InUse, MemberId, Status};
use telamon_runtime::Endpoint;
use telamon_runtime::bind::BindAddress;

use crate::model::{Backend, BalanceStrategy, Frontend, Listener, Mode, Model, Proxy, Server};
use crate::worker::Shared;

/// The moment that ages and rates are of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Of the process's clock.
    ms: u64,
    unix: i64,
}

impl Now {
    pub(super) fn of(shared: &Shared) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix = unix.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        Self { ms: shared.now_ms(), unix }
    }

    fn seconds_since(self, ms: u64) -> u64 {
        self.ms.saturating_sub(ms) / 1000
    }

    /// The age of a Unix time; -1 where there is none.
    fn age(self, unix: i64) -> i32 {
        if unix == 0 { -1 } else { i32::try_from((self.unix - unix).max(0)).unwrap_or(i32::MAX) }
    }
}

pub(super) fn frontend(proxy: &Proxy, frontend: &Frontend, shared: &Shared, now: Now) -> Row {
    let state = &proxy.state.frontend;
    let (ms, totals) = (now.ms as u32, state.counters.totals());
    let mut row = row(Kind::Frontend, proxy, "FRONTEND", 0);
    counts(&mut row, &totals, &[FRONTEND, COMPRESSION]);
    if proxy.mode == Mode::Http {
        counts(
            &mut row,
            &totals,
            &[RESPONSES, CACHE, &[(Column::Intercepted, Counter::Intercepted)]],
        );
    }
    row.set(Column::Scur, state.load.current())
        .set(Column::Smax, state.load.peak())
        .set(Column::Slim, state.limit.max().min(shared.connections_max.load(Relaxed)))
        .set(Column::Status, if state.stopped.load(Relaxed) { "STOP" } else { "OPEN" })
        .set(Column::Rate, state.session_rate.rate(ms))
        .set(Column::RateLim, frontend.rate_limit_sessions)
        .set(Column::RateMax, state.session_rate.max())
        .set(Column::ReqRate, state.request_rate.rate(ms))
        .set(Column::ReqRateMax, state.request_rate.max())
        .set(Column::ConnRate, state.connection_rate.rate(ms))
        .set(Column::ConnRateMax, state.connection_rate.max());
    zeros(&mut row, Column::SslSess, Column::H1SplicedBytesOut);
    if proxy.mode == Mode::Http {
        counts(&mut row, &totals, &[HTTP1_IN]);
        row.set(Column::H1OpenConnections, state.load.current());
    }
    row
}

pub(super) fn listener(proxy: &Proxy, listener: &Listener) -> Row {
    let state = &listener.state;
    let mut row = row(Kind::Listener, proxy, &listener.name, listener.number);
    counts(&mut row, &state.counters.totals(), &[LISTENER]);
    let (current, max) = (state.load.current(), listener.maxconn);
    row.set(Column::Scur, current)
        .set(Column::Smax, state.load.peak())
        .set(Column::Slim, max)
        .set(Column::Status, if max > 0 && current >= max { "FULL" } else { "OPEN" })
        .set(Column::Addr, bound(&listener.bind.address));
    zeros(&mut row, Column::SslSess, Column::SslFailedHandshake);
    row
}

pub(super) fn server(model: &Model, proxy: &Proxy, server: &Server, now: Now) -> Row {
    let (state, member) = (&server.state, &server.state.member);
    let totals = member.counters.totals();
    let mut row = row(Kind::Server, proxy, &server.name, server.number);
    counts(&mut row, &totals, &[SERVER]);
    if proxy.mode == Mode::Http {
        counts(&mut row, &totals, &[RESPONSES, &[(Column::ReqTot, Counter::Requests)]]);
    }
    let limits = member.limits();
    let pool = proxy.backend.as_ref().map(|backend| &backend.pool);
    let id = MemberId(server.index);
    let weight = pool.map_or(member.weight(), |pool| pool.weight_of(id));
    if let Some(percent) = pool.and_then(|pool| pool.throttle_percent(id))
        && !member.status().admin.is_drained()
    {
        row.set(Column::Throttle, percent);
    }
    row.set(Column::Qcur, member.load.queued())
        .set(Column::Qmax, member.load.queued_peak())
        .set(Column::Scur, member.load.current())
        .set(Column::Smax, member.load.peak())
        .set(Column::Status, status(model, proxy, server))
        .set(Column::Weight, weight)
        .set(Column::Uweight, member.weight())
        .set(Column::Act, u32::from(!member.is_backup()))
        .set(Column::Bck, u32::from(member.is_backup()))
        .set(Column::Lastchg, now.seconds_since(member.last_change_ms()))
        .set(Column::Rate, member.rate.rate(now.ms as u32))
        .set(Column::RateMax, member.rate.max())
        .set(Column::Lastsess, now.age(state.last_session.load(Relaxed)))
        .set(Column::Addr, address(&state.address().endpoint));
    if let Some(limit) = [limits.maxconn, limits.max_requests].into_iter().filter(|n| *n > 0).min()
    {
        row.set(Column::Slim, limit);
    }
    if limits.maxqueue > 0 {
        row.set(Column::Qlimit, limits.maxqueue);
    }
    if let Some(cookie) = server.cookie() {
        row.set(Column::Cookie, String::from_utf8_lossy(&cookie).into_owned());
    }
    if let Some((backend, id)) = server.tracks
        && let Some(tracked) = model.server(backend, id)
    {
        row.set(Column::Tracked, format!("{}/{}", model.proxy(backend).name, tracked.name));
    }
    checks(&mut row, server, now);
    if member.status().is_ejected()
        && let Some(ejection) = proxy.state.backend.outliers().ejection(server.index as usize)
    {
        row.set(Column::LastChk, crate::state_change::reason_of(ejection.reason));
    }
    agent(&mut row, server);
    times(&mut row, &member.times, samples(proxy, &totals));
    let (idle, safe) =
        state.idle_pool.counts().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    row.set(Column::SrvIcur, idle)
        .set(Column::IdleConnCur, idle.saturating_sub(safe))
        .set(Column::SafeConnCur, safe)
        .set(Column::UsedConnCur, member.load.current())
        .set(Column::NeedConnEst, 0_u32);
    if let Some(max) = server.pool_max_conn {
        row.set(Column::SrcIlim, max);
    }
    zeros(&mut row, Column::SslSess, Column::SslFailedHandshake);
    row.note = server_note(proxy, server, now).into();
    row
}

/// The level of a server that has one, and how loaded it says it is.
fn server_note(proxy: &Proxy, server: &Server, now: Now) -> String {
    let member = &server.state.member;
    let mut parts = Vec::new();
    if member.priority() > 0 {
        parts.push(format!("priority {}", member.priority()));
    }
    if let Some(backend) = &proxy.backend
        && let BalanceStrategy::Usage { expire_ms } = backend.balance.strategy
    {
        parts.push(match member.usage(expire_ms, now.ms) {
            Some(used) => format!("{}% used", used * 100 / WHOLE),
            None => "no report".to_owned(),
        });
    }
    parts.join(", ")
}

pub(super) fn backend(proxy: &Proxy, backend: &Backend, now: Now) -> Row {
    let (state, pool) = (&proxy.state.backend, &backend.pool);
    let totals = state.counters.totals();
    let mut row = row(Kind::Backend, proxy, "BACKEND", 0);
    counts(&mut row, &totals, &[SERVER, COMPRESSION, &[(Column::Dreq, Counter::DeniedRequests)]]);
    if proxy.mode == Mode::Http {
        let requests = [(Column::ReqTot, Counter::Requests)];
        counts(&mut row, &totals, &[RESPONSES, CACHE, &requests]);
    }
    let of_servers = |counter| -> u64 {
        backend.servers.iter().map(|server| server.state.member.counters.total(counter)).sum()
    };
    let (active, backup) = pool.usable();
    let weight = pool.weight();
    let is_up = weight > 0 || backend.servers.is_empty();
    let last_change_ms = state.last_change_ms.load(Relaxed);
    let connects = of_servers(Counter::Connects);
    row.note = match pool.in_use() {
        InUse::Panic => "panic: health is ignored".into(),
        InUse::Level(level) if backend.servers.iter().any(|s| s.state.member.priority() > 0) => {
            format!("priority {level} in use").into()
        }
        _ => "".into(),
    };
    row.set(Column::Qcur, pool.load().queued())
        .set(Column::Qmax, pool.load().queued_peak())
        .set(Column::Scur, state.load.current())
        .set(Column::Smax, state.load.peak())
        .set(Column::Slim, pool.fullconn())
        .set(Column::Status, if is_up { "UP" } else { "DOWN" })
        .set(Column::Weight, weight)
        .set(Column::Uweight, pool.weight_set())
        .set(Column::Act, active)
        .set(Column::Bck, backup)
        .set(Column::Chkdown, state.down_transitions.load(Relaxed))
        .set(Column::Lastchg, now.seconds_since(last_change_ms))
        .set(Column::Rate, state.session_rate.rate(now.ms as u32))
        .set(Column::RateMax, state.session_rate.max())
        .set(Column::Lastsess, now.age(state.last_session.load(Relaxed)))
        .set(Column::Algo, pool.strategy())
        .set(Column::Connect, connects);
    if let Some(cookie) = &backend.cookie {
        row.set(Column::Cookie, String::from_utf8_lossy(&cookie.name).into_owned());
    }
    if !backend.servers.is_empty() {
        let down = if is_up { 0 } else { now.seconds_since(last_change_ms) };
        row.set(Column::Downtime, state.downtime_ms.load(Relaxed) / 1000 + down);
    }
    times(&mut row, &state.times, samples(proxy, &totals));
    zeros(&mut row, Column::AggServerStatus, Column::AggCheckStatus);
    zeros(&mut row, Column::SslSess, Column::H1SplicedBytesOut);
    if proxy.mode == Mode::Http {
        let open = |server: &Server| {
            u64::from(server.state.idle.load(Relaxed))
                + u64::from(server.state.member.load.current())
        };
        row.set(Column::H1OpenConnections, backend.servers.iter().map(open).sum::<u64>())
            .set(Column::H1TotalConnections, connects)
            .set(Column::H1TotalStreams, connects + of_servers(Counter::Reuses))
            // What comes from servers is in, what goes to them is out.
            .set(Column::H1BytesIn, totals[Counter::BytesOut as usize])
            .set(Column::H1BytesOut, totals[Counter::BytesIn as usize])
            .set(Column::H1SplicedBytesIn, totals[Counter::SplicedOut as usize])
            .set(Column::H1SplicedBytesOut, totals[Counter::SplicedIn as usize]);
    }
    row
}

/// The `status` column: a tracking server shows the checks of the one at the end of the chain.
pub(crate) fn status(model: &Model, proxy: &Proxy, server: &Server) -> String {
    let own = server.state.member.status();
    let (via, checked) = tracked(model, proxy, server);
    let enabled = !checked.state.checks_disabled.load(Relaxed);
    let checks = checked.state.member.status().checks.filter(|_| enabled);
    let agent = checked.state.member.status().agent;
    Status { checks, agent, ..own }.text(Some(&format!("{}/{}", via.name, checked.name)))
}

/// The server whose checks decide: itself, or the end of the chain that it tracks.
pub(crate) fn tracked<'m>(
    model: &'m Model,
    mut proxy: &'m Proxy,
    mut server: &'m Server,
) -> (&'m Proxy, &'m Server) {
    // The loader refuses circles; the bound keeps a fault there from becoming one here.
    for _ in 0..TRACKS_MAX {
        let Some((backend, id)) = server.tracks else { break };
        let Some(next) = model.server(backend, id) else { break };
        (proxy, server) = (model.proxy(backend), next);
    }
    (proxy, server)
}

/// What the server's own checks found; nothing without checks, and less in maintenance.
fn checks(row: &mut Row, server: &Server, now: Now) {
    let state = &server.state;
    if server.check.is_none() || state.checks_disabled.load(Relaxed) {
        return;
    }
    let status = state.member.status();
    let (failures, transitions, downtime_ms) = {
        let health = state.health();
        (health.failures(), health.transitions(), health.downtime_ms(now.ms))
    };
    if server.learning.is_some_and(|learning| learning.observation.is_some()) {
        row.set(Column::Hanafail, state.member.counters.total(Counter::Observed));
    }
    row.set(Column::Chkfail, failures)
        .set(Column::Chkdown, transitions)
        .set(Column::Downtime, downtime_ms / 1000);
    if status.admin.in_maintenance() {
        return;
    }
    let report = state.check_report().clone();
    let progress = if report.in_progress && report.duration_ms.is_some() { "* " } else { "" };
    row.set(Column::CheckStatus, format!("{progress}{}", report.status.name()))
        .set(Column::CheckDesc, report.status.description());
    if let Some(duration) = report.duration_ms {
        row.set(Column::CheckDuration, duration);
        if report.status.has_code() {
            row.set(Column::CheckCode, u32::from(report.code));
        }
    }
    if !report.text.is_empty() {
        row.set(Column::LastChk, report.text);
    }
    if let Some(checks) = status.checks {
        row.set(Column::CheckRise, u32::from(checks.rise))
            .set(Column::CheckFall, u32::from(checks.fall))
            .set(Column::CheckHealth, u32::from(checks.health));
    }
}

/// What the server's agent said.
fn agent(row: &mut Row, server: &Server) {
    if server.agent.is_none() {
        return;
    }
    let health = u32::from(server.state.member.status().agent == AgentState::Up);
    let set = server.state.probing();
    if set.agent_disabled {
        return;
    }
    let report = &set.agent_report;
    let progress = if report.in_progress { "* " } else { "" };
    row.set(Column::AgentStatus, format!("{progress}{}", report.status.name()))
        .set(Column::AgentDesc, report.status.description())
        .set(Column::LastAgt, report.text.clone())
        .set(Column::AgentDuration, report.duration_ms.unwrap_or(0))
        .set(Column::AgentRise, 1_u32)
        .set(Column::AgentFall, 1_u32)
        .set(Column::AgentHealth, health);
    if report.status.has_code() {
        row.set(Column::AgentCode, u32::from(report.code));
    }
}

/// The columns that every row has.
fn row(kind: Kind, proxy: &Proxy, name: &str, number: u32) -> Row {
    let mut row = Row::new(kind);
    row.set(Column::Pxname, proxy.name.to_string())
        .set(Column::Svname, name.to_owned())
        .set(Column::Pid, 1_u32)
        .set(Column::Iid, proxy.number)
        .set(Column::Sid, number)
        .set(Column::Mode, if proxy.mode == Mode::Http { "http" } else { "tcp" });
    row
}

fn counts(row: &mut Row, totals: &[u64], lists: &[&[(Column, Counter)]]) {
    for (column, counter) in lists.iter().copied().flatten() {
        row.set(*column, totals[*counter as usize]);
    }
}

/// Columns of things that do not happen here, from `first` to `last`.
fn zeros(row: &mut Row, first: Column, last: Column) {
    for column in &Column::ALL[first as usize..=last as usize] {
        row.set(*column, 0_u32);
    }
}

fn times(row: &mut Row, times: &Times, samples: u64) {
    for (average, max, timing) in [
        (Column::Qtime, Column::QtimeMax, &times.queue),
        (Column::Ctime, Column::CtimeMax, &times.connect),
        (Column::Rtime, Column::RtimeMax, &times.response),
        (Column::Ttime, Column::TtimeMax, &times.total),
    ] {
        row.set(average, timing.average.mean(samples)).set(max, timing.max());
    }
}

/// How many values the averages of times were made from.
fn samples(proxy: &Proxy, totals: &[u64]) -> u64 {
    let counter = if proxy.mode == Mode::Http { Counter::Requests } else { Counter::Balanced };
    totals[counter as usize]
}

fn bound(address: &BindAddress) -> String {
    match address {
        BindAddress::Inet(address) => address.to_string(),
        BindAddress::Fd(number) => format!("fd@{number}"),
        _ => "unix".to_owned(),
    }
}

fn address(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Inet(address) => address.to_string(),
        _ => "unix".to_owned(),
    }
}

/// The longest chain of servers that track one another.
const TRACKS_MAX: usize = 64;

const LISTENER: &[(Column, Counter)] = &[
    (Column::Stot, Counter::Sessions),
    (Column::Bin, Counter::BytesIn),
    (Column::Bout, Counter::BytesOut),
    (Column::Dreq, Counter::DeniedRequests),
    (Column::Dresp, Counter::DeniedResponses),
    (Column::Ereq, Counter::FailedRequests),
    (Column::Dcon, Counter::DeniedConnections),
    (Column::Dses, Counter::DeniedSessions),
    (Column::Wrew, Counter::FailedRewrites),
    (Column::Eint, Counter::InternalErrors),
];

const FRONTEND: &[(Column, Counter)] = &[
    (Column::Stot, Counter::Sessions),
    (Column::Bin, Counter::BytesIn),
    (Column::Bout, Counter::BytesOut),
    (Column::Dreq, Counter::DeniedRequests),
    (Column::Dresp, Counter::DeniedResponses),
    (Column::Ereq, Counter::FailedRequests),
    (Column::ReqTot, Counter::Requests),
    (Column::ConnTot, Counter::Connections),
    (Column::Dcon, Counter::DeniedConnections),
    (Column::Dses, Counter::DeniedSessions),
    (Column::Wrew, Counter::FailedRewrites),
    (Column::Eint, Counter::InternalErrors),
];

/// Of servers and, with a few more, of backends.
const SERVER: &[(Column, Counter)] = &[
    (Column::Stot, Counter::Sessions),
    (Column::Bin, Counter::BytesIn),
    (Column::Bout, Counter::BytesOut),
    (Column::Dresp, Counter::DeniedResponses),
    (Column::Econ, Counter::FailedConnections),
    (Column::Eresp, Counter::FailedResponses),
    (Column::Wretr, Counter::Retries),
    (Column::Wredis, Counter::Redispatches),
    (Column::Lbtot, Counter::Balanced),
    (Column::CliAbrt, Counter::ClientAborts),
    (Column::SrvAbrt, Counter::ServerAborts),
    (Column::Wrew, Counter::FailedRewrites),
    (Column::Connect, Counter::Connects),
    (Column::Reuse, Counter::Reuses),
    (Column::Eint, Counter::InternalErrors),
];

const RESPONSES: &[(Column, Counter)] = &[
    (Column::Hrsp1xx, Counter::Responses1xx),
    (Column::Hrsp2xx, Counter::Responses2xx),
    (Column::Hrsp3xx, Counter::Responses3xx),
    (Column::Hrsp4xx, Counter::Responses4xx),
    (Column::Hrsp5xx, Counter::Responses5xx),
    (Column::HrspOther, Counter::ResponsesOther),
];

const COMPRESSION: &[(Column, Counter)] = &[
    (Column::CompIn, Counter::CompressedIn),
    (Column::CompOut, Counter::CompressedOut),
    (Column::CompByp, Counter::CompressionBypassed),
    (Column::CompRsp, Counter::CompressedResponses),
];

const CACHE: &[(Column, Counter)] =
    &[(Column::CacheLookups, Counter::CacheLookups), (Column::CacheHits, Counter::CacheHits)];

const HTTP1_IN: &[(Column, Counter)] = &[
    (Column::H1TotalConnections, Counter::Connections),
    (Column::H1TotalStreams, Counter::Requests),
    (Column::H1BytesIn, Counter::BytesIn),
    (Column::H1BytesOut, Counter::BytesOut),
    (Column::H1SplicedBytesIn, Counter::SplicedIn),
    (Column::H1SplicedBytesOut, Counter::SplicedOut),
];
