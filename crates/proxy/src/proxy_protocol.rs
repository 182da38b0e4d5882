//! The PROXY protocol on the wire: what a client's connection begins with, and what a server's is to begin with.

use std::net::SocketAddr;

use telamon_http_proto::proxy_protocol::{self, ProxyHeader, ProxyHeaderError, Tlv};
use telamon_runtime::{Endpoint, Socket};

use crate::listen::unmapped;
use crate::log;
use crate::model::SendProxy;
use crate::stream::{Session, Stream};

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
                session.keep_connection_addresses();
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
    let mut known = 0;
    loop {
        let len = match socket.peek_beyond(known, bytes).await {
            Ok(0) => {
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
        if len <= known {
            return Err("Truncated PROXY protocol header received".into());
        }
        known = len;
    }
}

/// Writes the header that a connection to a server begins with for this stream.
pub(crate) fn write(stream: &Stream, settings: &SendProxy, out: &mut Vec<u8>) {
    let session = &stream.session;
    let addresses = session.src.borrow().inet().zip(session.dst.borrow().inet());
    let unique_id = if settings.unique_id { log::unique_id(stream) } else { b"" };
    write_with(addresses, unique_id, settings, out);
}

/// Writes the header of a check, which speaks for this end of its own connection.
pub(crate) fn write_for_check(socket: &Socket, settings: &SendProxy, out: &mut Vec<u8>) {
    let address = |end: std::io::Result<Endpoint>| end.ok().and_then(|end| unmapped(end).inet());
    write_with(address(socket.local()).zip(address(socket.peer())), b"", settings, out);
}

fn write_with(
    addresses: Option<(SocketAddr, SocketAddr)>,
    unique_id: &[u8],
    settings: &SendProxy,
    out: &mut Vec<u8>,
) {
    if !settings.version_2 {
        return proxy_protocol::write_v1(out, addresses);
    }
    let mut tlvs = Vec::new();
    if !unique_id.is_empty() {
        tlvs.push(Tlv { kind: Tlv::UNIQUE_ID, value: unique_id });
    }
    if settings.tls {
        // The client came without TLS, and nothing was verified (section 2.2.6).
        tlvs.push(Tlv { kind: Tlv::SSL, value: &[0, 0, 0, 0, 1] });
    }
    proxy_protocol::write_v2(out, addresses, settings.checksum, &tlvs);
}

/// The most that a header may have. The protocol allows 64 KiB, for values that nobody sends.
const HEADER_MAX: usize = 16 * 1024;
