//! One configuration of a pool, as the lock guards it: who is usable, who chooses, who waits.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::queue::Lane;
use super::{PoolOptions, Unit};
use crate::member::{Member, MemberId};
use crate::rng::Rng;
use crate::strategy::{Candidates, Group, Key, Strategy};

/// The part of a configuration that the lock guards.
pub(super) struct Generation {
    pub(super) id: u64,
    pub(super) members: Arc<[Arc<Member>]>,
    /// For finding a member that a unit of another generation has left.
    ids: HashMap<NonZeroU64, MemberId>,
    pub(super) options: PoolOptions,
    /// Which members are backups; fixed here, since the next configuration may differ.
    backups: Box<[bool]>,
    pub(super) active: Side,
    pub(super) backup: Side,
    first_backup: Option<MemberId>,
    /// Units that wait for any member, and for one alone.
    pub(super) any: Lane,
    pub(super) pinned: Box<[Lane]>,
    pub(super) waiting: u32,
}

/// The regular members or the backups, with a strategy of their own.
pub(super) struct Side {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) weights: Box<[u32]>,
    pub(super) usable: u32,
}

/// Which members take the pool's units.
pub(super) enum InUse {
    Active,
    FirstBackup(MemberId),
    Backups,
}

impl Generation {
    pub(super) fn new(
        members: Arc<[Arc<Member>]>,
        strategy: impl Fn() -> Box<dyn Strategy>,
        options: PoolOptions,
    ) -> Self {
        let backups: Box<[bool]> = members.iter().map(|member| member.is_backup()).collect();
        let side = |backup: bool| {
            let weight = |(member, is_backup): (&Arc<Member>, &bool)| {
                if *is_backup == backup { member.effective_weight() } else { 0 }
            };
            let weights: Box<[u32]> = members.iter().zip(&backups).map(weight).collect();
            let usable = weights.iter().filter(|weight| **weight > 0).count() as u32;
            let mut strategy = strategy();
            strategy.reset(&Group { members: &members, weights: &weights });
            Side { strategy, weights, usable }
        };
        let ids = members.iter().map(|m| m.uid()).zip((0..).map(MemberId)).collect();
        let mut generation = Self {
            id: 0,
            ids,
            options,
            active: side(false),
            backup: side(true),
            backups,
            first_backup: None,
            any: Lane::default(),
            pinned: members.iter().map(|_| Lane::default()).collect(),
            waiting: 0,
            members,
        };
        generation.find_first_backup();
        generation
    }

    /// Takes over a member's effective weight.
    pub(super) fn commit(&mut self, id: MemberId) {
        let member = &self.members[id.index()];
        let weight = member.effective_weight();
        let backup = self.backups[id.index()];
        let side = if backup { &mut self.backup } else { &mut self.active };
        let before = std::mem::replace(&mut side.weights[id.index()], weight);
        if before == weight {
            return;
        }
        side.usable = side.usable + u32::from(before == 0) - u32::from(weight == 0);
        side.strategy.weight_changed(id, &Group { members: &self.members, weights: &side.weights });
        self.find_first_backup();
    }

    fn find_first_backup(&mut self) {
        let at = self.backup.weights.iter().position(|weight| *weight > 0);
        self.first_backup = at.map(|at| MemberId(at as u32));
    }

    pub(super) fn group_in_use(&self) -> Option<InUse> {
        if self.active.usable > 0 {
            return Some(InUse::Active);
        }
        let first = self.first_backup?;
        Some(if self.options.all_backups { InUse::Backups } else { InUse::FirstBackup(first) })
    }

    pub(super) fn may_serve_any(&self, id: MemberId) -> bool {
        match self.group_in_use() {
            Some(InUse::Active) => self.active.weights[id.index()] > 0,
            Some(InUse::FirstBackup(first)) => first == id,
            Some(InUse::Backups) => self.backup.weights[id.index()] > 0,
            None => false,
        }
    }

    /// Like `choose`, unless those who wait prove that nothing is free.
    pub(super) fn choose_newcomer(
        &mut self,
        unit: &Unit<'_>,
        units: u32,
        rng: &mut Rng,
        now_ms: u64,
    ) -> Option<MemberId> {
        let proven = !self.any.is_empty() && self.active.strategy.waiting_means_full();
        if proven && self.any.len() != units {
            return None;
        }
        self.choose(unit.key, unit.tried, units, rng, now_ms)
    }

    pub(super) fn choose(
        &mut self,
        key: Option<Key>,
        tried: &[MemberId],
        units: u32,
        rng: &mut Rng,
        now_ms: u64,
    ) -> Option<MemberId> {
        let side = match self.group_in_use()? {
            InUse::FirstBackup(id) => return Some(id),
            InUse::Active => &mut self.active,
            InUse::Backups => &mut self.backup,
        };
        let group = Group { members: &self.members, weights: &side.weights };
        let mut from = Candidates { group, tried, units, fullconn: self.options.fullconn };
        let chosen = side.strategy.pick(&from, key, rng, now_ms);
        if chosen.is_some() || tried.is_empty() {
            return chosen;
        }
        from.tried = &[];
        side.strategy.pick(&from, key, rng, now_ms)
    }

    pub(super) fn load_changed(&mut self, id: MemberId) {
        let backup = self.backups[id.index()];
        let side = if backup { &mut self.backup } else { &mut self.active };
        if side.strategy.wants_feedback() {
            let group = Group { members: &self.members, weights: &side.weights };
            side.strategy.load_changed(id, &group);
        }
    }

    pub(super) fn side_of(&mut self, id: MemberId) -> &mut Side {
        if self.backups[id.index()] { &mut self.backup } else { &mut self.active }
    }

    pub(super) fn find(&self, member: &Member) -> Option<MemberId> {
        self.ids.get(&member.uid()).copied()
    }

    /// The member's id here, `id` being the one in generation `own`.
    pub(super) fn id_of(&self, member: &Member, own: u64, id: MemberId) -> Option<MemberId> {
        if self.id == own { Some(id) } else { self.find(member) }
    }
}
