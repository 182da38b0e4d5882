//! Stick tables: what is remembered of a key (an address, a cookie, a number) and how often it did what.
//!
//! A [`Table`] maps keys of one [`KeyType`] to entries of a fixed layout: the data that its [`TableConfig`] stores.
//! Workers share it: keys are spread over shards by a keyed hash, and every access takes one short lock, that of the
//! key's shard. Nothing is allocated for a key that is there already.
//!
//! ```
//! use telamon_balance::stick::{DataType, Key, KeyType, Stored, Table, TableConfig};
//!
//! let store = vec![Stored::rate(DataType::HttpReqRate, 10_000)];
//! let config = TableConfig { store, expire_ms: 30_000, ..TableConfig::new(KeyType::Ip, 100_000) };
//! let table = Table::new(&config, 7);
//! let key = Key::from([192, 0, 2, 1]);
//! table.update(&key, 0, |entry| _ = entry.add(DataType::HttpReqRate, 3));
//! assert_eq!(table.read(&key, 5_000, |entry| entry.get(DataType::HttpReqRate)), Some(Some(3)));
//! assert_eq!(table.read(&key, 30_000, |_| ()), None); // it has expired
//! ```
//!
//! **Bounds.** No more than `size` entries at any time, whatever the shards. A new key in a full table takes the place
//! of the entry of its shard that was touched longest ago (tables of up to 16,384 entries are one shard, so there it is
//! the oldest of all); entries that somebody holds stay. With `no_purge` the new key is refused instead. An entry whose
//! time is over is not there any more for whoever asks; its memory is used again by the next key that needs some, or
//! when [`Table::sweep`] comes by. An entry takes 20 bytes, its key, its data, and some 16 bytes of the index.
//!
//! **Held entries.** [`Table::track`] gives a [`Tracked`], with which an entry is reached without looking for it, and
//! which keeps it from being removed. It is given back by [`Tracked::release`].
//!
//! Time is milliseconds from any fixed start; 32 bits wrap after 49 days without harm. Rates are those of HAProxy's
//! counters over two periods, to the digit.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

mod data;
mod key;
mod rate;
mod shard;
#[cfg(test)]
mod tests;

pub use data::{Cell, DataType, Entry, Stored};
pub use key::{Key, KeyType};

use data::Layout;
use shard::Shard;

/// What a table is like: its `stick-table` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    pub key: KeyType,
    /// Entries at most, from 1.
    pub size: u32,
    /// How long an entry stays that nobody touches; 0 is for ever, at most 2^31 - 1.
    pub expire_ms: u32,
    /// A full table refuses new keys.
    pub no_purge: bool,
    /// Each data type once.
    pub store: Vec<Stored>,
}

impl TableConfig {
    /// A table that stores nothing and keeps its entries until it is full.
    pub fn new(key: KeyType, size: u32) -> Self {
        Self { key, size, expire_ms: 0, no_purge: false, store: Vec::new() }
    }
}

/// A table that all workers share.
#[derive(Debug)]
pub struct Table {
    key: KeyType,
    layout: Layout,
    seed: u64,
    size: AtomicU32,
    expire_ms: AtomicU32,
    no_purge: AtomicBool,
    /// Entries there are, or for which a place is taken.
    used: AtomicU32,
    /// A power of two.
    shards: Box<[Mutex<Shard>]>,
    servers: RwLock<ServerKeys>,
}

/// The names of servers that entries refer to by a number.
#[derive(Debug, Default)]
struct ServerKeys {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

/// An entry that is held: it is not removed before it is released.
#[derive(Debug)]
#[must_use = "an entry that is not released is held for ever"]
pub struct Tracked {
    table: Arc<Table>,
    shard: u32,
    entry: u32,
}

impl Table {
    /// `seed` makes the spread of keys unpredictable for those who choose them.
    pub fn new(config: &TableConfig, seed: u64) -> Self {
        let layout = Layout::new(config.key, &config.store);
        let shards = (config.size / SHARD_ENTRIES).clamp(1, SHARDS_MAX).next_power_of_two();
        Self {
            key: config.key,
            seed,
            size: AtomicU32::new(config.size.max(1)),
            expire_ms: AtomicU32::new(config.expire_ms),
            no_purge: AtomicBool::new(config.no_purge),
            used: AtomicU32::new(0),
            shards: (0..shards).map(|_| Mutex::new(Shard::new(&layout))).collect(),
            servers: RwLock::default(),
            layout,
        }
    }

    /// Takes over another configuration, if its keys and data are those of this table; entries stay. A size below what
    /// is used is reached by and by.
    pub fn reconfigure(&self, config: &TableConfig) -> bool {
        if self.key != config.key || self.layout != Layout::new(config.key, &config.store) {
            return false;
        }
        self.size.store(config.size.max(1), Relaxed);
        self.expire_ms.store(config.expire_ms, Relaxed);
        self.no_purge.store(config.no_purge, Relaxed);
        true
    }

    pub fn key_type(&self) -> KeyType {
        self.key
    }

    /// Entries at most.
    pub fn size(&self) -> u32 {
        self.size.load(Relaxed)
    }

    /// Entries there are; among them those whose time is over and that were not swept yet.
    pub fn used(&self) -> u32 {
        self.used.load(Relaxed)
    }

    /// How long an entry stays that nobody touches; 0 is for ever.
    pub fn expire_ms(&self) -> u32 {
        self.expire_ms.load(Relaxed)
    }

    /// What is stored, in the order in which it is shown.
    pub fn stored(&self) -> impl Iterator<Item = Stored> + '_ {
        self.layout.stored()
    }

    /// Whether the table has data of a type.
    pub fn stores(&self, data: DataType) -> bool {
        self.layout.find(Cell::from(data)).is_some()
    }

    /// Looks at the entry of a key; `None` when there is none. That alone does not make it live longer.
    pub fn read<R>(
        &self,
        key: &Key<'_>,
        now_ms: u32,
        read: impl FnOnce(&mut Entry<'_>) -> R,
    ) -> Option<R> {
        let hash = self.hash(key);
        let mut shard = self.shard(hash);
        let entry = self.find(&mut shard, hash, key, now_ms)?;
        Some(self.visit(&mut shard, entry, now_ms, read))
    }

    /// Changes the entry of a key, which is made if need be; `None` when the table is full and none can go.
    pub fn update<R>(
        &self,
        key: &Key<'_>,
        now_ms: u32,
        update: impl FnOnce(&mut Entry<'_>) -> R,
    ) -> Option<R> {
        let hash = self.hash(key);
        let (mut shard, entry) = self.find_or_add(hash, key, now_ms)?;
        Some(self.visit(&mut shard, entry, now_ms, |entry| {
            entry.touch();
            update(entry)
        }))
    }

    /// As [`update`](Self::update), and holds the entry from then on.
    pub fn track(
        self: &Arc<Self>,
        key: &Key<'_>,
        now_ms: u32,
        update: impl FnOnce(&mut Entry<'_>),
    ) -> Option<Tracked> {
        let hash = self.hash(key);
        let (mut shard, entry) = self.find_or_add(hash, key, now_ms)?;
        shard.hold(entry);
        self.visit(&mut shard, entry, now_ms, |entry| {
            entry.touch();
            update(entry);
        });
        drop(shard);
        Some(Tracked { table: Arc::clone(self), shard: self.shard_of(hash) as u32, entry })
    }

    /// Removes the entry of a key: `None` when there is none, `false` when it is held.
    pub fn remove(&self, key: &Key<'_>, now_ms: u32) -> Option<bool> {
        self.remove_if(key, now_ms, |_| true)
    }

    /// As [`remove`](Self::remove), of an entry that fits; `false` also when it does not.
    pub fn remove_if(
        &self,
        key: &Key<'_>,
        now_ms: u32,
        fits: impl FnOnce(&mut Entry<'_>) -> bool,
    ) -> Option<bool> {
        let hash = self.hash(key);
        let mut shard = self.shard(hash);
        let entry = self.find(&mut shard, hash, key, now_ms)?;
        let fits = self.visit(&mut shard, entry, now_ms, fits);
        let goes = fits && shard.refs(entry) == 0;
        if goes {
            self.drop_entry(&mut shard, entry);
        }
        Some(goes)
    }

    /// The keys there are, in the order of their bytes. Each shard is locked for as long as it takes to copy its own.
    pub fn keys(&self, now_ms: u32) -> Vec<Box<[u8]>> {
        let mut keys = Vec::with_capacity(self.used() as usize);
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.entries(|shard, entry| {
                if !self.is_over(shard, entry, now_ms) {
                    keys.push(shard.key(entry).into());
                }
            });
        }
        keys.sort_unstable();
        keys
    }

    /// Removes entries whose time is over, and those beyond the size. Called now and then by whoever has time; each
    /// lock is short.
    pub fn sweep(&self, now_ms: u32) {
        for shard in &self.shards {
            while self.sweep_some(&mut lock(shard), now_ms) {}
        }
    }

    /// Whether there may be more.
    fn sweep_some(&self, shard: &mut Shard, now_ms: u32) -> bool {
        for _ in 0..SWEEP_BATCH {
            let Some(oldest) = shard.oldest() else { return false };
            let goes = self.is_over(shard, oldest, now_ms) || self.used() > self.size();
            if !goes {
                return false;
            }
            self.drop_entry(shard, oldest);
        }
        true
    }

    /// The number by which entries refer to a server of that name ([`Entry::set_server`]); 0 when there are too many.
    pub fn server_number(&self, name: &str) -> u32 {
        let known = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.numbers.get(name) {
            return *number;
        }
        drop(known);
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = servers.numbers.get(name) {
            return *number;
        }
        if servers.names.len() >= SERVERS_MAX {
            return 0;
        }
        let name: Arc<str> = name.into();
        servers.names.push(Arc::clone(&name));
        let number = servers.names.len() as u32;
        servers.numbers.insert(name, number);
        number
    }

    /// The server that entries refer to by a number.
    pub fn server_name(&self, number: u32) -> Option<Arc<str>> {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        servers.names.get(number.checked_sub(1)? as usize).cloned()
    }

    fn hash(&self, key: &Key<'_>) -> u64 {
        // Fixed keys and a secret in front: what is needed here is only that nobody outside can make keys that meet.
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write(key.normalized(self.key));
        hasher.finish()
    }

    fn shard_of(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.shards.len() - 1)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.shard_of(hash)])
    }

    /// The entry of a key whose time is not over.
    fn find(&self, shard: &mut Shard, hash: u64, key: &Key<'_>, now_ms: u32) -> Option<u32> {
        let entry = shard.find(hash as u32, key.normalized(self.key))?;
        (!self.is_over(shard, entry, now_ms)).then_some(entry)
    }

    fn find_or_add(
        &self,
        hash: u64,
        key: &Key<'_>,
        now_ms: u32,
    ) -> Option<(MutexGuard<'_, Shard>, u32)> {
        let bytes = key.normalized(self.key);
        let mut shard = self.shard(hash);
        if let Some(entry) = shard.find(hash as u32, bytes) {
            if self.is_over(&mut shard, entry, now_ms) {
                shard.reset(entry);
            }
            return Some((shard, entry));
        }
        if self.take_place() {
            let entry = shard.insert(hash as u32, bytes);
            return Some((shard, entry));
        }
        if let Some(entry) = self.make_room(&mut shard, now_ms) {
            shard.remove(entry);
            let entry = shard.insert(hash as u32, bytes);
            return Some((shard, entry));
        }
        drop(shard);
        // All entries of this shard are held, or it has none: another one gives up its oldest.
        let own = self.shard_of(hash);
        for step in 1..self.shards.len() {
            let mut other = lock(&self.shards[(own + step) & (self.shards.len() - 1)]);
            let Some(oldest) = self.make_room(&mut other, now_ms) else { continue };
            other.remove(oldest);
            drop(other);
            let mut shard = self.shard(hash);
            return Some(match shard.find(hash as u32, bytes) {
                // Somebody else has made it meanwhile: the place is free again.
                Some(entry) => {
                    self.used.fetch_sub(1, Relaxed);
                    (shard, entry)
                }
                None => {
                    let entry = shard.insert(hash as u32, bytes);
                    (shard, entry)
                }
            });
        }
        None
    }

    /// An entry of a full table that can go: the oldest, under `no_purge` only if its time is over.
    fn make_room(&self, shard: &mut Shard, now_ms: u32) -> Option<u32> {
        let oldest = shard.oldest()?;
        let goes = !self.no_purge.load(Relaxed) || self.is_over(shard, oldest, now_ms);
        goes.then_some(oldest)
    }

    fn take_place(&self) -> bool {
        let size = self.size();
        self.used.fetch_update(Relaxed, Relaxed, |used| (used < size).then_some(used + 1)).is_ok()
    }

    fn drop_entry(&self, shard: &mut Shard, entry: u32) {
        shard.remove(entry);
        self.used.fetch_sub(1, Relaxed);
    }

    /// Whether nobody holds the entry and its time is over.
    fn is_over(&self, shard: &mut Shard, entry: u32, now_ms: u32) -> bool {
        self.expire_ms() > 0
            && shard.refs(entry) == 0
            && now_ms.wrapping_sub(shard.expire(entry)) as i32 >= 0
    }

    fn visit<R>(
        &self,
        shard: &mut Shard,
        entry: u32,
        now_ms: u32,
        visit: impl FnOnce(&mut Entry<'_>) -> R,
    ) -> R {
        let (refs, expire) = (shard.refs(entry), shard.expire(entry));
        let mut view = Entry {
            layout: &self.layout,
            data: shard.data(entry),
            now_ms,
            refs,
            remaining_ms: expire.wrapping_sub(now_ms).cast_signed().max(0).cast_unsigned(),
            touched: false,
        };
        let result = visit(&mut view);
        if view.touched {
            shard.touch(entry, now_ms.wrapping_add(self.expire_ms()));
        }
        result
    }
}

impl Tracked {
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Looks at the entry, or changes it.
    pub fn with<R>(&self, now_ms: u32, visit: impl FnOnce(&mut Entry<'_>) -> R) -> R {
        let mut shard = lock(&self.table.shards[self.shard as usize]);
        self.table.visit(&mut shard, self.entry, now_ms, visit)
    }

    /// Appends the bytes of its key, as [`Table::keys`] gives them.
    pub fn copy_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(lock(&self.table.shards[self.shard as usize]).key(self.entry));
    }

    /// Lets go of the entry after a last change. One whose time is over is gone then.
    pub fn release(self, now_ms: u32, update: impl FnOnce(&mut Entry<'_>)) {
        let table = &self.table;
        let mut shard = lock(&table.shards[self.shard as usize]);
        table.visit(&mut shard, self.entry, now_ms, update);
        shard.release(self.entry);
        if table.is_over(&mut shard, self.entry, now_ms) {
            table.drop_entry(&mut shard, self.entry);
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // What a panic left behind is whole: data are plain numbers, and links change in one place.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A table has a shard for about so many entries.
const SHARD_ENTRIES: u32 = 16_384;
const SHARDS_MAX: u32 = 1_024;
/// Entries removed under one lock of a sweep.
const SWEEP_BATCH: usize = 256;
/// Different servers that the entries of a table may refer to; further ones are not remembered by name.
const SERVERS_MAX: usize = 1 << 20;
