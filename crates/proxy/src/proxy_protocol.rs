//! The PROXY protocol on the wire: what a client's connection begins with, and what a server's is to begin with.

use telamon_http_proto::proxy_protocol::{self, ProxyHeader, ProxyHeaderError};
use telamon_runtime::{Endpoint, Socket};

use crate::listen::unmapped;
use crate::log;
use crate::stream::Session;

/// Reads the header from a client's connection and takes over the addresses that it tells; what follows it is left to be
/// read. Returns whether one came; if not, the reason is logged.
///
/// Source: HAProxy configuration manual, `accept-proxy`; the wait is that of `timeout client`.
pub(crate) async fn receive(session: &Session, socket: &Socket) -> bool {
    let worker = &session.worker;
    let proxy = session.snapshot.proxy(session.frontend);
    let deadline = worker.deadline();
    deadline.arm_optional_from(worker.now(), proxy.timeouts.client);
    let mut bytes = worker.lend_buffer();
    bytes.reserve(HEADER_MAX);
    let received = deadline.guard(read(socket, &mut bytes)).await;
    let seen = !bytes.is_empty();
    worker.return_buffer(bytes);
    worker.touch();
    match received.unwrap_or_else(|_| Err("Timeout while waiting for PROXY protocol header".into()))
    {
        Ok(header) => {
            if let Some((from, to)) = header.addresses {
                session.src.replace(unmapped(Endpoint::Inet(from)));
                session.dst.replace(unmapped(Endpoint::Inet(to)));
            }
            _ = session.proxy_header.set(Box::new(header));
            true
        }
        Err(reason) => {
            log::log_connection_error(session, &reason, seen);
            false
        }
    }
}

/// The header, taken off the socket; or why there is none, in the words of HAProxy's log.
async fn read(socket: &Socket, bytes: &mut Vec<u8>) -> Result<ProxyHeader, String> {
    loop {
        let before = bytes.len();
        let len = match socket.peek_more(bytes).await {
            Ok(0) if before == 0 => {
                return Err("Connection closed while waiting for PROXY protocol header".into());
            }
            Ok(len) => len,
            Err(_) => return Err("Connection error while waiting for PROXY protocol header".into()),
        };
        if let Some((header, len)) =
            proxy_protocol::parse(bytes).map_err(|error| error.to_string())?
        {
            socket.discard(len).await.map_err(|error| error.to_string())?;
            return Ok(header);
        }
        if len == bytes.capacity() {
            return Err(ProxyHeaderError::Invalid.to_string());
        }
        if len <= before && socket.has_ended() {
            return Err("Truncated PROXY protocol header received".into());
        }
    }
}

/// The most that a header may have. The protocol allows 64 KiB, for values that nobody sends.
const HEADER_MAX: usize = 16 * 1024;
