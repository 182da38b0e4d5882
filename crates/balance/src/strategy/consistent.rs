//! `hash-type consistent`: members lie on a circle, a key belongs to the closest.
//!
//! Each member has sixteen points for each unit of weight, placed by its number. When one comes
//! or goes, only the keys next to its points move. The choices are HAProxy's to the key.

use super::bounded::Bound;
use super::ring::{PointId, Ring, place};
use super::{Candidates, Group, Key, Strategy, WEIGHT_SCALE};
use crate::member::MemberId;
use crate::rng::Rng;

/// A member by key on a circle; units without a key go round it point by point.
#[derive(Debug)]
pub struct Consistent {
    name: &'static str,
    ring: Ring,
    members: Vec<Points>,
    usable: usize,
    /// The point whose turn was last.
    turn: Option<PointId>,
    bound: Bound,
}

#[derive(Debug, Clone, Copy, Default)]
struct Points {
    number: u32,
    now: u32,
    /// As many as it ever had; more make HAProxy lay them all anew.
    most: u32,
}

impl Consistent {
    /// `name` says where the key comes from, in the word of the configuration: `uri`. With a
    /// `balance_factor` (percent, above 100; 0 is none) no member gets more than so much of the
    /// average load (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads",
    /// 2016).
    pub fn new(name: &'static str, balance_factor: u32) -> Self {
        Self {
            name,
            ring: Ring::default(),
            members: Vec::new(),
            usable: 0,
            turn: None,
            bound: Bound::new(balance_factor),
        }
    }

    fn set(&mut self, id: MemberId, count: u32) {
        let Points { number, now, most } = self.members[id.index()];
        // Points that are laid anew leave the circle first, and the turn moves on from them.
        let kept = if count > most { 0 } else { count };
        for nth in (kept..now).rev() {
            if let Some(removed) = self.ring.remove(place(number, nth), id)
                && self.turn == Some(removed.point)
            {
                self.turn = removed.behind;
            }
        }
        for nth in now.min(kept)..count {
            self.ring.insert(place(number, nth), id);
        }
        self.usable =
            self.usable + usize::from(now == 0 && count > 0) - usize::from(now > 0 && count == 0);
        self.members[id.index()] = Points { number, now: count, most: most.max(count) };
    }

    /// The next point whose member has a free slot and was not tried.
    fn next(&mut self, from: &Candidates<'_>) -> Option<MemberId> {
        let mut avoided = None;
        let mut at = self.turn;
        for _ in 0..self.ring.len() {
            let point = match at {
                Some(point) => self.ring.after(point)?,
                None => self.ring.first()?,
            };
            at = Some(point);
            let id = self.ring.member(point);
            if from.has_slot(id) {
                if !from.is_tried(id) {
                    self.turn = at;
                    return Some(id);
                }
                avoided = at;
            }
        }
        self.turn = avoided;
        None
    }
}

impl Strategy for Consistent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reset(&mut self, group: &Group<'_>) {
        self.ring.clear();
        (self.turn, self.usable) = (None, 0);
        let points = |member: &std::sync::Arc<crate::Member>| Points {
            number: member.number(),
            now: 0,
            most: member.weight_initial() * WEIGHT_SCALE,
        };
        self.members = group.members.iter().map(points).collect();
        for id in group.usable() {
            self.set(id, group.share(id));
        }
        self.bound.reset(group);
    }

    fn weight_changed(&mut self, id: MemberId, group: &Group<'_>) {
        self.set(id, group.share(id));
        self.bound.weight_changed(id, group);
    }

    /// A full member is chosen all the same: the key belongs to it, so the unit waits for it.
    fn pick(
        &mut self,
        from: &Candidates<'_>,
        key: Option<Key>,
        _rng: &mut Rng,
        _now_ms: u64,
    ) -> Option<MemberId> {
        let key = match key {
            Some(Key(key)) => key,
            // HAProxy does not look for a key then, and nobody's turn is over.
            None if self.usable == 1 => 0,
            None => return self.next(from),
        };
        let mut point = self.ring.closest(key)?;
        let mut fallback = None;
        for _ in 0..self.ring.len() {
            let id = self.ring.member(point);
            if !from.is_tried(id) {
                if self.bound.admits(id, &from.group()) {
                    return Some(id);
                }
                fallback = Some(id);
            }
            point = self.ring.after(point)?;
        }
        // Shares are rounded, so it can happen that nobody is left: HAProxy then takes the last
        // of the circle.
        let last = self.ring.last().map(|last| self.ring.member(last));
        last.filter(|id| !from.is_tried(*id)).or(fallback)
    }

    fn wants_feedback(&self) -> bool {
        self.bound.is_set()
    }

    fn load_changed(&mut self, id: MemberId, group: &Group<'_>) {
        self.bound.load_changed(id, group);
    }
}
