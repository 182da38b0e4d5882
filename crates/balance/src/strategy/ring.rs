//! The circle of consistent hashing: points on it, each a member's, in order.
//!
//! Points are spread evenly (they come out of [`avalanche`]), so a table of stretches with two
//! points each on average finds the neighbors of any place at once, and coming and going costs no
//! more: a weight that changes among ten thousand members moves only its own points.

use crate::hash::avalanche;
use crate::member::MemberId;

/// Where members lie on the circle. 12 bytes a point, 2 for the stretches.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    points: Vec<Point>,
    /// First point of each stretch; as many as a power of two, or none.
    stretches: Vec<u32>,
    /// How far a place is shifted to give its stretch.
    shift: u32,
    free: u32,
    len: usize,
}

/// A point by its index.
pub(crate) type PointId = u32;

#[derive(Debug, Clone, Copy)]
struct Point {
    place: u32,
    member: MemberId,
    /// The next of the same stretch, or of the free ones.
    next: u32,
}

/// The place of a member's point: `number` is what the configuration knows it by (HAProxy's `id`),
/// so that balancers with the same numbers agree.
pub(crate) fn place(number: u32, nth: u32) -> u32 {
    avalanche(number.wrapping_mul(POINTS_MAX).wrapping_add(nth))
}

impl Ring {
    /// Empties it.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn insert(&mut self, place: u32, member: MemberId) {
        if self.len + 1 > self.stretches.len() * CROWDED {
            self.resize(self.len + 1);
        }
        let point = Point { place, member, next: NONE };
        let id = if self.len == self.points.len() {
            self.points.push(point);
            self.points.len() as u32 - 1
        } else {
            let id = self.free;
            self.free = self.points[id as usize].next;
            self.points[id as usize] = point;
            id
        };
        self.len += 1;
        self.link(id);
    }

    /// Takes a member's point out; `None` when there is no such point, else the point that was
    /// removed and the one behind it.
    pub(crate) fn remove(&mut self, place: u32, member: MemberId) -> Option<Removed> {
        let stretch = self.stretch(place);
        let mut before = NONE;
        let mut at = *self.stretches.get(stretch)?;
        while at != NONE {
            let point = self.points[at as usize];
            if point.place == place && point.member == member {
                break;
            }
            (before, at) = (at, point.next);
        }
        if at == NONE {
            return None;
        }
        let behind = self.after(at).filter(|behind| *behind != at);
        let next = self.points[at as usize].next;
        match before {
            NONE => self.stretches[stretch] = next,
            before => self.points[before as usize].next = next,
        }
        self.points[at as usize].next = self.free;
        self.free = at;
        self.len -= 1;
        if self.len * SPARSE < self.stretches.len() {
            self.resize(self.len.max(1));
        }
        Some(Removed { point: at, behind })
    }

    /// The point closest to `place`, the one before it when both are as far.
    pub(crate) fn closest(&self, place: u32) -> Option<PointId> {
        let stretch = self.stretch(place);
        let (mut before, mut at) = (NONE, *self.stretches.get(stretch)?);
        while at != NONE && self.points[at as usize].place < place {
            (before, at) = (at, self.points[at as usize].next);
        }
        let next = if at == NONE { self.first_from(stretch + 1)? } else { at };
        let before = if before == NONE { self.last_before(stretch)? } else { before };
        let ahead = self.points[next as usize].place.wrapping_sub(place);
        let back = place.wrapping_sub(self.points[before as usize].place);
        Some(if back <= ahead { before } else { next })
    }

    /// The one behind a point, round the circle; itself when it is alone.
    pub(crate) fn after(&self, point: PointId) -> Option<PointId> {
        let Point { place, next, .. } = self.points[point as usize];
        if next != NONE { Some(next) } else { self.first_from(self.stretch(place) + 1) }
    }

    /// The lowest place.
    pub(crate) fn first(&self) -> Option<PointId> {
        self.first_from(0)
    }

    /// The highest place.
    pub(crate) fn last(&self) -> Option<PointId> {
        self.last_before(self.stretches.len())
    }

    pub(crate) fn member(&self, point: PointId) -> MemberId {
        self.points[point as usize].member
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first point of this stretch or a later one, round the circle.
    fn first_from(&self, stretch: usize) -> Option<PointId> {
        let (front, back) =
            self.stretches.split_at_checked(stretch).unwrap_or((&self.stretches, &[]));
        back.iter().chain(front).copied().find(|point| *point != NONE)
    }

    /// The last point of an earlier stretch, round the circle.
    fn last_before(&self, stretch: usize) -> Option<PointId> {
        let (front, back) = self.stretches.split_at(stretch);
        let mut order = front.iter().rev().chain(back.iter().rev()).copied();
        let mut at = order.find(|point| *point != NONE)?;
        while self.points[at as usize].next != NONE {
            at = self.points[at as usize].next;
        }
        Some(at)
    }

    fn stretch(&self, place: u32) -> usize {
        (u64::from(place) >> self.shift) as usize
    }

    /// Puts a point where its place belongs, behind equal ones.
    fn link(&mut self, id: PointId) {
        let place = self.points[id as usize].place;
        let stretch = self.stretch(place);
        let (mut before, mut at) = (NONE, self.stretches[stretch]);
        while at != NONE && self.points[at as usize].place <= place {
            (before, at) = (at, self.points[at as usize].next);
        }
        self.points[id as usize].next = at;
        match before {
            NONE => self.stretches[stretch] = id,
            before => self.points[before as usize].next = id,
        }
    }

    /// Cuts the circle into stretches for that many points.
    fn resize(&mut self, len: usize) {
        let stretches = len.next_power_of_two();
        let mut order = Vec::with_capacity(self.len);
        for first in &self.stretches {
            let mut at = *first;
            while at != NONE {
                order.push(at);
                at = self.points[at as usize].next;
            }
        }
        self.stretches = vec![NONE; stretches];
        self.shift = u32::BITS - stretches.ilog2();
        // In order of their places, and each goes behind equal ones: their order stays.
        for id in order {
            self.link(id);
        }
    }
}

/// What [`Ring::remove`] did.
pub(crate) struct Removed {
    pub(crate) point: PointId,
    pub(crate) behind: Option<PointId>,
}

/// The most points a member can have: a weight of 256 in sixteenths.
pub(crate) const POINTS_MAX: u32 = 4096;

/// Points for each stretch before the circle is cut anew.
const CROWDED: usize = 2;
/// Stretches for each point before that.
const SPARSE: usize = 8;

const NONE: u32 = u32::MAX;
