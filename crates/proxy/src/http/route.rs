//! From a request head to what is done with it: the rule sets of the frontend, the choice of a backend, then the
//! backend's rule sets.

use std::time::Duration;

use crate::account::{self, InBackend};
use crate::aside::aside;
use crate::http::{Client, body, respond};
use crate::log;
use crate::model::Proxy;
use crate::persistence;
use crate::rules::{self, Answer, Verdict};
use crate::stream::{Cause, Phase, Stream};

/// What is done with a request.
#[derive(Debug)]
pub(super) enum Routed {
    /// It goes to a server of `stream.backend`.
    Server,
    Answer(Box<Answer>),
    /// The status page of `stream.backend`.
    Page,
    Close {
        silent: bool,
    },
}

/// Runs all rules over the request. `in_backend` counts it among those in its backend from when that is chosen: the
/// backend's own rules see it there.
pub(super) async fn route(
    client: &mut Client,
    stream: &mut Stream,
    in_backend: &mut Option<InBackend>,
) -> Routed {
    let snapshot = stream.snapshot.clone();
    let frontend = snapshot.proxy(stream.frontend);
    if let Some(routed) = monitor(stream, frontend) {
        return routed;
    }
    log::capture_request(stream);
    stream.backend = stream.frontend;
    if has_rules(frontend)
        && let Some(routed) = aside(proxy_rules(client, stream, frontend)).await
    {
        return routed;
    }
    let Some(backend) = rules::choose_backend_of(stream, frontend) else {
        stream.log.cause = Cause::Server;
        stream.log.phase = Phase::Connect;
        return Routed::Answer(Box::new(rules::error_reply(stream, 503)));
    };
    stream.backend = backend;
    let chosen = snapshot.proxy(backend).serving();
    *in_backend = chosen.map(|chosen| account::enter_backend(stream, chosen));
    if let Some(chosen) = chosen {
        persistence::begin(stream, chosen);
    }
    if backend != stream.frontend
        && has_rules(snapshot.proxy(backend))
        && let Some(routed) = aside(proxy_rules(client, stream, snapshot.proxy(backend))).await
    {
        return routed;
    }
    Routed::Server
}

/// Whether [`proxy_rules`] has something to do.
fn has_rules(proxy: &Proxy) -> bool {
    let rules = &proxy.rules;
    !rules.tcp_request_content.is_empty()
        || !rules.http_request.is_empty()
        || !rules.redirect.is_empty()
        || proxy.stats.is_some()
        || proxy.options.http_buffer_request
}

/// The rule sets of one proxy, in HAProxy's order.
async fn proxy_rules(client: &mut Client, stream: &mut Stream, proxy: &Proxy) -> Option<Routed> {
    let rules = &proxy.rules;
    let inspect = rules.tcp_request_inspect_delay;
    if !rules.tcp_request_content.is_empty() {
        let run = |stream: &mut Stream, from| {
            rules::run_tcp_request_content(&rules.tcp_request_content, stream, from)
        };
        if let Some(routed) = run_set(client, stream, proxy, inspect, run).await {
            if matches!(routed, Routed::Close { .. }) && proxy.frontend.is_some() {
                // To HAProxy there was no request yet.
                stream.request_line.clear();
                stream.request_captures.clear();
            }
            return Some(routed);
        }
    }
    if proxy.options.http_buffer_request {
        let time = proxy.timeouts.http_request.or(proxy.timeouts.client);
        if !body::wait(client, stream, body::WHOLE, time).await {
            return Some(too_slow(stream));
        }
    }
    if !rules.http_request.is_empty() {
        let run =
            |stream: &mut Stream, from| rules::run_http_request(&rules.http_request, stream, from);
        if let Some(routed) = run_set(client, stream, proxy, inspect, run).await {
            return Some(routed);
        }
    }
    if let Some(page) = &proxy.stats
        && stream.request.path_and_query().starts_with(&page.uri)
    {
        if !page.rules.is_empty() {
            let run =
                |stream: &mut Stream, from| rules::run_http_request(&page.rules, stream, from);
            if let Some(routed) = run_set(client, stream, proxy, inspect, run).await {
                return Some(routed);
            }
        }
        let time = proxy.timeouts.http_request.or(proxy.timeouts.client);
        if !body::wait(client, stream, body::WHOLE, time).await {
            return Some(too_slow(stream));
        }
        return Some(Routed::Page);
    }
    if !rules.redirect.is_empty() {
        let run =
            |stream: &mut Stream, from| rules::run_http_request(&rules.redirect, stream, from);
        if let Some(routed) = run_set(client, stream, proxy, inspect, run).await {
            return Some(routed);
        }
    }
    None
}

/// Runs one rule set, waiting for the body or in the tarpit where a rule asks for it.
async fn run_set(
    client: &mut Client,
    stream: &mut Stream,
    proxy: &Proxy,
    inspect: Option<Duration>,
    run: impl Fn(&mut Stream, usize) -> Verdict,
) -> Option<Routed> {
    let mut from = 0;
    loop {
        let verdict = run(stream, from);
        respond::early_hints(client, stream).await;
        match verdict {
            Verdict::Pass => return None,
            Verdict::Answer(answer) => {
                note_answer(stream, &answer);
                return Some(Routed::Answer(answer));
            }
            Verdict::Tarpit(answer) => {
                tarpit(client, proxy).await;
                stream.log.cause = Cause::Proxy;
                stream.log.phase = Phase::Tarpit;
                return Some(Routed::Answer(answer));
            }
            Verdict::Close { silent } => {
                stream.log.cause = Cause::Proxy;
                stream.log.phase = Phase::Request;
                stream.log.request_ms = None;
                crate::account::denied_request(stream);
                return Some(Routed::Close { silent });
            }
            Verdict::Wait { resume, timeout } => {
                from = resume;
                body::wait(client, stream, body::WHOLE, timeout.or(inspect)).await;
                // Whatever the outcome, a rule does not wait twice for the same body.
                stream.request_input_complete = true;
            }
            Verdict::LookUp { resume, pending } => {
                from = resume;
                pending.finish(stream).await;
            }
            Verdict::WaitForBody { resume, time, at_least } => {
                from = resume;
                if !body::wait(client, stream, at_least, Some(time)).await {
                    return Some(too_slow(stream));
                }
            }
        }
    }
}

/// The body did not come in time.
fn too_slow(stream: &mut Stream) -> Routed {
    (stream.log.cause, stream.log.phase) = (Cause::ClientTimeout, Phase::Request);
    Routed::Answer(Box::new(rules::error_reply(stream, 408)))
}

/// Notes for the log who gave the answer, unless the rule that made it has.
fn note_answer(stream: &mut Stream, answer: &Answer) {
    if answer.denied {
        persistence::refused(stream);
        crate::account::denied_request(stream);
    }
    if stream.log.cause == Cause::None {
        (stream.log.cause, stream.log.phase) = if answer.denied {
            (Cause::Proxy, Phase::Request)
        } else {
            (Cause::Local, Phase::Request)
        };
    }
}

/// `monitor-uri`: answered before any rule, and not logged.
fn monitor(stream: &mut Stream, proxy: &Proxy) -> Option<Routed> {
    let frontend = proxy.frontend.as_ref()?;
    let uri = frontend.monitor_uri.as_deref()?;
    // A path is meant as such however the request is written; anything else is the target itself.
    let asked = if uri.starts_with(b"/") {
        stream.request.path_and_query()
    } else {
        stream.request.target()
    };
    if asked != uri {
        return None;
    }
    let failing = frontend.monitor_fail.iter().any(|condition| stream.holds(condition));
    stream.log.cause = Cause::Local;
    stream.log.phase = Phase::Request;
    stream.log.level = Some(None);
    let status = if failing { 503 } else { 200 };
    Some(Routed::Answer(Box::new(rules::error_reply(stream, status))))
}

/// Keeps the client waiting for `timeout tarpit` (else `timeout connect`), or until it leaves.
async fn tarpit(client: &mut Client, proxy: &Proxy) {
    let Some(time) = proxy.timeouts.tarpit.or(proxy.timeouts.connect) else { return };
    client.deadline.arm(time);
    let _ = client.deadline.guard(client.side.gone()).await;
}
