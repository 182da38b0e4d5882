//! Lists of certificates (`crt-list`): `FILE [settings] filter…`, one certificate a line.

use std::fmt;

use crate::offer::{Offer, OfferError};

/// What a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrtList {
    pub lines: Vec<CrtLine>,
    /// It is a directory: the lines are its files, and cannot have settings.
    pub is_directory: bool,
}

/// One line: a certificate, how it is offered, and the names that it is offered for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrtLine {
    /// The line's number, from 1; 0 for what the socket has added.
    pub number: u32,
    /// As written; once loaded, as the store knows it.
    pub certificate: Box<str>,
    /// What stands between the brackets, for show.
    pub settings: Box<str>,
    pub offer: Offer,
    /// `example.org`, `*.example.org`, `!not.example.org`; none takes the certificate's own names.
    pub filters: Vec<Box<str>>,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrtListError {
    /// From 1.
    pub line: u32,
    /// The word that is wrong.
    pub word: Box<str>,
    pub kind: CrtListErrorKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrtListErrorKind {
    TooLong,
    NotText,
    /// `[` without `]`, or a bracket that stands where none may.
    Brackets,
    UnknownSetting,
    MissingValue,
    Setting(OfferError),
}

impl CrtList {
    /// Reads a list. Files are taken as written.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, CrtListError> {
        let mut list = Self::default();
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1u32..) {
            let error = |word: &str, kind| CrtListError { line: number, word: word.into(), kind };
            if line.len() > LINE_MAX {
                return Err(error("", CrtListErrorKind::TooLong));
            }
            let line =
                std::str::from_utf8(line).map_err(|_| error("", CrtListErrorKind::NotText))?;
            let parsed = CrtLine::parse(line).map_err(|(word, kind)| error(word, kind))?;
            list.lines.extend(parsed.map(|line| CrtLine { number, ..line }));
        }
        Ok(list)
    }
}

impl CrtLine {
    /// Reads one line; `None` where nothing stands on it.
    ///
    /// # Errors
    /// The word that is wrong, and how.
    pub fn parse(line: &str) -> Result<Option<Self>, (&str, CrtListErrorKind)> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (certificate, rest) = word(line);
        if certificate.is_empty() || certificate.contains(']') {
            let certificate = line.split_whitespace().next().unwrap_or(line);
            return Err((certificate, CrtListErrorKind::Brackets));
        }
        let mut parsed =
            Self { certificate: certificate.replace("\\ ", " ").into(), ..Self::default() };
        let mut filters = rest;
        if let Some(settings) = rest.strip_prefix('[') {
            let (settings, after) =
                settings.split_once(']').ok_or((rest, CrtListErrorKind::Brackets))?;
            parsed.settings = settings.trim().into();
            parsed.offer = offer(settings)?;
            filters = after;
        }
        for filter in filters.split_whitespace() {
            if filter.starts_with('#') {
                break;
            }
            if filter.contains(['[', ']']) {
                return Err((filter, CrtListErrorKind::Brackets));
            }
            parsed.filters.push(filter.to_ascii_lowercase().into());
        }
        Ok(Some(parsed))
    }
}

/// The first word, in which a blank may be escaped, and what follows it.
fn word(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (c.is_whitespace() || c == '[');
        escaped = c == '\\' && !escaped;
        ends
    });
    let (word, rest) = line.split_at(end.unwrap_or(line.len()));
    (word, rest.trim_start())
}

/// Reads the settings between brackets: `alpn h2 verify none`.
fn offer(settings: &str) -> Result<Offer, (&str, CrtListErrorKind)> {
    let mut offer = Offer::default();
    let mut words = settings.split_whitespace();
    while let Some(word) = words.next() {
        let known = Offer::WORDS.iter().find(|(name, _)| *name == word);
        let (_, takes_value) = known.ok_or((word, CrtListErrorKind::UnknownSetting))?;
        let value = match takes_value {
            true => words.next().ok_or((word, CrtListErrorKind::MissingValue))?,
            false => "",
        };
        let wrong = if *takes_value { value } else { word };
        offer.set(word, value).map_err(|error| (wrong, CrtListErrorKind::Setting(error)))?;
    }
    Ok(offer)
}

impl fmt::Display for CrtListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, word, kind } = self;
        write!(f, "line {line}: ")?;
        match kind {
            CrtListErrorKind::TooLong => write!(f, "it is longer than {LINE_MAX} bytes"),
            CrtListErrorKind::NotText => f.write_str("it is not UTF-8"),
            CrtListErrorKind::Brackets => {
                write!(f, "`{word}`: brackets enclose the settings, once, after the file")
            }
            CrtListErrorKind::UnknownSetting => {
                write!(f, "`{word}` is no setting of a list of certificates")
            }
            CrtListErrorKind::MissingValue => write!(f, "`{word}` needs a value"),
            CrtListErrorKind::Setting(error) => write!(f, "`{word}`: {error}"),
        }
    }
}

impl std::error::Error for CrtListError {}

/// HAProxy reads lines of up to 64 KiB.
const LINE_MAX: usize = 65536;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let show = |line: &CrtLine| {
            let CrtLine { number, certificate, settings, filters, .. } = line;
            format!("{number} {certificate}[{settings}]{}", filters.join("|"))
        };
        let found = match CrtList::parse(text.as_bytes()) {
            Ok(list) => list.lines.iter().map(show).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn lines_are_read() {
        check("", "");
        check("# comment\n\n a.pem\n", "3 a.pem[]");
        check("a.pem *.B.example !c.B.example", "1 a.pem[]*.b.example|!c.b.example");
        check(
            "a.pem [alpn h2,http/1.1 verify none] a b # c",
            "1 a.pem[alpn h2,http/1.1 verify none]a|b",
        );
        check("a.pem[ssl-min-ver TLSv1.3]\nb.pem []\n", "1 a.pem[ssl-min-ver TLSv1.3]; 2 b.pem[]");
        check("a\\ b.pem\r\n", "1 a b.pem[]");
    }

    #[test]
    fn mistakes_name_line_and_word() {
        check(
            "a\nb [alpn h2\n",
            "line 2: `[alpn h2`: brackets enclose the settings, once, after the file",
        );
        check(
            "[alpn h2] a",
            "line 1: `[alpn`: brackets enclose the settings, once, after the file",
        );
        check(
            "a [alpn h2] [x]",
            "line 1: `[x]`: brackets enclose the settings, once, after the file",
        );
        check("a [alpm h2]", "line 1: `alpm` is no setting of a list of certificates");
        check("a [alpn]", "line 1: `alpn` needs a value");
        check(
            "a [verify yes]",
            "line 1: `yes`: the verification must be `none`, `optional` or `required`",
        );
        check("a [force-tlsv10]", "line 1: `force-tlsv10`: TLSv1.0 is never spoken");
        check("a [ciphers RC4]", "line 1: `RC4`: no cipher suite of this list can be spoken");
    }
}
