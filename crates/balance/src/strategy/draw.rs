//! Drawing members at random in proportion to their weights, at one cost for any number of them.
//!
//! A table with one cell per member (the alias method: Walker 1977, in the form of Vose, "A
//! linear algorithm for generating random numbers with a given distribution", 1991). A cell keeps
//! its own member or, by its share, gives another one. Made anew at the first draw after a weight
//! changed, so that a change of thousands costs one making.

use super::{Candidates, Group};
use crate::member::MemberId;
use crate::rng::Rng;

/// Draws by weight. 16 bytes per member.
#[derive(Debug, Default)]
pub(crate) struct Draw {
    cells: Vec<Cell>,
    stale: bool,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    own: u32,
    other: u32,
    /// The share of draws that keep their own member, of 2^64.
    keep: u64,
}

impl Draw {
    /// Weights have changed.
    pub(crate) fn invalidate(&mut self) {
        self.stale = true;
    }

    /// Draws two members that have a slot and were not tried, different ones unless chance
    /// insists. `None` when there is none.
    pub(crate) fn two(
        &mut self,
        from: &Candidates<'_>,
        rng: &mut Rng,
    ) -> Option<(MemberId, MemberId)> {
        if self.stale {
            self.build(&from.group());
        }
        let fits = |id: &MemberId| from.has_slot(*id) && !from.is_tried(*id);
        let first = match (0..TRIES).filter_map(|_| self.one(rng)).find(fits) {
            Some(id) => id,
            // Few are free: look at each once, from anywhere.
            None => {
                let start = rng.below(self.cells.len() as u64) as usize;
                let (before, after) = self.cells.split_at(start);
                after.iter().chain(before).map(|cell| MemberId(cell.own)).find(fits)?
            }
        };
        let mut others = (0..TRIES_OTHER).filter_map(|_| self.one(rng));
        let second = others.find(|id| *id != first && fits(id)).unwrap_or(first);
        Some((first, second))
    }

    fn one(&self, rng: &mut Rng) -> Option<MemberId> {
        // The whole part of the product is the cell, what is left of it decides inside.
        let point = u128::from(rng.draw()) * self.cells.len() as u128;
        let cell = self.cells.get((point >> 64) as usize)?;
        Some(MemberId(if (point as u64) < cell.keep { cell.own } else { cell.other }))
    }

    fn build(&mut self, group: &Group<'_>) {
        self.stale = false;
        self.cells.clear();
        let count = group.usable().count() as u64;
        let total: u64 = group.usable().map(|id| u64::from(group.share(id))).sum();
        // What each has of its cell; those with less than a whole one are filled by the others.
        let mut have = Vec::with_capacity(count as usize);
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for (at, id) in group.usable().enumerate() {
            let share = u64::from(group.share(id)) * count;
            have.push(share);
            if share < total { &mut small } else { &mut large }.push(at);
            self.cells.push(Cell { own: id.0, other: id.0, keep: u64::MAX });
        }
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            self.cells[poor].keep = ((u128::from(have[poor]) << 64) / u128::from(total)) as u64;
            self.cells[poor].other = self.cells[rich].own;
            have[rich] -= total - have[poor];
            if have[rich] < total {
                large.pop();
                small.push(rich);
            }
        }
    }
}

/// Draws until one is found that has a slot, before all are looked at.
const TRIES: u32 = 8;

/// Draws until the second is not the first. Where one member has nearly all the weight, a second
/// draw that had to differ would give the others far more than their share.
const TRIES_OTHER: u32 = 8;
