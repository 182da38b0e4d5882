//! The variables of log formats: their names, and what each writes.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use telamon_tls::Handshake;

use super::date::Stamp;
use super::escape::{self, ByteSet};
use super::request_line::{self, Part};
use super::termination::{Cause, Phase};

/// One row of the table of variables. Source: HAProxy configuration manual, 8.2.6.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) variable: Variable,
    /// It says something of a request, so it belongs to `mode http`.
    pub(crate) http_only: bool,
}

/// What a log format can name with `%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variable {
    ActiveConnections,
    Backend,
    BackendConnections,
    BackendPort,
    BackendQueue,
    BackendSource,
    BytesToClient,
    BytesToServer,
    ClientAddress,
    ClientCookie,
    ClientPort,
    DateGmt,
    DateLocal,
    DateLog,
    Frontend,
    FrontendAddress,
    FrontendConnections,
    FrontendPort,
    FrontendTransport,
    Hostname,
    LogCounter,
    Milliseconds,
    Pid,
    RequestCaptures,
    RequestCapturesList,
    RequestCounter,
    RequestDateGmt,
    RequestDateLocal,
    RequestDateLog,
    RequestLine(Part),
    ResponseCaptures,
    ResponseCapturesList,
    Retries,
    Server,
    ServerAddress,
    ServerConnections,
    ServerCookie,
    ServerPort,
    ServerQueue,
    Status,
    Termination,
    TerminationWithCookies,
    TimeActive,
    TimeConnect,
    TimeData,
    TimeHandshake,
    TimeIdle,
    TimeQueue,
    TimeRequest,
    TimeRequestTotal,
    TimeResponse,
    TimeTotal,
    TimeUser,
    Timestamp,
    TlsCipher,
    TlsVersion,
    UniqueId,
}

const fn any(name: &'static str, variable: Variable) -> Row {
    Row { name, variable, http_only: false }
}

const fn http(name: &'static str, variable: Variable) -> Row {
    Row { name, variable, http_only: true }
}

/// Every variable but `%o`, which only sets flags.
pub(crate) static VARIABLES: &[Row] = &[
    any("B", Variable::BytesToClient),
    http("CC", Variable::ClientCookie),
    http("CS", Variable::ServerCookie),
    any("H", Variable::Hostname),
    http("HM", Variable::RequestLine(Part::Method)),
    http("HP", Variable::RequestLine(Part::UriWithoutQuery)),
    http("HPO", Variable::RequestLine(Part::Path)),
    http("HQ", Variable::RequestLine(Part::Query)),
    http("HU", Variable::RequestLine(Part::Uri)),
    http("HV", Variable::RequestLine(Part::Version)),
    any("ID", Variable::UniqueId),
    any("ST", Variable::Status),
    any("T", Variable::DateGmt),
    http("TR", Variable::TimeRequest),
    http("Ta", Variable::TimeActive),
    any("Tc", Variable::TimeConnect),
    any("Td", Variable::TimeData),
    any("Th", Variable::TimeHandshake),
    http("Ti", Variable::TimeIdle),
    any("Tl", Variable::DateLocal),
    http("Tq", Variable::TimeRequestTotal),
    http("Tr", Variable::TimeResponse),
    any("Ts", Variable::Timestamp),
    any("Tt", Variable::TimeTotal),
    any("Tu", Variable::TimeUser),
    any("Tw", Variable::TimeQueue),
    any("U", Variable::BytesToServer),
    any("ac", Variable::ActiveConnections),
    any("b", Variable::Backend),
    any("bc", Variable::BackendConnections),
    any("bi", Variable::BackendSource),
    any("bp", Variable::BackendPort),
    any("bq", Variable::BackendQueue),
    any("ci", Variable::ClientAddress),
    any("cp", Variable::ClientPort),
    any("f", Variable::Frontend),
    any("fc", Variable::FrontendConnections),
    any("fi", Variable::FrontendAddress),
    any("fp", Variable::FrontendPort),
    any("ft", Variable::FrontendTransport),
    any("hr", Variable::RequestCaptures),
    any("hrl", Variable::RequestCapturesList),
    any("hs", Variable::ResponseCaptures),
    any("hsl", Variable::ResponseCapturesList),
    any("lc", Variable::LogCounter),
    any("ms", Variable::Milliseconds),
    any("pid", Variable::Pid),
    http("r", Variable::RequestLine(Part::Line)),
    any("rc", Variable::Retries),
    any("rt", Variable::RequestCounter),
    any("s", Variable::Server),
    any("sc", Variable::ServerConnections),
    any("si", Variable::ServerAddress),
    any("sp", Variable::ServerPort),
    any("sq", Variable::ServerQueue),
    any("sslc", Variable::TlsCipher),
    any("sslv", Variable::TlsVersion),
    any("t", Variable::DateLog),
    http("tr", Variable::RequestDateLog),
    http("trg", Variable::RequestDateGmt),
    http("trl", Variable::RequestDateLocal),
    any("ts", Variable::Termination),
    any("tsc", Variable::TerminationWithCookies),
];

/// How a value is written: what `%{+Q,-X}` sets, and what the use of the format asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags {
    /// `Q`: in double quotes.
    pub(crate) quote: bool,
    /// `X`: addresses, ports and some numbers in hexadecimal.
    pub(crate) hex: bool,
    /// `E`: a backslash before quotes, backslashes and closing brackets.
    pub(crate) escape: bool,
    /// `M`: a missing value is `-`. On in log lines.
    pub(crate) mandatory: bool,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Ip(SocketAddr),
    /// A unix socket; a log line names it by the listener's number.
    Unix,
}

/// Everything that the variables can write, gathered for one line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) client: Option<Peer>,
    pub(crate) local: Option<Peer>,
    /// The listener's number among those of its frontend.
    pub(crate) listener: u32,
    /// What TLS agreed on with the client.
    pub(crate) tls: Option<&'a Handshake>,
    /// Where the connection to the server left from, and where it went.
    pub(crate) server_source: Option<Peer>,
    pub(crate) server_address: Option<Peer>,
    pub(crate) frontend: &'a str,
    pub(crate) backend: &'a str,
    /// The backend's mode, which decides where data begins.
    pub(crate) backend_http: bool,
    /// The server's name; `<NOSRV>`, or that of the page that answered.
    pub(crate) server: &'a str,
    /// The first byte of the request (`mode tcp`: the accept).
    pub(crate) started: Stamp,
    /// See [`LogState`](crate::stream::LogState) for these.
    pub(crate) handshake_ms: u32,
    pub(crate) idle_ms: u32,
    pub(crate) request_ms: Option<u32>,
    pub(crate) queue_ms: Option<u32>,
    pub(crate) connect_ms: Option<u32>,
    pub(crate) response_ms: Option<u32>,
    pub(crate) total_ms: u32,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// `option logasap`: the total time and the bytes are not final, which a `+` says.
    pub(crate) early: bool,
    /// -1 for a request that was not answered.
    pub(crate) status: i32,
    pub(crate) cookies: [Option<&'a [u8]>; 2],
    pub(crate) cause: Cause,
    pub(crate) phase: Phase,
    pub(crate) cookie_state: [u8; 2],
    /// Connections of the process, the frontend, the backend and the server, this one included.
    pub(crate) active: u64,
    pub(crate) frontend_active: u64,
    pub(crate) backend_active: u64,
    pub(crate) server_active: u64,
    pub(crate) retries: u32,
    pub(crate) redispatched: bool,
    pub(crate) server_queue: u32,
    pub(crate) backend_queue: u32,
    /// One for each slot that is declared; empty where no request was read.
    pub(crate) request_captures: &'a [Option<Box<[u8]>>],
    pub(crate) response_captures: &'a [Option<Box<[u8]>>],
    /// Absent where no request was understood.
    pub(crate) request_line: Option<&'a [u8]>,
    /// Counts the requests of the process from 0.
    pub(crate) number: u32,
    /// Counts the lines of the frontend from 0.
    pub(crate) line: u32,
    pub(crate) hostname: &'a str,
    pub(crate) pid: u32,
    pub(crate) unique_id: Option<&'a [u8]>,
}

impl Variable {
    /// Writes the value. What writes nothing at all also swallows the space that follows it in a log line.
    pub(crate) fn write(self, flags: Flags, facts: &Facts<'_>, out: &mut Vec<u8>) {
        match self {
            Self::ActiveConnections => escape::unsigned(facts.active, out),
            Self::Backend => text(facts.backend.as_bytes(), flags, out),
            Self::BackendConnections => escape::unsigned(facts.backend_active, out),
            Self::BackendPort => port(facts.server_source, 0, flags, out),
            Self::BackendQueue => escape::unsigned(u64::from(facts.backend_queue), out),
            Self::BackendSource => address(facts.server_source, flags, out),
            Self::BytesToClient => {
                facts.mark_early(out);
                escape::unsigned(facts.bytes_out, out);
            }
            Self::BytesToServer => escape::unsigned(facts.bytes_in, out),
            Self::ClientAddress => address(facts.client, flags, out),
            Self::ClientCookie => text(facts.cookies[0].unwrap_or_default(), flags, out),
            Self::ClientPort => port(facts.client, facts.listener, flags, out),
            Self::DateGmt => facts.accepted().write_gmt(out),
            Self::DateLocal => facts.accepted().write_local(out),
            Self::DateLog => facts.accepted().write_log(out),
            Self::Frontend => text(facts.frontend.as_bytes(), flags, out),
            Self::FrontendAddress => address(facts.local, flags, out),
            Self::FrontendConnections => escape::unsigned(facts.frontend_active, out),
            Self::FrontendPort => port(facts.local, facts.listener, flags, out),
            Self::FrontendTransport => quoted(flags, out, |out| {
                out.extend_from_slice(facts.frontend.as_bytes());
                if facts.tls.is_some() {
                    out.push(b'~');
                }
            }),
            Self::Hostname => text(facts.hostname.as_bytes(), flags, out),
            Self::LogCounter => counter(u64::from(facts.line), flags, out),
            Self::Milliseconds => {
                let ms = u64::from(facts.accepted().millis());
                if flags.hex {
                    escape::hexadecimal(ms, 2, out);
                } else {
                    escape::padded(ms, 3, out);
                }
            }
            Self::Pid => counter(u64::from(facts.pid), flags, out),
            Self::RequestCaptures => captures(facts.request_captures, flags, out),
            Self::RequestCapturesList => captures_list(facts.request_captures, flags, out),
            Self::RequestCounter => counter(u64::from(facts.number), flags, out),
            Self::RequestDateGmt => facts.started.write_gmt(out),
            Self::RequestDateLocal => facts.started.write_local(out),
            Self::RequestDateLog => facts.started.write_log(out),
            Self::RequestLine(part) => quoted(flags, out, |out| {
                let value = request_line::part(facts.request_line, part);
                encode(value, &escape::URI, flags, out);
            }),
            Self::ResponseCaptures => captures(facts.response_captures, flags, out),
            Self::ResponseCapturesList => captures_list(facts.response_captures, flags, out),
            Self::Retries => {
                if facts.redispatched {
                    out.push(b'+');
                }
                escape::unsigned(u64::from(facts.retries), out);
            }
            Self::Server => text(facts.server.as_bytes(), flags, out),
            Self::ServerAddress => address(facts.server_address, flags, out),
            Self::ServerConnections => escape::unsigned(facts.server_active, out),
            Self::ServerCookie => text(facts.cookies[1].unwrap_or_default(), flags, out),
            Self::ServerPort => port(facts.server_address, 0, flags, out),
            Self::ServerQueue => escape::unsigned(u64::from(facts.server_queue), out),
            Self::Status => escape::signed(i64::from(facts.status), out),
            Self::Termination => {
                out.extend_from_slice(&[facts.cause.letter(), facts.phase.letter()]);
            }
            Self::TerminationWithCookies => {
                out.extend_from_slice(&[facts.cause.letter(), facts.phase.letter()]);
                out.extend_from_slice(&facts.cookie_state);
            }
            Self::TimeActive => {
                facts.mark_early(out);
                escape::unsigned(u64::from(facts.total_ms), out);
            }
            Self::TimeConnect => escape::signed(since(facts.connect_ms, facts.queue_ms), out),
            Self::TimeData => {
                let begin = if facts.backend_http { facts.response_ms } else { facts.connect_ms };
                escape::signed(since(begin.map(|_| facts.total_ms), begin), out);
            }
            Self::TimeHandshake => escape::unsigned(u64::from(facts.handshake_ms), out),
            Self::TimeIdle => escape::unsigned(u64::from(facts.idle_ms), out),
            Self::TimeQueue => escape::signed(facts.queue_time(), out),
            Self::TimeRequest => escape::signed(facts.request_ms.map_or(-1, i64::from), out),
            Self::TimeRequestTotal => {
                let total = facts.request_ms.map_or(-1, |ms| i64::from(ms) + facts.before());
                escape::signed(total, out);
            }
            Self::TimeResponse => escape::signed(since(facts.response_ms, facts.connect_ms), out),
            Self::TimeTotal => {
                facts.mark_early(out);
                escape::signed(i64::from(facts.total_ms) + facts.before(), out);
            }
            Self::TimeUser => {
                facts.mark_early(out);
                escape::signed(i64::from(facts.total_ms) + i64::from(facts.handshake_ms), out);
            }
            Self::Timestamp => counter(facts.accepted().seconds.max(0).unsigned_abs(), flags, out),
            Self::TlsCipher => {
                let name = facts.tls.map_or("", Handshake::cipher_name);
                text(name.as_bytes(), flags, out);
            }
            Self::TlsVersion => {
                let name = facts.tls.and_then(Handshake::protocol).unwrap_or_default();
                text(name.as_bytes(), flags, out);
            }
            Self::UniqueId => text(facts.unique_id.unwrap_or_default(), flags, out),
        }
    }

    /// Whether it keeps a line back until all is over. Source: what HAProxy does; the state of a session without cookies
    /// (`%ts`) does, the one with cookies (`%tsc`) does not.
    pub(crate) fn waits_for_end(self) -> bool {
        matches!(
            self,
            Self::ActiveConnections
                | Self::BackendConnections
                | Self::BackendQueue
                | Self::BytesToClient
                | Self::BytesToServer
                | Self::FrontendConnections
                | Self::Retries
                | Self::ServerConnections
                | Self::ServerQueue
                | Self::Termination
                | Self::TimeActive
                | Self::TimeConnect
                | Self::TimeData
                | Self::TimeHandshake
                | Self::TimeIdle
                | Self::TimeQueue
                | Self::TimeRequest
                | Self::TimeRequestTotal
                | Self::TimeResponse
                | Self::TimeTotal
                | Self::TimeUser
                | Self::UniqueId
        )
    }

    /// Whether it can write nothing at all.
    pub(crate) fn may_be_empty(self) -> bool {
        matches!(
            self,
            Self::RequestCaptures
                | Self::RequestCapturesList
                | Self::ResponseCaptures
                | Self::ResponseCapturesList
        )
    }
}

impl Facts<'_> {
    /// When the connection was accepted or, for a later request on it, when the one before had ended.
    fn accepted(&self) -> Stamp {
        self.started.minus_ms(self.handshake_ms.saturating_add(self.idle_ms))
    }

    fn before(&self) -> i64 {
        i64::from(self.handshake_ms) + i64::from(self.idle_ms)
    }

    /// Counted from the request head, which is at -1 where none was waited for: so a TCP session that never queued has
    /// been 1 ms in the queue, as HAProxy logs it.
    fn queue_time(&self) -> i64 {
        self.queue_ms.map_or(-1, |ms| i64::from(ms) - self.request_ms.map_or(-1, i64::from))
    }

    fn mark_early(&self, out: &mut Vec<u8>) {
        if self.early {
            out.push(b'+');
        }
    }
}

/// Writes a text, or its absence.
pub(crate) fn text(value: &[u8], flags: Flags, out: &mut Vec<u8>) {
    if value.is_empty() && flags.mandatory && !flags.quote {
        out.push(b'-');
        return;
    }
    quoted(flags, out, |out| {
        if flags.escape {
            escape::escaped(value, out);
        } else {
            out.extend_from_slice(value);
        }
    });
}

/// Milliseconds from one event to a later one, -1 where it did not come to that.
fn since(event: Option<u32>, before: Option<u32>) -> i64 {
    event.map_or(-1, |ms| i64::from(ms) - before.map_or(-1, i64::from))
}

fn quoted(flags: Flags, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if flags.quote {
        out.push(b'"');
    }
    write(out);
    if flags.quote {
        out.push(b'"');
    }
}

fn encode(value: &[u8], set: &ByteSet, flags: Flags, out: &mut Vec<u8>) {
    if flags.escape {
        escape::encoded_and_escaped(value, b'#', set, out);
    } else {
        escape::encoded(value, b'#', set, out);
    }
}

fn counter(value: u64, flags: Flags, out: &mut Vec<u8>) {
    if flags.hex {
        escape::hexadecimal(value, 4, out);
    } else {
        escape::unsigned(value, out);
    }
}

fn address(peer: Option<Peer>, flags: Flags, out: &mut Vec<u8>) {
    let Some(peer) = peer else { return text(b"", flags, out) };
    match peer {
        Peer::Ip(at) if flags.hex => match at.ip() {
            IpAddr::V4(ip) => escape::hexadecimal(u64::from(u32::from(ip)), 8, out),
            IpAddr::V6(ip) => {
                let bits = u128::from(ip);
                escape::hexadecimal((bits >> 64) as u64, 16, out);
                escape::hexadecimal(bits as u64, 16, out);
            }
        },
        Peer::Ip(at) => quoted(flags, out, |out| write_ip(at.ip(), out)),
        Peer::Unix => text(b"unix", flags, out),
    }
}

pub(crate) fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            let mut text = [0; 15];
            let mut len = 0;
            let mut put = |byte| {
                text[len] = byte;
                len += 1;
            };
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    put(b'.');
                }
                if octet >= 100 {
                    put(b'0' + octet / 100);
                }
                if octet >= 10 {
                    put(b'0' + octet / 10 % 10);
                }
                put(b'0' + octet % 10);
            }
            out.extend_from_slice(&text[..len]);
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(ip) => _ = write!(out, "{ip}"),
    }
}

fn port(peer: Option<Peer>, listener: u32, flags: Flags, out: &mut Vec<u8>) {
    match peer {
        None => text(b"", flags, out),
        Some(Peer::Unix) => escape::unsigned(u64::from(listener), out),
        Some(Peer::Ip(at)) => counter(u64::from(at.port()), flags, out),
    }
}

/// `{a||c}`: one place for each slot, empty where nothing was captured.
fn captures(slots: &[Option<Box<[u8]>>], flags: Flags, out: &mut Vec<u8>) {
    if slots.is_empty() {
        return;
    }
    quoted(flags, out, |out| {
        out.push(b'{');
        for (index, slot) in slots.iter().enumerate() {
            if index > 0 {
                out.push(b'|');
            }
            encode(slot.as_deref().unwrap_or_default(), &escape::HEADER, flags, out);
        }
        out.push(b'}');
    });
}

/// `"a" "" "c"` or, without quotes, `a - c`.
fn captures_list(slots: &[Option<Box<[u8]>>], flags: Flags, out: &mut Vec<u8>) {
    for (index, slot) in slots.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        quoted(flags, out, |out| match slot {
            Some(value) => encode(value, &escape::HEADER, flags, out),
            None if flags.quote => {}
            None => out.push(b'-'),
        });
    }
}
