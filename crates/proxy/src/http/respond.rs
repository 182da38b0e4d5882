//! Answers made here: denials, redirects, errors, and the status page.

use telamon_balance::Counter;
use telamon_http_proto::{BodyLength, Method};

use crate::account;
use crate::http::{After, Client, body, prepare};
use crate::rules::{self, Answer};
use crate::stream::{Cause, Phase, Stream};

/// Sends an answer to the client in place of a server's.
pub(super) async fn send(client: &mut Client, stream: &mut Stream, answer: Answer) -> After {
    let snapshot = stream.snapshot.clone();
    let frontend = snapshot.proxy(stream.frontend);
    let worker = std::rc::Rc::clone(&stream.session.worker);
    let Answer { head, body, denied: _ } = answer;
    if !head.is_complete() {
        // An empty `errorfile`: the connection ends without a word.
        return After::Close;
    }
    worker.return_head(std::mem::replace(&mut stream.response, head));
    let whole = body::skip(stream);
    let keep = whole
        && stream.request.keeps_alive()
        && prepare::keeps_client(stream)
        && !worker.finishing.get()
        && !stream.response.header_values(b"connection").any(|v| v.eq_ignore_ascii_case(b"close"));
    let version = stream.request.version();
    rules::run_after_response_sets(stream);
    // It is told once, and not by a message of HTTP/1.0, whose end it is anyway.
    stream.response.del_header(b"connection");
    if stream.response.set_connection(keep, version).is_err() {
        return After::Close;
    }
    let mut out = worker.lend_buffer();
    let head_only = stream.wants_head || stream.request.method_kind() == Method::Head;
    let body = if head_only { &[] } else { &*body };
    match client.side.stream() {
        None => stream.response.write_to(&mut out),
        Some(side) => {
            let length = if body.is_empty() {
                BodyLength::None
            } else {
                BodyLength::Length(body.len() as u64)
            };
            stream.log.bytes_out += stream.response.len() as u64;
            // What is wrong with it shows again when the body is sent, or does not matter.
            let _ = side.send_answer(&stream.response, length);
        }
    }
    out.extend_from_slice(body);
    stream.log.status = stream.response.status();
    account::response(stream);
    client.deadline.arm_optional(frontend.timeouts.client);
    let sent = if keep {
        client.deadline.guard(client.side.write_all(&out)).await
    } else {
        client.deadline.guard(client.side.write_last(&out)).await
    };
    stream.log.bytes_out += out.len() as u64;
    worker.return_buffer(out);
    match sent {
        Ok(Ok(())) if keep => After::KeepAlive,
        Ok(Ok(())) => After::Close,
        failed => {
            stream.log.cause = if failed.is_err() { Cause::ClientTimeout } else { Cause::Client };
            stream.log.phase = Phase::Data;
            After::Drop
        }
    }
}

/// Sends the 103 responses that rules have made. A client that does not take them will not take the answer either.
pub(super) async fn early_hints(client: &mut Client, stream: &mut Stream) {
    if stream.early_hints.is_empty() {
        return;
    }
    let timeout = stream.snapshot.proxy(stream.frontend).timeouts.client;
    client.deadline.arm_optional(timeout);
    let hints = std::mem::take(&mut stream.early_hints);
    let _ = client.deadline.guard(client.side.write_message(&hints)).await;
    stream.log.bytes_out += hints.len() as u64;
}

/// Answers with an error that happened on the way: `status` by the proxy's error replies.
pub(super) async fn fail(
    client: &mut Client,
    stream: &mut Stream,
    status: u16,
    cause: Cause,
    phase: Phase,
) -> After {
    stream.log.cause = cause;
    stream.log.phase = phase;
    let answer = rules::error_reply(stream, status);
    send(client, stream, answer).await
}

/// Answers with the status page of the proxy that the stream has reached.
pub(super) async fn page(client: &mut Client, stream: &mut Stream) -> After {
    account::count_frontend_of(stream, Counter::Intercepted, 1);
    (stream.log.cause, stream.log.phase) = (Cause::Local, Phase::Request);
    // HAProxy counts the page as a server that is reached at once.
    let now = stream.session.worker.touch();
    stream.log.queued(now);
    stream.log.connected(now);
    stream.log.responded(now);
    let answer = crate::page::answer(stream).await;
    send(client, stream, answer).await
}
