//! One line to words: quotes, escapes, variables, comments (HAProxy manual, 2.2 and 2.3).

use crate::diagnostics::ConfigErrorKind;
use crate::environment::Environment;
use crate::section::{Word, Written};

/// The words of one line, reused from line to line.
///
/// `words` are ranges into `value`; columns count from 1.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) value: Vec<u8>,
    pub(crate) words: Vec<Word>,
    /// How many bytes all lines so far took from variables; see [`EXPANSION_MAX`].
    expanded: usize,
}

/// What the pseudo-variables answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) environment: &'a Environment,
    /// `.FILE`
    pub(crate) file: &'a [u8],
    /// `.LINE`
    pub(crate) line: u32,
    /// `.SECTION`; `None` before the first section, which then takes a default value.
    pub(crate) section: Option<&'a [u8]>,
    /// Whether `#` begins a comment: not on the command line.
    pub(crate) comments: bool,
}

/// A mistake on the bytes `start..end` of the line.
#[derive(Debug)]
pub(crate) struct LexError {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: ConfigErrorKind,
}

impl Words {
    /// Splits `line`, which has no line feed. Empty words at its end are dropped: HAProxy sees no
    /// difference between an empty word and none, and a variable that is empty shall leave no
    /// trace.
    pub(crate) fn lex(&mut self, line: &[u8], around: Surroundings<'_>) -> Result<(), LexError> {
        self.value.clear();
        self.words.clear();
        if line.len() > LINE_LEN_MAX {
            let kind = ConfigErrorKind::LineTooLong { max: LINE_LEN_MAX };
            return Err(LexError { start: 0, end: 1, kind });
        }
        let mut at = 0;
        loop {
            while line.get(at).is_some_and(|byte| is_space(*byte)) {
                at += 1;
            }
            if self.words.len() > WORDS_MAX {
                let word = self.words[WORDS_MAX];
                let start = word.column as usize - 1;
                let kind = ConfigErrorKind::TooManyWords { max: WORDS_MAX };
                return Err(LexError { start, end: start + word.len as usize, kind });
            }
            match line.get(at) {
                None => break,
                Some(b'#') if around.comments => break,
                // A carriage return ends the line, as in a file with CRLF.
                Some(b'\r') if line[at..].iter().all(|byte| *byte == b'\r') => break,
                Some(b'\r') => {
                    let kind = ConfigErrorKind::StrayCarriageReturn;
                    return Err(LexError { start: at, end: line.len(), kind });
                }
                Some(_) => at = self.word(line, at, around)?,
            }
        }
        while self.words.last().is_some_and(|word| word.start == word.end) {
            self.words.pop();
        }
        Ok(())
    }

    /// Reads the word that starts at `from`; returns where it ends.
    fn word(
        &mut self,
        line: &[u8],
        from: usize,
        around: Surroundings<'_>,
    ) -> Result<usize, LexError> {
        let first = self.words.len();
        let mut at = from;
        let mut start = self.value.len();
        let mut written = Written::Plainly;
        let mut quote: Option<(u8, usize)> = None;
        while let Some(&byte) = line.get(at) {
            // Most bytes mean themselves.
            if byte >= b'-' && byte != b'\\' {
                let run = line[at..].iter().take_while(|b| **b >= b'-' && **b != b'\\').count();
                self.value.extend_from_slice(&line[at..at + run]);
                at += run;
                continue;
            }
            let mark = quote.map(|(mark, _)| mark);
            match byte {
                b'\r' => break,
                b'"' | b'\'' if mark.is_none() => {
                    quote = Some((byte, at));
                    written = if at == from { Written::Quoted } else { Written::Otherwise };
                    at += 1;
                }
                b'"' | b'\'' if mark == Some(byte) => {
                    quote = None;
                    at += 1;
                }
                b'#' if mark.is_none() && around.comments => break,
                b'\\' if mark != Some(b'\'') => {
                    let len = self.escape(&line[at..], mark.is_some()).map_err(|len| {
                        let kind = ConfigErrorKind::BadHexEscape;
                        LexError { start: at, end: at + len, kind }
                    })?;
                    if len > 1 {
                        written = Written::Otherwise;
                    }
                    at += len;
                }
                b'$' if mark == Some(b'"') => {
                    let variable = Variable::parse(line, at)?;
                    self.expand(&variable, from, &mut start, around)?;
                    written = Written::Otherwise;
                    at = variable.end;
                }
                byte if mark.is_none() && is_space(byte) => break,
                byte => {
                    self.value.push(byte);
                    at += 1;
                }
            }
        }
        if let Some((mark, at)) = quote {
            let kind = ConfigErrorKind::UnclosedQuote { quote: mark.into() };
            return Err(LexError { start: at, end: line.len(), kind });
        }
        // Something stands behind the closing quote.
        if written == Written::Quoted && !matches!(line[at - 1], b'"' | b'\'') {
            written = Written::Otherwise;
        }
        self.push(start, from, written);
        for word in &mut self.words[first..] {
            word.len = (at - from) as u32;
        }
        Ok(at)
    }

    fn push(&mut self, start: usize, from: usize, written: Written) {
        let (start, end) = (start as u32, self.value.len() as u32);
        self.words.push(Word { start, end, column: from as u32 + 1, len: 0, written });
    }

    /// Appends what the escape at the start of `text` stands for and returns its length, or the
    /// length to mark when it is a broken `\xHH`.
    fn escape(&mut self, text: &[u8], in_double_quotes: bool) -> Result<usize, usize> {
        let (byte, len) = match text.get(1) {
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(byte @ (b' ' | b'\\' | b'#' | b'\'' | b'"')) => (*byte, 2),
            Some(b'$') if in_double_quotes => (b'$', 2),
            Some(b'x') => {
                let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
                match (digit(2), digit(3)) {
                    (Some(high), Some(low)) => ((high * 16 + low) as u8, 4),
                    _ => return Err(text.len().min(4)),
                }
            }
            // Any other backslash means itself: regular expressions are full of them.
            _ => (b'\\', 1),
        };
        self.value.push(byte);
        Ok(len)
    }

    fn expand(
        &mut self,
        variable: &Variable<'_>,
        from: usize,
        start: &mut usize,
        around: Surroundings<'_>,
    ) -> Result<(), LexError> {
        let line_number;
        let value = match variable.name {
            b".LINE" => {
                line_number = around.line.to_string();
                Some(line_number.as_bytes())
            }
            b".FILE" => Some(around.file),
            b".SECTION" => around.section,
            name if name.starts_with(b".") => return Err(variable.mistake_in_name()),
            name => around.environment.get(name),
        };
        let Some(value) = value.or(variable.default) else { return Ok(()) };
        self.expanded += value.len();
        if self.expanded > EXPANSION_MAX {
            let kind = ConfigErrorKind::ExpansionTooLarge { max: EXPANSION_MAX };
            return Err(LexError { start: variable.start, end: variable.end, kind });
        }
        if !variable.splits {
            self.value.extend_from_slice(value);
            return Ok(());
        }
        // The words of `${NAME[*]}`: each run of spaces ends one.
        let mut in_space = false;
        for byte in value {
            if !is_space(*byte) {
                self.value.push(*byte);
            } else if !in_space {
                self.push(*start, from, Written::Otherwise);
                *start = self.value.len();
                if self.words.len() > WORDS_MAX {
                    let kind = ConfigErrorKind::TooManyWords { max: WORDS_MAX };
                    return Err(LexError { start: variable.start, end: variable.end, kind });
                }
            }
            in_space = is_space(*byte);
        }
        Ok(())
    }
}

/// `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}` on `start..end` of a line.
struct Variable<'a> {
    name: &'a [u8],
    default: Option<&'a [u8]>,
    splits: bool,
    start: usize,
    end: usize,
}

impl<'a> Variable<'a> {
    fn parse(line: &'a [u8], start: usize) -> Result<Self, LexError> {
        let is = |at: usize, byte: u8| line.get(at) == Some(&byte);
        let mut at = start + 1;
        let braced = is(at, b'{');
        at += usize::from(braced);
        let name_start = at;
        match line.get(at) {
            Some(byte) if byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.') => at += 1,
            _ => {
                let kind = ConfigErrorKind::BadVariableName;
                return Err(LexError { start, end: (at + 1).min(line.len()), kind });
            }
        }
        while line.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            at += 1;
        }
        let name = &line[name_start..at];
        if !braced {
            return Ok(Self { name, default: None, splits: false, start, end: at });
        }
        let splits = is(at, b'[');
        if splits {
            if !(is(at + 1, b'*') && is(at + 2, b']')) {
                let end = (at + 3).min(line.len());
                return Err(LexError { start: at, end, kind: ConfigErrorKind::BadWordExpansion });
            }
            at += 3;
        }
        let mut default = None;
        if is(at, b'-') {
            let len = line[at + 1..].iter().position(|byte| *byte == b'}');
            default = len.map(|len| &line[at + 1..at + 1 + len]);
            at += 1 + len.unwrap_or(0);
        }
        if !is(at, b'}') {
            return Err(LexError { start, end: at, kind: ConfigErrorKind::UnclosedBrace });
        }
        Ok(Self { name, default, splits, start, end: at + 1 })
    }

    fn mistake_in_name(&self) -> LexError {
        let kind = ConfigErrorKind::Unknown {
            what: "pseudo-variable",
            found: String::from_utf8_lossy(self.name).into_owned(),
            nearest: crate::nearest(
                &String::from_utf8_lossy(self.name),
                [".FILE", ".LINE", ".SECTION"],
            )
            .map(str::to_owned),
        };
        LexError { start: self.start, end: self.end, kind }
    }
}

/// C's `isspace` without the line ends.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)
}

/// A line is at most this long; HAProxy has no limit, but such a line is never meant.
pub(crate) const LINE_LEN_MAX: usize = 1 << 20;
/// All variables together may add this much text, so that a file cannot multiply itself.
const EXPANSION_MAX: usize = 64 << 20;
/// As in HAProxy.
pub(crate) const WORDS_MAX: usize = 64;
