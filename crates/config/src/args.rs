//! A cursor over the words of a line, with typed readers that report their own mistakes.

mod values;

use std::borrow::Cow;
use std::ops::Range;

use crate::diagnostics::{ConfigError, ConfigErrorKind, Diagnostics, any_of, section_words};
use crate::environment::Environment;
use crate::keyword::{Found, Keyword, Status, Table};
use crate::section::{Line, Sections, Token};
use crate::source::Location;

/// The words of a line after its keyword.
///
/// A reader takes the next word and returns `None` after reporting what is wrong with it. After
/// the first report [`failed`](Self::failed) is set, and the words left over are not reported.
pub struct Args<'a> {
    line: Line<'a>,
    next: usize,
    /// The words of the innermost keyword, for messages.
    keyword: Range<usize>,
    usage: Option<&'static str>,
    modifier: Modifier,
    failed: bool,
    environment: &'a Environment,
    diagnostics: &'a mut Diagnostics,
}

/// What stood before the keyword.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modifier {
    #[default]
    None,
    /// `no option …`
    No,
    /// `default option …`: back to the built-in value, whatever `defaults` says.
    Default,
}

/// A number or a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Count(u32),
    Percent(u32),
}

impl<'a> Args<'a> {
    pub(crate) fn new(
        line: Line<'a>,
        environment: &'a Environment,
        diagnostics: &'a mut Diagnostics,
    ) -> Self {
        Self {
            line,
            next: 0,
            keyword: 0..1,
            usage: None,
            modifier: Modifier::None,
            failed: false,
            environment,
            diagnostics,
        }
    }

    // The words

    /// The next word, which must be there; `what` has its article: `a name`.
    pub fn next(&mut self, what: impl Into<Cow<'static, str>>) -> Option<Token<'a>> {
        let token = self.peek();
        match token {
            Some(_) => self.next += 1,
            None => self.missing(what),
        }
        token
    }

    /// The next word, if there is one.
    pub fn next_if_any(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.next += usize::from(token.is_some());
        token
    }

    pub fn peek(&self) -> Option<Token<'a>> {
        self.line.token(self.next)
    }

    /// The word `n` places after the next one.
    pub fn peek_at(&self, n: usize) -> Option<Token<'a>> {
        self.line.token(self.next + n)
    }

    /// Takes the next word if it is `word`.
    pub fn accept(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.next += usize::from(found);
        found
    }

    /// Whether the next word is `word`.
    pub fn is(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.text == word)
    }

    /// Takes all words that are left.
    pub fn rest(&mut self) -> Vec<Token<'a>> {
        let rest = self.line.tokens().skip(self.next).collect();
        self.next = self.line.len();
        rest
    }

    /// All words that are left, as one text; there must be one at least.
    pub fn text(&mut self) -> Option<String> {
        let first = self.next("a text")?;
        let words = std::iter::once(first).chain(self.rest());
        Some(words.map(|token| token.text).collect::<Vec<_>>().join(" "))
    }

    /// Passes over all words that are left.
    pub fn skip_rest(&mut self) {
        self.next = self.line.len();
    }

    /// Goes back by one word.
    pub fn back(&mut self) {
        self.next = self.next.saturating_sub(1);
    }

    /// How many words are left.
    pub fn len(&self) -> usize {
        self.line.len() - self.next
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reports words that nobody took; done by itself after each line.
    pub fn end(&mut self) {
        if let Some(token) = self.peek() {
            let after = self.keyword_text();
            let found = token.text.to_owned();
            self.fail(
                token.at,
                match token.text {
                    "" => ConfigErrorKind::EmptyWord,
                    _ => ConfigErrorKind::Trailing { found, after },
                },
            );
        }
    }

    // Nested lists

    /// Runs keywords of a table until the words end: the options of a `server` line. After a
    /// mistake it goes on at the next word that is in the table.
    pub fn each<C>(&mut self, table: &Table<C>, context: &mut C) {
        while !self.is_empty() {
            let failed = std::mem::take(&mut self.failed);
            let first = self.next;
            if !self.nested(table, context) || self.failed {
                self.next = self.next.max(first + 1);
                self.skip_to_known(table);
            }
            self.failed |= failed;
        }
    }

    /// Runs the one keyword of a table that must come next: the action of `http-request`.
    /// Returns whether it ran without a mistake; if not, the rest of the line is of no use.
    pub fn one<C>(&mut self, table: &Table<C>, context: &mut C) -> bool {
        if self.is_empty() {
            self.missing(with_article(table.what));
            return false;
        }
        let in_order = self.nested(table, context) && !self.failed;
        if !in_order {
            self.skip_rest();
        }
        in_order
    }

    /// As [`one`](Self::one), for tables whose keywords only choose what is read: `read` goes on with the words
    /// that follow, and messages still name the keyword.
    pub fn one_then<C, R>(
        &mut self,
        table: &Table<C>,
        context: &mut C,
        read: impl FnOnce(&mut Self, &mut C) -> Option<R>,
    ) -> Option<R> {
        if self.is_empty() {
            self.missing(with_article(table.what));
            return None;
        }
        let outer = (self.keyword.clone(), self.usage);
        let result = if self.step(table, context) { read(self, context) } else { None };
        (self.keyword, self.usage) = outer;
        if result.is_none() {
            self.skip_rest();
        }
        result
    }

    fn nested<C>(&mut self, table: &Table<C>, context: &mut C) -> bool {
        let outer = (self.keyword.clone(), self.usage);
        let ran = self.step(table, context);
        (self.keyword, self.usage) = outer;
        ran
    }

    /// Finds the keyword that comes next and runs it or reports its status. Returns whether it
    /// has run.
    fn step<C>(&mut self, table: &Table<C>, context: &mut C) -> bool {
        let section = self.sections();
        let words = self.line.tokens().skip(self.next).map(|token| token.text);
        let found = table.find(words, section);
        let first = self.next;
        let keyword = match found {
            Found::Keyword(keyword) => keyword,
            Found::Elsewhere { name, sections } => {
                let at = self.words_at(first..first + name.split(' ').count());
                let kind = ConfigErrorKind::WrongSection {
                    keyword: name.to_owned(),
                    section: self.line.section().keyword(),
                    belongs: section_words(sections),
                };
                self.fail(at, kind);
                return false;
            }
            Found::Nothing => {
                self.unknown(table);
                return false;
            }
        };
        self.next += keyword.words();
        self.keyword = first..self.next;
        self.usage = Some(keyword.usage);
        self.run(keyword, context)
    }

    fn run<C>(&mut self, keyword: &'static Keyword<C>, context: &mut C) -> bool {
        let at = self.words_at(self.keyword.clone());
        let name = || keyword.name.trim_end_matches('(').to_owned();
        if self.modifier != Modifier::None && !keyword.negatable && self.keyword.start <= 1 {
            let modifier = if self.modifier == Modifier::No { "no" } else { "default" };
            let kind = ConfigErrorKind::NotNegatable { keyword: name(), modifier };
            self.fail(self.words_at(0..1), kind);
            return false;
        }
        let kind = match &keyword.status {
            Status::Works(parse) | Status::Idle(parse) => {
                parse(context, self);
                return true;
            }
            Status::NoEffect(why) => ConfigErrorKind::NoEffect { keyword: name(), why },
            Status::NotYet { guards_access } => {
                ConfigErrorKind::NotYet { keyword: name(), guards_access: *guards_access }
            }
            Status::Obsolete(template) => {
                let instead = fill(template, &self.texts_left());
                ConfigErrorKind::Obsolete { keyword: name(), instead }
            }
            Status::ObsoleteWith(instead) => {
                ConfigErrorKind::Obsolete { keyword: name(), instead: instead(&self.texts_left()) }
            }
        };
        let severity = kind.severity(self.diagnostics.is_lenient());
        self.failed |= severity == crate::Severity::Alert;
        self.diagnostics.push(ConfigError { at, kind, severity, usage: None });
        false
    }

    fn unknown<C>(&mut self, table: &Table<C>) {
        let section = self.sections();
        let words: Vec<_> = self.texts_left();
        let first = words[0];
        if first.is_empty() {
            return self.fail(self.words_at(self.next..self.next + 1), ConfigErrorKind::EmptyWord);
        }
        let following: Vec<_> = table
            .starting_with(first)
            .iter()
            .filter(|keyword| keyword.sections.intersects(section))
            .filter_map(|keyword| keyword.name.split(' ').nth(1))
            .collect();
        // `timeout` alone.
        if words.len() == 1 && !following.is_empty() {
            self.next += 1;
            self.keyword = self.next - 1..self.next;
            self.missing(if following.len() <= LISTED_MAX {
                any_of(&following)
            } else {
                format!("a word such as `{}`", following[0])
            });
            return;
        }
        let nearest = match self.diagnostics.is_full() {
            true => None,
            false => table.nearest(&words, section),
        };
        let count = match nearest {
            Some(nearest) => nearest.split(' ').count(),
            None => 1 + usize::from(!following.is_empty()),
        };
        let kind = ConfigErrorKind::Unknown {
            what: table.what,
            found: words[..count].join(" "),
            nearest: nearest.map(|name| match name.strip_suffix('(') {
                // Only the parenthesis is missing.
                Some(bare) if bare == words[..count].join(" ") => format!("{name}…)"),
                bare => bare.unwrap_or(name).to_owned(),
            }),
        };
        self.fail(self.words_at(self.next..self.next + count), kind);
    }

    /// Goes to the next word that begins a keyword of the table.
    fn skip_to_known<C>(&mut self, table: &Table<C>) {
        while self.peek().is_some_and(|token| table.starting_with(token.text).is_empty()) {
            self.next += 1;
        }
    }

    // The surroundings

    pub fn modifier(&self) -> Modifier {
        self.modifier
    }

    /// Whether `no` stood before the keyword.
    pub fn is_negated(&self) -> bool {
        self.modifier == Modifier::No
    }

    /// The last word of the keyword: `set-var(txn.host)`.
    pub fn keyword(&self) -> Token<'a> {
        self.line.token(self.keyword.end - 1).unwrap_or_else(|| self.line.keyword())
    }

    /// All words of the keyword.
    pub fn keyword_text(&self) -> String {
        self.line
            .tokens()
            .skip(self.keyword.start)
            .take(self.keyword.len())
            .map(|token| token.text)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Where the keyword stands.
    pub fn at(&self) -> Location {
        self.words_at(self.keyword.clone())
    }

    pub fn line(&self) -> Line<'a> {
        self.line
    }

    /// The kind of the section, as one bit.
    pub fn sections(&self) -> Sections {
        self.line.section().spec.bit
    }

    pub fn environment(&self) -> &'a Environment {
        self.environment
    }

    // Mistakes

    /// Whether anything on this line was an error.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Reports an error; the words left over are not reported.
    pub fn fail(&mut self, at: Location, kind: ConfigErrorKind) {
        self.failed = true;
        // How it is written helps where words are missing or too many.
        let usage = match kind {
            ConfigErrorKind::Missing { .. } | ConfigErrorKind::Trailing { .. } => self.usage,
            _ => None,
        };
        let severity = crate::Severity::Alert;
        self.diagnostics.push(ConfigError { at, kind, severity, usage });
    }

    /// Reports with the kind's usual severity.
    pub fn report(&mut self, at: Location, kind: ConfigErrorKind) {
        match kind.severity(self.diagnostics.is_lenient()) {
            crate::Severity::Alert => self.fail(at, kind),
            severity => {
                self.diagnostics.push(ConfigError { at, kind, severity, usage: None });
            }
        }
    }

    pub fn warn(&mut self, at: Location, kind: ConfigErrorKind) {
        self.diagnostics.warning(at, kind);
    }

    pub fn notice(&mut self, at: Location, kind: ConfigErrorKind) {
        self.diagnostics.notice(at, kind);
    }

    /// Reports that the line ends too early.
    pub fn missing(&mut self, what: impl Into<Cow<'static, str>>) {
        let last = self.next.saturating_sub(1);
        let at = self.words_at(last..last + 1);
        let kind = ConfigErrorKind::Missing { what: what.into(), after: self.keyword_text() };
        self.fail(at, kind);
    }

    /// Reports a word that is not what it should be; `expected` has its article.
    pub fn bad(
        &mut self,
        token: Token<'_>,
        what: impl Into<Cow<'static, str>>,
        expected: impl Into<Cow<'static, str>>,
    ) {
        let (what, expected) = (what.into(), expected.into());
        let found = token.text.to_owned();
        self.fail(token.at, ConfigErrorKind::BadValue { what, found, expected });
    }

    // For `Checker`

    pub(crate) fn run_line<C>(&mut self, table: &Table<C>, context: &mut C) {
        self.modifier = match self.line.keyword().text {
            "no" => Modifier::No,
            "default" => Modifier::Default,
            _ => Modifier::None,
        };
        if self.modifier != Modifier::None {
            self.next = 1;
            if self.is_empty() {
                return self.missing("a keyword");
            }
        }
        if self.step(table, context) && !self.failed {
            self.end();
        }
    }

    pub(crate) fn skip_keyword(&mut self) {
        self.next = 1;
    }

    fn texts_left(&self) -> Vec<&'a str> {
        self.line.tokens().skip(self.next).map(|token| token.text).collect()
    }

    fn words_at(&self, words: Range<usize>) -> Location {
        let first = self.line.token(words.start).unwrap_or_else(|| self.line.keyword()).at;
        let last = words.end.checked_sub(1).and_then(|last| self.line.token(last));
        last.map_or(first, |last| first.to(last.at))
    }
}

/// `an action`, `a keyword`
fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// Fills `{1}`, `{2}` … and `{*}` of a template.
fn fill(template: &str, words: &[&str]) -> String {
    let mut out = template.replace("{*}", &words.join(" "));
    for number in 1..=9 {
        let mark = format!("{{{number}}}");
        if out.contains(&mark) {
            out = out.replace(&mark, words.get(number - 1).unwrap_or(&"…"));
        }
    }
    out
}

/// Up to this many words are listed as what was expected.
const LISTED_MAX: usize = 8;
