//! Listening sockets from one process to the next, through the old one's runtime API (`-x`, `expose-fd listeners`).
//!
//! The protocol is HAProxy's, so that either program can follow the other. The new process sends the command
//! `_getsocks`; the old one answers with how many sockets there are, in four bytes of the machine's order, then with
//! batches of descriptors. A batch's bytes say for each the name of its network namespace and of its interface, each
//! behind its length in a byte, and four bytes of zeroes. The new process confirms each batch with four bytes.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::bind::{BindAddress, BindSpec};
use crate::{Endpoint, Socket};

/// A listening socket that may be handed over.
#[derive(Clone, Debug)]
pub struct Offer {
    pub socket: Arc<OwnedFd>,
    /// The interface that it is bound to.
    pub interface: Option<Box<str>>,
}

/// A listening socket that was taken over.
#[derive(Debug)]
pub struct Taken {
    socket: OwnedFd,
    address: Endpoint,
    interface: Option<Box<str>>,
}

/// Fetches all listening sockets of the process whose runtime API is at `path`. Blocks, for a second per step at most.
///
/// # Errors
/// Nobody answers there, or not in this protocol: `expose-fd listeners` is missing, say.
pub fn take(path: &Path) -> io::Result<Vec<Taken>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(COMMAND)?;
    let mut count = [0; 4];
    stream.read_exact(&mut count)?;
    let count = usize::try_from(i32::from_ne_bytes(count)).map_err(|_| malformed())?;
    if count > SOCKETS_MAX {
        return Err(malformed());
    }
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        let (fds, bytes) = receive(&stream)?;
        let confirmation = i32::try_from(fds.len()).unwrap_or(i32::MAX).to_ne_bytes();
        let mut bytes = &bytes[..];
        for socket in fds {
            name(&mut bytes)?;
            let interface = name(&mut bytes)?;
            bytes = bytes.get(OPTIONS_LEN..).ok_or_else(malformed)?;
            let address = Endpoint::from_any(&rustix::net::getsockname(&socket)?);
            taken.push(Taken { socket, address, interface });
        }
        // Who has sent the last batch need not wait for it.
        let _ = rustix::net::send(&stream, &confirmation, SendFlags::NOSIGNAL);
    }
    Ok(taken)
}

/// Hands sockets over to the process at the other end.
///
/// # Errors
/// It went away, or did not confirm a batch in time.
pub async fn give(to: &Socket, offers: &[Offer]) -> io::Result<()> {
    if offers.is_empty() {
        return Ok(());
    }
    let count = i32::try_from(offers.len()).unwrap_or(i32::MAX);
    send(to, &count.to_ne_bytes(), &[]).await?;
    for batch in offers.chunks(BATCH) {
        let mut bytes = Vec::new();
        for offer in batch {
            let interface = offer.interface.as_deref().unwrap_or_default().as_bytes();
            // No namespace; names of interfaces have 15 bytes at most.
            bytes.extend_from_slice(&[0, interface.len() as u8]);
            bytes.extend_from_slice(interface);
            bytes.extend_from_slice(&[0; OPTIONS_LEN]);
        }
        let fds: Vec<BorrowedFd<'_>> = batch.iter().map(|offer| offer.socket.as_fd()).collect();
        send(to, &bytes, &fds).await?;
        let mut confirmation = [0; 4];
        let confirmed = tokio::time::timeout(PATIENCE, to.read(&mut confirmation)).await;
        if batch.len() == BATCH && !matches!(confirmed, Ok(Ok(1..))) {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

/// Takes out of `taken` up to `most` sockets that listen where `spec` says.
pub(crate) fn choose(taken: &mut Vec<Taken>, spec: &BindSpec, most: usize) -> Vec<OwnedFd> {
    let fits = |candidate: &mut Taken| {
        candidate.interface.as_deref() == spec.interface.as_deref()
            && listens_at(&candidate.address, &spec.address)
    };
    taken.extract_if(.., fits).take(most).map(|chosen| chosen.socket).collect()
}

fn listens_at(at: &Endpoint, wanted: &BindAddress) -> bool {
    match (at, wanted) {
        (Endpoint::Inet(at), BindAddress::Inet(wanted)) => at == wanted,
        (Endpoint::Abstract(at), BindAddress::Abstract(wanted)) => {
            // HAProxy fills the address up with zeroes.
            at.strip_prefix(&**wanted).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
        }
        (Endpoint::Unix(at), BindAddress::Unix(wanted)) => {
            // It was bound under a temporary name, and renamed: `path.PID.tmp`.
            let (at, wanted) = (at.as_os_str().as_encoded_bytes(), wanted.as_os_str());
            let Some(rest) = at.strip_prefix(wanted.as_encoded_bytes()) else { return false };
            let number = rest.strip_prefix(b".").and_then(|rest| rest.strip_suffix(b".tmp"));
            rest.is_empty() || number.is_some_and(|number| number.iter().all(u8::is_ascii_digit))
        }
        _ => false,
    }
}

/// One batch: descriptors and what is said of them.
fn receive(stream: &UnixStream) -> io::Result<(Vec<OwnedFd>, Vec<u8>)> {
    let mut bytes = vec![0; BATCH * DESCRIPTION_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let len = recvmsg(stream, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if fds.is_empty() {
        return Err(malformed());
    }
    bytes.truncate(len);
    Ok((fds, bytes))
}

/// Sends bytes, the descriptors with the first of them.
async fn send(to: &Socket, mut bytes: &[u8], mut fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    while !bytes.is_empty() {
        std::future::poll_fn(|cx| to.poll_write_ready(cx)).await?;
        let sent = to.try_io(tokio::io::Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() {
                let fits = ancillary.push(SendAncillaryMessage::ScmRights(fds));
                debug_assert!(fits);
            }
            Ok(sendmsg(to, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
        });
        match sent {
            Ok(count) => (bytes, fds) = (&bytes[count..], &[]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a name behind its length; `None` is an empty one.
fn name(bytes: &mut &[u8]) -> io::Result<Option<Box<str>>> {
    let (len, rest) = bytes.split_first().ok_or_else(malformed)?;
    let (name, rest) = rest.split_at_checked(usize::from(*len)).ok_or_else(malformed)?;
    *bytes = rest;
    let name = String::from_utf8_lossy(name);
    Ok((!name.is_empty()).then(|| name.into()))
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "no listening sockets came: is it `expose-fd listeners`?",
    )
}

const COMMAND: &[u8] = b"_getsocks\n";
/// Descriptors in one message, as HAProxy has it; the kernel takes one more.
const BATCH: usize = 252;
/// What is said of one descriptor, at most: two names of 255 bytes behind their lengths, and the options.
const DESCRIPTION_MAX: usize = 2 * 256 + OPTIONS_LEN;
const OPTIONS_LEN: usize = 4;
const SOCKETS_MAX: usize = 1 << 20;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_recognized() {
        #[track_caller]
        fn check(at: Endpoint, wanted: BindAddress, expected: bool) {
            assert_eq!(listens_at(&at, &wanted), expected, "{at:?} {wanted:?}");
        }
        let inet = |text: &str| -> std::net::SocketAddr { text.parse().unwrap() };
        check(inet("127.0.0.1:80").into(), BindAddress::Inet(inet("127.0.0.1:80")), true);
        check(inet("127.0.0.1:80").into(), BindAddress::Inet(inet("0.0.0.0:80")), false);
        let unix = |at: &str| Endpoint::Unix(at.into());
        check(unix("/run/a"), BindAddress::Unix("/run/a".into()), true);
        check(unix("/run/a.123.tmp"), BindAddress::Unix("/run/a".into()), true);
        check(unix("/run/a.b.tmp"), BindAddress::Unix("/run/a".into()), false);
        check(unix("/run/ab"), BindAddress::Unix("/run/a".into()), false);
        let name = |name: &[u8]| Endpoint::Abstract(name.to_vec().into());
        check(name(b"web"), BindAddress::Abstract(b"web".to_vec()), true);
        check(name(b"web\0\0"), BindAddress::Abstract(b"web".to_vec()), true);
        check(name(b"website"), BindAddress::Abstract(b"web".to_vec()), false);
    }

    #[test]
    fn names_are_read_behind_their_lengths() {
        let mut bytes = &b"\0\x02lo\0\0\0\0"[..];
        assert_eq!(name(&mut bytes).unwrap(), None);
        assert_eq!(name(&mut bytes).unwrap().as_deref(), Some("lo"));
        assert_eq!(bytes, [0; 4]);
        assert!(name(&mut &b"\x05lo"[..]).is_err());
        assert!(name(&mut &b""[..]).is_err());
    }
}
