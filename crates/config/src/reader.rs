//! Files to sections: conditional blocks, messages, the environment, and where sections begin.

use crate::args::Args;
use crate::condition::evaluate;
use crate::diagnostics::{ConfigError, ConfigErrorKind, Diagnostics, Severity};
use crate::environment::Environment;
use crate::keyword::Keyword;
use crate::lexer::{LexError, Surroundings, Words};
use crate::section::{Line, Named, Section, SectionSpec, Sections, Word};
use crate::source::{FileId, Location, Source, lines};
use crate::value::invalid_name_char;

/// Reads all files into sections, in their order.
///
/// `specs` are the sections that exist ([`SectionSpec::HAPROXY`], and those of other planes).
/// `setenv` and its kin in `global` change `environment` for the lines after them. What is wrong
/// goes to `diagnostics`; what was readable is returned all the same, so that later stages find
/// the rest of the mistakes.
pub fn read(
    source: &Source,
    specs: &'static [SectionSpec],
    environment: &mut Environment,
    diagnostics: &mut Diagnostics,
) -> Vec<Section> {
    let paths = source.files().filter_map(|file| source.path(file));
    let names: Vec<_> = paths.map(|path| path.as_os_str().as_encoded_bytes()).collect();
    // What stands on the command line is a text too, named by its option.
    let files: Vec<_> = names.iter().copied().filter(|name| !name.starts_with(b"-")).collect();
    environment.set("HAPROXY_CFGFILES", files.join(&b';'));
    let mut reader = Reader {
        specs,
        environment,
        diagnostics,
        words: Words::default(),
        sections: Vec::new(),
        branches: Vec::new(),
        place: Place::Start,
    };
    for (file, name) in source.files().zip(names) {
        reader.file(file, name, source.bytes(file));
    }
    reader.sections
}

/// Evaluates the condition that `-cc` gives, held in `file` so that a mistake can be shown like any
/// other; `None` when there is one. Its quotes and variables are read as in a file.
pub fn check_condition(
    source: &Source,
    file: FileId,
    environment: &Environment,
    diagnostics: &mut Diagnostics,
) -> Option<bool> {
    let mut words = Words::default();
    let around = Surroundings { environment, file: b"", line: 1, section: None, comments: false };
    let text = source.bytes(file);
    let lexed = words.lex(text, around).map_err(|LexError { start, end, kind }| {
        let len = (end.max(start + 1) - start) as u32;
        (Location { file, line: 1, column: start as u32 + 1, len }, kind)
    });
    let answer = lexed.and_then(|()| {
        let Words { value, words, .. } = &words;
        Directive { value, words, file, number: 1 }.condition(0, environment)
    });
    answer.map_err(|(at, kind)| diagnostics.error(at, kind)).ok()
}

/// The keywords of `global` that [`read`] has already obeyed, for a plane's table.
pub const fn environment_keywords<C>() -> [Keyword<C>; 4] {
    fn taken<C>(_: &mut C, args: &mut Args<'_>) {
        args.skip_rest();
    }
    [
        Keyword::works(
            "setenv",
            Sections::GLOBAL,
            "setenv <name> <value>",
            "sets a variable for the lines that follow",
            taken,
        ),
        Keyword::works(
            "presetenv",
            Sections::GLOBAL,
            "presetenv <name> <value>",
            "sets a variable for the lines that follow, unless it is set",
            taken,
        ),
        Keyword::works(
            "unsetenv",
            Sections::GLOBAL,
            "unsetenv <name>...",
            "forgets variables",
            taken,
        ),
        Keyword::works(
            "resetenv",
            Sections::GLOBAL,
            "resetenv [<name>...]",
            "forgets all variables but the named ones",
            taken,
        ),
    ]
}

struct Reader<'a> {
    specs: &'static [SectionSpec],
    environment: &'a mut Environment,
    diagnostics: &'a mut Diagnostics,
    words: Words,
    sections: Vec<Section>,
    /// The open `.if` blocks, innermost last.
    branches: Vec<Branch>,
    place: Place,
}

/// Where in a file the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first section.
    Start,
    /// The same, and that has been reported.
    Lost,
    /// In the last of `sections`; its first word stood in this column.
    Section { column: u32 },
}

/// One `.if` block.
struct Branch {
    opened: Location,
    state: State,
    else_at: Option<Location>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// These lines count.
    Taken,
    /// No condition was true so far.
    Waiting,
    /// The block was taken before, or is in one that is not taken.
    Skipped,
}

/// Whether to go on with the file.
enum Next {
    Line,
    File,
}

impl Reader<'_> {
    fn file(&mut self, file: FileId, name: &[u8], bytes: &[u8]) {
        self.place = Place::Start;
        self.branches.clear();
        let whole = Location { file, line: 0, column: 0, len: 0 };
        if bytes.len() > FILE_LEN_MAX {
            self.diagnostics.incomplete();
            let kind = ConfigErrorKind::FileTooLarge { max: FILE_LEN_MAX };
            return self.diagnostics.error(whole, kind);
        }
        for ((line, has_end), number) in lines(bytes).zip(1u32..) {
            let at = |start: usize, end: usize| Location {
                file,
                line: number,
                column: start as u32 + 1,
                len: (end.max(start + 1) - start) as u32,
            };
            if let Some(nul) = line.iter().position(|byte| *byte == 0) {
                self.diagnostics.incomplete();
                return self.diagnostics.error(at(nul, nul + 1), ConfigErrorKind::StrayNul);
            }
            if !has_end {
                let end = at(line.len().saturating_sub(1), line.len());
                self.diagnostics.report(end, ConfigErrorKind::NoFinalNewline);
            }
            let mut words = std::mem::take(&mut self.words);
            let next = match words.lex(line, self.surroundings(name, number)) {
                Ok(()) => self.line(file, number, line, &words),
                Err(LexError { start, end, kind }) => {
                    let at = at(start, end);
                    self.diagnostics.report(at, kind);
                    self.after_bad_line(line, at);
                    Next::Line
                }
            };
            self.words = words;
            if let Next::File = next {
                self.diagnostics.incomplete();
                self.branches.clear();
                break;
            }
        }
        for branch in std::mem::take(&mut self.branches) {
            self.diagnostics.error(branch.opened, ConfigErrorKind::UnclosedIf);
        }
    }

    /// A line that cannot be split may have opened a section or a block: what it was must not
    /// cause errors in the lines after it.
    fn after_bad_line(&mut self, line: &[u8], at: Location) {
        let first = line.trim_ascii_start();
        let len = first.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
        let first = &first[..len];
        let taken = self.is_taken();
        match (first, self.branches.last_mut()) {
            (b".if", _) => {
                self.branches.push(Branch { opened: at, state: State::Skipped, else_at: None });
            }
            (b".elif", Some(branch)) => branch.state = State::Skipped,
            _ if !taken => return,
            _ if self.specs.iter().any(|spec| spec.keyword.as_bytes() == first) => {
                self.place = Place::Lost;
            }
            _ => return,
        }
        self.diagnostics.incomplete();
    }

    fn surroundings<'s>(&'s self, file: &'s [u8], line: u32) -> Surroundings<'s> {
        let section = match self.place {
            Place::Section { .. } => self.sections.last(),
            Place::Start | Place::Lost => None,
        };
        Surroundings {
            environment: self.environment,
            file,
            line,
            comments: true,
            section: section.map(|section| {
                let header = section.header();
                header.token(1).unwrap_or_else(|| header.keyword()).bytes
            }),
        }
    }

    fn line(&mut self, file: FileId, number: u32, line: &[u8], words: &Words) -> Next {
        let Words { value, words, .. } = words;
        let Some(first) = words.first() else { return Next::Line };
        let bytes = |word: &Word| &value[word.start as usize..word.end as usize];
        let at = |word: &Word| Location { file, line: number, column: word.column, len: word.len };
        if first.start == first.end {
            if self.is_taken() {
                self.diagnostics.report(at(first), ConfigErrorKind::EmptyFirstWord);
            }
            return Next::Line;
        }
        if value.starts_with(b".") {
            let line = Directive { value, words, file, number };
            return self.directive(&line);
        }
        if !self.is_taken() {
            return Next::Line;
        }
        // `[scope]` lines belong to SPOE's own files; HAProxy reads over them here.
        if line.trim_ascii_start().starts_with(b"[") {
            let keyword = String::from_utf8_lossy(bytes(first)).into_owned();
            let why = "scopes belong in the files of SPOE filters";
            self.diagnostics.report(at(first), ConfigErrorKind::NoEffect { keyword, why });
            return Next::Line;
        }
        if let Some(spec) = self.section_spec(bytes(first), at(first)) {
            let mut section = Section::new(spec, file);
            section.push_line(number, value, words);
            self.place = Place::Section { column: first.column };
            self.check_header(&section);
            self.sections.push(section);
            return Next::Line;
        }
        match (self.place, self.sections.last_mut()) {
            (Place::Section { .. }, Some(section)) => {
                section.push_line(number, value, words);
                if section.spec.bit == Sections::GLOBAL
                    && let Some(line) = section.lines().next_back()
                {
                    set_environment(line, self.environment, self.diagnostics);
                }
            }
            (Place::Lost, _) => {}
            (_, _) => {
                self.place = Place::Lost;
                self.diagnostics.incomplete();
                let found = String::from_utf8_lossy(bytes(first)).into_owned();
                let kind = ConfigErrorKind::OutOfSection { found };
                self.diagnostics.error(at(first), kind);
            }
        }
        Next::Line
    }

    /// Whether the word opens a section. A slip in it (`backnd web`) is reported and read as what
    /// was meant, so that its lines and the references to it are checked.
    fn section_spec(&mut self, word: &[u8], at: Location) -> Option<&'static SectionSpec> {
        if let Some(spec) = self.specs.iter().find(|spec| spec.keyword.as_bytes() == word) {
            return Some(spec);
        }
        // Only where sections stand: as far left as the last one.
        let in_place = match self.place {
            Place::Section { column } => column == at.column,
            Place::Start | Place::Lost => true,
        };
        if !in_place || NEAR_SECTIONS.contains(&word) || self.diagnostics.is_full() {
            return None;
        }
        let found = std::str::from_utf8(word).ok()?;
        let nearest = crate::nearest(found, self.specs.iter().map(|spec| spec.keyword))?;
        let spec = self.specs.iter().find(|spec| spec.keyword == nearest)?;
        let (found, nearest) = (found.to_owned(), Some(nearest.to_owned()));
        let kind = ConfigErrorKind::Unknown { what: "section", found, nearest };
        self.diagnostics.error(at, kind);
        Some(spec)
    }

    fn check_header(&mut self, section: &Section) {
        let SectionSpec { keyword, named, .. } = *section.spec;
        match section.name() {
            Some(name) if named == Named::Required => {
                if let Some(found) = invalid_name_char(name.text) {
                    let kind = ConfigErrorKind::BadNameCharacter { what: keyword, found };
                    self.diagnostics.error(name.at, kind);
                }
            }
            None if named == Named::Required => {
                let what = "a name".into();
                let kind = ConfigErrorKind::Missing { what, after: keyword.to_owned() };
                self.diagnostics.error(section.at(), kind);
            }
            _ => {}
        }
        let Some(extra) = section.rest().next() else { return };
        let front = section.spec.bit.intersects(Sections::FRONTS);
        let kind = if front && extra.text.contains(':') {
            ConfigErrorKind::Obsolete {
                keyword: format!("{keyword} NAME ADDRESS"),
                instead: format!("bind {}", extra.text),
            }
        } else if extra.text == "from" && section.spec.inherits {
            ConfigErrorKind::Missing {
                what: "the name of a defaults section".into(),
                after: "from".to_owned(),
            }
        } else {
            let found = extra.text.to_owned();
            ConfigErrorKind::Trailing { found, after: section.title() }
        };
        self.diagnostics.error(extra.at, kind);
    }

    fn is_taken(&self) -> bool {
        self.branches.last().is_none_or(|branch| branch.state == State::Taken)
    }

    fn directive(&mut self, line: &Directive<'_>) -> Next {
        let word = line.text(0);
        match word.as_str() {
            ".if" => {
                if self.branches.len() == NESTED_MAX {
                    let kind = ConfigErrorKind::NestedTooDeep { max: NESTED_MAX };
                    self.diagnostics.error(line.at(0), kind);
                    return Next::File;
                }
                let state = if self.is_taken() { self.condition(line) } else { State::Skipped };
                self.branches.push(Branch { opened: line.at(0), state, else_at: None });
            }
            ".elif" | ".else" => {
                let is_else = word == ".else";
                if is_else {
                    self.no_more_words(line, 1);
                }
                let Some(branch) = self.branches.last_mut() else {
                    let kind = ConfigErrorKind::LoneDirective { directive: word };
                    self.diagnostics.error(line.at(0), kind);
                    return Next::Line;
                };
                if let Some(first) = branch.else_at {
                    let kind = ConfigErrorKind::AfterElse { directive: word, first };
                    self.diagnostics.error(line.at(0), kind);
                    branch.state = State::Skipped;
                    return Next::Line;
                }
                if is_else {
                    branch.else_at = Some(line.at(0));
                }
                let waiting = branch.state == State::Waiting;
                let state = match waiting {
                    false => State::Skipped,
                    true if is_else => State::Taken,
                    true => self.condition(line),
                };
                if let Some(branch) = self.branches.last_mut() {
                    branch.state = state;
                }
            }
            ".endif" => {
                self.no_more_words(line, 1);
                if self.branches.pop().is_none() {
                    let kind = ConfigErrorKind::LoneDirective { directive: word };
                    self.diagnostics.error(line.at(0), kind);
                }
            }
            _ if !self.is_taken() => {}
            ".alert" | ".warning" | ".notice" | ".diag" => {
                let severity = match word.as_str() {
                    ".alert" => Severity::Alert,
                    ".warning" => Severity::Warning,
                    ".notice" => Severity::Notice,
                    _ => Severity::Diag,
                };
                if self.no_more_words(line, 2) {
                    let kind = ConfigErrorKind::Message { text: line.text(1) };
                    let at = line.at(0);
                    self.diagnostics.push(ConfigError { at, kind, severity, usage: None });
                }
                if severity == Severity::Alert {
                    return Next::File;
                }
            }
            _ => {
                let kind = ConfigErrorKind::unknown("directive", &word, DIRECTIVES.iter().copied());
                self.diagnostics.error(line.at(0), kind);
            }
        }
        Next::Line
    }

    fn condition(&mut self, line: &Directive<'_>) -> State {
        match line.condition(1, self.environment) {
            Ok(true) => State::Taken,
            Ok(false) => State::Waiting,
            Err((at, kind)) => {
                self.diagnostics.error(at, kind);
                self.diagnostics.incomplete();
                State::Skipped
            }
        }
    }

    fn no_more_words(&mut self, line: &Directive<'_>, count: usize) -> bool {
        if line.words.len() > count {
            let (found, after) = (line.text(count), line.text(0));
            let kind = ConfigErrorKind::Trailing { found, after };
            self.diagnostics.error(line.at(count), kind);
        }
        line.words.len() <= count
    }
}

/// A line that starts with a dot, or the text after `-cc`.
struct Directive<'a> {
    value: &'a [u8],
    words: &'a [Word],
    file: FileId,
    number: u32,
}

impl Directive<'_> {
    fn bytes(&self, word: &Word) -> &[u8] {
        &self.value[word.start as usize..word.end as usize]
    }

    /// The word as text; empty when there is none.
    fn text(&self, index: usize) -> String {
        let bytes = self.words.get(index).map_or(&[][..], |word| self.bytes(word));
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn at(&self, index: usize) -> Location {
        let word = self.words[index];
        Location { file: self.file, line: self.number, column: word.column, len: word.len }
    }

    /// Evaluates the words from `first` on, which HAProxy joins to one text.
    fn condition(
        &self,
        first: usize,
        environment: &Environment,
    ) -> Result<bool, (Location, ConfigErrorKind)> {
        let mut text = Vec::new();
        let mut starts = Vec::new();
        for word in &self.words[first..] {
            if !starts.is_empty() {
                text.push(b' ');
            }
            starts.push(text.len());
            text.extend_from_slice(self.bytes(word));
        }
        evaluate(&text, environment).map_err(|error| {
            let index = starts.iter().rposition(|start| *start <= error.at).unwrap_or(0);
            (self.at(first + index), ConfigErrorKind::Condition(error.kind))
        })
    }
}

/// `setenv`, `presetenv`, `unsetenv`, `resetenv` and `localpeer`.
fn set_environment(line: Line<'_>, environment: &mut Environment, diagnostics: &mut Diagnostics) {
    let keyword = line.keyword();
    let value = match (keyword.text, line.len()) {
        ("setenv" | "presetenv", 3) => {
            let set = keyword.text == "setenv";
            return match (line.token(1), line.token(2)) {
                (Some(name), _) if name.text.is_empty() || name.text.contains('=') => diagnostics
                    .error(
                        name.at,
                        ConfigErrorKind::BadValue {
                            what: "name of a variable".into(),
                            found: name.text.to_owned(),
                            expected: "a name without `=`".into(),
                        },
                    ),
                (Some(name), Some(value)) if set || environment.get(name.bytes).is_none() => {
                    environment.set(name.bytes, value.bytes);
                }
                _ => {}
            };
        }
        ("setenv" | "presetenv", 1) => "a name and a value",
        ("setenv" | "presetenv", 2) => "a value",
        ("setenv" | "presetenv", _) => {
            let Some(extra) = line.token(3) else { return };
            let (found, after) = (extra.text.to_owned(), keyword.text.to_owned());
            return diagnostics.error(extra.at, ConfigErrorKind::Trailing { found, after });
        }
        ("unsetenv", 1) => "at least one name",
        ("unsetenv", _) => {
            return line.tokens().skip(1).for_each(|name| environment.unset(name.bytes));
        }
        ("resetenv", _) => {
            return environment.retain(|name| line.tokens().skip(1).any(|keep| keep.bytes == name));
        }
        ("localpeer", 2) => {
            if let Some(name) = line.token(1).filter(|_| !environment.local_peer_is_fixed()) {
                environment.set("HAPROXY_LOCALPEER", name.bytes);
            }
            return;
        }
        _ => return,
    };
    let kind = ConfigErrorKind::Missing { what: value.into(), after: keyword.text.to_owned() };
    diagnostics.error(line.at(), kind);
}

const DIRECTIVES: &[&str] =
    &[".if", ".elif", ".else", ".endif", ".notice", ".warning", ".alert", ".diag"];
/// Keywords that look like slips of sections: `peers`, `mailers`, `http-errors`, `log-forward`, `defaults`.
const NEAR_SECTIONS: &[&[u8]] = &[b"peer", b"mailer", b"http-error", b"log-format", b"default"];
/// As in HAProxy.
const NESTED_MAX: usize = 99;
/// Far above anything real; keeps every range within 32 bits.
const FILE_LEN_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests;
