//! Waiting for a request's body, for rules that look into it, and skipping one that nobody wants.

use std::time::Duration;

use telamon_http_proto::{BodyLength, ChunkedDecoder, ParseError};

use crate::http::Client;
use crate::stream::Stream;

/// Reads until the whole body is in the buffer or `enough` bytes of it, the buffer is full, the client stops sending, or
/// the time is over, which returns false.
pub(super) async fn wait(
    client: &mut Client,
    stream: &mut Stream,
    enough: usize,
    timeout: Option<Duration>,
) -> bool {
    client.deadline.arm_optional(timeout);
    if !is_buffered(stream) && stream.request.expects_continue() {
        // It is waited for here, so the server need not ask for it again. A client that does not take it sends nothing.
        stream.request.del_header(b"expect");
        let go_on = client.side.write_message(b"HTTP/1.1 100 Continue\r\n\r\n");
        let _ = client.deadline.guard(go_on).await;
    }
    let mut in_time = true;
    while buffered(stream).is_some_and(|(len, whole)| !whole && len < enough) {
        let capacity = stream.snapshot.global.tune.bufsize;
        let input = stream.request.input_mut();
        if input.len() >= capacity {
            break;
        }
        input.reserve(capacity - input.len());
        let read =
            std::future::poll_fn(|cx| client.side.poll_read_append(cx, stream.request.input_mut()));
        match client.deadline.guard(read).await {
            Ok(Ok(count)) if count > 0 => {}
            Ok(_) => {
                stream.request_cut = true;
                break;
            }
            Err(_) => {
                in_time = false;
                break;
            }
        }
    }
    stream.request_input_complete = true;
    in_time
}

/// Finds fault with what has come of a chunked body, at its offset in the message.
pub(super) fn check(stream: &Stream) -> Result<(), ParseError> {
    let held = stream.request.remaining();
    if held.is_empty() || stream.request.request_body() != BodyLength::Chunked {
        return Ok(());
    }
    let before = stream.request.input().len() - held.len();
    match ChunkedDecoder::new().relay(held) {
        Ok(_) => Ok(()),
        Err(error) => Err(ParseError { offset: before + error.offset, ..error }),
    }
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
    held(stream.request.request_body(), stream.request.remaining())
}

/// The same of any message: of `held` bytes, those that belong to a body of that length.
pub(super) fn held(length: BodyLength, held: &[u8]) -> Option<(usize, bool)> {
    match length {
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

/// Wants the whole body.
pub(super) const WHOLE: usize = usize::MAX;
