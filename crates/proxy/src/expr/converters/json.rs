//! JSON: escaping text for it, and looking something up in it.

use std::borrow::Cow;
use std::io::Write as _;

use super::{Arg, Converter, Param, Value, ValueType, converter};
use crate::expr::ParseScope;
use crate::expr::args::ArgError;
use crate::stream::Context;

pub(super) const TABLE: &[Converter] = &[
    converter("json", ValueType::Str, ValueType::Str, escape)
        .with(&[Param::Str], 0)
        .checked(check_encoding),
    converter("json_query", ValueType::Str, ValueType::Any, query)
        .with(&[Param::Str, Param::Str], 1)
        .checked(check_query),
];

/// How the input of `json` is read, and what happens to what is no UTF-8.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// Each byte is a character.
    Ascii,
    /// There is no result.
    Strict,
    /// It is left out.
    Lossy,
}

impl Encoding {
    fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"" | b"ascii" => Self::Ascii,
            b"utf8" | b"utf8p" => Self::Strict,
            b"utf8s" | b"utf8ps" => Self::Lossy,
            _ => return None,
        })
    }
}

fn check_encoding(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match Encoding::of(args[0].text().unwrap_or_default()) {
        Some(_) => Ok(()),
        None => Err(ArgError::bad(0, &args[0], "ascii, utf8, utf8s, utf8p or utf8ps")),
    }
}

fn escape<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let text = value.as_bytes()?;
    let encoding = Encoding::of(args[0].text().unwrap_or_default())?;
    let mut out = Vec::with_capacity(text.len());
    if encoding == Encoding::Ascii {
        text.iter().for_each(|byte| push(u32::from(*byte), &mut out));
        return Some(Value::Str(Cow::Owned(out)));
    }
    for chunk in text.utf8_chunks() {
        // Four digits cannot say more.
        for c in chunk.valid().chars().map(u32::from) {
            match c {
                0..=0xffff => push(c, &mut out),
                _ if encoding == Encoding::Strict => return None,
                _ => {}
            }
        }
        if !chunk.invalid().is_empty() && encoding == Encoding::Strict {
            return None;
        }
    }
    Some(Value::Str(Cow::Owned(out)))
}

fn push(c: u32, out: &mut Vec<u8>) {
    let short = match c {
        0x22 => b'"',
        0x5c => b'\\',
        0x2f => b'/',
        0x08 => b'b',
        0x0c => b'f',
        0x0d => b'r',
        0x0a => b'n',
        0x09 => b't',
        0x20..=0x7e => return out.push(c as u8),
        _ => {
            _ = write!(out, "\\u{c:04x}");
            return;
        }
    };
    out.extend([b'\\', short]);
}

fn check_query(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    if args[0].text().is_none_or(|path| !path.starts_with(b"$")) {
        return Err(ArgError::bad(0, &args[0], "a JSON path, which begins with $"));
    }
    match args[1].text() {
        None | Some(b"" | b"int") => Ok(()),
        Some(_) => Err(ArgError::bad(1, &args[1], "int, the only type to ask for")),
    }
}

fn query<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let as_int = args[1].text() == Some(b"int");
    let mut scanner = Scanner { text: value.as_bytes()?, at: 0 };
    let found = scanner.find(&args[0].text()?[1..])?;
    Some(match found {
        Found::Bool(on) => Value::Bool(on),
        Found::Text(text) => Value::Str(Cow::Owned(text)),
        Found::Number(text) if as_int => {
            let n = match text.parse::<i64>() {
                Ok(n) => n,
                // An exponent or a fraction stops the number here.
                Err(_) => crate::expr::parse_int_lenient(text.as_bytes()).0,
            };
            // What a double holds exactly; anything else would not survive other readers.
            ((-INT_MAX..=INT_MAX).contains(&n)).then_some(Value::Int(n))?
        }
        Found::Number(text) => Value::Str(Cow::Owned(general(text.parse().ok()?).into_bytes())),
    })
}

const INT_MAX: i64 = (1 << 53) - 1;

/// As C's `%g` writes it: six significant digits.
fn general(n: f64) -> String {
    if n == 0.0 || !n.is_finite() {
        return n.to_string();
    }
    let scientific = format!("{n:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..6).contains(&exponent) {
        return trim(&format!("{n:.*}", (5 - exponent).max(0) as usize));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(digits), exponent.abs())
}

enum Found {
    Bool(bool),
    Text(Vec<u8>),
    Number(String),
}

/// Walks over JSON without building it. Depth is bounded, so input cannot exhaust the stack.
struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
}

impl Scanner<'_> {
    /// Finds what the path (`.key`, `[3]`, dots in keys escaped) leads to.
    fn find(&mut self, path: &[u8]) -> Option<Found> {
        self.blanks();
        match path.first() {
            None => self.value(),
            Some(b'.') => {
                let (key, rest) = path_key(&path[1..]);
                self.expect(b'{')?;
                loop {
                    self.blanks();
                    let name = self.string()?;
                    self.blanks();
                    self.expect(b':')?;
                    if name == key {
                        return self.find(rest);
                    }
                    self.skip(0)?;
                    self.blanks();
                    self.expect(b',')?;
                }
            }
            Some(b'[') => {
                let end = memchr::memchr(b']', path)?;
                let index: usize = std::str::from_utf8(&path[1..end]).ok()?.parse().ok()?;
                self.expect(b'[')?;
                for _ in 0..index {
                    self.skip(0)?;
                    self.blanks();
                    self.expect(b',')?;
                }
                self.find(&path[end + 1..])
            }
            Some(_) => None,
        }
    }

    fn value(&mut self) -> Option<Found> {
        match self.text.get(self.at)? {
            b'"' => self.string().map(Found::Text),
            b't' => self.word(b"true").then_some(Found::Bool(true)),
            b'f' => self.word(b"false").then_some(Found::Bool(false)),
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                self.number();
                let text = std::str::from_utf8(&self.text[start..self.at]).ok()?;
                Some(Found::Number(text.to_owned()))
            }
            _ => None,
        }
    }

    /// Passes over a value.
    fn skip(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.blanks();
        match self.text.get(self.at)? {
            b'"' => self.string().map(|_| ()),
            open @ (b'{' | b'[') => {
                let close = if *open == b'{' { b'}' } else { b']' };
                self.at += 1;
                self.blanks();
                if self.text.get(self.at) == Some(&close) {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    if close == b'}' {
                        self.blanks();
                        self.string()?;
                        self.blanks();
                        self.expect(b':')?;
                    }
                    self.skip(depth + 1)?;
                    self.blanks();
                    if self.text.get(self.at) == Some(&close) {
                        self.at += 1;
                        return Some(());
                    }
                    self.expect(b',')?;
                }
            }
            b't' => self.word(b"true").then_some(()),
            b'f' => self.word(b"false").then_some(()),
            b'n' => self.word(b"null").then_some(()),
            b'-' | b'0'..=b'9' => {
                self.number();
                Some(())
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        self.expect(b'"')?;
        let mut out = Vec::new();
        loop {
            let byte = *self.text.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return Some(out),
                b'\\' => {
                    let escaped = *self.text.get(self.at)?;
                    self.at += 1;
                    match escaped {
                        b'b' => out.push(8),
                        b'f' => out.push(12),
                        b'n' => out.push(b'\n'),
                        b'r' => out.push(b'\r'),
                        b't' => out.push(b'\t'),
                        b'u' => {
                            let c = self.unicode()?;
                            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        other => out.push(other),
                    }
                }
                byte => out.push(byte),
            }
        }
    }

    /// The four digits of `\u`, and those of a second half where there is one.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.expect(b'\\')?;
        self.expect(b'u')?;
        let second = self.hex4().filter(|second| (0xdc00..0xe000).contains(second))?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = std::str::from_utf8(self.text.get(self.at..self.at + 4)?).ok()?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) {
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        self.at += self.text[self.at..].iter().take_while(|byte| is_part(byte)).count();
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.text.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    }
}

/// Splits a path behind its first key.
fn path_key(path: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut key = Vec::new();
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        match byte {
            b'\\' if at + 1 < path.len() => {
                at += 1;
                key.push(path[at]);
            }
            b'.' | b'[' => break,
            byte => key.push(byte),
        }
        at += 1;
    }
    (key, &path[at..])
}

const DEPTH_MAX: usize = 64;
