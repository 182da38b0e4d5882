//! Tables of keywords, and how a line finds its entry.
//!
//! A plane declares what its sections may hold as constant tables, builds a [`Table`] from them
//! once (in a `LazyLock`), and hands each line of a section to [`Checker::dispatch`]. Nested
//! lists, such as the options of a `server` line or the actions of `http-request`, are tables
//! too; a keyword's function runs them with [`Args::each`] and [`Args::one`].
//!
//! ```
//! use std::time::Duration;
//! use telamon_config::{Keyword, Sections, Table};
//!
//! #[derive(Default)]
//! struct Proxy { client_timeout: Duration }
//!
//! type K = Keyword<Proxy>; // names the type for builders such as `.since("2.8")`
//!
//! const KEYWORDS: &[K] = &[
//!     K::works("timeout client", Sections::FRONTS, "timeout client <time>",
//!         "how long a client may be silent", |proxy, args| {
//!             if let Some(time) = args.duration() {
//!                 proxy.client_timeout = time;
//!             }
//!         }),
//!     K::obsolete("clitimeout", Sections::PROXIES, "timeout client {1}"),
//! ];
//! let table = Table::new("keyword", &[KEYWORDS]);
//! # let _ = table;
//! ```

use std::collections::HashMap;

use crate::args::Args;
use crate::diagnostics::Diagnostics;
use crate::environment::Environment;
use crate::section::{Line, Sections};

/// What a keyword does to a plane's context.
///
/// It reads its words with the methods of [`Args`], which record mistakes; words that it leaves
/// are reported as unexpected.
pub type Parse<C> = fn(&mut C, &mut Args<'_>);

/// An entry of a table. `C` is what the plane builds, a type without lifetimes.
pub struct Keyword<C: 'static> {
    /// One or several words. A last word that ends in `(` matches all that begin so:
    /// `set-var(`.
    pub name: &'static str,
    pub sections: Sections,
    pub status: Status<C>,
    /// `timeout client <time>`
    pub usage: &'static str,
    /// One line for the manual.
    pub doc: &'static str,
    /// The version of HAProxy that brought it, when that is later than 2.6.
    pub since: Option<&'static str>,
    /// Takes `no` and `default` in front.
    pub negatable: bool,
}

/// What becomes of a line that holds the keyword.
pub enum Status<C: 'static> {
    /// As HAProxy's manual says.
    Works(Parse<C>),
    /// It is read, and changes nothing by itself: what it is about has no counterpart or is not there yet. Where that
    /// is worth a notice the function gives it.
    Idle(Parse<C>),
    /// One notice with the reason.
    NoEffect(&'static str),
    /// An error; a warning with `--lenient`, unless leaving it out changes who may reach what.
    NotYet { guards_access: bool },
    /// An error with the line to write: `{1}` is the first word after the keyword, `{*}` all.
    Obsolete(&'static str),
    /// As `Obsolete`, for what a template cannot say. Gets the words after the keyword.
    ObsoleteWith(fn(&[&str]) -> String),
}

impl<C> Keyword<C> {
    pub const fn works(
        name: &'static str,
        sections: Sections,
        usage: &'static str,
        doc: &'static str,
        parse: Parse<C>,
    ) -> Self {
        Self::new(name, sections, usage, doc, Status::Works(parse))
    }

    /// Like [`works`](Self::works), for what changes nothing by itself; `why` says so in the manual.
    pub const fn idle(
        name: &'static str,
        sections: Sections,
        usage: &'static str,
        why: &'static str,
        parse: Parse<C>,
    ) -> Self {
        Self::new(name, sections, usage, why, Status::Idle(parse))
    }

    pub const fn no_effect(name: &'static str, sections: Sections, why: &'static str) -> Self {
        Self::new(name, sections, name, why, Status::NoEffect(why))
    }

    pub const fn not_yet(name: &'static str, sections: Sections) -> Self {
        Self::new(name, sections, name, "", Status::NotYet { guards_access: false })
    }

    /// Not there yet, and leaving it out would change who may reach what.
    pub const fn not_yet_guard(name: &'static str, sections: Sections) -> Self {
        Self::new(name, sections, name, "", Status::NotYet { guards_access: true })
    }

    pub const fn obsolete(name: &'static str, sections: Sections, instead: &'static str) -> Self {
        Self::new(name, sections, name, instead, Status::Obsolete(instead))
    }

    pub const fn obsolete_with(
        name: &'static str,
        sections: Sections,
        instead: fn(&[&str]) -> String,
    ) -> Self {
        Self::new(name, sections, name, "", Status::ObsoleteWith(instead))
    }

    #[must_use]
    pub const fn since(mut self, version: &'static str) -> Self {
        self.since = Some(version);
        self
    }

    #[must_use]
    pub const fn negatable(mut self) -> Self {
        self.negatable = true;
        self
    }

    /// Usage and manual line for an entry that does not work (yet).
    #[must_use]
    pub const fn documented(mut self, usage: &'static str, doc: &'static str) -> Self {
        self.usage = usage;
        self.doc = doc;
        self
    }

    const fn new(
        name: &'static str,
        sections: Sections,
        usage: &'static str,
        doc: &'static str,
        status: Status<C>,
    ) -> Self {
        Self { name, sections, status, usage, doc, since: None, negatable: false }
    }

    pub fn is_obsolete(&self) -> bool {
        matches!(self.status, Status::Obsolete(_) | Status::ObsoleteWith(_))
    }

    /// How many words the name has.
    pub fn words(&self) -> usize {
        self.name.split(' ').count()
    }
}

/// Tables of keywords with an index.
pub struct Table<C: 'static> {
    /// What one entry is called in messages: `keyword`, `server option`, `action`.
    pub what: &'static str,
    lists: Vec<&'static [Keyword<C>]>,
    /// By first word, longest names first.
    by_first: HashMap<&'static str, Vec<&'static Keyword<C>>>,
}

/// What a search in a table found.
pub(crate) enum Found<C: 'static> {
    Keyword(&'static Keyword<C>),
    /// Only in other sections: these.
    Elsewhere {
        name: &'static str,
        sections: Sections,
    },
    Nothing,
}

impl<C> Table<C> {
    pub fn new(what: &'static str, lists: &[&'static [Keyword<C>]]) -> Self {
        let mut by_first: HashMap<_, Vec<&'static Keyword<C>>> = HashMap::new();
        for keyword in lists.iter().copied().flatten() {
            let first = keyword.name.split(' ').next().unwrap_or(keyword.name);
            by_first.entry(first).or_default().push(keyword);
        }
        for entries in by_first.values_mut() {
            entries.sort_by_key(|keyword| std::cmp::Reverse(keyword.words()));
        }
        Self { what, lists: lists.to_vec(), by_first }
    }

    /// All entries in the order of the tables.
    pub fn keywords(&self) -> impl Iterator<Item = &'static Keyword<C>> + '_ {
        self.lists.iter().copied().flatten()
    }

    /// The entry with the longest name that `words` begin with.
    pub(crate) fn find<'w>(
        &self,
        words: impl Iterator<Item = &'w str> + Clone,
        section: Sections,
    ) -> Found<C> {
        let Some(first) = words.clone().next() else { return Found::Nothing };
        let mut elsewhere = Found::Nothing;
        for keyword in self.starting_with(first) {
            let mut rest = words.clone();
            let fits = keyword
                .name
                .split(' ')
                .all(|name| rest.next().is_some_and(|word| key(word) == name || word == name));
            if !fits {
                continue;
            }
            if keyword.sections.intersects(section) {
                return Found::Keyword(keyword);
            }
            elsewhere = match elsewhere {
                Found::Elsewhere { name, sections } if name == keyword.name => {
                    Found::Elsewhere { name, sections: sections.and(keyword.sections) }
                }
                Found::Nothing => {
                    Found::Elsewhere { name: keyword.name, sections: keyword.sections }
                }
                other => other,
            };
        }
        elsewhere
    }

    pub(crate) fn starting_with(&self, word: &str) -> &[&'static Keyword<C>] {
        self.by_first.get(word).or_else(|| self.by_first.get(key(word))).map_or(&[], |list| list)
    }

    /// The nearest name that `words` may have meant.
    pub(crate) fn nearest(&self, words: &[&str], section: Sections) -> Option<&'static str> {
        let longest = self.keywords().map(Keyword::words).max().unwrap_or(1);
        for count in (1..=longest.min(words.len())).rev() {
            let found = words[..count].join(" ");
            let candidates = self
                .keywords()
                .filter(|keyword| keyword.sections.intersects(section))
                .filter(|keyword| keyword.words() == count)
                .filter(|keyword| !keyword.is_obsolete())
                .map(|keyword| keyword.name);
            if let Some(name) = crate::nearest(&found, candidates) {
                return Some(name);
            }
        }
        None
    }
}

/// `set-var(txn.host)` is found as `set-var(`.
fn key(word: &str) -> &str {
    word.find('(').map_or(word, |at| &word[..=at])
}

/// What every line is checked with.
pub struct Checker<'a> {
    pub environment: &'a Environment,
    pub diagnostics: &'a mut Diagnostics,
}

impl<'a> Checker<'a> {
    pub fn new(environment: &'a Environment, diagnostics: &'a mut Diagnostics) -> Self {
        Self { environment, diagnostics }
    }

    /// Finds the line's keyword in the table and runs it, or reports why it cannot. Returns
    /// whether the line is in order.
    pub fn dispatch<C>(&mut self, table: &Table<C>, line: Line<'_>, context: &mut C) -> bool {
        let mut args = Args::new(line, self.environment, self.diagnostics);
        args.run_line(table, context);
        !args.failed()
    }

    /// A cursor over a line for a plane that parses it by itself, past its first word.
    pub fn args<'l>(&'l mut self, line: Line<'l>) -> Args<'l> {
        let mut args = Args::new(line, self.environment, self.diagnostics);
        args.skip_keyword();
        args
    }
}

#[cfg(test)]
mod tests;
