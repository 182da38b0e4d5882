//! `source` and every other strategy by key: the same key, the same member.
//!
//! The key picks an entry of a table by its remainder, as HAProxy's `hash-type map-based` does:
//! perfectly even, and most keys move when a member comes or goes.

use super::weight_map::WeightMap;
use super::{Candidates, Group, Key, Strategy};
use crate::member::MemberId;
use crate::rng::Rng;

/// A member by key; a unit without a key gets none and has to be given to another strategy.
#[derive(Debug)]
pub struct Hash {
    name: &'static str,
    map: WeightMap,
}

impl Hash {
    /// By the client's address ([`Key::of_address`]).
    pub fn source() -> Self {
        Self { name: "source", map: WeightMap::default() }
    }
}

impl Strategy for Hash {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reset(&mut self, group: &Group<'_>) {
        self.map.reset(group);
    }

    fn weight_changed(&mut self, _id: MemberId, group: &Group<'_>) {
        self.map.build(group);
    }

    /// A full member is chosen all the same: the key belongs to it, so the unit waits for it. A
    /// member that was tried is passed over for the next in the table (HAProxy insists on it).
    fn pick(
        &mut self,
        from: &Candidates<'_>,
        key: Option<Key>,
        _rng: &mut Rng,
        _now_ms: u64,
    ) -> Option<MemberId> {
        let entries = self.map.entries();
        let start = (key?.0 as usize).checked_rem(entries.len())?;
        let (before, after) = entries.split_at(start);
        after.iter().chain(before).copied().find(|id| !from.is_tried(*id))
    }

    fn follows_weights(&self) -> bool {
        false
    }
}
