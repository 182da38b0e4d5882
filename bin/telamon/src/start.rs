//! From the command line to a process that serves: load, check, bind, fork, give up privileges.
//!
//! Nothing binds before everything is checked. With `user`, `group`, `chroot` or `-W` a small parent keeps the
//! privileges ([`supervise`]): it loads each configuration through a recording, so that the serving process gets the
//! bytes and sockets that the configuration names, and can ask for nothing else.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use telamon_config::{Diagnostics, Environment, Source, Style, TlsLibrary, check_condition};
use telamon_proxy::load::{self, LoadOptions, Loaded};
use telamon_proxy::log::notice;
use telamon_proxy::model::Model;
use telamon_runtime::files::{Direct, Files, Recording};
use telamon_runtime::handover::{self, Taken};
use telamon_runtime::parent::{self, FromChild, ParentEvent, ParentLink, Role, ToChild};
use telamon_runtime::process::{self, Background, DescriptorNeeds, Notify, Privileges};
use telamon_runtime::registry::Registry;
use telamon_runtime::{BindSpec, Neighbor, Signal, Signals, signals};

use crate::demo::{self, Demo, DemoFiles};
use crate::options::{Options, ReplaceHow};
use crate::serve::{self, Serving};
use crate::sockets;

/// The exit status for a configuration that is valid but has nothing to do.
const NOTHING_LISTENS: u8 = 2;

/// `-cc EXPR`.
pub(crate) fn condition(options: &Options, expression: &str) -> ExitCode {
    let mut source = Source::new();
    let file = source.add("-cc", expression.as_bytes().to_vec());
    let mut diagnostics = Diagnostics::new();
    match check_condition(&source, file, &surroundings(options), &mut diagnostics) {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::from(1),
        None => {
            show(&mut diagnostics, &source);
            ExitCode::from(2)
        }
    }
}

/// `-c` and `telamon check`.
pub(crate) fn check(options: &Options) -> ExitCode {
    let Some(Read { model, source, .. }) = read(Rc::new(Direct::new(Neighbor::Refused)), options)
    else {
        return ExitCode::FAILURE;
    };
    if !options.offline && sockets::check_inherited(&model, &source).is_err() {
        return ExitCode::FAILURE;
    }
    if listens(&model) {
        if !options.quiet {
            // A reader that has gone is no failure.
            let _ = writeln!(std::io::stdout(), "Configuration file is valid");
        }
        return ExitCode::SUCCESS;
    }
    if !options.quiet {
        eprintln!(
            "The configuration is valid, but nothing listens: it has no frontend with a `bind` line."
        );
    }
    ExitCode::from(NOTHING_LISTENS)
}

/// Runs a configuration until it is told to stop.
pub(crate) fn run(options: &Options) -> ExitCode {
    notice::set_quiet(options.quiet);
    let neighbor = if options.replaces.is_some() || options.takeover_socket.is_some() {
        Neighbor::Replaced
    } else {
        Neighbor::Refused
    };
    let direct = match take_over(options) {
        Ok(taken) => Direct::new(neighbor).with_taken(taken),
        Err(failure) => return done(Err(failure)),
    };
    done(begin(direct, options))
}

/// `-x`: the listening sockets of the process that this one replaces.
fn take_over(options: &Options) -> Result<Vec<Taken>, Failure> {
    // Scripts pass it where there is no process to replace yet.
    let from = options.takeover_socket.as_deref().filter(|path| *path != Path::new("/dev/null"));
    let Some(path) = from else { return Ok(Vec::new()) };
    handover::take(path).or_else(|error| {
        let why = notice::text_of(&error);
        let text = format!("-x {}: no sockets from the old process: {why}", path.display());
        // A master goes on, with sockets of its own.
        if options.master_worker {
            notice::warning(format_args!("{text}"));
            return Ok(Vec::new());
        }
        Err(Failure(text))
    })
}

/// `telamon demo`.
pub(crate) fn demo() -> ExitCode {
    let started = (|| {
        // Before any thread exists, so that all of them leave the signals to the control thread.
        let signals = open_signals()?;
        let mut demo =
            Demo::prepare().map_err(|error| Failure(format!("no free port: {error}")))?;
        demo.start_servers().map_err(|error| Failure(format!("starting servers: {error}")))?;
        let options =
            Options { files: vec![demo::FILE.into()], foreground: true, ..Options::default() };
        let files: Rc<dyn Files> = Rc::new(DemoFiles::new(&demo.configuration));
        let ready = prepare(&files, &options)?;
        print!("{}", demo.introduction());
        serve::run(Serving {
            options: &options,
            files,
            ready,
            signals,
            link: None,
            background: None,
            notify: None,
            privileges: Privileges::default(),
            spread_line: true,
        })
    })();
    done(started)
}

/// Why the process could not start; what was wrong in the configuration has been shown already.
#[derive(Debug)]
pub(crate) struct Failure(pub String);

/// Everything that a process needs to serve.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) model: Model,
    pub(crate) environment: Environment,
    pub(crate) registry: Registry,
    pub(crate) workers: usize,
    pub(crate) maxconn: u32,
}

fn done(started: Result<ExitCode, Failure>) -> ExitCode {
    match started {
        Ok(code) => code,
        Err(Failure(message)) => {
            if !message.is_empty() {
                notice::alert(format_args!("{message}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn begin(direct: Direct, options: &Options) -> Result<ExitCode, Failure> {
    let signals = open_signals()?;
    let notify = options
        .notify
        .then(Notify::from_environment)
        .transpose()
        .map_err(|error| Failure(format!("NOTIFY_SOCKET: {error}")))?;
    if let Some(megabytes) = options.memory_mb {
        limit_memory(megabytes)?;
    }
    let files: Rc<dyn Files> = Rc::new(direct.clone());
    let mut ready = prepare(&files, options)?;
    direct.close_unused();
    notice::set_quiet(is_quiet(&ready.model, options));
    if !listens(&ready.model) {
        notice::alert(format_args!(
            "the configuration has no error but nothing listens (no `bind` line): exit(2)"
        ));
        return Ok(ExitCode::from(NOTHING_LISTENS));
    }
    let privileges = privileges(&ready.model);
    let master = options.master_worker || ready.model.global.master_worker;
    let daemon =
        (options.daemon || ready.model.global.daemon) && !options.foreground && !options.notify;
    let background = daemon
        .then(process::daemonize)
        .transpose()
        .map_err(|error| Failure(format!("cannot go into the background: {error}")))?;
    write_pidfile(options, &ready.model)?;
    if master || !privileges.is_empty() {
        return match parent::split().map_err(|error| Failure(format!("cannot fork: {error}")))? {
            Role::Parent(link) => {
                ready.registry.give_away();
                let registry = ready.registry;
                drop(ready.model);
                supervise(Supervised {
                    options,
                    files,
                    registry,
                    link,
                    signals,
                    notify,
                    background,
                    master,
                })
            }
            Role::Child(link) => serve::run(Serving {
                options,
                files,
                ready,
                signals,
                link: Some(link),
                background,
                notify: None,
                privileges,
                spread_line: false,
            }),
        };
    }
    serve::run(Serving {
        options,
        files,
        ready,
        signals,
        link: None,
        background,
        notify,
        privileges,
        spread_line: false,
    })
}

/// `-m`: limits the memory of the process.
///
/// The allocator reserves a gigabyte ahead, which counts; how much it reads from its environment when the program
/// begins, so the program begins once more.
fn limit_memory(megabytes: u64) -> Result<(), Failure> {
    use std::os::unix::process::CommandExt;
    if std::env::var_os(RESERVE).is_none() {
        let mut again = std::process::Command::new("/proc/self/exe");
        again.args(std::env::args_os().skip(1)).env(RESERVE, RESERVE_KIB);
        telamon_runtime::signals::unblock();
        return Err(Failure(format!("-m: cannot begin once more: {}", again.exec())));
    }
    process::limit_memory(megabytes).map_err(|error| Failure(format!("-m {megabytes}: {error}")))
}

/// The allocator's variable for what it reserves at a time, and what `-m` leaves it, in KiB.
const RESERVE: &str = "MIMALLOC_ARENA_RESERVE";
const RESERVE_KIB: &str = "16384";

/// Loads, checks and binds.
fn prepare(files: &Rc<dyn Files>, options: &Options) -> Result<Ready, Failure> {
    let Read { model, source, environment } =
        read(Rc::clone(files), options).ok_or(Failure(String::new()))?;
    let workers = worker_count(&model);
    let maxconn = descriptors(&model, workers)?;
    let mut registry = Registry::default();
    let paused = make_room(&model, options, &**files);
    if let Err(failure) = sockets::bind(&mut registry, &model, &source, workers, &**files) {
        if paused {
            signal_old(options, Signal::Resume);
        }
        return Err(failure);
    }
    Ok(Ready { model, environment, registry, workers, maxconn })
}

/// A configuration that can be used.
pub(crate) struct Read {
    pub(crate) model: Model,
    /// To show what only its use will tell.
    pub(crate) source: Source,
    pub(crate) environment: Environment,
}

/// Reads the configuration and shows what is wrong with it; `None` when it cannot be used.
pub(crate) fn read(files: Rc<dyn Files>, options: &Options) -> Option<Read> {
    let load_options = LoadOptions {
        paths: options.files.clone(),
        offline: options.offline,
        lenient: options.lenient,
        diagnostic: options.diagnostics,
        maxconn: options.maxconn,
        proxy_maxconn: options.proxy_maxconn,
        local_peer: options.local_peer.clone(),
        master_socket: options.master_socket.clone(),
        ignore_resolve_failures: options.ignore_resolve_failures,
        workers: cores(),
    };
    let Loaded { model, mut diagnostics, source, environment } =
        load::load(&load_options, surroundings(options), files);
    let quiet = options.quiet || model.as_ref().is_some_and(|model| is_quiet(model, options));
    if diagnostics.has_errors() || !(quiet || diagnostics.is_empty()) {
        show(&mut diagnostics, &source);
    }
    let mut model = model?;
    let strict = options.warnings_are_errors || model.global.zero_warning;
    if strict && diagnostics.warnings() > 0 {
        notice::alert(format_args!(
            "not used: {} makes {}",
            if options.warnings_are_errors { "-dW" } else { "`zero-warning`" },
            match diagnostics.warnings() {
                1 => "the warning an error".to_owned(),
                count => format!("the {count} warnings errors"),
            }
        ));
        return None;
    }
    model.global.nosplice |= options.no_splice;
    Some(Read { model, source, environment })
}

/// Whether nothing is said at the start: `-q`, or `quiet` unless the command line asks for more.
fn is_quiet(model: &Model, options: &Options) -> bool {
    options.quiet || (model.global.quiet && !options.verbose && !options.debug)
}

pub(crate) fn show(diagnostics: &mut Diagnostics, source: &Source) {
    let style = if std::io::stderr().is_terminal() { Style::Colored } else { Style::Plain };
    // Standard error may be closed; there is nobody else to tell.
    let _ = std::io::stderr().write_all(diagnostics.render(source, style).as_bytes());
}

/// The variables and features that a configuration may ask about.
fn surroundings(options: &Options) -> Environment {
    let variables = std::env::vars_os()
        .map(|(name, value)| (name.into_encoded_bytes(), value.into_encoded_bytes()));
    let peer = options.local_peer.clone().unwrap_or_else(process::hostname);
    let mut environment = Environment::new()
        .with_variables(variables)
        .with_features(FEATURES)
        .with_tls(TLS_LIBRARY)
        .with_local_peer(&peer);
    if options.master_worker {
        environment.set("HAPROXY_MWORKER", "1");
    }
    environment
}

/// Build features by HAProxy's names, for `feature(…)` conditions.
const FEATURES: &[(&str, bool)] = &[
    ("EPOLL", true),
    ("LINUX_SPLICE", true),
    ("SYSTEMD", true),
    ("THREAD", true),
    ("TPROXY", true),
    ("OPENSSL", true),
    ("LUA", false),
    ("PCRE", false),
    ("ZLIB", false),
    ("SLZ", false),
    ("QUIC", false),
];

/// Whose words a configuration may use: the names of ciphers and curves, the numbers of errors. The library itself is
/// another one.
const TLS_LIBRARY: TlsLibrary = TlsLibrary { name: "OpenSSL 3.0 (rustls)", version: "3.0.0" };

/// Worker threads: `nbthread`, else one for each core that this process may use.
pub(crate) fn worker_count(model: &Model) -> usize {
    model.global.nbthread.unwrap_or_else(cores)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The first setting that differs between two configurations and cannot change while the process runs.
pub(crate) fn needs_restart(before: &Model, after: &Model) -> Option<&'static str> {
    let (a, b) = (&before.global, &after.global);
    let settings = [
        ("nbthread", worker_count(before) != worker_count(after)),
        ("cpu-map", a.cpu_map != b.cpu_map),
        ("user", a.uid != b.uid),
        ("group", a.gid != b.gid),
        ("chroot", a.chroot != b.chroot),
    ];
    settings.into_iter().find(|(_, differs)| *differs).map(|(name, _)| name)
}

/// Settings that differ between two configurations and are looked at only when the process starts.
pub(crate) fn waits_for_restart(before: &Model, after: &Model) -> Vec<&'static str> {
    let (a, b) = (&before.global, &after.global);
    let settings = [
        ("daemon", a.daemon != b.daemon),
        ("master-worker", a.master_worker != b.master_worker),
        ("pidfile", a.pidfile != b.pidfile),
        ("set-dumpable", a.set_dumpable != b.set_dumpable),
    ];
    settings.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// Whether a configuration has anything to do: clients to accept, or a runtime API that tells of its checks.
fn listens(model: &Model) -> bool {
    let masters = model.global.stats_sockets.iter().filter(|socket| socket.master).count();
    sockets::count(model) > masters
}

/// Raises the limit of descriptors to what `maxconn` needs, or computes `maxconn` from the limit. Under
/// `no strict-limits` what cannot be raised is a warning, and `maxconn` becomes what fits.
pub(crate) fn descriptors(model: &Model, workers: usize) -> Result<u32, Failure> {
    let global = &model.global;
    let sockets = sockets::count(model) as u64 * workers as u64;
    let checks = telamon_proxy::check::descriptors_max(model) as u64;
    let nameservers = telamon_proxy::resolve::descriptors_max(model) as u64;
    let needs = DescriptorNeeds {
        // Listeners, per worker an epoll, a parking epoll and an event, checks in flight, name servers, standard streams, logs.
        fixed: sockets + 4 * workers as u64 + checks + nameservers + 64,
        pipes: u64::from(global.maxpipes.unwrap_or(0)),
    };
    let insist = |message: String| {
        if global.strict_limits == Some(false) {
            notice::warning(format_args!("{message}"));
            return Ok(());
        }
        Err(Failure(message))
    };
    let (_, hard) = process::descriptor_limits();
    let mut ulimit = global.ulimit_n;
    if let Some(limit) = global.ulimit_n
        && let Err(shortage) = process::raise_descriptor_limit(limit)
    {
        let (wanted, allowed) = (shortage.wanted, shortage.allowed);
        insist(format!("ulimit-n {wanted}: only {allowed} descriptors are permitted"))?;
        ulimit = Some(allowed);
    }
    let Some(maxconn) = global.maxconn else {
        // The kernel's limit may be infinite; no machine has a use for more than this.
        let most = global.fd_hard_limit.unwrap_or(DESCRIPTORS_MAX);
        let limit = ulimit.unwrap_or(hard.min(most)).min(DESCRIPTORS_MAX.max(most));
        let _ = process::raise_descriptor_limit(limit);
        let fits = needs.maxconn_within(limit);
        return Ok(u32::try_from(fits).unwrap_or(u32::MAX).max(1));
    };
    let wanted = needs.for_connections(u64::from(maxconn));
    match process::raise_descriptor_limit(wanted) {
        Ok(()) => Ok(maxconn),
        Err(shortage) => {
            let fits = needs.maxconn_within(shortage.allowed);
            insist(format!(
                "maxconn {maxconn} needs {} descriptors but only {} are permitted; \
                 the largest maxconn that fits is {fits} (raise `ulimit -n`, or LimitNOFILE= of the systemd unit)",
                shortage.wanted, shortage.allowed,
            ))?;
            Ok(u32::try_from(fits).unwrap_or(maxconn).clamp(1, maxconn))
        }
    }
}

const DESCRIPTORS_MAX: u64 = 1 << 20;

fn privileges(model: &Model) -> Privileges {
    let global = &model.global;
    Privileges {
        uid: global.uid,
        gid: global.gid,
        chroot: global.chroot.as_deref().map(Into::into),
    }
}

fn open_signals() -> Result<Signals, Failure> {
    Signals::open().map_err(|error| Failure(format!("cannot receive signals: {error}")))
}

fn write_pidfile(options: &Options, model: &Model) -> Result<(), Failure> {
    let configured = model.global.pidfile.as_deref().map(std::path::Path::new);
    let Some(path) = options.pidfile.as_deref().or(configured) else { return Ok(()) };
    process::write_pid_file(path)
        .map_err(|error| Failure(format!("cannot write the pid file {}: {error}", path.display())))
}

/// Asks the processes that this one replaces (`-sf`, `-st`) to let go of addresses that two cannot have, if they have them,
/// and waits for a second. Returns whether they were asked.
fn make_room(model: &Model, options: &Options, files: &dyn Files) -> bool {
    if options.replaces.is_none() || options.takeover_socket.is_some() {
        return false;
    }
    let exclusive = sockets::exclusive(model);
    let taken = || {
        let taken = |spec: &&BindSpec| {
            let in_use = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
            files.bind(spec, 1).is_err_and(|error| in_use(&error))
        };
        exclusive.iter().any(taken)
    };
    if !taken() {
        return false;
    }
    signal_old(options, Signal::Pause);
    let end = Instant::now() + ROOM_PATIENCE;
    while taken() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// How long they may take to let go.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);

fn signal_old(options: &Options, signal: Signal) {
    for pid in options.replaces.iter().flat_map(|replaces| &replaces.pids) {
        // One that has gone needs no signal.
        let _ = process::signal(*pid, signal);
    }
}

/// Tells the processes that this one replaces to leave (`-sf`, `-st`).
pub(crate) fn replace_old(options: &Options) {
    let Some(replaces) = &options.replaces else { return };
    let signal = match replaces.how {
        ReplaceHow::Finish => Signal::Finish,
        ReplaceHow::Terminate => Signal::Terminate,
    };
    for pid in &replaces.pids {
        // One that has gone already needs no signal.
        if let Err(error) = process::signal(*pid, signal)
            && process::is_alive(*pid)
        {
            let why = notice::text_of(&error);
            notice::alert(format_args!("process {pid} cannot be told to leave: {why}"));
        }
    }
}

/// What the parent works with.
struct Supervised<'a> {
    options: &'a Options,
    files: Rc<dyn Files>,
    registry: Registry,
    link: ParentLink,
    signals: Signals,
    notify: Option<Notify>,
    background: Option<Background>,
    master: bool,
}

/// The parent: relays signals, reloads, and ends with the serving process.
fn supervise(mut parent: Supervised<'_>) -> Result<ExitCode, Failure> {
    let failed =
        |error: std::io::Error| Failure(format!("the serving process is out of reach: {error}"));
    // What the serving process has yet to answer: the sockets of a reload are in force once it says so.
    let mut pending: Option<Registry> = None;
    let mut stopping = None;
    // Whether the processes that this one replaces have been told.
    let mut replaced = false;
    // By which signal the end was asked for.
    let mut told = None;
    loop {
        let event = parent.link.wait(&parent.signals, stopping).map_err(failed)?;
        match event {
            ParentEvent::Message(FromChild::Ready) => {
                if !std::mem::replace(&mut replaced, true) {
                    replace_old(parent.options);
                }
                if let Some(mut registry) = pending.take() {
                    registry.give_away();
                    parent.registry = registry;
                }
                tell_ready(&mut parent)?;
            }
            ParentEvent::Message(FromChild::Refused(why)) => {
                pending = None;
                notice::alert(format_args!("the new configuration is not used: {why}"));
                tell_ready(&mut parent)?;
            }
            ParentEvent::Message(FromChild::ReloadWanted) | ParentEvent::Signal(Signal::Reload) => {
                pending = reload(&mut parent)?;
            }
            ParentEvent::Signal(Signal::Hangup) if parent.master => {
                pending = reload(&mut parent)?;
            }
            ParentEvent::Signal(Signal::Hangup) => {
                parent.link.send(ToChild::LogServerStates).map_err(failed)?;
            }
            ParentEvent::Signal(Signal::Pause) => {
                parent.link.send(ToChild::Pause).map_err(failed)?;
            }
            ParentEvent::Signal(Signal::Resume) => {
                parent.link.send(ToChild::Resume).map_err(failed)?;
            }
            ParentEvent::Signal(Signal::Finish) => {
                tell_stopping(&parent);
                parent.link.send(ToChild::Finish).map_err(failed)?;
            }
            ParentEvent::Signal(signal @ (Signal::Terminate | Signal::Interrupt)) => {
                told = Some(signal);
                tell_stopping(&parent);
                // It may be gone already; its end is the next event.
                let _ = parent.link.send(ToChild::Stop);
                stopping = Some(STOP_PATIENCE);
            }
            ParentEvent::Ended(status) => {
                if told.is_none() && status != 0 {
                    notice::alert(format_args!("the serving process ended with status {status}"));
                }
                return Ok(ExitCode::from(match told {
                    // As HAProxy's master: to be told to terminate is normal, an interrupt is reported.
                    Some(Signal::Terminate) if parent.master => 0,
                    Some(Signal::Interrupt) if parent.master => 130,
                    Some(signal) => signals::end_by(signal),
                    None => u8::try_from(status).unwrap_or(1),
                }));
            }
            ParentEvent::TimedOut => {
                let _ = process::kill(parent.link.child());
            }
        }
    }
}

/// How long the serving process may take to stop at once.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

fn tell_ready(parent: &mut Supervised<'_>) -> Result<(), Failure> {
    if let Some(background) = parent.background.take() {
        background.ready().map_err(|error| Failure(format!("background: {error}")))?;
    }
    if let Some(notify) = &parent.notify {
        // A service manager that does not listen is its own fault.
        let _ = notify.ready(process::pid());
    }
    Ok(())
}

fn tell_stopping(parent: &Supervised<'_>) {
    if let Some(notify) = &parent.notify {
        let _ = notify.stopping();
    }
}

/// Loads the configuration anew and sends it; returns the sockets as they will be, `None` when it is not used.
fn reload(parent: &mut Supervised<'_>) -> Result<Option<Registry>, Failure> {
    if let Some(notify) = &parent.notify {
        let _ = notify.reloading();
    }
    let recording = Rc::new(Recording::new(Rc::clone(&parent.files)));
    let read = read(Rc::clone(&recording) as Rc<dyn Files>, parent.options);
    let prepared = read.map(|Read { model, source, .. }| {
        let workers = worker_count(&model);
        let mut registry = parent.registry.clone();
        sockets::bind(&mut registry, &model, &source, workers, &*recording).map(|_| registry)
    });
    let registry = match prepared {
        Some(Ok(registry)) => registry,
        Some(Err(Failure(why))) => {
            notice::alert(format_args!("the new configuration is not used: {why}"));
            return reload_failed(parent);
        }
        None => {
            notice::alert(format_args!(
                "the new configuration is not used; the one before still serves"
            ));
            return reload_failed(parent);
        }
    };
    // The configuration that held the other reference is gone.
    let Some(recording) = Rc::into_inner(recording) else {
        return Err(Failure("a configuration is still being read".into()));
    };
    parent
        .link
        .send(ToChild::Load(recording.into_recorded()))
        .map_err(|error| Failure(format!("the serving process is out of reach: {error}")))?;
    Ok(Some(registry))
}

/// The serving process goes on as before, and counts the failure.
fn reload_failed(parent: &mut Supervised<'_>) -> Result<Option<Registry>, Failure> {
    // It may be gone already; its end is the next event.
    let _ = parent.link.send(ToChild::ReloadFailed);
    tell_ready(parent)?;
    Ok(None)
}
