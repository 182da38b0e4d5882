//! `static-rr`: each in turn through a table that only a member's coming and going changes.

use super::weight_map::WeightMap;
use super::{Candidates, Group, Key, Strategy};
use crate::member::MemberId;
use crate::rng::Rng;

/// Round robin over a fixed table; weights cannot change at run time.
#[derive(Debug, Default)]
pub struct StaticRr {
    map: WeightMap,
    next: usize,
}

impl Strategy for StaticRr {
    fn name(&self) -> &'static str {
        "static-rr"
    }

    fn reset(&mut self, group: &Group<'_>) {
        self.map.reset(group);
        self.next = 0;
    }

    fn weight_changed(&mut self, _id: MemberId, group: &Group<'_>) {
        self.map.build(group);
    }

    fn pick(
        &mut self,
        from: &Candidates<'_>,
        _key: Option<Key>,
        _rng: &mut Rng,
        _now_ms: u64,
    ) -> Option<MemberId> {
        let entries = self.map.entries();
        if self.next >= entries.len() {
            self.next = 0;
        }
        let order = (self.next..entries.len()).chain(0..self.next);
        let chosen = order.into_iter().find(|at| {
            let id = entries[*at];
            from.has_slot(id) && !from.is_tried(id)
        })?;
        self.next = chosen + 1;
        Some(entries[chosen])
    }

    fn waiting_means_full(&self) -> bool {
        true
    }

    fn follows_weights(&self) -> bool {
        false
    }
}
