use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::SendProxy;
use crate::check::CheckStatus;
use crate::expr::{Expr, LogFormat};
use crate::rules::VariableName;

/// How the servers of a backend are checked: the method is the backend's, the rhythm each server's.
#[derive(Debug, Clone, Default)]
pub enum CheckMethod {
    /// A connection that opens is healthy.
    #[default]
    Connect,
    /// `option httpchk` with its `http-check` rules, or `option tcp-check` with its `tcp-check` rules.
    Script(Arc<Script>),
}

/// `check` and its settings on a server line.
#[derive(Debug, Clone)]
pub struct ServerCheck {
    /// `check-via-socks4`: through the server's SOCKS proxy.
    pub via_socks4: bool,
    /// Between checks of a server in a settled state; default 2 s.
    pub inter: Duration,
    /// Between checks while a server is going up or down; default `inter`.
    pub fastinter: Option<Duration>,
    /// Between checks of a server that is down; default `inter`.
    pub downinter: Option<Duration>,
    /// Successes that bring a server up; default 2.
    pub rise: u32,
    /// Failures that take a server down; default 3.
    pub fall: u32,
    /// `addr` and `port` where they differ from the server's own.
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
    /// Its connections begin with the PROXY protocol's header (`check-send-proxy`, or the server's where the check goes to
    /// the server's own address and port).
    pub send_proxy: Option<SendProxy>,
}

/// `agent-check` and its settings on a server line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCheck {
    /// Between two questions; default 2 s.
    pub inter: Duration,
    pub port: u16,
    /// `agent-addr`, else `addr`, where it differs from the server's own.
    pub address: Option<IpAddr>,
    /// `agent-send`: what the agent is sent; default nothing.
    pub send: Box<[u8]>,
}

/// What a check does, in order. Source: HAProxy configuration manual, `http-check`, `tcp-check`.
///
/// The loader completes it: the first of the connections stands in [`steps`](Self::steps) also where the lines leave
/// it out, and a script of HTTP ends in an expectation (`status 200-399` unless one is written).
#[derive(Debug)]
pub struct Script {
    pub protocol: CheckProtocol,
    pub steps: Vec<CheckStep>,
    /// `http-check disable-on-404`: 404 takes no new units instead of taking the server down.
    pub disable_on_404: bool,
    /// `http-check send-state`: requests carry `X-Haproxy-Server-State`.
    pub send_state: bool,
}

/// What kind of script it is: decides the codes of its reports (`L6…`, `L7…`) and what a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckProtocol {
    Http,
    /// `option tcp-check`: its reports name the step that failed.
    Tcp,
    /// `option redis-check` and the like: bytes as in `Tcp`, and reports that say only what the script says.
    Preset,
}

/// One `http-check` or `tcp-check` line. Proxies that inherit it share what is large.
#[derive(Debug, Clone)]
pub enum CheckStep {
    /// A new connection; one that stands is closed.
    Connect(CheckConnect),
    /// `tcp-check send…`: bytes as they are.
    Send {
        data: CheckText,
        comment: Option<Box<str>>,
    },
    /// `http-check send`: a request.
    Request(Box<CheckRequest>),
    Expect(Box<CheckExpect>),
    /// `tcp-check comment`: what a failure in a later step without a comment of its own is reported with.
    Comment(Box<str>),
    SetVar {
        variable: VariableName,
        value: Arc<Expr>,
    },
    SetVarFormat {
        variable: VariableName,
        value: Arc<LogFormat>,
    },
    UnsetVar(VariableName),
}

impl CheckStep {
    /// Whether it has to do with the connection; the others set variables and comment.
    pub(crate) fn acts(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Send { .. } | Self::Request(_) | Self::Expect(_))
    }
}

/// `connect [default] [port P] [addr A] [linger] [send-proxy] [via-socks4] [comment TEXT]`.
#[derive(Debug, Clone, Default)]
pub struct CheckConnect {
    /// Where it differs from what the server's line says; [`CheckPort::Sample`] is asked at each check.
    pub port: Option<CheckPort>,
    pub address: Option<SocketAddr>,
    /// Close with FIN; else with RST, which leaves nothing in TIME_WAIT.
    pub linger: bool,
    /// `default`, and where nothing is written: the proxy of SOCKS4 and the header of the PROXY protocol are those that
    /// the server's line has for checks.
    pub as_server: bool,
    /// `via-socks4`
    pub via_socks4: bool,
    /// `send-proxy`: begins with the PROXY protocol's header, in the version that the server's traffic has.
    pub send_proxy: bool,
    /// `ssl`: TLS as the server's line has it, also where its checks are else without.
    pub tls: bool,
    /// `sni`, `alpn`: what differs in it from what the server's line says.
    pub sni: Option<Box<str>>,
    pub alpn: Option<Box<[Vec<u8>]>>,
    /// The loader put it there: it is step 0, and says nothing of itself in reports.
    pub implicit: bool,
    pub comment: Option<Box<str>>,
}

impl CheckStep {
    /// Whether it is a `connect … ssl`.
    pub(crate) fn asks_for_tls(&self) -> bool {
        matches!(self, Self::Connect(connect) if connect.tls)
    }
}

#[derive(Debug, Clone)]
pub enum CheckPort {
    Fixed(u16),
    Sample(Arc<Expr>),
}

/// Bytes to send, or to look for.
#[derive(Debug, Clone)]
pub enum CheckText {
    Fixed(Box<[u8]>),
    /// `binary`, `send-binary`: written as hexadecimal digits; here what they mean.
    Binary(Box<[u8]>),
    /// `…-lf`
    Format(Arc<LogFormat>),
    /// `…-binary-lf`: hexadecimal digits once it is filled in.
    HexFormat(Arc<LogFormat>),
}

/// `http-check send`, with what `option httpchk` says where it says nothing. In a [`Script`] all is filled in.
#[derive(Debug, Clone, Default)]
pub struct CheckRequest {
    /// Default `OPTIONS`.
    pub method: Box<[u8]>,
    /// Default `/`.
    pub uri: CheckText,
    /// Default `HTTP/1.0`.
    pub version: Box<[u8]>,
    /// In order. `Connection: close` and `Content-Length` are the sender's to add.
    pub headers: Vec<(Box<[u8]>, Arc<LogFormat>)>,
    pub body: Option<CheckText>,
    pub comment: Option<Box<str>>,
}

/// `expect [min-recv N] [comment TEXT] … [!] MATCH PATTERN`.
#[derive(Debug, Clone)]
pub struct CheckExpect {
    pub what: Expected,
    /// `!`: the check fails where it matches.
    pub negated: bool,
    /// Bytes that have to be there before looking; `None` looks at whatever has come.
    pub min_recv: Option<usize>,
    pub comment: Option<Box<str>>,
    /// What is reported (`L7OK`, `L7OKC`, `L6OK`, `L4OK`) when it holds, does not hold, and comes too late.
    pub ok_status: Option<CheckStatus>,
    pub error_status: Option<CheckStatus>,
    pub tout_status: Option<CheckStatus>,
    /// The text of the report.
    pub on_success: Option<Arc<LogFormat>>,
    pub on_error: Option<Arc<LogFormat>>,
    /// Gives the code of the report in place of the response's status.
    pub status_code: Option<Arc<Expr>>,
}

/// What is looked for in what the server sends.
#[derive(Debug, Clone)]
pub enum Expected {
    /// `status 200-299,301`: ranges, both ends included.
    Status(Box<[(u16, u16)]>),
    StatusRegex(regex::bytes::Regex),
    /// In a response of HTTP: in its body.
    Contains(CheckText),
    Regex(regex::bytes::Regex),
    /// `rbinary`: of the hexadecimal digits (upper case) of what came.
    HexRegex(regex::bytes::Regex),
    /// `hdr` and `fhdr`: a header, or one value of its list, whose name and value match.
    Header {
        name: HeaderPart,
        value: Option<HeaderPart>,
        full: bool,
    },
    /// A packet of a protocol that a preset speaks.
    Packet(Packet),
}

/// What a preset waits for that is more than a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// `option ldap-check`
    LdapBindResponse,
    /// `option mysql-check`: the first packet of the server, and the one that answers a login.
    MysqlGreeting,
    MysqlLogin,
    /// `option spop-check`
    SpopHello,
    /// `option grpc-check`
    GrpcHealth,
    /// `agent-check`
    AgentLine,
}

/// A name or a value of a header: `[-m str|beg|end|sub|reg] TEXT` or `name-lf`.
#[derive(Debug, Clone)]
pub enum HeaderPart {
    Exact(CheckText),
    Begin(CheckText),
    End(CheckText),
    Contains(CheckText),
    Regex(regex::bytes::Regex),
}

impl CheckText {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Fixed(bytes) if bytes.is_empty())
    }
}

impl Default for CheckText {
    fn default() -> Self {
        Self::Fixed(Box::default())
    }
}

impl CheckRequest {
    /// Takes from `other` what is not said here, and the built-in values for the rest.
    pub(crate) fn complete(&mut self, other: &Self) {
        let fill = |own: &mut Box<[u8]>, other: &[u8], built_in: &[u8]| {
            if own.is_empty() {
                *own = if other.is_empty() { built_in } else { other }.into();
            }
        };
        fill(&mut self.method, &other.method, b"OPTIONS");
        fill(&mut self.version, &other.version, b"HTTP/1.0");
        if self.uri.is_empty() {
            let built_in = CheckText::Fixed((*b"/").into());
            self.uri = if other.uri.is_empty() { built_in } else { other.uri.clone() };
        }
        if self.headers.is_empty() {
            self.headers.clone_from(&other.headers);
        }
        if self.body.is_none() {
            self.body.clone_from(&other.body);
        }
    }
}

impl CheckExpect {
    /// An expectation without options.
    pub(crate) fn of(what: Expected) -> Self {
        Self {
            what,
            negated: false,
            min_recv: None,
            comment: None,
            ok_status: None,
            error_status: None,
            tout_status: None,
            on_success: None,
            on_error: None,
            status_code: None,
        }
    }
}

impl ServerCheck {
    /// The address that is checked, given where the server is now.
    pub fn target(&self, server: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.address.unwrap_or(server.ip()), self.port.unwrap_or(server.port()))
    }
}
