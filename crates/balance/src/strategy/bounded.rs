//! `hash-balance-factor`: how much of the load a member may have.

use super::Group;
use crate::member::MemberId;

/// Each member's share of `factor` percent of the load, by weight, in whole units.
///
/// It has to hear of every change of load, which is counted here: the sum must be that of one
/// moment.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    /// Percent; 0 is no bound.
    factor: u64,
    loads: Vec<Share>,
    served: u64,
    weight: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Share {
    load: u32,
    weight: u32,
    /// Weights of the members in front of it, when the pool was made. HAProxy does not follow
    /// changes here, and who gets the rounded part depends on it.
    before: u64,
}

impl Bound {
    pub(crate) fn new(factor: u32) -> Self {
        Self { factor: factor.into(), ..Self::default() }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.factor > 0
    }

    pub(crate) fn reset(&mut self, group: &Group<'_>) {
        if !self.is_set() {
            return;
        }
        (self.served, self.weight) = (0, 0);
        self.loads.clear();
        for id in (0..group.len() as u32).map(MemberId) {
            let (load, weight) = (group.member(id).load.current(), group.share(id));
            let before = if weight > 0 { self.weight } else { 0 };
            self.loads.push(Share { load, weight, before });
            self.served += u64::from(load);
            self.weight += u64::from(weight);
        }
    }

    pub(crate) fn weight_changed(&mut self, id: MemberId, group: &Group<'_>) {
        if let Some(share) = self.loads.get_mut(id.index()) {
            self.weight = self.weight - u64::from(share.weight) + u64::from(group.share(id));
            share.weight = group.share(id);
        }
    }

    pub(crate) fn load_changed(&mut self, id: MemberId, group: &Group<'_>) {
        if let Some(share) = self.loads.get_mut(id.index()) {
            let load = group.member(id).load.current();
            self.served = self.served - u64::from(share.load) + u64::from(load);
            share.load = load;
        }
    }

    /// Whether the member may have one unit more.
    pub(crate) fn admits(&self, id: MemberId, group: &Group<'_>) -> bool {
        if !self.is_set() || self.weight == 0 {
            return true;
        }
        let Some(share) = self.loads.get(id.index()) else { return true };
        let slots = ((self.served + 1) * self.factor).div_ceil(100);
        let weight = u64::from(share.weight);
        let (each, rest) = (slots / self.weight, slots % self.weight);
        let rounded = |before: u64| before * rest / self.weight;
        let own = weight * each + rounded(share.before + weight) - rounded(share.before);
        u64::from(group.member(id).load.current()) < own.max(1)
    }
}
