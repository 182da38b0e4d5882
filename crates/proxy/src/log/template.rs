//! A log format as a list of pieces: how it is written, and how it is filled in.
//!
//! A template knows neither expressions nor where values come from: `%[…]` is parsed and evaluated by whom it is given,
//! and variables read [`Facts`]. [`LogFormat`](super::LogFormat) joins the two.

use telamon_config::ConfigErrorKind;

use super::escape;
use super::variable::{self, Facts, Flags, VARIABLES, Variable};

/// A parsed format whose samples are of type `E`.
#[derive(Debug)]
pub(crate) struct Template<E> {
    pieces: Box<[Piece<E>]>,
    style: Style,
    /// Some piece is a variable, so rendering needs facts.
    pub(crate) has_variables: bool,
    /// Some piece is known only when all is over, as HAProxy sees it.
    pub(crate) waits_for_end: bool,
}

/// What the use of a format changes in how it is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Style {
    /// A missing value is written as `-`.
    pub(crate) mandatory: bool,
    /// Spaces delimit values, so several are one and none stands at the beginning.
    pub(crate) merge_spaces: bool,
    /// Samples become part of an HTTP head: bytes that are not allowed there are encoded as `%XX`, and `Q` does not
    /// apply to them.
    pub(crate) http: bool,
    /// Variables that say something of a request may be used.
    pub(crate) http_mode: bool,
}

#[derive(Debug)]
enum Piece<E> {
    /// A space, unless the line is empty or ends with one that a separator wrote.
    Separator,
    Text(Box<[u8]>),
    Variable(Variable, Flags),
    Sample(E, Flags),
}

/// A mistake in a format, at the bytes of its text that are wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError {
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) kind: TemplateErrorKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateErrorKind {
    /// `%name` where there is no such variable.
    UnknownVariable,
    /// The variable needs `mode http`.
    HttpOnly,
    /// `%` before a digit, a blank or the end: `%%` writes a percent sign.
    LonePercent,
    /// `%{` without `}`.
    UnclosedFlags,
    /// `%{…}` before something that is neither a name nor `[`.
    FlagsWithoutVariable,
    /// Not one of `+Q`, `-Q`, `+X`, `-X`, `+E`, `-E`, `+M`, `-M`.
    UnknownFlag,
    /// `%[` without `]` after the expression.
    UnclosedSample,
    /// The expression is wrong; its parser has said how.
    Sample,
}

impl TemplateErrorKind {
    /// The mistake for the reader of the configuration; `found` is the text that is wrong.
    pub(crate) fn for_diagnostics(&self, found: &str) -> ConfigErrorKind {
        let found = found.to_owned();
        let missing =
            |what: &'static str, after| ConfigErrorKind::Missing { what: what.into(), after };
        let bad = |what: &'static str, expected: &'static str, found| ConfigErrorKind::BadValue {
            what: what.into(),
            found,
            expected: expected.into(),
        };
        match self {
            Self::UnknownVariable => {
                let names = VARIABLES.iter().map(|row| row.name);
                ConfigErrorKind::unknown("log-format variable", &found, names)
            }
            Self::HttpOnly => ConfigErrorKind::Requires {
                what: format!("log-format variable %{found}"),
                needs: "mode http".to_owned(),
            },
            Self::LonePercent => {
                bad("log-format variable", "a name, or `%%` for a percent sign", found)
            }
            Self::UnclosedFlags => missing("`}`", found),
            Self::FlagsWithoutVariable => missing("the name of a variable or `[`", found),
            Self::UnknownFlag => {
                bad("log-format flag", "`+` or `-` before `Q`, `X`, `E` or `M`", found)
            }
            Self::UnclosedSample => missing("`]`", found),
            Self::Sample => bad("sample expression", "a fetch and converters", found),
        }
    }
}

/// Parses the expression that begins at an offset of the text; returns it with the offset of the byte after it.
pub(crate) type ParseSample<'p, E> = dyn FnMut(usize) -> Option<(E, usize)> + 'p;

impl<E> Template<E> {
    /// Parses a format.
    ///
    /// # Errors
    /// Every mistake, in order.
    pub(crate) fn parse(
        text: &[u8],
        style: Style,
        sample: &mut ParseSample<'_, E>,
    ) -> Result<Self, Vec<TemplateError>> {
        let mut parser = Parser {
            text,
            style,
            at: 0,
            flags: Flags { mandatory: style.mandatory, ..Flags::default() },
            pieces: Vec::new(),
            literal: Vec::new(),
        };
        let errors = parser.run(sample);
        if !errors.is_empty() {
            return Err(errors);
        }
        let has_variables = parser.pieces.iter().any(|piece| matches!(piece, Piece::Variable(..)));
        let late = |piece: &Piece<E>| matches!(piece, Piece::Variable(v, _) if v.waits_for_end());
        let waits_for_end = parser.pieces.iter().any(late);
        Ok(Self { pieces: parser.pieces.into(), style, has_variables, waits_for_end })
    }

    /// A format in which nothing varies.
    pub(crate) fn constant(text: &[u8], style: Style) -> Self {
        let pieces = Box::new([Piece::Text(text.into())]);
        Self { pieces, style, has_variables: false, waits_for_end: false }
    }

    /// The whole text where nothing in it varies.
    pub(crate) fn as_constant(&self) -> Option<&[u8]> {
        match &*self.pieces {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The samples, in order.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &E> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Sample(sample, _) => Some(sample),
            _ => None,
        })
    }

    /// Whether the format names the variable.
    pub(crate) fn names(&self, variable: Variable) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Variable(v, _) if *v == variable))
    }

    /// Appends the filled-in format to `out`.
    ///
    /// `facts` may be absent where [`has_variables`](Self::has_variables) is false; variables then write nothing.
    /// `evaluate` appends a sample's text, nothing where it is absent.
    pub(crate) fn render(
        &self,
        facts: Option<&Facts<'_>>,
        mut evaluate: impl FnMut(&E, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        let mut after_space = true;
        for piece in &self.pieces {
            match piece {
                Piece::Separator => {
                    if !after_space {
                        out.push(b' ');
                        after_space = true;
                    }
                }
                Piece::Text(text) => {
                    out.extend_from_slice(text);
                    after_space = false;
                }
                Piece::Variable(variable, flags) => {
                    let before = out.len();
                    if let Some(facts) = facts {
                        variable.write(*flags, facts, out);
                    }
                    after_space &= variable.may_be_empty() && out.len() == before;
                }
                Piece::Sample(sample, flags) => {
                    write_sample(self.style, *flags, out, |out| evaluate(sample, out));
                    after_space = false;
                }
            }
        }
    }
}

/// Has `evaluate` append its text, then encodes what it appended in place where that is needed, which is rare.
fn write_sample(
    style: Style,
    flags: Flags,
    out: &mut Vec<u8>,
    evaluate: impl FnOnce(&mut Vec<u8>),
) {
    let quote = flags.quote && !style.http;
    if quote {
        out.push(b'"');
    }
    let start = out.len();
    evaluate(out);
    if style.http {
        if flags.escape || escape::FIELD_VALUE.any_in(&out[start..]) {
            let value = out.split_off(start);
            if flags.escape {
                escape::encoded_and_escaped(&value, b'%', &escape::FIELD_VALUE, out);
            } else {
                escape::encoded(&value, b'%', &escape::FIELD_VALUE, out);
            }
        }
    } else if out.len() == start {
        if !quote {
            variable::text(b"", flags, out);
        }
    } else if flags.escape {
        let value = out.split_off(start);
        escape::escaped(&value, out);
    }
    if quote {
        out.push(b'"');
    }
}

struct Parser<'t, E> {
    text: &'t [u8],
    style: Style,
    at: usize,
    /// What `%{…}o` has set for all that follows.
    flags: Flags,
    pieces: Vec<Piece<E>>,
    /// Text read since the last other piece.
    literal: Vec<u8>,
}

impl<E> Parser<'_, E> {
    fn run(&mut self, sample: &mut ParseSample<'_, E>) -> Vec<TemplateError> {
        let mut errors = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b'%' => {
                    if let Err(error) = self.percent(sample) {
                        self.at = self.behind(&error);
                        errors.push(error);
                    }
                }
                b' ' if self.style.merge_spaces => {
                    self.at += 1;
                    if !matches!(self.pieces.last(), Some(Piece::Separator))
                        || !self.literal.is_empty()
                    {
                        self.push(Piece::Separator);
                    }
                }
                byte => {
                    self.at += 1;
                    self.literal.push(byte);
                }
            }
        }
        self.flush();
        errors
    }

    /// Where reading goes on after a mistake.
    fn behind(&self, error: &TemplateError) -> usize {
        let sample = error.kind == TemplateErrorKind::Sample;
        let closed = self.text[error.offset..].iter().position(|&byte| byte == b']');
        match closed.filter(|_| sample) {
            Some(len) => error.offset + len + 1,
            None => error.offset + error.len,
        }
    }

    fn percent(&mut self, sample: &mut ParseSample<'_, E>) -> Result<(), TemplateError> {
        let start = self.at;
        self.at += 1;
        let mut flags = self.flags;
        match self.peek() {
            Some(b'%') => {
                self.at += 1;
                self.literal.push(b'%');
                return Ok(());
            }
            Some(b'{') => self.read_flags(start, &mut flags)?,
            Some(b'[') => {}
            Some(byte) if byte.is_ascii_alphabetic() => {}
            Some(byte) if byte.is_ascii_digit() || byte == b' ' || byte == b'\t' => {
                return Err(error(start, 2, TemplateErrorKind::LonePercent));
            }
            // HAProxy drops a percent sign before any other character.
            Some(_) => return Ok(()),
            None => return Err(error(start, 1, TemplateErrorKind::LonePercent)),
        }
        if self.peek() == Some(b'[') {
            return self.sample(start, flags, sample);
        }
        let name_start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            self.at += 1;
        }
        let name = &self.text[name_start..self.at];
        if name.is_empty() {
            return Err(error(start, self.at - start, TemplateErrorKind::FlagsWithoutVariable));
        }
        if name == b"o" {
            self.flags = flags;
            // It separates what stands on its two sides.
            self.flush();
            return Ok(());
        }
        match VARIABLES.iter().find(|row| row.name.as_bytes() == name) {
            None => Err(error(name_start, name.len(), TemplateErrorKind::UnknownVariable)),
            Some(row) if row.http_only && !self.style.http_mode => {
                Err(error(name_start, name.len(), TemplateErrorKind::HttpOnly))
            }
            Some(row) => {
                self.push(Piece::Variable(row.variable, flags));
                Ok(())
            }
        }
    }

    /// Reads `{+Q,-X}`.
    fn read_flags(&mut self, start: usize, flags: &mut Flags) -> Result<(), TemplateError> {
        let begin = self.at + 1;
        let Some(len) = self.text[begin..].iter().position(|&byte| byte == b'}') else {
            let len = self.text.len() - start;
            return Err(error(start, len, TemplateErrorKind::UnclosedFlags));
        };
        self.at = begin + len + 1;
        if len == 0 {
            return Ok(());
        }
        let mut offset = begin;
        for flag in self.text[begin..begin + len].split(|&byte| byte == b',') {
            let (on, field) = match flag {
                [sign @ (b'+' | b'-'), b'Q'] => (*sign == b'+', &mut flags.quote),
                [sign @ (b'+' | b'-'), b'X'] => (*sign == b'+', &mut flags.hex),
                [sign @ (b'+' | b'-'), b'E'] => (*sign == b'+', &mut flags.escape),
                [sign @ (b'+' | b'-'), b'M'] => (*sign == b'+', &mut flags.mandatory),
                _ => return Err(error(offset, flag.len(), TemplateErrorKind::UnknownFlag)),
            };
            *field = on;
            offset += flag.len() + 1;
        }
        Ok(())
    }

    fn sample(
        &mut self,
        start: usize,
        flags: Flags,
        sample: &mut ParseSample<'_, E>,
    ) -> Result<(), TemplateError> {
        let begin = self.at + 1;
        let Some((parsed, end)) = sample(begin) else {
            return Err(error(begin, self.text.len() - begin, TemplateErrorKind::Sample));
        };
        if self.text.get(end) != Some(&b']') {
            let end = end.min(self.text.len());
            return Err(error(start, end - start, TemplateErrorKind::UnclosedSample));
        }
        self.at = end + 1;
        self.push(Piece::Sample(parsed, flags));
        Ok(())
    }

    fn push(&mut self, piece: Piece<E>) {
        self.flush();
        self.pieces.push(piece);
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            let text = std::mem::take(&mut self.literal);
            self.pieces.push(Piece::Text(text.into()));
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

fn error(offset: usize, len: usize, kind: TemplateErrorKind) -> TemplateError {
    TemplateError { offset, len, kind }
}
