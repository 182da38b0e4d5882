//! The fields of `show info`.
//!
//! `Name` is this program's own. `Version` begins with the version of HAProxy whose interfaces these are, because
//! tools read it to know which columns and commands there are (and stop where the first part is no number); our own
//! version follows as its suffix, as distributions write theirs.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::thread::ClockId;
use telamon_balance::Counter;
use telamon_balance::stats::{Field, Info};
use telamon_runtime::Moment;

use crate::view::View;

/// How busy the process was lately: its CPU time beside the time that passed.
#[derive(Debug, Default)]
pub(super) struct CpuMeter {
    last: Option<(Moment, Duration)>,
    idle_percent: u32,
}

pub(super) fn fill(view: &View, cpu: &Mutex<CpuMeter>, info: &mut Info) {
    let shared = &view.shared;
    let snapshot = view.snapshot();
    let global = &snapshot.model.global;
    let limits = &view.shared.rate_limits;
    for field in Field::ALL {
        // What does not exist here is 0, as in a HAProxy that does not use it.
        if !matches!(field, Field::Description | Field::ZlibMemUsage | Field::MaxZlibMemUsage) {
            info.set(*field, 0_u32);
        }
    }
    let uptime = shared.started.elapsed();
    let seconds = uptime.as_secs();
    let ms = shared.now_ms() as u32;
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u32::MAX.into());
    let idle = cpu.lock().unwrap_or_else(PoisonError::into_inner).idle(
        shared.started,
        Moment::now(),
        cpu_time(),
        shared.workers,
    );
    let sockets = shared.socket_connections.load(Relaxed);
    let listeners = snapshot.model.proxies.iter().filter(|proxy| !proxy.disabled);
    let listeners = listeners.filter_map(|proxy| proxy.frontend.as_ref());
    let listeners: usize = listeners.map(|frontend| frontend.listeners.len()).sum();
    let listeners = listeners + global.stats_sockets.len();
    let node = global.node.as_deref().map_or_else(host_name, str::to_owned);
    let started = shared.started_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    info.set(Field::Name, "Telamon")
        .set(Field::Version, VERSION)
        .set(Field::ReleaseDate, RELEASE_DATE)
        .set(Field::Nbthread, shared.workers as u64)
        .set(Field::Nbproc, 1_u32)
        .set(Field::ProcessNum, 1_u32)
        .set(Field::Pid, shared.pid)
        .set(Field::Uptime, uptime_text(seconds))
        .set(Field::UptimeSec, seconds)
        .set(Field::UlimitN, descriptors)
        .set(Field::Maxsock, descriptors)
        .set(Field::Maxconn, shared.connections.max())
        .set(Field::HardMaxconn, shared.connections_max.load(Relaxed))
        .set(Field::CurrConns, shared.connections.used())
        .set(Field::CumConns, shared.connections_total.load(Relaxed) + sockets)
        .set(Field::CumReq, shared.counters.total(Counter::Requests) + sockets)
        .set(Field::Maxpipes, global.maxpipes.unwrap_or(0))
        .set(Field::ConnRate, shared.connection_rate.rate(ms))
        .set(Field::ConnRateLimit, limits.connections.load(Relaxed))
        .set(Field::MaxConnRate, shared.connection_rate.max())
        .set(Field::SessRate, shared.session_rate.rate(ms))
        .set(Field::SessRateLimit, limits.sessions.load(Relaxed))
        .set(Field::MaxSessRate, shared.session_rate.max())
        .set(Field::SslRateLimit, limits.tls_sessions.load(Relaxed))
        .set(Field::CompressBpsRateLim, limits.compression.load(Relaxed))
        .set(Field::Tasks, (0..view.peers.len()).map(|at| view.peers.load(at)).sum::<u32>())
        .set(Field::IdlePct, idle)
        .set(Field::Node, node)
        .set(Field::Stopping, u32::from(shared.stopping.load(Relaxed)))
        .set(Field::Jobs, listeners as u64 + u64::from(shared.connections.used()))
        .set(Field::Listeners, listeners as u64)
        .set(Field::DroppedLogs, crate::log::dropped_lines())
        .set(Field::TotalBytesOut, shared.counters.total(Counter::BytesOut))
        .set(Field::BytesOutRate, shared.bytes_out_rate.rate(ms))
        .set(Field::BuildInfo, VERSION)
        .set(Field::StartTimeSec, started)
        .set(Field::Tainted, "0");
    if let Some(description) = &global.description {
        info.set(Field::Description, description.to_string());
    }
}

impl CpuMeter {
    /// The part of the workers' time that they slept, in percent, since the last call or, when that was only just now,
    /// since the one before.
    fn idle(&mut self, started: Moment, now: Moment, used: Duration, workers: usize) -> u32 {
        let (since, before) = self.last.unwrap_or((started, Duration::ZERO));
        let passed = now.since(since);
        if passed >= CPU_SAMPLE_MIN || self.last.is_none() {
            let available = passed.as_secs_f64() * workers.max(1) as f64;
            let busy = used.saturating_sub(before).as_secs_f64() / available.max(f64::EPSILON);
            self.idle_percent = (100.0 * (1.0 - busy)).clamp(0.0, 100.0).round() as u32;
            self.last = Some((now, used));
        }
        self.idle_percent
    }
}

/// CPU time of the whole process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn uptime_text(seconds: u64) -> String {
    let (days, hours) = (seconds / 86400, seconds / 3600 % 24);
    format!("{days}d {hours}h{:02}m{:02}s", seconds / 60 % 60, seconds % 60)
}

/// Shorter intervals say more about the question than about the load.
const CPU_SAMPLE_MIN: Duration = Duration::from_millis(500);

/// HAProxy's version whose columns and commands these are, and ours.
pub const VERSION: &str = concat!("2.6.12-telamon", env!("CARGO_PKG_VERSION"));

/// When that version of HAProxy was released.
const RELEASE_DATE: &str = "2023/03/28";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_are_written_like_haproxys() {
        #[track_caller]
        fn check(seconds: u64, expected: &str) {
            assert_eq!(uptime_text(seconds), expected);
        }
        check(2, "0d 0h00m02s");
        check(3 * 86400 + 5 * 3600 + 61, "3d 5h01m01s");
    }

    #[test]
    fn idle_is_what_the_workers_did_not_use() {
        let mut meter = CpuMeter::default();
        let started = Moment::now();
        let mut check = |at_ms: u64, used_ms: u64, expected: u32| {
            let at = started + Duration::from_millis(at_ms);
            let idle = meter.idle(started, at, Duration::from_millis(used_ms), 2);
            assert_eq!(idle, expected, "at {at_ms} ms");
        };
        check(1000, 500, 75);
        check(1100, 700, 75); // too soon after the last
        check(2000, 2500, 0);
        check(3000, 2500, 100);
    }
}
