//! Reading lines of the form in which nearly all come, each in one pass.
//!
//! ```text
//! GET /path?query HTTP/1.1        HTTP/1.1 200 OK        Name: a value without HTAB
//! ```
//!
//! A plain line is complete, ends with CRLF, has one space where the grammar asks for one and none
//! at its end, and is valid by every rule of [`parse`](super::parse); it will be written as it
//! came. What is not plain is left to `parse`, which knows every form and every error. So this file
//! may give up on any line for any reason, but must not take one that `parse` reads differently:
//! a property test holds the two together.

use super::{Field, Head, Kind, Limits, Method, Span, Version};
use crate::bytes::{TOKEN, find_control, read_token};
use crate::error::ParseError;
use crate::uri::Target;

impl Head {
    /// Reads plain lines from `self.line` on, within the first `max` bytes of the input; returns
    /// whether the head is complete. Stops before the first line that is not plain.
    pub(super) fn plain_lines(&mut self, limits: &Limits, max: usize) -> Result<bool, ParseError> {
        let max = max.min(self.input.len());
        if self.line as usize > max {
            return Ok(false); // with other limits, or less input, than before
        }
        if !self.has_start_line {
            let start_line = match self.kind {
                Kind::Request => self.plain_request_line(max),
                Kind::Response => self.plain_status_line(max),
            };
            let Some(()) = start_line else { return Ok(false) };
        }
        let mut from = self.line as usize;
        loop {
            let input = &mut self.input[..max];
            if input[from..].starts_with(b"\r\n") {
                self.finish(from, from + 2, limits)?;
                return Ok(true);
            }
            if self.fields.len() + 1 >= limits.headers_max {
                return Ok(false);
            }
            let Some(field) = plain_field(input, from, limits.keep_case) else { return Ok(false) };
            from += field.size() as usize;
            self.next_line_at(from);
            self.add_field(field, limits)?;
        }
    }

    fn plain_request_line(&mut self, max: usize) -> Option<()> {
        let from = self.line as usize;
        let line = &self.input[from..max];
        let (method, method_len) = if line.starts_with(b"GET ") {
            (Method::Get, 3)
        } else {
            let len = line.iter().position(|&b| TOKEN[usize::from(b)] == 0)?;
            (Method::of(&line[..len]), len)
        };
        let target_at = method_len + 1;
        if method_len == 0 || line[method_len] != b' ' || method == Method::Connect {
            return None;
        }
        let (parts, target_len) = Target::read_origin(&line[target_at..])?;
        let target_end = target_at + target_len;
        let version = match line[target_end..].first_chunk::<11>()? {
            b" HTTP/1.1\r\n" => Version::Http11,
            b" HTTP/1.0\r\n" => Version::Http10,
            _ => return None,
        };
        let end = target_end + 11;
        self.method_kind = method;
        self.parts = parts;
        self.word = span(from, from + method_len);
        self.target = span(from + target_at, from + target_end);
        self.start_line_read(version, end);
        Some(())
    }

    fn plain_status_line(&mut self, max: usize) -> Option<()> {
        let from = self.line as usize;
        let (start, _) = self.input[from..max].split_first_chunk::<13>()?;
        let (version, status) = start.split_first_chunk::<8>()?;
        let version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            _ => return None,
        };
        let &[b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' '] = status else {
            return None;
        };
        let reason_at = from + start.len();
        let reason_end = find_control(&self.input[..max], reason_at)?;
        if !self.input[reason_end..max].starts_with(b"\r\n") {
            return None;
        }
        let digit = |b: u8| u16::from(b - b'0');
        self.status = digit(a) * 100 + digit(b) * 10 + digit(c);
        self.word = span(reason_at, reason_end);
        self.start_line_read(version, reason_end + 2 - from);
        Some(())
    }

    /// Notes a start line of `len` bytes.
    fn start_line_read(&mut self, version: Version, len: usize) {
        let from = self.line as usize;
        self.version = version;
        self.start_line = span(from, from + len);
        self.has_start_line = true;
        self.next_line_at(from + len);
    }

    /// Everything before `at` was read.
    fn next_line_at(&mut self, at: usize) {
        self.line = offset(at);
        self.scanned = self.line;
    }
}

/// The field whose line begins at `from`, with its name in lower case.
#[inline(always)]
fn plain_field(input: &mut [u8], from: usize, keep_case: bool) -> Option<Field> {
    let colon = read_token(input, from, keep_case);
    let value_at = colon + 2;
    let value_end = find_control(input, value_at)?;
    let value = &input[value_at..value_end];
    if colon == from
        || input[colon..value_at] != *b": "
        || !input[value_end..].starts_with(b"\r\n")
        || value.first().is_none_or(|&b| b == b' ')
        || value.last() == Some(&b' ')
    {
        return None;
    }
    Some(Field {
        name_at: offset(from),
        name_len: u16::try_from(colon - from).ok()?,
        value_at: offset(value_at),
        value_len: offset(value.len()),
        verbatim: true,
        hop_by_hop: false,
    })
}

fn span(from: usize, to: usize) -> Span {
    Span { at: offset(from), len: offset(to - from) }
}

/// A place in the head, which is shorter than 1 GiB.
#[inline(always)]
fn offset(n: usize) -> u32 {
    n as u32
}
