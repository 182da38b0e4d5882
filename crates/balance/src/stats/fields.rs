//! The fields of `show info`, in their order.
//!
//! Recorded from `show info typed` of Debian's HAProxy 2.6.12. The two of zlib are shown only by
//! builds with zlib, `description` only when one is configured: leave them unset.

use super::{Tags, Type};

macro_rules! fields {
    ($($name:ident = $text:literal, $type:ident, $tags:literal;)*) => {
        /// One field of `show info`; its number is its place.
        #[allow(missing_docs, reason = "the names are HAProxy's, explained in its manual")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Field { $($name,)* }

        impl Field {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }

        static ROWS: &[(&str, Type, &str)] = &[$(($text, Type::$type, $tags),)*];
    };
}

impl Field {
    /// The name as shown.
    pub fn name(self) -> &'static str {
        ROWS[self as usize].0
    }

    /// The type of its values.
    pub fn value_type(self) -> Type {
        ROWS[self as usize].1
    }

    /// What kind of number or text it is.
    pub fn tags(self) -> Tags {
        Tags(ROWS[self as usize].2)
    }
}

fields! {
    Name = "Name", Text, "POS";
    Version = "Version", Text, "POS";
    ReleaseDate = "Release_date", Text, "POS";
    Nbthread = "Nbthread", U32, "CGS";
    Nbproc = "Nbproc", U32, "CGS";
    ProcessNum = "Process_num", U32, "KGP";
    Pid = "Pid", U32, "SGP";
    Uptime = "Uptime", Text, "MDP";
    UptimeSec = "Uptime_sec", U32, "MDP";
    MemmaxMB = "Memmax_MB", U32, "CLP";
    PoolAllocMB = "PoolAlloc_MB", U32, "MGP";
    PoolUsedMB = "PoolUsed_MB", U32, "MGP";
    PoolFailed = "PoolFailed", U32, "MCP";
    UlimitN = "Ulimit-n", U32, "CLP";
    Maxsock = "Maxsock", U32, "CLP";
    Maxconn = "Maxconn", U32, "CLP";
    HardMaxconn = "Hard_maxconn", U32, "CLP";
    CurrConns = "CurrConns", U32, "MGP";
    CumConns = "CumConns", U32, "MCP";
    CumReq = "CumReq", U32, "MCP";
    MaxSslConns = "MaxSslConns", U32, "MMP";
    CurrSslConns = "CurrSslConns", U32, "MGP";
    CumSslConns = "CumSslConns", U32, "MCP";
    Maxpipes = "Maxpipes", U32, "CLP";
    PipesUsed = "PipesUsed", U32, "MGP";
    PipesFree = "PipesFree", U32, "MGP";
    ConnRate = "ConnRate", U32, "MRP";
    ConnRateLimit = "ConnRateLimit", U32, "CLP";
    MaxConnRate = "MaxConnRate", U32, "MMP";
    SessRate = "SessRate", U32, "MRP";
    SessRateLimit = "SessRateLimit", U32, "CLP";
    MaxSessRate = "MaxSessRate", U32, "MRP";
    SslRate = "SslRate", U32, "MRP";
    SslRateLimit = "SslRateLimit", U32, "CLP";
    MaxSslRate = "MaxSslRate", U32, "MMP";
    SslFrontendKeyRate = "SslFrontendKeyRate", U32, "MGP";
    SslFrontendMaxKeyRate = "SslFrontendMaxKeyRate", U32, "MMP";
    SslFrontendSessionReusePct = "SslFrontendSessionReuse_pct", U32, "MGP";
    SslBackendKeyRate = "SslBackendKeyRate", U32, "MRP";
    SslBackendMaxKeyRate = "SslBackendMaxKeyRate", U32, "MMP";
    SslCacheLookups = "SslCacheLookups", U32, "MCP";
    SslCacheMisses = "SslCacheMisses", U32, "MCP";
    CompressBpsIn = "CompressBpsIn", U32, "MRP";
    CompressBpsOut = "CompressBpsOut", U32, "MRP";
    CompressBpsRateLim = "CompressBpsRateLim", U32, "CLP";
    ZlibMemUsage = "ZlibMemUsage", U32, "MGP";
    MaxZlibMemUsage = "MaxZlibMemUsage", U32, "CLP";
    Tasks = "Tasks", U32, "MGP";
    RunQueue = "Run_queue", U32, "MGP";
    IdlePct = "Idle_pct", U32, "MaP";
    Node = "node", Text, "COS";
    Description = "description", Text, "COS";
    Stopping = "Stopping", U32, "MGP";
    Jobs = "Jobs", U32, "MGP";
    UnstoppableJobs = "Unstoppable Jobs", U32, "MGP";
    Listeners = "Listeners", U32, "MGP";
    ActivePeers = "ActivePeers", U32, "MGP";
    ConnectedPeers = "ConnectedPeers", U32, "MGP";
    DroppedLogs = "DroppedLogs", U32, "MGP";
    BusyPolling = "BusyPolling", U32, "MGP";
    FailedResolutions = "FailedResolutions", U32, "MGP";
    TotalBytesOut = "TotalBytesOut", U64, "MGP";
    TotalSplicdedBytesOut = "TotalSplicdedBytesOut", U64, "MGP";
    BytesOutRate = "BytesOutRate", U64, "MRP";
    DebugCommandsIssued = "DebugCommandsIssued", U32, "MGP";
    CumRecvLogs = "CumRecvLogs", U32, "MCP";
    BuildInfo = "Build info", Text, "POS";
    MemmaxBytes = "Memmax_bytes", U32, "CLP";
    PoolAllocBytes = "PoolAlloc_bytes", U64, "MGP";
    PoolUsedBytes = "PoolUsed_bytes", U64, "MGP";
    StartTimeSec = "Start_time_sec", U32, "MDP";
    Tainted = "Tainted", Text, "SGP";
}
