//! One `resolvers` section: its names, their calendar, and the questions under way.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rustix::rand::{GetRandomFlags, getrandom};
use telamon_dns_proto::{Kind, Lookup, Name, Question, Records, Status, write_query};

use super::Find;
use super::exchange::Exchange;
use crate::model::Resolvers;

/// One `resolvers` section at work.
pub(super) struct Section {
    pub(super) config: Arc<Resolvers>,
    pub(super) exchange: Exchange,
    /// A place that is free is `None`.
    pub(super) entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    pub(super) by_name: HashMap<(Name, Kind), usize>,
    /// When each entry is due: those at rest and those whose question is under way.
    resting: BTreeSet<(u64, usize)>,
    asking: BTreeSet<(u64, usize)>,
    /// The questions under way, by id.
    pub(super) questions: HashMap<u16, (usize, Kind)>,
}

/// One name.
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) lookup: Lookup,
    pub(super) records: Records,
    /// What the last lookup came to; `None` before its end.
    pub(super) status: Option<Status>,
    /// When it is due, where it is in the calendar.
    planned_ms: Option<u64>,
    /// Ids of its questions under way, the newest last.
    pub(super) ids: Vec<u16>,
    /// Servers that take its addresses or, of an SRV name, its records; in the order of the configuration.
    pub(super) servers: Vec<usize>,
    /// Requests that wait for it.
    pub(super) finds: Vec<Find>,
}

impl Section {
    pub(super) fn new(config: Arc<Resolvers>, exchange: Exchange) -> Self {
        Self {
            config,
            exchange,
            entries: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            resting: BTreeSet::new(),
            asking: BTreeSet::new(),
            questions: HashMap::new(),
        }
    }

    /// Keeps what an earlier configuration of the section knew; its questions are asked anew.
    pub(super) fn take_over(&mut self, old: Self, now_ms: u64) {
        for entry in old.entries.into_iter().flatten() {
            let new = self.entry(&entry.name, entry.kind, now_ms);
            (new.records, new.status, new.finds) = (entry.records, entry.status, entry.finds);
        }
    }

    /// The entry of a name, made if need be.
    pub(super) fn entry(&mut self, name: &Name, kind: Kind, now_ms: u64) -> &mut Entry {
        let key = (name.clone(), kind);
        let index = match self.by_name.get(&key) {
            Some(index) => *index,
            None => {
                let index = self.free.pop().unwrap_or(self.entries.len());
                if index == self.entries.len() {
                    self.entries.push(None);
                }
                self.by_name.insert(key, index);
                self.resting.insert((now_ms, index));
                index
            }
        };
        self.entries[index].get_or_insert_with(|| Entry {
            name: name.clone(),
            kind,
            lookup: Lookup::new(kind, now_ms),
            records: Records::default(),
            status: None,
            planned_ms: Some(now_ms),
            ids: Vec::new(),
            servers: Vec::new(),
            finds: Vec::new(),
        })
    }

    /// Forgets names that no server has and whose answers have grown old.
    pub(super) fn drop_unused(&mut self, now_ms: u64) {
        let hold_ms = self.config.hold.valid_ms;
        for index in 0..self.entries.len() {
            let unused = self.entries[index].as_ref().is_some_and(|entry| {
                entry.servers.is_empty()
                    && entry.finds.is_empty()
                    && entry.lookup.valid_ms().is_none_or(|at| now_ms - at >= hold_ms)
            });
            if unused {
                self.forget(index);
            }
        }
    }

    pub(super) fn forget(&mut self, index: usize) {
        let Some(entry) = self.entries[index].take() else { return };
        self.free.push(index);
        self.by_name.remove(&(entry.name.clone(), entry.kind));
        entry.ids.iter().for_each(|id| _ = self.questions.remove(id));
        if let Some(before) = entry.planned_ms {
            self.resting.remove(&(before, index));
            self.asking.remove(&(before, index));
        }
    }

    /// An entry whose time has come, out of the calendar.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Option<usize> {
        let take = |set: &mut BTreeSet<(u64, usize)>| {
            let first = set.first().copied().filter(|(at, _)| *at <= now_ms)?;
            set.remove(&first);
            Some(first.1)
        };
        if let Some(index) = take(&mut self.asking) {
            return Some(index);
        }
        if self.asking.len() >= ASKING_MAX {
            return None;
        }
        take(&mut self.resting)
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        let resting = self.resting.first().filter(|_| self.asking.len() < ASKING_MAX);
        self.asking.first().into_iter().chain(resting).map(|(at, _)| *at).min()
    }

    /// Puts an entry where it belongs in the calendar.
    pub(super) fn plan(&mut self, index: usize, now_ms: u64) {
        let Some(entry) = &mut self.entries[index] else { return };
        let due_ms = entry.lookup.due_ms(&self.config.schedule);
        let asking = entry.lookup.is_asking();
        if let Some(before) = entry.planned_ms.take() {
            self.resting.remove(&(before, index));
            self.asking.remove(&(before, index));
        }
        let unused = entry.servers.is_empty() && entry.finds.is_empty();
        if !asking {
            entry.ids.drain(..).for_each(|id| _ = self.questions.remove(&id));
        }
        entry.planned_ms = (asking || !unused).then_some(due_ms);
        match (asking, unused) {
            (true, _) => _ = self.asking.insert((due_ms, index)),
            (false, false) => _ = self.resting.insert((due_ms, index)),
            // What only traffic asked for is not asked for again by itself, and forgotten some time.
            (false, true) => {
                if entry.lookup.valid_ms().is_none_or(|at| now_ms - at >= self.config.hold.valid_ms)
                {
                    self.forget(index);
                }
            }
        }
    }

    /// Sends the question of an entry to all name servers.
    pub(super) fn ask(&mut self, index: usize, kind: Kind) {
        let Some(entry) = &mut self.entries[index] else { return };
        let Some(id) =
            (0..IDS_TRIED).find_map(|_| random_id().filter(|id| !self.questions.contains_key(id)))
        else {
            return; // it is as if nobody answered
        };
        entry.ids.push(id);
        self.questions.insert(id, (index, kind));
        let mut message = Vec::new();
        let question = Question { id, name: &entry.name, kind };
        write_query(&mut message, &question, self.config.payload_size);
        entry.lookup.asked(self.exchange.ask(id, &message));
    }
}

/// An id that nobody can guess.
fn random_id() -> Option<u16> {
    let mut bytes = [0; 2];
    let count = getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
    (count == bytes.len()).then(|| u16::from_ne_bytes(bytes))
}

/// Names that are asked for at a time in one section; more that are due wait for one of these.
const ASKING_MAX: usize = 1024;
/// Ids that are drawn until one is free.
const IDS_TRIED: usize = 100;
