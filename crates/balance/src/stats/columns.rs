//! The columns of `show stat`, in their order.
//!
//! Names, order, types and tags were recorded from `show stat` and `show stat typed` of Debian's
//! HAProxy 2.6.12; `throttle` and `agent_code`, which need a slow start and an agent to show,
//! from its management guide.

use super::{Kind, Tags, Type};

macro_rules! columns {
    ($($name:ident = $text:literal, $type:ident, $tags:literal $(, $backend:literal)?;)*) => {
        /// One column of the statistics; its number is its place in the CSV.
        #[allow(missing_docs, reason = "the names are HAProxy's, explained in its manual")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Column { $($name,)* }

        impl Column {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            fn row(self) -> &'static (&'static str, Type, &'static str, Option<&'static str>) {
                &ROWS[self as usize]
            }
        }

        /// Name, type, tags, and tags in a backend's row where those differ.
        static ROWS: &[(&str, Type, &str, Option<&str>)] =
            &[$(($text, Type::$type, $tags, columns!(@ $($backend)?)),)*];
    };
    (@ $backend:literal) => { Some($backend) };
    (@) => { None };
}

impl Column {
    /// The name in the CSV header.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The type of its values.
    pub fn value_type(self) -> Type {
        self.row().1
    }

    /// What kind of number or text it is in the row of a `kind`.
    pub fn tags(self, kind: Kind) -> Tags {
        let (_, _, tags, backend) = *self.row();
        Tags(backend.filter(|_| kind == Kind::Backend).unwrap_or(tags))
    }
}

columns! {
    Pxname = "pxname", Text, "KNS";
    Svname = "svname", Text, "KNS";
    Qcur = "qcur", U32, "MGP";
    Qmax = "qmax", U32, "MMP";
    Scur = "scur", U32, "MGP";
    Smax = "smax", U32, "MMP";
    Slim = "slim", U32, "CLP";
    Stot = "stot", U64, "MCP";
    Bin = "bin", U64, "MCP";
    Bout = "bout", U64, "MCP";
    Dreq = "dreq", U64, "MCP";
    Dresp = "dresp", U64, "MCP";
    Ereq = "ereq", U64, "MCP";
    Econ = "econ", U64, "MCP";
    Eresp = "eresp", U64, "MCP";
    Wretr = "wretr", U64, "MCP";
    Wredis = "wredis", U64, "MCP";
    Status = "status", Text, "SGP";
    Weight = "weight", U32, "MaP";
    Act = "act", U32, "SGP", "MGP";
    Bck = "bck", U32, "SGP", "MGP";
    Chkfail = "chkfail", U64, "MCP";
    Chkdown = "chkdown", U64, "MCP";
    Lastchg = "lastchg", U32, "MAP";
    Downtime = "downtime", U32, "MCP";
    Qlimit = "qlimit", U32, "CGS";
    Pid = "pid", U32, "KGP";
    Iid = "iid", U32, "KGS";
    Sid = "sid", U32, "KGS";
    Throttle = "throttle", U32, "MaP";
    Lbtot = "lbtot", U64, "MCP";
    Tracked = "tracked", Text, "CNS";
    Type = "type", U32, "CGS";
    Rate = "rate", U32, "MRP", "MGP";
    RateLim = "rate_lim", U32, "CLP";
    RateMax = "rate_max", U32, "MMP", "MGP";
    CheckStatus = "check_status", Text, "MOP";
    CheckCode = "check_code", U32, "MOP";
    CheckDuration = "check_duration", U64, "MDP";
    Hrsp1xx = "hrsp_1xx", U64, "MCP";
    Hrsp2xx = "hrsp_2xx", U64, "MCP";
    Hrsp3xx = "hrsp_3xx", U64, "MCP";
    Hrsp4xx = "hrsp_4xx", U64, "MCP";
    Hrsp5xx = "hrsp_5xx", U64, "MCP";
    HrspOther = "hrsp_other", U64, "MCP";
    Hanafail = "hanafail", U64, "MCP";
    ReqRate = "req_rate", U32, "MRP";
    ReqRateMax = "req_rate_max", U32, "MMP";
    ReqTot = "req_tot", U64, "MCP";
    CliAbrt = "cli_abrt", U64, "MCP";
    SrvAbrt = "srv_abrt", U64, "MCP";
    CompIn = "comp_in", U64, "MCP";
    CompOut = "comp_out", U64, "MCP";
    CompByp = "comp_byp", U64, "MCP";
    CompRsp = "comp_rsp", U64, "MCP";
    Lastsess = "lastsess", S32, "MAP";
    LastChk = "last_chk", Text, "MOP";
    LastAgt = "last_agt", Text, "MOP";
    Qtime = "qtime", U32, "MaP";
    Ctime = "ctime", U32, "MaP";
    Rtime = "rtime", U32, "MaP";
    Ttime = "ttime", U32, "MaP";
    AgentStatus = "agent_status", Text, "MOP";
    AgentCode = "agent_code", U32, "MOP";
    AgentDuration = "agent_duration", U64, "MDP";
    CheckDesc = "check_desc", Text, "MOP";
    AgentDesc = "agent_desc", Text, "MOP";
    CheckRise = "check_rise", U32, "CGS";
    CheckFall = "check_fall", U32, "CGS";
    CheckHealth = "check_health", U32, "CGS";
    AgentRise = "agent_rise", U32, "CGS";
    AgentFall = "agent_fall", U32, "CGS";
    AgentHealth = "agent_health", U32, "CGS";
    Addr = "addr", Text, "CGS";
    Cookie = "cookie", Text, "CNS";
    Mode = "mode", Text, "CGS";
    Algo = "algo", Text, "CGS";
    ConnRate = "conn_rate", U32, "MRP";
    ConnRateMax = "conn_rate_max", U32, "MMP";
    ConnTot = "conn_tot", U64, "MCP";
    Intercepted = "intercepted", U64, "MCP";
    Dcon = "dcon", U64, "MCP";
    Dses = "dses", U64, "MCP";
    Wrew = "wrew", U64, "MCP";
    Connect = "connect", U64, "MCP";
    Reuse = "reuse", U64, "MCP";
    CacheLookups = "cache_lookups", U64, "MCP";
    CacheHits = "cache_hits", U64, "MCP";
    SrvIcur = "srv_icur", U32, "MGP";
    SrcIlim = "src_ilim", U32, "CLP";
    QtimeMax = "qtime_max", U32, "MMP";
    CtimeMax = "ctime_max", U32, "MMP";
    RtimeMax = "rtime_max", U32, "MMP";
    TtimeMax = "ttime_max", U32, "MMP";
    Eint = "eint", U64, "MCP";
    IdleConnCur = "idle_conn_cur", U32, "MGP";
    SafeConnCur = "safe_conn_cur", U32, "MGP";
    UsedConnCur = "used_conn_cur", U32, "MGP";
    NeedConnEst = "need_conn_est", U32, "MGP";
    Uweight = "uweight", U32, "MaP";
    AggServerStatus = "agg_server_status", U32, "MGP";
    AggServerCheckStatus = "agg_server_check_status", U32, "MGP";
    AggCheckStatus = "agg_check_status", U32, "MGP";
    Separator = "-", U64, "MCP";
    SslSess = "ssl_sess", U64, "MCP";
    SslReusedSess = "ssl_reused_sess", U64, "MCP";
    SslFailedHandshake = "ssl_failed_handshake", U64, "MCP";
    H2HeadersRcvd = "h2_headers_rcvd", U64, "MCP";
    H2DataRcvd = "h2_data_rcvd", U64, "MCP";
    H2SettingsRcvd = "h2_settings_rcvd", U64, "MCP";
    H2RstStreamRcvd = "h2_rst_stream_rcvd", U64, "MCP";
    H2GoawayRcvd = "h2_goaway_rcvd", U64, "MCP";
    H2DetectedConnProtocolErrors = "h2_detected_conn_protocol_errors", U64, "MCP";
    H2DetectedStrmProtocolErrors = "h2_detected_strm_protocol_errors", U64, "MCP";
    H2RstStreamResp = "h2_rst_stream_resp", U64, "MCP";
    H2GoawayResp = "h2_goaway_resp", U64, "MCP";
    H2OpenConnections = "h2_open_connections", U64, "MGP";
    H2BackendOpenStreams = "h2_backend_open_streams", U64, "MGP";
    H2TotalConnections = "h2_total_connections", U64, "MCP";
    H2BackendTotalStreams = "h2_backend_total_streams", U64, "MCP";
    H1OpenConnections = "h1_open_connections", U64, "MGP";
    H1OpenStreams = "h1_open_streams", U64, "MGP";
    H1TotalConnections = "h1_total_connections", U64, "MCP";
    H1TotalStreams = "h1_total_streams", U64, "MCP";
    H1BytesIn = "h1_bytes_in", U64, "MCP";
    H1BytesOut = "h1_bytes_out", U64, "MCP";
    H1SplicedBytesIn = "h1_spliced_bytes_in", U64, "MCP";
    H1SplicedBytesOut = "h1_spliced_bytes_out", U64, "MCP";
}
