//! The control thread of the serving process: it starts the planes, and then waits for signals, for its parent, and
//! for the end.

use std::cell::Cell;
use std::collections::HashMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use telamon_config::Environment;
use telamon_console::Console;
use telamon_console::api::{CliSocket, Processes, SessionOptions, Table, Variables};
use telamon_console::page::{Pages, Settings};
use telamon_proxy::log::notice;
use telamon_proxy::model::Model;
use telamon_proxy::plane::Plane;
use telamon_proxy::stats::Statistics;
use telamon_runtime::api::{Answer, Command, Level};
use telamon_runtime::files::{Files, Replay};
use telamon_runtime::handover::Offer;
use telamon_runtime::limit::Limit;
use telamon_runtime::parent::{self, ChildLink, ChildStream, FromChild, ToChild};
use telamon_runtime::process::{self, Background, Notify, Privileges};
use telamon_runtime::registry::Bound;
use telamon_runtime::service;
use telamon_runtime::workers::{block_on, report_panics};
use telamon_runtime::{Endpoint, Listener, Signal, Signals, signals};
use tokio::time::Instant;

use crate::master::Master;
use crate::options::Options;
use crate::sockets;
use crate::start::{self, Failure, Ready};

/// What the serving process starts with.
pub(crate) struct Serving<'a> {
    pub(crate) options: &'a Options,
    /// Where a reload reads from, unless a parent sends what it has read.
    pub(crate) files: Rc<dyn Files>,
    pub(crate) ready: Ready,
    pub(crate) signals: Signals,
    pub(crate) link: Option<ChildLink>,
    pub(crate) background: Option<Background>,
    pub(crate) notify: Option<Notify>,
    pub(crate) privileges: Privileges,
    /// The demo's live line of how requests spread.
    pub(crate) spread_line: bool,
}

/// Serves until told to stop; returns the exit status, unless it ends by the signal that told it.
pub(crate) fn run(serving: Serving<'_>) -> Result<ExitCode, Failure> {
    serving
        .privileges
        .drop_to()
        .map_err(|error| Failure(format!("cannot give up privileges: {error}")))?;
    if serving.ready.model.global.set_dumpable {
        process::set_dumpable().map_err(|error| Failure(format!("set-dumpable: {error}")))?;
    }
    if serving.link.is_some() {
        parent::follow_parent()
            .map_err(|error| Failure(format!("cannot follow the parent: {error}")))?;
    }
    report_panics(|text| notice::alert(format_args!("a task panicked and was ended: {text}")));
    let demo = serving.spread_line;
    Ok(match block_on(serve(serving))? {
        // Ctrl-C is how the demo is meant to end.
        Some(_) if demo => ExitCode::SUCCESS,
        Some(signal) => ExitCode::from(signals::end_by(signal)),
        None => ExitCode::SUCCESS,
    })
}

/// Why the loop turns.
enum Event {
    Signal(Signal),
    Parent(Option<ToChild>),
    Ended,
    Tick,
    /// `grace` has passed.
    Finish,
    HardStop,
    /// A client of the master's socket asks for a reload.
    ReloadWanted,
}

/// Serves until the end; returns the signal that asked for it, if one did.
async fn serve(serving: Serving<'_>) -> Result<Option<Signal>, Failure> {
    let Serving { options, files, ready, signals, link, background, notify, spread_line, .. } =
        serving;
    let Ready { model, environment, mut registry, workers, maxconn } = ready;
    let (page, inbox) = service::channel();
    let mut plane = Plane::start(model, &registry, workers, maxconn, page)
        .await
        .map_err(|error| Failure(format!("cannot start: {error}")))?;
    let console = Arc::new(Console::new(vec![Arc::new(Statistics::new(plane.view().clone()))]));
    let pages = Rc::new(Pages::new(Arc::clone(&console)));
    pages.set(page_settings(&plane.snapshot().model));
    tokio::task::spawn_local(inbox.serve(Rc::clone(&pages)));
    let pid = if link.is_some() { std::os::unix::process::parent_id() } else { std::process::id() };
    let master = Master::new(pid);
    let mut sockets = Sockets::new(Arc::clone(&console), Rc::clone(&master));
    sockets.set_variables(&environment, &plane);
    sockets.open(&plane, &registry).await;

    let signal_stream =
        signals.stream().map_err(|error| Failure(format!("cannot receive signals: {error}")))?;
    let mut parent = link
        .map(ChildLink::into_stream)
        .transpose()
        .map_err(|error| Failure(format!("the parent is out of reach: {error}")))?;
    if parent.is_none() {
        // Else the parent does: this process may have no right to.
        start::replace_old(options);
    }
    let predecessors = options.replaces.as_ref().map(|replaces| {
        tokio::task::spawn_local(take_all_once_gone(replaces.pids.clone(), registry.clone()))
    });
    if let Some(parent) = &mut parent {
        parent
            .send(&FromChild::Ready)
            .map_err(|error| Failure(format!("the parent is out of reach: {error}")))?;
    }
    if let Some(background) = background {
        // The parent tells the process that was started.
        let told = if parent.is_some() { background.follow() } else { background.ready() };
        told.map_err(|error| Failure(format!("background: {error}")))?;
    }
    if let Some(notify) = &notify {
        // A service manager that does not listen is its own fault.
        let _ = notify.ready(std::process::id());
    }
    notice::started();

    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let (mut finish, mut hard_stop): (Option<Instant>, Option<Instant>) = (None, None);
    let mut hard_stopped = false;
    let mut spread = spread_line.then(Spread::default);
    let mut told = None;
    loop {
        let event = tokio::select! {
            signal = signal_stream.next() => match signal {
                Ok(signal) => Event::Signal(signal),
                Err(error) => return Err(Failure(format!("cannot receive signals: {error}"))),
            },
            message = from_parent(&mut parent) => Event::Parent(message),
            () = plane.ended() => Event::Ended,
            _ = tick.tick() => Event::Tick,
            () = at(finish) => Event::Finish,
            () = at(hard_stop) => Event::HardStop,
            () = master.reload_wanted() => Event::ReloadWanted,
        };
        let event = match event {
            Event::ReloadWanted => match &mut parent {
                // It has to read the files, and answers with what it has read.
                Some(parent) => {
                    if parent.send(&FromChild::ReloadWanted).is_err() {
                        break;
                    }
                    continue;
                }
                None => Event::Signal(Signal::Reload),
            },
            event => event,
        };
        match event {
            Event::Signal(signal @ (Signal::Terminate | Signal::Interrupt)) => {
                told = Some(signal);
                break;
            }
            Event::Parent(Some(ToChild::Stop) | None) => break,
            Event::Signal(Signal::Finish) | Event::Parent(Some(ToChild::Finish)) => {
                if let Some(notify) = &notify {
                    let _ = notify.stopping();
                }
                plane.announce_stop();
                let grace = plane.snapshot().model.global.grace.unwrap_or_default();
                finish.get_or_insert_with(|| Instant::now() + grace);
            }
            Event::Finish => {
                finish = None;
                // A successor that shares the ports gets all that comes from now on.
                if let Some(waiting) = &predecessors {
                    // It would undo the steering of this process instead of its predecessor's.
                    waiting.abort();
                }
                registry.steer_away();
                // Who has begun to connect here ends up here, and would be reset if it found the door closed.
                tokio::time::sleep(HANDSHAKES).await;
                let gone = registry.take_all();
                // The files of sockets that a successor has fetched are its own.
                if !sockets.fetched.get() {
                    gone.iter().for_each(Bound::remove_file);
                }
                drop(gone);
                sockets.close().await;
                plane.finish().await;
                let after = plane.snapshot().model.global.hard_stop_after;
                hard_stop = after.map(|after| Instant::now() + after);
            }
            Event::Signal(Signal::Pause) | Event::Parent(Some(ToChild::Pause)) => {
                registry.release_names();
                plane.pause(&registry).await;
            }
            Event::Signal(Signal::Resume) | Event::Parent(Some(ToChild::Resume)) => {
                let model = &plane.snapshot().model;
                if let Err(why) = sockets::bind_again(&mut registry, model, workers, &*files) {
                    notice::alert(format_args!("{why}"));
                }
                plane.resume(&registry).await;
            }
            Event::Signal(Signal::Hangup) | Event::Parent(Some(ToChild::LogServerStates)) => {
                plane.log_server_states();
            }
            Event::Signal(Signal::Reload) => {
                if let Some(notify) = &notify {
                    let _ = notify.reloading();
                }
                let reloaded =
                    reload(&mut plane, &mut registry, Rc::clone(&files), options, workers).await;
                master.reloaded(reloaded.is_ok());
                match &reloaded {
                    Ok(environment) => {
                        pages.set(page_settings(&plane.snapshot().model));
                        sockets.set_variables(environment, &plane);
                        sockets.open(&plane, &registry).await;
                    }
                    Err(why) => {
                        notice::alert(format_args!("the new configuration is not used: {why}"));
                    }
                }
                if let Some(notify) = &notify {
                    let _ = notify.ready(std::process::id());
                }
            }
            Event::Parent(Some(ToChild::Load(recorded))) => {
                let files: Rc<dyn Files> = Rc::new(Replay::new(recorded));
                let reloaded = reload(&mut plane, &mut registry, files, options, workers).await;
                master.reloaded(reloaded.is_ok());
                let answer = match reloaded {
                    Ok(environment) => {
                        pages.set(page_settings(&plane.snapshot().model));
                        sockets.set_variables(&environment, &plane);
                        sockets.open(&plane, &registry).await;
                        FromChild::Ready
                    }
                    Err(why) => FromChild::Refused(why),
                };
                if let Some(parent) = &mut parent
                    && parent.send(&answer).is_err()
                {
                    break;
                }
            }
            Event::Tick => {
                console.sample(plane.shared().now_ms());
                for stuck in plane.stuck() {
                    notice::alert(format_args!(
                        "worker {} has not turned its loop for {} ms",
                        stuck.index + 1,
                        stuck.silent.as_millis()
                    ));
                }
                if let Some(spread) = &mut spread {
                    spread.show(&plane.snapshot().model);
                }
            }
            Event::Parent(Some(ToChild::ReloadFailed)) => master.reloaded(false),
            Event::ReloadWanted => {}
            Event::Ended => return Ok(None),
            Event::HardStop if !hard_stopped => {
                hard_stopped = true;
                plane.hard_stop().await;
                hard_stop = Some(Instant::now() + HARD_STOP_PATIENCE);
            }
            Event::HardStop => {
                plane.tell_resisted();
                break;
            }
        }
    }
    if !sockets.fetched.get() {
        registry.take_all().iter().for_each(Bound::remove_file);
    }
    plane.stop();
    plane.ended().await;
    Ok(told)
}

/// Loads the configuration anew and puts it in force, or says why it is not. Returns its variables.
async fn reload(
    plane: &mut Plane,
    registry: &mut telamon_runtime::Registry,
    files: Rc<dyn Files>,
    options: &Options,
    workers: usize,
) -> Result<Environment, String> {
    let start::Read { model, source, environment } = start::read(Rc::clone(&files), options)
        .ok_or("it has errors; the one before still serves")?;
    if let Some(setting) = start::needs_restart(&plane.snapshot().model, &model) {
        return Err(format!("a change of `{setting}` needs a restart"));
    }
    for setting in start::waits_for_restart(&plane.snapshot().model, &model) {
        notice::warning(format_args!("the change of `{setting}` waits for the next start"));
    }
    let maxconn = start::descriptors(&model, workers).map_err(|Failure(why)| why)?;
    let gone =
        sockets::bind(registry, &model, &source, workers, &*files).map_err(|Failure(why)| why)?;
    // The workers let in who is queued and close the sockets; nothing else may hold them.
    for bound in gone {
        bound.remove_file();
    }
    plane.reload(model, maxconn, registry).await;
    notice::notice(format_args!("the new configuration is in force"));
    Ok(environment)
}

/// Processes that leave steer new connections towards one of our sockets; once they are gone all get their share.
async fn take_all_once_gone(pids: Vec<u32>, registry: telamon_runtime::Registry) {
    while pids.iter().any(|pid| process::is_alive(*pid)) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    registry.steer_freely();
}

async fn from_parent(parent: &mut Option<ChildStream>) -> Option<ToChild> {
    match parent {
        // A channel that breaks is a parent that is gone.
        Some(parent) => parent.receive().await.unwrap_or(None),
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The pages' settings, by proxy.
fn page_settings(model: &Model) -> HashMap<String, Settings> {
    let pages = model.proxies.iter().filter_map(|proxy| Some((proxy, proxy.stats.as_ref()?)));
    pages
        .map(|(proxy, page)| {
            let own =
                |name: &str| if name == "." { proxy.name.as_ref().into() } else { name.into() };
            let settings = Settings {
                uri: String::from_utf8_lossy(&page.uri).into_owned(),
                refresh: page.refresh,
                hide_version: page.hide_version,
                scope: page.scope.iter().map(|name| own(name)).collect(),
                show_legends: page.show_legends,
                node: page.show_node.as_deref().map(str::to_owned),
                description: page.show_desc.as_deref().map(str::to_owned),
            };
            (proxy.name.to_string(), settings)
        })
        .collect()
}

/// The listening ends of the runtime API (`stats socket`).
struct Sockets {
    console: Arc<Console>,
    master: Rc<Master>,
    variables: Variables,
    limit: Limit,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// A successor has fetched the listening sockets (`expose-fd listeners`).
    fetched: Rc<Cell<bool>>,
}

impl Sockets {
    fn new(console: Arc<Console>, master: Rc<Master>) -> Self {
        let (limit, variables) = (Limit::new(STATS_MAXCONN), Arc::from([]));
        Self { console, master, variables, limit, tasks: Vec::new(), fetched: Rc::default() }
    }

    /// Takes over the variables that the configuration has left, and says where the sockets are.
    fn set_variables(&mut self, environment: &Environment, plane: &Plane) {
        let mut environment = environment.clone();
        let sockets = &plane.snapshot().model.global.stats_sockets;
        for (name, master) in [("HAPROXY_CLI", false), ("HAPROXY_MASTER_CLI", true)] {
            let addresses: Vec<String> = sockets
                .iter()
                .filter(|socket| socket.master == master)
                .filter_map(|socket| socket.bind.address.endpoint())
                .map(|address| telamon_console::api::prefixed(&address))
                .collect();
            if !addresses.is_empty() {
                environment.set(name, addresses.join(";"));
            }
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let variables = environment.variables().map(|(name, value)| (text(name), text(value)));
        self.variables = variables.collect();
    }

    /// Listens as the configuration in force says; connections that are open stay.
    async fn open(&mut self, plane: &Plane, registry: &telamon_runtime::Registry) {
        self.close().await;
        let model = &plane.snapshot().model;
        let listed: Vec<CliSocket> = model
            .global
            .stats_sockets
            .iter()
            .map(|socket| CliSocket {
                address: socket.bind.address.endpoint().unwrap_or(Endpoint::Unnamed),
                level: socket.level,
            })
            .collect();
        let generic = telamon_console::api::generic(
            &self.console,
            listed.clone(),
            Arc::clone(&self.variables),
        );
        let commands = telamon_proxy::api::commands(plane.view());
        let table = Rc::new(Table::new(generic.into_iter().chain(commands)));
        let exposing = model.global.stats_sockets.iter().any(|socket| socket.exposes).then(|| {
            let generic = telamon_console::api::generic(
                &self.console,
                listed.clone(),
                Arc::clone(&self.variables),
            );
            let commands = telamon_proxy::api::commands(plane.view());
            let hand_over = self.hand_over(registry);
            Rc::new(Table::new(generic.into_iter().chain(commands).chain([hand_over])))
        });
        let masters =
            telamon_console::api::generic(&self.console, listed, Arc::clone(&self.variables))
                .into_iter()
                .filter(|command| {
                    matches!(command.words, ["show", "version"] | ["show", "cli", "sockets"])
                });
        let processes = Processes { worker: std::process::id(), worker_table: Rc::clone(&table) };
        let master = Rc::new(Table::master(masters.chain(self.master.commands()), processes));
        self.limit.set_max(model.global.stats_maxconn.unwrap_or(STATS_MAXCONN));
        let timeout = model.global.stats_timeout.unwrap_or(STATS_TIMEOUT);
        for socket in &model.global.stats_sockets {
            let options = SessionOptions {
                level: socket.level,
                timeout,
                command_len_max: model.global.tune.bufsize,
            };
            let Some(fd) = registry.get(&socket.bind).and_then(|bound| bound.sockets.first())
            else {
                continue;
            };
            let listener = match Listener::new(Arc::clone(fd)) {
                Ok(listener) => listener,
                Err(error) => {
                    notice::alert(format_args!(
                        "stats socket {}: {error}",
                        sockets::describe(&socket.bind)
                    ));
                    continue;
                }
            };
            let table = match (socket.master, &exposing) {
                (true, _) => &master,
                (false, Some(exposing)) if socket.exposes => exposing,
                (false, _) => &table,
            };
            let table = Rc::clone(table);
            let own = socket.maxconn.map(Limit::new);
            let limits: Vec<Limit> = [self.limit.clone()].into_iter().chain(own).collect();
            let shared = Arc::clone(plane.shared());
            self.tasks.push(tokio::task::spawn_local(async move {
                let starved = |failure| {
                    notice::alert(format_args!("stats socket: accepting rests: {failure}"))
                };
                let count = || _ = shared.socket_connections.fetch_add(1, Relaxed);
                let listens = telamon_console::api::listen(
                    &listener, &limits, table, options, starved, count,
                );
                if let Err(error) = listens.await {
                    notice::alert(format_args!("stats socket stops: {error}"));
                }
            }));
        }
    }

    /// `_getsocks`, by which a successor fetches the listening sockets. People have no use for it, so `help` is silent.
    fn hand_over(&self, registry: &telamon_runtime::Registry) -> Command {
        // A client of this socket that stays must not keep the others open.
        let weak = |offer: Offer| (Arc::downgrade(&offer.socket), offer.interface);
        let offers: Vec<_> = registry.offers().into_iter().map(weak).collect();
        let fetched = Rc::clone(&self.fetched);
        Command {
            words: &["_getsocks"],
            level: Level::User,
            usage: "",
            help: "",
            run: Box::new(move |_| {
                fetched.set(true);
                let open = offers.iter().filter_map(|(socket, interface)| {
                    Some(Offer { socket: socket.upgrade()?, interface: interface.clone() })
                });
                Answer::Sockets(open.collect())
            }),
        }
    }

    /// Stops listening. A socket leaves the reactor with its task, so the tasks are waited for: one that
    /// stays is registered anew at once.
    async fn close(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // It was aborted, or had ended by itself.
            let _ = task.await;
        }
    }
}

/// How long connections that were begun before new ones were steered away may take to stand.
const HANDSHAKES: Duration = Duration::from_millis(50);

/// How long requests that were cut off may take to answer and to be logged.
const HARD_STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Clients of the runtime API at a time, unless `stats maxconn` says otherwise.
const STATS_MAXCONN: u32 = 10;
/// How long such a client may be silent, unless `stats timeout` says otherwise.
const STATS_TIMEOUT: Duration = Duration::from_secs(10);

/// The demo's live line.
#[derive(Default)]
struct Spread {
    before: Vec<u64>,
}

impl Spread {
    fn show(&mut self, model: &Model) {
        use std::io::Write;
        let servers = model
            .proxies
            .iter()
            .filter_map(|proxy| proxy.backend.as_ref())
            .flat_map(|b| &b.servers);
        let mut line = String::from("\r");
        let mut counts = Vec::new();
        for (index, server) in servers.enumerate() {
            let total = server.state.member.counters.total(telamon_balance::Counter::Sessions);
            let rate = total - self.before.get(index).copied().unwrap_or(0);
            line.push_str(&format!(
                "{} {:<5} {total:>6} ({rate}/s)   ",
                server.name,
                server.state.member.status().text(None)
            ));
            counts.push(total);
        }
        self.before = counts;
        let mut out = std::io::stdout();
        // A reader that has gone is no failure.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}
