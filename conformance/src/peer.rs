//! One connection of one case: short words for what is sent, and the judgement of what comes back.

use std::fmt;
use std::io;
use std::time::Duration;

use telamon_testkit::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Event, Frame, GOAWAY, HEADERS, Http2Client,
    PING, PRIORITY, RST_STREAM, SETTINGS, block, code, literal, request_fields,
};

/// How long nothing may come before a case is judged by what has come.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a case asks of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Must {
    /// GOAWAY with one of the codes; a connection that just ends will do (RFC 9113, section 5.4.1).
    ConnectionError(&'static [u32]),
    /// RST_STREAM with one of the codes, or a connection error.
    StreamError(&'static [u32]),
    /// GOAWAY with this code, and nothing less.
    Goaway(u32),
    /// RST_STREAM with this code, and nothing less.
    Reset(u32),
    /// The connection ends.
    Close,
    /// A head on stream 1.
    Answer,
    /// The answer to the PING that was sent last, by its payload.
    Pong,
    /// The same, or the connection ends.
    PongOrClose,
    /// DATA.
    Data,
    /// The first DATA has this many bytes.
    DataOf(usize),
    /// The first frame is SETTINGS, not an acknowledgement.
    Settings,
    /// SETTINGS are acknowledged.
    Acknowledge,
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |codes: &[u32]| codes.iter().map(|c| code::name(*c)).collect::<Vec<_>>().join(" or ");
        match self {
            Self::ConnectionError(codes) => write!(f, "connection error {}", names(codes)),
            Self::StreamError(codes) => write!(f, "stream error {}", names(codes)),
            Self::Goaway(one) => write!(f, "GOAWAY {}", code::name(*one)),
            Self::Reset(one) => write!(f, "RST_STREAM {}", code::name(*one)),
            Self::Close => f.write_str("the connection ends"),
            Self::Answer => f.write_str("an answer"),
            Self::Pong => f.write_str("PING is answered"),
            Self::PongOrClose => f.write_str("PING is answered, or the connection ends"),
            Self::Data => f.write_str("DATA"),
            Self::DataOf(count) => write!(f, "DATA of {count} byte"),
            Self::Settings => f.write_str("SETTINGS first"),
            Self::Acknowledge => f.write_str("SETTINGS are acknowledged"),
        }
    }
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// The connection ended where an error with one of some codes was asked for, and none had come.
    PassedByEnd,
    Failed,
    /// The server makes no promise that could be tried.
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "pass",
            Self::PassedByEnd => "ends",
            Self::Failed => "fail",
            Self::Skipped => "skip",
        })
    }
}

pub(crate) struct Peer {
    client: Http2Client,
    pinged: [u8; 8],
    /// What was waited for in vain on the way, which decides the case.
    missed: Option<String>,
    skipped: Option<&'static str>,
}

impl Peer {
    pub(crate) fn connect(port: u16, tls: bool, greets: bool) -> io::Result<Self> {
        let client = if tls { Http2Client::open_tls(port) } else { Http2Client::open(port) }?;
        let mut client = client.patience(PATIENCE).without_replenishing();
        if greets {
            client.hello(&[])?;
        }
        Ok(Self { client, pinged: [0; 8], missed: None, skipped: None })
    }

    // ---- what is sent

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.client.send_raw(bytes);
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.client.send(kind, flags, stream, payload);
    }

    pub(crate) fn settings(&mut self, settings: &[(u16, u32)]) {
        self.client.send_settings(settings);
    }

    /// A whole GET.
    pub(crate) fn get(&mut self, stream: u32) {
        self.head(stream, END_STREAM | END_HEADERS, &[]);
    }

    /// The head of a POST whose body follows.
    pub(crate) fn post(&mut self, stream: u32) {
        self.post_with(stream, &[]);
    }

    /// The same with further fields.
    pub(crate) fn post_with(&mut self, stream: u32, more: &[(&str, &str)]) {
        let fields = [&request_fields("POST", "/")[..], more].concat();
        self.frame(HEADERS, END_HEADERS, stream, &block(&fields));
    }

    /// HEADERS of a GET with flags of one's own, further fields behind.
    pub(crate) fn head(&mut self, stream: u32, flags: u8, more: &[(&str, &str)]) {
        let fields = [&request_fields("GET", "/")[..], more].concat();
        self.frame(HEADERS, flags, stream, &block(&fields));
    }

    /// A whole request of these fields alone.
    pub(crate) fn only(&mut self, fields: &[(&str, &str)]) {
        self.frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(fields));
    }

    /// A whole GET with a representation of one's own behind its fields.
    pub(crate) fn get_then(&mut self, representation: &[u8]) {
        let fields = block(&request_fields("GET", "/"));
        self.frame(HEADERS, END_STREAM | END_HEADERS, 1, &[&fields, representation].concat());
    }

    /// A whole GET with representations in front of its fields.
    pub(crate) fn get_after(&mut self, representations: &[u8]) {
        let fields = block(&request_fields("GET", "/"));
        self.frame(HEADERS, END_STREAM | END_HEADERS, 1, &[representations, &fields].concat());
    }

    /// CONTINUATION with one field.
    pub(crate) fn more(&mut self, stream: u32, flags: u8) {
        self.frame(CONTINUATION, flags, stream, &literal("x-more", "1"));
    }

    pub(crate) fn data(&mut self, stream: u32, flags: u8, content: &[u8]) {
        self.frame(DATA, flags, stream, content);
    }

    pub(crate) fn reset(&mut self, stream: u32, code: u32) {
        self.client.send_reset(stream, code);
    }

    pub(crate) fn priority(&mut self, stream: u32, depends_on: u32, weight: u8) {
        let payload = [&depends_on.to_be_bytes()[..], &[weight]].concat();
        self.frame(PRIORITY, 0, stream, &payload);
    }

    pub(crate) fn ping(&mut self) {
        self.ping_with(0, *b"telamon!");
    }

    pub(crate) fn ping_with(&mut self, flags: u8, payload: [u8; 8]) {
        self.pinged = payload;
        self.frame(PING, flags, 0, &payload);
    }

    pub(crate) fn goaway(&mut self, stream: u32, code: u32) {
        self.frame(GOAWAY, 0, stream, &[[0; 4], code.to_be_bytes()].concat());
    }

    pub(crate) fn window(&mut self, stream: u32, increment: u32) {
        self.client.send_window_update(stream, increment);
    }

    /// A setting of the server, or what holds without it.
    pub(crate) fn setting(&self, id: u16, default: u32) -> u32 {
        self.client.setting(id).unwrap_or(default)
    }

    pub(crate) fn skip_without(&mut self, id: u16, why: &'static str) {
        if self.client.setting(id).is_none() {
            self.skipped = Some(why);
        }
    }

    // ---- what is waited for on the way

    pub(crate) fn await_acknowledgement(&mut self) {
        self.until("an acknowledgement of SETTINGS", |frame| {
            frame.kind == SETTINGS && frame.has(ACK)
        });
    }

    pub(crate) fn await_data(&mut self) {
        self.until("DATA", |frame| frame.kind == DATA);
    }

    pub(crate) fn await_end_of_stream(&mut self) {
        self.until("the end of the answer", |frame| {
            matches!(frame.kind, DATA | HEADERS) && frame.has(END_STREAM)
        });
    }

    fn until(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) {
        loop {
            match self.client.next_event() {
                Event::Frame(frame) if wanted(&frame) => return,
                Event::Frame(_) => {}
                other => {
                    self.missed.get_or_insert(format!("{} before {what}", describe(&other)));
                    return;
                }
            }
        }
    }

    // ---- what must come

    pub(crate) fn judge(mut self, must: &Must) -> (Verdict, String) {
        if let Some(why) = self.skipped {
            return (Verdict::Skipped, why.to_owned());
        }
        if let Some(missed) = self.missed {
            return (Verdict::Failed, missed);
        }
        let mut seen = Vec::new();
        loop {
            let event = self.client.next_event();
            seen.push(describe(&event));
            if let Some(passed) = verdict(must, &event, self.pinged) {
                let wants_code = matches!(must, Must::ConnectionError(_) | Must::StreamError(_));
                let verdict = match event {
                    _ if !passed => Verdict::Failed,
                    Event::Closed if wants_code => Verdict::PassedByEnd,
                    _ => Verdict::Passed,
                };
                return (verdict, seen.join(", "));
            }
            if seen.len() > 200 {
                return (Verdict::Failed, "200 frames, none of them the one".to_owned());
            }
        }
    }
}

/// `None` when what comes next may decide.
fn verdict(must: &Must, event: &Event, pinged: [u8; 8]) -> Option<bool> {
    let frame = match event {
        Event::Frame(frame) => frame,
        Event::Timeout => return Some(false),
        Event::Closed => {
            let will_do = matches!(
                must,
                Must::ConnectionError(_) | Must::StreamError(_) | Must::Close | Must::PongOrClose
            );
            return Some(will_do);
        }
    };
    let is_pong = frame.kind == PING && frame.has(ACK);
    let holds = match must {
        Must::ConnectionError(codes) => frame.kind == GOAWAY && codes.contains(&frame.number()),
        Must::StreamError(codes) => {
            matches!(frame.kind, GOAWAY | RST_STREAM) && codes.contains(&frame.number())
        }
        Must::Goaway(code) => frame.kind == GOAWAY && frame.number() == *code,
        Must::Reset(code) => frame.kind == RST_STREAM && frame.number() == *code,
        Must::Close => false,
        Must::Answer => frame.kind == HEADERS && frame.stream == 1,
        // Any other answer is one to a PING that should have none.
        Must::Pong | Must::PongOrClose if is_pong => return Some(frame.payload == pinged),
        Must::Pong | Must::PongOrClose => false,
        Must::Data => frame.kind == DATA,
        Must::DataOf(count) if frame.kind == DATA => return Some(frame.payload.len() == *count),
        Must::DataOf(_) => false,
        Must::Settings => return Some(frame.kind == SETTINGS && !frame.has(ACK)),
        Must::Acknowledge => frame.kind == SETTINGS && frame.has(ACK),
    };
    holds.then_some(true)
}

fn describe(event: &Event) -> String {
    let frame = match event {
        Event::Closed => return "closed".to_owned(),
        Event::Timeout => return "nothing more".to_owned(),
        Event::Frame(frame) => frame,
    };
    let number = || code::name(frame.number());
    match frame.kind {
        DATA => format!("DATA of {} on {}", frame.payload.len(), frame.stream),
        HEADERS => format!("HEADERS on {}", frame.stream),
        RST_STREAM => format!("RST_STREAM {} on {}", number(), frame.stream),
        GOAWAY => format!("GOAWAY {}", number()),
        SETTINGS if frame.has(ACK) => "SETTINGS acknowledged".to_owned(),
        SETTINGS => "SETTINGS".to_owned(),
        PING => "PING".to_owned(),
        kind => format!("frame of type {kind} on {}", frame.stream),
    }
}
