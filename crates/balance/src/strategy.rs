//! How a member is chosen: the contract, and one file for each way.
//!
//! A strategy sees the members of one group (the regular members of a pool, or its backups) by
//! their committed weights; weight 0 is a member that must not be chosen. The pool holds its
//! lock around every call, so a strategy keeps plain state and needs no atomics of its own. It
//! sees neither sockets nor a clock: load and weights come from [`Candidates`], time from
//! `now_ms`, randomness from `rng`, so a seed replays every choice.
//!
//! A new strategy is one file here with its own table of tests; nothing else has to know it.

mod bounded;
mod by_usage;
mod consistent;
mod draw;
mod first;
mod ketama;
mod least_conn;
mod least_time;
mod maglev;
mod map_based;
mod order;
mod p2c;
mod random;
mod ring;
mod round_robin;
mod static_rr;
mod weight_map;

use std::fmt;
use std::sync::Arc;

use crate::member::{Member, MemberId, WEIGHT_MAX};
use crate::rng::Rng;

pub use by_usage::ByUsage;
pub use consistent::Consistent;
pub use first::First;
pub use ketama::Ketama;
pub use least_conn::LeastConn;
pub use least_time::LeastTime;
pub use maglev::{Maglev, is_prime};
pub use map_based::MapBased;
pub use p2c::P2c;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use static_rr::StaticRr;

/// Chooses a member of a group for one unit of work.
pub trait Strategy: fmt::Debug + Send {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Begins anew with these members. Called before anything else.
    fn reset(&mut self, group: &Group<'_>);

    /// `group.weight(id)` has changed, from or to 0 included.
    fn weight_changed(&mut self, id: MemberId, group: &Group<'_>);

    /// Returns a member for the unit, or `None` when each is full or tried.
    ///
    /// The answer may be a member without a free slot: the unit then waits for that member
    /// alone, which is what keyed strategies want. Strategies without a key ignore `key`.
    fn pick(
        &mut self,
        from: &Candidates<'_>,
        key: Option<Key>,
        rng: &mut Rng,
        now_ms: u64,
    ) -> Option<MemberId>;

    /// Whether units that wait for any member prove that all are full, so that newcomers need
    /// not look.
    fn waiting_means_full(&self) -> bool {
        false
    }

    /// Whether [`load_changed`](Self::load_changed) is to be called; it costs the pool's lock at
    /// the end of every unit.
    fn wants_feedback(&self) -> bool {
        false
    }

    /// A unit was given to `id`, waits for it, or has left it.
    fn load_changed(&mut self, _id: MemberId, _group: &Group<'_>) {}

    /// Whether [`finished`](Self::finished) is to be called; it costs the pool's lock once more
    /// for every unit.
    fn learns(&self) -> bool {
        false
    }

    /// `id` has answered a unit, or will not: how long that took and how it ended.
    fn finished(&mut self, _id: MemberId, _outcome: &Outcome, _now_ms: u64) {}

    /// Whether weights may change at run time to more than nothing and all.
    fn follows_weights(&self) -> bool {
        true
    }
}

/// The members of one group and their committed weights.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    pub(crate) members: &'a [Arc<Member>],
    /// In steps of `1 / WEIGHT_SCALE`.
    pub(crate) weights: &'a [u32],
}

impl Group<'_> {
    /// How many members the pool has, of this group or not; ids are below it.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether the pool has no members.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The weight of a member, 0 to 256, rounded up; 0 also for one that is down or not of this
    /// group.
    pub fn weight(&self, id: MemberId) -> u32 {
        self.share(id).div_ceil(WEIGHT_SCALE)
    }

    /// The weight in steps of `1 / WEIGHT_SCALE`, 0 to 4096, for strategies that can follow a slow
    /// start as finely.
    pub fn share(&self, id: MemberId) -> u32 {
        self.weights.get(id.index()).copied().unwrap_or(0)
    }

    /// The member itself.
    pub fn member(&self, id: MemberId) -> &Member {
        &self.members[id.index()]
    }

    /// The members that may be chosen, in the order of the configuration.
    pub fn usable(&self) -> impl Iterator<Item = MemberId> {
        (0u32..)
            .map(MemberId)
            .zip(self.weights)
            .filter(|(_, weight)| **weight > 0)
            .map(|(id, _)| id)
    }
}

/// A view of the members that one unit may be given; nothing is built for it.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    pub(crate) group: Group<'a>,
    pub(crate) tried: &'a [MemberId],
    pub(crate) units: u32,
    pub(crate) fullconn: u32,
}

impl<'a> Candidates<'a> {
    /// The group.
    pub fn group(&self) -> Group<'a> {
        self.group
    }

    /// The members that this unit has failed on; a handful at most.
    pub fn tried(&self) -> &'a [MemberId] {
        self.tried
    }

    /// Whether the unit has failed on this member before.
    pub fn is_tried(&self, id: MemberId) -> bool {
        self.tried.contains(&id)
    }

    /// Whether the member takes one more unit at once: below its limit, and nobody waits for it.
    pub fn has_slot(&self, id: MemberId) -> bool {
        has_slot(self.group.member(id), self.units, self.fullconn)
    }

    /// Whether the member takes one more unit, at once or in its own queue as far as `maxqueue`
    /// invites.
    pub fn has_room(&self, id: MemberId) -> bool {
        let member = self.group.member(id);
        if member.is_broken_off() {
            return false;
        }
        let busy = u64::from(member.load.current()) + u64::from(member.load.queued());
        member
            .limit(self.units, self.fullconn)
            .is_none_or(|limit| busy < u64::from(limit) + u64::from(member.limits().maxqueue))
    }
}

pub(crate) fn has_slot(member: &Member, units: u32, fullconn: u32) -> bool {
    let limit = member.limit(units, fullconn);
    limit.is_none_or(|limit| member.load.queued() == 0 && member.load.current() < limit)
        && !member.is_broken_off()
}

/// What a keyed strategy chooses by: equal keys go to the same member. Made by
/// [`KeyHash`](crate::hash::KeyHash). A unit without one is given a member in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub u32);

/// The steps in a unit of weight ([`Group::share`]).
pub const WEIGHT_SCALE: u32 = 16;
/// The largest share.
pub const SHARE_MAX: u32 = WEIGHT_MAX * WEIGHT_SCALE;

/// How a unit ended, for strategies that learn from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// From assignment to the first sign of an answer or to the end, in microseconds.
    pub latency_us: u64,
    /// What it came to.
    pub ending: Ending,
}

/// What became of a unit, as far as its member is to be judged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The member did its work.
    Answered,
    /// It did not: no connection, no answer, or an answer that says so.
    Failed,
    /// The other side left before an answer.
    Abandoned,
}

#[cfg(test)]
mod tests;
