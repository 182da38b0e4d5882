//! TLS on a [`Socket`]: the handshakes, and the session that every read and write then goes through.
//!
//! The session keeps no buffer while nothing is under way: records are read into, and made in, memory that all
//! connections of a thread share, and only what cannot be dealt with at once stays with the connection (the front of a
//! record, plaintext that did not fit, records that the kernel did not take). Each of these is bounded by a few records.
//!
//! Writing keeps the promise of a plain socket: what is said to be written is with the kernel. A write that is taken in
//! part has made records of all its bytes already, and has to be followed by one of the same bytes.
//!
//! What is to be sent beside the caller's bytes (session tickets, the last flight of a client, answers to key updates)
//! travels with the next write, or goes before the next wait for the peer.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::{self, RecvFlags, SendFlags};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::CertificateDer;
use rustls::server::{Acceptor, ClientHello, UnbufferedServerConnection};
use rustls::sign::CertifiedKey;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::io::Interest;

use super::{Idle, Socket, SocketKind};

/// What is known of a TLS session once its handshake is over.
#[derive(Debug)]
pub struct Tls {
    pub version: ProtocolVersion,
    pub cipher_suite: CipherSuite,
    /// The protocol that was agreed on.
    pub alpn: Option<Box<[u8]>>,
    /// The name that the client asked for. On a connection to a server it is not known here.
    pub server_name: Option<Box<str>>,
    /// An earlier session was taken up again.
    pub resumed: bool,
    /// What the peer showed, its own certificate first; empty if nothing.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// What a client was shown. On a connection to a server it is not known here.
    pub own: Option<Arc<CertifiedKey>>,
}

/// Why there is no TLS session.
#[derive(Debug)]
pub enum HandshakeError<E> {
    /// The client closed before its first message was there.
    Empty,
    /// The connection broke before the client's first message was there.
    Broken(io::Error),
    /// The peer closed or broke the connection later.
    Aborted,
    /// No configuration was chosen for the client's first message; it was told `unrecognized_name`.
    Unchosen(E),
    /// The peer does not follow the protocol, offers nothing that we take, or is not trusted. It was told.
    Failed(rustls::Error),
    /// The peer refused, or we have no session for it, and said so.
    Alert(rustls::AlertDescription),
}

/// A socket that is on no reactor: it can be parked, or go to another thread.
#[derive(Debug)]
pub struct Detached {
    pub(super) fd: OwnedFd,
    pub(super) kind: SocketKind,
    pub(super) session: Option<Box<Session>>,
}

/// The session of a socket.
pub(super) struct Session {
    state: RefCell<State>,
    /// Something is to be read without the kernel: plaintext, or the end.
    readable: Cell<bool>,
    /// Records wait for the kernel to take them.
    unsent: Cell<bool>,
}

struct State {
    side: Side,
    /// What came and is not a whole record, or handshake message, yet.
    incoming: Vec<u8>,
    /// What came and was not read: `plain[read..]`.
    plain: Vec<u8>,
    read: usize,
    /// Records that the kernel did not take: `outgoing[sent..]`.
    outgoing: Vec<u8>,
    sent: usize,
    /// How many bytes of the caller's are in there which it was not told of yet.
    owed: usize,
    /// The peer has said that nothing follows, or has closed.
    ended: bool,
    /// What ended the session early.
    failed: Option<rustls::Error>,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What the session asks for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    /// To be asked again.
    More,
    /// Bytes from the peer.
    Input,
    /// Nothing: bytes can be written, and read when they come.
    Traffic,
    Closed,
}

/// Where plaintext goes.
enum Sink<'a> {
    Slice(&'a mut [u8], usize),
    Append(&'a mut Vec<u8>),
    /// It stays in the session.
    Nowhere,
}

impl Socket {
    /// Lets the client begin TLS, with the configuration that `choose` has for its first message.
    ///
    /// `went_on` is called each time that the session has dealt with what came, on the same thread: a verifier of
    /// certificates may have left something there. Nothing times out here, and a socket whose handshake was not waited
    /// for is good for nothing but to be dropped.
    ///
    /// # Errors
    /// See [`HandshakeError`]; the client has been told where it can be.
    pub async fn accept_tls<E>(
        &mut self,
        choose: impl FnOnce(&ClientHello<'_>) -> Result<Arc<ServerConfig>, E>,
        went_on: impl FnMut(),
    ) -> Result<Tls, HandshakeError<E>> {
        let mut acceptor = Acceptor::default();
        let mut incoming = Vec::new();
        let accepted = loop {
            let seen = incoming.len();
            self.receive_handshake(&mut incoming).await?;
            let mut fresh = &incoming[seen..];
            let mut accepted = Ok(None);
            while !fresh.is_empty() && matches!(accepted, Ok(None)) {
                accepted = match acceptor.read_tls(&mut fresh) {
                    Ok(_) => acceptor.accept(),
                    Err(_) => Ok(None),
                };
            }
            match accepted {
                Ok(Some(accepted)) => break accepted,
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut records = Vec::new();
                    // Writing into memory does not fail.
                    let _ = alert.write_all(&mut records);
                    self.send_alert(&records);
                    return Err(HandshakeError::of(error));
                }
            }
        };
        let hello = accepted.client_hello();
        let server_name = hello.server_name().map(Box::from);
        let config = match choose(&hello) {
            Ok(config) => config,
            Err(reason) => {
                self.send_alert(UNRECOGNIZED_NAME);
                return Err(HandshakeError::Unchosen(reason));
            }
        };
        let own = config.cert_resolver.resolve(accepted.client_hello());
        drop(accepted);
        let side = UnbufferedServerConnection::new(config).map_err(HandshakeError::Failed)?;
        let tls = self.shake_hands(State::new(Side::Server(side), incoming), went_on).await?;
        Ok(Tls { server_name, own, ..tls })
    }

    /// Begins TLS with the server that this connection leads to.
    ///
    /// The last message of the handshake may travel with what is written next. `went_on` is as with
    /// [`Socket::accept_tls`].
    ///
    /// # Errors
    /// See [`HandshakeError`]; the server has been told where it can be.
    pub async fn connect_tls(
        &mut self,
        connection: UnbufferedClientConnection,
        went_on: impl FnMut(),
    ) -> Result<Tls, HandshakeError<Infallible>> {
        self.shake_hands(State::new(Side::Client(connection), Vec::new()), went_on).await
    }

    /// Whether what is read and written goes through a session: it cannot be spliced then.
    pub fn is_tls(&self) -> bool {
        self.session.is_some()
    }

    async fn shake_hands<E>(
        &mut self,
        mut state: State,
        mut went_on: impl FnMut(),
    ) -> Result<Tls, HandshakeError<E>> {
        loop {
            let advanced = state.advance();
            went_on();
            let wants = match advanced {
                Ok(wants) => wants,
                Err(error) => {
                    self.send_alert(&state.outgoing);
                    return Err(HandshakeError::of(error));
                }
            };
            match wants {
                // Tickets, or a client's last flight in TLS 1.3, can wait for what is written next.
                Wants::Traffic
                    if state.side.common().protocol_version() == Some(ProtocolVersion::TLSv1_3) =>
                {
                    break;
                }
                Wants::Closed => return Err(HandshakeError::Aborted),
                Wants::Traffic | Wants::Input | Wants::More => {}
            }
            while !state.outgoing.is_empty() {
                let gone =
                    self.write_raw(&state.outgoing).await.map_err(|_| HandshakeError::Aborted)?;
                state.outgoing.drain(..gone);
            }
            if wants == Wants::Traffic {
                break;
            }
            self.receive_handshake(&mut state.incoming).await.map_err(|error| match error {
                HandshakeError::Empty | HandshakeError::Broken(_) => HandshakeError::Aborted,
                error => error,
            })?;
        }
        state.incoming.shrink_to_fit();
        let tls = state.side.facts();
        let session = Session {
            readable: Cell::new(state.read < state.plain.len() || state.ended),
            unsent: Cell::new(!state.outgoing.is_empty()),
            state: RefCell::new(state),
        };
        self.session = Some(Box::new(session));
        Ok(tls)
    }

    /// Waits for bytes of a handshake.
    async fn receive_handshake<E>(&self, incoming: &mut Vec<u8>) -> Result<(), HandshakeError<E>> {
        if incoming.len() >= HANDSHAKE_MAX {
            self.send_alert(RECORD_OVERFLOW);
            return Err(HandshakeError::Failed(rustls::Error::InvalidMessage(
                rustls::InvalidMessage::HandshakePayloadTooLarge,
            )));
        }
        incoming.reserve(HANDSHAKE_READ);
        match std::future::poll_fn(|cx| self.poll_read_append(cx, incoming)).await {
            Ok(0) => Err(HandshakeError::Empty),
            Ok(_) => Ok(()),
            Err(error) => Err(HandshakeError::Broken(error)),
        }
    }

    async fn write_raw(&self, bytes: &[u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            loop {
                match self.send_now(bytes, SendFlags::empty()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(self.poll_write_ready(cx))?;
                    }
                    done => return Poll::Ready(done),
                }
            }
        })
        .await
    }

    /// Tells the peer why the connection ends, if the kernel takes it, and that it does. What the peer has sent
    /// meanwhile is thrown away: unread, it would reset the connection before the alert is read.
    fn send_alert(&self, records: &[u8]) {
        let _ = self.send_now(records, SendFlags::empty());
        let _ = net::shutdown(self, net::Shutdown::Write);
        self.discard_input();
    }

    pub(super) fn receive_now(&self, room: &mut [u8]) -> io::Result<usize> {
        let wanted = room.len();
        self.transfer(Interest::READABLE, wanted, |fd| {
            Ok(net::recv(fd, room, RecvFlags::empty())?.0)
        })
    }

    fn send_now(&self, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
        self.transfer(Interest::WRITABLE, bytes.len(), |fd| {
            Ok(net::send(fd, bytes, flags | SendFlags::NOSIGNAL)?)
        })
    }
}

impl Session {
    pub(super) fn is_readable(&self) -> bool {
        self.readable.get()
    }

    pub(super) fn is_unsent(&self) -> bool {
        self.unsent.get()
    }

    /// [`Socket::try_read`] through the session.
    pub(super) fn try_read(&self, socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
        self.read(socket, Sink::Slice(buf, 0))
    }

    /// [`Socket::try_read_append`] through the session; there is room.
    pub(super) fn try_read_append(&self, socket: &Socket, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.read(socket, Sink::Append(buf))
    }

    fn read(&self, socket: &Socket, mut into: Sink<'_>) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        let result = loop {
            let count = state.take_plain(&mut into);
            if count > 0 {
                break Ok(count);
            }
            if state.ended {
                break Ok(0);
            }
            if let Some(error) = &state.failed {
                break Err(broken(error));
            }
            match state.receive(&mut into, |room| socket.receive_now(room)) {
                Ok(0) => {}
                Ok(count) => break Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The peer may be waiting for what it was not sent yet.
                    _ = state.flush(socket, SendFlags::empty());
                    state.release();
                    break Err(error);
                }
                Err(error) => {
                    // The alert.
                    _ = state.flush(socket, SendFlags::empty());
                    break Err(error);
                }
            }
        };
        self.note(&state);
        result
    }

    /// [`Socket::try_write`] through the session.
    pub(super) fn try_write(
        &self,
        socket: &Socket,
        buf: &[u8],
        flags: SendFlags,
    ) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut state = self.state.borrow_mut();
        let result = state.write(socket, buf, flags);
        self.note(&state);
        result
    }

    /// Sends what waits; true when nothing is left of it.
    pub(super) fn flush(&self, socket: &Socket) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let result = state.flush(socket, SendFlags::empty());
        self.note(&state);
        result
    }

    /// Says that nothing follows.
    pub(super) fn close(&self, socket: &Socket) {
        let mut state = self.state.borrow_mut();
        state.close(socket);
        self.note(&state);
    }

    /// Looks what has come, by `receive`.
    pub(super) fn look(&self, receive: impl Fn(&mut [u8]) -> io::Result<usize>) -> Idle {
        let mut state = self.state.borrow_mut();
        let found = loop {
            if state.read < state.plain.len() {
                break Idle::Data;
            }
            if state.ended || state.failed.is_some() {
                break Idle::Closed;
            }
            match state.receive(&mut Sink::Nowhere, &receive) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.release();
                    break Idle::Quiet;
                }
                Err(_) => break Idle::Closed,
            }
        };
        self.note(&state);
        found
    }

    fn note(&self, state: &State) {
        let readable = state.read < state.plain.len() || state.ended || state.failed.is_some();
        self.readable.set(readable);
        self.unsent.set(state.sent < state.outgoing.len());
    }
}

impl State {
    fn new(side: Side, incoming: Vec<u8>) -> Self {
        Self {
            side,
            incoming,
            plain: Vec::new(),
            read: 0,
            outgoing: Vec::new(),
            sent: 0,
            owed: 0,
            ended: false,
            failed: None,
        }
    }

    /// Goes on with the handshake as far as what has come allows. Afterwards all of it is plaintext, or not a whole
    /// record.
    fn advance(&mut self) -> Result<Wants, rustls::Error> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let mut used = 0;
        let result = loop {
            match self.step(&mut incoming[used..], &mut Sink::Nowhere) {
                Ok((taken, wants)) => {
                    used += taken;
                    if wants != Wants::More {
                        break Ok(wants);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        incoming.drain(..used);
        self.incoming = incoming;
        result
    }

    /// Asks the session once; gives how much of the input is done with, and how it goes on. After an error, the alert
    /// is in `outgoing`.
    fn step(
        &mut self,
        input: &mut [u8],
        into: &mut Sink<'_>,
    ) -> Result<(usize, Wants), rustls::Error> {
        let (discard, result) = self.ask(input, into);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            // The alert. With nothing left to send, the session would look at the input once more.
            let rest = input.get_mut(discard..).unwrap_or_default();
            while self.side.common().wants_write() && self.ask(rest, &mut Sink::Nowhere).1.is_ok() {
            }
        }
        Ok((discard, result?))
    }

    fn ask(
        &mut self,
        input: &mut [u8],
        into: &mut Sink<'_>,
    ) -> (usize, Result<Wants, rustls::Error>) {
        let Self { side, plain, outgoing, ended, .. } = self;
        let mut keep = Keep { plain, outgoing, ended };
        match side {
            Side::Server(connection) => {
                let UnbufferedStatus { discard, state, .. } = connection.process_tls_records(input);
                (discard, state.and_then(|state| keep.obey(state, into)))
            }
            Side::Client(connection) => {
                let UnbufferedStatus { discard, state, .. } = connection.process_tls_records(input);
                (discard, state.and_then(|state| keep.obey(state, into)))
            }
        }
    }

    /// Moves plaintext that was kept.
    fn take_plain(&mut self, into: &mut Sink<'_>) -> usize {
        let kept = &self.plain[self.read..];
        if kept.is_empty() {
            return 0;
        }
        let count = into.put(kept);
        self.read += count;
        if self.read == self.plain.len() {
            self.plain.clear();
            self.read = 0;
        }
        count
    }

    /// Reads once by `receive` and takes what the records hold; gives how many bytes have gone into `into`.
    ///
    /// 0 is no end: a record may not be whole, or hold nothing for the caller.
    fn receive(
        &mut self,
        into: &mut Sink<'_>,
        receive: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        INPUT.with_borrow_mut(|shared| {
            shared.resize(INPUT_MAX, 0);
            let kept = self.incoming.len();
            let most = self.input_wanted(into.room());
            let Some(room) = shared.get_mut(kept..most).filter(|room| !room.is_empty()) else {
                let error = rustls::InvalidMessage::HandshakePayloadTooLarge.into();
                let error = self.failed.insert(error);
                return Err(broken(error));
            };
            let count = receive(room)?;
            if count == 0 {
                self.ended = true;
                return Ok(0);
            }
            shared[..kept].copy_from_slice(&self.incoming);
            let used = kept + count;
            let before = into.filled();
            let mut from = 0;
            loop {
                match self.step(&mut shared[from..used], into) {
                    Ok((taken, wants)) => {
                        from += taken;
                        if wants != Wants::More {
                            break;
                        }
                    }
                    Err(error) => return Err(broken(&error)),
                }
            }
            self.incoming.clear();
            if self.ended {
                from = used;
            }
            self.incoming.extend_from_slice(&shared[from..used]);
            Ok(into.filled() - before)
        })
    }

    /// How much of the shared memory to fill, so that as little plaintext as can be has to be kept: room for one record
    /// of the size that the caller takes, and for all of the one that has begun.
    fn input_wanted(&self, room: usize) -> usize {
        let begun = match self.incoming.get(3..5) {
            Some(length) => RECORD_HEADER + usize::from(u16::from_be_bytes([length[0], length[1]])),
            None => 0,
        };
        let most = (room + RECORD_OVERHEAD).max(begun);
        // What has come may be part of a handshake message of several records.
        let most = if most <= self.incoming.len() { self.incoming.len() + most } else { most };
        most.clamp(INPUT_MIN, INPUT_MAX)
    }

    fn write(&mut self, socket: &Socket, buf: &[u8], flags: SendFlags) -> io::Result<usize> {
        if self.owed > 0 {
            // Records of these bytes were made; they go first.
            return self.pay(socket, buf.len(), flags);
        }
        if let Some(error) = &self.failed {
            return Err(broken(error));
        }
        OUTPUT.with_borrow_mut(|shared| {
            shared.resize(OUTPUT_MAX + OUTPUT_RESERVE, 0);
            let waiting = self.outgoing.len() - self.sent;
            if waiting > OUTPUT_RESERVE / 2 {
                self.flush(socket, flags)?;
            }
            let mut plain = &buf[..buf.len().min(OUTPUT_MAX)];
            let (start, records) = loop {
                // What the session has to say itself comes before.
                self.advance().map_err(|error| broken(&error))?;
                let start = self.outgoing.len() - self.sent;
                let Some(room) = shared.get_mut(start..) else {
                    return Err(io::ErrorKind::OutOfMemory.into());
                };
                match self.encrypt(plain, room)? {
                    Ok(count) => break (start, start + count),
                    // Records are set to be very small.
                    Err(InsufficientSizeError { .. }) => plain = &plain[..plain.len().div_ceil(2)],
                }
            };
            shared[..start].copy_from_slice(&self.outgoing[self.sent..]);
            let gone = match socket.send_now(&shared[..records], flags) {
                Ok(gone) if gone == records => {
                    self.outgoing.clear();
                    self.sent = 0;
                    return Ok(plain.len());
                }
                Ok(gone) => gone,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.outgoing.clear();
            self.sent = 0;
            self.outgoing.extend_from_slice(&shared[gone..records]);
            // Told of as its part of the records goes.
            let told = plain.len() * gone.saturating_sub(start) / (records - start);
            self.owed = plain.len() - told;
            if told == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(told) }
        })
    }

    /// Sends records that were made before, and tells of as many of the caller's bytes.
    fn pay(&mut self, socket: &Socket, most: usize, flags: SendFlags) -> io::Result<usize> {
        let waiting = self.outgoing.len() - self.sent;
        match self.flush(socket, flags) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let left = self.outgoing.len() - self.sent;
        let told = (self.owed * (waiting - left)).checked_div(waiting).unwrap_or(self.owed);
        let told = told.min(most);
        self.owed -= told;
        if told == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(told) }
    }

    /// Makes records of the bytes; the inner error is that of too little room.
    fn encrypt(
        &mut self,
        plain: &[u8],
        out: &mut [u8],
    ) -> io::Result<Result<usize, InsufficientSizeError>> {
        // It holds on to what has come of a message.
        let incoming = &mut self.incoming;
        let encrypted = match &mut self.side {
            Side::Server(connection) => match connection.process_tls_records(incoming).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.encrypt(plain, out),
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            },
            Side::Client(connection) => match connection.process_tls_records(incoming).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.encrypt(plain, out),
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            },
        };
        match encrypted {
            Ok(count) => Ok(Ok(count)),
            Err(EncryptError::InsufficientSize(size)) if plain.len() > 1 => Ok(Err(size)),
            Err(error) => Err(io::Error::new(io::ErrorKind::BrokenPipe, error)),
        }
    }

    /// Sends records that were made.
    fn flush(&mut self, socket: &Socket, flags: SendFlags) -> io::Result<()> {
        while self.sent < self.outgoing.len() {
            self.sent += socket.send_now(&self.outgoing[self.sent..], flags)?;
        }
        self.outgoing = Vec::new();
        self.sent = 0;
        Ok(())
    }

    /// Says that nothing follows, where the kernel still takes it. The end of the connection comes right behind.
    fn close(&mut self, socket: &Socket) {
        let mut notify = [0; 256];
        if self.failed.is_some() || self.advance().is_err() {
            return;
        }
        let incoming = &mut self.incoming;
        let queued = match &mut self.side {
            Side::Server(connection) => match connection.process_tls_records(incoming).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    traffic.queue_close_notify(&mut notify)
                }
                _ => Ok(0),
            },
            Side::Client(connection) => match connection.process_tls_records(incoming).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    traffic.queue_close_notify(&mut notify)
                }
                _ => Ok(0),
            },
        };
        let notify = notify.get(..queued.unwrap_or(0)).unwrap_or_default();
        self.outgoing.extend_from_slice(notify);
        _ = self.flush(socket, SendFlags::MORE);
    }

    /// Gives back what is empty.
    fn release(&mut self) {
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        if self.plain.is_empty() {
            self.plain = Vec::new();
        }
    }
}

/// What of a session's state is filled as it goes on.
struct Keep<'a> {
    plain: &'a mut Vec<u8>,
    outgoing: &'a mut Vec<u8>,
    ended: &'a mut bool,
}

impl Keep<'_> {
    fn obey<D>(
        &mut self,
        state: ConnectionState<'_, '_, D>,
        into: &mut Sink<'_>,
    ) -> Result<Wants, rustls::Error> {
        match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let payload = record?.payload;
                    // Nothing overtakes what is kept.
                    let taken = if self.plain.is_empty() { into.put(payload) } else { 0 };
                    self.plain.extend_from_slice(&payload[taken..]);
                }
            }
            ConnectionState::EncodeTlsData(mut data) => {
                let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                    return Ok(Wants::More);
                };
                let at = self.outgoing.len();
                self.outgoing.resize(at + size.required_size, 0);
                if data.encode(&mut self.outgoing[at..]).is_err() {
                    self.outgoing.truncate(at);
                }
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => *self.ended = true,
            ConnectionState::Closed => {
                *self.ended = true;
                return Ok(Wants::Closed);
            }
            ConnectionState::BlockedHandshake => return Ok(Wants::Input),
            ConnectionState::WriteTraffic(_) => return Ok(Wants::Traffic),
            // No configuration of ours lets clients send early data.
            _ => {
                return Err(rustls::Error::General("a state of the session is not known".into()));
            }
        }
        Ok(Wants::More)
    }
}

impl Side {
    fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    fn facts(&self) -> Tls {
        let common = self.common();
        let suite = common.negotiated_cipher_suite();
        let certificates = common.peer_certificates().unwrap_or_default();
        Tls {
            version: common.protocol_version().unwrap_or(ProtocolVersion::Unknown(0)),
            cipher_suite: suite.map_or(CipherSuite::Unknown(0), |suite| suite.suite()),
            alpn: common.alpn_protocol().map(Box::from),
            server_name: None,
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            peer_certificates: certificates.to_vec(),
            own: None,
        }
    }
}

impl Sink<'_> {
    /// Takes what there is room for.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let count = self.room().min(bytes.len());
        match self {
            Self::Slice(slice, filled) => {
                slice[*filled..*filled + count].copy_from_slice(&bytes[..count]);
                *filled += count;
            }
            Self::Append(buf) => buf.extend_from_slice(&bytes[..count]),
            Self::Nowhere => {}
        }
        count
    }

    fn room(&self) -> usize {
        match self {
            Self::Slice(slice, filled) => slice.len() - filled,
            Self::Append(buf) => buf.capacity() - buf.len(),
            Self::Nowhere => 0,
        }
    }

    fn filled(&self) -> usize {
        match self {
            Self::Slice(_, filled) => *filled,
            Self::Append(buf) => buf.len(),
            Self::Nowhere => 0,
        }
    }
}

impl Detached {
    pub fn kind(&self) -> SocketKind {
        self.kind
    }

    /// A socket of this thread again.
    pub fn attach(self) -> Socket {
        let Self { fd, kind, session } = self;
        Socket { session, ..Socket::from_nonblocking(fd, kind) }
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<E> HandshakeError<E> {
    fn of(error: rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => Self::Alert(alert),
            error => Self::Failed(error),
        }
    }
}

impl<E: fmt::Display> fmt::Display for HandshakeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the peer closed before the handshake began"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Aborted => f.write_str("the peer broke off the handshake"),
            Self::Unchosen(reason) => reason.fmt(f),
            Self::Failed(error) => error.fmt(f),
            Self::Alert(alert) => write!(f, "the peer refused: {alert:?}"),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

fn broken(error: &rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.clone())
}

impl Socket {
    /// As [`Socket::poll_read_ready`], with records to send first.
    pub(super) fn poll_unsent(&self, session: &Session, cx: &mut Context<'_>) -> io::Result<()> {
        while session.is_unsent() {
            match self.poll_write_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready?,
            }
            match session.flush(self) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => done?,
            }
        }
        Ok(())
    }
}

thread_local! {
    /// Where records are read and decrypted.
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Where records are made.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What the shared memory takes: two records of the largest kind.
const INPUT_MAX: usize = 2 * (RECORD_MAX + RECORD_OVERHEAD);
const INPUT_MIN: usize = 4096;
/// Bytes that a write makes records of, and the room for what is around them.
const OUTPUT_MAX: usize = 2 * RECORD_MAX;
const OUTPUT_RESERVE: usize = 8192;
const RECORD_MAX: usize = 16 * 1024;
const RECORD_HEADER: usize = 5;
/// What may be around the plaintext of a record (RFC 8446, section 5.2).
const RECORD_OVERHEAD: usize = RECORD_HEADER + 256;
/// What a peer may send of a handshake before it is over; rustls takes no larger message either.
const HANDSHAKE_MAX: usize = 128 * 1024;
const HANDSHAKE_READ: usize = 4096;
/// Fatal alerts in records of their own (RFC 8446, section 6).
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
const RECORD_OVERFLOW: &[u8] = &[21, 3, 3, 0, 2, 2, 22];

#[cfg(test)]
mod tests;
