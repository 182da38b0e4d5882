//! A pool: members, the strategy among them, and the one queue of units that wait.
//!
//! The life of a unit:
//!
//! ```text
//!  assign ──▶ Member(id) ─────────────────────────────▶ release(id) ──▶ Option<Grant>
//!     │                                                                  │ the freed slot
//!     └─────▶ Wait(place) ──▶ wait(place, waiter) ──▶ Queued(ticket) ◀───┘ for one who waits
//!                                                        └──▶ cancel(ticket)
//! ```
//!
//! A slot that is freed goes straight to the unit that has waited longest among those that may
//! use it, whichever worker it is on and whether it waits for this member alone (persistence,
//! a keyed strategy) or for any; it is counted in for it before [`Pool::release`] returns. The
//! caller delivers the [`Grant`] outside of the lock and, where the waiter is gone, releases the
//! slot once more.
//!
//! **Reloads.** A new configuration makes a new pool with [`Pool::renew`], which shares lock,
//! queue and load with the old one. Units keep the pool they began with; a freed slot is handed
//! over in one order over both, so neither starves, and a waiter of the old configuration gets
//! any member that still exists under the same `Arc`. When the last reference to an old pool
//! goes, so do its strategy and whatever still waits in it.
//!
//! **Locking.** One lock per pool (all its configurations together), held for the choice or the
//! queue operation alone; what is allocated under it is the queue's own growth. Releasing a unit
//! of a member without a limit takes no lock when nobody waits, unless the strategy wants to
//! hear of it.

mod generation;
mod queue;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::member::{Load, Member, MemberId, Standing};
use crate::rng::Rng;
use crate::strategy::{Key, Outcome, Strategy, has_slot};

use generation::{Chosen, Generation};
use queue::Queue;
pub use queue::Ticket;

/// What a configuration says about a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolOptions {
    /// All usable backups share the load, not only the first of them.
    pub all_backups: bool,
    /// The load of the pool at which members reach their `maxconn`; 0 is at once.
    pub fullconn: u32,
    /// The most units that may wait in this configuration of the pool; 0 is no limit. Each costs
    /// about 64 bytes and the waiter.
    pub queue_max: u32,
    /// Units that wait for one member alone go to another when it goes down, instead of waiting
    /// on (`option redispatch`).
    pub redispatch: bool,
    /// The share of a level's members, in percent, that must be usable for the level to be used.
    /// When no level has it while some member is usable, or nothing is usable at all, health is
    /// ignored and every member gets its share; 0 never does that.
    pub panic_threshold: u8,
}

/// Which members take the pool's units now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// The regular members of this priority.
    Level(u8),
    /// The backups, or the first of them.
    Backups,
    /// All regular members, whatever their health: too few are usable
    /// ([`PoolOptions::panic_threshold`]).
    Panic,
    /// None.
    Nothing,
}

/// One unit of work, as far as the choice is concerned.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unit<'a> {
    /// For keyed strategies.
    pub key: Option<Key>,
    /// Members that it has failed on; they are chosen only when no other is usable.
    pub tried: &'a [MemberId],
    /// The member that persistence or a rule asks for, used while it is reachable.
    pub pinned: Option<Pinned>,
}

/// A member that is asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    /// The member.
    pub member: MemberId,
    /// Asked for even when it is down (`force-persist`); then it is also waited for.
    pub force: bool,
}

/// What becomes of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Assignment {
    /// It is counted in there: every one of these is ended by one [`Pool::release`].
    Member(MemberId),
    /// No slot is free; it may wait: [`Pool::wait`].
    Wait(Place),
    /// It cannot be taken.
    Refused(Refusal),
}

/// Where a unit has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// For this member alone.
    pub member: Option<MemberId>,
    freed: u64,
    force: bool,
}

/// Why a unit cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No member is usable.
    NoMember,
    /// The member that it would wait for has `maxqueue` units waiting.
    MemberQueueFull(MemberId),
    /// The pool has `queue_max` units waiting.
    QueueFull,
    /// The member that it has to go to has as many in flight as it may without letting others wait
    /// ([`Limits::max_requests`](crate::Limits::max_requests), probation).
    MemberFull(MemberId),
    /// All usable members are like that.
    Full,
}

/// What became of a unit that came to wait.
#[derive(Debug)]
#[must_use]
pub enum Waiting<W> {
    /// A slot was freed meanwhile and is taken; the waiter is not needed.
    Member(MemberId, W),
    /// It waits until a [`Grant`] or [`Pool::cancel`].
    Queued(Ticket),
    /// It cannot wait.
    Refused(Refusal, W),
}

/// A slot for one who waited. It is counted in: deliver it, or [`Pool::release`] the slot.
#[derive(Debug)]
#[must_use]
pub struct Grant<W> {
    /// Who waited.
    pub waiter: W,
    /// The member, by its id in the pool that the waiter waited in.
    pub member: MemberId,
    /// How many units were served in its line meanwhile, and itself: 1 is the first in line.
    pub position: u32,
}

/// What a change set free.
#[derive(Debug)]
#[must_use]
pub struct Settled<W> {
    /// Slots for those who waited.
    pub granted: Vec<Grant<W>>,
    /// Those who waited for a member that went down while no other is usable.
    pub refused: Vec<W>,
}

/// Members, the strategy among them and the queue, for one configuration.
pub struct Pool<W> {
    shared: Arc<Shared<W>>,
    generation: u64,
    members: Arc<[Arc<Member>]>,
    fullconn: u32,
    learns: bool,
    strategy: &'static str,
    follows_weights: bool,
}

/// What all configurations of a pool have in common.
struct Shared<W> {
    /// Units that the plane says are in the pool, waiting ones included; and waiters.
    load: Load,
    waiting: AtomicU32,
    /// Whether any configuration so far has a strategy that wants to hear of every release.
    feedback: AtomicBool,
    state: Mutex<State<W>>,
}

struct State<W> {
    /// Almost always one; the newest is last.
    generations: Vec<Generation>,
    generations_made: u64,
    queue: Queue<W>,
    /// Slots freed so far.
    freed: u64,
    /// Units that were refused at a limit, those counted at a member left out.
    turned_away: u64,
}

impl<W: Send> Pool<W> {
    /// A pool of these members, all named differently. `strategy` makes one for the regular
    /// members and one for the backups.
    pub fn new(
        members: Vec<Arc<Member>>,
        strategy: impl Fn() -> Box<dyn Strategy>,
        options: PoolOptions,
    ) -> Self {
        let shared = Arc::new(Shared {
            load: Load::default(),
            waiting: AtomicU32::new(0),
            feedback: AtomicBool::new(false),
            state: Mutex::new(State {
                generations: Vec::new(),
                generations_made: 0,
                queue: Queue::default(),
                freed: 0,
                turned_away: 0,
            }),
        });
        Self::join(shared, members, strategy, options)
    }

    /// The pool under a new configuration, in line with this one.
    #[must_use]
    pub fn renew(
        &self,
        members: Vec<Arc<Member>>,
        strategy: impl Fn() -> Box<dyn Strategy>,
        options: PoolOptions,
    ) -> Self {
        Self::join(Arc::clone(&self.shared), members, strategy, options)
    }

    fn join(
        shared: Arc<Shared<W>>,
        members: Vec<Arc<Member>>,
        strategy: impl Fn() -> Box<dyn Strategy>,
        options: PoolOptions,
    ) -> Self {
        let members: Arc<[Arc<Member>]> = members.into();
        let mut generation = Generation::new(Arc::clone(&members), strategy, options.clone());
        let mut state = shared.lock();
        state.generations_made += 1;
        generation.id = state.generations_made;
        let strategy = generation.strategy();
        shared.feedback.fetch_or(strategy.wants_feedback(), SeqCst);
        let pool = Self {
            generation: generation.id,
            members,
            fullconn: options.fullconn,
            learns: strategy.learns(),
            strategy: strategy.name(),
            follows_weights: strategy.follows_weights(),
            shared: Arc::clone(&shared),
        };
        state.generations.push(generation);
        drop(state);
        pool
    }

    /// Sets the load at which members reach their `maxconn`; 0 is at once. For a plane that derives
    /// it from others of its pools.
    pub fn set_fullconn(&mut self, fullconn: u32) {
        self.fullconn = fullconn;
        let mut state = self.shared.lock();
        if let Some(generation) = state.generation(self.generation) {
            generation.options.fullconn = fullconn;
        }
    }

    /// Chooses a member and counts the unit in.
    ///
    /// Tried members are chosen when nothing else is usable. `units` of dynamic limits is
    /// [`Pool::load`], which the plane counts.
    pub fn assign(&self, unit: &Unit<'_>, rng: &mut Rng, now_ms: u64) -> Assignment {
        self.shared.lock().assign(self.generation, unit, self.shared.load.current(), rng, now_ms)
    }

    /// Joins the queue at `place`, or takes what was freed since [`Pool::assign`] named it.
    pub fn wait(
        &self,
        unit: &Unit<'_>,
        place: Place,
        waiter: W,
        rng: &mut Rng,
        now_ms: u64,
    ) -> Waiting<W> {
        let mut state = self.shared.lock();
        let mut place = place;
        if place.freed != state.freed {
            let units = self.shared.load.current();
            match state.assign(self.generation, unit, units, rng, now_ms) {
                Assignment::Member(id) => return Waiting::Member(id, waiter),
                Assignment::Refused(refusal) => return Waiting::Refused(refusal, waiter),
                Assignment::Wait(newer) => place = newer,
            }
        }
        let State { generations, queue, .. } = &mut *state;
        let Some(generation) = generations.iter_mut().find(|g| g.id == self.generation) else {
            return Waiting::Refused(Refusal::NoMember, waiter);
        };
        let queue_max = generation.options.queue_max;
        if queue_max > 0 && generation.waiting >= queue_max {
            state.turned_away += 1;
            return Waiting::Refused(Refusal::QueueFull, waiter);
        }
        generation.waiting += 1;
        let lane = match place.member {
            Some(id) => {
                generation.members[id.index()].load.wait();
                &mut generation.pinned[id.index()]
            }
            None => {
                self.shared.load.wait();
                &mut generation.any
            }
        };
        let ticket = queue.push(lane, waiter, unit.key, place.member, place.force);
        self.shared.waiting.fetch_add(1, SeqCst);
        if let Some(id) = place.member {
            state.load_changed(&self.members[id.index()], self.generation, id);
        }
        Waiting::Queued(ticket)
    }

    /// Leaves the queue; returns the waiter and how far it had come, 1 being the first in line.
    ///
    /// `None` when it has been granted a slot or refused already: look for what was delivered,
    /// and release the slot if it is not wanted any more.
    pub fn cancel(&self, ticket: Ticket) -> Option<(W, u32)> {
        let mut state = self.shared.lock();
        let State { generations, queue, .. } = &mut *state;
        let generation = generations.iter_mut().find(|g| g.id == self.generation)?;
        let member = queue.member_of(ticket)?;
        let lane = match member {
            Some(id) => &mut generation.pinned[id.index()],
            None => &mut generation.any,
        };
        let taken = queue.cancel(lane, ticket)?;
        generation.waiting -= 1;
        self.shared.waiting.fetch_sub(1, SeqCst);
        match member {
            Some(id) => {
                generation.members[id.index()].load.stop_waiting();
                let member = Arc::clone(&generation.members[id.index()]);
                state.load_changed(&member, self.generation, id);
            }
            None => self.shared.load.stop_waiting(),
        }
        Some((taken.waiter, taken.position))
    }

    /// Ends a unit and hands its slot to the unit that has waited longest for it.
    ///
    /// After a grant call [`Pool::next_grant`] until it has none: limits that grow with the load
    /// may have more than one slot to give.
    pub fn release(&self, id: MemberId) -> Option<Grant<W>> {
        let member = &self.members[id.index()];
        if member.limit(0, 0).is_none()
            && !member.has_breaker()
            && !self.shared.feedback.load(SeqCst)
            && self.shared.waiting.load(SeqCst) == 0
        {
            member.load.leave();
            return None;
        }
        let mut state = self.shared.lock();
        member.load.leave();
        state.freed += 1;
        state.load_changed(member, self.generation, id);
        self.shared.grant(&mut state, member)
    }

    /// Tells the strategy how a unit fared, once per unit: at the first sign of an answer, which
    /// may be long before [`Pool::release`], or when there will be none. Free for strategies that
    /// do not learn ([`Pool::learns`]).
    pub fn learn(&self, id: MemberId, outcome: &Outcome, now_ms: u64) {
        if self.learns {
            let mut state = self.shared.lock();
            if let Some(generation) = state.generation(self.generation) {
                generation.finished(id, outcome, now_ms);
            }
        }
    }

    /// A slot of this member for the next in line, if there is both.
    pub fn next_grant(&self, id: MemberId) -> Option<Grant<W>> {
        if self.shared.waiting.load(SeqCst) == 0 {
            return None;
        }
        let mut state = self.shared.lock();
        self.shared.grant(&mut state, &self.members[id.index()])
    }

    /// Takes a member's weight, status and limits as they are now, in every configuration of
    /// the pool, and serves those whom that helps or strands.
    pub fn member_changed(&self, id: MemberId, rng: &mut Rng, now_ms: u64) -> Settled<W> {
        let member = &self.members[id.index()];
        let mut state = self.shared.lock();
        state.freed += 1;
        let mut settled = Settled { granted: Vec::new(), refused: Vec::new() };
        let State { generations, queue, .. } = &mut *state;
        for generation in generations.iter_mut() {
            let Some(id) = generation.id_of(member, self.generation, id) else { continue };
            generation.commit(id);
            if member.is_reachable() || !generation.options.redispatch {
                continue;
            }
            let usable = generation.is_usable();
            let lane = &mut generation.pinned[id.index()];
            let before = lane.len();
            if usable {
                queue.unpin(lane, &mut generation.any);
                (lane.len()..before).for_each(|_| self.shared.load.wait());
            } else {
                queue.evict(lane, &mut settled.refused);
                generation.waiting -= before - lane.len();
                self.shared.waiting.fetch_sub(before - lane.len(), SeqCst);
            }
            (lane.len()..before).for_each(|_| member.load.stop_waiting());
        }
        state.load_changed(member, self.generation, id);
        self.shared.settle(&mut state, &mut settled.granted, rng, now_ms);
        while let Some(grant) = self.shared.grant(&mut state, member) {
            settled.granted.push(grant);
        }
        settled
    }

    /// The members, in the order of the configuration.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// A member by id.
    pub fn member(&self, id: MemberId) -> &Arc<Member> {
        &self.members[id.index()]
    }

    /// A member by name, compared byte for byte. Linear: for sockets and configuration.
    pub fn find(&self, name: &str) -> Option<MemberId> {
        let at = self.members.iter().position(|member| member.name() == name)?;
        Some(MemberId(at as u32))
    }

    /// The units in the pool, over all its configurations: the plane counts them in and out
    /// (`enter`, `leave`); its `queued` are those waiting for any member, counted here.
    pub fn load(&self) -> &Load {
        &self.shared.load
    }

    /// Units waiting, for one member or any, over all configurations.
    pub fn waiting(&self) -> u32 {
        self.shared.waiting.load(Relaxed)
    }

    /// How many units were refused because a limit was reached, over all configurations; those that
    /// had to go to one member are counted there ([`Member::turned_away`]).
    pub fn turned_away(&self) -> u64 {
        self.shared.lock().turned_away
    }

    /// What its configuration says, as it was given: to [`Pool::renew`] it with other members.
    pub fn options(&self) -> PoolOptions {
        let mut state = self.shared.lock();
        state.generation(self.generation).map_or_else(PoolOptions::default, |g| g.options.clone())
    }

    /// The strategy's name.
    pub fn strategy(&self) -> &'static str {
        self.strategy
    }

    /// Whether the strategy follows weights other than nothing and all at run time.
    pub fn follows_weights(&self) -> bool {
        self.follows_weights
    }

    /// The weight that the strategy uses for a member while it is up, rounded up.
    pub fn weight_of(&self, id: MemberId) -> u32 {
        let member = &self.members[id.index()];
        if self.follows_weights { member.warm_weight() } else { member.weight() }
    }

    /// How many percent of its weight a slow start leaves a member; `None` when it is in none.
    pub fn throttle_percent(&self, id: MemberId) -> Option<u32> {
        let percent = self.members[id.index()].throttle_percent()?;
        Some(if self.follows_weights { percent } else { 100 })
    }

    /// The load at which members reach their `maxconn`; 0 is at once.
    pub fn fullconn(&self) -> u32 {
        self.fullconn
    }

    /// How many regular members and backups take new units now.
    pub fn usable(&self) -> (u32, u32) {
        let mut state = self.shared.lock();
        state.generation(self.generation).map_or((0, 0), |generation| generation.usable())
    }

    /// The sum of the weights in use: of the regular members, or else of the backups.
    pub fn weight(&self) -> u32 {
        let mut state = self.shared.lock();
        state.generation(self.generation).map_or(0, |generation| generation.weight())
    }

    /// The same as it was set, without slow starts.
    pub fn weight_set(&self) -> u32 {
        let mut state = self.shared.lock();
        state.generation(self.generation).map_or(0, |generation| generation.weight_set())
    }

    /// Which members take its units now.
    pub fn in_use(&self) -> InUse {
        let mut state = self.shared.lock();
        state.generation(self.generation).map_or(InUse::Nothing, |generation| generation.in_use())
    }

    /// Whether its strategy wants to hear how units fare ([`Pool::learn`]).
    pub fn learns(&self) -> bool {
        self.learns
    }

    /// How many units a member may have in flight now; `None` is no limit.
    pub fn limit(&self, id: MemberId) -> Option<u32> {
        self.members[id.index()].limit(self.shared.load.current(), self.fullconn)
    }
}

impl<W> Drop for Pool<W> {
    fn drop(&mut self) {
        let mut left = Vec::new();
        let mut state = self.shared.lock();
        let State { generations, queue, .. } = &mut *state;
        if let Some(at) = generations.iter().position(|g| g.id == self.generation) {
            let mut generation = generations.remove(at);
            while let Some(taken) = queue.pop(&mut generation.any) {
                self.shared.load.stop_waiting();
                left.push(taken.waiter);
            }
            for (lane, member) in generation.pinned.iter_mut().zip(&*generation.members) {
                while let Some(taken) = queue.pop(lane) {
                    member.load.stop_waiting();
                    left.push(taken.waiter);
                }
            }
            self.shared.waiting.fetch_sub(left.len() as u32, SeqCst);
        }
        drop(state);
        drop(left); // waiters may do work of their own when dropped: not under the lock
    }
}

impl<W> fmt::Debug for Pool<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("strategy", &self.strategy)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

impl<W> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        // A panic under the lock ends one unit; the state is counted step by step and usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a free slot of `member` to whoever has waited longest and may have it.
    fn grant(&self, state: &mut State<W>, member: &Arc<Member>) -> Option<Grant<W>> {
        let State { generations, queue, .. } = state;
        if queue.is_empty() {
            return None;
        }
        let units = self.load.current();
        let mut oldest: Option<(u64, usize, MemberId, bool)> = None;
        for (at, generation) in generations.iter().enumerate() {
            let Some(id) = generation.find(member) else { continue };
            let limit = member.limit(units, generation.options.fullconn);
            if limit.is_some_and(|limit| member.load.current() >= limit) || member.is_broken_off() {
                continue;
            }
            let own = queue.first_seq(&generation.pinned[id.index()]).map(|seq| (seq, true));
            let any = queue.first_seq(&generation.any).filter(|_| generation.may_serve_any(id));
            for (seq, pinned) in own.into_iter().chain(any.map(|seq| (seq, false))) {
                if oldest.is_none_or(|(best, ..)| seq < best) {
                    oldest = Some((seq, at, id, pinned));
                }
            }
        }
        let (_, at, id, pinned) = oldest?;
        let generation = &mut generations[at];
        let lane = if pinned { &mut generation.pinned[id.index()] } else { &mut generation.any };
        let taken = queue.pop(lane)?;
        generation.waiting -= 1;
        self.waiting.fetch_sub(1, SeqCst);
        if pinned {
            member.load.stop_waiting()
        } else {
            self.load.stop_waiting()
        }
        member.load.enter();
        let generation = generation.id;
        state.load_changed(member, generation, id);
        Some(Grant { waiter: taken.waiter, member: id, position: taken.position })
    }

    /// Serves those who wait for any member as long as their strategies find a slot.
    fn settle(
        &self,
        state: &mut State<W>,
        granted: &mut Vec<Grant<W>>,
        rng: &mut Rng,
        now_ms: u64,
    ) {
        let mut stuck = vec![false; state.generations.len()]; // their first waiter found nothing
        loop {
            let queue = &state.queue;
            let heads = state.generations.iter().enumerate().filter(|(at, _)| !stuck[*at]);
            let Some((_, at)) =
                heads.filter_map(|(at, g)| Some((queue.first_seq(&g.any)?, at))).min()
            else {
                return;
            };
            let units = self.load.current();
            let key = state.queue.first_key(&state.generations[at].any);
            let generation = &mut state.generations[at];
            let chosen = generation.choose(key, &[], units, rng, now_ms);
            let fullconn = generation.options.fullconn;
            let slot =
                chosen.filter(|id| has_slot(&generation.members[id.index()], units, fullconn));
            let taken = slot.and_then(|id| Some((id, state.queue.pop(&mut generation.any)?)));
            let Some((id, taken)) = taken else {
                stuck[at] = true;
                continue;
            };
            generation.waiting -= 1;
            self.waiting.fetch_sub(1, SeqCst);
            self.load.stop_waiting();
            let member = Arc::clone(&generation.members[id.index()]);
            let generation = generation.id;
            member.load.enter();
            state.load_changed(&member, generation, id);
            granted.push(Grant { waiter: taken.waiter, member: id, position: taken.position });
        }
    }
}

impl<W> State<W> {
    fn generation(&mut self, id: u64) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|generation| generation.id == id)
    }

    fn assign(
        &mut self,
        generation_id: u64,
        unit: &Unit<'_>,
        units: u32,
        rng: &mut Rng,
        now_ms: u64,
    ) -> Assignment {
        let freed = self.freed;
        let Some(generation) = self.generation(generation_id) else {
            return Assignment::Refused(Refusal::NoMember);
        };
        let pinned = unit.pinned.filter(|pinned| {
            let member = generation.members.get(pinned.member.index());
            member.is_some_and(|member| {
                // One on probation with its trial under way is to persistence what it was when it was
                // out.
                let on_trial = || member.status().standing == Standing::Probation;
                pinned.force || (member.is_reachable() && !(member.is_broken_off() && on_trial()))
            })
        });
        let id = match pinned {
            Some(pinned) => pinned.member,
            None => match generation.choose_newcomer(unit, units, rng, now_ms) {
                Chosen::Member(id) => id,
                Chosen::Nothing => return Assignment::Refused(Refusal::NoMember),
                Chosen::Full if !generation.lets_wait() => {
                    self.turned_away += 1;
                    return Assignment::Refused(Refusal::Full);
                }
                Chosen::Full => {
                    return Assignment::Wait(Place { member: None, freed, force: false });
                }
            },
        };
        let member = Arc::as_ref(&generation.members[id.index()]);
        if has_slot(member, units, generation.options.fullconn) {
            member.load.enter();
            self.load_changed_at(generation_id, id);
            return Assignment::Member(id);
        }
        if member.is_broken_off() {
            member.turn_away();
            return Assignment::Refused(Refusal::MemberFull(id));
        }
        let maxqueue = member.limits().maxqueue;
        if maxqueue > 0 && member.load.queued() >= maxqueue {
            member.turn_away();
            return Assignment::Refused(Refusal::MemberQueueFull(id));
        }
        let force = pinned.is_some_and(|pinned| pinned.force);
        Assignment::Wait(Place { member: Some(id), freed, force })
    }

    fn load_changed_at(&mut self, generation: u64, id: MemberId) {
        if let [only] = &mut self.generations[..] {
            only.load_changed(id);
        } else if let Some(member) =
            self.generation(generation).map(|g| g.members[id.index()].clone())
        {
            self.load_changed(&member, generation, id);
        }
    }

    /// Tells the strategies of all generations.
    fn load_changed(&mut self, member: &Member, own: u64, id: MemberId) {
        for generation in &mut self.generations {
            if let Some(id) = generation.id_of(member, own, id) {
                generation.load_changed(id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
