//! Running rule sets.

use std::cell::Cell;
use std::time::Duration;

use telamon_http_proto::Version;

use super::normalize::Rewritten;
use super::{
    Answer, HttpAction, HttpRequestRule, HttpResponseRule, Rule, TcpAction, TcpRequestRule,
    TcpResponseRule, TimeoutKind, TimeoutValue, Verdict, error_reply, unauthorized, with_text,
};
use crate::expr::{Value, ValueType};
use crate::stream::{Cause, Context, Direction, Phase, Session, Stream};

/// Runs `http-request` rules from the rule `from` on.
pub fn run_http_request(rules: &[HttpRequestRule], stream: &mut Stream, from: usize) -> Verdict {
    run_http(rules, stream, from, Direction::Request)
}

/// Runs `http-response` rules over `stream.response`.
pub fn run_http_response(rules: &[HttpResponseRule], stream: &mut Stream, from: usize) -> Verdict {
    run_http(rules, stream, from, Direction::Response)
}

/// Runs the backend's and then the frontend's `http-after-response` rules over `stream.response`.
///
/// An edit that fails ends its set: what has been answered is not answered again.
pub fn run_after_response_sets(stream: &mut Stream) {
    let snapshot = stream.snapshot.clone();
    let (frontend, backend) = (stream.frontend, stream.backend);
    for id in [Some(backend), (frontend != backend).then_some(frontend)].into_iter().flatten() {
        let rules = &snapshot.proxy(id).rules.http_after_response;
        if !rules.is_empty() {
            run_http(rules, stream, 0, Direction::Response);
        }
    }
}

/// Runs `tcp-request content` rules from the rule `from` on; a rule that may come out otherwise with more bytes waits
/// for them.
pub fn run_tcp_request_content(
    rules: &[TcpRequestRule],
    stream: &mut Stream,
    from: usize,
) -> Verdict {
    run_tcp(rules, stream, from, Direction::Request)
}

/// Runs `tcp-response content` rules from the rule `from` on.
pub fn run_tcp_response_content(
    rules: &[TcpResponseRule],
    stream: &mut Stream,
    from: usize,
) -> Verdict {
    run_tcp(rules, stream, from, Direction::Response)
}

/// Runs `tcp-request connection` or `session` rules.
pub fn run_tcp_request_session(rules: &[TcpRequestRule], session: &Session) -> Verdict {
    let wants_more = Cell::new(false);
    let cx = Context::for_session(session, &wants_more);
    for rule in rules {
        if rule.condition.as_ref().is_some_and(|condition| !condition.holds(&cx)) {
            continue;
        }
        match &rule.action {
            TcpAction::Accept => return Verdict::Pass,
            TcpAction::Reject | TcpAction::Close => return Verdict::Close { silent: false },
            TcpAction::SilentDrop => return Verdict::Close { silent: true },
            TcpAction::Variable(edit) => edit.apply(&cx),
            TcpAction::Address(edit) => edit.apply(&cx),
            TcpAction::ExpectProxy => session.expects_proxy.set(true),
            TcpAction::Track(track) => track.apply_to_session(session, &cx),
            TcpAction::Counter(edit) => edit.apply(&cx),
            // The tables give these only to content rules.
            TcpAction::Capture(_) | TcpAction::SetLogLevel(_) | TcpAction::LookUp(_) => {}
        }
    }
    Verdict::Pass
}

fn run_http(
    rules: &[Rule<HttpAction>],
    stream: &mut Stream,
    from: usize,
    direction: Direction,
) -> Verdict {
    let mut strict = is_strict_before(rules, from);
    for (index, rule) in rules.iter().enumerate().skip(from) {
        if !rule.applies(stream, direction) {
            continue;
        }
        if let Some(verdict) = act(rules, index, stream, direction, &mut strict) {
            if !matches!(verdict, Verdict::WaitForBody { .. } | Verdict::LookUp { .. }) {
                stream.last_rule = Some(rule.at);
            }
            return verdict;
        }
    }
    Verdict::Pass
}

/// Does what the rule at `index` says; `None` goes on with the next.
fn act(
    rules: &[Rule<HttpAction>],
    index: usize,
    stream: &mut Stream,
    direction: Direction,
    strict: &mut bool,
) -> Option<Verdict> {
    let edited = match &rules[index].action {
        HttpAction::Allow => return Some(Verdict::Pass),
        HttpAction::Deny(reply) => {
            if direction == Direction::Request {
                crate::tracking::error(stream);
            }
            return answered(reply.render(stream, direction).denied());
        }
        HttpAction::Return(reply) => return answered(reply.render(stream, direction)),
        HttpAction::Tarpit(reply) => {
            crate::tracking::error(stream);
            return Some(Verdict::Tarpit(Box::new(reply.render(stream, direction).denied())));
        }
        HttpAction::Reject => return Some(Verdict::Close { silent: false }),
        HttpAction::SilentDrop => return Some(Verdict::Close { silent: true }),
        HttpAction::Redirect(redirect) => match redirect.answer(stream, direction) {
            Some(redirected) => return answered(redirected),
            None => return None,
        },
        HttpAction::Auth { realm } => {
            crate::tracking::error(stream);
            let snapshot = stream.snapshot.clone();
            let proxy = snapshot.proxy(stream.backend);
            let realm = realm.as_deref().unwrap_or(proxy.name.as_bytes());
            return answered(unauthorized(stream, realm).denied());
        }
        HttpAction::WaitForBody { time, at_least } => {
            let (resume, time, at_least) = (index + 1, *time, *at_least);
            return Some(Verdict::WaitForBody { resume, time, at_least });
        }
        HttpAction::LookUp(look_up) => {
            let pending = look_up.begin(stream, direction)?;
            return Some(Verdict::LookUp { resume: index + 1, pending });
        }
        HttpAction::StrictMode(on) => {
            *strict = *on;
            return None;
        }
        HttpAction::EarlyHint { name, value } => {
            early_hint(stream, rules, index, name, value);
            return None;
        }
        HttpAction::Header(edit) => edit.apply(stream, direction),
        HttpAction::Uri(edit) => edit.apply(stream),
        HttpAction::NormalizeUri(normalizer) => {
            let target = stream.request.path_and_query();
            if !target.starts_with(b"/") {
                return None;
            }
            match normalizer.apply(target) {
                Rewritten::Same => return None,
                Rewritten::To(target) => stream.request.set_path_and_query(&target),
                Rewritten::Invalid => {
                    (stream.log.cause, stream.log.phase) = (Cause::Proxy, Phase::Request);
                    return answered(error_reply(stream, 400));
                }
            }
        }
        HttpAction::SetStatus { status, reason } => {
            stream.response.set_status(*status, reason.as_deref())
        }
        HttpAction::Capture(capture) => {
            capture.apply(stream, direction);
            return None;
        }
        HttpAction::SetLogLevel(level) => {
            stream.log.level = Some(*level);
            return None;
        }
        HttpAction::NoReplay => {
            stream.no_replay = true;
            return None;
        }
        HttpAction::SetTimeout { which, value } => {
            set_timeout(stream, direction, *which, value);
            return None;
        }
        HttpAction::Variable(edit) => {
            edit.apply(&Context::for_stream(stream, direction, &Cell::new(false)));
            return None;
        }
        HttpAction::Address(edit) => {
            edit.apply_to_request(stream, direction);
            return None;
        }
        HttpAction::Track(track) => {
            // By now the head is there, and nothing else is waited for.
            track.apply(stream, direction);
            return None;
        }
        HttpAction::Counter(edit) => {
            edit.apply(&Context::for_stream(stream, direction, &Cell::new(false)));
            return None;
        }
        HttpAction::List(edit) => {
            edit.apply(stream, direction);
            return None;
        }
    };
    if edited.is_err() {
        crate::account::failed_rewrite(stream);
        if *strict {
            return Some(failed(stream, direction));
        }
    }
    None
}

fn run_tcp(
    rules: &[Rule<TcpAction>],
    stream: &mut Stream,
    from: usize,
    direction: Direction,
) -> Verdict {
    let complete = match direction {
        Direction::Request => stream.request_input_complete,
        Direction::Response => stream.response_input_complete,
    };
    let wants_more = Cell::new(false);
    for (index, rule) in rules.iter().enumerate().skip(from) {
        let wait = Verdict::Wait { resume: index, timeout: None };
        wants_more.set(false);
        let cx = Context::for_stream(stream, direction, &wants_more);
        let holds = rule.condition.as_ref().is_none_or(|condition| condition.holds(&cx));
        if wants_more.get() && !complete {
            return wait;
        }
        if !holds {
            continue;
        }
        match &rule.action {
            TcpAction::Accept => {
                stream.last_rule = Some(rule.at);
                return Verdict::Pass;
            }
            TcpAction::Reject | TcpAction::Close | TcpAction::SilentDrop => {
                stream.last_rule = Some(rule.at);
                let silent = matches!(rule.action, TcpAction::SilentDrop);
                return Verdict::Close { silent };
            }
            // Its table gives it to connection rules alone.
            TcpAction::ExpectProxy => {}
            TcpAction::SetLogLevel(level) => stream.log.level = Some(*level),
            TcpAction::Address(edit) => edit.apply_to_request(stream, direction),
            TcpAction::LookUp(look_up) => {
                if let Some(pending) = look_up.begin(stream, direction) {
                    return Verdict::LookUp { resume: index + 1, pending };
                }
            }
            TcpAction::Variable(edit) => {
                edit.apply(&cx);
                if wants_more.get() && !complete {
                    return wait;
                }
            }
            TcpAction::Track(track) => {
                if track.apply(stream, direction) {
                    return wait;
                }
            }
            TcpAction::Counter(edit) => edit.apply(&cx),
            TcpAction::Capture(capture) => {
                if capture.apply(stream, direction) && !complete {
                    return wait;
                }
            }
        }
    }
    Verdict::Pass
}

impl<A> Rule<A> {
    /// Whether the condition holds.
    pub(crate) fn applies(&self, stream: &Stream, direction: Direction) -> bool {
        self.condition.as_ref().is_none_or(|condition| {
            condition.holds(&Context::for_stream(stream, direction, &Cell::new(false)))
        })
    }
}

/// `strict-mode` at the rule where a set is taken up again. One behind a condition is not asked a second time.
fn is_strict_before(rules: &[Rule<HttpAction>], from: usize) -> bool {
    let before = rules.get(..from).unwrap_or_default();
    let last = before.iter().rev().find_map(|rule| match rule.action {
        HttpAction::StrictMode(on) if rule.condition.is_none() => Some(on),
        _ => None,
    });
    last.unwrap_or(true)
}

/// A message could not be edited as a rule wants it: an internal error, unless the set is lenient.
fn failed(stream: &mut Stream, direction: Direction) -> Verdict {
    stream.log.cause = Cause::Internal;
    stream.log.phase = match direction {
        Direction::Request => Phase::Request,
        Direction::Response => Phase::Headers,
    };
    answer(error_reply(stream, 500))
}

fn answer(answer: Answer) -> Verdict {
    Verdict::Answer(Box::new(answer))
}

fn answered(with: Answer) -> Option<Verdict> {
    Some(answer(with))
}

/// Adds a field to the 103 response that goes out before the next wait; a run of unconditional hints shares one.
fn early_hint(
    stream: &mut Stream,
    rules: &[Rule<HttpAction>],
    index: usize,
    name: &[u8],
    value: &crate::expr::LogFormat,
) {
    // HTTP/1.0 knows no interim responses.
    if stream.request.version() < Version::Http11 {
        return;
    }
    let is_hint = |rule: &Rule<HttpAction>| matches!(rule.action, HttpAction::EarlyHint { .. });
    let joins = rules[index].condition.is_none()
        && index.checked_sub(1).is_some_and(|before| is_hint(&rules[before]));
    with_text(value, stream, Direction::Request, |stream, text| {
        let hints = &mut stream.early_hints;
        if joins && hints.ends_with(b"\r\n\r\n") {
            hints.truncate(hints.len() - 2);
        } else {
            hints.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
        }
        hints.extend(name.iter().map(u8::to_ascii_lowercase));
        hints.extend_from_slice(b": ");
        hints.extend(
            text.iter().map(|&byte| if byte < b' ' && byte != b'\t' { b' ' } else { byte }),
        );
        hints.extend_from_slice(b"\r\n\r\n");
    });
}

fn set_timeout(
    stream: &mut Stream,
    direction: Direction,
    which: TimeoutKind,
    value: &TimeoutValue,
) {
    let time = match value {
        TimeoutValue::Fixed(time) => Some(*time),
        TimeoutValue::Sample(expr) => {
            let wants_more = Cell::new(false);
            match expr.eval_as(&Context::for_stream(stream, direction, &wants_more), ValueType::Int)
            {
                Some(Value::Int(ms)) => u64::try_from(ms).ok().map(Duration::from_millis),
                _ => None,
            }
        }
    };
    let Some(time) = time.filter(|time| !time.is_zero()) else { return };
    match which {
        TimeoutKind::Server => stream.server_timeout = Some(time),
        TimeoutKind::Tunnel => stream.tunnel_timeout = Some(time),
    }
}
