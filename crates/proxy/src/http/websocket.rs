//! WebSocket between a client of HTTP/2, which needs no keys (RFC 8441, section 5), and a server of HTTP/1, which does
//! (RFC 6455, section 4).

use sha1::{Digest as _, Sha1};
use telamon_http_proto::EditError;

use crate::expr::converters::encode::{STANDARD as BASE64, base64_encode};
use crate::stream::Stream;

/// What a server appends to the key to show that it has understood.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Makes the key of a WebSocket that a client of HTTP/2 asks for. `Err` when the head has no room left.
pub(super) fn make_key(stream: &mut Stream) -> Result<(), EditError> {
    if !stream.request.header_values(b"upgrade").any(|name| name.eq_ignore_ascii_case(b"websocket"))
    {
        return Ok(());
    }
    let mut random = [0; 16];
    for half in random.chunks_mut(8) {
        half.copy_from_slice(&stream.session.worker.rng.borrow_mut().draw().to_ne_bytes());
    }
    let key = base64_encode(&random, BASE64, true);
    stream.request.set_header(b"sec-websocket-key", &key)?;
    let digest = Sha1::new().chain_update(&key).chain_update(MAGIC).finalize();
    stream.websocket_accept = Some(base64_encode(&digest, BASE64, true).into());
    Ok(())
}

/// Whether the server has answered to the key, where one was made here.
pub(super) fn is_accepted(stream: &Stream) -> bool {
    // A server of HTTP/2 was not sent it.
    let Some(wanted) = &stream.websocket_accept else { return true };
    stream.response.version() == telamon_http_proto::Version::Http2
        || stream.response.header(b"sec-websocket-accept") == Some(&**wanted)
}
