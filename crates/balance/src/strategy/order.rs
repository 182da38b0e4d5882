//! Ordered structures over small integers that never allocate once sized.
//!
//! Members of equal weight keep their order among themselves, so the strategies that order
//! members hold one list per weight and compare only the heads: the cost of a choice follows
//! the number of distinct weights (at most 256), not of members.

/// Links of doubly linked lists through `0..n`; an element is in at most one list.
#[derive(Debug, Default)]
pub(crate) struct Links {
    next: Vec<u32>,
    prev: Vec<u32>,
}

/// One list through [`Links`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE }
    }
}

impl List {
    pub(crate) fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(crate) fn last(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

impl Links {
    /// Makes room for elements below `len`.
    pub(crate) fn resize(&mut self, len: usize) {
        self.next.resize(len, NONE);
        self.prev.resize(len, NONE);
    }

    pub(crate) fn push_back(&mut self, list: &mut List, element: u32) {
        self.insert_after(list, list.last(), element);
    }

    pub(crate) fn push_front(&mut self, list: &mut List, element: u32) {
        self.insert_after(list, None, element);
    }

    /// Inserts behind `place`, or in front of all.
    pub(crate) fn insert_after(&mut self, list: &mut List, place: Option<u32>, element: u32) {
        let prev = place.unwrap_or(NONE);
        let next = place.map_or(list.head, |p| self.next[p as usize]);
        self.prev[element as usize] = prev;
        self.next[element as usize] = next;
        match place {
            Some(p) => self.next[p as usize] = element,
            None => list.head = element,
        }
        match next {
            NONE => list.tail = element,
            next => self.prev[next as usize] = element,
        }
    }

    pub(crate) fn remove(&mut self, list: &mut List, element: u32) {
        let (prev, next) = (self.prev[element as usize], self.next[element as usize]);
        match prev {
            NONE => list.head = next,
            prev => self.next[prev as usize] = next,
        }
        match next {
            NONE => list.tail = prev,
            next => self.prev[next as usize] = prev,
        }
    }

    pub(crate) fn before(&self, element: u32) -> Option<u32> {
        let prev = self.prev[element as usize];
        (prev != NONE).then_some(prev)
    }
}

/// A position in an order: the key, then who came first.
pub(crate) type Rank = (u64, u64);

/// A binary heap over `0..n` whose elements can be moved and removed in place.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    order: Vec<u32>,
    place: Vec<u32>,
    rank: Vec<Rank>,
}

impl Heap {
    /// Makes room for elements below `len`, and keeps those that are in.
    pub(crate) fn grow(&mut self, len: usize) {
        self.place.resize(len, NONE);
        self.rank.resize(len, (0, 0));
    }

    /// The element of the lowest rank.
    pub(crate) fn first(&self) -> Option<u32> {
        self.order.first().copied()
    }

    /// Puts an element in, or moves it to a new rank.
    pub(crate) fn set(&mut self, element: u32, rank: Rank) {
        let mut at = self.place[element as usize];
        if at != NONE && self.rank[element as usize] == rank {
            return;
        }
        self.rank[element as usize] = rank;
        if at == NONE {
            at = self.order.len() as u32;
            self.order.push(element);
            self.place[element as usize] = at;
        }
        self.settle(at as usize);
    }

    /// Takes an element out, if it is in.
    pub(crate) fn remove(&mut self, element: u32) {
        let at = self.place[element as usize];
        if at == NONE {
            return;
        }
        self.order.swap_remove(at as usize);
        self.place[element as usize] = NONE;
        if let Some(&moved) = self.order.get(at as usize) {
            self.place[moved as usize] = at;
            self.settle(at as usize);
        }
    }

    fn settle(&mut self, mut at: usize) {
        let element = self.order[at];
        let rank = self.rank[element as usize];
        while at > 0 && rank < self.rank_at((at - 1) / 2) {
            self.put(at, self.order[(at - 1) / 2]);
            at = (at - 1) / 2;
        }
        loop {
            let mut child = 2 * at + 1;
            if child + 1 < self.order.len() && self.rank_at(child + 1) < self.rank_at(child) {
                child += 1;
            }
            if child >= self.order.len() || self.rank_at(child) >= rank {
                break;
            }
            self.put(at, self.order[child]);
            at = child;
        }
        self.put(at, element);
    }

    fn put(&mut self, at: usize, element: u32) {
        self.order[at] = element;
        self.place[element as usize] = at as u32;
    }

    fn rank_at(&self, at: usize) -> Rank {
        self.rank[self.order[at] as usize]
    }
}

/// The distinct shares of a group's members, numbered as they come up: at most as many as there
/// are shares, nearly always a few.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    shares: Vec<u32>,
    /// The numbers, by their share.
    sorted: Vec<u32>,
}

impl Classes {
    /// The number of a share.
    pub(crate) fn of(&mut self, share: u32) -> u32 {
        match self.sorted.binary_search_by_key(&share, |class| self.shares[*class as usize]) {
            Ok(at) => self.sorted[at],
            Err(at) => {
                let class = self.shares.len() as u32;
                self.shares.push(share);
                self.sorted.insert(at, class);
                class
            }
        }
    }

    pub(crate) fn share(&self, class: u32) -> u32 {
        self.shares[class as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.shares.len()
    }
}

const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn a_heap_yields_its_elements_in_order() {
        let mut rng = Rng::new(3);
        let mut heap = Heap::default();
        heap.grow(100);
        let mut model = [None; 100];
        for seq in 0..20_000 {
            let element = rng.below(100) as usize;
            if rng.below(3) == 0 {
                heap.remove(element as u32);
                model[element] = None;
            } else {
                let rank = (rng.below(20), seq);
                heap.set(element as u32, rank);
                model[element] = Some(rank);
            }
            let lowest = (0..100).filter(|e| model[*e].is_some()).min_by_key(|e| model[*e]);
            assert_eq!(heap.first(), lowest.map(|e| e as u32));
        }
    }
}
