//! Every mistake of a configuration: what is wrong, where, and how it is shown.

mod explain;
mod render;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::condition::ConditionErrorKind;
use crate::section::Sections;
use crate::source::Location;

pub use explain::Explanation;
pub(crate) use explain::any_of;
pub use render::Style;

/// One mistake in a configuration, at the token that caused it.
#[derive(Debug)]
pub struct ConfigError {
    pub at: Location,
    pub kind: ConfigErrorKind,
    pub severity: Severity,
    /// How the keyword is written, for the reader of the message.
    pub usage: Option<&'static str>,
}

/// What is wrong. The kinds are general; a plane that needs to say something that none of them
/// says brings a type of its own and [`ConfigErrorKind::Plane`].
///
/// `what` is a noun without article, as in `unknown {what} "x"`; `expected` completes
/// `expected …`.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    // Words
    UnclosedQuote {
        quote: char,
    },
    UnclosedBrace,
    BadVariableName,
    BadHexEscape,
    BadWordExpansion,
    TooManyWords {
        max: usize,
    },
    LineTooLong {
        max: usize,
    },
    /// Variables have multiplied the text beyond the limit.
    ExpansionTooLarge {
        max: usize,
    },
    FileTooLarge {
        max: usize,
    },
    StrayNul,
    /// HAProxy would ignore what stands after it.
    StrayCarriageReturn,
    NoFinalNewline,
    /// HAProxy ignores a line whose first word is empty.
    EmptyFirstWord,
    /// HAProxy ignores what stands after an empty word.
    EmptyWord,

    // Directives
    Condition(ConditionErrorKind),
    /// `.elif`, `.else` or `.endif` without `.if`.
    LoneDirective {
        directive: String,
    },
    /// `.elif` or `.else` after `.else`.
    AfterElse {
        directive: String,
        first: Location,
    },
    NestedTooDeep {
        max: usize,
    },
    UnclosedIf,
    /// The text of `.alert`, `.warning`, `.notice` or `.diag`.
    Message {
        text: String,
    },

    // Sections and keywords
    /// A line before the first section.
    OutOfSection {
        found: String,
    },
    Unknown {
        what: &'static str,
        found: String,
        nearest: Option<String>,
    },
    WrongSection {
        keyword: String,
        section: &'static str,
        belongs: Vec<&'static str>,
    },
    NotNegatable {
        keyword: String,
        modifier: &'static str,
    },
    /// HAProxy knows the keyword, this version does not yet.
    NotYet {
        keyword: String,
        guards_access: bool,
    },
    /// Known, and there is nothing to set here.
    NoEffect {
        keyword: String,
        why: &'static str,
    },
    /// HAProxy has dropped the keyword; `instead` is the line to write, or what to do.
    Obsolete {
        keyword: String,
        instead: String,
    },

    // Words of a line
    Missing {
        what: Cow<'static, str>,
        after: String,
    },
    /// More words than the keyword takes.
    Trailing {
        found: String,
        after: String,
    },
    BadValue {
        what: Cow<'static, str>,
        found: String,
        expected: Cow<'static, str>,
    },
    OutOfRange {
        what: Cow<'static, str>,
        found: String,
        min: i64,
        max: i64,
    },

    // Names
    BadNameCharacter {
        what: &'static str,
        found: char,
    },
    Duplicate {
        what: &'static str,
        name: String,
        first: Location,
    },
    Undefined {
        what: &'static str,
        name: String,
        nearest: Option<String>,
    },
    Ambiguous {
        what: &'static str,
        name: String,
        first: Location,
        second: Location,
    },
    /// Used both by name and as the last one before a section.
    MixedDefaults {
        name: String,
        defaults: Location,
    },
    /// Two settings that exclude one another.
    Conflict {
        what: String,
        with: String,
        first: Option<Location>,
    },
    /// Allowed, but `needs` is not given: `option httplog` without `mode http`.
    Requires {
        what: String,
        needs: String,
    },

    // Environment
    Unreadable {
        path: PathBuf,
        error: ReadError,
    },
    /// A name of a host, user, group, interface … that this machine does not know.
    Unresolved {
        what: &'static str,
        name: String,
    },

    Plane(Box<dyn Mistake>),
}

/// A plane's own kind of mistake.
pub trait Mistake: fmt::Debug + Send + Sync {
    fn explain(&self) -> Explanation;

    fn class(&self) -> Class {
        Class::Language
    }
}

/// Whose fault: the text's, or this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Wrong on every machine.
    Language,
    /// A file, a name, a port or a user that is not as the text expects; `check --offline` does
    /// not look.
    Environment,
}

/// Orders from mild to grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Shown with `-dD` only.
    Diag,
    /// `-dW` does not count it.
    Notice,
    Warning,
    /// Nothing is started.
    Alert,
}

/// Why a file could not be read: a clonable `io::Error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    pub kind: io::ErrorKind,
    pub text: String,
}

/// Collects mistakes, and decides what counts.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Vec<ConfigError>,
    lenient: bool,
    diagnostic_mode: bool,
    incomplete: bool,
    counts: [usize; 4],
}

impl Diagnostics {
    pub fn new() -> Self {
        Self::default()
    }

    /// `--lenient`: what is not there yet is a warning, except where it guards access.
    #[must_use]
    pub fn lenient(mut self, lenient: bool) -> Self {
        self.lenient = lenient;
        self
    }

    /// `-dD`: keeps mistakes of severity [`Severity::Diag`] too.
    #[must_use]
    pub fn diagnostic_mode(mut self, on: bool) -> Self {
        self.diagnostic_mode = on;
        self
    }

    /// Adds a mistake with its kind's usual severity.
    pub fn report(&mut self, at: Location, kind: ConfigErrorKind) {
        let severity = kind.severity(self.lenient);
        self.push(ConfigError { at, kind, severity, usage: None });
    }

    pub fn error(&mut self, at: Location, kind: ConfigErrorKind) {
        self.push(ConfigError { at, kind, severity: Severity::Alert, usage: None });
    }

    pub fn warning(&mut self, at: Location, kind: ConfigErrorKind) {
        self.push(ConfigError { at, kind, severity: Severity::Warning, usage: None });
    }

    pub fn notice(&mut self, at: Location, kind: ConfigErrorKind) {
        self.push(ConfigError { at, kind, severity: Severity::Notice, usage: None });
    }

    pub fn push(&mut self, error: ConfigError) {
        // Text that was not read may define what seems undefined.
        let follows = self.incomplete && matches!(error.kind, ConfigErrorKind::Undefined { .. });
        if follows || (error.severity == Severity::Diag && !self.diagnostic_mode) {
            return;
        }
        self.counts[error.severity as usize] += 1;
        // An alert must not be lost to a flood of notices.
        if self.list.len() < KEPT_MAX
            || (error.severity == Severity::Alert && self.list.len() < 2 * KEPT_MAX)
        {
            self.list.push(error);
        }
    }

    /// What stops the configuration from being used.
    pub fn into_errors(self) -> impl Iterator<Item = ConfigError> {
        self.list.into_iter().filter(|error| error.severity >= Severity::Alert)
    }

    /// Says that a part of the configuration was not read, so that names may be missing that are
    /// defined there: [`ConfigErrorKind::Undefined`] is not reported any more.
    pub fn incomplete(&mut self) {
        self.incomplete = true;
        self.list.retain(|error| !matches!(error.kind, ConfigErrorKind::Undefined { .. }));
    }

    /// Sorts by place; call before [`iter`](Self::iter) where order matters. `render` does.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|error| error.at);
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.list.iter()
    }

    /// How many alerts.
    pub fn errors(&self) -> usize {
        self.count(Severity::Alert)
    }

    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.counts[severity as usize]
    }

    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn is_lenient(&self) -> bool {
        self.lenient
    }

    /// More mistakes are only counted, so looking for a good proposal is wasted.
    pub fn is_full(&self) -> bool {
        self.list.len() >= KEPT_MAX
    }
}

impl ConfigErrorKind {
    /// What [`Diagnostics::report`] uses.
    pub fn severity(&self, lenient: bool) -> Severity {
        match self {
            Self::NoEffect { .. } => Severity::Notice,
            Self::NoFinalNewline
            | Self::EmptyFirstWord
            | Self::StrayCarriageReturn
            | Self::MixedDefaults { .. }
            | Self::Requires { .. } => Severity::Warning,
            Self::NotYet { guards_access: false, .. } if lenient => Severity::Warning,
            _ => Severity::Alert,
        }
    }

    pub fn class(&self) -> Class {
        match self {
            Self::Unreadable { .. } | Self::Unresolved { .. } => Class::Environment,
            Self::Plane(mistake) => mistake.class(),
            _ => Class::Language,
        }
    }
}

impl ConfigError {
    pub fn class(&self) -> Class {
        self.kind.class()
    }
}

impl Severity {
    /// HAProxy's word for it, which scripts look for.
    pub fn word(self) -> &'static str {
        match self {
            Self::Diag => "DIAG",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Alert => "ALERT",
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self { kind: error.kind(), text: error.to_string() }
    }
}

impl ConfigErrorKind {
    /// An unknown word, with the nearest of the known ones.
    pub fn unknown<'w>(
        what: &'static str,
        found: &str,
        known: impl IntoIterator<Item = &'w str>,
    ) -> Self {
        let nearest = crate::nearest(found, known).map(str::to_owned);
        Self::Unknown { what, found: found.to_owned(), nearest }
    }

    /// A reference to something that no section defines, with the nearest name that is.
    pub fn undefined<'w>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'w str>,
    ) -> Self {
        let nearest = crate::nearest(name, known).map(str::to_owned);
        Self::Undefined { what, name: name.to_owned(), nearest }
    }
}

/// A list of section words for [`ConfigErrorKind::WrongSection`].
pub(crate) fn section_words(sections: Sections) -> Vec<&'static str> {
    sections.names(crate::SectionSpec::HAPROXY).collect()
}

/// Mistakes beyond this many are counted, not kept (alerts: twice as many).
const KEPT_MAX: usize = 1000;
