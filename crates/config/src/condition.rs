//! Conditions of `.if`, `.elif` and `-cc` (HAProxy manual, 2.4).
//!
//! ```text
//! or   = and  { "||" and }
//! and  = term { "&&" term }
//! term = { "!" } ( integer | "(" or ")" | predicate "(" text { "," text } ")" )
//! ```

use crate::environment::{Environment, VERSION};

/// Why a condition has no answer, at byte `at` of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    pub at: usize,
    pub kind: ConditionErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConditionErrorKind {
    /// A term was expected: a number, a predicate or a parenthesis.
    ExpectedTerm,
    /// There is no predicate of this name.
    UnknownPredicate {
        found: String,
        nearest: Option<&'static str>,
    },
    /// The predicate takes another number of arguments.
    Arguments {
        predicate: &'static str,
        expected: usize,
        found: usize,
    },
    UnclosedParenthesis,
    /// Something stands after a complete condition.
    Trailing,
    /// Parentheses are nested deeper than [`DEPTH_MAX`].
    TooDeep,
}

/// Evaluates a condition. An empty one is false.
///
/// # Errors
/// The first mistake in the text, with its byte offset.
pub fn evaluate(condition: &[u8], environment: &Environment) -> Result<bool, ConditionError> {
    let mut parser = Parser { text: condition, at: 0, environment };
    if condition.is_empty() {
        return Ok(false);
    }
    let answer = parser.or(0)?;
    match parser.peek() {
        None => Ok(answer),
        Some(_) => Err(parser.error(ConditionErrorKind::Trailing)),
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    environment: &'a Environment,
}

impl Parser<'_> {
    fn or(&mut self, depth: usize) -> Result<bool, ConditionError> {
        let mut answer = self.and(depth)?;
        while self.take(b"||") {
            answer |= self.and(depth)?;
        }
        Ok(answer)
    }

    fn and(&mut self, depth: usize) -> Result<bool, ConditionError> {
        let mut answer = self.term(depth)?;
        while self.take(b"&&") {
            answer &= self.term(depth)?;
        }
        Ok(answer)
    }

    fn term(&mut self, depth: usize) -> Result<bool, ConditionError> {
        let mut negated = false;
        while self.take(b"!") {
            negated = !negated;
        }
        let start = self.at;
        let answer = if let Some(number) = self.integer() {
            number
        } else if self.take(b"(") {
            if depth == DEPTH_MAX {
                self.at = start;
                return Err(self.error(ConditionErrorKind::TooDeep));
            }
            let answer = self.or(depth + 1)?;
            if !self.take(b")") {
                self.at = start;
                return Err(self.error(ConditionErrorKind::UnclosedParenthesis));
            }
            answer
        } else {
            self.predicate()?
        };
        Ok(answer != negated)
    }

    /// An integer in C's notation; only whether it is zero matters.
    fn integer(&mut self) -> Option<bool> {
        self.peek()?;
        let rest = &self.text[self.at..];
        let sign = usize::from(matches!(rest.first(), Some(b'-' | b'+')));
        let hex = rest[sign..].len() > 2
            && rest[sign] == b'0'
            && rest[sign + 1].eq_ignore_ascii_case(&b'x')
            && rest[sign + 2].is_ascii_hexdigit();
        let first = sign + 2 * usize::from(hex);
        let is_digit = |b: &u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
        let len = rest[first..].iter().take_while(|byte| is_digit(byte)).count();
        let digits = rest.get(first..first + len).filter(|digits| !digits.is_empty())?;
        self.at += first + len;
        Some(digits.iter().any(|digit| *digit != b'0'))
    }

    fn predicate(&mut self) -> Result<bool, ConditionError> {
        let start = self.at;
        let rest = &self.text[start..];
        let len = rest
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
            .unwrap_or(rest.len());
        if len == 0 {
            return Err(self.error(ConditionErrorKind::ExpectedTerm));
        }
        let found = String::from_utf8_lossy(&rest[..len]).into_owned();
        let Some((name, expected, answer)) = PREDICATES.iter().find(|known| known.0 == found)
        else {
            let nearest = crate::nearest(&found, PREDICATES.iter().map(|known| known.0));
            return Err(self.error(ConditionErrorKind::UnknownPredicate { found, nearest }));
        };
        self.at += len;
        let arguments = self.arguments()?;
        if arguments.len() != *expected {
            let (predicate, expected, found) = (*name, *expected, arguments.len());
            self.at = start;
            return Err(self.error(ConditionErrorKind::Arguments { predicate, expected, found }));
        }
        let second = arguments.get(1).map_or(&[][..], |second| second);
        Ok(answer(self.environment, &arguments[0], second))
    }

    /// The texts between parentheses, with the second level of quotes and escapes resolved.
    fn arguments(&mut self) -> Result<Vec<Vec<u8>>, ConditionError> {
        let start = self.at;
        if self.text.get(start) != Some(&b'(') {
            return Ok(Vec::new());
        }
        self.at += 1;
        let mut arguments = vec![Vec::new()];
        let mut quote = None;
        while let Some(&byte) = self.text.get(self.at) {
            self.at += 1;
            let argument = arguments.last_mut().expect("starts with one and only grows");
            match (quote, byte) {
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(mark), byte) if mark == byte => quote = None,
                (None | Some(b'"'), b'\\') => {
                    let escaped = match self.text.get(self.at) {
                        Some(byte @ (b'\\' | b' ' | b'"' | b'\'')) => Some(*byte),
                        Some(b'r') => Some(b'\r'),
                        Some(b'n') => Some(b'\n'),
                        Some(b't') => Some(b'\t'),
                        _ => None,
                    };
                    self.at += usize::from(escaped.is_some());
                    argument.push(escaped.unwrap_or(b'\\'));
                }
                (None, b',') => arguments.push(Vec::new()),
                (None, b')') => return Ok(arguments),
                _ => argument.push(byte),
            }
        }
        self.at = start;
        Err(self.error(ConditionErrorKind::UnclosedParenthesis))
    }

    fn peek(&mut self) -> Option<u8> {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, operator: &[u8]) -> bool {
        let found = self.peek().is_some() && self.text[self.at..].starts_with(operator);
        if found {
            self.at += operator.len();
        }
        self.peek();
        found
    }

    fn error(&self, kind: ConditionErrorKind) -> ConditionError {
        ConditionError { at: self.at, kind }
    }
}

type Predicate = fn(&Environment, &[u8], &[u8]) -> bool;

/// Name, number of arguments, answer.
const PREDICATES: &[(&str, usize, Predicate)] = &[
    ("defined", 1, |environment, name, _| environment.get(name).is_some()),
    ("feature", 1, |environment, name, _| environment.has_feature(name)),
    ("streq", 2, |_, a, b| a == b),
    ("strneq", 2, |_, a, b| a != b),
    ("version_atleast", 1, |_, version, _| here() >= Version::parse(version)),
    ("version_before", 1, |_, version, _| here() < Version::parse(version)),
    ("openssl_version_atleast", 1, |environment, version, _| {
        environment.tls().is_some_and(|tls| openssl(tls.version.as_bytes()) >= openssl(version))
    }),
    ("openssl_version_before", 1, |environment, version, _| {
        environment.tls().is_some_and(|tls| openssl(tls.version.as_bytes()) < openssl(version))
    }),
    ("ssllib_name_startswith", 1, |environment, name, _| {
        environment.tls().is_some_and(|tls| tls.name.as_bytes().starts_with(name))
    }),
];

/// A version in HAProxy's form: `2.4`, `2.4-dev19`, `2.6.12-1`. Parts that are missing are zero;
/// reading stops at the first byte that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
    stage: Stage,
    patch: u32,
    commits: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Development,
    Candidate,
    Release,
}

impl Version {
    fn parse(text: &[u8]) -> Self {
        let (major, rest) = number(text);
        let (minor, rest) = rest.strip_prefix(b".").map_or((0, rest), number);
        let (stage, patch, rest) = if let Some(rest) = rest.strip_prefix(b"-dev") {
            let (patch, rest) = number(rest);
            (Stage::Development, patch, rest)
        } else if let Some(rest) = rest.strip_prefix(b"-rc") {
            let (patch, rest) = number(rest);
            (Stage::Candidate, patch, rest)
        } else {
            let (patch, rest) = rest.strip_prefix(b".").map_or((0, rest), number);
            (Stage::Release, patch, rest)
        };
        // `-dev19-2a5d6f-44`: a commit's name may stand before the count of commits.
        let commits = rest.rsplit(|byte| *byte == b'-').next().map_or(0, |last| number(last).0);
        Self { major, minor, stage, patch, commits }
    }
}

fn here() -> Version {
    Version::parse(VERSION.as_bytes())
}

/// `1.1.1w` as numbers; the letter counts from 1.
fn openssl(text: &[u8]) -> [u32; 4] {
    let (major, rest) = number(text);
    let (minor, rest) = rest.strip_prefix(b".").map_or((0, rest), number);
    let (fix, rest) = rest.strip_prefix(b".").map_or((0, rest), number);
    let letter = rest.first().filter(|byte| byte.is_ascii_lowercase());
    [major, minor, fix, letter.map_or(0, |letter| u32::from(letter - b'a') + 1)]
}

fn number(text: &[u8]) -> (u32, &[u8]) {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = text[..len].iter().fold(0u32, |value, digit| {
        value.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    });
    (value, &text[len..])
}

/// Parentheses in parentheses.
const DEPTH_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TlsLibrary;

    fn environment() -> Environment {
        Environment::new()
            .with_variables([("SET", ""), ("ONE", "1")])
            .with_features(&[("EPOLL", true), ("OPENSSL", true), ("LUA", false)])
            .with_tls(TlsLibrary { name: "OpenSSL 3.0.2", version: "3.0.2" })
    }
    #[track_caller]
    fn check(condition: &str, expected: bool) {
        assert_eq!(evaluate(condition.as_bytes(), &environment()), Ok(expected), "{condition}");
    }

    #[track_caller]
    fn check_error(condition: &str, at: usize, expected: &ConditionErrorKind) {
        let error = evaluate(condition.as_bytes(), &environment()).expect_err(condition);
        assert_eq!((error.at, &error.kind), (at, expected), "{condition}");
    }

    #[test]
    fn terms() {
        check("", false);
        check("0", false);
        check("1", true);
        check("-1", true);
        check("0x00", false);
        check("0x0f", true);
        check("!0", true);
        check("! ! 1", true);
        check("((1))", true);
        check("!(0 || 1)", false);
    }

    #[test]
    fn and_binds_stronger_than_or() {
        check("1 && 0 || 1 && 1", true);
        check("1||0&&0", true);
        check("(1||0)&&0", false);
        check("0 && 1 || 0", false);
    }

    #[test]
    fn predicates() {
        check("defined(SET)", true);
        check("defined(UNSET)", false);
        check("feature(EPOLL)", true);
        check("feature(LUA)", false);
        check("feature(EPO)", false);
        check("streq(a,a)", true);
        check("streq(a, a)", false);
        check("strneq(a,b) && !streq(a,b)", true);
        check("streq(\"a,b\",'a,b')", true);
        check("streq(,)", true);
        check("ssllib_name_startswith(OpenSSL)", true);
        check("ssllib_name_startswith(LibreSSL)", false);
        check("openssl_version_atleast(1.1.1)", true);
        check("openssl_version_atleast(3.0.2)", true);
        check("openssl_version_before(3.0.2)", false);
        check("openssl_version_before(3.1)", true);
    }

    #[test]
    fn versions_are_judged_as_2_6_12() {
        for older in ["2.6", "2.6.12", "2.6-dev19", "2.4", "1.9.9", "2.6-rc1", "0"] {
            check(&format!("version_atleast({older})"), true);
            check(&format!("version_before({older})"), false);
        }
        for newer in ["2.6.13", "2.7", "2.7-dev0", "3.0", "99999999999"] {
            check(&format!("version_atleast({newer})"), false);
            check(&format!("version_before({newer})"), true);
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        use ConditionErrorKind::*;
        check_error("1 &&", 4, &ExpectedTerm);
        check_error("1 1", 2, &Trailing);
        check_error("1x", 1, &Trailing);
        check_error("(1", 0, &UnclosedParenthesis);
        check_error("streq(a,b", 5, &UnclosedParenthesis);
        check_error("  )", 2, &ExpectedTerm);
        let arguments = Arguments { predicate: "streq", expected: 2, found: 1 };
        check_error("streq(a)", 0, &arguments);
        let unknown = UnknownPredicate { found: "defned".to_owned(), nearest: Some("defined") };
        check_error("1 && defned(A)", 5, &unknown);
        check_error(&"(".repeat(100_000), DEPTH_MAX, &TooDeep);
        check_error(&"!".repeat(100_000), 100_000, &ExpectedTerm);
    }
}
