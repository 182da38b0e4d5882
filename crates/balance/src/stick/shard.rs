//! A part of a table: entries side by side, an index from hashes to entries, and the order in which they were touched.
//!
//! ```text
//! index: hash -> entry      entry: newer | older | expire | refs | hash | key | data
//! ```
//!
//! Entries stand in chunks that never move, so that a growing table copies nothing but its index. The order is a list
//! through the entries that nobody holds: who is touched goes to its end, who is evicted comes from its beginning.

use super::data::{Layout, get_u32, put_u32};

#[derive(Debug)]
pub(super) struct Shard {
    key_width: usize,
    /// Bytes of an entry.
    width: usize,
    chunks: Vec<Box<[u8]>>,
    /// Entries that were ever used; those after it in the last chunk were not.
    made: u32,
    /// The first of the unused ones, linked by `NEWER`.
    free: u32,
    /// Hash (upper half) and entry + 1 (lower half); 0 is empty. A power of two, at most three quarters full.
    index: Box<[u64]>,
    used: u32,
    oldest: u32,
    newest: u32,
}

/// Offsets in an entry.
const NEWER: usize = 0;
const OLDER: usize = 4;
const EXPIRE: usize = 8;
const REFS: usize = 12;
const HASH: usize = 16;
const KEY: usize = 20;

const NONE: u32 = u32::MAX;
const CHUNK_ENTRIES: u32 = 128;

impl Shard {
    pub(super) fn new(layout: &Layout) -> Self {
        Self {
            key_width: layout.key,
            width: KEY + layout.width,
            chunks: Vec::new(),
            made: 0,
            free: NONE,
            index: Box::default(),
            used: 0,
            oldest: NONE,
            newest: NONE,
        }
    }

    /// The entry of a key, which has no zeros at its end where the type fills keys up.
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<u32> {
        let mask = self.index.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.index[at];
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == hash {
                let entry = slot as u32 - 1;
                let stored = self.stored_key(entry);
                let (same, rest) = stored.split_at(key.len().min(stored.len()));
                if same == key && rest.iter().all(|byte| *byte == 0) {
                    return Some(entry);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a key that is not there; nobody holds it.
    pub(super) fn insert(&mut self, hash: u32, key: &[u8]) -> u32 {
        if (self.used as usize + 1) * 4 > self.index.len() * 3 {
            self.grow_index();
        }
        let entry = self.unused();
        let key_width = self.key_width;
        let bytes = self.bytes_mut(entry);
        bytes.fill(0);
        put_u32(bytes, HASH, hash);
        let width = key.len().min(key_width);
        bytes[KEY..KEY + width].copy_from_slice(&key[..width]);
        self.put_in_index(u64::from(hash) << 32 | u64::from(entry + 1));
        self.used += 1;
        self.append(entry);
        entry
    }

    /// Forgets an entry's data.
    pub(super) fn reset(&mut self, entry: u32) {
        self.data(entry).fill(0);
    }

    /// Removes an entry that nobody holds.
    pub(super) fn remove(&mut self, entry: u32) {
        self.unlink(entry);
        self.take_from_index(entry);
        self.used -= 1;
        let free = self.free;
        put_u32(self.bytes_mut(entry), NEWER, free);
        self.free = entry;
        // Marks it as unused.
        put_u32(self.bytes_mut(entry), REFS, NONE);
        if self.used == 0 && self.chunks.len() > 1 {
            (self.made, self.free) = (0, NONE);
            self.chunks = Vec::new();
            self.index = Box::default();
        }
    }

    /// The entry that was touched longest ago, of those that nobody holds.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Sets when its time is over; it is the newest from now on.
    pub(super) fn touch(&mut self, entry: u32, expire: u32) {
        put_u32(self.bytes_mut(entry), EXPIRE, expire);
        if self.refs(entry) == 0 && self.newest != entry {
            self.unlink(entry);
            self.append(entry);
        }
    }

    pub(super) fn hold(&mut self, entry: u32) {
        let refs = self.refs(entry);
        if refs == 0 {
            self.unlink(entry);
        }
        put_u32(self.bytes_mut(entry), REFS, refs + 1);
    }

    pub(super) fn release(&mut self, entry: u32) {
        let refs = self.refs(entry);
        put_u32(self.bytes_mut(entry), REFS, refs - 1);
        if refs == 1 {
            self.append(entry);
        }
    }

    pub(super) fn refs(&self, entry: u32) -> u32 {
        get_u32(self.bytes(entry), REFS)
    }

    pub(super) fn expire(&self, entry: u32) -> u32 {
        get_u32(self.bytes(entry), EXPIRE)
    }

    /// The bytes of its key, filled up with zeros.
    pub(super) fn key(&self, entry: u32) -> &[u8] {
        self.stored_key(entry)
    }

    pub(super) fn data(&mut self, entry: u32) -> &mut [u8] {
        let at = KEY + self.key_width;
        &mut self.bytes_mut(entry)[at..]
    }

    /// Visits every entry.
    pub(super) fn entries(&mut self, mut visit: impl FnMut(&mut Self, u32)) {
        for entry in 0..self.made {
            if self.refs(entry) != NONE {
                visit(self, entry);
            }
        }
    }

    fn bytes(&self, entry: u32) -> &[u8] {
        let at = (entry % CHUNK_ENTRIES) as usize * self.width;
        &self.chunks[(entry / CHUNK_ENTRIES) as usize][at..at + self.width]
    }

    fn bytes_mut(&mut self, entry: u32) -> &mut [u8] {
        let at = (entry % CHUNK_ENTRIES) as usize * self.width;
        &mut self.chunks[(entry / CHUNK_ENTRIES) as usize][at..at + self.width]
    }

    fn stored_key(&self, entry: u32) -> &[u8] {
        &self.bytes(entry)[KEY..KEY + self.key_width]
    }

    /// A place for an entry.
    fn unused(&mut self) -> u32 {
        if self.free != NONE {
            let entry = self.free;
            self.free = get_u32(self.bytes(entry), NEWER);
            return entry;
        }
        if self.made.is_multiple_of(CHUNK_ENTRIES) {
            self.chunks.push(vec![0; CHUNK_ENTRIES as usize * self.width].into());
        }
        self.made += 1;
        self.made - 1
    }

    fn append(&mut self, entry: u32) {
        let newest = self.newest;
        let bytes = self.bytes_mut(entry);
        put_u32(bytes, OLDER, newest);
        put_u32(bytes, NEWER, NONE);
        if newest == NONE {
            self.oldest = entry;
        } else {
            put_u32(self.bytes_mut(newest), NEWER, entry);
        }
        self.newest = entry;
    }

    fn unlink(&mut self, entry: u32) {
        let bytes = self.bytes(entry);
        let (newer, older) = (get_u32(bytes, NEWER), get_u32(bytes, OLDER));
        match older {
            NONE => self.oldest = newer,
            older => put_u32(self.bytes_mut(older), NEWER, newer),
        }
        match newer {
            NONE => self.newest = older,
            newer => put_u32(self.bytes_mut(newer), OLDER, older),
        }
    }

    fn put_in_index(&mut self, slot: u64) {
        let mask = self.index.len() - 1;
        let mut at = (slot >> 32) as usize & mask;
        while self.index[at] != 0 {
            at = (at + 1) & mask;
        }
        self.index[at] = slot;
    }

    /// Takes an entry out, and moves those behind it to where they would be without it.
    fn take_from_index(&mut self, entry: u32) {
        let mask = self.index.len() - 1;
        let mut gap = get_u32(self.bytes(entry), HASH) as usize & mask;
        while self.index[gap] as u32 != entry + 1 {
            gap = (gap + 1) & mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let slot = self.index[at];
            if slot == 0 {
                break;
            }
            let home = (slot >> 32) as usize & mask;
            // It may fill the gap unless its home lies between the gap and itself.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.index[gap] = slot;
                gap = at;
            }
        }
        self.index[gap] = 0;
    }

    fn grow_index(&mut self) {
        let len = (self.index.len() * 2).max(16);
        let before = std::mem::replace(&mut self.index, vec![0; len].into());
        for slot in before {
            if slot != 0 {
                self.put_in_index(slot);
            }
        }
    }
}
