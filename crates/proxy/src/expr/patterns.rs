//! Patterns compiled so that ten thousand of them cost about what ten do.
//!
//! | method | structure | which entry a map takes |
//! | --- | --- | --- |
//! | `str`, `bin` | hash table | the first of equals |
//! | `beg` | sorted texts ([`Prefixes`]) | the longest |
//! | `end`, `dir`, `dom` | sorted texts | the first in the list |
//! | `sub` | Aho-Corasick automaton | the first in the list |
//! | `ip` | sorted ranges ([`Networks`]) | the narrowest |
//! | `int`, `len` | hash table, then ranges | the first in the list |
//! | `reg` | regular expressions, asked all at once first | the first in the list |
//!
//! Looking something up allocates nothing.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::Write as _;

use aho_corasick::{AhoCorasick, MatchKind as AhoKind};
use regex::bytes::{Regex, RegexSet, RegexSetBuilder};

use super::network::Network;
use super::regex::{RegexError, compile};
use super::value::{Value, ValueType};
use networks::Networks;
pub(super) use prefixes::Prefixes;

mod networks;
mod prefixes;

/// How a sample is compared with patterns: `-m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Match {
    /// Present at all; takes no pattern.
    Found,
    /// Neither false nor 0; takes no pattern.
    Bool,
    Int,
    Ip,
    /// Bytes, written in hexadecimal.
    Bin,
    /// The length of the text, as `int`.
    Len,
    Str,
    Beg,
    End,
    Sub,
    /// A part between slashes.
    Dir,
    /// A part between dots, colons, slashes and question marks.
    Dom,
    Reg,
    /// A regular expression whose groups the map's value names (`map_regm`).
    RegGroups,
}

/// A pattern that its method cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// Index of the entry.
    pub entry: usize,
    pub kind: PatternErrorKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternErrorKind {
    NotInteger(String),
    NotAddress(String),
    NotHexadecimal(String),
    Regex(RegexError),
    /// So many substrings or so long that no automaton could be built.
    TooLarge,
}

/// Compiled patterns of one method.
#[derive(Debug)]
pub(crate) struct Patterns {
    method: Match,
    ignore_case: bool,
    index: Index,
}

#[derive(Debug)]
enum Index {
    None,
    Ints { exact: HashMap<i64, u32, Fast>, ranges: Vec<(i64, i64, u32)> },
    Networks(Networks),
    Texts { exact: HashMap<Box<[u8]>, u32, Fast>, len_max: usize },
    Sorted(Prefixes),
    Substrings(Option<AhoCorasick>),
    Regexes { set: Option<RegexSet>, each: Vec<Regex> },
}

/// What is wanted of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Whether anything matches.
    Any,
    /// The entry that a map would take.
    Entry,
}

impl Match {
    /// The word that `-m` takes.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|&(_, method)| method)
    }

    /// The words that `-m` takes.
    pub const WORDS: [(&'static str, Self); 13] = [
        ("found", Self::Found),
        ("bool", Self::Bool),
        ("int", Self::Int),
        ("ip", Self::Ip),
        ("bin", Self::Bin),
        ("len", Self::Len),
        ("str", Self::Str),
        ("beg", Self::Beg),
        ("end", Self::End),
        ("sub", Self::Sub),
        ("dir", Self::Dir),
        ("dom", Self::Dom),
        ("reg", Self::Reg),
    ];

    /// The method's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::RegGroups => "regm",
            _ => {
                Self::WORDS.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
            }
        }
    }

    /// What the sample is cast to before it is compared.
    pub fn input(self) -> ValueType {
        match self {
            Self::Found => ValueType::Any,
            Self::Bool | Self::Int => ValueType::Int,
            Self::Ip => ValueType::Addr,
            Self::Bin => ValueType::Bin,
            _ => ValueType::Str,
        }
    }

    /// Whether it compares with patterns at all.
    pub fn takes_patterns(self) -> bool {
        !matches!(self, Self::Found | Self::Bool)
    }
}

impl Patterns {
    /// Compiles the entries, in order.
    pub(crate) fn build<'t>(
        method: Match,
        ignore_case: bool,
        entries: impl IntoIterator<Item = &'t [u8]>,
    ) -> Result<Self, PatternError> {
        let mut index = Index::empty(method, ignore_case);
        let mut texts: Vec<&[u8]> = Vec::new();
        for (number, text) in entries.into_iter().enumerate() {
            if index.is_incremental() {
                index
                    .insert(method, ignore_case, text, number as u32)
                    .map_err(|kind| PatternError { entry: number, kind })?;
            } else {
                texts.push(text);
            }
        }
        if !texts.is_empty() {
            index = Index::build(method, ignore_case, &texts)?;
        }
        Ok(Self { method, ignore_case, index })
    }

    /// Finds the entry that the value matches. Methods without patterns answer with entry 0.
    pub(crate) fn find(&self, value: &Value<'_>, want: Want) -> Option<usize> {
        let entry = match (&self.index, self.method) {
            (_, Match::Found) => Some(0),
            (_, Match::Bool) => int_of(value).filter(|&n| n != 0).map(|_| 0),
            (Index::Ints { exact, ranges }, method) => {
                let n = match method {
                    Match::Len => with_text(value, |text| i64::try_from(text.len()).ok())??,
                    _ => int_of(value)?,
                };
                let exact = exact.get(&n).copied();
                let range = ranges.iter().find(|(low, high, _)| (*low..=*high).contains(&n));
                match (exact, range) {
                    (Some(exact), Some((_, _, range))) => Some(exact.min(*range)),
                    (exact, range) => exact.or(range.map(|(_, _, entry)| *entry)),
                }
            }
            (Index::Networks(networks), _) => {
                let address = match value {
                    Value::Addr(address) => *address,
                    Value::Int(n) => std::net::Ipv4Addr::from_bits(*n as u32).into(),
                    Value::Str(text) => super::value::parse_ip(text)?,
                    _ => return None,
                };
                networks.find(address)
            }
            (Index::Texts { exact, len_max }, Match::Bin) => {
                let bytes = value.as_bytes()?;
                (bytes.len() <= *len_max).then(|| exact.get(bytes).copied()).flatten()
            }
            (index, _) => with_text(value, |text| index.find_text(text, self, want))?,
        };
        entry.map(|entry| entry as usize)
    }

    /// The expression of an entry, for `map_regm`.
    pub(crate) fn regex(&self, entry: usize) -> Option<&Regex> {
        match &self.index {
            Index::Regexes { each, .. } => each.get(entry),
            _ => None,
        }
    }
}

impl Index {
    fn empty(method: Match, ignore_case: bool) -> Self {
        match method {
            Match::Found | Match::Bool => Self::None,
            Match::Int | Match::Len => Self::Ints { exact: HashMap::default(), ranges: Vec::new() },
            Match::Str | Match::Bin => Self::Texts { exact: HashMap::default(), len_max: 0 },
            Match::Ip => Self::Networks(Networks::default()),
            Match::Beg | Match::End | Match::Dir | Match::Dom => {
                Self::Sorted(Prefixes::build(ignore_case, false, &[]))
            }
            Match::Sub => Self::Substrings(None),
            Match::Reg | Match::RegGroups => Self::Regexes { set: None, each: Vec::new() },
        }
    }

    fn is_incremental(&self) -> bool {
        matches!(self, Self::None | Self::Ints { .. } | Self::Texts { .. })
    }

    fn insert(
        &mut self,
        method: Match,
        ignore_case: bool,
        text: &[u8],
        entry: u32,
    ) -> Result<(), PatternErrorKind> {
        match self {
            Self::Ints { exact, ranges } => {
                let (low, high) =
                    parse_range(text).ok_or_else(|| PatternErrorKind::NotInteger(lossy(text)))?;
                if low == high {
                    exact.entry(low).or_insert(entry);
                } else {
                    ranges.push((low, high, entry));
                }
            }
            Self::Texts { exact, len_max } => {
                let mut text: Box<[u8]> = match method {
                    Match::Bin => parse_hex(text)
                        .ok_or_else(|| PatternErrorKind::NotHexadecimal(lossy(text)))?
                        .into(),
                    _ => text.into(),
                };
                if ignore_case && method == Match::Str {
                    text.make_ascii_lowercase();
                }
                *len_max = (*len_max).max(text.len());
                exact.entry(text).or_insert(entry);
            }
            _ => {}
        }
        Ok(())
    }

    /// Builds the structures that do not grow entry by entry.
    fn build(method: Match, ignore_case: bool, texts: &[&[u8]]) -> Result<Self, PatternError> {
        let numbered = || texts.iter().enumerate();
        Ok(match method {
            Match::Ip => {
                let mut networks = Vec::with_capacity(texts.len());
                for (entry, text) in numbered() {
                    let network = Network::parse(text).ok_or_else(|| PatternError {
                        entry,
                        kind: PatternErrorKind::NotAddress(lossy(text)),
                    })?;
                    networks.push((network, entry as u32));
                }
                Self::Networks(Networks::build(&networks))
            }
            Match::Dir | Match::Dom => {
                let words: Vec<&[u8]> =
                    texts.iter().map(|text| trim_delimiters(text, delimiters(method))).collect();
                Self::Sorted(Prefixes::build(ignore_case, false, &words))
            }
            Match::Beg => Self::Sorted(Prefixes::build(ignore_case, false, texts)),
            Match::End => Self::Sorted(Prefixes::build(ignore_case, true, texts)),
            Match::Sub => Self::Substrings(Some(
                AhoCorasick::builder()
                    .ascii_case_insensitive(ignore_case)
                    .match_kind(AhoKind::Standard)
                    .build(texts)
                    .map_err(|_| PatternError { entry: 0, kind: PatternErrorKind::TooLarge })?,
            )),
            _ => {
                let mut each = Vec::with_capacity(texts.len());
                for (entry, text) in numbered() {
                    each.push(compile(text, ignore_case).map_err(|error| PatternError {
                        entry,
                        kind: PatternErrorKind::Regex(error),
                    })?);
                }
                Self::Regexes { set: regex_set(&each, ignore_case), each }
            }
        })
    }

    fn find_text(&self, text: &[u8], of: &Patterns, want: Want) -> Option<u32> {
        match self {
            Self::Texts { exact, len_max } => {
                if text.len() > *len_max {
                    return None;
                }
                if of.ignore_case && text.iter().any(u8::is_ascii_uppercase) {
                    with_lower(text, |lower| exact.get(lower).copied())
                } else {
                    exact.get(text).copied()
                }
            }
            Self::Sorted(texts) => match of.method {
                Match::Beg => texts.longest(text),
                Match::End => texts.first(text, |_| true),
                method => find_word(texts, text, delimiters(method), want),
            },
            Self::Substrings(Some(automaton)) => match want {
                Want::Any => automaton.is_match(text).then_some(0),
                Want::Entry => automaton
                    .find_overlapping_iter(text)
                    .map(|found| found.pattern().as_u32())
                    .min(),
            },
            Self::Regexes { set, each } => {
                if let Some(set) = set
                    && !set.is_match(text)
                {
                    return None;
                }
                if set.is_some() && want == Want::Any {
                    return Some(0);
                }
                each.iter().position(|regex| regex.is_match(text)).map(|entry| entry as u32)
            }
            _ => None,
        }
    }
}

/// Finds a pattern that is a whole run of words of the text.
fn find_word(texts: &Prefixes, text: &[u8], delimiters: &[u8], want: Want) -> Option<u32> {
    let mut best: Option<u32> = None;
    for rest in words(text, delimiters) {
        let found = texts.first(rest, |len| len > 0 && ends_word(rest, len, delimiters));
        best = match (best, found) {
            (Some(best), Some(found)) => Some(best.min(found)),
            (best, found) => best.or(found),
        };
        if best.is_some() && want == Want::Any {
            break;
        }
    }
    best
}

/// The text from the beginning of each word on.
pub(super) fn words<'t>(text: &'t [u8], delimiters: &[u8]) -> impl Iterator<Item = &'t [u8]> {
    let is_delimiter = |at: usize| delimiters.contains(&text[at]);
    (0..text.len())
        .filter(move |&at| !is_delimiter(at) && (at == 0 || is_delimiter(at - 1)))
        .map(|at| &text[at..])
}

/// Whether a word of the text is over after `len` bytes.
pub(super) fn ends_word(text: &[u8], len: usize, delimiters: &[u8]) -> bool {
    text.get(len).is_none_or(|byte| delimiters.contains(byte))
}

/// What separates the words of `-m dir` and `-m dom`.
pub(super) fn delimiters(method: Match) -> &'static [u8] {
    if method == Match::Dir { b"/" } else { b"/?.:" }
}

pub(super) fn trim_delimiters<'t>(text: &'t [u8], delimiters: &[u8]) -> &'t [u8] {
    let start = text.iter().position(|byte| !delimiters.contains(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !delimiters.contains(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}

/// One pass over all expressions, where that is worth it and fits.
fn regex_set(each: &[Regex], ignore_case: bool) -> Option<RegexSet> {
    if each.len() < 4 {
        return None;
    }
    RegexSetBuilder::new(each.iter().map(Regex::as_str))
        .unicode(false)
        .case_insensitive(ignore_case)
        .size_limit(super::regex::SIZE_MAX)
        .build()
        .ok()
}

fn int_of(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Bool(on) => Some((*on).into()),
        Value::Int(n) => Some(*n),
        Value::Str(text) if !text.is_empty() => Some(super::value::parse_int_lenient(text).0),
        Value::Addr(std::net::IpAddr::V4(ip)) => Some(ip.to_bits().into()),
        _ => None,
    }
}

/// Hands over the value as text without allocating.
pub(super) fn with_text<R>(value: &Value<'_>, then: impl FnOnce(&[u8]) -> R) -> Option<R> {
    // The longest is an IPv6 address with an embedded IPv4 one, 45 bytes.
    let mut room = [0u8; 48];
    Some(match value {
        Value::Str(text) | Value::Method(text) => then(text),
        Value::Bin(bytes) => then(bytes.split(|&byte| byte == 0).next().unwrap_or_default()),
        Value::Bool(on) => then(if *on { b"1" } else { b"0" }),
        Value::Int(n) => then(written(&mut room, format_args!("{n}"))),
        Value::Addr(ip) => {
            then(written(&mut room, format_args!("{}", super::value::AddrText(*ip))))
        }
    })
}

fn written<'r>(room: &'r mut [u8], text: fmt::Arguments<'_>) -> &'r [u8] {
    let len = room.len();
    let mut rest = &mut room[..];
    _ = rest.write_fmt(text);
    let left = rest.len();
    &room[..len - left]
}

/// Hands over the text in lower case; texts of up to 256 bytes without allocating.
fn with_lower<R>(text: &[u8], then: impl FnOnce(&[u8]) -> R) -> R {
    let mut room = [0u8; 256];
    match room.get_mut(..text.len()) {
        Some(room) => {
            room.copy_from_slice(text);
            room.make_ascii_lowercase();
            then(room)
        }
        None => then(&text.to_ascii_lowercase()),
    }
}

/// Reads `N`, `N:M`, `N:` or `:M`.
pub(crate) fn parse_range(text: &[u8]) -> Option<(i64, i64)> {
    range_of(text, |text| text.parse().ok())
}

/// Reads a version (`3`, `3.1`) or a range of them, as numbers with the major part in the high
/// 16 bits.
pub(crate) fn parse_version_range(text: &[u8]) -> Option<(i64, i64)> {
    range_of(text, |text| {
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        let (major, minor): (u16, u16) = (major.parse().ok()?, minor.parse().ok()?);
        Some(i64::from(major) << 16 | i64::from(minor))
    })
}

fn range_of(text: &[u8], number: impl Fn(&str) -> Option<i64>) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(text).ok()?;
    let Some((low, high)) = text.split_once(':') else {
        let n = number(text)?;
        return Some((n, n));
    };
    let low = if low.is_empty() { i64::MIN } else { number(low)? };
    let high = if high.is_empty() { i64::MAX } else { number(high)? };
    (text.len() > 1).then_some((low, high))
}

/// Reads an even number of hexadecimal digits.
pub(crate) fn parse_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    text.len().is_multiple_of(2).then_some(())?;
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl fmt::Display for PatternErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInteger(text) => write!(f, "'{text}' is neither a number nor a range of them"),
            Self::NotAddress(text) => write!(f, "'{text}' is neither an address nor a network"),
            Self::NotHexadecimal(text) => {
                write!(f, "'{text}' is not an even number of hexadecimal digits")
            }
            Self::Regex(error) => error.fmt(f),
            Self::TooLarge => write!(f, "the patterns are too many or too long together"),
        }
    }
}

/// FNV-1a. The keys stand in the configuration, so nobody outside can make them collide; what is
/// looked up changes nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fnv(u64);

type Fast = BuildHasherDefault<Fnv>;

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
