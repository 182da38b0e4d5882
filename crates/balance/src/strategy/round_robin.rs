//! `roundrobin`: each in turn, as often as its weight says, spread as evenly as can be.
//!
//! The order is HAProxy's to the unit, because people compare. Time is counted in *turns*, one
//! per unit. A window is as many turns as the weights add up to; within it a member of weight
//! `w` is due every `window / w` turns, the remainder carried from one time to the next.
//! A usable member is in one of three places:
//!
//! ```text
//!          heaviest first                 by the turn it is due
//!   fresh ────────────────▶ (chosen) ───▶ lined ───▶ (chosen) ──┐
//!     ▲                        │            ▲───────────────────┤ due in this window or the next
//!     │ window used up         ▼                                │
//!     └────────────────────  later  ◀───────────────────────────┘ due after that
//! ```
//!
//! The next member is the first in line if its turn has come, else the heaviest fresh one, else
//! the first in line all the same. When neither is left, those put off become fresh and the next
//! window begins, with the weights of that moment.
//!
//! Weights are counted in sixteenths so that a slow start can step finely; this shows in the order,
//! since it makes the window 16 times longer.

use super::order::{Classes, Heap, Links, List};
use super::{Candidates, Group, Key, SHARE_MAX, Strategy, WEIGHT_SCALE};
use crate::member::{MemberId, WEIGHT_MAX};
use crate::rng::Rng;

/// Weighted round robin in HAProxy's order; weights may change at any time.
#[derive(Debug, Default)]
pub struct RoundRobin {
    members: Vec<Turns>,
    links: Links,
    classes: Classes,
    /// One holds the fresh members, the other those for later; they swap with each window.
    weighted: [ByWeight; 2],
    fresh: usize,
    lined: Line,
    /// Turns in this window: the sum of the weights when it began.
    window: i64,
    /// Turns in the next one: the sum of the weights now.
    window_next: i64,
    /// The turn that is next.
    now: i64,
    /// Members passed over in the search for one, in the order they came.
    passed: Vec<u32>,
    arrivals: u64,
}

#[derive(Debug, Clone, Default)]
struct Turns {
    /// In sixteenths; 0 is out.
    weight: i64,
    /// Members of this weight.
    class: u32,
    place: Where,
    /// When it is due, and when it was due last.
    due: i64,
    due_last: i64,
    /// What the divisions have left over, in `1 / weight` turns.
    rest: i64,
    key: u64,
    arrival: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Where {
    #[default]
    Out,
    /// Fresh or later, by which of the two it is.
    Weighted(usize),
    Lined,
}

impl Strategy for RoundRobin {
    fn name(&self) -> &'static str {
        "roundrobin"
    }

    fn reset(&mut self, group: &Group<'_>) {
        *self = Self { passed: Vec::with_capacity(group.len()), ..Self::default() };
        self.members.resize(group.len(), Turns::default());
        self.links.resize(group.len());
        for id in group.usable() {
            let weight = i64::from(group.share(id));
            self.weigh(id.0, weight);
            self.window_next += weight;
            self.enter_fresh(id.0);
        }
        self.window = self.window_next;
        self.now = self.window;
    }

    fn weight_changed(&mut self, id: MemberId, group: &Group<'_>) {
        let weight = i64::from(group.share(id));
        let member = &mut self.members[id.index()];
        let place = member.place;
        self.window_next += weight - member.weight;
        match (place, weight) {
            (Where::Out, 0) => {}
            (Where::Out, _) => {
                let ahead = (self.window_next + self.window - self.now) / weight;
                member.due = self.now + ahead;
                self.weigh(id.0, weight);
                self.enter_line(id.0);
            }
            (_, 0) => {
                self.leave(id.0);
                self.members[id.index()].weight = 0;
            }
            (Where::Weighted(half), _) if half == self.fresh => {
                self.leave(id.0);
                self.weigh(id.0, weight);
                self.enter_fresh(id.0);
            }
            (Where::Weighted(_) | Where::Lined, _) => {
                self.leave(id.0);
                let member = &mut self.members[id.index()];
                if place != Where::Lined {
                    member.due += self.window;
                }
                // Its step changes from where it was last, never to a later turn than before,
                // nor to one that is all but over.
                let step = self.window_next / weight;
                member.due = member.due.min(member.due_last + step);
                if member.due < self.now + 2 {
                    member.due = self.now + step;
                }
                member.rest = 0;
                self.weigh(id.0, weight);
                self.enter_line(id.0);
            }
        }
    }

    fn pick(
        &mut self,
        from: &Candidates<'_>,
        _key: Option<Key>,
        _rng: &mut Rng,
        _now_ms: u64,
    ) -> Option<MemberId> {
        let mut renewed = false;
        let chosen = loop {
            if self.window == 0 {
                self.window = self.window_next;
                self.now = self.window;
            }
            let Some(member) = self.next() else {
                if renewed {
                    break None;
                }
                renewed = true;
                self.renew();
                continue;
            };
            self.take_turn(member);
            let id = MemberId(member);
            if from.has_slot(id) && !from.is_tried(id) {
                break Some(member);
            }
            self.passed.push(member);
        };
        if let Some(member) = chosen {
            self.enter_line(member);
        }
        // Those passed over have had their turn, unless a window began meanwhile: then they
        // lost their place and count as fresh.
        while let Some(member) = self.passed.pop() {
            if renewed {
                self.enter_fresh(member);
            } else {
                self.enter_line(member);
            }
        }
        chosen.map(MemberId)
    }

    fn waiting_means_full(&self) -> bool {
        true
    }
}

impl RoundRobin {
    /// The member whose turn it is.
    fn next(&mut self) -> Option<u32> {
        let lined = self.lined.first();
        if let Some(member) = lined
            && self.members[member as usize].due <= self.now
        {
            return lined;
        }
        if let Some(member) = self.weighted[self.fresh].first() {
            let turns = &mut self.members[member as usize];
            (turns.due, turns.rest) = (0, 0);
            return Some(member);
        }
        lined
    }

    /// Takes a member out of its place and computes when it is due again.
    fn take_turn(&mut self, member: u32) {
        self.leave(member);
        let window_next = self.window_next;
        let turns = &mut self.members[member as usize];
        if turns.due == 0 {
            turns.due = self.now; // its first turn ever is this one
        }
        turns.due_last = turns.due;
        turns.due += window_next / turns.weight;
        turns.rest += window_next % turns.weight;
        if turns.rest >= turns.weight {
            turns.rest -= turns.weight;
            turns.due += 1;
        }
        self.now += 1;
    }

    fn renew(&mut self) {
        self.fresh = 1 - self.fresh;
        self.window = self.window_next;
        self.now = self.window;
    }

    fn enter_fresh(&mut self, member: u32) {
        self.enter_weighted(member, self.fresh);
    }

    fn enter_weighted(&mut self, member: u32, half: usize) {
        let turns = &mut self.members[member as usize];
        turns.place = Where::Weighted(half);
        self.weighted[half].push(&mut self.links, member, turns);
    }

    /// Sets the weight of a member that is in no place.
    fn weigh(&mut self, member: u32, weight: i64) {
        let class = self.classes.of(weight as u32);
        let turns = &mut self.members[member as usize];
        (turns.weight, turns.class) = (weight, class);
        let len = self.classes.len();
        if self.lined.lists.len() < len {
            self.lined.lists.resize(len, List::default());
            self.lined.heads.grow(len);
            for half in &mut self.weighted {
                half.lists.resize(len, List::default());
                half.heads.grow(len);
            }
        }
    }

    /// Puts a member where its due turn belongs: in line, or off to a later window.
    fn enter_line(&mut self, member: u32) {
        let turns = &mut self.members[member as usize];
        if turns.due >= 2 * self.window || turns.due >= self.window + self.window_next {
            turns.due -= self.window;
            self.enter_weighted(member, 1 - self.fresh);
            return;
        }
        // Equal turns go by what the divisions left over, in steps of a whole weight.
        let tie = (i64::from(SHARE_MAX) + turns.rest - turns.weight).max(0);
        let tie = tie / i64::from(WEIGHT_SCALE);
        turns.key = (i64::from(WEIGHT_MAX) * turns.due.max(0) + tie) as u64;
        turns.arrival = self.arrivals;
        turns.place = Where::Lined;
        self.arrivals += 1;
        self.lined.insert(&mut self.links, &self.members, member);
    }

    fn leave(&mut self, member: u32) {
        let turns = &mut self.members[member as usize];
        match std::mem::take(&mut turns.place) {
            Where::Out => {}
            Where::Weighted(half) => {
                let class = turns.class;
                self.weighted[half].remove(&mut self.links, member, class);
            }
            Where::Lined => self.lined.remove(&mut self.links, &self.members, member),
        }
    }
}

/// Members by weight, the heaviest first, equal ones in the order of arrival.
#[derive(Debug, Default)]
struct ByWeight {
    lists: Vec<List>,
    heads: Heap,
}

impl ByWeight {
    fn first(&self) -> Option<u32> {
        self.lists[self.heads.first()? as usize].first()
    }

    fn push(&mut self, links: &mut Links, member: u32, turns: &Turns) {
        let list = &mut self.lists[turns.class as usize];
        links.push_back(list, member);
        self.heads.set(turns.class, (u64::from(SHARE_MAX) - turns.weight as u64, 0));
    }

    fn remove(&mut self, links: &mut Links, member: u32, class: u32) {
        let list = &mut self.lists[class as usize];
        links.remove(list, member);
        if list.is_empty() {
            self.heads.remove(class);
        }
    }
}

/// Members by due turn: a sorted list per weight, and the order of their heads.
#[derive(Debug, Default)]
struct Line {
    lists: Vec<List>,
    heads: Heap,
}

impl Line {
    fn first(&self) -> Option<u32> {
        self.lists[self.heads.first()? as usize].first()
    }

    /// Among equal weights the newest is nearly always due last, so the search for its place
    /// from the end is short.
    fn insert(&mut self, links: &mut Links, members: &[Turns], member: u32) {
        let class = members[member as usize].class as usize;
        let list = &mut self.lists[class];
        let mut place = list.last();
        while let Some(at) = place
            && members[at as usize].key > members[member as usize].key
        {
            place = links.before(at);
        }
        links.insert_after(list, place, member);
        if place.is_none() {
            self.rank(members, class);
        }
    }

    fn remove(&mut self, links: &mut Links, members: &[Turns], member: u32) {
        let class = members[member as usize].class as usize;
        let was_first = self.lists[class].first() == Some(member);
        links.remove(&mut self.lists[class], member);
        if was_first {
            self.rank(members, class);
        }
    }

    fn rank(&mut self, members: &[Turns], class: usize) {
        match self.lists[class].first() {
            Some(head) => {
                let turns = &members[head as usize];
                self.heads.set(class as u32, (turns.key, turns.arrival));
            }
            None => self.heads.remove(class as u32),
        }
    }
}
