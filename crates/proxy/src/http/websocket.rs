//! WebSocket between one side of HTTP/2, which needs no keys (RFC 8441, section 5), and one of HTTP/1, which does
//! (RFC 6455, section 4).

use sha1::{Digest as _, Sha1};
use telamon_http_proto::{EditError, Head, Version};

use crate::expr::converters::encode::{STANDARD as BASE64, base64_encode};
use crate::stream::Stream;

/// What a server appends to the key to show that it has understood.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Makes the key of a WebSocket that a client of HTTP/2 asks for. `Err` when the head has no room left.
pub(super) fn make_key(stream: &mut Stream) -> Result<(), EditError> {
    if !is_websocket(&stream.request) {
        return Ok(());
    }
    let mut random = [0; 16];
    for half in random.chunks_mut(8) {
        half.copy_from_slice(&stream.session.worker.rng.borrow_mut().draw().to_ne_bytes());
    }
    let key = base64_encode(&random, BASE64, true);
    stream.request.set_header(b"sec-websocket-key", &key)?;
    stream.websocket_accept = Some(accept(&key).into());
    Ok(())
}

/// Gives the answer of a server of HTTP/2 that switches what a client of HTTP/1 knows it by. `Err` when the head has no
/// room left.
pub(super) fn add_accept(request: &Head, response: &mut Head) -> Result<(), EditError> {
    if response.status() != 101 || response.version() < Version::Http2 {
        return Ok(());
    }
    match request.header(b"sec-websocket-key") {
        Some(key) if !response.has_header(b"sec-websocket-accept") => {
            response.add_header(b"sec-websocket-accept", &accept(key))
        }
        _ => Ok(()),
    }
}

/// Whether a request that asks for other protocols asks for this one.
pub(crate) fn is_websocket(request: &Head) -> bool {
    request.header_values(b"upgrade").any(|name| name.eq_ignore_ascii_case(b"websocket"))
}

fn accept(key: &[u8]) -> Vec<u8> {
    base64_encode(&Sha1::new().chain_update(key).chain_update(MAGIC).finalize(), BASE64, true)
}

/// Whether the server has answered to the key, where one was made here.
pub(super) fn is_accepted(stream: &Stream) -> bool {
    // A server of HTTP/2 was not sent it.
    let Some(wanted) = &stream.websocket_accept else { return true };
    stream.response.version() == Version::Http2
        || stream.response.header(b"sec-websocket-accept") == Some(&**wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
