//! Waiting for a request's body, for rules that look into it, and skipping one that nobody wants.

use std::time::Duration;

use telamon_http_proto::BodyLength;

use crate::http::Client;
use crate::relay::Remaining;
use crate::stream::Stream;

/// Reads until the whole body is in the buffer, the buffer is full, the client stops sending, or the time is over.
pub(super) async fn wait(client: &mut Client, stream: &mut Stream, timeout: Option<Duration>) {
    client.deadline.arm_optional(timeout);
    while !is_buffered(stream) {
        let capacity = stream.snapshot.global.tune.bufsize;
        let input = stream.request.input_mut();
        if input.len() >= capacity {
            break;
        }
        input.reserve(capacity - input.len());
        let read = std::future::poll_fn(|cx| client.socket.poll_read_append(cx, stream.request.input_mut()));
        match client.deadline.guard(read).await {
            Ok(Ok(count)) if count > 0 => {}
            _ => break,
        }
    }
    stream.request_input_complete = true;
}

/// Whether the buffer holds the whole body.
pub(super) fn is_buffered(stream: &Stream) -> bool {
    match stream.request.request_body() {
        BodyLength::None => true,
        length => {
            let mut remaining = Remaining::new(length);
            // Malformed: nothing better will come; the relay refuses it.
            remaining.advance(stream.request.remaining()).is_err() || remaining.is_done()
        }
    }
}

/// Drops the body from the buffer; false when there is more of it than has come.
pub(super) fn skip(stream: &mut Stream) -> bool {
    let mut remaining = Remaining::new(stream.request.request_body());
    match remaining.advance(stream.request.remaining()) {
        Ok(taken) if remaining.is_done() => {
            stream.request.consume(taken);
            true
        }
        _ => false,
    }
}
