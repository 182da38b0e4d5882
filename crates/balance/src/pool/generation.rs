//! One configuration of a pool, as the lock guards it: who is usable, who chooses, who waits.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::queue::Lane;
use super::{InUse, PoolOptions, Unit};
use crate::member::{Member, MemberId};
use crate::rng::Rng;
use crate::strategy::{Candidates, Group, Key, Outcome, Strategy, WEIGHT_SCALE};

/// The part of a configuration that the lock guards.
pub(super) struct Generation {
    pub(super) id: u64,
    pub(super) members: Arc<[Arc<Member>]>,
    /// For finding a member that a unit of another generation has left.
    ids: HashMap<NonZeroU64, MemberId>,
    pub(super) options: PoolOptions,
    /// The regular members by priority; at least one level, if an empty one.
    levels: Vec<Side>,
    backup: Side,
    /// All regular members by the weights they would have if they were well; with a threshold.
    panic: Option<Side>,
    /// Which side each member is on; fixed here, since the next configuration may differ.
    places: Box<[Place]>,
    first_backup: Option<MemberId>,
    in_use: Using,
    /// Units that wait for any member, and for one alone.
    pub(super) any: Lane,
    pub(super) pinned: Box<[Lane]>,
    pub(super) waiting: u32,
}

/// Members among whom one strategy chooses.
struct Side {
    priority: u8,
    strategy: Box<dyn Strategy>,
    /// In steps of `1 / WEIGHT_SCALE`.
    weights: Box<[u32]>,
    usable: u32,
    /// How many would be usable if they were well; only counted with a panic threshold.
    wanted: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Level(u8),
    Backup,
}

/// Which side takes the pool's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Using {
    Level(u8),
    FirstBackup(MemberId),
    Backups,
    Panic,
    Nothing,
}

/// What a newcomer gets.
pub(super) enum Chosen {
    Member(MemberId),
    /// All are full: it may wait for any.
    Full,
    /// None is usable.
    Nothing,
}

impl Generation {
    pub(super) fn new(
        members: Arc<[Arc<Member>]>,
        strategy: impl Fn() -> Box<dyn Strategy>,
        options: PoolOptions,
    ) -> Self {
        let regular = members.iter().filter(|member| !member.is_backup());
        let mut priorities: Vec<u8> = regular.map(|member| member.priority()).collect();
        priorities.push(priorities.iter().copied().min().unwrap_or(0));
        priorities.sort_unstable();
        priorities.dedup();
        let place = |member: &Arc<Member>| match member.is_backup() {
            true => Place::Backup,
            false => {
                let level = priorities.partition_point(|priority| *priority < member.priority());
                Place::Level(level as u8)
            }
        };
        let places: Box<[Place]> = members.iter().map(place).collect();
        let panics = options.panic_threshold > 0;
        let follows = strategy().follows_weights();
        let side = |priority: u8, weight: &dyn Fn(&Member, Place) -> u32, place: Option<Place>| {
            let pairs = || members.iter().zip(&places);
            let weights: Box<[u32]> = pairs().map(|(m, place)| weight(m, *place)).collect();
            let usable = weights.iter().filter(|weight| **weight > 0).count() as u32;
            let wanted =
                |(m, at): &(&Arc<Member>, &Place)| Some(**at) == place && m.weight_if_well() > 0;
            let wanted = if panics { pairs().filter(wanted).count() as u32 } else { 0 };
            let mut strategy = strategy();
            strategy.reset(&Group { members: &members, weights: &weights });
            Side { priority, strategy, weights, usable, wanted }
        };
        let here = |priority: u8, place: Place| {
            let weight = |m: &Member, at| if at == place { share(m, follows) } else { 0 };
            side(priority, &weight, Some(place))
        };
        let levels =
            (0..=u8::MAX).zip(&priorities).map(|(at, p)| here(*p, Place::Level(at))).collect();
        let backup = here(0, Place::Backup);
        let panic = panics.then(|| {
            let weight = |m: &Member, at| {
                if at == Place::Backup { 0 } else { m.weight_if_well() * WEIGHT_SCALE }
            };
            side(0, &weight, None)
        });
        let ids = members.iter().map(|m| m.uid()).zip((0..).map(MemberId)).collect();
        let mut generation = Self {
            id: 0,
            ids,
            options,
            levels,
            backup,
            panic,
            places,
            first_backup: None,
            in_use: Using::Nothing,
            any: Lane::default(),
            pinned: members.iter().map(|_| Lane::default()).collect(),
            waiting: 0,
            members,
        };
        generation.find_in_use();
        generation
    }

    /// Takes over a member's effective weight.
    pub(super) fn commit(&mut self, id: MemberId) {
        let place = self.places[id.index()];
        let weight = share(&self.members[id.index()], self.strategy().follows_weights());
        let changed = match place {
            Place::Level(level) => self.levels[usize::from(level)].set(id, weight, &self.members),
            Place::Backup => self.backup.set(id, weight, &self.members),
        };
        let mut panics = false;
        if let (Some(panic), Place::Level(level)) = (&mut self.panic, place) {
            let weight = self.members[id.index()].weight_if_well() * WEIGHT_SCALE;
            let before = panic.usable;
            panics = panic.set(id, weight, &self.members);
            let side = &mut self.levels[usize::from(level)];
            side.wanted = side.wanted + panic.usable - before;
        }
        if changed || panics {
            self.find_in_use();
        }
    }

    fn find_in_use(&mut self) {
        let at = self.backup.weights.iter().position(|weight| *weight > 0);
        self.first_backup = at.map(|at| MemberId(at as u32));
        let threshold = u64::from(self.options.panic_threshold);
        let holds = |side: &Side| {
            side.usable > 0 && u64::from(side.usable) * 100 >= u64::from(side.wanted) * threshold
        };
        let panics = self.panic.as_ref().is_some_and(|panic| panic.usable > 0);
        let survivors = self.levels.iter().any(|level| level.usable > 0);
        self.in_use = match (self.levels.iter().position(holds), self.first_backup) {
            (Some(level), _) => Using::Level(level as u8),
            (None, _) if panics && survivors => Using::Panic,
            (None, Some(_)) if self.options.all_backups => Using::Backups,
            (None, Some(first)) => Using::FirstBackup(first),
            (None, None) if panics => Using::Panic,
            (None, None) => Using::Nothing,
        };
    }

    pub(super) fn in_use(&self) -> InUse {
        match self.in_use {
            Using::Level(level) => InUse::Level(self.levels[usize::from(level)].priority),
            Using::FirstBackup(_) | Using::Backups => InUse::Backups,
            Using::Panic => InUse::Panic,
            Using::Nothing => InUse::Nothing,
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        self.in_use != Using::Nothing
    }

    /// How many regular members and backups are usable.
    pub(super) fn usable(&self) -> (u32, u32) {
        (self.levels.iter().map(|level| level.usable).sum(), self.backup.usable)
    }

    /// The sum of the weights in use, rounded up.
    pub(super) fn weight(&self) -> u32 {
        let shares: u32 = match self.in_use {
            Using::FirstBackup(id) => self.backup.weights[id.index()],
            _ => self.side_in_use().map_or(0, |side| side.weights.iter().sum()),
        };
        shares.div_ceil(WEIGHT_SCALE)
    }

    /// The same without slow starts.
    pub(super) fn weight_set(&self) -> u32 {
        let set = |weights: &[u32]| {
            let in_use = self.members.iter().zip(weights).filter(|(_, share)| **share > 0);
            in_use.map(|(member, _)| member.weight()).sum()
        };
        match self.in_use {
            Using::FirstBackup(id) => self.members[id.index()].weight(),
            _ => self.side_in_use().map_or(0, |side| set(&side.weights)),
        }
    }

    /// The strategy, as one of its instances.
    pub(super) fn strategy(&self) -> &dyn Strategy {
        &*self.levels[0].strategy
    }

    pub(super) fn may_serve_any(&self, id: MemberId) -> bool {
        match self.in_use {
            Using::FirstBackup(first) => first == id,
            _ => self.side_in_use().is_some_and(|side| side.weights[id.index()] > 0),
        }
    }

    /// Whether one may wait for a slot of any member in use, which none has: one of them at least
    /// is at a limit that lets others wait.
    pub(super) fn lets_wait(&self) -> bool {
        let mut members = (0..).map(MemberId).zip(&*self.members);
        members.any(|(id, member)| !member.is_broken_off() && self.may_serve_any(id))
    }

    /// The side that chooses; none where there is no choice.
    fn side_in_use(&self) -> Option<&Side> {
        match self.in_use {
            Using::Level(level) => self.levels.get(usize::from(level)),
            Using::Backups => Some(&self.backup),
            Using::Panic => self.panic.as_ref(),
            Using::FirstBackup(_) | Using::Nothing => None,
        }
    }

    /// Like `choose`, unless those who wait prove that nothing is free.
    pub(super) fn choose_newcomer(
        &mut self,
        unit: &Unit<'_>,
        units: u32,
        rng: &mut Rng,
        now_ms: u64,
    ) -> Chosen {
        if !self.is_usable() {
            return Chosen::Nothing;
        }
        let proven = !self.any.is_empty() && self.strategy().waiting_means_full();
        if proven && self.any.len() != units {
            return Chosen::Full;
        }
        match self.choose(unit.key, unit.tried, units, rng, now_ms) {
            Some(id) => Chosen::Member(id),
            None => Chosen::Full,
        }
    }

    pub(super) fn choose(
        &mut self,
        key: Option<Key>,
        tried: &[MemberId],
        units: u32,
        rng: &mut Rng,
        now_ms: u64,
    ) -> Option<MemberId> {
        let side = match self.in_use {
            Using::Level(level) => &mut self.levels[usize::from(level)],
            Using::Backups => &mut self.backup,
            Using::Panic => self.panic.as_mut()?,
            Using::FirstBackup(id) => return Some(id),
            Using::Nothing => return None,
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
        let members = &*self.members;
        for side in
            sides_of(self.places[id.index()], &mut self.levels, &mut self.backup, &mut self.panic)
        {
            if side.strategy.wants_feedback() {
                side.strategy.load_changed(id, &Group { members, weights: &side.weights });
            }
        }
    }

    pub(super) fn finished(&mut self, id: MemberId, outcome: &Outcome, now_ms: u64) {
        for side in
            sides_of(self.places[id.index()], &mut self.levels, &mut self.backup, &mut self.panic)
        {
            side.strategy.finished(id, outcome, now_ms);
        }
    }

    pub(super) fn find(&self, member: &Member) -> Option<MemberId> {
        self.ids.get(&member.uid()).copied()
    }

    /// The member's id here, `id` being the one in generation `own`.
    pub(super) fn id_of(&self, member: &Member, own: u64, id: MemberId) -> Option<MemberId> {
        if self.id == own { Some(id) } else { self.find(member) }
    }
}

/// What a strategy is to see of a member's weight: its slow start only if it can follow it.
fn share(member: &Member, follows: bool) -> u32 {
    if follows { member.effective_share() } else { member.effective_weight() * WEIGHT_SCALE }
}

impl Side {
    /// Sets a member's weight; returns whether that is news.
    fn set(&mut self, id: MemberId, weight: u32, members: &[Arc<Member>]) -> bool {
        let before = std::mem::replace(&mut self.weights[id.index()], weight);
        if before == weight {
            return false;
        }
        self.usable = self.usable + u32::from(before == 0) - u32::from(weight == 0);
        self.strategy.weight_changed(id, &Group { members, weights: &self.weights });
        true
    }
}

/// The sides that a member is on: its own, and under a threshold the one for panics.
fn sides_of<'a>(
    place: Place,
    levels: &'a mut [Side],
    backup: &'a mut Side,
    panic: &'a mut Option<Side>,
) -> impl Iterator<Item = &'a mut Side> {
    let (own, panic) = match place {
        Place::Level(level) => (&mut levels[usize::from(level)], panic.as_mut()),
        Place::Backup => (backup, None),
    };
    std::iter::once(own).chain(panic)
}
