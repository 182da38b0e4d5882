//! Taking a request to a server and its answer back.
//!
//! ```text
//! slot --> connection --> request out, response head in --> rules --> response out, rest of the request in
//!   ^          |                  |
//!   '--retry---'------------------'   (nothing was taken by the server, nothing was lost of the request)
//! ```

use telamon_balance::health::Sign;
use telamon_balance::{Counter, Ending};
use telamon_http_proto::{BodyLength, Version};

use self::download::Answer;
use self::failed::Tried;
use self::head::{Ends, Lost, Upload, final_head};
use self::rules::Answering;
use crate::aside::aside;
use crate::dial::{Attached, Dial, Dialed, Reuse, Undialed};
use crate::http::{After, Client, prepare, respond, websocket};
use crate::model::{Backend, Proxy, Server};
use crate::relay::{End, Splicing};
use crate::stream::{Cause, Phase, Stream};
use crate::upstream::{self, ServerConnection, Slot};
use crate::{account, learn, persistence, sticking, tracking};

mod download;
mod failed;
mod head;
mod rules;

/// How one attempt on one connection ended.
enum Attempt {
    Done(After),
    /// The connection was dead before the server can have seen the request: once more.
    Again,
    /// `retry-on` has it that the request is sent again; planned already.
    Retry,
    Failed {
        status: u16,
        cause: Cause,
        phase: Phase,
    },
}

/// Relays one exchange.
pub(super) async fn forward(client: &mut Client, stream: &mut Stream) -> After {
    let snapshot = stream.snapshot.clone();
    let frontend = snapshot.proxy(stream.frontend);
    let proxy = snapshot.proxy(stream.backend);
    let Some(backend) = proxy.serving() else {
        return aside(respond::fail(client, stream, 503, Cause::Server, Phase::Connect)).await;
    };
    if !prepare::restrict_names(stream) {
        account::denied_request(stream);
        return aside(respond::fail(client, stream, 403, Cause::Proxy, Phase::Request)).await;
    }
    crate::log::capture_cookie(stream);
    persistence::choose(stream, proxy, backend);
    let keep_server = prepare::keeps_server(stream);
    let announced = keep_server || proxy.options.http_pretend_keepalive;
    if prepare::request(stream, announced).is_err() {
        return aside(respond::fail(client, stream, 400, Cause::Proxy, Phase::Request)).await;
    }
    if stream.request_cut {
        // Its body was waited for, and will never be whole.
        (stream.log.cause, stream.log.phase) = (Cause::Client, Phase::Request);
        return After::Drop;
    }
    let mut dial = Dial::new(proxy, backend);
    dial.reuse = Some(Reuse {
        first: client.requests == 0 && !backend.retry_on.covers_dead_connections(),
        attached: client.attached.is_some(),
        bound: client.attached.as_ref().and_then(|attached| {
            (attached.connection.private && attached.backend == stream.backend)
                .then_some(attached.server?)
        }),
        sure: !stream.request.method_kind().is_idempotent(),
    });
    loop {
        let dialed = dial.next(&client.side, &client.deadline, &mut client.attached, stream).await;
        let (slot, connection) = match dialed {
            Ok(Dialed { slot, connection: Some(connection) }) => (slot, connection),
            Ok(Dialed { slot, connection: None }) => {
                let Some(server) = backend.reached(slot.server()) else { return After::Drop };
                (stream.log.cause, stream.log.phase) = (Cause::Local, Phase::Connect);
                let answer = crate::rules::redirect_to_server(stream, server);
                return aside(respond::send(client, stream, answer)).await;
            }
            Err(Undialed { cause: Cause::Client, phase, .. }) => {
                (stream.log.cause, stream.log.phase) = (Cause::Client, phase);
                return After::Drop;
            }
            Err(Undialed { cause, phase }) => {
                return aside(respond::fail(client, stream, 503, cause, phase)).await;
            }
        };
        match attempt(client, stream, frontend, &mut dial, &slot, connection).await {
            Attempt::Done(after) => return after,
            Attempt::Again => dial.go_on(stream, slot),
            Attempt::Retry => {
                slot.learn(Ending::Failed);
                dial.go_on(stream, slot);
            }
            Attempt::Failed { status, cause, phase } => {
                if status >= 500 {
                    slot.learn(Ending::Failed);
                }
                if matches!(status, 502 | 504) {
                    tracking::failure(stream);
                }
                drop(slot);
                return aside(respond::fail(client, stream, status, cause, phase)).await;
            }
        }
    }
}

/// One exchange over one connection.
async fn attempt(
    client: &mut Client,
    stream: &mut Stream,
    frontend: &Proxy,
    dial: &mut Dial<'_>,
    slot: &Slot,
    mut connection: Box<ServerConnection>,
) -> Attempt {
    let (proxy, backend) = (dial.proxy, dial.backend);
    let Some(server) = backend.reached(slot.server()) else { return Attempt::Done(After::Drop) };
    let reused = connection.requests > 0;
    connection.requests = connection.requests.saturating_add(1);
    let ends = Ends {
        client: End {
            side: &client.side,
            deadline: &client.deadline,
            timeout: frontend.timeouts.client,
        },
        server: End {
            side: &connection.side,
            deadline: &client.server_deadline,
            timeout: stream.server_timeout.or(proxy.timeouts.server),
        },
    };
    let splicing =
        Splicing::of(&frontend.options, &proxy.options, |options| options.splice_request);
    let mut upload = match Upload::begin(stream, (backend, server), &ends, splicing) {
        Ok(upload) => upload,
        Err(why) => return failed::unsendable(&why),
    };
    let replays = backend.retry_on.replays() && !stream.no_replay && upload.was_whole;
    // A stream can always be told, and is not to be repeated unasked.
    let served = client.requests > 0 && client.side.socket().is_some();
    let tried = Tried { proxy, server, reused, replays, served };
    if let Err(lost) = final_head(stream, &mut upload, &ends, proxy).await {
        if let (Lost::Server { untouched: true, .. }, Some(carried)) = (&lost, &connection.carried)
        {
            carried.refused();
        }
        return failed::no_head(stream, dial, tried, &upload, lost);
    }
    if replays && failed::retried(stream, dial, server) {
        return Attempt::Retry;
    }
    if let Some(carried) = &connection.carried {
        carried.answered();
    }
    stream.log.responded(stream.session.worker.now());
    learn::note(stream, server, Sign::of_status(stream.response.status()), true);
    let Some(length) = answer_length(stream) else {
        return failed::junk(stream, dial, tried);
    };
    stream.request.consume(upload.held);
    let server_keeps = stream.response.keeps_alive()
        && length != BodyLength::UntilClose
        && prepare::keeps_server(stream);
    connection.private |= identifies_connection(stream);
    answered(stream, proxy, backend, server, slot);
    if rules::any(proxy) || rules::any(frontend) {
        let mut answering = Answering { upload: &mut upload, ends: &ends, length };
        let verdict = aside(rules::run(stream, &mut answering, proxy, frontend)).await;
        if rules::refuse(&verdict) {
            return aside(rules::obey(client, stream, verdict, proxy, server)).await;
        }
    }
    if let Some(cookie) = &backend.cookie
        && persistence::response(stream, server, cookie).is_err()
    {
        account::response_failed(stream, proxy, server, Counter::FailedResponses);
        return Attempt::Failed { status: 500, cause: Cause::Proxy, phase: Phase::Headers };
    }
    let answer = match Answer::begin(stream, length, upload.is_over(), &client.side) {
        Ok(answer) => answer,
        Err(phase) => return failed::response_failed(stream, proxy, server, phase),
    };
    // What goes wrong from here on cannot be told to the client but by closing.
    let (keep_client, mut surplus) = (answer.keep_client, answer.surplus);
    if answer.is_through() {
        stream.log.bytes_out += answer.sent as u64;
        account::flow(stream, upload.received(), stream.log.bytes_out);
        stream.session.worker.return_buffer(answer.out);
    } else if length == BodyLength::Tunnel {
        return aside(download::tunnel(stream, upload, &ends, answer, (frontend, tried))).await;
    } else {
        let sent = download::relay(stream, &mut upload, &ends, answer, (frontend, proxy));
        match aside(sent).await {
            Ok(more) => surplus |= more,
            Err(broken) => {
                upload.note(stream);
                return failed::download_broken(stream, proxy, server, broken);
            }
        }
    }
    // The answer is through; the rest of the request may still be on its way.
    let uploaded = std::future::poll_fn(|cx| upload.poll(cx)).await;
    upload.note(stream);
    upload.end(stream);
    if uploaded && server_keeps && !surplus {
        if connection.private || upstream::is_private(backend, stream.server) {
            let (backend, server) = (stream.backend, stream.server);
            client.attached = Some(Attached { backend, server, connection });
        } else {
            upstream::keep_idle(&stream.session.worker, server, connection);
        }
    }
    Attempt::Done(if uploaded && keep_client { After::KeepAlive } else { After::Close })
}

/// How long the answer's body is; `None` for an answer that may not be.
fn answer_length(stream: &Stream) -> Option<BodyLength> {
    let upgrades = stream.request.wants_upgrade();
    // 101 must have been asked for.
    if stream.response.status() == 101 && !(upgrades && websocket::is_accepted(stream)) {
        return None;
    }
    // To a client of HTTP/2 success says that its WebSocket is there, whatever a server of HTTP/1 means by it.
    if upgrades
        && stream.request.version() == Version::Http2
        && (200..300).contains(&stream.response.status())
    {
        return None;
    }
    stream.response.response_body(stream.request.method_kind(), upgrades).ok()
}

/// Notes that the server has answered.
fn answered(stream: &mut Stream, proxy: &Proxy, backend: &Backend, server: &Server, slot: &Slot) {
    account::server_answered(stream, server);
    crate::usage::note(stream, proxy, backend, server);
    slot.learn(if is_failure(stream.response.status()) {
        Ending::Failed
    } else {
        Ending::Answered
    });
    crate::log::capture_response(stream);
    if !backend.stick_response.is_empty() || !stream.to_store.is_empty() {
        sticking::remember(stream, backend, server);
    }
}

/// Whether the server asks for a login that it will remember by the connection.
fn identifies_connection(stream: &Stream) -> bool {
    let name: &[u8] = match stream.response.status() {
        401 => b"www-authenticate",
        407 => b"proxy-authenticate",
        _ => return false,
    };
    let begins =
        |value: &[u8], word: &[u8]| value.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(word));
    stream.response.header_lines(name).any(|value| begins(value, b"NTLM") || begins(value, b"Nego"))
}

/// Whether an answer says that the server failed; 501 and 505 say that the request is beyond it.
fn is_failure(status: u16) -> bool {
    status >= 500 && !matches!(status, 501 | 505)
}
