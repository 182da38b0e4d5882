//! Which record goes to which server. Pure: what was found and who wants what in, who gets what out.
//!
//! A server keeps what it has as long as the name has it; what is new goes to those that have nothing. Source: HAProxy
//! configuration manual, `server-template`, `resolve-prefer`, `resolve-net`, `resolve-opts`.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use telamon_dns_proto::{Data, Kind, Name, Record};

use crate::model::ProxyId;

/// A server that takes an address of a host.
#[derive(Debug, Clone)]
pub(super) struct Taker<'a> {
    pub(super) backend: ProxyId,
    /// The port that an SRV record gave it: the same address at another port is another place then.
    pub(super) port: Option<u16>,
    pub(super) wishes: Wishes<'a>,
    /// The address that it took from an earlier answer.
    pub(super) taken: Option<IpAddr>,
    /// Where it is, whoever said so.
    pub(super) current: Option<IpAddr>,
}

/// Which addresses are welcome.
#[derive(Clone, Copy)]
pub(super) struct Wishes<'a> {
    /// A or AAAA.
    pub(super) family: Kind,
    /// Whether it lies in a preferred network.
    pub(super) is_near: &'a dyn Fn(IpAddr) -> bool,
    pub(super) allow_duplicates: bool,
}

impl std::fmt::Debug for Wishes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wishes").field("family", &self.family).finish_non_exhaustive()
    }
}

/// Gives each server an address of the host, or none, in their order; `takers` are all that ask for that host.
pub(super) fn share_out(addresses: &[IpAddr], takers: &mut [Taker<'_>]) {
    let known: HashSet<IpAddr> = addresses.iter().copied().collect();
    // By backend: who has what, and with which ports.
    let mut given: HashMap<ProxyId, HashMap<IpAddr, Vec<Option<u16>>>> = HashMap::new();
    for taker in takers.iter_mut() {
        taker.taken = taker.taken.filter(|ip| known.contains(ip));
        if let Some(ip) = taker.taken {
            given.entry(taker.backend).or_default().entry(ip).or_default().push(taker.port);
        }
    }
    for taker in takers.iter_mut().filter(|taker| taker.taken.is_none()) {
        let given = given.entry(taker.backend).or_default();
        if given.len() == known.len() && taker.port.is_none() && !taker.wishes.allow_duplicates {
            continue;
        }
        let is_taken = |ip: IpAddr| {
            let ports = given.get(&ip).map(Vec::as_slice).unwrap_or_default();
            let same =
                |port: &Option<u16>| taker.port.is_none() || port.is_none() || *port == taker.port;
            ports.iter().any(same)
        };
        taker.taken = choose(addresses, &taker.wishes, taker.current, is_taken);
        if let Some(ip) = taker.taken {
            given.entry(ip).or_default().push(taker.port);
        }
    }
}

/// The best address: of the preferred family, then of a preferred network, then one that nobody else has, then the
/// current one; the first of equals.
pub(super) fn choose(
    addresses: &[IpAddr],
    wishes: &Wishes<'_>,
    current: Option<IpAddr>,
    is_taken: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut best: Option<((bool, bool, bool, bool), IpAddr)> = None;
    for ip in addresses.iter().copied() {
        let taken = is_taken(ip);
        if taken && !wishes.allow_duplicates {
            continue;
        }
        let score = (
            ip.is_ipv4() == (wishes.family == Kind::A),
            (wishes.is_near)(ip),
            !taken,
            current == Some(ip),
        );
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, ip));
        }
    }
    best.map(|(_, ip)| ip)
}

/// A server of a service: the host and port that it stands for.
pub(super) type Slot = Option<(Name, u16)>;

/// What becomes of one of a service's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has this record: a new one, or the same again with what may be new about it.
    Filled(Record),
    /// Its record is gone, and no other is there for it.
    Emptied,
}

/// Gives each record of a service a server: one that has none, else one whose own is gone. Returns what becomes of the
/// servers that have or had a record, in an order that leaves no moment without servers: gains before losses. Of several
/// records for one host and port the last counts.
pub(super) fn fill(slots: &mut [Slot], records: &[Record]) -> Vec<(usize, Turn)> {
    let mut by_place: HashMap<(Name, u16), &Record> = HashMap::new();
    for record in records {
        if let Data::Service { target, port } = &record.data {
            by_place.insert((target.clone(), *port), record);
        }
    }
    let mut turns = Vec::new();
    let (mut empty, mut lost) = (Vec::new(), Vec::new());
    for (index, slot) in slots.iter().enumerate() {
        match slot.as_ref().map(|held| by_place.remove(held)) {
            Some(Some(record)) => turns.push((index, Turn::Filled(record.clone()))),
            Some(None) => lost.push(index),
            None => empty.push(index),
        }
    }
    let mut free = empty.into_iter().chain(lost.iter().copied());
    for record in records {
        let Data::Service { target, port } = &record.data else { continue };
        let place = (target.clone(), *port);
        if let Some(record) = by_place.remove(&place)
            && let Some(index) = free.next()
        {
            slots[index] = Some(place);
            turns.push((index, Turn::Filled(record.clone())));
        }
    }
    let left: HashSet<usize> = free.collect();
    for index in lost.into_iter().filter(|index| left.contains(index)) {
        slots[index] = None;
        turns.push((index, Turn::Emptied));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers as `family[!][=current][@taken]`, separated by spaces; `!` allows duplicates. Shows what each takes.
    #[track_caller]
    fn check(addresses: &str, takers: &str, expected: &str) {
        let near = |ip: IpAddr| ip.to_string().starts_with("10.9.");
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let addresses: Vec<IpAddr> = addresses.split_whitespace().map(ip).collect();
        let mut takers: Vec<Taker<'_>> = takers
            .split_whitespace()
            .map(|word| {
                let (word, taken) =
                    word.split_once('@').map_or((word, None), |(w, t)| (w, Some(t)));
                let (word, current) =
                    word.split_once('=').map_or((word, taken), |(w, c)| (w, Some(c)));
                Taker {
                    backend: ProxyId(u32::from(word.contains('B'))),
                    port: word.contains("80").then_some(80).or(word.contains("81").then_some(81)),
                    wishes: Wishes {
                        family: if word.starts_with('4') { Kind::A } else { Kind::Aaaa },
                        is_near: &near,
                        allow_duplicates: word.contains('!'),
                    },
                    taken: taken.map(ip),
                    current: current.map(ip),
                }
            })
            .collect();
        share_out(&addresses, &mut takers);
        let shown: Vec<String> = takers
            .iter()
            .map(|taker| taker.taken.map_or_else(|| "-".to_owned(), |ip| ip.to_string()))
            .collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn each_server_takes_an_address_of_its_own() {
        check("10.0.0.1 10.0.0.2", "4 4 4", "10.0.0.1 10.0.0.2 -");
        check("10.0.0.1 10.0.0.2", "4! 4! 4!", "10.0.0.1 10.0.0.2 10.0.0.1");
        // Backends do not mind one another, nor do ports that SRV records give.
        check("10.0.0.1", "4 4B", "10.0.0.1 10.0.0.1");
        check("10.0.0.1", "480 481 481", "10.0.0.1 10.0.0.1 -");
        check("", "4 6", "- -");
    }

    #[test]
    fn servers_keep_what_they_have() {
        check("10.0.0.1 10.0.0.2", "4@10.0.0.2 4", "10.0.0.2 10.0.0.1");
        check("10.0.0.1 10.0.0.2", "4 4@10.0.0.1", "10.0.0.2 10.0.0.1");
        check("10.0.0.2", "4@10.0.0.1 4@10.0.0.2", "- 10.0.0.2");
        check("10.0.0.1 10.0.0.2", "4=10.0.0.2 4", "10.0.0.2 10.0.0.1");
        check("10.0.0.1 10.0.0.2", "4=10.0.0.2 4@10.0.0.2", "10.0.0.1 10.0.0.2");
        // An address that is taken is kept though a better one has come.
        check("10.0.0.1 ::1", "6@10.0.0.1", "10.0.0.1");
    }

    #[test]
    fn families_go_before_networks_and_these_before_habit() {
        check("10.0.0.1 ::1", "6", "::1");
        check("10.0.0.1 ::1", "4", "10.0.0.1");
        check("10.0.0.1", "6", "10.0.0.1");
        check("10.0.0.1 10.9.0.1", "4", "10.9.0.1");
        check("10.0.0.1 10.9.0.1", "4=10.0.0.1", "10.9.0.1");
        check("10.9.0.1 ::1", "6", "::1");
        // Better a shared address near than one's own far away.
        check("10.0.0.1 10.9.0.1", "4! 4!", "10.9.0.1 10.9.0.1");
    }

    /// Slots and records as `host:port`, `-` for an empty slot.
    #[track_caller]
    fn check_fill(slots: &str, records: &str, expected: &str) {
        let read = |word: &str| {
            let (host, port) = word.split_once(':')?;
            Some((Name::parse(host).expect("a name"), port.parse().expect("a port")))
        };
        let mut slots: Vec<Slot> = slots.split_whitespace().map(read).collect();
        let records: Vec<Record> = records
            .split_whitespace()
            .filter_map(read)
            .map(|(target, port)| {
                let data = Data::Service { target, port };
                Record { data, weight: 1, address: None }
            })
            .collect();
        let emptied = fill(&mut slots, &records)
            .into_iter()
            .filter_map(|(index, turn)| (turn == Turn::Emptied).then(|| format!("!{index}")));
        let emptied: Vec<String> = emptied.collect();
        let shown = slots.iter().map(|slot| match slot {
            Some((name, port)) => format!("{name}:{port}"),
            None => "-".to_owned(),
        });
        let shown: Vec<String> = shown.chain(emptied).collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn the_last_of_two_records_for_one_place_counts() {
        let record = |weight| {
            let data = Data::Service { target: Name::parse("a").expect("a name"), port: 1 };
            Record { data, weight, address: None }
        };
        let records = [record(10), record(20)];
        let mut slots = vec![None, None];
        // When it comes, and when it is confirmed.
        for _ in 0..2 {
            assert_eq!(fill(&mut slots, &records), [(0, Turn::Filled(record(20)))]);
        }
    }

    #[test]
    fn records_go_to_empty_slots() {
        check_fill("- - -", "a:1 b:1", "a:1 b:1 -");
        check_fill("- -", "a:1 b:1 c:1", "a:1 b:1");
        check_fill("a:1 b:1 -", "c:1 b:1 a:1", "a:1 b:1 c:1");
        check_fill("a:1 b:1 -", "b:1", "- b:1 - !0");
        check_fill("a:1 b:1", "b:1 c:1", "c:1 b:1");
        check_fill("a:1 b:1 -", "b:1 c:1", "- b:1 c:1 !0");
        check_fill("a:1", "a:2", "a:2");
        check_fill("A:1", "a:1", "A:1");
        check_fill("a:1 b:1", "", "- - !0 !1");
    }
}
