//! Moving bytes between two sockets without copying them through this process.
//!
//! A [`Pipe`] is filled from one socket and drained into another. Pipes are lent from a
//! [`PipePool`] of the worker; when it is empty the caller copies through a buffer instead.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;

use crate::Socket;

/// The pipes of one worker. Clones share it.
#[derive(Clone, Debug)]
pub struct PipePool(Rc<Pool>);

#[derive(Debug)]
struct Pool {
    free: RefCell<Vec<Ends>>,
    open: Cell<usize>,
    max: usize,
    size: Option<usize>,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe on loan; back in its pool when dropped empty, closed when dropped with bytes in it.
#[derive(Debug)]
pub struct Pipe {
    ends: Option<Ends>,
    held: usize,
    pool: Rc<Pool>,
}

impl PipePool {
    /// At most `max` pipes at once, two descriptors each: this worker's part of `maxpipes`. `size` is what each is asked
    /// to hold (`tune.pipesize`); the system may allow less.
    pub fn new(max: usize, size: Option<usize>) -> Self {
        Self(Rc::new(Pool { free: RefCell::default(), open: Cell::new(0), max, size }))
    }

    /// A pipe, unless `max` are on loan or the system has none.
    pub fn lend(&self) -> Option<Pipe> {
        let free = self.0.free.borrow_mut().pop();
        let ends = match free {
            Some(ends) => ends,
            None if self.0.open.get() >= self.0.max => return None,
            None => {
                let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
                if let Some(size) = self.0.size {
                    // A pipe of the usual size serves as well.
                    let _ = fcntl_setpipe_size(&write, size);
                }
                self.0.open.set(self.0.open.get() + 1);
                Ends { read, write }
            }
        };
        Some(Pipe { ends: Some(ends), held: 0, pool: self.0.clone() })
    }

    /// Pipes that exist, lent or not.
    pub fn open(&self) -> usize {
        self.0.open.get()
    }

    /// Pipes that exist and are not lent.
    pub fn free(&self) -> usize {
        self.0.free.borrow().len()
    }
}

impl Pipe {
    /// Bytes inside.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Moves up to `max` bytes from the socket into the pipe; `Ok(0)` is the end of the stream.
    ///
    /// Drain first: on a pipe with bytes in it, `WouldBlock` could mean that the pipe is full.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there. `InvalidInput` when the socket cannot be spliced.
    pub fn try_fill(&mut self, from: &Socket, max: usize) -> io::Result<usize> {
        debug_assert!(self.held == 0 && max > 0);
        let ends = self.ends()?;
        let count = from.try_io(Interest::READABLE, || {
            Ok(splice(from, None, &ends.write, None, max.min(CHUNK_MAX), flags())?)
        })?;
        self.held += count;
        Ok(count)
    }

    /// Moves bytes from the pipe into the socket.
    ///
    /// # Errors
    /// `WouldBlock` when the kernel takes none.
    pub fn try_drain(&mut self, to: &Socket) -> io::Result<usize> {
        if self.held == 0 {
            return Ok(0);
        }
        let ends = self.ends()?;
        let count = to.try_io(Interest::WRITABLE, || {
            Ok(splice(&ends.read, None, to, None, self.held, flags())?)
        })?;
        self.held -= count;
        Ok(count)
    }

    /// Moves `limit` bytes, or all until the end of the stream, and returns how many.
    ///
    /// `progress` is told of every move, to re-arm deadlines and count.
    ///
    /// # Errors
    /// The first of either side.
    pub async fn relay(
        &mut self,
        from: &Socket,
        to: &Socket,
        limit: Option<u64>,
        mut progress: impl FnMut(usize),
    ) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let left = limit.map_or(u64::MAX, |limit| limit - total);
            if left == 0 {
                return Ok(total);
            }
            let max = usize::try_from(left).unwrap_or(usize::MAX);
            match self.try_fill(from, max) {
                Ok(0) => return Ok(total),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    from.readable().await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            while self.held > 0 {
                match self.try_drain(to) {
                    Ok(count) => {
                        total += count as u64;
                        progress(count);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        to.writable().await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn ends(&self) -> io::Result<&Ends> {
        self.ends.as_ref().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        match self.ends.take() {
            Some(ends) if self.held == 0 => self.pool.free.borrow_mut().push(ends),
            _ => self.pool.open.set(self.pool.open.get() - 1),
        }
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

/// More than a pipe holds by default (64 KiB), so that the kernel takes what fits.
const CHUNK_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{ConnectOptions, connect};
    use crate::socket::SocketKind;
    use crate::workers::block_on;

    async fn tcp_pair() -> (Socket, Socket) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap().into();
        let near = connect(&to, &ConnectOptions::default()).await.unwrap();
        let (far, _) = listener.accept().unwrap();
        (near, Socket::from_fd(far.into(), SocketKind::Tcp).unwrap())
    }

    #[test]
    fn bytes_pass_in_order_and_the_end_is_seen() {
        block_on(async {
            let (source, from) = tcp_pair().await;
            let (to, sink) = tcp_pair().await;
            let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
            let expected = sent.clone();
            let writer = tokio::task::spawn_local(async move {
                source.write_all(&sent).await.unwrap();
            });
            let relay = tokio::task::spawn_local(async move {
                let pool = PipePool::new(1, None);
                let mut pipe = pool.lend().unwrap();
                assert!(pool.lend().is_none());
                let mut moved = 0;
                let first = pipe.relay(&from, &to, Some(1_000_000), |n| moved += n).await.unwrap();
                let rest = pipe.relay(&from, &to, None, |n| moved += n).await.unwrap();
                assert_eq!((first, rest, moved), (1_000_000, 2_000_000, 3_000_000));
                drop(pipe);
                assert_eq!((pool.open(), pool.free()), (1, 1));
            });
            let mut received = Vec::new();
            let mut buf = vec![0; 65536];
            loop {
                match sink.read(&mut buf).await.unwrap() {
                    0 => break,
                    count => received.extend_from_slice(&buf[..count]),
                }
            }
            assert!(received == expected);
            writer.await.unwrap();
            relay.await.unwrap();
        });
    }

    #[test]
    fn a_pipe_that_still_holds_bytes_is_not_lent_again() {
        block_on(async {
            let (source, from) = tcp_pair().await;
            source.write_all(b"left").await.unwrap();
            from.readable().await.unwrap();
            let pool = PipePool::new(1, None);
            let mut pipe = pool.lend().unwrap();
            assert_eq!(pipe.try_fill(&from, 100).unwrap(), 4);
            drop(pipe);
            assert_eq!((pool.open(), pool.free()), (0, 0));
            assert_eq!(pool.lend().unwrap().held(), 0);
        });
    }
}
