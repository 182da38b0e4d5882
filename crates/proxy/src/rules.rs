//! Rules: what `http-request`, `http-response`, `tcp-request`, `use_backend` and their kin do.
//!
//! A rule is an action behind an optional condition. [`run`] takes a rule set over a stream and returns a
//! [`Verdict`]; the data path acts on the verdict and knows no action by name. Actions of one kind stand in one file:
//! how they are written and what they do, side by side. [`actions`] has the tables of what may be written where,
//! [`reply`] the answers that are made here, [`choice`] the choice of backend and server.
//!
//! Not here yet: caches, Lua, SPOE, `switch-mode`; each is an error
//! that says so.

use std::time::Duration;

use telamon_config::{Args, ConfigErrorKind, Location};
use telamon_http_proto::{EditError, Head};

use crate::expr::{Condition, Expr, LogFormat};
use crate::stream::{Direction, Stream};

mod actions;
mod address;
mod capture;
mod choice;
mod header;
mod list;
mod look_up;
mod normalize;
mod redirect;
mod reply;
mod run;
mod track;
mod uri;
mod variable;

#[cfg(test)]
pub(crate) use actions::usages;
pub use actions::{
    parse_after_response_rule, parse_http_request_rule, parse_http_response_rule,
    parse_persist_rule, parse_redirect_rule, parse_tcp_request_rule, parse_tcp_response_rule,
    parse_use_backend_rule, parse_use_server_rule,
};
pub use address::{AddressEdit, AddressField};
pub use capture::Capture;
pub use choice::{BackendChoice, Routes, ServerChoice, choose_backend_of, choose_server};
pub use header::{HeaderEdit, NameMatch};
pub use list::{ListEdit, ListOperation};
pub use look_up::{LookUp, PendingLookUp};
pub use normalize::Normalizer;
pub use redirect::{Redirect, RedirectCookie, RedirectKind, redirect_to_server};
pub use reply::{
    Answer, ErrorSets, MessageError, Reply, ReplyBody, ReplyText, configured_message, error_reply,
    parse_http_error, unauthorized,
};
pub use run::{
    run_after_response_sets, run_http_request, run_http_response, run_tcp_request_content,
    run_tcp_request_session, run_tcp_response_content,
};
pub use track::{Amount, Change, CounterEdit, Track};
pub use uri::{TargetPart, UriEdit};
pub use variable::{Scope, VariableEdit, VariableName, VariableValue};

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
pub type PersistenceRule = Rule<crate::persistence::PersistRule>;

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
    /// Wait for the body, or `at_least` bytes of it, and go on at the rule `resume`; answer with 408 when the time is
    /// over.
    WaitForBody { resume: usize, time: Duration, at_least: usize },
    /// Ask name servers, and go on at the rule `resume`.
    LookUp { resume: usize, pending: Box<PendingLookUp> },
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
    /// `auth [realm …]`: asks for a password; the condition says who is known. `None` names the proxy.
    Auth {
        realm: Option<Box<[u8]>>,
    },
    Header(HeaderEdit),
    /// `early-hint NAME FORMAT`: a field of a 103 response that is sent at once.
    EarlyHint {
        name: Box<[u8]>,
        value: LogFormat,
    },
    Uri(UriEdit),
    NormalizeUri(Normalizer),
    SetStatus {
        status: u16,
        reason: Option<Box<[u8]>>,
    },
    Variable(VariableEdit),
    Capture(Capture),
    Address(AddressEdit),
    /// `None` is `silent`.
    SetLogLevel(Option<crate::log::Level>),
    SetTimeout {
        which: TimeoutKind,
        value: TimeoutValue,
    },
    /// `usize::MAX` for `at_least` waits for the whole body.
    WaitForBody {
        time: Duration,
        at_least: usize,
    },
    LookUp(LookUp),
    StrictMode(bool),
    /// `disable-l7-retry`
    NoReplay,
    List(ListEdit),
    Track(Track),
    Counter(CounterEdit),
}

/// `tcp-request` and `tcp-response` actions.
#[derive(Debug)]
pub enum TcpAction {
    Accept,
    /// `expect-proxy layer4`, of connection rules alone.
    ExpectProxy,
    Reject,
    SilentDrop,
    /// `tcp-response content close`.
    Close,
    Variable(VariableEdit),
    Capture(Capture),
    Address(AddressEdit),
    LookUp(LookUp),
    /// `None` is `silent`.
    SetLogLevel(Option<crate::log::Level>),
    Track(Track),
    Counter(CounterEdit),
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

impl<A> Rule<A> {
    /// Whether no rule after it in its set is ever reached, so that one earns a warning.
    pub fn ends_set(&self) -> bool
    where
        A: Final,
    {
        self.condition.is_none() && self.action.is_final()
    }
}

/// Actions of which some end their rule set.
pub trait Final {
    fn is_final(&self) -> bool;
}

impl Final for HttpAction {
    fn is_final(&self) -> bool {
        match self {
            Self::Allow
            | Self::Deny(_)
            | Self::Return(_)
            | Self::Tarpit(_)
            | Self::Reject
            | Self::SilentDrop
            | Self::Auth { .. } => true,
            Self::Redirect(redirect) => !redirect.ignore_empty,
            _ => false,
        }
    }
}

impl Final for TcpAction {
    fn is_final(&self) -> bool {
        matches!(self, Self::Accept | Self::Reject | Self::SilentDrop | Self::Close)
    }
}

impl HttpAction {
    /// The capture that it fills, so that the frontend declares its slot (`len`) or is asked for it (`id`).
    pub fn capture(&self) -> Option<&Capture> {
        match self {
            Self::Capture(capture) => Some(capture),
            _ => None,
        }
    }
}

impl TcpAction {
    /// As [`HttpAction::capture`].
    pub fn capture(&self) -> Option<&Capture> {
        match self {
            Self::Capture(capture) => Some(capture),
            _ => None,
        }
    }
}

/// What stands in the parentheses of a keyword such as `set-var(txn.host)`, and where in the word it begins. What is
/// wrong is reported.
fn in_parentheses<'a>(args: &mut Args<'a>) -> Option<(&'a str, usize)> {
    let keyword = args.keyword();
    let begin = keyword.text.find('(').map_or(keyword.text.len(), |at| at + 1);
    match keyword.text[begin..].strip_suffix(')') {
        Some(inner) if !inner.is_empty() => Some((inner, begin)),
        _ => {
            let name = keyword.text[..begin].trim_end_matches('(');
            let kind = ConfigErrorKind::BadValue {
                what: "action".into(),
                found: keyword.text.to_owned(),
                expected: format!("a name in parentheses: `{name}(<name>)`").into(),
            };
            args.fail(keyword.at, kind);
            None
        }
    }
}

/// The head that rules of a direction edit.
fn head(stream: &mut Stream, direction: Direction) -> &mut Head {
    match direction {
        Direction::Request => &mut stream.request,
        Direction::Response => &mut stream.response,
    }
}

/// Hands a format, filled in, to `edit`. Constant text is handed over as it stands; other text stands in a buffer of
/// the worker.
fn with_text<R>(
    format: &LogFormat,
    stream: &mut Stream,
    direction: Direction,
    edit: impl FnOnce(&mut Stream, &[u8]) -> R,
) -> R {
    if let Some(text) = format.as_constant() {
        return edit(stream, text);
    }
    let mut text = stream.session.worker.lend_buffer();
    stream.render(format, direction, &mut text);
    let result = edit(stream, &text);
    stream.session.worker.return_buffer(text);
    result
}

/// As [`with_text`], for what leaves the stream as it is.
fn with_rendered<R>(format: &LogFormat, stream: &Stream, read: impl FnOnce(&[u8]) -> R) -> R {
    if let Some(text) = format.as_constant() {
        return read(text);
    }
    let mut text = stream.session.worker.lend_buffer();
    stream.render(format, Direction::Request, &mut text);
    let result = read(&text);
    stream.session.worker.return_buffer(text);
    result
}

/// What an edit of a message comes to.
type Edited = Result<(), EditError>;

#[cfg(test)]
mod tests;
