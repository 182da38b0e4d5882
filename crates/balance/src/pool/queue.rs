//! Units that wait: lanes (for any member, or for one alone) in one order of arrival.
//!
//! Waiters live in one slab; a lane is a list through it, so joining and leaving from anywhere
//! cost the same however many wait, and memory is that of the most that ever waited at once.

use crate::member::MemberId;
use crate::strategy::Key;

/// Proof of a place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    slot: u32,
    seq: u64,
}

/// One line of waiters, oldest first.
#[derive(Debug)]
pub(super) struct Lane {
    head: u32,
    tail: u32,
    len: u32,
    /// Waiters served from it so far.
    served: u32,
}

impl Default for Lane {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0, served: 0 }
    }
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }
}

#[derive(Debug)]
pub(super) struct Queue<W> {
    slots: Vec<Slot<W>>,
    free: u32,
    seq: u64,
    len: u32,
}

/// A waiter who left, and how far it had come.
#[derive(Debug)]
pub(super) struct Taken<W> {
    pub(super) waiter: W,
    pub(super) position: u32,
}

#[derive(Debug)]
struct Slot<W> {
    waiter: Option<W>,
    seq: u64,
    key: Option<Key>,
    member: Option<MemberId>,
    /// Stays with its member even when that goes down.
    force: bool,
    served_before: u32,
    prev: u32,
    next: u32,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: NONE, seq: 0, len: 0 }
    }
}

impl<W> Queue<W> {
    pub(super) fn push(
        &mut self,
        lane: &mut Lane,
        waiter: W,
        key: Option<Key>,
        member: Option<MemberId>,
        force: bool,
    ) -> Ticket {
        self.seq += 1;
        self.len += 1;
        let slot = Slot {
            waiter: Some(waiter),
            seq: self.seq,
            key,
            member,
            force,
            served_before: lane.served,
            prev: NONE,
            next: NONE,
        };
        let at = match self.free {
            NONE => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
            at => {
                self.free = self.slots[at as usize].next;
                self.slots[at as usize] = slot;
                at
            }
        };
        self.link(lane, lane.tail, at);
        Ticket { slot: at, seq: self.seq }
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self, lane: &mut Lane) -> Option<Taken<W>> {
        let taken = self.take(lane, lane.head)?;
        lane.served = lane.served.wrapping_add(1);
        Some(taken)
    }

    /// Takes the one with this ticket, which must be in `lane`.
    pub(super) fn cancel(&mut self, lane: &mut Lane, ticket: Ticket) -> Option<Taken<W>> {
        self.slot(ticket)?;
        self.take(lane, ticket.slot)
    }

    /// Moves those who need not wait for this member alone over to `any`, each to where its age
    /// belongs.
    pub(super) fn unpin(&mut self, lane: &mut Lane, any: &mut Lane) {
        let (mut at, mut place) = (lane.head, NONE);
        while let Some(slot) = self.slots.get(at as usize) {
            let (this, next, seq) = (at, slot.next, slot.seq);
            at = next;
            if slot.force {
                continue;
            }
            self.unlink(lane, this);
            // Both lanes are in order of age, so the search goes on from the last place.
            loop {
                let follower = match place {
                    NONE => any.head,
                    place => self.slots[place as usize].next,
                };
                match self.slots.get(follower as usize) {
                    Some(other) if other.seq < seq => place = follower,
                    _ => break,
                }
            }
            self.slots[this as usize].member = None;
            self.slots[this as usize].served_before = any.served;
            self.link(any, place, this);
        }
    }

    /// Takes out all who need not wait for this member alone.
    pub(super) fn evict(&mut self, lane: &mut Lane, out: &mut Vec<W>) {
        let mut at = lane.head;
        while let Some(slot) = self.slots.get(at as usize) {
            let (this, next, force) = (at, slot.next, slot.force);
            at = next;
            if !force {
                out.extend(self.take(lane, this).map(|taken| taken.waiter));
            }
        }
    }

    /// What the one with this ticket waits for; `None` when it waits no more.
    pub(super) fn member_of(&self, ticket: Ticket) -> Option<Option<MemberId>> {
        self.slot(ticket).map(|slot| slot.member)
    }

    pub(super) fn first_seq(&self, lane: &Lane) -> Option<u64> {
        self.slots.get(lane.head as usize).map(|slot| slot.seq)
    }

    pub(super) fn first_key(&self, lane: &Lane) -> Option<Key> {
        self.slots.get(lane.head as usize).and_then(|slot| slot.key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn slot(&self, ticket: Ticket) -> Option<&Slot<W>> {
        let slot = self.slots.get(ticket.slot as usize)?;
        (slot.seq == ticket.seq && slot.waiter.is_some()).then_some(slot)
    }

    fn take(&mut self, lane: &mut Lane, at: u32) -> Option<Taken<W>> {
        let waiter = self.slots.get_mut(at as usize)?.waiter.take()?;
        self.unlink(lane, at);
        self.len -= 1;
        let slot = &mut self.slots[at as usize];
        slot.next = self.free;
        self.free = at;
        let position = lane.served.wrapping_sub(slot.served_before).wrapping_add(1);
        Some(Taken { waiter, position })
    }

    /// Links behind `place`, in front of all when that is `NONE`.
    fn link(&mut self, lane: &mut Lane, place: u32, at: u32) {
        let next = match place {
            NONE => std::mem::replace(&mut lane.head, at),
            place => std::mem::replace(&mut self.slots[place as usize].next, at),
        };
        match next {
            NONE => lane.tail = at,
            next => self.slots[next as usize].prev = at,
        }
        self.slots[at as usize].prev = place;
        self.slots[at as usize].next = next;
        lane.len += 1;
    }

    fn unlink(&mut self, lane: &mut Lane, at: u32) {
        let (prev, next) = (self.slots[at as usize].prev, self.slots[at as usize].next);
        match prev {
            NONE => lane.head = next,
            prev => self.slots[prev as usize].next = next,
        }
        match next {
            NONE => lane.tail = prev,
            next => self.slots[next as usize].prev = prev,
        }
        lane.len -= 1;
    }
}

const NONE: u32 = u32::MAX;
