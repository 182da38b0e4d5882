//! Frames of bytes and descriptors over a pair of Unix sockets.
//!
//! A frame is a header of 16 bytes (kind, count of descriptors, length of the body), then a
//! filler byte for every further batch of descriptors (the kernel passes at most 253 with one
//! message), then the body.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// One end.
#[derive(Debug)]
pub(crate) struct Channel {
    fd: Arc<OwnedFd>,
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u32,
    pub(crate) body: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

/// The lists and certificates of a large configuration fit many times.
const BODY_LEN_MAX: usize = 1 << 30;
const FDS_MAX: usize = 1 << 16;
const HEADER_LEN: usize = 16;
const BATCH: usize = 128;

impl Frame {
    pub(crate) fn empty(kind: u32) -> Self {
        Self { kind, body: Vec::new(), fds: Vec::new() }
    }
}

impl Channel {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((Self::new(a), Self::new(b)))
    }

    fn new(fd: OwnedFd) -> Self {
        Self { fd: Arc::new(fd), bytes: Vec::new(), fds: Vec::new() }
    }

    pub(crate) fn shared(&self) -> Arc<OwnedFd> {
        self.fd.clone()
    }

    /// Sends a frame, waiting for room.
    ///
    /// # Errors
    /// The other end is closed, or the frame is larger than any may be.
    pub(crate) fn send(&mut self, frame: Frame) -> io::Result<()> {
        if frame.body.len() > BODY_LEN_MAX || frame.fds.len() > FDS_MAX {
            let text = "configuration is too large to be handed over";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&frame.kind.to_ne_bytes());
        header[4..8].copy_from_slice(&(frame.fds.len() as u32).to_ne_bytes());
        header[8..].copy_from_slice(&(frame.body.len() as u64).to_ne_bytes());
        let mut batches = frame.fds.chunks(BATCH);
        self.send_all(&header, batches.next().unwrap_or_default())?;
        for batch in batches {
            self.send_all(&[0], batch)?;
        }
        self.send_all(&frame.body, &[])
    }

    /// Sends bytes, the descriptors with the first of them.
    fn send_all(&self, mut bytes: &[u8], mut fds: &[OwnedFd]) -> io::Result<()> {
        while !bytes.is_empty() {
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() {
                let fits = ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
                debug_assert!(fits);
            }
            let slices = [IoSlice::new(bytes)];
            match sendmsg(&self.fd, &slices, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    fds = &[];
                }
                Err(rustix::io::Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next frame, if all of it has come.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other end is closed, `InvalidData` for a frame that no one sends.
    pub(crate) fn try_receive(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            let mut chunk = [0; 65536];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2 * BATCH))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut chunk)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let count = match recvmsg(&self.fd, &mut slices, &mut ancillary, flags) {
                Ok(received) => received.bytes,
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::CONNRESET) => 0,
                Err(error) => return Err(error.into()),
            };
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    self.fds.extend(fds);
                }
            }
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.bytes.extend_from_slice(&chunk[..count]);
        }
    }

    fn take_frame(&mut self) -> io::Result<Option<Frame>> {
        let Some(header) = self.bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let [k0, k1, k2, k3, f0, f1, f2, f3, length @ ..] = *header;
        let kind = u32::from_ne_bytes([k0, k1, k2, k3]);
        let fds = u32::from_ne_bytes([f0, f1, f2, f3]) as usize;
        let body = usize::try_from(u64::from_ne_bytes(length)).unwrap_or(usize::MAX);
        if body > BODY_LEN_MAX || fds > FDS_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let start = HEADER_LEN + fds.div_ceil(BATCH).saturating_sub(1);
        let end = start + body;
        if self.bytes.len() < end {
            // Ask for the room once rather than by doubling.
            self.bytes.reserve(end - self.bytes.len());
            return Ok(None);
        }
        if self.fds.len() < fds {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let body = self.bytes[start..end].to_vec();
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some(Frame { kind, body, fds: self.fds.drain(..fds).collect() }))
    }

    /// Waits for the descriptor.
    pub(crate) fn wait(&self, flags: PollFlags) -> io::Result<()> {
        loop {
            match poll(&mut [PollFd::new(&self.fd, flags)], None) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
