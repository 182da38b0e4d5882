//! `tune.*` and the other settings of `global` about sizes and speed.

use telamon_config::{Args, Keyword, Sections};

use super::global::GlobalContext;
use super::settings::NUMBER_MAX;

type K = Keyword<GlobalContext>;

/// More has no action to fill it: `track-sc0` to `track-sc9`.
const STICK_COUNTERS_MAX: u32 = 10;
const G: Sections = Sections::GLOBAL;

/// Rows for what there is nothing to set here, with the reason.
macro_rules! no_effect {
    ($($name:literal),* $(,)?; $why:literal) => {
        &[$(K::no_effect($name, G, $why)),*]
    };
}

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "tune.bufsize",
        G,
        "tune.bufsize <bytes>",
        "bytes of one buffer, which a head must fit into",
        |global, args| {
            if let Some(size) = args.size_in("buffer size", 1024..=256 << 20) {
                global.global.tune.bufsize = size;
            }
        },
    ),
    K::works(
        "tune.maxrewrite",
        G,
        "tune.maxrewrite <bytes>",
        "bytes of a buffer that stay free for added headers",
        |global, args| {
            if let Some(size) = args.size_in("size", 0..=256 << 20) {
                global.maxrewrite = Some(size);
            }
        },
    ),
    K::works(
        "tune.http.maxhdr",
        G,
        "tune.http.maxhdr <number>",
        "header fields in one message",
        |global, args| {
            if let Some(number) = args.integer("number of headers", 1..=32767u32) {
                global.global.tune.http_maxhdr = number as usize;
            }
        },
    ),
    K::works(
        "tune.http.logurilen",
        G,
        "tune.http.logurilen <bytes>",
        "bytes of a request line kept for the log",
        |global, args| {
            if let Some(number) = args.integer("length", 1..=NUMBER_MAX) {
                global.global.tune.http_logurilen = number as usize;
            }
        },
    ),
    K::works(
        "tune.http.cookielen",
        G,
        "tune.http.cookielen <bytes>",
        "bytes of a captured cookie",
        |global, args| {
            if let Some(number) = args.integer("length", 2..=NUMBER_MAX) {
                global.global.tune.http_cookielen = number as usize;
            }
        },
    ),
    K::works(
        "tune.stick-counters",
        G,
        "tune.stick-counters <number>",
        "keys that a session or request may track at a time",
        |global, args| {
            if let Some(number) = args.integer("number of counters", 0..=STICK_COUNTERS_MAX) {
                global.global.tune.stick_counters = number;
            }
        },
    )
    .since("2.8"),
    K::works(
        "tune.idle-pool.shared",
        G,
        "tune.idle-pool.shared { on | off }",
        "whether workers take over one another's idle connections",
        |global, args| {
            if let Some(on) = on_off(args) {
                global.global.tune.idle_pool_shared = on;
            }
        },
    ),
    K::works(
        "tune.pool-high-fd-ratio",
        G,
        "tune.pool-high-fd-ratio <percent>",
        "descriptors in use from which idle connections are closed",
        |global, args| {
            if let Some(percent) = args.integer("percentage", 0..=100u32) {
                global.global.tune.pool_high_fd_ratio = percent;
            }
        },
    ),
    K::works(
        "tune.pool-low-fd-ratio",
        G,
        "tune.pool-low-fd-ratio <percent>",
        "descriptors in use from which none is kept",
        |global, args| {
            if let Some(percent) = args.integer("percentage", 0..=100u32) {
                global.global.tune.pool_low_fd_ratio = percent;
            }
        },
    ),
    K::works(
        "tune.rcvbuf.client",
        G,
        "tune.rcvbuf.client <bytes>",
        "the kernel's receive buffer for clients",
        |global, args| {
            global.global.tune.rcvbuf_client = buffer(args);
        },
    ),
    K::works(
        "tune.rcvbuf.server",
        G,
        "tune.rcvbuf.server <bytes>",
        "the kernel's receive buffer for servers",
        |global, args| {
            global.global.tune.rcvbuf_server = buffer(args);
        },
    ),
    K::works(
        "tune.sndbuf.client",
        G,
        "tune.sndbuf.client <bytes>",
        "the kernel's send buffer for clients",
        |global, args| {
            global.global.tune.sndbuf_client = buffer(args);
        },
    ),
    K::works(
        "tune.sndbuf.server",
        G,
        "tune.sndbuf.server <bytes>",
        "the kernel's send buffer for servers",
        |global, args| {
            global.global.tune.sndbuf_server = buffer(args);
        },
    ),
    K::works(
        "tune.pipesize",
        G,
        "tune.pipesize <bytes>",
        "bytes of a pipe for splicing",
        |global, args| {
            global.global.tune.pipesize =
                args.size_in("pipe size", 0..=256 << 20).filter(|size| *size > 0);
        },
    ),
    K::works(
        "tune.vars.global-max-size",
        G,
        "tune.vars.global-max-size <bytes>",
        "bytes that all variables may use",
        |global, args| {
            global.global.tune.vars_global_max_size = vars(args);
        },
    ),
    K::works(
        "tune.vars.proc-max-size",
        G,
        "tune.vars.proc-max-size <bytes>",
        "bytes that variables of the process may use",
        |global, args| {
            global.global.tune.vars_proc_max_size = vars(args);
        },
    ),
    K::works(
        "tune.vars.sess-max-size",
        G,
        "tune.vars.sess-max-size <bytes>",
        "bytes that variables of a session may use",
        |global, args| {
            global.global.tune.vars_sess_max_size = vars(args);
        },
    ),
    K::works(
        "tune.vars.txn-max-size",
        G,
        "tune.vars.txn-max-size <bytes>",
        "bytes that variables of a transaction may use",
        |global, args| {
            global.global.tune.vars_txn_max_size = vars(args);
        },
    ),
    K::works(
        "tune.vars.reqres-max-size",
        G,
        "tune.vars.reqres-max-size <bytes>",
        "bytes that variables of a request or answer may use",
        |global, args| {
            global.global.tune.vars_reqres_max_size = vars(args);
        },
    ),
    K::no_effect("tune.vars.check-max-size", G, "`tune.vars.sess-max-size` bounds them too"),
];

pub(super) const ALLOCATION: &[K] = no_effect![
    "no-memory-trimming", "tune.buffers.limit", "tune.buffers.reserve", "tune.chksize",
    "tune.fail-alloc", "tune.idletimer", "tune.recv_enough", "tune.pattern.cache-size",
    "profiling.memory";
    "memory is managed in another way"
];

pub(super) const SCHEDULING: &[K] = no_effect![
    "busy-polling", "noepoll", "nokqueue", "noevports", "nopoll", "numa-cpu-mapping",
    "profiling.tasks", "thread-group", "thread-groups", "tune.fd.edge-triggered",
    "tune.listener.multi-queue", "tune.maxaccept", "tune.maxpollevents", "tune.runqueue-depth",
    "tune.sched.low-latency", "tune.listener.default-shards", "tune.events.max-events-at-once";
    "each worker is one thread with one reactor"
];

/// A row for a number of [`Http2Tune`](crate::model::Http2Tune).
macro_rules! http2 {
    ($name:literal, $field:ident of $($side:ident)+, $range:expr, $help:literal) => {
        K::works($name, G, concat!($name, " <number>"), $help, |global, args| {
            if let Some(number) = args.integer("number", $range) {
                $(global.global.tune.$side.$field = number;)+
            }
        })
    };
}

pub(super) const HTTP2: &[K] = &[
    http2!(
        "tune.h2.header-table-size",
        header_table_size of h2_front h2_back,
        4096..=65536u32,
        "bytes of the dynamic table of header fields"
    ),
    http2!(
        "tune.h2.initial-window-size",
        initial_window_size of h2_front h2_back,
        0..=0x7fff_ffffu32,
        "bytes that a peer may send ahead on a stream"
    ),
    http2!(
        "tune.h2.fe.initial-window-size",
        initial_window_size of h2_front,
        0..=0x7fff_ffffu32,
        "bytes that a client may send ahead on a stream"
    )
    .since("2.9"),
    http2!(
        "tune.h2.max-concurrent-streams",
        max_concurrent_streams of h2_front h2_back,
        1..=0x7fff_ffffu32,
        "streams of a connection at a time"
    ),
    http2!(
        "tune.h2.fe.max-concurrent-streams",
        max_concurrent_streams of h2_front,
        1..=0x7fff_ffffu32,
        "streams of a client's connection at a time"
    )
    .since("2.9"),
    http2!(
        "tune.h2.max-frame-size",
        max_frame_size of h2_front h2_back,
        16384..=0x00ff_ffffu32,
        "bytes of a frame's content that are taken"
    ),
    K::works(
        "h2-workaround-bogus-websocket-clients",
        G,
        "h2-workaround-bogus-websocket-clients",
        "offers no WebSockets over HTTP/2",
        |global, _| global.global.tune.h2_no_websocket = true,
    ),
    http2!(
        "tune.h2.be.initial-window-size",
        initial_window_size of h2_back,
        0..=0x7fff_ffffu32,
        "bytes that a server may send ahead on a stream"
    )
    .since("2.9"),
    http2!(
        "tune.h2.be.max-concurrent-streams",
        max_concurrent_streams of h2_back,
        1..=0x7fff_ffffu32,
        "streams of a server's connection at a time"
    )
    .since("2.9"),
];

pub(super) const LUA: &[K] = no_effect![
    "tune.lua.forced-yield",
    "tune.lua.maxmem",
    "tune.lua.service-timeout",
    "tune.lua.session-timeout",
    "tune.lua.task-timeout",
    "lua-prepend-path"
    ;
    "Lua is not there yet"
];

pub(super) const COMPRESSION: &[K] = no_effect![
    "maxcompcpuusage",
    "maxcomprate",
    "maxzlibmem",
    "tune.comp.maxlevel",
    "tune.zlib.memlevel",
    "tune.zlib.windowsize"
    ;
    "compression is not there yet"
];

pub(super) const QUIC: &[K] = no_effect![
    "tune.quic.backend.max-idle-timeou",
    "tune.quic.frontend.conn-tx-buffers.limit",
    "tune.quic.frontend.max-idle-timeout",
    "tune.quic.frontend.max-streams-bidi",
    "tune.quic.max-frame-loss",
    "tune.quic.retry-threshold",
    "tune.quic.socket-owner"
    ;
    "QUIC is not there yet"
];

pub(super) const OTHERS: &[K] = no_effect![
    "tune.peers.max-updates-at-once",
    "httpclient.resolvers.id",
    "httpclient.resolvers.prefer",
    "httpclient.resolvers.disabled",
    "httpclient.retries",
    "httpclient.timeout.connect",
    "pp2-never-send-local",
    "cluster-secret",
    "h1-accept-payload-with-any-method"
    ;
    "a detail of what is not there yet"
];

fn buffer(args: &mut Args<'_>) -> Option<usize> {
    args.size_in("buffer size", 0..=1 << 30).filter(|size| *size > 0)
}

fn vars(args: &mut Args<'_>) -> Option<usize> {
    args.size_in("size", 0..=1 << 31).filter(|size| *size > 0)
}

pub(super) fn on_off(args: &mut Args<'_>) -> Option<bool> {
    args.one_of("switch", &[("on", true), ("off", false)])
}

/// Sizes within bounds.
trait SizeIn {
    fn size_in(
        &mut self,
        what: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<usize>;
}

impl SizeIn for Args<'_> {
    fn size_in(
        &mut self,
        what: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<usize> {
        let token = self.peek();
        let size = self.size()?;
        if let Some(token) = token.filter(|_| !range.contains(&size)) {
            let kind = telamon_config::ConfigErrorKind::OutOfRange {
                what: what.into(),
                found: token.text.to_owned(),
                min: i64::try_from(*range.start()).unwrap_or(i64::MAX),
                max: i64::try_from(*range.end()).unwrap_or(i64::MAX),
            };
            self.fail(token.at, kind);
            return None;
        }
        usize::try_from(size).ok()
    }
}
