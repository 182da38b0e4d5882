//! Threads that serve, one per core.
//!
//! Each worker is a thread with a single-threaded tokio runtime and a `LocalSet`, so that its state
//! `T` needs no locks and its tasks no `Send`. [`Workers::start`] makes the state on the thread
//! itself. From then on the control thread and the other workers reach it by mail: a closure that
//! runs there with the state ([`Peers::send`]).
//!
//! A panic ends the task it happens in, never the worker; [`report_panics`] counts and logs it.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::Wheel;

/// The running workers. Owned by the control thread.
#[derive(Debug)]
pub struct Workers<T: 'static> {
    peers: Peers<T>,
    threads: Vec<JoinHandle<()>>,
    order: watch::Sender<Order>,
    ended: watch::Receiver<usize>,
    watched: Vec<Watched>,
}

/// How to start workers.
#[derive(Clone, Debug, Default)]
pub struct WorkerOptions {
    /// `nbthread`; 0 is taken as 1.
    pub count: usize,
    /// The CPUs each worker is bound to (`cpu-map`); beyond the list, or an empty entry: any.
    pub cpus: Vec<Vec<usize>>,
}

/// A way to every worker's mailbox. Cheap to clone, can go anywhere.
#[derive(Debug)]
pub struct Peers<T: 'static>(Arc<[Peer<T>]>);

#[derive(Debug)]
struct Peer<T: 'static> {
    mail: mpsc::Sender<Mail<T>>,
    state: Arc<State>,
}

type Mail<T> = Box<dyn FnOnce(&Rc<T>) + Send>;

/// Mail that did not reach its worker, whose mailbox is full or which has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered;

/// The worker this code runs on. Clones share it; it cannot leave its thread.
#[derive(Debug)]
pub struct Worker<T: 'static> {
    index: usize,
    peers: Peers<T>,
    wheel: Wheel,
    live: Rc<Live>,
}

/// Keeps a worker from ending while it drains.
#[derive(Debug)]
pub struct Hold(Rc<Live>);

#[derive(Debug)]
struct Live {
    count: Cell<u32>,
    state: Arc<State>,
    idle: tokio::sync::Notify,
}

/// What the other threads may know of a worker, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct State {
    /// Asleep in its reactor.
    parked: AtomicBool,
    /// How often it has gone to sleep or answered a ping.
    turns: AtomicU64,
    /// Tasks and holds alive.
    live: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Serve,
    /// End when nothing is alive.
    Finish,
    /// End now.
    Stop,
}

#[derive(Debug)]
struct Watched {
    turns: u64,
    since: Instant,
    reported: bool,
}

impl<T: 'static> Workers<T> {
    /// Starts the workers and returns once each has made its state with `make`.
    ///
    /// `make` runs on the worker's thread, inside its runtime: it can open sockets and spawn.
    ///
    /// # Errors
    /// A thread could not be started, or `make` panicked.
    pub fn start(
        options: &WorkerOptions,
        make: impl Fn(Worker<T>) -> Rc<T> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let make = Arc::new(make);
        let (order, orders) = watch::channel(Order::Serve);
        let (end, ended) = watch::channel(0);
        let (started, starting) = std::sync::mpsc::channel();
        let mut boxes = Vec::new();
        let peers = (0..options.count.max(1)).map(|_| {
            let (mail, mailbox) = mpsc::channel(MAILBOX_LEN_MAX);
            boxes.push(mailbox);
            Peer { mail, state: Arc::default() }
        });
        let peers = Peers(peers.collect());
        let mut threads = Vec::new();
        for (index, mailbox) in boxes.into_iter().enumerate() {
            let (peers, make, orders) = (peers.clone(), make.clone(), orders.clone());
            let (started, end) = (started.clone(), end.clone());
            let cpus = options.cpus.get(index).cloned().unwrap_or_default();
            let name = format!("worker-{}", index + 1);
            threads.push(std::thread::Builder::new().name(name).spawn(move || {
                let _ended = Ended(end);
                bind_to_cpus(&cpus);
                serve(index, peers, mailbox, orders, &*make, started);
            })?);
        }
        drop(started);
        let watched = Watched { turns: 0, since: Instant::now(), reported: false };
        let watched = peers.0.iter().map(|_| Watched { ..watched }).collect();
        let workers = Self { peers, threads, order, ended, watched };
        if starting.iter().take(workers.len()).count() < workers.len() {
            workers.stop();
            return Err(io::Error::other("a worker did not start"));
        }
        Ok(workers)
    }

    pub fn peers(&self) -> &Peers<T> {
        &self.peers
    }

    pub fn len(&self) -> usize {
        self.peers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets each worker end as soon as no task and no [`Hold`] is alive on it. The caller has
    /// told them by mail to close their listeners.
    pub fn finish(&self) {
        self.order.send_if_modified(|order| {
            let serving = *order == Order::Serve;
            if serving {
                *order = Order::Finish;
            }
            serving
        });
    }

    /// Ends all workers now; their tasks are dropped where they stand.
    pub fn stop(&self) {
        self.order.send_replace(Order::Stop);
    }

    /// Waits until all workers have ended.
    pub async fn ended(&mut self) {
        let count = self.len();
        // An error means that the last thread dropped its end of the channel: all are gone.
        let _ = self.ended.wait_for(|&ended| ended == count).await;
    }

    /// Workers that have ended by themselves are a fault; this says whether one has.
    pub fn ended_count(&self) -> usize {
        *self.ended.borrow()
    }

    /// Joins the threads. After [`Workers::ended`] it does not block.
    pub fn join(self) {
        for thread in self.threads {
            // A worker's panic was reported when it happened.
            let _ = thread.join();
        }
    }

    /// Names the workers that have not turned their loop for `limit`, each once per occasion.
    ///
    /// To be called now and then, at least twice within `limit`. A worker asleep in its reactor
    /// is fine; one that is awake is asked for a sign of life.
    pub fn stuck(&mut self, now: Instant, limit: Duration) -> Vec<Stuck> {
        let mut stuck = Vec::new();
        for (index, (watched, peer)) in self.watched.iter_mut().zip(self.peers.0.iter()).enumerate()
        {
            let turns = peer.state.turns.load(Relaxed);
            if peer.state.parked.load(Relaxed) || turns != watched.turns {
                *watched = Watched { turns, since: now, reported: false };
                continue;
            }
            let state = peer.state.clone();
            // A full mailbox is itself what we look for, so the ping need not arrive.
            let _ = peer.mail.try_send(Box::new(move |_| state.turn()));
            let silent = now.saturating_duration_since(watched.since);
            if silent >= limit && !watched.reported && !peer.mail.is_closed() {
                watched.reported = true;
                stuck.push(Stuck { index, silent });
            }
        }
        stuck
    }
}

/// A worker that has not turned its loop for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub index: usize,
    pub silent: Duration,
}

impl<T: 'static> Peers<T> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs `mail` on a worker's thread with its state, soon.
    ///
    /// # Errors
    /// The mailbox is full (1,024 messages) or the worker has ended; `mail` was dropped.
    pub fn send(
        &self,
        index: usize,
        mail: impl FnOnce(&Rc<T>) + Send + 'static,
    ) -> Result<(), Undelivered> {
        let peer = self.0.get(index).ok_or(Undelivered)?;
        peer.mail.try_send(Box::new(mail)).map_err(|_| Undelivered)
    }

    /// As [`Peers::send`], waiting while the mailbox is full.
    ///
    /// # Errors
    /// The worker has ended.
    pub async fn send_wait(
        &self,
        index: usize,
        mail: impl FnOnce(&Rc<T>) + Send + 'static,
    ) -> Result<(), Undelivered> {
        let peer = self.0.get(index).ok_or(Undelivered)?;
        peer.mail.send(Box::new(mail)).await.map_err(|_| Undelivered)
    }

    /// Runs `mail` on every worker that still serves, waiting for room in their mailboxes.
    pub async fn broadcast(&self, mail: impl Fn(&Rc<T>) + Clone + Send + 'static) {
        for index in 0..self.len() {
            let mail = mail.clone();
            // A worker that has ended needs no news.
            let _ = self.send_wait(index, move |state| mail(state)).await;
        }
    }

    /// The worker with the fewest live tasks.
    pub fn least_loaded(&self) -> usize {
        (0..self.len()).min_by_key(|&index| self.load(index)).unwrap_or(0)
    }

    /// Tasks and holds alive on a worker.
    pub fn load(&self, index: usize) -> u32 {
        self.0.get(index).map_or(0, |peer| peer.state.live.load(Relaxed))
    }
}

impl<T: 'static> Worker<T> {
    /// Counted from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    pub fn peers(&self) -> &Peers<T> {
        &self.peers
    }

    pub fn wheel(&self) -> &Wheel {
        &self.wheel
    }

    /// Runs a task on this worker. It counts as load and keeps a finishing worker alive.
    ///
    /// What must not keep it alive (a listener, a pool's cleaner) is spawned with
    /// [`tokio::task::spawn_local`] instead.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) -> tokio::task::JoinHandle<()> {
        let hold = self.hold();
        // Tokio moves a task about as it begins and ends; one large future is moved once, into its box.
        let task = Box::pin(task);
        tokio::task::spawn_local(async move {
            task.await;
            drop(hold);
        })
    }

    /// Keeps this worker alive, for what is not a task.
    pub fn hold(&self) -> Hold {
        self.live.set(self.live.count.get() + 1);
        Hold(self.live.clone())
    }

    /// Tasks and holds alive here.
    pub fn load(&self) -> u32 {
        self.live.count.get()
    }
}

impl Live {
    fn set(&self, count: u32) {
        self.count.set(count);
        self.state.live.store(count, Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let count = self.0.count.get() - 1;
        self.0.set(count);
        if count == 0 {
            self.0.idle.notify_one();
        }
    }
}

impl State {
    /// Only the worker itself calls this, so a load and a store suffice.
    fn turn(&self) {
        self.turns.store(self.turns.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// Logs and counts panics from now on, in all threads; also those that end no worker.
///
/// `report` gets what was said and where. Called once, at start-up; a second call is ignored.
pub fn report_panics(report: impl Fn(&str) + Send + Sync + 'static) {
    static SET: OnceLock<()> = OnceLock::new();
    SET.get_or_init(|| {
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Relaxed);
            report(&panic.to_string());
        }));
    });
}

/// Panics since [`report_panics`].
pub fn panic_count() -> u64 {
    PANICS.load(Relaxed)
}

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Runs a future on this thread with all that a worker's tasks have: the control thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Building fails only without descriptors for epoll and a pipe, before anything is served.
    let runtime = runtime.enable_all().build().expect("a reactor");
    LocalSet::new().block_on(&runtime, future)
}

/// As [`block_on`], with time that passes only while nothing is to do.
#[cfg(test)]
pub(crate) fn block_on_paused<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().expect("a reactor");
    LocalSet::new().block_on(&runtime, future)
}

fn serve<T: 'static>(
    index: usize,
    peers: Peers<T>,
    mailbox: mpsc::Receiver<Mail<T>>,
    orders: watch::Receiver<Order>,
    make: &impl Fn(Worker<T>) -> Rc<T>,
    started: std::sync::mpsc::Sender<()>,
) {
    let state = peers.0[index].state.clone();
    let (asleep, awake) = (state.clone(), state.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            asleep.turn();
            asleep.parked.store(true, Relaxed);
        })
        .on_thread_unpark(move || awake.parked.store(false, Relaxed))
        .build();
    // Without a reactor the worker does not report that it started, which ends the start.
    let Ok(runtime) = runtime else { return };
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let live = Rc::new(Live { count: Cell::new(0), state, idle: tokio::sync::Notify::new() });
        let wheel = Wheel::start();
        let made = make(Worker { index, peers, wheel, live: live.clone() });
        let awaited = started.send(()).is_ok();
        // The start waits for the end of this channel when another worker fails.
        drop(started);
        if awaited {
            read_mail(&made, mailbox, orders, &live).await;
        }
    });
    // Dropping the set here drops the tasks while the reactor still stands.
    drop(local);
}

/// Runs the mail that comes until the worker is to end.
async fn read_mail<T>(
    made: &Rc<T>,
    mut mailbox: mpsc::Receiver<Mail<T>>,
    mut orders: watch::Receiver<Order>,
    live: &Live,
) {
    loop {
        let order = *orders.borrow_and_update();
        if order == Order::Stop || (order == Order::Finish && live.count.get() == 0) {
            return;
        }
        tokio::select! {
            biased;
            // The control thread is gone: so is everything.
            changed = orders.changed() => if changed.is_err() { return },
            mail = mailbox.recv() => {
                let Some(mail) = mail else { return };
                // A panic was reported by the hook; it ends the message, not the worker.
                let _ = catch_unwind(AssertUnwindSafe(|| mail(made)));
            }
            () = live.idle.notified() => {}
        }
    }
}

/// Counts a thread's end, however it ends.
struct Ended(watch::Sender<usize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.send_modify(|ended| *ended += 1);
    }
}

/// Binds this thread to CPUs. Those the machine does not have are left out; the configuration
/// was written for another machine then, which is no reason not to serve.
pub fn bind_to_cpus(cpus: &[usize]) {
    if cpus.is_empty() {
        return;
    }
    let mut set = rustix::thread::CpuSet::new();
    for &cpu in cpus.iter().filter(|&&cpu| cpu < rustix::thread::CpuSet::MAX_CPU) {
        set.set(cpu);
    }
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

impl<T> Clone for Peers<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for Worker<T> {
    fn clone(&self) -> Self {
        Self {
            index: self.index,
            peers: self.peers.clone(),
            wheel: self.wheel.clone(),
            live: self.live.clone(),
        }
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the worker's mailbox is full or closed")
    }
}

impl std::error::Error for Undelivered {}

/// Messages a mailbox holds; at some 100 bytes each.
const MAILBOX_LEN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn options(count: usize) -> WorkerOptions {
        WorkerOptions { count, ..Default::default() }
    }

    #[test]
    fn mail_reaches_the_state_of_its_worker() {
        let workers =
            Workers::start(&options(3), |worker: Worker<usize>| Rc::new(worker.index())).unwrap();
        let (sender, receiver) = channel();
        for index in 0..3 {
            let sender = sender.clone();
            let mail = move |made: &Rc<usize>| sender.send(**made).unwrap();
            workers.peers().send(index, mail).unwrap();
        }
        drop(sender);
        let mut seen: Vec<usize> = receiver.iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
        workers.stop();
        workers.join();
    }

    struct Inner(Worker<Self>);

    #[test]
    fn a_finishing_worker_waits_for_its_tasks_and_a_stopped_one_does_not() {
        for stop in [false, true] {
            let mut workers =
                Workers::start(&options(1), |worker: Worker<Inner>| Rc::new(Inner(worker)))
                    .unwrap();
            let (release, released) = tokio::sync::oneshot::channel::<()>();
            let (done, finished) = channel();
            workers
                .peers()
                .send(0, move |made| {
                    made.0.spawn(async move {
                        let _ = released.await;
                        done.send(()).unwrap();
                    });
                })
                .unwrap();
            // A second message proves that the first has run.
            let (ran, running) = channel();
            workers.peers().send(0, move |_| ran.send(()).unwrap()).unwrap();
            running.recv().unwrap();
            assert_eq!(workers.peers().load(0), 1);
            workers.finish();
            assert_eq!(workers.ended_count(), 0);
            if stop {
                workers.stop();
                block_on(workers.ended());
                assert!(finished.recv().is_err());
            } else {
                release.send(()).unwrap();
                block_on(workers.ended());
                finished.recv().unwrap();
            }
            workers.join();
        }
    }

    #[test]
    fn a_panic_ends_neither_the_worker_nor_its_other_tasks() {
        let workers = Workers::start(&options(1), |_: Worker<()>| Rc::new(())).unwrap();
        let (sender, receiver) = channel();
        workers.peers().send(0, |_| panic!("expected: in mail")).unwrap();
        workers
            .peers()
            .send(0, |_| {
                tokio::task::spawn_local(async { panic!("expected: in a task") });
            })
            .unwrap();
        workers
            .peers()
            .send(0, move |_| {
                tokio::task::spawn_local(async move { sender.send(()).unwrap() });
            })
            .unwrap();
        receiver.recv().unwrap();
        workers.stop();
        workers.join();
    }

    #[test]
    fn a_worker_that_cannot_start_is_an_error() {
        let result = Workers::<()>::start(&options(2), |worker| {
            assert!(worker.index() == 0, "expected: the second does not start");
            Rc::new(())
        });
        assert!(result.is_err());
    }

    #[test]
    fn a_worker_in_a_long_computation_is_named_once() {
        let mut workers = Workers::start(&options(2), |_: Worker<()>| Rc::new(())).unwrap();
        let (entered, inside) = channel();
        let (release, released) = channel::<()>();
        workers
            .peers()
            .send(1, move |_| {
                entered.send(()).unwrap();
                let _ = released.recv();
            })
            .unwrap();
        inside.recv().unwrap();
        while !workers.peers().0[0].state.parked.load(Relaxed) {
            std::thread::yield_now();
        }
        let limit = Duration::from_secs(2);
        let start = Instant::now();
        assert_eq!(workers.stuck(start, limit), []);
        let later = start + limit;
        let named: Vec<usize> =
            workers.stuck(later, limit).iter().map(|stuck| stuck.index).collect();
        assert_eq!(named, [1]);
        assert_eq!(workers.stuck(later, limit), []);
        release.send(()).unwrap();
        workers.stop();
        workers.join();
    }
}
