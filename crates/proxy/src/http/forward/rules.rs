//! The rules over an answer, and what they make of it.

use std::task::Poll;
use std::time::Duration;

use telamon_balance::Counter;
use telamon_balance::health::Sign;
use telamon_http_proto::BodyLength;

use super::Attempt;
use super::head::{Ends, Upload};
use crate::http::{After, Client, body, respond};
use crate::model::{Proxy, Server};
use crate::rules::{self, Verdict};
use crate::stream::{Cause, Phase, Stream};
use crate::{account, learn};

/// Whether a proxy has rules that look at answers before they are sent.
pub(super) fn any(proxy: &Proxy) -> bool {
    !proxy.rules.tcp_response_content.is_empty() || !proxy.rules.http_response.is_empty()
}

/// Whether the answer is not to be sent as it is.
pub(super) fn refuse(verdict: &Verdict) -> bool {
    // A wait comes back only when its time is over.
    matches!(verdict, Verdict::Answer(_) | Verdict::Close { .. } | Verdict::WaitForBody { .. })
}

/// Does what the rules have decided in place of sending the answer.
pub(super) async fn obey(
    client: &mut Client,
    stream: &mut Stream,
    verdict: Verdict,
    proxy: &Proxy,
    server: &Server,
) -> Attempt {
    match verdict {
        Verdict::Answer(answer) => {
            if answer.denied {
                account::denied_response(stream, proxy, server);
            }
            if stream.log.cause == Cause::None {
                let cause = if answer.denied { Cause::Proxy } else { Cause::Local };
                (stream.log.cause, stream.log.phase) = (cause, Phase::Headers);
            }
            Attempt::Done(respond::send(client, stream, *answer).await)
        }
        Verdict::Close { silent } => {
            account::denied_response(stream, proxy, server);
            (stream.log.cause, stream.log.phase) = (Cause::Proxy, Phase::Data);
            stream.log.response_ms = None;
            if silent {
                stream.log.phase = Phase::Request;
                stream.log.status = stream.response.status();
                client.side.set_unheard();
            }
            Attempt::Done(After::Drop)
        }
        _ => {
            account::response_failed(stream, proxy, server, Counter::FailedResponses);
            learn::note(stream, server, Sign::BadAnswer, true);
            stream.log.response_ms = None;
            let (cause, phase) = (Cause::ServerTimeout, Phase::Request);
            Attempt::Failed { status: 504, cause, phase }
        }
    }
}

/// What goes on while rules look at an answer: the rest of the request goes out, the rest of the answer comes in.
pub(super) struct Answering<'u, 'a> {
    pub(super) upload: &'u mut Upload<'a>,
    pub(super) ends: &'u Ends<'a>,
    pub(super) length: BodyLength,
}

impl Answering<'_, '_> {
    /// Reads until the whole body is in the buffer or `enough` bytes of it, the buffer is full, the server stops
    /// sending, or the time is over, which returns false.
    async fn wait(&mut self, stream: &mut Stream, enough: usize, time: Duration) -> bool {
        let deadline = stream.session.worker.deadline();
        deadline.arm(time);
        let capacity = stream.snapshot.global.tune.bufsize;
        let in_time = std::future::poll_fn(|cx| {
            // Its end is looked at when the answer is through.
            let _ = self.upload.poll(cx);
            loop {
                let whole = body::held(self.length, stream.response.remaining())
                    .is_none_or(|(len, whole)| whole || len >= enough);
                let input = stream.response.input_mut();
                if whole || input.len() >= capacity {
                    return Poll::Ready(true);
                }
                input.reserve(capacity - input.len());
                match self.ends.server.side.poll_read_append(cx, input) {
                    Poll::Ready(Ok(count)) if count > 0 => {}
                    Poll::Ready(_) => return Poll::Ready(true),
                    Poll::Pending => break,
                }
            }
            deadline.poll_expired(cx).map(|_| false)
        })
        .await;
        stream.response_input_complete = true;
        in_time
    }
}

/// The rules over an answer: the backend's, then the frontend's.
pub(super) async fn run(
    stream: &mut Stream,
    answering: &mut Answering<'_, '_>,
    backend: &Proxy,
    frontend: &Proxy,
) -> Verdict {
    let verdict = run_of(stream, answering, backend).await;
    if matches!(verdict, Verdict::Pass) && !std::ptr::eq(backend, frontend) {
        return run_of(stream, answering, frontend).await;
    }
    verdict
}

/// Runs a proxy's `tcp-response content` rules. Without an `inspect-delay` they are run before anything has come, as in
/// HAProxy: they see no answer.
fn run_tcp(stream: &mut Stream, proxy: &Proxy, from: usize) -> Verdict {
    let rules = &proxy.rules.tcp_response_content;
    if proxy.rules.tcp_response_inspect_delay.is_some() {
        return rules::run_tcp_response_content(rules, stream, from);
    }
    let unseen = std::mem::take(&mut stream.response);
    let complete = std::mem::replace(&mut stream.response_input_complete, true);
    let verdict = rules::run_tcp_response_content(rules, stream, from);
    (stream.response, stream.response_input_complete) = (unseen, complete);
    verdict
}

/// The rules of one proxy; a wait is returned when its time was over.
async fn run_of(stream: &mut Stream, answering: &mut Answering<'_, '_>, proxy: &Proxy) -> Verdict {
    let rules = &proxy.rules;
    let mut from = 0;
    while !rules.tcp_response_content.is_empty() {
        match run_tcp(stream, proxy, from) {
            Verdict::Wait { resume, timeout } => {
                from = resume;
                let time = timeout.or(rules.tcp_response_inspect_delay).unwrap_or_default();
                answering.wait(stream, body::WHOLE, time).await;
            }
            Verdict::Pass => break,
            verdict => return verdict,
        }
    }
    let mut from = 0;
    while !rules.http_response.is_empty() {
        match rules::run_http_response(&rules.http_response, stream, from) {
            Verdict::WaitForBody { resume, time, at_least } => {
                from = resume;
                if !answering.wait(stream, at_least, time).await {
                    return Verdict::WaitForBody { resume, time, at_least };
                }
            }
            verdict => return verdict,
        }
    }
    Verdict::Pass
}
