use std::time::Duration;

use crate::log::LogTarget;

/// The `global` section.
#[derive(Debug, Default)]
pub struct Global {
    /// Worker threads; `None` is one per usable core.
    pub nbthread: Option<usize>,
    /// Which cores each worker may run on, by worker; empty leaves it to the kernel.
    pub cpu_map: Vec<Vec<usize>>,
    /// Connections that clients may hold at a time over all frontends; `None` computes it from the limit on descriptors.
    pub maxconn: Option<u32>,
    pub maxconnrate: Option<u32>,
    pub maxsessrate: Option<u32>,
    pub ulimit_n: Option<u64>,
    /// Pipes that splicing may hold open; `None` derives it from `maxconn`.
    pub maxpipes: Option<u32>,
    pub nosplice: bool,
    pub daemon: bool,
    pub master_worker: bool,
    /// Who the serving process is (`user`, `uid`); unchanged when absent.
    pub uid: Option<u32>,
    /// Its only group (`group`, `gid`); unchanged when absent.
    pub gid: Option<u32>,
    pub chroot: Option<Box<str>>,
    pub pidfile: Option<Box<str>>,
    pub strict_limits: Option<bool>,
    pub stats_sockets: Vec<super::StatsSocket>,
    /// `stats timeout`; 10 s unless set.
    pub stats_timeout: Option<Duration>,
    /// `stats maxconn`; 10 unless set.
    pub stats_maxconn: Option<u32>,
    pub log: Vec<std::sync::Arc<LogTarget>>,
    pub log_tag: Option<Box<str>>,
    /// `log-send-hostname [NAME]`.
    pub log_send_hostname: Option<Box<str>>,
    pub hard_stop_after: Option<Duration>,
    pub grace: Option<Duration>,
    pub node: Option<Box<str>>,
    pub description: Option<Box<str>>,
    /// `spread-checks`: percent, 0 to 50.
    pub spread_checks: u32,
    pub max_spread_checks: Option<Duration>,
    /// `server-state-base` and `server-state-file`.
    pub server_state_base: Option<Box<str>>,
    pub server_state_file: Option<Box<str>>,
    pub tune: Tune,
    /// `set-var` and `set-var-fmt`, evaluated once at the start, in order.
    pub process_vars: Vec<(crate::rules::VariableName, ProcessVariable)>,
    /// `noreuseport`: one socket for each address, not one for each worker.
    pub noreuseport: bool,
    /// `fd-hard-limit`: descriptors that an absent `maxconn` is computed from, at most.
    pub fd_hard_limit: Option<u64>,
    /// `zero-warning`: warnings are errors.
    pub zero_warning: bool,
    /// `quiet`: as `-q`.
    pub quiet: bool,
    /// `set-dumpable`: a crash may leave a core file although privileges were given up.
    pub set_dumpable: bool,
}

/// The value of a variable of the process.
#[derive(Debug)]
pub enum ProcessVariable {
    Sample(crate::expr::Expr),
    Format(crate::expr::LogFormat),
}

/// `tune.*` settings with an effect here.
#[derive(Debug, Clone)]
pub struct Tune {
    /// Bytes of one buffer; default 16384.
    pub bufsize: usize,
    /// Bytes of a buffer that stay free for added headers; default 1024.
    pub maxrewrite: usize,
    /// Header fields in one message; default 101.
    pub http_maxhdr: usize,
    /// Bytes of a URI kept for the log; default 1024.
    pub http_logurilen: usize,
    /// Bytes of a captured cookie; default 63.
    pub http_cookielen: usize,
    /// Keys that a session or request may track at a time; default 3.
    pub stick_counters: u32,
    /// `tune.idle-pool.shared`.
    pub idle_pool_shared: bool,
    /// HTTP/2 with clients.
    pub h2_front: Http2Tune,
    /// HTTP/2 with servers.
    pub h2_back: Http2Tune,
    /// `h2-workaround-bogus-websocket-clients`: WebSockets over HTTP/2 are not offered.
    pub h2_no_websocket: bool,
    /// Parts, in percent, of the descriptors that `maxconn` needs: in use from which an idle server connection is closed
    /// for a new one, and from which none is kept. Default 90 and 80; HAProxy's 25 and 20 would end reuse on a machine
    /// that is a fifth full.
    pub pool_high_fd_ratio: u32,
    pub pool_low_fd_ratio: u32,
    pub rcvbuf_client: Option<usize>,
    pub rcvbuf_server: Option<usize>,
    pub sndbuf_client: Option<usize>,
    pub sndbuf_server: Option<usize>,
    /// Bytes of pipe that splicing asks for.
    pub pipesize: Option<usize>,
    /// Bytes that variables may use in one process, session, transaction, request or check; `None` is no limit.
    pub vars_global_max_size: Option<usize>,
    pub vars_proc_max_size: Option<usize>,
    pub vars_sess_max_size: Option<usize>,
    pub vars_txn_max_size: Option<usize>,
    pub vars_reqres_max_size: Option<usize>,
}

/// `tune.h2.*` of one side.
#[derive(Debug, Clone)]
pub struct Http2Tune {
    /// Bytes of the dynamic table of header fields; default 4096.
    pub header_table_size: u32,
    /// Bytes that a peer may send ahead on one stream; default 65535.
    pub initial_window_size: u32,
    /// Streams of a connection at a time; default 100.
    pub max_concurrent_streams: u32,
    /// Bytes of a frame's content that are taken; default 16384.
    pub max_frame_size: u32,
}

impl Default for Http2Tune {
    fn default() -> Self {
        Self {
            header_table_size: 4096,
            initial_window_size: 65535,
            max_concurrent_streams: 100,
            max_frame_size: 16384,
        }
    }
}

impl Default for Tune {
    fn default() -> Self {
        Self {
            bufsize: 16384,
            maxrewrite: 1024,
            http_maxhdr: 101,
            http_logurilen: 1024,
            http_cookielen: 63,
            stick_counters: 3,
            idle_pool_shared: true,
            h2_front: Http2Tune::default(),
            h2_back: Http2Tune::default(),
            h2_no_websocket: false,
            pool_high_fd_ratio: 90,
            pool_low_fd_ratio: 80,
            rcvbuf_client: None,
            rcvbuf_server: None,
            sndbuf_client: None,
            sndbuf_server: None,
            pipesize: None,
            vars_global_max_size: None,
            vars_proc_max_size: None,
            vars_sess_max_size: None,
            vars_txn_max_size: None,
            vars_reqres_max_size: None,
        }
    }
}
