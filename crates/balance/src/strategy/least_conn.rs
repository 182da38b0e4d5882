//! `leastconn`: the member with the fewest units for its weight.
//!
//! Members without any units are equal whatever their weight, so that light traffic spreads;
//! otherwise they go by `(units + 1) / weight`, equal ones in the order in which they came to
//! that load, which is round robin. Units that wait for a member count as its own.
//!
//! Members of one weight are kept in lists by their number of units; a unit moves its member by
//! one list, so nothing is searched.

use super::order::{Classes, Heap, Links, List};
use super::{Candidates, Group, Key, SHARE_MAX, Strategy};
use crate::member::MemberId;
use crate::rng::Rng;

/// Least connections in HAProxy's order.
#[derive(Debug, Default)]
pub struct LeastConn {
    members: Vec<Level>,
    links: Links,
    shares: Classes,
    classes: Vec<Class>,
    /// The classes by their first member's rank.
    heads: Heap,
    passed: Vec<u32>,
    arrivals: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Level {
    is_in: bool,
    /// By weight.
    class: u32,
    units: usize,
    arrival: u64,
}

/// The members of one weight.
#[derive(Debug, Clone, Default)]
struct Class {
    /// By number of units. As long as the most units a member of the class ever had.
    by_units: Vec<List>,
    /// No shorter list has members.
    lowest: usize,
    len: usize,
}

impl Strategy for LeastConn {
    fn name(&self) -> &'static str {
        "leastconn"
    }

    fn reset(&mut self, group: &Group<'_>) {
        *self = Self { passed: Vec::with_capacity(group.len()), ..Self::default() };
        self.members.resize(group.len(), Level::default());
        self.links.resize(group.len());
        for id in group.usable() {
            self.enter(id, group);
        }
    }

    fn weight_changed(&mut self, id: MemberId, group: &Group<'_>) {
        self.leave(id.0);
        self.members[id.index()].is_in = false;
        if group.share(id) > 0 {
            self.enter(id, group);
        }
    }

    fn pick(
        &mut self,
        from: &Candidates<'_>,
        _key: Option<Key>,
        _rng: &mut Rng,
        _now_ms: u64,
    ) -> Option<MemberId> {
        let chosen = loop {
            let Some(member) = self.first() else { break None };
            let id = MemberId(member);
            if from.has_room(id) && !from.is_tried(id) {
                break Some(id);
            }
            self.leave(member);
            self.passed.push(member);
        };
        // Last out, first in: each comes back to the head of its list, where it was.
        while let Some(member) = self.passed.pop() {
            let level = self.members[member as usize];
            let class = &mut self.classes[level.class as usize];
            self.links.push_front(&mut class.by_units[level.units], member);
            class.count_in(level.units);
            self.rank(level.class);
        }
        chosen
    }

    fn wants_feedback(&self) -> bool {
        true
    }

    fn load_changed(&mut self, id: MemberId, group: &Group<'_>) {
        let level = self.members[id.index()];
        if level.is_in && level.units != units(id, group) {
            self.unlink(id.0, level);
            self.enter(id, group);
        }
    }
}

impl LeastConn {
    fn first(&self) -> Option<u32> {
        self.classes[self.heads.first()? as usize].first()
    }

    fn enter(&mut self, id: MemberId, group: &Group<'_>) {
        let class = self.shares.of(group.share(id));
        if self.shares.len() > self.classes.len() {
            self.classes.push(Class::default());
            self.heads.grow(self.shares.len());
        }
        let units = units(id, group);
        let level = Level { is_in: true, class, units, arrival: self.arrivals };
        self.arrivals += 1;
        self.members[id.index()] = level;
        let class = &mut self.classes[level.class as usize];
        if class.by_units.len() <= level.units {
            class.by_units.resize(level.units + 1, List::default());
        }
        self.links.push_back(&mut class.by_units[level.units], id.0);
        class.count_in(level.units);
        self.rank(level.class);
    }

    fn leave(&mut self, member: u32) {
        let level = self.members[member as usize];
        if level.is_in {
            self.unlink(member, level);
            self.rank(level.class);
        }
    }

    /// Leaves the class's rank to the caller.
    fn unlink(&mut self, member: u32, level: Level) {
        let class = &mut self.classes[level.class as usize];
        self.links.remove(&mut class.by_units[level.units], member);
        class.len -= 1;
        while class.len > 0 && class.by_units[class.lowest].is_empty() {
            class.lowest += 1;
        }
    }

    fn rank(&mut self, class: u32) {
        match self.classes[class as usize].first() {
            Some(head) => {
                let level = self.members[head as usize];
                let key = match level.units as u64 {
                    0 => 0,
                    units => {
                        (units + 1) * u64::from(SHARE_MAX) / u64::from(self.shares.share(class))
                    }
                };
                self.heads.set(class, (key, level.arrival));
            }
            None => self.heads.remove(class),
        }
    }
}

impl Class {
    /// A member has come to the list of `units`.
    fn count_in(&mut self, units: usize) {
        self.lowest = if self.len == 0 { units } else { self.lowest.min(units) };
        self.len += 1;
    }

    fn first(&self) -> Option<u32> {
        if self.len == 0 { None } else { self.by_units[self.lowest].first() }
    }
}

fn units(id: MemberId, group: &Group<'_>) -> usize {
    let load = &group.member(id).load;
    load.current() as usize + load.queued() as usize
}
