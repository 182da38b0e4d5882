//! Rules: what `http-request`, `http-response`, `tcp-request`, `use_backend` and their kin do.
//!
//! A rule is an action behind an optional condition. Each rule set is run by one function that takes the stream and
//! returns a verdict; the data path acts on the verdict and knows no action by name. Actions of one kind stand in one
//! file each under `rules/`: how they are written and what they do, side by side.

use std::sync::Arc;
use std::time::Duration;

use telamon_config::Location;

use crate::expr::{Condition, Expr, LogFormat};
use crate::model::{ProxyId, ServerId};

/// An action behind a condition; `condition` is absent where it always applies.
#[derive(Debug)]
pub struct Rule<A> {
    pub condition: Option<Condition>,
    pub action: A,
    pub at: Location,
}

pub type HttpRequestRule = Rule<HttpAction>;
pub type HttpResponseRule = Rule<HttpAction>;
pub type AfterResponseRule = Rule<HttpAction>;
pub type TcpRequestRule = Rule<TcpAction>;
pub type TcpResponseRule = Rule<TcpAction>;
pub type UseBackendRule = Rule<BackendChoice>;
pub type UseServerRule = Rule<ServerChoice>;

/// What `use_backend` names.
#[derive(Debug)]
pub enum BackendChoice {
    Static(ProxyId),
    /// `use_backend %[…]`: evaluated per request; a name that does not exist passes to the next rule.
    Dynamic(LogFormat),
}

/// What `use-server` names.
#[derive(Debug)]
pub enum ServerChoice {
    Static(ServerId),
    Dynamic(LogFormat),
}

/// An answer made here: by `deny`, `return`, `redirect`, an `errorfile`, or for a failure.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: ReplyBody,
    /// Added to the head, in order (`hdr NAME FORMAT`).
    pub headers: Vec<(Box<[u8]>, Arc<LogFormat>)>,
}

/// Where the bytes of a [`Reply`] come from.
#[derive(Debug, Clone)]
pub enum ReplyBody {
    /// The proxy's own reply for the status: its `errorfile` if any, else HAProxy's built-in bytes.
    Default,
    /// A head without a body.
    Empty,
    /// A whole HTTP message from an `errorfile`, sent as it stands.
    Message(Arc<[u8]>),
    /// `file` or `string`: fixed bytes of a content type.
    Static { content_type: Box<[u8]>, bytes: Arc<[u8]> },
    /// `lf-file` or `lf-string`.
    Format { content_type: Box<[u8]>, format: Arc<LogFormat> },
    /// `errorloc302 | errorloc303 URL`.
    Location(Box<[u8]>),
}

/// What came of running a rule set.
#[derive(Debug)]
pub enum Verdict {
    /// All rules passed, or `allow`/`accept` ended the set.
    Pass,
    /// Answer this and end the request; the cause for the log is `Proxy` for a denial, `Local` for an answer.
    Answer(Box<Answer>),
    /// Close the client's connection without an answer (`reject`, `silent-drop`).
    Close { silent: bool },
    /// Wait as a tarpit does, then send the answer.
    Tarpit(Box<Answer>),
    /// The rule at `resume` needs more of the message: wait until the buffer is full, the message ends, or the time is
    /// over, then run the set again from there.
    Wait { resume: usize, timeout: Option<Duration> },
}

/// An answer ready to be sent: a head with its framing headers, and its body.
#[derive(Debug)]
pub struct Answer {
    pub head: telamon_http_proto::Head,
    pub body: Vec<u8>,
    /// A denial counts in `dreq`/`dresp` and logs `PR`; a local answer logs `LR`.
    pub denied: bool,
}

/// What `set-var`, `unset-var` name: scope and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableName {
    pub scope: Scope,
    pub name: Box<[u8]>,
}

/// How long a variable lives. Source: HAProxy configuration manual, `set-var`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Process,
    Session,
    Transaction,
    Request,
    Response,
    Check,
}

/// `http-request`, `http-response` and `http-after-response` actions; each set's table says which it takes.
#[derive(Debug)]
pub enum HttpAction {
    Allow,
    Deny(Reply),
    Return(Reply),
    Tarpit(Reply),
    Reject,
    SilentDrop,
    Redirect(Redirect),
    /// `auth [realm …]`: 401 (407 for `use-proxy-header`) unless the condition says who is known.
    Auth { realm: Option<LogFormat> },
    AddHeader { name: Box<[u8]>, value: LogFormat },
    SetHeader { name: Box<[u8]>, value: LogFormat },
    /// `early-hint NAME FORMAT`.
    EarlyHint { name: Box<[u8]>, value: LogFormat },
    DelHeader(NameMatch),
    /// `replace-header NAME REGEX FORMAT`: the whole value.
    ReplaceHeader { name: Box<[u8]>, regex: regex::bytes::Regex, value: LogFormat },
    /// `replace-value NAME REGEX FORMAT`: each comma-separated value.
    ReplaceValue { name: Box<[u8]>, regex: regex::bytes::Regex, value: LogFormat },
    SetMethod(LogFormat),
    SetPath(LogFormat),
    SetPathQuery(LogFormat),
    SetQuery(LogFormat),
    SetUri(LogFormat),
    ReplacePath { regex: regex::bytes::Regex, value: LogFormat },
    ReplacePathQuery { regex: regex::bytes::Regex, value: LogFormat },
    ReplaceUri { regex: regex::bytes::Regex, value: LogFormat },
    NormalizeUri(Normalizer),
    StripQueryParam(Box<[u8]>),
    SetStatus { status: u16, reason: Option<Box<[u8]>> },
    SetVar { variable: VariableName, value: Expr },
    SetVarFormat { variable: VariableName, value: LogFormat },
    UnsetVar(VariableName),
    Capture { sample: Expr, into: CaptureTarget },
    SetSrc(Expr),
    SetSrcPort(Expr),
    SetDst(Expr),
    SetDstPort(Expr),
    SetLogLevel(Option<crate::log::Level>),
    SetTimeout { which: TimeoutKind, value: TimeoutValue },
    SetNice(i32),
    SetTos(u8),
    SetMark(u32),
    WaitForBody { time: Duration, at_least: usize },
    StrictMode(bool),
    AddAcl { list: LogFormat, key: LogFormat },
    DelAcl { list: LogFormat, key: LogFormat },
    SetMap { list: LogFormat, key: LogFormat, value: LogFormat },
    DelMap { list: LogFormat, key: LogFormat },
}

/// `tcp-request` and `tcp-response` actions.
#[derive(Debug)]
pub enum TcpAction {
    Accept,
    Reject,
    SilentDrop,
    /// `tcp-response content close`.
    Close,
    SetVar { variable: VariableName, value: Expr },
    SetVarFormat { variable: VariableName, value: LogFormat },
    UnsetVar(VariableName),
    Capture { sample: Expr, into: CaptureTarget },
    SetSrc(Expr),
    SetSrcPort(Expr),
    SetDst(Expr),
    SetDstPort(Expr),
    SetLogLevel(Option<crate::log::Level>),
    SetNice(i32),
    SetTos(u8),
    SetMark(u32),
    /// `switch-mode http`.
    SwitchModeHttp,
    /// `expect-proxy layer4`.
    ExpectProxy,
}

/// `http-request redirect` and `redirect`.
#[derive(Debug)]
pub struct Redirect {
    pub kind: RedirectKind,
    pub target: LogFormat,
    /// 301, 302 (default), 303, 307 or 308.
    pub status: u16,
    pub drop_query: bool,
    pub append_slash: bool,
    /// `set-cookie` or `clear-cookie`, as the value of the `Set-Cookie` header.
    pub cookie: Option<Box<[u8]>>,
    /// `ignore-empty`: an empty location passes to the next rule.
    pub ignore_empty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectKind {
    Location,
    Prefix,
    Scheme,
}

/// How `del-header` matches a name.
#[derive(Debug)]
pub enum NameMatch {
    Exact(Box<[u8]>),
    Begin(Box<[u8]>),
    End(Box<[u8]>),
    Contains(Box<[u8]>),
    Regex(regex::bytes::Regex),
}

/// Where a capture goes: `id N`, or a slot made for this rule by `len N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureTarget {
    pub slot: usize,
}

/// `http-request normalize-uri NORMALIZER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalizer {
    FragmentEncode,
    FragmentStrip,
    PathMergeSlashes,
    PathStripDot,
    PathStripDotdot { full: bool },
    PercentDecodeUnreserved { strict: bool },
    PercentToUppercase { strict: bool },
    QuerySortByName,
}

/// `http-request set-timeout server|tunnel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutKind {
    Server,
    Tunnel,
}

#[derive(Debug)]
pub enum TimeoutValue {
    Fixed(Duration),
    /// In milliseconds.
    Sample(Expr),
}
