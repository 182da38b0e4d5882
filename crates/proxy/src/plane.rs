//! The proxy as a whole, seen from the control thread: start, reload, finish, stop.

use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use telamon_balance::Counter;
use telamon_runtime::registry::Registry;
use telamon_runtime::service::ServiceHandle;
use telamon_runtime::workers::{Peers, WorkerOptions, Workers};
use tokio::sync::mpsc;

use crate::check::Checks;
use crate::listen::Assigned;
use crate::log::Level;
use crate::model::{Model, Proxy};
use crate::resolve::Resolving;
use crate::snapshot::Snapshot;
use crate::stream::Cause;
use crate::view::View;
use crate::worker::{Shared, Worker};

/// The running proxy. Owned by the control thread, which must be inside a `LocalSet`.
#[derive(Debug)]
pub struct Plane {
    workers: Workers<Worker>,
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    checks: Checks,
    names: Resolving,
    view: View,
    /// Sweeps stick tables.
    sweeper: tokio::task::AbortHandle,
}

impl Plane {
    /// Starts the workers on a configuration whose sockets are bound, and the health checks.
    ///
    /// `connections_max` is the process's `maxconn`; pages of `stats` are asked of `page`.
    pub async fn start(
        mut model: Model,
        registry: &Registry,
        workers: usize,
        connections_max: u32,
        page: ServiceHandle,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(workers, connections_max, page));
        shared.rate_limits.configure(&model.global);
        model.link_trackers();
        model.share_fullconn(connections_max);
        let snapshot = Arc::new(Snapshot { model, generation: 0 });
        let options = WorkerOptions { count: workers, cpus: snapshot.model.global.cpu_map.clone() };
        let seed = shared.started_at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| {
            since.as_nanos() as u64 // the low bits are what varies
        });
        let workers = Workers::start(&options, {
            let (shared, snapshot) = (Arc::clone(&shared), Arc::clone(&snapshot));
            move |thread| {
                let worker = Worker::new(thread, Arc::clone(&shared), Arc::clone(&snapshot), seed);
                if let Err(error) = worker.begin() {
                    crate::log::alert(format_args!("worker {}: {error}", worker.index() + 1));
                }
                worker
            }
        })?;
        _ = shared.peers.set(workers.peers().clone());
        let checks = Checks::start(Arc::clone(&snapshot), Arc::clone(&shared));
        let names = Resolving::start(Arc::clone(&snapshot), Arc::clone(&shared));
        let view = View::new(Arc::clone(&snapshot), Arc::clone(&shared), workers.peers().clone());
        let sweeper = tokio::task::spawn_local(sweep_tables(view.clone())).abort_handle();
        let plane = Self { workers, shared, snapshot, checks, names, view, sweeper };
        plane.adopt(registry).await;
        Ok(plane)
    }

    /// Puts a new configuration in force. Servers, counters and health are carried over by name; what is in flight
    /// keeps the configuration it began with. `connections_max` is the process's `maxconn` from now on.
    pub async fn reload(&mut self, mut model: Model, connections_max: u32, registry: &Registry) {
        model.link_trackers();
        crate::state::adopt(&mut model, &self.snapshot.model);
        model.share_fullconn(connections_max);
        self.shared.rate_limits.configure(&model.global);
        self.shared.connections_max.store(connections_max, Relaxed);
        self.shared.connections.set_max(connections_max);
        let generation = self.snapshot.generation + 1;
        self.snapshot = Arc::new(Snapshot { model, generation });
        self.view.replace(Arc::clone(&self.snapshot));
        self.checks.reload(Arc::clone(&self.snapshot));
        self.names.reload(Arc::clone(&self.snapshot));
        self.adopt(registry).await;
    }

    /// Says that the end is near (`stopping`), while everything goes on for the time of `grace`.
    pub fn announce_stop(&self) {
        self.shared.stopping.store(true, Relaxed);
    }

    /// Stops listening where a successor cannot while this process does (`SIGTTOU`), without giving anything up. `registry`
    /// has what stays bound. What both can listen on goes on: nobody is turned away there.
    pub async fn pause(&self, registry: &Registry) {
        self.adopt(registry).await;
        for proxy in self.exclusive() {
            let state = &proxy.state.frontend;
            if !state.stopped.load(Relaxed) && !state.paused.swap(true, Relaxed) {
                crate::api::tell_frontend("Paused", proxy);
                let name = Arc::clone(&proxy.name);
                self.workers.peers().broadcast(move |worker| worker.hold(&name)).await;
            }
        }
    }

    /// Listens again (`SIGTTIN`), on all that `registry` has.
    pub async fn resume(&self, registry: &Registry) {
        for proxy in self.exclusive() {
            if proxy.state.frontend.paused.swap(false, Relaxed) {
                crate::api::tell_frontend("Resumed", proxy);
                let name = Arc::clone(&proxy.name);
                self.workers.peers().broadcast(move |worker| worker.resume(&name)).await;
            }
        }
        self.adopt(registry).await;
    }

    fn exclusive(&self) -> impl Iterator<Item = &Proxy> {
        let proxies = &self.snapshot.model.proxies;
        proxies.iter().filter(|proxy| {
            let listeners = proxy.frontend.iter().flat_map(|frontend| &frontend.listeners);
            !proxy.disabled && listeners.into_iter().any(|of| of.bind.is_exclusive())
        })
    }

    /// Stops accepting and lets what is in flight end; [`Plane::ended`] tells when it has.
    pub async fn finish(&self) {
        self.shared.stopping.store(true, Relaxed);
        self.checks.stop();
        let (done, mut all_done) = mpsc::channel::<Infallible>(1);
        let tell = move |worker: &Rc<Worker>| worker.stop_accepting(done.clone());
        self.workers.peers().broadcast(tell).await;
        self.tell_stopped();
        // Whoever has nothing to do would end at the word, and lose what it has not let in yet.
        let _ = tokio::time::timeout(LETTING_IN, all_done.recv()).await;
        // What they have handed to one another until then stands in their mailboxes before this.
        let (read, mut all_read) = mpsc::channel::<Infallible>(1);
        let mark = move |_: &Rc<Worker>| _ = &read;
        self.workers.peers().broadcast(mark).await;
        let _ = tokio::time::timeout(LETTING_IN, all_read.recv()).await;
        self.workers.finish();
    }

    /// Says of each proxy that it has stopped: those that listened first.
    fn tell_stopped(&self) {
        let proxies = self.snapshot.model.proxies.iter().filter(|proxy| !proxy.disabled);
        let (listening, others): (Vec<_>, Vec<_>) =
            proxies.partition(|proxy| proxy.frontend.is_some());
        for proxy in listening.into_iter().chain(others) {
            // `shutdown frontend` has said it already.
            if !proxy.state.frontend.stopped.swap(true, Relaxed) {
                tell_stopped(proxy);
            }
        }
    }

    /// Ends what is still in flight after [`Plane::finish`], and logs it (`hard-stop-after`); [`Plane::ended`] tells when
    /// it has ended.
    pub async fn hard_stop(&self) {
        self.tell_all("soft-stop running for too long, performing a hard-stop.");
        for proxy in &self.snapshot.model.proxies {
            let left = proxy.state.frontend.load.current();
            if proxy.frontend.is_some() && left > 0 {
                let name = &proxy.name;
                let text =
                    format!("Proxy {name} hard-stopped ({left} remaining conns will be closed).");
                crate::log::warning(format_args!("{text}"));
                crate::log::send(Level::Warning, proxy, &text);
            }
        }
        self.workers.peers().broadcast(|worker| worker.live.kill_all(Cause::Killed)).await;
    }

    /// Says that something did not end even so.
    pub fn tell_resisted(&self) {
        self.tell_all("Some tasks resisted to hard-stop, exiting now.");
    }

    fn tell_all(&self, text: &str) {
        crate::log::warning(format_args!("{text}"));
        crate::log::send_global(Level::Warning, &self.snapshot.model.global, text);
    }

    /// Ends everything now.
    pub fn stop(&self) {
        self.checks.stop();
        self.workers.stop();
    }

    /// Waits until all workers have ended.
    pub async fn ended(&mut self) {
        self.workers.ended().await;
    }

    /// Workers that have not turned their loop for two seconds; called about every second.
    pub fn stuck(&mut self) -> Vec<telamon_runtime::workers::Stuck> {
        self.workers.stuck(Instant::now(), Duration::from_secs(2))
    }

    /// Logs the state of each server (SIGHUP without `-W`).
    pub fn log_server_states(&self) {
        crate::state_change::log_server_states(&self.snapshot);
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// For pages and sockets.
    pub fn view(&self) -> &View {
        &self.view
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub fn peers(&self) -> &Peers<Worker> {
        self.workers.peers()
    }

    /// Limits are as the configuration says from now on, whatever the socket had set before.
    fn set_limits(&self) {
        for proxy in &self.snapshot.model.proxies {
            let Some(frontend) = &proxy.frontend else { continue };
            let unlimited = |max: Option<u32>| max.filter(|max| *max > 0).unwrap_or(u32::MAX);
            proxy.state.frontend.limit.set_max(unlimited(frontend.maxconn));
            for listener in &frontend.listeners {
                listener.state.limit.set_max(unlimited(Some(listener.maxconn)));
            }
        }
    }

    /// Hands every worker the configuration and its listening sockets.
    async fn adopt(&self, registry: &Registry) {
        self.set_limits();
        let count = self.workers.len();
        let mut shares: Vec<Vec<Assigned>> = (0..count).map(|_| Vec::new()).collect();
        for proxy in self.snapshot.model.proxies.iter().filter(|proxy| !proxy.disabled) {
            for listener in proxy.frontend.iter().flat_map(|frontend| &frontend.listeners) {
                let Some(bound) = registry.get(&listener.bind) else { continue };
                for (index, fd) in bound.sockets.iter().take(count).enumerate() {
                    shares[index].push(Assigned { listener: listener.clone(), fd: fd.clone() });
                }
            }
        }
        for (index, share) in shares.into_iter().enumerate() {
            let snapshot = Arc::clone(&self.snapshot);
            // A worker that has ended needs no configuration.
            let _ = self
                .workers
                .peers()
                .send_wait(index, move |worker| worker.adopt(snapshot, &share))
                .await;
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

/// Removes the entries of stick tables whose time is over.
async fn sweep_tables(view: View) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let snapshot = view.snapshot();
        for table in &snapshot.model.tables {
            table.entries.sweep(view.shared.now_ms() as u32);
            tokio::task::yield_now().await;
        }
    }
}

const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// Workers that have let in whoever was queued by then are waited for no longer.
const LETTING_IN: Duration = Duration::from_secs(2);

/// Says that a proxy has stopped, and what it has done.
pub(crate) fn tell_stopped(proxy: &Proxy) {
    let state = &proxy.state;
    let text = format!(
        "Proxy {} stopped (cumulated conns: FE: {}, BE: {}).",
        proxy.name,
        state.frontend.counters.total(Counter::Connections),
        state.backend.counters.total(Counter::Sessions),
    );
    crate::log::warning(format_args!("{text}"));
    crate::log::send(Level::Warning, proxy, &text);
}
