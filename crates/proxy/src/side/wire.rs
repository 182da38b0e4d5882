//! A socket as the `h2` crate reads and writes it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use telamon_runtime::socket::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::worker::Worker;

/// A socket of either end of a connection of HTTP/2: first it gives what was read of it already. What is written within
/// one turn goes at once.
pub(crate) struct Wire {
    socket: Rc<Socket>,
    worker: Rc<Worker>,
    ahead: Vec<u8>,
    taken: usize,
    /// Written and not sent yet, from `sent` on; lent by the worker while there is something.
    out: Vec<u8>,
    sent: usize,
}

impl Wire {
    pub(crate) fn new(socket: Rc<Socket>, worker: Rc<Worker>, ahead: Vec<u8>) -> Self {
        Self { socket, worker, ahead, taken: 0, out: Vec::new(), sent: 0 }
    }

    /// Makes room for what is written.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.len() >= WIRE_HELD {
            ready!(self.poll_send(cx))?;
        }
        if self.out.capacity() == 0 {
            self.out = self.worker.lend_buffer();
        }
        Poll::Ready(Ok(()))
    }

    /// Sends all that is held.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            self.sent += ready!(self.socket.poll_write(cx, &self.out[self.sent..]))?;
        }
        if self.out.capacity() > 0 {
            self.worker.return_buffer(std::mem::take(&mut self.out));
            self.sent = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ahead = &self.ahead[self.taken..];
        if !ahead.is_empty() {
            let count = ahead.len().min(buf.remaining());
            buf.put_slice(&ahead[..count]);
            self.taken += count;
            if self.taken == self.ahead.len() {
                (self.ahead, self.taken) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_read(cx, buf.initialize_unfilled()).map_ok(|count| buf.advance(count))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        self.out.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        let before = self.out.len();
        bufs.iter().for_each(|buf| self.out.extend_from_slice(buf));
        Poll::Ready(Ok(self.out.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Poll::Ready(self.socket.shutdown_write())
    }
}

/// Bytes held to be sent at once; one more frame may come on top.
const WIRE_HELD: usize = 16 * 1024;
