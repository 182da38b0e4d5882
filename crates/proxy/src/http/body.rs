//! Waiting for a request's body, for rules that look into it, and skipping one that nobody wants.

use std::time::Duration;

use telamon_http_proto::{BodyLength, ChunkedDecoder};

use crate::http::Client;
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
    // Malformed: nothing better will come; the relay refuses it.
    buffered(stream).is_none_or(|(_, whole)| whole)
}

/// Drops the body from the buffer; false when there is more of it than has come.
pub(super) fn skip(stream: &mut Stream) -> bool {
    match buffered(stream) {
        Some((len, true)) => {
            stream.request.consume(len);
            true
        }
        _ => false,
    }
}

/// How many bytes of the body the buffer holds, and whether that is all of it; `None` when it is malformed.
fn buffered(stream: &Stream) -> Option<(usize, bool)> {
    let held = stream.request.remaining();
    match stream.request.request_body() {
        BodyLength::None => Some((0, true)),
        BodyLength::Length(len) => {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            Some((len.min(held.len()), held.len() >= len))
        }
        BodyLength::Chunked => {
            let mut decoder = ChunkedDecoder::new();
            let len = decoder.relay(held).ok()?;
            Some((len, decoder.is_done()))
        }
        BodyLength::UntilClose | BodyLength::Tunnel => Some((held.len(), false)),
    }
}
