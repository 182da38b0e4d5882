//! The exchanges of `option redis-check` and `option smtpchk`, as scripts.

use std::sync::Arc;

use crate::check::CheckStatus;
use crate::expr::{Expr, LogFormat, ParseScope};
use crate::log::FormatUse;
use crate::model::{CheckConnect, CheckExpect, CheckStep, CheckText, Expected};

/// Redis answers `PING`.
pub(super) fn redis(scope: &mut ParseScope<'_>) -> Vec<CheckStep> {
    let pong = CheckText::Fixed((*b"+PONG\r\n").into());
    let expect = CheckExpect {
        error_status: Some(CheckStatus::L7Status),
        on_success: format("Redis server is ok", scope),
        on_error: format("%[res.payload(0,0),cut_crlf]", scope),
        ..CheckExpect::of(Expected::Contains(pong))
    };
    vec![send(b"*1\r\n$4\r\nPING\r\n"), CheckStep::Expect(Box::new(expect))]
}

/// A mail server greets, takes `HELO` or `EHLO`, and lets one go (RFC 5321, section 4).
pub(super) fn smtp(hello: &[u8], scope: &mut ParseScope<'_>) -> Vec<CheckStep> {
    let reply = "%[res.payload(4,0),ltrim(' '),cut_crlf]";
    let mut expect = |pattern: &str, min_recv: Option<usize>, good: bool| {
        let pattern = crate::expr::regex::compile(pattern.as_bytes(), false).ok()?;
        Some(CheckStep::Expect(Box::new(CheckExpect {
            min_recv,
            error_status: Some(CheckStatus::L7Status),
            on_error: format(reply, scope),
            on_success: if good { format(reply, scope) } else { None },
            status_code: Expr::parse_text(b"res.payload(0,3)", scope).ok().map(Arc::new),
            ..CheckExpect::of(Expected::Regex(pattern))
        })))
    };
    let greeting = expect(r"^2[0-9]{2}[ \r]", Some(4), false);
    let welcome = expect(r"^(2[0-9]{2}-[^\r]*\r\n)*2[0-9]{2}[ \r]", None, true);
    let farewell = expect(r"^2[0-9]{2}[- \r]", Some(4), true);
    let any_code = expect(r"^[0-9]{3}[ \r]", Some(4), false).map(|mut step| {
        if let CheckStep::Expect(expect) = &mut step {
            // What has no code at all is no mail server, and there is no code to report.
            expect.error_status = Some(CheckStatus::L7Response);
            expect.on_error = format("%[res.payload(0,0),cut_crlf]", scope);
            expect.status_code = None;
        }
        step
    });
    // Mail servers complain of connections that are reset.
    let connect = CheckConnect { linger: true, implicit: false, ..CheckConnect::default() };
    [
        Some(CheckStep::Connect(connect)),
        any_code,
        greeting,
        Some(send(&[hello, b"\r\n"].concat())),
        welcome,
        Some(send(b"QUIT\r\n")),
        farewell,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn send(bytes: &[u8]) -> CheckStep {
    CheckStep::Send { data: CheckText::Fixed(bytes.into()), comment: None }
}

/// The formats here are right wherever a check may stand; a test reads each.
fn format(text: &str, scope: &mut ParseScope<'_>) -> Option<Arc<LogFormat>> {
    LogFormat::parse_text(text.as_bytes(), scope, FormatUse::Text).ok().map(Arc::new)
}
