//! What status pages and sockets show, as data: rows of named, typed, tagged values.
//!
//! Whoever knows the numbers fills a [`Row`] per object or one [`Info`] for the process; whoever
//! shows them (CSV, typed, JSON, page) walks [`Column::ALL`] or [`Field::ALL`] and needs to know
//! nothing else. A value that was not set is shown as HAProxy shows one: an empty cell in CSV,
//! no line elsewhere.

mod columns;
mod fields;
mod source;

use std::borrow::Cow;
use std::fmt;

pub use columns::Column;
pub use fields::Field;
pub use source::{ActError, Action, Kinds, Proxy, Source};

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A frontend.
    Frontend,
    /// A backend.
    Backend,
    /// A server of a backend.
    Server,
    /// A listener of a frontend (`option socket-stats`).
    Listener,
}

impl Kind {
    /// The number in the column `type`.
    pub fn number(self) -> u32 {
        match self {
            Self::Frontend => 0,
            Self::Backend => 1,
            Self::Server => 2,
            Self::Listener => 3,
        }
    }

    /// The letter that begins a typed line.
    pub fn letter(self) -> char {
        match self {
            Self::Frontend => 'F',
            Self::Backend => 'B',
            Self::Server => 'S',
            Self::Listener => 'L',
        }
    }

    /// The word of `objType` in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Frontend => "Frontend",
            Self::Backend => "Backend",
            Self::Server => "Server",
            Self::Listener => "Listener",
        }
    }
}

/// The type of a value, as the typed and JSON outputs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// 32 bits, unsigned.
    U32,
    /// 64 bits, unsigned.
    U64,
    /// 32 bits, signed.
    S32,
    /// Text.
    Text,
}

impl Type {
    /// `u32`, `u64`, `s32` or `str`.
    pub fn word(self) -> &'static str {
        match self {
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::S32 => "s32",
            Self::Text => "str",
        }
    }
}

/// Origin, nature and scope of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tags(&'static str);

impl Tags {
    /// The three letters of the typed output, such as `MGP`.
    pub fn letters(self) -> &'static str {
        self.0
    }

    /// Where it comes from, in the word of the JSON output.
    pub fn origin(self) -> &'static str {
        match self.letter(0) {
            b'M' => "Metric",
            b'S' => "Status",
            b'K' => "Key",
            b'C' => "Config",
            b'P' => "Product",
            _ => "Unknown",
        }
    }

    /// How it behaves over time.
    pub fn nature(self) -> &'static str {
        match self.letter(1) {
            b'G' => "Gauge",
            b'L' => "Limit",
            b'm' => "Min",
            b'M' => "Max",
            b'R' => "Rate",
            b'C' => "Counter",
            b'D' => "Duration",
            b'A' => "Age",
            b'T' => "Time",
            b'N' => "Name",
            b'O' => "Output",
            b'a' => "Avg",
            _ => "Unknown",
        }
    }

    /// How far it reaches.
    pub fn scope(self) -> &'static str {
        match self.letter(2) {
            b'C' => "Cluster",
            b'P' => "Process",
            b'S' => "Service",
            b's' => "System",
            _ => "Unknown",
        }
    }

    fn letter(self, at: usize) -> u8 {
        self.0.as_bytes().get(at).copied().unwrap_or(0)
    }
}

/// A value; its type is the column's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An unsigned number.
    Unsigned(u64),
    /// A signed number.
    Signed(i32),
    /// Text.
    Text(Cow<'static, str>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Unsigned(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Unsigned(number.into())
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Signed(number)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

/// The numbers of one frontend, backend, server or listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub kind: Kind,
    /// What no column of HAProxy's says: a level, a panic, a load. For people: pages show it beside the
    /// state; empty for nothing.
    pub note: Cow<'static, str>,
    values: Vec<Option<Value>>,
}

impl Row {
    /// A row with its `type` set.
    pub fn new(kind: Kind) -> Self {
        let values = vec![None; Column::ALL.len()];
        let mut row = Self { kind, note: Cow::Borrowed(""), values };
        row.set(Column::Type, kind.number());
        row
    }

    /// Sets a value. A number too large for its column is shown as the largest that fits.
    pub fn set(&mut self, column: Column, value: impl Into<Value>) -> &mut Self {
        self.values[column as usize] = Some(fit(value.into(), column.value_type()));
        self
    }

    /// Unsets a value, for those who may not see it.
    pub fn clear(&mut self, column: Column) {
        self.values[column as usize] = None;
    }

    /// A value, if it was set.
    pub fn get(&self, column: Column) -> Option<&Value> {
        self.values[column as usize].as_ref()
    }
}

/// The numbers of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    values: Vec<Option<Value>>,
}

impl Default for Info {
    fn default() -> Self {
        Self { values: vec![None; Field::ALL.len()] }
    }
}

impl Info {
    /// Sets a value, as [`Row::set`] does.
    pub fn set(&mut self, field: Field, value: impl Into<Value>) -> &mut Self {
        self.values[field as usize] = Some(fit(value.into(), field.value_type()));
        self
    }

    /// A value, if it was set.
    pub fn get(&self, field: Field) -> Option<&Value> {
        self.values[field as usize].as_ref()
    }
}

fn fit(value: Value, value_type: Type) -> Value {
    match (value, value_type) {
        (Value::Unsigned(number), Type::U32) => Value::Unsigned(number.min(u32::MAX.into())),
        (value, _) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_csv_header_is_haproxys() {
        let names: Vec<&str> = Column::ALL.iter().map(|column| column.name()).collect();
        assert_eq!(format!("# {},", names.join(",")), CSV_HEADER);
    }

    #[test]
    fn the_fields_are_haproxys() {
        let shown = |field: &&Field| {
            !matches!(field, Field::ZlibMemUsage | Field::MaxZlibMemUsage | Field::Description)
        };
        let names: Vec<&str> = Field::ALL.iter().filter(shown).map(|field| field.name()).collect();
        assert_eq!(names.join(","), INFO_FIELDS);
    }

    #[test]
    fn tags_have_letters_and_words() {
        let tags = Column::Act.tags(Kind::Server);
        assert_eq!(tags.letters(), "SGP");
        assert_eq!((tags.origin(), tags.nature(), tags.scope()), ("Status", "Gauge", "Process"));
        assert_eq!(Column::Act.tags(Kind::Backend).letters(), "MGP");
        assert_eq!(Column::Qtime.tags(Kind::Server).nature(), "Avg");
        assert!(Column::ALL.iter().all(|c| c.tags(Kind::Server).nature() != "Unknown"));
        assert_eq!(Field::Uptime.tags().letters(), "MDP");
    }

    #[test]
    fn numbers_fit_their_column() {
        let mut row = Row::new(Kind::Server);
        row.set(Column::Rate, u64::MAX).set(Column::Lastsess, -1).set(Column::Svname, "s1");
        assert_eq!(row.get(Column::Rate), Some(&Value::Unsigned(4_294_967_295)));
        assert_eq!(row.get(Column::Lastsess).map(ToString::to_string).as_deref(), Some("-1"));
        assert_eq!(row.get(Column::Type), Some(&Value::Unsigned(2)));
        assert_eq!(row.get(Column::Bin), None);
    }

    /// The first line of `show stat`, from Debian's HAProxy 2.6.12.
    const CSV_HEADER: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,agg_server_check_status,agg_check_status,-,ssl_sess,ssl_reused_sess,ssl_failed_handshake,h2_headers_rcvd,h2_data_rcvd,h2_settings_rcvd,h2_rst_stream_rcvd,h2_goaway_rcvd,h2_detected_conn_protocol_errors,h2_detected_strm_protocol_errors,h2_rst_stream_resp,h2_goaway_resp,h2_open_connections,h2_backend_open_streams,h2_total_connections,h2_backend_total_streams,h1_open_connections,h1_open_streams,h1_total_connections,h1_total_streams,h1_bytes_in,h1_bytes_out,h1_spliced_bytes_in,h1_spliced_bytes_out,";
    /// The names that its `show info` showed.
    const INFO_FIELDS: &str = "Name,Version,Release_date,Nbthread,Nbproc,Process_num,Pid,Uptime,Uptime_sec,Memmax_MB,PoolAlloc_MB,PoolUsed_MB,PoolFailed,Ulimit-n,Maxsock,Maxconn,Hard_maxconn,CurrConns,CumConns,CumReq,MaxSslConns,CurrSslConns,CumSslConns,Maxpipes,PipesUsed,PipesFree,ConnRate,ConnRateLimit,MaxConnRate,SessRate,SessRateLimit,MaxSessRate,SslRate,SslRateLimit,MaxSslRate,SslFrontendKeyRate,SslFrontendMaxKeyRate,SslFrontendSessionReuse_pct,SslBackendKeyRate,SslBackendMaxKeyRate,SslCacheLookups,SslCacheMisses,CompressBpsIn,CompressBpsOut,CompressBpsRateLim,Tasks,Run_queue,Idle_pct,node,Stopping,Jobs,Unstoppable Jobs,Listeners,ActivePeers,ConnectedPeers,DroppedLogs,BusyPolling,FailedResolutions,TotalBytesOut,TotalSplicdedBytesOut,BytesOutRate,DebugCommandsIssued,CumRecvLogs,Build info,Memmax_bytes,PoolAlloc_bytes,PoolUsed_bytes,Start_time_sec,Tainted";
}
