//! The wheel itself: which entries are due at a tick. No clock, no I/O.
//!
//! Seven levels of 64 slots; a slot of level `l` spans `64^l` ticks. An entry stands in the slot
//! of its deadline, or of an earlier one: moving a deadline *later* is a store, and the entry is
//! moved on when its old slot comes up. Moving it earlier unlinks it and links it anew. All are
//! O(1); the next slot that needs a look is found in a bit map.

/// Entries with a deadline each, in ticks.
#[derive(Debug)]
pub(crate) struct Core<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
    heads: [[u32; SLOTS]; LEVELS],
    /// A bit per slot that has entries.
    occupied: [u64; LEVELS],
    /// Everything up to here has been looked at.
    now: u64,
}

/// The name of an entry. A removed entry's key finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    value: Option<T>,
    /// When it is due; `NEVER` while disarmed.
    deadline: u64,
    /// The first tick of the slot it stands in; `NEVER` while it stands in none.
    queued: u64,
    generation: u32,
    level: u8,
    slot: u8,
    prev: u32,
    /// The next entry of the slot, or of the free list.
    next: u32,
}

/// A deadline that does not come.
pub(crate) const NEVER: u64 = u64::MAX;

const LEVELS: usize = 7;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// Deadlines beyond this are due here (at 4 ms a tick: in 557 years).
const LAST: u64 = (1 << (BITS * LEVELS as u32)) - 1;
const NONE: u32 = u32::MAX;

impl Key {
    /// The key as a number, for the kernel to carry.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl<T> Core<T> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            len: 0,
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            now: 0,
        }
    }

    /// Adds a disarmed entry.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.len += 1;
        if self.free == NONE {
            let index = self.entries.len() as u32;
            assert!(index != NONE, "four thousand million timers");
            self.entries.push(Entry {
                value: Some(value),
                deadline: NEVER,
                queued: NEVER,
                generation: 0,
                level: 0,
                slot: 0,
                prev: NONE,
                next: NONE,
            });
            return Key { index, generation: 0 };
        }
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        entry.value = Some(value);
        entry.next = NONE;
        Key { index, generation: entry.generation }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        self.unlink(key.index);
        let entry = &mut self.entries[key.index as usize];
        let value = entry.value.take();
        entry.deadline = NEVER;
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = key.index;
        self.len -= 1;
        value
    }

    /// Sets the tick at which the entry is due; [`NEVER`] disarms it. A tick that has passed is
    /// due at the next one. Whether that may be the first of all.
    pub(crate) fn set_deadline(&mut self, key: Key, deadline: u64) -> bool {
        let found = self.entries.get_mut(key.index as usize);
        let Some(entry) = found.filter(|e| e.generation == key.generation && e.value.is_some())
        else {
            return false;
        };
        entry.deadline = deadline;
        if deadline >= entry.queued {
            return false;
        }
        self.unlink(key.index);
        self.link(key.index);
        true
    }

    /// Looks at everything up to tick `to` and appends what is due to `due`. Those entries are
    /// disarmed.
    pub(crate) fn advance(&mut self, to: u64, due: &mut Vec<Key>) {
        while let Some((level, slot, start)) = self.next_slot()
            && start <= to
        {
            self.now = start;
            let mut index = std::mem::replace(&mut self.heads[level][slot], NONE);
            self.occupied[level] &= !(1 << slot);
            while index != NONE {
                let entry = &mut self.entries[index as usize];
                let next = entry.next;
                entry.queued = NEVER;
                entry.prev = NONE;
                entry.next = NONE;
                if entry.deadline <= to {
                    entry.deadline = NEVER;
                    due.push(Key { index, generation: entry.generation });
                } else if entry.deadline != NEVER {
                    self.link(index);
                }
                index = next;
            }
        }
        self.now = self.now.max(to);
    }

    /// The first tick at which [`Core::advance`] has something to look at.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.next_slot().map(|(_, _, start)| start)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(crate) fn entry_size(&self) -> usize {
        size_of_val(&self.entries[0])
    }

    /// The keys of all entries.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let keyed = self.entries.iter().zip(0..).filter(|(entry, _)| entry.value.is_some());
        keyed.map(|(entry, index)| Key { index, generation: entry.generation }).collect()
    }

    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        // Slots of a level lie within the current slot of the level above, so that the first
        // level with entries has the first slot.
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = BITS * level as u32;
        let block = self.now >> (shift + BITS) << (shift + BITS);
        Some((level, slot, block | (slot as u64) << shift))
    }

    fn link(&mut self, index: u32) {
        let when = self.entries[index as usize].deadline.clamp(self.now + 1, LAST);
        // The level is that of the highest digit in which `when` differs from `now`.
        let level = (63 - ((self.now ^ when) | 1).leading_zeros()) / BITS;
        let shift = BITS * level;
        let slot = (when >> shift) as usize % SLOTS;
        let level = level as usize;
        let head = std::mem::replace(&mut self.heads[level][slot], index);
        self.occupied[level] |= 1 << slot;
        if head != NONE {
            self.entries[head as usize].prev = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.queued = when >> shift << shift;
        entry.level = level as u8;
        entry.slot = slot as u8;
        entry.prev = NONE;
        entry.next = head;
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        if entry.queued == NEVER {
            return;
        }
        let (prev, next) = (entry.prev, entry.next);
        let (level, slot) = (usize::from(entry.level), usize::from(entry.slot));
        entry.queued = NEVER;
        entry.prev = NONE;
        entry.next = NONE;
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if prev != NONE {
            self.entries[prev as usize].next = next;
        } else {
            self.heads[level][slot] = next;
            if next == NONE {
                self.occupied[level] &= !(1 << slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the wheel from `start`, stepping from one `next_tick` to the next, and returns when
    /// each deadline came up.
    #[track_caller]
    fn check(start: u64, deadlines: &[u64], looks_max: usize) {
        let mut core = Core::new();
        let mut due = Vec::new();
        core.advance(start, &mut due);
        for &deadline in deadlines {
            let key = core.insert(deadline);
            core.set_deadline(key, deadline);
        }
        let mut fired = Vec::new();
        let mut looks = 0;
        while let Some(tick) = core.next_tick() {
            looks += 1;
            core.advance(tick, &mut due);
            for key in due.drain(..) {
                fired.push((tick, core.remove(key).unwrap()));
            }
        }
        let mut expected: Vec<_> =
            deadlines.iter().map(|&deadline| (deadline.max(start + 1), deadline)).collect();
        expected.sort_unstable();
        fired.sort_unstable();
        assert_eq!(fired, expected);
        assert!(looks <= looks_max, "{looks} looks");
        assert_eq!(core.len(), 0);
    }

    #[test]
    fn every_deadline_comes_at_its_tick() {
        check(0, &[], 0);
        check(0, &[1], 1);
        check(0, &[63, 64, 65], 4);
        check(0, &[0, 0, 1], 1); // passed: at the next tick
        check(5, &[3], 1);
        check(62, &[63, 64, 4095, 4096, 4097], 10);
        check(12_345, &[12_346, 20_000, 300_000, 16_000_000], 14);
        check(4095, &[4096], 2);
        check(1 << 35, &[(1 << 35) + 1, (1 << 36) + 1], 9);
    }

    #[test]
    fn random_deadlines_come_at_their_tick() {
        let mut seed = 0x9e37_79b9_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for round in 0..50 {
            let start = random() % 1_000_000;
            let deadlines: Vec<u64> =
                (0..200).map(|_| start + random() % (1 << (2 + round % 30))).collect();
            check(start, &deadlines, usize::MAX);
        }
    }

    #[test]
    fn a_later_deadline_is_only_a_store_and_an_earlier_one_moves() {
        let mut core = Core::new();
        let mut due = Vec::new();
        let key = core.insert(());
        core.set_deadline(key, 10);
        core.set_deadline(key, 500);
        assert_eq!(core.next_tick(), Some(10)); // still in its old slot
        core.advance(10, &mut due);
        assert!(due.is_empty());
        core.set_deadline(key, 12);
        assert_eq!(core.next_tick(), Some(12));
        core.advance(11, &mut due);
        assert!(due.is_empty());
        core.advance(12, &mut due);
        assert_eq!(due, [key]);
        assert_eq!(core.next_tick(), None);
    }

    #[test]
    fn a_disarmed_or_removed_entry_does_not_come() {
        let mut core = Core::new();
        let mut due = Vec::new();
        let (disarmed, removed) = (core.insert(1), core.insert(2));
        core.set_deadline(disarmed, 10);
        core.set_deadline(removed, 10);
        core.set_deadline(disarmed, NEVER);
        assert_eq!(core.remove(removed), Some(2));
        assert_eq!(core.remove(removed), None);
        core.advance(1000, &mut due);
        assert!(due.is_empty());
        assert_eq!(core.next_tick(), None);
        let reused = core.insert(3);
        assert_eq!(core.get(removed), None);
        core.set_deadline(removed, 1001); // a stale key changes nothing
        assert_eq!(core.next_tick(), None);
        assert_eq!(Key::from_bits(reused.to_bits()), reused);
    }

    #[test]
    fn a_long_sleep_finds_all_that_passed() {
        let mut core = Core::new();
        let mut due = Vec::new();
        for deadline in (1..10_000).step_by(7) {
            let key = core.insert(deadline);
            core.set_deadline(key, deadline);
        }
        core.advance(1_000_000, &mut due);
        assert_eq!(due.len(), (1..10_000).step_by(7).count());
    }
}
