//! A table with one entry per unit of weight, for strategies that look up instead of order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Candidates, Group};
use crate::member::MemberId;

/// Members spread over as many entries as their weights add up to, in HAProxy's order.
///
/// Weights are divided by the greatest common divisor of those that the configuration gave.
/// At most 4 bytes for each unit of weight, that is 1 KiB per member.
#[derive(Debug, Default)]
pub(crate) struct WeightMap {
    entries: Vec<MemberId>,
    divisor: u32,
    /// The entry whose turn is next; it stays when the table changes.
    turn: usize,
    /// Different members in the table.
    members: usize,
}

impl WeightMap {
    /// Fixes the divisor by the configuration's weights, then builds.
    pub(crate) fn reset(&mut self, group: &Group<'_>) {
        let initial = group.members.iter().map(|member| member.weight_initial());
        self.divisor = initial.fold(0, gcd).max(1);
        self.turn = 0;
        self.build(group);
    }

    /// Spreads the members anew. A member earns its weight at each entry and pays the total when
    /// it gets one. An entry goes to the first member of those whose balance is highest when
    /// counted in whole totals; found through a queue of the moments at which balances pass a
    /// multiple, so that the cost is `entries * log(members)`.
    pub(crate) fn build(&mut self, group: &Group<'_>) {
        let divisor = self.divisor.max(1);
        let weight = |id: MemberId| u64::from(group.weight(id).div_ceil(divisor));
        let total: u64 = group.usable().map(weight).sum();
        self.members = group.usable().count();
        self.entries.clear();
        self.entries.reserve(total as usize);
        // (entry at which it happens, member): the member's balance passes one more total.
        let mut passes = BinaryHeap::new();
        // (totals in the balance, member); outdated ones are dropped when met.
        let mut richest = BinaryHeap::new();
        let mut state = vec![(0i64, 0u64); group.len()]; // totals in the balance, passes so far
        for id in group.usable() {
            richest.push((0, Reverse(id)));
            passes.push(Reverse((total.div_ceil(weight(id)), id)));
        }
        for entry in 1..=total {
            while let Some(&Reverse((when, id))) = passes.peek()
                && when <= entry
            {
                passes.pop();
                let (level, count) = &mut state[id.index()];
                *level += 1;
                *count += 1;
                richest.push((*level, Reverse(id)));
                passes.push(Reverse(((total * (*count + 1)).div_ceil(weight(id)), id)));
            }
            while let Some((level, Reverse(id))) = richest.pop() {
                if level == state[id.index()].0 {
                    state[id.index()].0 -= 1;
                    richest.push((level - 1, Reverse(id)));
                    self.entries.push(id);
                    break;
                }
            }
        }
    }

    pub(crate) fn entries(&self) -> &[MemberId] {
        &self.entries
    }

    /// Whether all entries are of the same member.
    pub(crate) fn is_of_one(&self) -> bool {
        self.members == 1
    }

    /// The next entry in turn whose member has a free slot and was not tried.
    pub(crate) fn next(&mut self, from: &Candidates<'_>) -> Option<MemberId> {
        if self.turn >= self.entries.len() {
            self.turn = 0;
        }
        let mut order = (self.turn..self.entries.len()).chain(0..self.turn);
        let chosen = order.find(|at| {
            let id = self.entries[*at];
            from.has_slot(id) && !from.is_tried(id)
        })?;
        self.turn = chosen + 1;
        Some(self.entries[chosen])
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
