//! The least a proxy can cost: one thread, one epoll, bytes from one socket to the other.
//!
//! `relay LISTEN ORIGIN` accepts on the first address and opens one connection to the second for
//! each client. It parses nothing, counts nothing and has no time-outs; what a proxy costs more than
//! this is what its work costs. `benches/run` starts it as the 1.0 of its ratios.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;

/// One direction's end: the socket, and bytes that its peer did not take yet.
struct End {
    socket: TcpStream,
    unsent: Vec<u8>,
    has_ended: bool,
}

/// A client and its origin connection, by `2 * index` and `2 * index + 1` in the epoll.
type Pair = [End; 2];

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let (Some(listen), Some(origin)) = (args.next(), args.next()) else {
        return Err(io::Error::other("usage: relay LISTEN ORIGIN"));
    };
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; 65536];
    let mut events = Vec::with_capacity(256);
    loop {
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            waited => waited?,
        };
        let mut closed = Vec::new();
        for event in events.drain(..) {
            if event.data.u64() == LISTENER {
                accept(&epoll, &listener, &origin, &mut pairs, &mut free)?;
                continue;
            }
            let Ok(token) = usize::try_from(event.data.u64()) else { continue };
            let Some(pair) = pairs.get_mut(token / 2).and_then(Option::as_mut) else { continue };
            let alive = relay(&epoll, pair, token, event.flags, &mut buffer).is_ok();
            if !alive || pair.iter().all(|end| end.has_ended && end.unsent.is_empty()) {
                pairs[token / 2] = None;
                closed.push(token / 2);
            }
        }
        // Only now: a place given away within a batch could meet an old connection's event.
        free.append(&mut closed);
    }
}

fn accept(
    epoll: &OwnedFd,
    listener: &TcpListener,
    origin: &str,
    pairs: &mut Vec<Option<Pair>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => continue,
        };
        let Ok(server) = TcpStream::connect(origin) else { continue };
        let index = free.pop().unwrap_or_else(|| {
            pairs.push(None);
            pairs.len() - 1
        });
        let pair =
            [client, server].map(|socket| End { socket, unsent: Vec::new(), has_ended: false });
        for (side, end) in pair.iter().enumerate() {
            end.socket.set_nonblocking(true)?;
            end.socket.set_nodelay(true)?;
            epoll::add(epoll, &end.socket, data(2 * index + side), EventFlags::IN)?;
        }
        pairs[index] = Some(pair);
    }
}

/// Moves what one socket has to the other, or what waits for it into it.
fn relay(
    epoll: &OwnedFd,
    pair: &mut Pair,
    token: usize,
    flags: EventFlags,
    buffer: &mut [u8],
) -> io::Result<()> {
    let [first, second] = pair;
    let (here, peer) = if token.is_multiple_of(2) { (first, second) } else { (second, first) };
    if flags.contains(EventFlags::OUT) {
        // `here` takes bytes again: what the peer has read for it waits in `here.unsent`.
        let sent = write_some(&mut here.socket, &here.unsent)?;
        here.unsent.drain(..sent);
        if here.unsent.is_empty() {
            epoll::modify(epoll, &here.socket, data(token), interest(here))?;
            epoll::modify(epoll, &peer.socket, data(token ^ 1), interest(peer))?;
            if peer.has_ended {
                here.socket.shutdown(Shutdown::Write)?;
            }
        }
        return Ok(());
    }
    let count = match here.socket.read(buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        read => read?,
    };
    if count == 0 {
        here.has_ended = true;
        epoll::modify(epoll, &here.socket, data(token), interest(here))?;
        return if peer.unsent.is_empty() { peer.socket.shutdown(Shutdown::Write) } else { Ok(()) };
    }
    let sent = write_some(&mut peer.socket, &buffer[..count])?;
    if sent < count {
        peer.unsent.extend_from_slice(&buffer[sent..count]);
        epoll::modify(epoll, &peer.socket, data(token ^ 1), interest(peer) | EventFlags::OUT)?;
        // No more is read from here until that is gone.
        epoll::modify(epoll, &here.socket, data(token), EventFlags::empty())?;
    }
    Ok(())
}

fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match socket.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

fn interest(end: &End) -> EventFlags {
    if end.has_ended { EventFlags::empty() } else { EventFlags::IN }
}

fn data(token: usize) -> EventData {
    EventData::new_u64(token as u64)
}

const LISTENER: u64 = u64::MAX;
