//! The `global` section. Sizes and speed are in [`tune`](super::tune).

use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use telamon_config::{
    Address, AddressRules, Args, ConfigErrorKind, Diagnostics, Keyword, Modifier, Sections, Table,
    environment_keywords,
};
use telamon_runtime::BindSpec;

use super::MASTER_SOCKET;
use super::base::Base;
use super::bind::{self, BindSettings, Owner};
use super::settings::NUMBER_MAX;
use super::tls::TlsDefaults;
use super::{LoadOptions, tune};
use crate::expr::{Expr, LogFormat, ParseScope, Place};
use crate::log::{FormatUse, LogLine};
use crate::model::{Global, Mode, ProcessVariable, StatsSocket};
use crate::rules::{ErrorSets, Scope, VariableName};

type K = Keyword<GlobalContext>;

/// What the keywords of `global` fill in.
pub(super) struct GlobalContext {
    base: Rc<Base>,
    pub(super) global: Global,
    pub(super) maxrewrite: Option<usize>,
    /// `unix-bind`.
    pub(super) owner: Owner,
    sockets: Vec<SocketLine>,
    pub(super) tls: TlsDefaults,
}

/// One `stats socket` line.
struct SocketLine {
    address: (Address, telamon_config::Location),
    settings: BindSettings,
}

pub(super) static KEYWORDS: LazyLock<Table<GlobalContext>> = LazyLock::new(|| {
    Table::new(
        "keyword",
        &[
            ENVIRONMENT,
            PROCESS,
            LIMITS,
            WATCHING,
            tune::KEYWORDS,
            tune::ALLOCATION,
            tune::SCHEDULING,
            super::tls::GLOBAL,
            tune::HTTP2,
            tune::LUA,
            tune::COMPRESSION,
            tune::QUIC,
            tune::OTHERS,
            ABSENT,
        ],
    )
});

const ENVIRONMENT: &[K] = &environment_keywords();

const G: Sections = Sections::GLOBAL;

const PROCESS: &[K] = &[
    K::works("daemon", G, "daemon", "goes to the background", |global, args| {
        global.global.daemon = args.modifier() == Modifier::None;
    }),
    K::works(
        "master-worker",
        G,
        "master-worker [no-exit-on-failure]",
        "a small parent keeps the privileges",
        |global, args| {
            args.accept("no-exit-on-failure");
            global.global.master_worker = true;
        },
    ),
    K::works(
        "expose-experimental-directives",
        G,
        "expose-experimental-directives",
        "permits what HAProxy calls experimental, `http-request normalize-uri`",
        |global, _| global.base.experimental.set(true),
    ),
    K::works("user", G, "user <name>", "who the serving process is", |global, args| {
        let Some(name) = args.next("the name of a user") else { return };
        let base = Rc::clone(&global.base);
        global.global.uid = base.uid(args, name.text, name.at).map(|(uid, _)| uid);
    }),
    K::works("uid", G, "uid <number>", "who the serving process is", |global, args| {
        global.global.uid = args.integer("uid", 0..=u32::MAX);
    }),
    K::works("group", G, "group <name>", "the group of the serving process", |global, args| {
        let Some(name) = args.next("the name of a group") else { return };
        let base = Rc::clone(&global.base);
        global.global.gid = base.gid(args, name.text, name.at);
    }),
    K::works("gid", G, "gid <number>", "the group of the serving process", |global, args| {
        global.global.gid = args.integer("gid", 0..=u32::MAX);
    }),
    K::works(
        "chroot",
        G,
        "chroot <directory>",
        "the directory that the serving process is locked into",
        |global, args| {
            global.global.chroot = args.next("a directory").map(|token| token.text.into());
        },
    ),
    K::works(
        "pidfile",
        G,
        "pidfile <file>",
        "where the process number is written",
        |global, args| {
            global.global.pidfile = args.next("a file").map(|token| token.text.into());
        },
    ),
    K::works(
        "default-path",
        G,
        "default-path { current | config | parent | origin <directory> }",
        "what relative paths begin from",
        |_, args| {
            let token = args.peek();
            match args.one_of(
                "place",
                &[("current", true), ("config", false), ("parent", false), ("origin", false)],
            ) {
                Some(true) | None => {}
                Some(false) => {
                    args.skip_rest();
                    let at = token.map_or(args.at(), |token| token.at);
                    let keyword = format!("default-path {}", token.map_or("", |token| token.text));
                    args.report(at, ConfigErrorKind::NotYet { keyword, guards_access: true });
                }
            }
        },
    ),
    K::works(
        "localpeer",
        G,
        "localpeer <name>",
        "what other balancers call this one",
        |_, args| {
            // Read when the text was; there is nobody to tell it to yet.
            args.next("a name");
        },
    ),
    K::works(
        "server-state-base",
        G,
        "server-state-base <directory>",
        "where the files of servers' states are",
        |global, args| {
            global.global.server_state_base =
                args.next("a directory").map(|token| token.text.into());
        },
    ),
    K::works(
        "server-state-file",
        G,
        "server-state-file <file>",
        "the states of all servers (`load-server-state-from-file global`)",
        |global, args| {
            global.global.server_state_file = args.next("a file").map(|token| token.text.into());
        },
    ),
    K::works("node", G, "node <name>", "what statistics call this machine", |global, args| {
        global.global.node = args.next("a name").map(|token| token.text.into());
    }),
    K::works(
        "description",
        G,
        "description <text>",
        "what statistics say about this machine",
        |global, args| {
            global.global.description = args.text().map(Into::into);
        },
    ),
    K::works(
        "hard-stop-after",
        G,
        "hard-stop-after <time>",
        "how long a stop may take",
        |global, args| {
            global.global.hard_stop_after = args.duration();
        },
    ),
    K::works(
        "grace",
        G,
        "grace <time>",
        "how long listeners stay open after the order to finish",
        |global, args| {
            global.global.grace = args.duration();
        },
    ),
    K::works("nbthread", G, "nbthread <number>", "worker threads", |global, args| {
        global.global.nbthread =
            args.integer("number of threads", 1..=1024u32).map(|count| count as usize);
    }),
    K::works(
        "cpu-map",
        G,
        "cpu-map [auto:]<threads> <cpu>...",
        "which cores workers run on",
        |global, args| {
            cpu_map(&mut global.global.cpu_map, args);
        },
    ),
    K::works(
        "unix-bind",
        G,
        "unix-bind [prefix <p>] [mode <m>] [user <u>] [uid <n>] [group <g>] [gid <n>]",
        "what Unix sockets are like unless they say otherwise",
        |global, args| {
            args.each(&UNIX_BIND, &mut global.owner);
        },
    ),
    K::works(
        "set-var",
        G,
        "set-var <proc.name> <expression>",
        "a variable of the process",
        |global, args| {
            let Some(variable) = process_variable(args) else { return };
            let value = global.scoped(args, Expr::parse);
            if let Some(value) = value {
                global.global.process_vars.push((variable, ProcessVariable::Sample(value)));
            }
        },
    ),
    K::works(
        "set-var-fmt",
        G,
        "set-var-fmt <proc.name> <format>",
        "a variable of the process",
        |global, args| {
            let Some(variable) = process_variable(args) else { return };
            let value =
                global.scoped(args, |args, scope| LogFormat::parse(args, scope, FormatUse::Text));
            if let Some(value) = value {
                global.global.process_vars.push((variable, ProcessVariable::Format(value)));
            }
        },
    ),
    K::works("zero-warning", G, "zero-warning", "takes warnings for errors", |global, _| {
        global.global.zero_warning = true
    }),
    K::works("quiet", G, "quiet", "says nothing at the start", |global, _| {
        global.global.quiet = true
    }),
    K::works("debug", G, "debug", "stays in the foreground", |global, _| {
        global.global.daemon = false
    }),
    K::no_effect("insecure-fork-wanted", G, "no program is ever started"),
    K::no_effect("insecure-setuid-wanted", G, "no program is ever started"),
    K::works("set-dumpable", G, "set-dumpable", "leaves a core file after a crash", |global, _| {
        global.global.set_dumpable = true
    }),
    K::works(
        "noreuseport",
        G,
        "noreuseport",
        "one socket for each address, not one for each worker",
        |global, _| {
            global.global.noreuseport = true;
        },
    ),
    K::works("nosplice", G, "nosplice", "does not move bytes inside the kernel", |global, _| {
        global.global.nosplice = true
    }),
    K::idle(
        "nogetaddrinfo",
        G,
        "nogetaddrinfo",
        "asks the system's resolver in its older way",
        |_, args| {
            bind::no_effect(args, "names are resolved in one way");
        },
    ),
    K::idle(
        "close-spread-time",
        G,
        "close-spread-time { <time> | infinite }",
        "over how long a stop closes idle connections",
        |_, args| {
            args.next("a time or `infinite`");
            bind::no_effect(args, "a stop ends idle connections at once");
        },
    ),
    K::idle(
        "mworker-max-reloads",
        G,
        "mworker-max-reloads <number>",
        "reloads that an old process may outlive",
        |_, args| {
            args.integer("number", 0..=NUMBER_MAX);
            bind::no_effect(args, "a reload leaves no old process");
        },
    ),
];

const LIMITS: &[K] = &[
    K::works(
        "maxconn",
        G,
        "maxconn <number>",
        "connections that clients may hold at a time",
        |global, args| {
            let number = args.integer("maxconn", 0..=NUMBER_MAX);
            global.global.maxconn = number.filter(|number| *number > 0);
        },
    ),
    K::works(
        "maxconnrate",
        G,
        "maxconnrate <number>",
        "new connections per second",
        |global, args| {
            global.global.maxconnrate =
                args.integer("rate", 0..=NUMBER_MAX).filter(|rate| *rate > 0);
        },
    ),
    K::works(
        "maxsessrate",
        G,
        "maxsessrate <number>",
        "new sessions per second",
        |global, args| {
            global.global.maxsessrate =
                args.integer("rate", 0..=NUMBER_MAX).filter(|rate| *rate > 0);
        },
    ),
    K::works(
        "maxpipes",
        G,
        "maxpipes <number>",
        "pipes that splicing may hold open",
        |global, args| {
            global.global.maxpipes = args.integer("number of pipes", 0..=NUMBER_MAX);
        },
    ),
    K::works(
        "ulimit-n",
        G,
        "ulimit-n <number>",
        "descriptors that the process may have open",
        |global, args| {
            global.global.ulimit_n =
                args.integer("number of descriptors", 1..=NUMBER_MAX).map(u64::from);
        },
    ),
    K::works(
        "fd-hard-limit",
        G,
        "fd-hard-limit <number>",
        "descriptors that it takes at most where nothing says how many",
        |global, args| {
            global.global.fd_hard_limit =
                args.integer("number of descriptors", 1..=NUMBER_MAX).map(u64::from);
        },
    ),
    K::works(
        "strict-limits",
        G,
        "[no] strict-limits",
        "does not start where limits cannot be raised",
        |global, args| {
            global.global.strict_limits = Some(args.modifier() == Modifier::None);
        },
    )
    .negatable(),
];

const WATCHING: &[K] = &[
    K::works(
        "log",
        G,
        "log <address> [len <n>] [format <f>] [sample <s>] <facility> [<max> [<min>]]",
        "where log lines go",
        |global, args| {
            let base = Rc::clone(&global.base);
            let mut resolve =
                |args: &mut Args<'_>, name: &str, family, at| base.resolve(args, name, family, at);
            let at = args.at();
            match LogLine::parse(args, &mut resolve) {
                Some(LogLine::Target(target)) => global.global.log.push(Arc::new(target)),
                Some(LogLine::Clear) => global.global.log.clear(),
                Some(LogLine::Global) => {
                    let kind = ConfigErrorKind::Conflict {
                        what: "log global".into(),
                        with: "global".into(),
                        first: None,
                    };
                    args.fail(at, kind);
                }
                None => {}
            }
        },
    )
    .negatable(),
    K::works(
        "log-tag",
        G,
        "log-tag <text>",
        "the name in the header of log lines",
        |global, args| {
            global.global.log_tag = args.next("a name").map(|token| token.text.into());
        },
    ),
    K::works(
        "log-send-hostname",
        G,
        "log-send-hostname [<name>]",
        "the machine's name in the header of log lines",
        |global, args| {
            let name = args.next_if_any().map(|token| token.text.into());
            global.global.log_send_hostname = Some(name.unwrap_or_else(super::host_name));
        },
    ),
    K::works(
        "stats socket",
        G,
        "stats socket <address> [level <level>] [options]",
        "a socket for commands",
        |global, args| {
            let at = args.peek().map_or(args.at(), |token| token.at);
            let address = args.address(&AddressRules::BIND);
            let mut settings = BindSettings::default();
            args.each(&bind::OPTIONS, &mut settings);
            if let (Some(address), false) = (address, args.failed()) {
                global.sockets.push(SocketLine { address: (address, at), settings });
            }
        },
    ),
    K::works(
        "stats timeout",
        G,
        "stats timeout <time>",
        "how long a session on it may be silent",
        |global, args| {
            global.global.stats_timeout = args.duration();
        },
    ),
    K::works(
        "stats maxconn",
        G,
        "stats maxconn <number>",
        "sessions on it at a time",
        |global, args| {
            global.global.stats_maxconn = args.integer("maxconn", 1..=NUMBER_MAX);
        },
    ),
    K::no_effect("stats bind-process", G, "there is one process"),
    K::works(
        "spread-checks",
        G,
        "spread-checks <percent>",
        "how far checks stray from their times",
        |global, args| {
            if let Some(percent) = args.integer("percentage", 0..=50u32) {
                global.global.spread_checks = percent;
            }
        },
    ),
    K::works(
        "max-spread-checks",
        G,
        "max-spread-checks <time>",
        "over how long the first checks are spread",
        |global, args| {
            global.global.max_spread_checks = args.duration();
        },
    ),
];

const ABSENT: &[K] = &[
    K::obsolete("nbproc", G, "nbthread {1}"),
    K::not_yet("external-check", G),
    K::not_yet_guard("h1-case-adjust", G),
    K::not_yet("h1-case-adjust-file", G),
    K::not_yet_guard("lua-load", G),
    K::not_yet_guard("lua-load-per-thread", G),
    K::not_yet("wurfl-cache-size", G),
    K::not_yet("wurfl-data-file", G),
    K::not_yet("wurfl-information-list", G),
    K::not_yet("wurfl-information-list-separator", G),
    K::not_yet("wurfl-patch-file", G),
    K::not_yet("deviceatlas-json-file", G),
    K::not_yet("deviceatlas-log-level", G),
    K::not_yet("deviceatlas-properties-cookie", G),
    K::not_yet("deviceatlas-separator", G),
    K::not_yet("51degrees-cache-size", G),
    K::not_yet("51degrees-data-file", G),
    K::not_yet("51degrees-property-name-list", G),
    K::not_yet("51degrees-property-separator", G),
];

static UNIX_BIND: LazyLock<Table<Owner>> = LazyLock::new(|| {
    const KEYWORDS: &[Keyword<Owner>] = &[
        Keyword::works(
            "prefix",
            G,
            "prefix <path>",
            "what paths begin with",
            |owner: &mut Owner, args| {
                owner.prefix = args.next("a path").map(|token| token.text.into());
            },
        ),
        Keyword::works("mode", G, "mode <octal>", "permissions", bind::mode),
        Keyword::works("user", G, "user <name>", "owner", bind::user),
        Keyword::works("uid", G, "uid <number>", "owner", bind::uid),
        Keyword::works("group", G, "group <name>", "group", bind::group),
        Keyword::works("gid", G, "gid <number>", "group", bind::gid),
    ];
    Table::new("setting", &[KEYWORDS])
});

impl GlobalContext {
    pub(super) fn new(base: Rc<Base>) -> Self {
        Self {
            base,
            global: Global::default(),
            maxrewrite: None,
            owner: Owner::default(),
            sockets: Vec::new(),
            tls: TlsDefaults::default(),
        }
    }

    /// The section as a whole, and what Unix sockets are like.
    pub(super) fn finish(
        mut self,
        options: &LoadOptions,
        diagnostics: &mut Diagnostics,
    ) -> (Global, Owner) {
        for SocketLine { address: (address, at), settings } in &self.sockets {
            // `unix-bind` is about `bind` lines.
            let specs = settings.specs(address, *at, &Owner::default(), &self.base, diagnostics);
            if let Some(at) = settings.tls.ssl {
                let keyword = "stats socket ... ssl".to_owned();
                diagnostics.report(at, ConfigErrorKind::NotYet { keyword, guards_access: true });
            }
            let backlog = settings.backlog.filter(|backlog| *backlog > 0);
            self.global.stats_sockets.extend(specs.into_iter().map(|bind| StatsSocket {
                bind: BindSpec { backlog: backlog.unwrap_or(bind.backlog), ..bind },
                level: settings.level.unwrap_or_default(),
                exposes: settings.exposes,
                maxconn: (settings.maxconn > 0).then_some(settings.maxconn),
                master: self.base.paths.get(&at.file).is_some_and(|path| path == MASTER_SOCKET),
                at: *at,
            }));
        }
        let tune = &mut self.global.tune;
        // As HAProxy: half a buffer at most.
        tune.maxrewrite = self.maxrewrite.unwrap_or(tune.maxrewrite).min(tune.bufsize / 2);
        self.global.maxconn = options.maxconn.or(self.global.maxconn);
        // Once, here.
        _ = self.base.tls_defaults.set(self.tls);
        (self.global, self.owner)
    }

    fn scoped<R>(
        &self,
        args: &mut Args<'_>,
        read: impl FnOnce(&mut Args<'_>, &mut ParseScope<'_>) -> R,
    ) -> R {
        let mut scope = ParseScope {
            directory: &self.base.directory,
            lists: &self.base.lists,
            files: &*self.base.files,
            errors: &ErrorSets::new(),
            environment: args.environment(),
            acls: Default::default(),
            place: Place::Configuration,
            proxy: None,
            mode: Mode::Http,
            frontend: false,
            backend: false,
            request_captures: 0,
            response_captures: 0,
            offline: self.base.options.offline,
            stick_counters: 3,
            experimental: self.base.experimental.get(),
            line: self.base.line(args.at()),
        };
        read(args, &mut scope)
    }
}

/// Reads `proc.NAME`.
fn process_variable(args: &mut Args<'_>) -> Option<VariableName> {
    const EXPECTED: &str = "a variable of the process such as `proc.name`";
    let token = args.next(EXPECTED)?;
    match VariableName::parse(token.bytes) {
        Ok(variable) if variable.scope == Scope::Process => Some(variable),
        _ => {
            args.bad(token, "variable", EXPECTED);
            args.skip_rest();
            None
        }
    }
}

/// Reads `cpu-map [auto:]PROCESS[/THREADS] CPUS…`.
fn cpu_map(map: &mut Vec<Vec<usize>>, args: &mut Args<'_>) {
    const EXPECTED: &str = "threads such as `1/1-4`, `1/all`, `odd`";
    let Some(token) = args.next(EXPECTED) else { return };
    let (auto, text) = match token.text.strip_prefix("auto:") {
        Some(text) => (true, text),
        None => (false, token.text),
    };
    let threads = match text.split_once('/') {
        Some((process, threads))
            if set(process, 1, CPUS_MAX).is_some_and(|set| set.contains(&1)) =>
        {
            set(threads, 1, CPUS_MAX)
        }
        Some(_) => None,
        // A number alone is a process: all its threads.
        None => set(text, 1, CPUS_MAX).map(|_| (1..=CPUS_MAX).collect()),
    };
    let mut cpus = Vec::new();
    if args.is_empty() {
        return args.missing("cores such as `0-3`");
    }
    while let Some(word) = args.next_if_any() {
        for part in word.text.split(',') {
            match set(part, 0, CPUS_MAX - 1) {
                Some(set) => cpus.extend(set),
                None => args.bad(word, "set of cores", "numbers from 0 such as `0-3`"),
            }
        }
    }
    let Some(threads) = threads else { return args.bad(token, "set of threads", EXPECTED) };
    cpus.sort_unstable();
    cpus.dedup();
    let open = threads.len() == CPUS_MAX;
    if auto && threads.len() != cpus.len() && !open {
        return args.bad(token, "set of threads", "as many threads as cores");
    }
    let count = if auto { threads.len().min(cpus.len()) } else { threads.len() };
    for (index, thread) in threads.into_iter().take(count).enumerate() {
        if map.len() < thread {
            map.resize(thread, Vec::new());
        }
        map[thread - 1] = if auto { vec![cpus[index]] } else { cpus.clone() };
    }
}

/// Reads `all`, `odd`, `even`, `3`, `1-4`, `2-`.
fn set(text: &str, first: usize, last: usize) -> Option<Vec<usize>> {
    match text {
        "all" => return Some((first..=last).collect()),
        "odd" => return Some((first..=last).filter(|number| number % 2 == 1).collect()),
        "even" => return Some((first..=last).filter(|number| number % 2 == 0).collect()),
        _ => {}
    }
    let (from, to) = match text.split_once('-') {
        Some((from, "")) => (from.parse().ok()?, last),
        Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
        None => (text.parse().ok()?, text.parse().ok()?),
    };
    (first <= from && from <= to && to <= last).then(|| (from..=to).collect())
}

/// Cores and threads that can be named.
const CPUS_MAX: usize = 64;
