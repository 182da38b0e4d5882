//! `first`: the member of the lowest number that has a free slot, so that the others may sleep.

use super::{Candidates, Group, Key, Strategy};
use crate::member::MemberId;
use crate::rng::Rng;

/// Fills members one after another, by their numbers. Useful only with limits.
#[derive(Debug, Default)]
pub struct First {
    order: Vec<MemberId>,
}

impl Strategy for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn reset(&mut self, group: &Group<'_>) {
        self.order.clear();
        self.order.reserve(group.len());
        self.order.extend(group.usable());
        self.order.sort_by_key(|id| (group.member(*id).number(), *id));
    }

    fn weight_changed(&mut self, _id: MemberId, group: &Group<'_>) {
        self.reset(group);
    }

    fn pick(
        &mut self,
        from: &Candidates<'_>,
        _key: Option<Key>,
        _rng: &mut Rng,
        _now_ms: u64,
    ) -> Option<MemberId> {
        self.order.iter().copied().find(|id| from.has_slot(*id) && !from.is_tried(*id))
    }

    fn waiting_means_full(&self) -> bool {
        true
    }
}
