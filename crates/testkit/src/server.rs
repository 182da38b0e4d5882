//! Application servers that do as they are told.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use sha1::{Digest, Sha1};

use crate::{PATIENCE, free_port};

/// A server on a free port of 127.0.0.1, one thread a connection.
///
/// What it does can change while it runs; each request, and for the behaviours below HTTP each
/// connection, is served by the behaviour of that moment.
#[derive(Debug)]
pub struct TestServer {
    name: String,
    ip: String,
    port: u16,
    shared: Arc<Shared>,
}

/// What a [`TestServer`] does with a request, or with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// 200 with the server's name as body, keep-alive.
    Name,
    /// 200 with this body and `Content-Length`.
    Body(Vec<u8>),
    /// 200 with these pieces as chunks.
    Chunked(Vec<Vec<u8>>),
    /// 200 without a length: the body ends with the connection.
    CloseDelimited(Vec<u8>),
    /// These bytes for each request, whatever they are.
    Raw(Vec<u8>),
    /// As `Name`, after this time.
    Slow(Duration),
    /// As `Name`, then ends the connection although it was to stay open.
    ClosesAfterAnswer,
    /// Reads the request's head and ends the connection without an answer.
    Dies,
    /// Says it has as many bytes, sends half of them and ends the connection.
    CutsShort(usize),
    /// Reads the request and says nothing until the peer ends the connection.
    Silent,
    /// As `Name`, but only once the server has been told to behave otherwise.
    Waits,
    /// These bytes as soon as a request's head has been read; its body is read afterwards.
    Early(Vec<u8>),
    /// 200 with as many bytes of `x`, made as they are sent.
    Large(u64),
    /// Says it has as many bytes, sends half of them and nothing more until the peer ends.
    Stalls(usize),
    /// Takes the connection and never reads from it.
    NeverReads,
    /// No HTTP: reads as many bytes, then none, and keeps the connection.
    StopsReading(u64),
    /// No HTTP: waits for the first byte, then resets the connection.
    Resets,
    /// 101, with the proof that a WebSocket's key asks for, and then every byte back, for requests with `Upgrade`; else
    /// as `Name`.
    UpgradeEcho,
    /// No HTTP: every byte back; the end of one direction is answered with the end of the other.
    Echo,
    /// No HTTP: sends the first of these at once, and each of the others when something has come; then as `Silent`.
    Converses(Vec<Vec<u8>>),
    /// No HTTP: sends these bytes at once, ends its own direction, reads to the end.
    SpeaksThenHalfCloses(Vec<u8>),
}

#[derive(Debug)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<Vec<u8>>>,
    count: AtomicUsize,
    connections: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
}

impl TestServer {
    /// A server that answers with its name.
    pub fn named(name: &str) -> Self {
        Self::start(name, Behaviour::Name)
    }

    /// # Panics
    /// When no port is free.
    pub fn start(name: &str, behaviour: Behaviour) -> Self {
        Self::start_on(free_port(), name, behaviour)
    }

    /// On a given port, as for a server that comes back.
    ///
    /// # Panics
    /// When the port is taken.
    #[track_caller]
    pub fn start_on(port: u16, name: &str, behaviour: Behaviour) -> Self {
        Self::start_at("127.0.0.1", port, name, behaviour)
    }

    /// On another loopback address, such as `127.0.0.2`.
    ///
    /// # Panics
    /// When the port is taken there.
    #[track_caller]
    pub fn start_at(ip: &str, port: u16, name: &str, behaviour: Behaviour) -> Self {
        let mut bound = TcpListener::bind((ip, port));
        // A process that another test starts just now holds copies of this one's sockets until it becomes its program,
        // the one that `free_port` has looked with among them.
        let patience = Instant::now() + PATIENCE;
        while bound.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
            && Instant::now() < patience
        {
            thread::sleep(Duration::from_millis(5));
            bound = TcpListener::bind((ip, port));
        }
        let listener = bound.expect("the port is free");
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            requests: Mutex::default(),
            count: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let (owned, state) = (name.to_owned(), Arc::clone(&shared));
        thread::spawn(move || accept(&listener, &owned, &state));
        Self { name: name.to_owned(), ip: ip.to_owned(), port, shared }
    }

    /// Changes what it does from the next request on.
    pub fn becomes(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// Dies as a process does: stops listening and resets what is open. Dropping it does the same.
    pub fn kill(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((self.ip.as_str(), self.port)); // wakes the accepting thread
        for stream in lock(&self.shared.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        crate::eventually("the port is closed", || {
            TcpStream::connect((self.ip.as_str(), self.port)).is_err()
        });
    }

    /// `127.0.0.1:PORT`, as a `server` line takes it.
    pub fn address(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name it answers with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many requests (request heads) it has read.
    pub fn requests(&self) -> usize {
        self.shared.count.load(Ordering::SeqCst)
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The last requests, head and body as they arrived (chunked bodies without their framing,
    /// trailers as lines behind them); at most 1000 are kept.
    pub fn received(&self) -> Vec<String> {
        lock(&self.shared.requests)
            .iter()
            .map(|r| String::from_utf8_lossy(r).into_owned())
            .collect()
    }
}

/// `NAME 127.0.0.1:PORT`, what follows `server` in a configuration.
impl fmt::Display for TestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.address())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if !self.shared.stopped.load(Ordering::SeqCst) && !thread::panicking() {
            self.kill();
        }
    }
}

fn accept(listener: &TcpListener, name: &str, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        if let Ok(copy) = stream.try_clone() {
            lock(&shared.open).push(copy);
        }
        let (name, shared) = (name.to_owned(), Arc::clone(shared));
        thread::spawn(move || {
            // A peer that goes away ends its connection, not the test.
            let ended = serve(&stream, &name, &shared);
            if !ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
                let _ = stream.shutdown(Shutdown::Both);
            }
            let local = stream.peer_addr().ok();
            lock(&shared.open).retain(|open| open.peer_addr().ok() != local);
        });
    }
}

fn serve(stream: &TcpStream, name: &str, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let behaviour = lock(&shared.behaviour).clone();
    match behaviour {
        Behaviour::Echo => return echo(&mut BufReader::new(stream), stream),
        Behaviour::SpeaksThenHalfCloses(bytes) => {
            (&*stream).write_all(&bytes)?;
            stream.shutdown(Shutdown::Write)?;
            io::copy(&mut &*stream, &mut io::sink())?;
            return Ok(());
        }
        Behaviour::Converses(says) => {
            for (bytes, first) in
                says.iter().zip(std::iter::once(true).chain(std::iter::repeat(false)))
            {
                if !first && (&*stream).read(&mut [0; 4096])? == 0 {
                    return Ok(());
                }
                (&*stream).write_all(bytes)?;
            }
            io::copy(&mut &*stream, &mut io::sink())?;
            return Ok(());
        }
        Behaviour::Resets => {
            stream.peek(&mut [0])?;
            // Closing a socket that does not linger resets it; the list's copy goes with it.
            set_socket_linger(stream, Some(Duration::ZERO))?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Behaviour::NeverReads | Behaviour::StopsReading(_) => {
            if let Behaviour::StopsReading(count) = behaviour {
                io::copy(&mut stream.take(count), &mut io::sink())?;
            }
            while !shared.stopped.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
        _ => {}
    }
    stream.set_read_timeout(Some(PATIENCE * 6))?;
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = read_head(&mut reader)? {
        shared.count.fetch_add(1, Ordering::SeqCst);
        let behaviour = lock(&shared.behaviour).clone();
        if let Behaviour::Early(bytes) = &behaviour {
            (&*stream).write_all(bytes)?;
        }
        read_body(&mut reader, stream, &mut request)?;
        let is_head = request.starts_with(b"HEAD ");
        let wants = |header: &str| {
            let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
            head.contains(&format!("\r\n{header}"))
        };
        let closes = wants("connection: close");
        let upgrades = wants("upgrade:");
        let answer_to_upgrade = if upgrades { upgraded(&request) } else { String::new() };
        {
            let mut kept = lock(&shared.requests);
            if kept.len() == 1000 {
                kept.remove(0);
            }
            kept.push(request);
        }
        let mut out = stream;
        match behaviour {
            Behaviour::UpgradeEcho if upgrades => {
                out.write_all(answer_to_upgrade.as_bytes())?;
                return echo(&mut reader, stream);
            }
            Behaviour::Body(body) => answer(out, &body, is_head)?,
            Behaviour::Slow(time) => {
                thread::sleep(time);
                answer(out, name.as_bytes(), is_head)?;
            }
            Behaviour::Chunked(pieces) => {
                out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                for piece in pieces.iter().filter(|p| !p.is_empty()) {
                    out.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
                    out.write_all(piece)?;
                    out.write_all(b"\r\n")?;
                }
                out.write_all(b"0\r\n\r\n")?;
            }
            Behaviour::CloseDelimited(body) => {
                out.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                return out.write_all(&body);
            }
            Behaviour::Raw(bytes) => out.write_all(&bytes)?,
            Behaviour::Early(_) => {}
            Behaviour::Silent => {
                io::copy(&mut reader, &mut io::sink())?;
                return Ok(());
            }
            Behaviour::Waits => {
                while *lock(&shared.behaviour) == Behaviour::Waits {
                    if shared.stopped.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                answer(out, name.as_bytes(), is_head)?;
            }
            Behaviour::Large(length) => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
                io::copy(&mut io::repeat(b'x').take(length), &mut out)?;
            }
            Behaviour::Stalls(length) => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
                out.write_all(&vec![b'x'; length / 2])?;
                io::copy(&mut reader, &mut io::sink())?;
                return Ok(());
            }
            Behaviour::ClosesAfterAnswer => return answer(out, name.as_bytes(), is_head),
            Behaviour::Dies => return Ok(()),
            Behaviour::CutsShort(length) => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
                return out.write_all(&vec![b'x'; length / 2]);
            }
            Behaviour::Name
            | Behaviour::UpgradeEcho
            | Behaviour::NeverReads
            | Behaviour::StopsReading(_)
            | Behaviour::Resets
            | Behaviour::Echo
            | Behaviour::Converses(_)
            | Behaviour::SpeaksThenHalfCloses(_) => answer(out, name.as_bytes(), is_head)?,
        }
        if closes {
            return Ok(());
        }
    }
    Ok(())
}

fn answer(mut out: &TcpStream, body: &[u8], is_head: bool) -> io::Result<()> {
    let mut message =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    if !is_head {
        message.extend_from_slice(body);
    }
    out.write_all(&message)
}

/// Switches protocols, and proves with the request's key that it has understood (RFC 6455, section 4.2.2).
fn upgraded(request: &[u8]) -> String {
    let head = String::from_utf8_lossy(request);
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut key = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim());
    let proof = key
        .next_back()
        .map(|key| Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
    let accept = proof
        .map(|proof| format!("Sec-WebSocket-Accept: {}\r\n", base64(&proof)))
        .unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{accept}\r\n"
    )
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - three.len()));
        let letter = move |at: usize| {
            if at > three.len() { '=' } else { char::from(LETTERS[bits >> (18 - 6 * at) & 63]) }
        };
        (0..4).map(letter).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// Reads the head of one request; `None` when the connection ends before its end.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let start = head.len();
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
        if head[start..].trim_ascii_end().is_empty() && start > 0 {
            return Ok(Some(head));
        }
    }
}

/// Reads the body behind a head, without its framing, and says 100 first where that is asked for.
fn read_body(
    reader: &mut impl BufRead,
    mut out: &TcpStream,
    request: &mut Vec<u8>,
) -> io::Result<()> {
    let (mut length, mut chunked, mut expects) = (0, false, false);
    for line in String::from_utf8_lossy(request).to_ascii_lowercase().lines() {
        match line.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => length = value.parse().unwrap_or(0),
            Some(("transfer-encoding", value)) => chunked = value.ends_with("chunked"),
            Some(("expect", "100-continue")) => expects = true,
            _ => {}
        }
    }
    if expects {
        out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if !chunked {
        reader.by_ref().take(length).read_to_end(request)?;
        return Ok(());
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).unwrap_or(0);
        reader.by_ref().take(size).read_to_end(request)?;
        if size == 0 {
            break;
        }
        reader.read_line(&mut line)?;
    }
    // The trailers, up to the empty line, are kept as lines behind the body.
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        request.extend_from_slice(line.as_bytes());
        line.clear();
    }
    Ok(())
}

fn echo(reader: &mut impl Read, mut out: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16384];
    loop {
        match reader.read(&mut buffer)? {
            0 => return out.shutdown(Shutdown::Write),
            count => out.write_all(&buffer[..count])?,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
