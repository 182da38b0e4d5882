//! Questions to the name servers of a section, and what comes back. Only here are sockets.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;
use telamon_runtime::connect::connect;
use telamon_runtime::socket::Socket;
use telamon_runtime::{ConnectOptions, Endpoint};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Counters;
use crate::model::{Nameserver, Resolvers};

/// What a name server sent.
#[derive(Debug)]
pub(super) struct Heard {
    /// The [`Exchange::number`] that it belongs to.
    pub(super) exchange: u64,
    pub(super) nameserver: usize,
    pub(super) id: u16,
    /// `None` where a question over TCP was not answered.
    pub(super) message: Option<Vec<u8>>,
    /// It came over UDP: what did not fit can be asked for again over TCP.
    pub(super) datagram: bool,
}

/// The ways to the name servers of one section.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Tells it from the one of an earlier configuration.
    pub(super) number: u64,
    ways: Vec<Way>,
    payload_size: u16,
    answer_within: Duration,
    heard: mpsc::Sender<Heard>,
    /// Ears, and questions over TCP.
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Way {
    nameserver: Nameserver,
    counters: Arc<Counters>,
    /// Connected, so that the kernel lets nobody else answer. `None` over TCP, or where it could not be made.
    socket: Option<Rc<UdpSocket>>,
    connections: Arc<Semaphore>,
    /// Lines about its answers since a moment, in milliseconds of the process's clock.
    complaints: (u32, u64),
}

impl Exchange {
    /// Whether a line about a name server's answers may be written: a few a minute, however much nonsense it sends.
    pub(super) fn may_complain(&mut self, nameserver: usize, now_ms: u64) -> bool {
        let Some(way) = self.ways.get_mut(nameserver) else { return false };
        let (count, since) = &mut way.complaints;
        if now_ms.saturating_sub(*since) >= COMPLAINTS_MS {
            (*count, *since) = (0, now_ms);
        }
        *count = count.saturating_add(1);
        *count <= COMPLAINTS_MAX
    }

    /// Opens the sockets of a section. A name server that cannot be reached is tried again with each question.
    pub(super) fn new(
        number: u64,
        config: &Resolvers,
        counters: impl Fn(&str) -> Arc<Counters>,
        heard: mpsc::Sender<Heard>,
    ) -> Self {
        let way = |nameserver: &Nameserver| Way {
            counters: counters(&nameserver.name),
            connections: Arc::new(Semaphore::new(
                nameserver.tcp.unwrap_or(FALLBACK_CONNECTIONS_MAX) as usize,
            )),
            nameserver: nameserver.clone(),
            socket: None,
            complaints: (0, 0),
        };
        Self {
            number,
            ways: config.nameservers.iter().map(way).collect(),
            payload_size: config.payload_size,
            answer_within: Duration::from_millis(config.schedule.retry_ms),
            heard,
            tasks: JoinSet::new(),
        }
    }

    /// Sends a question to every name server; returns how many it went to.
    pub(super) fn ask(&mut self, id: u16, message: &[u8]) -> usize {
        // Those that have ended need not be kept in mind.
        while self.tasks.try_join_next().is_some() {}
        let mut asked = 0;
        for index in 0..self.ways.len() {
            let sent = match self.ways[index].nameserver.tcp {
                Some(_) => {
                    self.ask_over_tcp(index, id, message.to_vec());
                    true
                }
                None => self.send_datagram(index, message).is_ok(),
            };
            let counters = &self.ways[index].counters;
            if sent {
                counters.sent.fetch_add(1, Relaxed);
                asked += 1;
            } else {
                counters.send_errors.fetch_add(1, Relaxed);
            }
        }
        asked
    }

    /// Asks one name server over TCP, for instance because its answer did not fit into a datagram.
    pub(super) fn ask_over_tcp(&mut self, index: usize, id: u16, message: Vec<u8>) {
        let Some(way) = self.ways.get(index) else { return };
        let (address, connections) = (way.nameserver.address, Arc::clone(&way.connections));
        let (exchange, heard, within) = (self.number, self.heard.clone(), self.answer_within);
        self.tasks.spawn_local(async move {
            let asking = async {
                let _place = connections.acquire().await.ok()?;
                over_tcp(address, &message).await.ok()
            };
            let message = timeout(within, asking).await.ok().flatten();
            let from = Heard { exchange, nameserver: index, id, message, datagram: false };
            // Nobody listens any more: the process ends.
            let _ = heard.send(from).await;
        });
    }

    pub(super) fn counters(&self, index: usize) -> Option<&Counters> {
        self.ways.get(index).map(|way| &*way.counters)
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.ways.get(index).map_or("", |way| &way.nameserver.name)
    }

    fn send_datagram(&mut self, index: usize, message: &[u8]) -> io::Result<()> {
        let way = &mut self.ways[index];
        let socket = match &way.socket {
            Some(socket) => Rc::clone(socket),
            None => {
                let socket = Rc::new(open(way.nameserver.address)?);
                way.socket = Some(Rc::clone(&socket));
                let from = (self.number, index);
                let ear = listen(Rc::clone(&socket), from, self.payload_size, self.heard.clone());
                self.tasks.spawn_local(ear);
                socket
            }
        };
        // The reactor need not have seen the socket yet, and a datagram finds room or is lost anyway.
        match rustix::net::send(&*socket, message, SendFlags::DONTWAIT) {
            // The last answer was that nobody listens there; this question has not been sent.
            Err(Errno::CONNREFUSED) => {
                rustix::net::send(&*socket, message, SendFlags::DONTWAIT).map(|_| ())?;
            }
            sent => sent.map(|_| ())?,
        }
        Ok(())
    }
}

fn open(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Hands on what comes to a socket, for ever.
async fn listen(
    socket: Rc<UdpSocket>,
    (exchange, nameserver): (u64, usize),
    payload_size: u16,
    heard: mpsc::Sender<Heard>,
) {
    // A byte more shows what is too long.
    let mut buffer = vec![0; usize::from(payload_size) + 1];
    loop {
        let Ok(length) = socket.recv(&mut buffer).await else {
            // The answer of a machine without a name server: time runs out for the question.
            sleep(PAUSE).await;
            continue;
        };
        let message = buffer[..length].to_vec();
        let Some(id) = telamon_dns_proto::message_id(&message) else { continue };
        let from = Heard { exchange, nameserver, id, message: Some(message), datagram: true };
        if heard.send(from).await.is_err() {
            return;
        }
    }
}

/// One question on a connection of its own (RFC 7766): each message behind its length.
async fn over_tcp(address: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let options = ConnectOptions::default();
    let connected = connect(&Endpoint::Inet(address), &options).await;
    let socket = connected.map_err(|error| error.source)?;
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    socket.write_all(&[&length.to_be_bytes()[..], message].concat()).await?;
    let mut length = [0; 2];
    read_exact(&socket, &mut length).await?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exact(&socket, &mut answer).await?;
    Ok(answer)
}

async fn read_exact(socket: &Socket, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match socket.read(buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}

/// Before a socket that failed is listened to again.
const PAUSE: Duration = Duration::from_millis(10);
/// Connections that answers which did not fit into a datagram are asked for on, at a time and name server.
pub(super) const FALLBACK_CONNECTIONS_MAX: u32 = 4;

/// Lines about one name server in a minute.
const COMPLAINTS_MAX: u32 = 5;
const COMPLAINTS_MS: u64 = 60_000;
