//! `ketama`: a member by key on a circle of points, the same member that nginx's
//! `hash … consistent` would choose.
//!
//! Each member has 160 points for each unit of weight. They are CRC-32 sums that are chained: of
//! host, a zero byte, port and the four bytes of the point before (zeros for the first). A key's
//! CRC-32 belongs to the first point that is not below it, round the circle. It is also the
//! distribution of Perl's `Cache::Memcached::Fast`, from which nginx has it.
//!
//! A member that is down keeps its points, and they are passed over; so its keys go where nginx
//! sends them, and the others keep theirs. After 20 points nginx gives up and goes in turn; here
//! the walk goes on. Members are known by their address as it is written, which is what nginx
//! hashes; further members at the same address are told apart by their names (nginx has them
//! share the points).
//!
//! 8 bytes a point, 1,280 for each unit of weight. A choice is a binary search.

use std::collections::HashSet;

use super::{Candidates, Group, Key, Strategy};
use crate::hash::{CRC32_ETHERNET, crc32};
use crate::member::MemberId;
use crate::rng::Rng;

/// A member by key, as nginx chooses; units without a key go round the circle.
#[derive(Debug, Default)]
pub struct Ketama {
    /// In order of the sums, which are all different.
    points: Vec<(u32, MemberId)>,
    /// The weights that the points were made for.
    weights: Vec<u32>,
    stale: bool,
    turn: usize,
}

impl Ketama {
    fn build(&mut self, group: &Group<'_>) {
        self.stale = false;
        self.points.clear();
        let mut places = HashSet::new();
        for (id, weight) in (0..).map(MemberId).zip(&mut self.weights) {
            *weight = match group.weight(id) {
                0 => *weight,
                weight => weight,
            };
            if *weight == 0 {
                continue;
            }
            let place = group.member(id).place();
            let mut base = base_of(&place);
            if !places.insert(place) || base.len() == 1 {
                base.extend_from_slice(group.member(id).name().as_bytes());
            }
            let len = base.len();
            let mut previous = 0u32;
            for _ in 0..*weight * POINTS {
                base.truncate(len);
                base.extend_from_slice(&previous.to_le_bytes());
                previous = crc32(&base, CRC32_ETHERNET);
                self.points.push((previous, id));
            }
        }
        self.points.sort_unstable();
        self.points.dedup_by_key(|(sum, _)| *sum);
    }
}

impl Strategy for Ketama {
    fn name(&self) -> &'static str {
        "ketama"
    }

    fn reset(&mut self, group: &Group<'_>) {
        self.weights = vec![0; group.len()];
        self.stale = true;
    }

    fn weight_changed(&mut self, id: MemberId, group: &Group<'_>) {
        let weight = group.weight(id);
        if weight != 0 && weight != self.weights[id.index()] {
            self.stale = true;
        }
    }

    /// A full member is chosen all the same: the key belongs to it, so the unit waits for it.
    fn pick(
        &mut self,
        from: &Candidates<'_>,
        key: Option<Key>,
        _rng: &mut Rng,
        _now_ms: u64,
    ) -> Option<MemberId> {
        if self.stale {
            self.build(&from.group());
        }
        let start = match key {
            Some(Key(key)) => self.points.partition_point(|(sum, _)| *sum < key),
            None => {
                self.turn = (self.turn + 1) % self.points.len().max(1);
                self.turn
            }
        };
        let (before, after) = self.points.split_at(start);
        let usable = |id: &MemberId| from.group().weight(*id) > 0 && !from.is_tried(*id);
        after.iter().chain(before).map(|(_, id)| *id).find(usable)
    }
}

/// Host, zero byte, port. A name without a port, and the path of a unix socket, is all host.
fn base_of(place: &str) -> Vec<u8> {
    // What is in front of an address here (`ipv4@`, `unix@`) and there (`unix:`) says its kind.
    let place = place.split_once('@').map_or(place, |(_, rest)| rest);
    let place = place.strip_prefix("unix:").unwrap_or(place);
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (place, ""),
    };
    [host.as_bytes(), b"\0", port.as_bytes()].concat()
}

/// Points for each unit of weight.
const POINTS: u32 = 160;

#[cfg(test)]
mod tests;
