//! What the data path reads from and writes to: a socket, or one stream of an HTTP/2 connection.
//!
//! A stream shows its body as HTTP/1 frames it: as it is where the head says its length, else in chunks, with the
//! trailers behind the last. So everything above, from waiting for a body to relaying it, knows one kind of framing,
//! and each pairing of versions comes out of two halves that do not know of each other. Only heads go another way:
//! over a socket in the same write as the first bytes of the body, over a stream by [`Http2`]'s own methods.
//!
//! Everything takes `&self`. One task reads and writes at a time.

use std::io;
use std::task::{Context, Poll, ready};

use telamon_runtime::socket::{Idle, Socket};

pub(crate) use self::http2::Http2;

pub(crate) mod http2;
pub(crate) mod wire;

/// One side of an exchange.
#[derive(Debug)]
pub(crate) enum Side {
    Socket(Socket),
    Stream(Box<Http2>),
}

impl Side {
    /// The socket that it has to itself; `None` for a stream, whose connection carries others as well.
    #[inline]
    pub(crate) fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Stream(_) => None,
        }
    }

    /// The stream that it is; `None` for a socket.
    #[inline]
    pub(crate) fn stream(&self) -> Option<&Http2> {
        match self {
            Self::Socket(_) => None,
            Self::Stream(stream) => Some(stream),
        }
    }

    /// Reads into the free capacity of `buf`, or arranges for a wake-up; `Ok(0)` is the end.
    #[inline]
    pub(crate) fn poll_read_append(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(socket) => socket.poll_read_append(cx, buf),
            Self::Stream(stream) => stream.poll_read_append(cx, buf),
        }
    }

    /// Writes what is taken at once; `WouldBlock` when nothing is.
    #[inline]
    pub(crate) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.try_write(buf),
            Self::Stream(stream) => stream.try_write(buf),
        }
    }

    /// As [`Side::try_write`]; the end follows at once.
    #[inline]
    pub(crate) fn try_write_more(&self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.try_write_more(buf),
            Self::Stream(stream) => stream.try_write(buf),
        }
    }

    /// Writes some of the bytes, or arranges for a wake-up when some may be taken.
    #[inline]
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(socket) => socket.poll_write(cx, buf),
            Self::Stream(stream) => stream.poll_write(cx, buf),
        }
    }

    /// As [`Side::poll_write`]; the end follows at once.
    #[inline]
    pub(crate) fn poll_write_more(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(socket) => socket.poll_write_more(cx, buf),
            Self::Stream(stream) => stream.poll_write(cx, buf),
        }
    }

    /// Writes all the bytes, waiting for room.
    pub(crate) async fn write_all(&self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let count = std::future::poll_fn(|cx| self.poll_write(cx, buf)).await?;
            buf = &buf[count..];
        }
        Ok(())
    }

    /// As [`Side::write_all`], for bytes that travel with the end: [`Side::shutdown_write`] has to follow at once.
    pub(crate) async fn write_last(&self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let count = std::future::poll_fn(|cx| self.poll_write_more(cx, buf)).await?;
            buf = &buf[count..];
        }
        Ok(())
    }

    /// Writes whole messages of HTTP/1 that were made here: interim answers, or an answer and its body.
    pub(crate) async fn write_message(&self, mut text: &[u8]) -> io::Result<()> {
        if let Self::Stream(stream) = self {
            text = stream.send_heads(text)?;
        }
        self.write_all(text).await
    }

    /// Tells the peer that no more bytes come; reading goes on.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.shutdown_write(),
            Self::Stream(stream) => stream.end(),
        }
    }

    /// Lets the connection be closed without the other end noticing (`silent-drop`).
    pub(crate) fn set_unheard(&self) {
        // Where the socket cannot be told, it is only closed.
        let _ = match self {
            Self::Socket(socket) => socket.set_unheard(),
            Self::Stream(stream) => stream.set_unheard(),
        };
    }

    /// Ready once the peer has left and nothing it sent is left to read. A stream that has said all is still there.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let socket = match self {
            Self::Socket(socket) => socket,
            Self::Stream(stream) => return stream.poll_reset(cx),
        };
        loop {
            if ready!(socket.poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match socket.peek_now() {
                Idle::Closed => return Poll::Ready(()),
                // A next request is waiting: as long as it is unread, a close behind it cannot be seen.
                Idle::Data => return Poll::Pending,
                // The readiness was stale; asking the socket clears it.
                Idle::Quiet => {
                    socket.peek();
                }
            }
        }
    }

    /// Returns once [`Side::poll_gone`] is ready.
    pub(crate) async fn gone(&self) {
        std::future::poll_fn(|cx| self.poll_gone(cx)).await;
    }
}
