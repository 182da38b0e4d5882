//! `hash-type map-based`: the key's remainder picks an entry of a table.
//!
//! Perfectly even, and most keys move when a member comes or goes. Weights are those of the
//! configuration; at run time a member is only in or out.

use super::weight_map::WeightMap;
use super::{Candidates, Group, Key, Strategy};
use crate::member::MemberId;
use crate::rng::Rng;

/// A member by key through a table; units without a key go round the same table.
#[derive(Debug)]
pub struct MapBased {
    name: &'static str,
    map: WeightMap,
}

impl MapBased {
    /// `name` says where the key comes from, in the word of the configuration: `source`.
    pub fn new(name: &'static str) -> Self {
        Self { name, map: WeightMap::default() }
    }
}

impl Strategy for MapBased {
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
        let key = match key {
            Some(Key(key)) => key,
            // HAProxy does not look for a key then, and nobody's turn is over.
            None if self.map.is_of_one() => 0,
            None => return self.map.next(from),
        };
        let entries = self.map.entries();
        let start = (key as usize).checked_rem(entries.len())?;
        let (before, after) = entries.split_at(start);
        after.iter().chain(before).copied().find(|id| !from.is_tried(*id))
    }

    fn follows_weights(&self) -> bool {
        false
    }
}
