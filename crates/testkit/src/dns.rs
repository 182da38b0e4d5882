//! A name server that says what a test tells it to.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A name server on a loopback port, over UDP and TCP. It runs until the process ends.
#[derive(Debug, Clone)]
pub struct DnsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    zone: Mutex<HashMap<String, Vec<String>>>,
    manner: Mutex<DnsManner>,
    over_udp: AtomicUsize,
    over_tcp: AtomicUsize,
}

/// How it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DnsManner {
    /// What the zone has; a name that it does not have does not exist.
    #[default]
    Answers,
    /// Not at all.
    Silent,
    /// With this RCODE.
    Fails(u8),
    /// Over UDP always truncated.
    Truncates,
    /// With a record that is cut off in the middle.
    Mangles,
    /// As if another name had been asked for.
    Confuses,
}

impl DnsServer {
    /// Starts one that knows no name.
    ///
    /// # Panics
    /// Without a free port.
    pub fn start() -> Self {
        // The same port has to be free for both.
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
                let tcp = TcpListener::bind(udp.local_addr().ok()?).ok()?;
                Some((udp, tcp))
            })
            .expect("a free port");
        let address = udp.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let server = Self { address, shared };
        let (a, b) = (server.clone(), server.clone());
        thread::spawn(move || a.serve_udp(&udp));
        thread::spawn(move || b.serve_tcp(&tcp));
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the records of a name: `A 10.0.0.1`, `AAAA ::1`, `CNAME host`, `SRV weight port host`. The addresses of an SRV
    /// record's host come along if it is in the zone.
    pub fn set(&self, name: &str, records: &[&str]) {
        let records = records.iter().map(|record| (*record).to_owned()).collect();
        self.zone().insert(name.to_owned(), records);
    }

    /// The name does not exist any more.
    pub fn remove(&self, name: &str) {
        self.zone().remove(name);
    }

    pub fn behave(&self, manner: DnsManner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// Questions so far, over UDP and over TCP.
    pub fn questions(&self) -> (usize, usize) {
        (self.shared.over_udp.load(Ordering::SeqCst), self.shared.over_tcp.load(Ordering::SeqCst))
    }

    fn zone(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.shared.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            self.shared.over_udp.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = self.answer(&buffer[..count], true) {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let server = self.clone();
            thread::spawn(move || server.serve_stream(stream));
        }
    }

    fn serve_stream(&self, mut stream: TcpStream) {
        loop {
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                return;
            }
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut message).is_err() {
                return;
            }
            self.shared.over_tcp.fetch_add(1, Ordering::SeqCst);
            let Some(answer) = self.answer(&message, false) else { return };
            let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            if stream.write_all(&framed).is_err() {
                return;
            }
        }
    }

    fn answer(&self, question: &[u8], datagram: bool) -> Option<Vec<u8>> {
        let manner = *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, end) = read_name(question)?;
        let kind = u16::from_be_bytes(question.get(end..end + 2)?.try_into().ok()?);
        let zone = self.zone();
        let mut answers = Vec::new();
        let mut extra = Vec::new();
        let mut owner = name.clone();
        while let Some(alias) = zone
            .get(&owner)
            .and_then(|records| records.iter().find_map(|record| record.strip_prefix("CNAME ")))
        {
            answers.push(record(&owner, 5, &wire_name(alias)));
            owner = alias.to_owned();
        }
        for text in zone.get(&owner).into_iter().flatten() {
            let Some((of_kind, data)) = read_record(text).filter(|(found, _)| *found == kind)
            else {
                continue;
            };
            answers.push(record(&owner, of_kind, &data));
            if let Some(target) = text.strip_prefix("SRV ").and_then(|rest| rest.split(' ').nth(2))
            {
                let addresses =
                    zone.get(target).into_iter().flatten().filter_map(|t| read_record(t));
                extra.extend(addresses.map(|(kind, data)| record(target, kind, &data)));
            }
        }
        let mut flags: u16 = 0x8180;
        match manner {
            DnsManner::Silent => return None,
            DnsManner::Fails(code) => {
                flags |= u16::from(code);
                answers.clear();
            }
            DnsManner::Truncates if datagram => {
                flags |= 0x0200;
                answers.clear();
            }
            _ if !zone.contains_key(&owner) => flags |= 3,
            _ => {}
        }
        let mut out = question.get(..2)?.to_vec();
        out.extend(flags.to_be_bytes());
        for count in [1, answers.len(), 0, extra.len()] {
            out.extend((count as u16).to_be_bytes());
        }
        match manner {
            DnsManner::Confuses => {
                out.extend(wire_name("somebody.else"));
                out.extend(question.get(end..end + 4)?);
            }
            _ => out.extend(question.get(12..end + 4)?),
        }
        out.extend(answers.concat());
        out.extend(extra.concat());
        if manner == DnsManner::Mangles {
            out.truncate(out.len() - 2);
        }
        Some(out)
    }
}

/// The name that is asked for, in lower case, and where its question goes on.
fn read_name(question: &[u8]) -> Option<(String, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*question.get(at)?);
        let label = question.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(label).to_lowercase());
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut out: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat()).collect();
    out.push(0);
    out
}

/// The type and data of a record as [`DnsServer::set`] writes it; a CNAME is not one to answer with by itself.
fn read_record(text: &str) -> Option<(u16, Vec<u8>)> {
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["A" | "AAAA", address] => match address.parse().expect("an address") {
            IpAddr::V4(ip) => Some((1, ip.octets().to_vec())),
            IpAddr::V6(ip) => Some((28, ip.octets().to_vec())),
        },
        ["SRV", weight, port, host] => {
            let numbers =
                [0, weight.parse::<u16>().expect("a weight"), port.parse().expect("a port")];
            let mut data: Vec<u8> = numbers.iter().flat_map(|n: &u16| n.to_be_bytes()).collect();
            data.extend(wire_name(host));
            Some((33, data))
        }
        _ => None,
    }
}

fn record(owner: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = wire_name(owner);
    out.extend(kind.to_be_bytes());
    out.extend([0, 1, 0, 0, 0, 1]); // class IN, a second
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}
