//! `static-rr`: each in turn through a table that only a member's coming and going changes.

use super::weight_map::WeightMap;
use super::{Candidates, Group, Key, Strategy};
use crate::member::MemberId;
use crate::rng::Rng;

/// Round robin over a fixed table; weights cannot change at run time.
#[derive(Debug, Default)]
pub struct StaticRr {
    map: WeightMap,
}

impl Strategy for StaticRr {
    fn name(&self) -> &'static str {
        "static-rr"
    }

    fn reset(&mut self, group: &Group<'_>) {
        self.map.reset(group);
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
        self.map.next(from)
    }

    fn waiting_means_full(&self) -> bool {
        true
    }

    fn follows_weights(&self) -> bool {
        false
    }
}
