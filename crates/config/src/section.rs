//! What was written: sections, lines and tokens.
//!
//! A section keeps the text of all its words in one string and each word as a range into it, so
//! that a file of a hundred thousand servers costs a few allocations per section. [`Line`] and
//! [`Token`] are cheap views.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::source::{FileId, Location};

/// One section with all its lines, in their order.
#[derive(Debug)]
pub struct Section {
    /// The kind; after a slip such as `backnd` (reported) the kind that was meant.
    pub spec: &'static SectionSpec,
    file: FileId,
    text: String,
    words: Vec<Word>,
    lines: Vec<LineStart>,
    /// The exact bytes of the few words that are not UTF-8, by index of the word.
    raw: BTreeMap<u32, Box<[u8]>>,
}

/// A kind of section: its word, and what may follow it.
#[derive(Debug, PartialEq, Eq)]
pub struct SectionSpec {
    pub keyword: &'static str,
    /// The one bit of this kind.
    pub bit: Sections,
    pub named: Named,
    /// Takes its presets from a `defaults` section (`from NAME`, or the last one before it).
    pub inherits: bool,
    /// One line for the manual.
    pub doc: &'static str,
}

/// Whether a section has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Never,
    Optional,
    Required,
}

/// A set of kinds of sections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sections(pub u64);

/// One line that holds at least one word.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    section: &'a Section,
    index: usize,
}

/// One word, after quotes, escapes and variables are resolved.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// The value, with invalid UTF-8 replaced by U+FFFD.
    pub text: &'a str,
    /// The value, exactly.
    pub bytes: &'a [u8],
    /// The bytes of the file that it was written as.
    pub at: Location,
    /// How the value stands in the file.
    pub written: Written,
}

/// How the value of a word stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// As it is.
    Plainly,
    /// As it is, between one pair of quotes.
    Quoted,
    /// With escapes, with quotes in the middle, or expanded from a variable.
    Otherwise,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) column: u32,
    pub(crate) len: u32,
    pub(crate) written: Written,
}

#[derive(Clone, Copy, Debug)]
struct LineStart {
    number: u32,
    first_word: u32,
}

impl Section {
    pub(crate) fn new(spec: &'static SectionSpec, file: FileId) -> Self {
        Self {
            spec,
            file,
            text: String::new(),
            words: Vec::new(),
            lines: Vec::new(),
            raw: BTreeMap::new(),
        }
    }

    /// Appends a line; the ranges of `words` are into `value`.
    pub(crate) fn push_line(&mut self, number: u32, value: &[u8], words: &[Word]) {
        let base = self.text.len() as u32;
        self.lines.push(LineStart { number, first_word: self.words.len() as u32 });
        // Words that are not UTF-8 can make up a line that is: `a\xc3 \xa9`.
        if let Ok(value) = std::str::from_utf8(value)
            && words.iter().all(|word| value.is_char_boundary(word.start as usize))
        {
            self.text.push_str(value);
            self.words.extend(words.iter().map(|word| Word {
                start: base + word.start,
                end: base + word.end,
                ..*word
            }));
            return;
        }
        for word in words {
            let bytes = &value[word.start as usize..word.end as usize];
            let start = self.text.len() as u32;
            let lossy = String::from_utf8_lossy(bytes);
            if lossy.as_bytes() != bytes {
                self.raw.insert(self.words.len() as u32, bytes.into());
            }
            self.text.push_str(&lossy);
            self.words.push(Word { start, end: self.text.len() as u32, ..*word });
        }
    }

    /// The kind's word, as the specification spells it.
    pub fn keyword(&self) -> &'static str {
        self.spec.keyword
    }

    /// The line that opens the section, starting with the kind's word.
    pub fn header(&self) -> Line<'_> {
        Line { section: self, index: 0 }
    }

    /// Where the section's first word stands.
    pub fn at(&self) -> Location {
        self.header().at()
    }

    /// The name, if the section has one.
    pub fn name(&self) -> Option<Token<'_>> {
        if self.spec.named == Named::Never {
            return None;
        }
        let name = self.header().token(1)?;
        // `defaults from NAME` has no name of its own.
        let nameless =
            self.spec.named == Named::Optional && name.text == "from" && self.header().len() == 3;
        (!nameless).then_some(name)
    }

    /// The `defaults` section named after `from`.
    pub fn from(&self) -> Option<Token<'_>> {
        let header = self.header();
        let from = if self.name().is_some() { 2 } else { 1 };
        header.token(from).filter(|word| self.spec.inherits && word.text == "from")?;
        header.token(from + 1)
    }

    /// What stands in the first line after the name and `from NAME`; the reader has reported it.
    pub fn rest(&self) -> impl Iterator<Item = Token<'_>> {
        let used = 1 + usize::from(self.name().is_some()) + 2 * usize::from(self.from().is_some());
        self.header().tokens().skip(used)
    }

    /// The lines after the first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = Line<'_>> + ExactSizeIterator {
        (1..self.lines.len()).map(|index| Line { section: self, index })
    }

    /// The name for a message: `backend web`, `global`.
    pub fn title(&self) -> String {
        match self.name() {
            Some(name) => format!("{} {}", self.keyword(), name.text),
            None => self.keyword().to_owned(),
        }
    }

    fn token(&self, line: u32, index: u32) -> Token<'_> {
        let word = self.words[index as usize];
        let text = &self.text[word.start as usize..word.end as usize];
        Token {
            text,
            bytes: self.raw.get(&index).map_or(text.as_bytes(), |bytes| bytes),
            at: Location { file: self.file, line, column: word.column, len: word.len },
            written: word.written,
        }
    }

    fn words_of(&self, line: usize) -> Range<u32> {
        let end = self.lines.get(line + 1).map_or(self.words.len() as u32, |next| next.first_word);
        self.lines[line].first_word..end
    }
}

impl<'a> Line<'a> {
    pub fn number(self) -> u32 {
        self.section.lines[self.index].number
    }

    /// How many words; at least 1.
    pub fn len(self) -> usize {
        self.section.words_of(self.index).len()
    }

    /// Never true: a line without words is not kept.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn token(self, index: usize) -> Option<Token<'a>> {
        let words = self.section.words_of(self.index);
        (index < words.len()).then(|| self.section.token(self.number(), words.start + index as u32))
    }

    pub fn tokens(self) -> impl ExactSizeIterator<Item = Token<'a>> + Clone {
        let number = self.number();
        let Range { start, end } = self.section.words_of(self.index);
        (0..(end - start) as usize).map(move |n| self.section.token(number, start + n as u32))
    }

    /// The first word.
    pub fn keyword(self) -> Token<'a> {
        self.section.token(self.number(), self.section.words_of(self.index).start)
    }

    /// From the first word to the last.
    pub fn at(self) -> Location {
        let words = self.section.words_of(self.index);
        let last = self.section.token(self.number(), words.end - 1);
        self.keyword().at.to(last.at)
    }

    pub fn section(self) -> &'a Section {
        self.section
    }
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tokens().map(|token| token.text)).finish()
    }
}

impl Token<'_> {
    pub fn is(&self, word: &str) -> bool {
        self.text == word
    }

    /// The place of a part of the value; the whole word where escapes hide where that part is.
    pub fn part(&self, range: Range<usize>) -> Location {
        let before = match self.written {
            Written::Plainly => 0,
            Written::Quoted => 1,
            Written::Otherwise => return self.at,
        };
        if range.end > self.text.len() || range.start > range.end {
            return self.at;
        }
        Location {
            column: self.at.column + before + range.start as u32,
            len: (range.len() as u32).max(1),
            ..self.at
        }
    }
}

impl Sections {
    pub const NONE: Self = Self(0);
    pub const GLOBAL: Self = Self(1);
    pub const DEFAULTS: Self = Self(1 << 1);
    pub const FRONTEND: Self = Self(1 << 2);
    pub const LISTEN: Self = Self(1 << 3);
    pub const BACKEND: Self = Self(1 << 4);
    pub const USERLIST: Self = Self(1 << 5);
    pub const RESOLVERS: Self = Self(1 << 6);
    pub const PEERS: Self = Self(1 << 7);
    pub const CACHE: Self = Self(1 << 8);
    pub const MAILERS: Self = Self(1 << 9);
    pub const RING: Self = Self(1 << 10);
    pub const HTTP_ERRORS: Self = Self(1 << 11);
    pub const PROGRAM: Self = Self(1 << 12);
    pub const LOG_FORWARD: Self = Self(1 << 13);
    pub const FCGI_APP: Self = Self(1 << 14);
    pub const NAMESPACE_LIST: Self = Self(1 << 15);
    /// Newer than HAProxy 2.6 (3.0).
    pub const CRT_STORE: Self = Self(1 << 16);
    /// `defaults`, `frontend`, `listen` and `backend`.
    pub const PROXIES: Self = Self(0b1_1110);
    /// `frontend` and `listen`: what accepts connections.
    pub const FRONTS: Self = Self(Self::FRONTEND.0 | Self::LISTEN.0);
    /// `listen` and `backend`: what has servers.
    pub const BACKS: Self = Self(Self::LISTEN.0 | Self::BACKEND.0);

    /// A kind of a later plane; `index` counts from 0 to 31.
    pub const fn plane(index: u32) -> Self {
        assert!(index < 32, "a plane's kinds are numbered from 0 to 31");
        Self(1 << (32 + index))
    }

    /// Both: `Sections::FRONTS.and(Sections::DEFAULTS)`; an operator would not work in tables.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The words of the kinds in the set, among `specs`.
    pub fn names(self, specs: &[SectionSpec]) -> impl Iterator<Item = &'static str> {
        specs.iter().filter(move |spec| spec.bit.intersects(self)).map(|spec| spec.keyword)
    }
}

impl SectionSpec {
    /// The sections of HAProxy 2.6, and `crt-store`.
    pub const HAPROXY: &'static [Self] = &[
        section("global", Sections::GLOBAL, Named::Never, "settings of the process"),
        proxy("defaults", Sections::DEFAULTS, Named::Optional, "presets of the proxies after it"),
        proxy("frontend", Sections::FRONTEND, Named::Required, "accepts connections"),
        proxy("listen", Sections::LISTEN, Named::Required, "a frontend and a backend in one"),
        proxy("backend", Sections::BACKEND, Named::Required, "servers that share the work"),
        section("userlist", Sections::USERLIST, Named::Required, "users, groups and passwords"),
        section(
            "resolvers",
            Sections::RESOLVERS,
            Named::Required,
            "name servers for servers' names",
        ),
        section("peers", Sections::PEERS, Named::Required, "balancers that share stick tables"),
        section("cache", Sections::CACHE, Named::Required, "a store of small answers"),
        section("mailers", Sections::MAILERS, Named::Required, "mail servers for alerts"),
        section("ring", Sections::RING, Named::Required, "a buffer of log lines in memory"),
        section("http-errors", Sections::HTTP_ERRORS, Named::Required, "a set of error answers"),
        section("program", Sections::PROGRAM, Named::Required, "a program run beside the workers"),
        section(
            "log-forward",
            Sections::LOG_FORWARD,
            Named::Required,
            "receives and relays syslog",
        ),
        section("fcgi-app", Sections::FCGI_APP, Named::Required, "a FastCGI application"),
        section("namespace_list", Sections::NAMESPACE_LIST, Named::Never, "network namespaces"),
        section("crt-store", Sections::CRT_STORE, Named::Optional, "names for certificates"),
    ];
}

const fn section(
    keyword: &'static str,
    bit: Sections,
    named: Named,
    doc: &'static str,
) -> SectionSpec {
    SectionSpec { keyword, bit, named, inherits: false, doc }
}

const fn proxy(
    keyword: &'static str,
    bit: Sections,
    named: Named,
    doc: &'static str,
) -> SectionSpec {
    SectionSpec { keyword, bit, named, inherits: true, doc }
}
