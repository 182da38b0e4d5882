//! Lists of patterns and maps: loaded once by name, shared, and changed from the socket.
//!
//! A [`List`] holds what was written; a [`Matcher`] is a list compiled for one way of comparing. A
//! list that nobody has changed since the configuration was loaded is looked up without any lock;
//! after the first change a lookup takes a read lock.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use telamon_runtime::Files;

use super::patterns::{Match, PatternError, PatternErrorKind, Patterns, Want};
use super::regex::expand;
use super::value::{Value, ValueType};

/// Every list of a configuration, by number.
#[derive(Debug, Default)]
pub struct Lists {
    all: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    lists: Vec<Arc<List>>,
    by_name: HashMap<Box<str>, Arc<List>>,
    matchers: HashMap<(u32, Match, bool), Arc<Matcher>>,
}

/// A list of patterns, each with a value when it is a map.
#[derive(Debug)]
pub struct List {
    number: u32,
    /// The file it was loaded from, which is also its name.
    file: Option<Box<str>>,
    description: Mutex<String>,
    usage: Mutex<Usage>,
    state: RwLock<State>,
}

/// What a list is used as; one file may be both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub acl: bool,
    pub map: bool,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    next_id: u64,
    /// Entries of other versions are being prepared and do not match yet.
    version: u32,
    next_version: u32,
    matchers: Vec<Arc<Matcher>>,
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Names the entry on the socket, written as `0x…`; unique in its list.
    pub id: u64,
    pub key: Box<[u8]>,
    /// Present in maps.
    pub value: Option<Box<[u8]>>,
    version: u32,
}

/// A list compiled for one way of comparing.
#[derive(Debug)]
pub struct Matcher {
    method: Match,
    ignore_case: bool,
    /// Its patterns stand in the configuration, not in a file.
    inline: bool,
    first: Compiled,
    changed: AtomicBool,
    current: RwLock<Option<Compiled>>,
    /// Set when the list changes: indexes that were built over it.
    indexes: Mutex<Vec<Arc<AtomicBool>>>,
}

#[derive(Debug)]
struct Compiled {
    patterns: Patterns,
    entries: Vec<Found>,
}

/// Why a list cannot be loaded or changed.
#[derive(Debug)]
pub enum ListError {
    Read(std::io::Error),
    /// A line (or entry) that its method cannot read; lines count from 1.
    Pattern {
        line: usize,
        kind: PatternErrorKind,
    },
    /// A value that a map of this type cannot hold.
    Value {
        line: usize,
        value: String,
    },
    NoSuchEntry,
    NoSuchVersion,
}

impl Lists {
    /// The list of a file, read when it is named for the first time; `description` says what uses
    /// it: `acl at file 'x.cfg' line 3`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn file(
        &self,
        name: &str,
        usage: Usage,
        description: &str,
        files: &dyn Files,
    ) -> Result<Arc<List>, ListError> {
        let mut registry = lock(&self.all);
        if let Some(list) = registry.by_name.get(name) {
            list.use_as(usage, description);
            return Ok(Arc::clone(list));
        }
        let bytes = files.read(Path::new(name)).map_err(ListError::Read)?;
        let entries = if usage.map { parse_map(&bytes) } else { parse_patterns(&bytes) };
        let text = format!("pattern loaded from file '{name}' used by {description}");
        let list = registry.add(Some(name.into()), text, usage, entries);
        registry.by_name.insert(name.into(), Arc::clone(&list));
        Ok(list)
    }

    /// A list of the patterns that stand in the configuration.
    pub fn inline(&self, patterns: Vec<Box<[u8]>>, description: &str) -> Arc<List> {
        let entries = patterns.into_iter().map(|key| (key, None)).collect();
        let usage = Usage { acl: true, map: false };
        lock(&self.all).add(None, description.to_owned(), usage, entries)
    }

    /// The list compiled for a way of comparing; the same one for all who ask alike.
    ///
    /// # Errors
    /// The first entry that the method cannot read.
    pub fn matcher(
        &self,
        list: &Arc<List>,
        method: Match,
        ignore_case: bool,
    ) -> Result<Arc<Matcher>, ListError> {
        let mut registry = lock(&self.all);
        if let Some(matcher) = registry.matchers.get(&(list.number, method, ignore_case)) {
            return Ok(Arc::clone(matcher));
        }
        let mut state = list.write();
        let matcher = Arc::new(Matcher {
            method,
            ignore_case,
            inline: list.file.is_none(),
            first: Compiled::build(method, ignore_case, &state)
                .map_err(|error| ListError::Pattern { line: error.entry + 1, kind: error.kind })?,
            changed: AtomicBool::new(false),
            current: RwLock::new(None),
            indexes: Mutex::default(),
        });
        state.matchers.push(Arc::clone(&matcher));
        registry.matchers.insert((list.number, method, ignore_case), Arc::clone(&matcher));
        Ok(matcher)
    }

    /// All lists, in the order of their numbers.
    pub fn all(&self) -> Vec<Arc<List>> {
        lock(&self.all).lists.clone()
    }

    /// The list that the socket or a rule names: `#N`, or a file.
    pub fn find(&self, name: &str) -> Option<Arc<List>> {
        let registry = lock(&self.all);
        match name.strip_prefix('#') {
            Some(number) => {
                let number: u32 = number.parse().ok()?;
                registry.lists.iter().find(|list| list.number == number).cloned()
            }
            None => registry.by_name.get(name).cloned(),
        }
    }
}

impl Registry {
    fn add(
        &mut self,
        file: Option<Box<str>>,
        description: String,
        usage: Usage,
        entries: Vec<Found>,
    ) -> Arc<List> {
        let mut state = State::default();
        for (key, value) in entries {
            state.push(key, value, 0);
        }
        let list = Arc::new(List {
            number: self.lists.len() as u32,
            file,
            description: Mutex::new(description),
            usage: Mutex::new(usage),
            state: RwLock::new(state),
        });
        self.lists.push(Arc::clone(&list));
        list
    }
}

impl List {
    /// Its number, written `#N`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The file it came from; `None` for patterns in the configuration.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    pub fn usage(&self) -> Usage {
        *lock(&self.usage)
    }

    /// Its line in `show acl` and `show map`, without line feed.
    pub fn summary(&self) -> String {
        let state = self.read();
        let count = state.entries.iter().filter(|entry| entry.version == state.version).count();
        format!(
            "{} ({}) {}. curr_ver={} next_ver={} entry_cnt={count}",
            self.number,
            self.file.as_deref().unwrap_or_default(),
            lock(&self.description),
            state.version,
            state.next_version,
        )
    }

    /// The entries of a version (`None`: of the current one).
    pub fn entries(&self, version: Option<u32>) -> Vec<Entry> {
        let state = self.read();
        let version = version.unwrap_or(state.version);
        state.entries.iter().filter(|entry| entry.version == version).cloned().collect()
    }

    /// Adds entries, to a version that is being prepared or to the current one.
    ///
    /// # Errors
    /// When a way of comparing cannot read a key; then nothing is added.
    pub fn add(
        &self,
        entries: &[(&[u8], Option<&[u8]>)],
        version: Option<u32>,
    ) -> Result<(), ListError> {
        let mut state = self.write();
        let version = state.known_version(version)?;
        let before = state.entries.len();
        for (key, value) in entries {
            state.push((*key).into(), value.map(Into::into), version);
        }
        if version == state.version
            && let Err(error) = state.publish()
        {
            state.entries.truncate(before);
            // What matched before matches again.
            state.publish()?;
            return Err(error);
        }
        Ok(())
    }

    /// Sets the value of every entry with that key; whether there was one.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<bool, ListError> {
        self.change(|state| {
            let version = state.version;
            let mut found = false;
            for entry in &mut state.entries {
                if entry.version == version && *entry.key == *key {
                    entry.value = Some(value.into());
                    found = true;
                }
            }
            found
        })
    }

    /// Sets the value of one entry.
    pub fn set_id(&self, id: u64, value: &[u8]) -> Result<bool, ListError> {
        self.change(|state| {
            let entry = state.entries.iter_mut().find(|entry| entry.id == id);
            entry.map(|entry| entry.value = Some(value.into())).is_some()
        })
    }

    /// Removes every entry with that key; whether there was one.
    pub fn delete(&self, key: &[u8]) -> Result<bool, ListError> {
        self.change(|state| {
            let before = state.entries.len();
            let version = state.version;
            state.entries.retain(|entry| entry.version != version || *entry.key != *key);
            state.entries.len() != before
        })
    }

    /// Removes one entry.
    pub fn delete_id(&self, id: u64) -> Result<bool, ListError> {
        self.change(|state| {
            let before = state.entries.len();
            state.entries.retain(|entry| entry.id != id);
            state.entries.len() != before
        })
    }

    /// Removes all entries of a version (`None`: of the current one).
    pub fn clear(&self, version: Option<u32>) -> Result<(), ListError> {
        let version = self.read().known_version(version)?;
        self.change(|state| {
            state.entries.retain(|entry| entry.version != version);
            true
        })
        .map(|_| ())
    }

    /// Begins a version whose entries do not match yet.
    pub fn prepare(&self) -> u32 {
        let mut state = self.write();
        state.next_version = state.next_version.wrapping_add(1);
        state.next_version
    }

    /// Makes a prepared version the current one and drops all before it.
    pub fn commit(&self, version: u32) -> Result<(), ListError> {
        let mut state = self.write();
        if version > state.next_version || version < state.version {
            return Err(ListError::NoSuchVersion);
        }
        state.version = version;
        state.entries.retain(|entry| entry.version >= version);
        state.publish()
    }

    /// The current and the last prepared version.
    pub fn versions(&self) -> (u32, u32) {
        let state = self.read();
        (state.version, state.next_version)
    }

    /// For `get acl` and `get map`: each way of comparing that is in use, and the key and value it
    /// finds for a text.
    pub fn look_up(&self, text: &[u8]) -> Vec<(Match, bool, Option<Found>)> {
        let matchers = self.read().matchers.clone();
        let found = |matcher: &Matcher| {
            let value = Value::str(text).cast(matcher.method.input())?;
            matcher.with(|compiled| {
                let entry = compiled.patterns.find(&value, Want::Entry)?;
                compiled.entries.get(entry).cloned()
            })
        };
        matchers.iter().map(|m| (m.method, m.ignore_case, found(m))).collect()
    }

    /// The first entry (from 1) whose value is not of that type.
    pub(crate) fn first_unusable(&self, output: ValueType) -> Option<(usize, String)> {
        let state = self.read();
        state.entries.iter().enumerate().find_map(|(at, entry)| {
            let text = entry.value.as_deref().unwrap_or_default();
            let usable = match output {
                ValueType::Int => {
                    !text.is_empty() && super::parse_int_lenient(text).1 == text.len()
                }
                _ => Value::str(text).cast(output).is_some(),
            };
            (!usable).then(|| (at + 1, String::from_utf8_lossy(text).into_owned()))
        })
    }

    fn use_as(&self, usage: Usage, description: &str) {
        let mut known = lock(&self.usage);
        known.acl |= usage.acl;
        known.map |= usage.map;
        let mut text = lock(&self.description);
        text.push_str(", by ");
        text.push_str(description);
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) -> Result<bool, ListError> {
        let mut state = self.write();
        let changed = change(&mut state);
        if changed {
            state.publish()?;
        }
        Ok(changed)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Key and value of an entry.
pub type Found = (Box<[u8]>, Option<Box<[u8]>>);

impl State {
    fn push(&mut self, key: Box<[u8]>, value: Option<Box<[u8]>>, version: u32) {
        self.next_id += 1;
        self.entries.push(Entry { id: self.next_id, key, value, version });
    }

    fn known_version(&self, version: Option<u32>) -> Result<u32, ListError> {
        match version {
            None => Ok(self.version),
            Some(version) if (self.version..=self.next_version).contains(&version) => Ok(version),
            Some(_) => Err(ListError::NoSuchVersion),
        }
    }

    /// Gives every way of comparing the current entries.
    fn publish(&mut self) -> Result<(), ListError> {
        for matcher in &self.matchers {
            let compiled = Compiled::build(matcher.method, matcher.ignore_case, self)
                .map_err(|error| ListError::Pattern { line: error.entry + 1, kind: error.kind })?;
            let mut current = matcher.current.write().unwrap_or_else(PoisonError::into_inner);
            *current = Some(compiled);
            matcher.changed.store(true, Ordering::Release);
            for stale in lock(&matcher.indexes).iter() {
                stale.store(true, Ordering::Release);
            }
        }
        Ok(())
    }
}

impl Matcher {
    /// How it compares, with or without regard to case, and its patterns, for an index over many lists. `None` where they
    /// are expected to change: they stand in a file, or have changed before.
    pub(crate) fn to_index(&self) -> Option<(Match, bool, impl Iterator<Item = &[u8]>)> {
        let fixed = self.inline && !self.changed.load(Ordering::Acquire);
        let patterns = || self.first.entries.iter().map(|(key, _)| &**key);
        fixed.then(|| (self.method, self.ignore_case, patterns()))
    }

    /// Sets `stale` when the list changes.
    pub(crate) fn tell(&self, stale: &Arc<AtomicBool>) {
        lock(&self.indexes).push(Arc::clone(stale));
    }

    /// Whether the value matches one of the patterns.
    pub fn matches(&self, value: &Value<'_>) -> bool {
        self.with(|compiled| compiled.patterns.find(value, Want::Any).is_some())
    }

    /// What a map has for the value, as a sample of the map's type.
    pub(crate) fn map<'a>(&'a self, value: &Value<'_>, output: ValueType) -> Option<Value<'a>> {
        if self.changed.load(Ordering::Acquire) {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            let compiled = current.as_ref().unwrap_or(&self.first);
            return compiled
                .map(value, self.method)
                .and_then(|text| Value::Str(Cow::Owned(text.into_owned())).cast(output));
        }
        self.first.map(value, self.method).and_then(|text| Value::Str(text).cast(output))
    }

    fn with<R>(&self, look_up: impl FnOnce(&Compiled) -> R) -> R {
        if !self.changed.load(Ordering::Acquire) {
            return look_up(&self.first);
        }
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        look_up(current.as_ref().unwrap_or(&self.first))
    }
}

impl Compiled {
    fn build(method: Match, ignore_case: bool, state: &State) -> Result<Self, PatternError> {
        let current = || state.entries.iter().filter(|entry| entry.version == state.version);
        Ok(Self {
            patterns: Patterns::build(method, ignore_case, current().map(|entry| &*entry.key))?,
            entries: current().map(|entry| (entry.key.clone(), entry.value.clone())).collect(),
        })
    }

    fn map<'a>(&'a self, value: &Value<'_>, method: Match) -> Option<Cow<'a, [u8]>> {
        let entry = self.patterns.find(value, Want::Entry)?;
        let text = self.entries.get(entry)?.1.as_deref().unwrap_or_default();
        if method == Match::RegGroups {
            let subject = value.as_bytes()?;
            let captures = self.patterns.regex(entry)?.captures(subject)?;
            let mut out = Vec::new();
            expand(&captures, text, &mut out);
            return Some(Cow::Owned(out));
        }
        Some(Cow::Borrowed(text))
    }
}

/// One pattern a line; leading blanks, empty lines and lines that begin with `#` do not count.
fn parse_patterns(bytes: &[u8]) -> Vec<Found> {
    lines(bytes).map(|line| (line.into(), None)).collect()
}

/// A key, blanks, and the value up to the end of the line.
fn parse_map(bytes: &[u8]) -> Vec<Found> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    lines(bytes)
        .map(|line| {
            let end = line.iter().position(blank).unwrap_or(line.len());
            (line[..end].into(), Some(line[end..].trim_ascii().into()))
        })
        .collect()
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|&byte| byte == b'\n')
        // A blank before `#` makes it a pattern.
        .filter(|line| !line.starts_with(b"#"))
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .map(|line| {
            let start = line.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
            &line[start.unwrap_or(line.len())..]
        })
        .filter(|line| !line.is_empty())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entry {
    /// Appends the entry as `show acl` and `show map` write it, line feed included.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        _ = write!(out, "0x{:012x} ", self.id);
        out.extend_from_slice(&self.key);
        if let Some(value) = &self.value {
            out.push(b' ');
            out.extend_from_slice(value);
        }
        out.push(b'\n');
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Pattern { line, kind } => write!(f, "entry {line}: {kind}"),
            Self::Value { line, value } => write!(f, "entry {line}: unusable value '{value}'"),
            Self::NoSuchEntry => write!(f, "no such entry"),
            Self::NoSuchVersion => write!(f, "no such version"),
        }
    }
}

impl From<PatternError> for ListError {
    fn from(error: PatternError) -> Self {
        Self::Pattern { line: error.entry + 1, kind: error.kind }
    }
}

impl std::error::Error for ListError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> (Lists, Arc<List>) {
        let lists = Lists::default();
        let entries = parse_map(text.as_bytes());
        let usage = Usage { acl: false, map: true };
        let list = lock(&lists.all).add(Some("a.map".into()), "test".into(), usage, entries);
        (lists, list)
    }

    #[test]
    fn files_are_read_as_haproxy_reads_them() {
        let keys = |text: &str| -> Vec<String> {
            parse_patterns(text.as_bytes())
                .into_iter()
                .map(|(key, _)| String::from_utf8(key.into()).expect("text"))
                .collect()
        };
        assert_eq!(keys("a\n\n#x\n  b c\r\n #d"), ["a", "b c", "#d"]);
        let (key, value) = parse_map(b" k \t some value  \n").remove(0);
        assert_eq!((&*key, value.as_deref()), (b"k".as_slice(), Some(b"some value".as_slice())));
    }

    #[test]
    fn changes_are_seen_by_every_way_of_comparing() {
        let (lists, list) = list("a 1\nb 2\n");
        let exact = lists.matcher(&list, Match::Str, false).expect("built");
        let prefix = lists.matcher(&list, Match::Beg, false).expect("built");
        let get = |matcher: &Matcher, key: &'static [u8]| {
            let value = matcher.map(&Value::str(key), ValueType::Str)?;
            value.as_bytes().map(<[u8]>::to_vec)
        };
        assert_eq!(get(&exact, b"a"), Some(b"1".to_vec()));
        list.add(&[(b"c", Some(b"3"))], None).expect("added");
        assert_eq!(get(&exact, b"c"), Some(b"3".to_vec()));
        assert_eq!(get(&prefix, b"cx"), Some(b"3".to_vec()));
        assert!(list.set(b"a", b"9").expect("set"));
        assert_eq!(get(&exact, b"a"), Some(b"9".to_vec()));
        assert!(list.delete(b"a").expect("deleted"));
        assert!(!list.delete(b"a").expect("nothing left"));
        assert_eq!(get(&prefix, b"a"), None);

        let version = list.prepare();
        list.add(&[(b"n", Some(b"new"))], Some(version)).expect("added");
        assert_eq!(get(&exact, b"n"), None);
        list.commit(version).expect("committed");
        assert_eq!(get(&exact, b"n"), Some(b"new".to_vec()));
        assert_eq!(get(&exact, b"b"), None);
        assert_eq!(list.entries(None).len(), 1);
    }

    #[test]
    fn an_unreadable_pattern_changes_nothing() {
        let (lists, list) = list("10.0.0.0/8 x\n");
        let matcher = lists.matcher(&list, Match::Ip, false).expect("built");
        assert!(list.add(&[(b"nonsense", Some(b"y"))], None).is_err());
        assert!(matcher.matches(&Value::str(b"10.1.1.1")));
        assert_eq!(list.entries(None).len(), 1);
    }
}
