//! The records of a name, as the last answers had them.

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::message::{Data, Record};

/// Records that count, in an order that does not depend on who answered: name servers turn theirs round.
#[derive(Debug, Clone, Default)]
pub struct Records(Vec<Seen>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    record: Record,
    last_ms: u64,
    /// When the address of an SRV record's target was last there.
    address_ms: u64,
}

impl Records {
    /// Takes in an answer. What it does not have is kept for `obsolete_ms` after it was last there.
    pub fn merge(&mut self, answer: Vec<Record>, now_ms: u64, obsolete_ms: u64) {
        for record in answer {
            let place = self.0.binary_search_by(|seen| order(&seen.record.data, &record.data));
            match place {
                Ok(at) => {
                    let seen = &mut self.0[at];
                    seen.last_ms = now_ms;
                    seen.record.weight = record.weight;
                    if record.address.is_some() {
                        (seen.record.address, seen.address_ms) = (record.address, now_ms);
                    }
                }
                Err(at) if self.0.len() < RECORDS_MAX => {
                    self.0.insert(at, Seen { record, last_ms: now_ms, address_ms: now_ms });
                }
                Err(_) => {}
            }
        }
        let is_old = |last_ms: u64| last_ms.saturating_add(obsolete_ms) < now_ms;
        self.0.retain(|seen| !is_old(seen.last_ms));
        for seen in &mut self.0 {
            if is_old(seen.address_ms) {
                seen.record.address = None;
            }
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.iter().map(|seen| &seen.record)
    }

    /// The addresses among them.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.iter().filter_map(|record| match record.data {
            Data::Address(ip) => Some(ip),
            Data::Service { .. } => None,
        })
    }
}

fn order(a: &Data, b: &Data) -> Ordering {
    match (a, b) {
        (Data::Address(a), Data::Address(b)) => a.cmp(b),
        (Data::Service { target: a, port: x }, Data::Service { target: b, port: y }) => {
            let lower = |byte: &u8| byte.to_ascii_lowercase();
            a.wire().iter().map(lower).cmp(b.wire().iter().map(lower)).then(x.cmp(y))
        }
        (Data::Address(_), Data::Service { .. }) => Ordering::Less,
        (Data::Service { .. }, Data::Address(_)) => Ordering::Greater,
    }
}

/// Records of one name that are remembered, at most; each takes some 100 bytes. The largest answer has 4,680.
const RECORDS_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[track_caller]
    fn check(records: &Records, expected: &str) {
        let shown: Vec<String> = records
            .iter()
            .map(|record| match (&record.data, record.address) {
                (Data::Address(ip), _) => ip.to_string(),
                (Data::Service { target, port }, None) => format!("{target}:{port}"),
                (Data::Service { target, port }, Some(ip)) => format!("{target}:{port}={ip}"),
            })
            .collect();
        assert_eq!(shown.join(" "), expected);
    }

    fn addresses(list: &[&str]) -> Vec<Record> {
        list.iter().map(|ip| Record::of_address(ip.parse().expect("an address"))).collect()
    }

    #[test]
    fn what_is_not_in_the_answer_is_kept_for_a_while() {
        let mut records = Records::default();
        records.merge(addresses(&["10.0.0.2", "10.0.0.1"]), 0, 50);
        check(&records, "10.0.0.1 10.0.0.2");
        records.merge(addresses(&["10.0.0.3"]), 50, 50);
        check(&records, "10.0.0.1 10.0.0.2 10.0.0.3");
        records.merge(addresses(&["10.0.0.2"]), 51, 50);
        check(&records, "10.0.0.2 10.0.0.3");
        records.merge(addresses(&["10.0.0.9"]), 102, 0);
        check(&records, "10.0.0.9");
    }

    #[test]
    fn a_targets_address_is_forgotten_before_the_target() {
        let service = |address: Option<&str>| {
            let target = Name::parse("a.example").expect("a name");
            let data = Data::Service { target, port: 80 };
            let address = address.map(|ip| ip.parse().expect("an address"));
            vec![Record { data, weight: 1, address }]
        };
        let mut records = Records::default();
        records.merge(service(Some("10.0.0.1")), 0, 10);
        records.merge(service(None), 10, 10);
        check(&records, "a.example:80=10.0.0.1");
        records.merge(service(None), 11, 10);
        check(&records, "a.example:80");
        records.merge(service(Some("10.0.0.2")), 12, 10);
        check(&records, "a.example:80=10.0.0.2");
    }
}
