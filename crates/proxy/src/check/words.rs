//! What reports say about a step that failed.

use std::borrow::Cow;
use std::io;

use telamon_runtime::connect::ConnectError;

use crate::log::notice::text_of;
use crate::model::{CheckPort, CheckProtocol, CheckStep, CheckText, Expected, Script};

/// The number of a step: lines count from 1, and a connection that the lines leave out is 0.
pub(super) fn step_number(script: &Script, at: usize) -> usize {
    let implicit =
        matches!(script.steps.first(), Some(CheckStep::Connect(first)) if first.implicit);
    if implicit { at } else { at + 1 }
}

/// The comment of a step: its own, or that of a `comment` line before it and others like it.
pub(super) fn comment(script: &Script, at: usize) -> Option<&str> {
    let own = match script.steps.get(at)? {
        CheckStep::Connect(connect) => connect.comment.as_deref(),
        CheckStep::Send { comment, .. } => comment.as_deref(),
        CheckStep::Request(request) => request.comment.as_deref(),
        CheckStep::Expect(expect) => expect.comment.as_deref(),
        _ => return None,
    };
    let inherited = || {
        for before in script.steps[..at].iter().rev() {
            match (before, &script.steps[at]) {
                (CheckStep::Comment(comment), _) => return Some(&**comment),
                (CheckStep::Send { .. }, CheckStep::Send { .. })
                | (CheckStep::Request(_), CheckStep::Request(_))
                | (CheckStep::Expect(_), CheckStep::Expect(_)) => {}
                _ => return None,
            }
        }
        None
    };
    own.or_else(inherited)
}

/// ` at step 2 of tcp-check (send)`: where a `tcp-check` got to when its connection failed or its time was over.
/// Nothing for other checks.
pub(super) fn place(script: &Script, at: usize) -> String {
    if script.protocol != CheckProtocol::Tcp {
        return String::new();
    }
    let number = step_number(script, at);
    if number == 0 {
        return " at initial connection step of tcp-check".to_owned();
    }
    let what: Cow<'_, str> = match &script.steps[at] {
        CheckStep::Connect(connect) => match connect.port {
            Some(CheckPort::Fixed(port)) => format!(" (connect port {port})").into(),
            _ => " (connect)".into(),
        },
        CheckStep::Send { .. } | CheckStep::Request(_) => " (send)".into(),
        CheckStep::Expect(expect) => match &expect.what {
            Expected::Contains(CheckText::Fixed(text)) => {
                format!(" (expect string '{}')", String::from_utf8_lossy(text)).into()
            }
            Expected::Contains(CheckText::Binary(bytes)) => {
                format!(" (expect binary '{}')", String::from_utf8_lossy(bytes)).into()
            }
            Expected::Contains(CheckText::Format(_)) => " (expect log-format string)".into(),
            Expected::Contains(CheckText::HexFormat(_)) => " (expect log-format binary)".into(),
            Expected::Regex(_) => " (expect regex)".into(),
            Expected::HexRegex(_) => " (expect binary regex)".into(),
            Expected::Status(_) => " (expect HTTP status codes)".into(),
            Expected::StatusRegex(_) => " (expect HTTP status regex)".into(),
            Expected::Header { .. } => " (expect HTTP header pattern)".into(),
            Expected::Packet(_) => " (expect custom function)".into(),
        },
        _ => "".into(),
    };
    let comment = comment(script, at).map(|comment| format!(" comment: '{comment}'"));
    format!(" at step {number} of tcp-check{what}{}", comment.unwrap_or_default())
}

/// What a `tcp-check` says of an expectation that has no word of its own.
pub(super) fn mismatch(script: &Script, at: usize, matched: bool) -> String {
    let begin =
        if matched { "TCPCHK matched unwanted content" } else { "TCPCHK did not match content" };
    let what: Cow<'_, str> = match &script.steps[at] {
        CheckStep::Expect(expect) => match &expect.what {
            Expected::Contains(CheckText::Fixed(text)) => {
                format!(" '{}'", String::from_utf8_lossy(text)).into()
            }
            Expected::Contains(CheckText::Binary(_)) => " (binary)".into(),
            Expected::Contains(CheckText::Format(_)) => " (log-format string)".into(),
            Expected::Contains(CheckText::HexFormat(_)) => " (log-format binary)".into(),
            Expected::HexRegex(_) => " (binary regex)".into(),
            _ => " (regex)".into(),
        },
        _ => "".into(),
    };
    format!("{begin}{what} at step {}", step_number(script, at))
}

/// An answer without a byte, where bytes were expected.
pub(super) fn empty(script: &Script, at: usize) -> String {
    let comment = comment(script, at).map(|comment| format!(" comment: '{comment}'"));
    let number = step_number(script, at);
    format!("TCPCHK got an empty response at step {number}{}", comment.unwrap_or_default())
}

/// Why a connection was not made. What the kernel says at once, HAProxy puts in brackets behind a word of its own.
pub(super) fn connect_failure(error: &ConnectError, unix: bool) -> String {
    let text = text_of(&error.source);
    use rustix::io::Errno;
    let errno = error.source.raw_os_error().map(Errno::from_raw_os_error);
    let word = match errno {
        Some(Errno::MFILE) => "Too many sockets on the process",
        Some(Errno::NFILE) => "Too many sockets on the system",
        Some(Errno::NOBUFS | Errno::NOMEM) => "Out of system buffers",
        Some(Errno::ADDRINUSE) => "Local source address already in use",
        Some(Errno::ADDRNOTAVAIL | Errno::AGAIN) => "Out of local source ports on the system",
        Some(Errno::NETUNREACH | Errno::ACCESS | Errno::PERM) => "General socket error",
        _ if unix => "General socket error",
        _ => return text,
    };
    format!("{word} ({text})")
}

/// What a broken connection says.
pub(super) fn socket_failure(error: &io::Error) -> String {
    text_of(error)
}
