//! Reading a head from HTTP/1 bytes, line by line, in place (RFC 9112, sections 2 to 6).
//!
//! Every complete line is parsed once, when its LF arrives; what is learned about framing, the
//! connection and Host is kept in [`Facts`], and judged together at the empty line. Lines of the
//! usual form that are there from the first byte to the last are read by [`plain`](super::plain);
//! this file reads all others and says what is wrong.

use std::ops::Range;

use memchr::{memchr, memrchr};

use super::{Facts, Field, Head, Kind, Limits, Method, Span, Version, to_u32};
use crate::bytes::{TOKEN, is_control, is_ows, is_word, may_have_control, parse_u64, trim};
use crate::error::{ParseError, ParseErrorKind as E};
use crate::uri::{self, Form, Target};
use crate::values::list_values;

impl Head {
    /// Goes on reading a request head from the input buffer (RFC 9112, sections 2, 3 and 5).
    ///
    /// `Ok(None)` means more bytes are needed: append them and call again; nothing is parsed
    /// twice. `Ok(Some(n))` is the length of the head with the empty lines before it, as
    /// [`Head::head_len`]; the result is the same however the bytes were cut.
    ///
    /// # Errors
    /// The first violation; [`ParseError::status`] is the answer. The connection closes then.
    #[inline]
    pub fn parse_request(&mut self, limits: &Limits) -> Result<Option<usize>, ParseError> {
        self.parse(Kind::Request, limits)
    }

    /// Goes on reading a response head, as [`Head::parse_request`] does a request's. Any status
    /// of three digits is taken, 1xx included: read the next head after [`Head::next`].
    ///
    /// # Errors
    /// The first violation; the proxy answers 502.
    #[inline]
    pub fn parse_response(&mut self, limits: &Limits) -> Result<Option<usize>, ParseError> {
        self.parse(Kind::Response, limits)
    }

    fn parse(&mut self, kind: Kind, limits: &Limits) -> Result<Option<usize>, ParseError> {
        if self.head_len != 0 {
            return Ok(Some(self.head_len()));
        }
        self.kind = kind;
        self.rewritten_max = to_u32(limits.rewritten_max);
        self.keep_case = limits.keep_case;
        if self.input.is_empty() {
            return Ok(None);
        }
        let head_max = limits.head_max.min(1 << 30);
        loop {
            // A line that has come in part before is not searched again from its start.
            if self.scanned == self.line && self.plain_lines(limits, head_max)? {
                return Ok(Some(self.head_len()));
            }
            let line = self.line as usize;
            if !self.has_start_line {
                self.check_first_byte(line)?;
            }
            let Some(found) =
                self.input.get(self.scanned as usize..).and_then(|rest| memchr(b'\n', rest))
            else {
                break;
            };
            let lf = self.scanned as usize + found;
            if lf >= head_max {
                return Err(ParseError::new(head_max, E::HeadTooLarge));
            }
            let crlf = lf > line && self.input[lf - 1] == b'\r';
            if !crlf && !limits.accept_invalid {
                return Err(ParseError::new(lf, E::BareLf));
            }
            let end = lf - usize::from(crlf);
            self.scanned = to_u32(lf + 1);
            self.line = self.scanned;
            if end > line {
                if self.has_start_line {
                    self.field_line(line, end, crlf, limits)?;
                } else {
                    match kind {
                        Kind::Request => self.request_line(line, end, crlf, limits)?,
                        Kind::Response => self.status_line(line, end, crlf, limits)?,
                    }
                    self.has_start_line = true;
                }
            } else if self.has_start_line {
                self.finish(line, lf + 1, limits)?;
                return Ok(Some(self.head_len()));
            } else if kind == Kind::Request || limits.accept_invalid {
                // Empty lines before a request are ignored (RFC 9112, section 2.2).
                self.start = self.line;
            } else {
                return Err(ParseError::new(line, E::BadVersion));
            }
        }
        self.scanned = to_u32(self.input.len());
        if self.input.len() >= head_max {
            return Err(ParseError::new(head_max, E::HeadTooLarge));
        }
        Ok(None)
    }

    /// Refuses what is not HTTP at its first byte: a TLS hello may never contain an LF.
    fn check_first_byte(&self, line: usize) -> Result<(), ParseError> {
        match (self.kind, self.input.get(line)) {
            (_, None | Some(b'\r' | b'\n')) | (Kind::Response, Some(b'H')) => Ok(()),
            (Kind::Request, Some(&b)) if TOKEN[usize::from(b)] != 0 => Ok(()),
            (Kind::Request, _) => Err(ParseError::new(line, E::BadMethod)),
            (Kind::Response, _) => Err(ParseError::new(line, E::BadVersion)),
        }
    }

    /// `method SP request-target SP HTTP-version`. HAProxy takes several spaces.
    fn request_line(
        &mut self,
        from: usize,
        end: usize,
        crlf: bool,
        limits: &Limits,
    ) -> Result<(), ParseError> {
        let line = &self.input[from..end];
        let method_len =
            line.iter().position(|&b| TOKEN[usize::from(b)] == 0).unwrap_or(line.len());
        let mut target_at = method_len + 1;
        match line.get(method_len) {
            Some(b' ') if method_len > 0 => {}
            None => return Err(ParseError::new(end, E::BadTarget)),
            _ => return Err(ParseError::new(from + method_len, E::BadMethod)),
        }
        let space = memrchr(b' ', line).unwrap_or(method_len);
        if space <= method_len {
            return Err(ParseError::new(end, E::BadVersion));
        }
        let (version, exact) = parse_version(&line[space + 1..], from + space + 1)?;
        let mut target_end = space;
        if limits.accept_invalid {
            while target_at < target_end && line[target_at] == b' ' {
                target_at += 1;
            }
            while target_end > target_at && line[target_end - 1] == b' ' {
                target_end -= 1;
            }
        }
        let verbatim = crlf && exact && target_at == method_len + 1 && target_end == space;
        let method_kind = Method::of(&line[..method_len]);
        let target = &line[target_at..target_end];
        self.parts = if limits.accept_invalid {
            Target::parse_lenient(method_kind, target)
        } else {
            Target::parse(method_kind, target)
        }
        .map_err(|offset| ParseError::new(from + target_at + offset, E::BadTarget))?;
        self.method_kind = method_kind;
        self.version = version;
        self.word = span(from, from + method_len);
        self.target = span(from + target_at, from + target_end);
        self.start_line = if verbatim { span(from, end + 2) } else { Span::default() };
        Ok(())
    }

    /// `HTTP-version SP status-code SP [reason-phrase]`; the space after the status may miss.
    fn status_line(
        &mut self,
        from: usize,
        end: usize,
        crlf: bool,
        limits: &Limits,
    ) -> Result<(), ParseError> {
        let line = &self.input[from..end];
        let version_len = memchr(b' ', line).unwrap_or(line.len());
        let (version, exact) = parse_version(&line[..version_len], from)?;
        let mut at = version_len + 1;
        while limits.accept_invalid && line.get(at) == Some(&b' ') {
            at += 1;
        }
        let bad = ParseError::new(from + at.min(line.len()), E::BadStatus);
        let digits = line.get(at..at + 3).ok_or(bad)?;
        let status = parse_u64(digits).filter(|&status| status >= 100).ok_or(bad)?;
        let reason_at = match line.get(at + 3) {
            None => at + 3,
            Some(b' ') => at + 4,
            Some(_) => return Err(bad),
        };
        check_text(&line[reason_at..], from + reason_at, limits)?;
        self.status = status as u16;
        self.version = version;
        self.word = span(from + reason_at, end);
        let verbatim = crlf && exact && at == version_len + 1 && reason_at == at + 4;
        self.start_line = if verbatim { span(from, end + 2) } else { Span::default() };
        Ok(())
    }

    /// `field-name ":" OWS field-value OWS` (RFC 9112, section 5).
    fn field_line(
        &mut self,
        from: usize,
        end: usize,
        crlf: bool,
        limits: &Limits,
    ) -> Result<(), ParseError> {
        if is_ows(self.input[from]) {
            return self.folded_line(from, end, limits);
        }
        if self.fields.len() + 1 >= limits.headers_max {
            return Err(ParseError::new(from, E::TooManyHeaders));
        }
        let line = &mut self.input[from..end];
        let mut name_len = 0;
        for b in line.iter_mut() {
            let lower = TOKEN[usize::from(*b)];
            if lower == 0 {
                break;
            }
            if !limits.keep_case {
                *b = lower;
            }
            name_len += 1;
        }
        let mut colon = name_len;
        if line.get(colon) != Some(&b':') || name_len == 0 {
            if !limits.accept_invalid {
                return Err(name_error(line, from, name_len));
            }
            (name_len, colon) = lenient_name(line, from, limits)?;
        }
        let name_len_16 = u16::try_from(name_len).map_err(|_| ParseError::new(from, E::BadName))?;
        let line = &self.input[from..end];
        let mut value_at = colon + 1;
        let mut value_end = line.len();
        while value_at < value_end && is_ows(line[value_at]) {
            value_at += 1;
        }
        while value_end > value_at && is_ows(line[value_end - 1]) {
            value_end -= 1;
        }
        let value = &line[value_at..value_end];
        check_text(value, from + value_at, limits)?;
        let field = Field {
            name_at: to_u32(from),
            name_len: name_len_16,
            value_at: to_u32(from + value_at),
            value_len: to_u32(value.len()),
            hop_by_hop: false,
            verbatim: crlf
                && colon == name_len
                && value_at == colon + 2
                && line[colon + 1] == b' '
                && value_end == line.len(),
        };
        self.add_field(field, limits)
    }

    /// Adds a valid field to the index, and learns what it says.
    #[inline]
    pub(super) fn add_field(
        &mut self,
        mut field: Field,
        limits: &Limits,
    ) -> Result<(), ParseError> {
        self.last_is_special = false;
        if self.may_tell(field.name_len) {
            match self.learn(&field, limits)? {
                Learned::Ordinary => {}
                Learned::Special => self.last_is_special = true,
                Learned::HopByHop { special } => {
                    self.last_is_special = special;
                    self.facts.hop_by_hop = true;
                    field.hop_by_hop = true;
                }
                Learned::Repeated => {
                    self.last_is_special = true;
                    return Ok(());
                }
                Learned::Part(part) => {
                    self.last_is_special = true;
                    field.value_at += to_u32(part.start);
                    field.value_len = to_u32(part.len());
                    field.verbatim = false;
                }
            }
        }
        self.fields_size += field.size();
        self.fields.push(field);
        Ok(())
    }

    /// Whether [`Facts::learn`] knows a name of that length.
    #[inline]
    fn may_tell(&self, name_len: u16) -> bool {
        match name_len {
            7 | 10 | 14 | 16 | 17 => true,
            2 | 4 | 6 => self.kind == Kind::Request,
            _ => false,
        }
    }

    #[inline(never)]
    fn learn(&mut self, field: &Field, limits: &Limits) -> Result<Learned, ParseError> {
        let text = |at: u32, len: u32| &self.input[at as usize..at as usize + len as usize];
        let name = text(field.name_at, u32::from(field.name_len));
        let value = text(field.value_at, field.value_len);
        match self.facts.learn(self.kind, self.version, name, value, limits) {
            // HAProxy always takes a Host that only repeats the first.
            Err(E::DuplicateHost)
                if limits.accept_invalid && self.header(b"host") == Some(value) =>
            {
                Ok(Learned::Repeated)
            }
            learned => learned.map_err(|kind| ParseError::new(field.value_at as usize, kind)),
        }
    }

    /// A line that begins with white space continues the one before. Strictly an error; else the
    /// line end becomes spaces, except in a field that frames or routes the message.
    fn folded_line(&mut self, from: usize, end: usize, limits: &Limits) -> Result<(), ParseError> {
        let error = ParseError::new(from, E::ObsFold);
        if !limits.accept_invalid || self.last_is_special {
            return Err(error);
        }
        let field = self.fields.last_mut().ok_or(error)?;
        check_text(&self.input[from..end], from, limits)?;
        let value_end = (field.value_at + field.value_len) as usize;
        self.input[value_end..from].fill(b' ');
        let text = &self.input[field.value_at as usize..end];
        let indent = text.iter().take_while(|&&b| is_ows(b)).count();
        self.fields_size -= field.value_len;
        field.value_len = to_u32(trim(text).len());
        self.fields_size += field.value_len;
        field.value_at += to_u32(indent);
        field.verbatim = false;
        Ok(())
    }

    /// The head is complete: its empty line begins at `line` and ends before `end`.
    pub(super) fn finish(
        &mut self,
        line: usize,
        end: usize,
        limits: &Limits,
    ) -> Result<(), ParseError> {
        self.judge(line, limits)?;
        self.head_len = to_u32(end);
        self.size = self.start_line_size() + self.fields_size + 2;
        self.rewritten_min =
            self.size.saturating_add(to_u32(limits.rewrite_reserve)).min(self.rewritten_max);
        Ok(())
    }

    /// The rules that need the whole head, at its empty line.
    fn judge(&self, at: usize, limits: &Limits) -> Result<(), ParseError> {
        let facts = &self.facts;
        if facts.coding {
            if !facts.chunked {
                return Err(ParseError::new(at, E::BadTransferCoding));
            }
            if facts.unknown_coding {
                return Err(ParseError::new(at, E::UnknownTransferCoding));
            }
        }
        // HTTP/2 needs no keys to switch (RFC 8441, section 5).
        let keyed = facts.websocket && facts.upgrade && self.version < Version::Http2;
        if self.kind == Kind::Response {
            let switched = self.status == 101 && keyed;
            if switched && !limits.accept_invalid && !self.has_header(b"sec-websocket-accept") {
                return Err(ParseError::new(at, E::BadWebSocketKey));
            }
            return Ok(());
        }
        if self.method_kind == Method::Connect
            && (facts.chunked || facts.content_length.is_some_and(|n| n > 0))
        {
            return Err(ParseError::new(at, E::ConnectWithContent));
        }
        if limits.accept_invalid {
            return Ok(());
        }
        if !facts.host {
            return match self.version {
                // HTTP/2 requires neither Host nor an authority (RFC 9113, section 8.3.1).
                Version::Http10 | Version::Http2 => Ok(()),
                _ => Err(ParseError::new(at, E::MissingHost)),
            };
        }
        if self.parts.form() != Form::Origin
            && let Some(authority) = self.authority()
            && let Some(host) = self.header(b"host")
            && !uri::same_authority(authority, host, self.scheme())
        {
            return Err(ParseError::new(at, E::HostMismatch));
        }
        if keyed && self.header(b"sec-websocket-key").is_none_or(|key| key.len() != 24) {
            return Err(ParseError::new(at, E::BadWebSocketKey));
        }
        Ok(())
    }
}

/// TE is meant for this connection only, but for `trailers`: they are passed on (RFC 9110, section 10.1.4).
fn learn_transfer_codings(value: &[u8]) -> Learned {
    match list_values(value).find(|coding| coding.eq_ignore_ascii_case(b"trailers")) {
        Some(coding) if coding.len() == value.len() => Learned::Special,
        Some(coding) => {
            // An element is a part of its list.
            let at = coding.as_ptr().addr() - value.as_ptr().addr();
            Learned::Part(at..at + coding.len())
        }
        None => Learned::HopByHop { special: true },
    }
}

/// What [`Facts::learn`] says about the field.
enum Learned {
    /// Nothing to learn.
    Ordinary,
    /// It frames or routes the message.
    Special,
    /// It is meant for this connection only.
    HopByHop { special: bool },
    /// It repeats an earlier one and is left out.
    Repeated,
    /// Only these bytes of the value count.
    Part(Range<usize>),
}

impl Facts {
    fn learn(
        &mut self,
        kind: Kind,
        version: Version,
        name: &[u8],
        value: &[u8],
        limits: &Limits,
    ) -> Result<Learned, E> {
        match name.len() {
            2 if is_word(name, b"te") => Ok(learn_transfer_codings(value)),
            4 if is_word(name, b"host") => {
                if self.host {
                    return Err(E::DuplicateHost);
                }
                if !limits.accept_invalid && !uri::is_host(value) {
                    return Err(E::BadHost);
                }
                self.host = true;
                Ok(Learned::Special)
            }
            6 if is_word(name, b"expect") => {
                self.expect_continue = value.eq_ignore_ascii_case(b"100-continue");
                Ok(Learned::Ordinary)
            }
            7 if is_word(name, b"upgrade") => {
                self.websocket |= list_values(value).any(|name| is_word(name, b"websocket"));
                Ok(Learned::HopByHop { special: true })
            }
            10 if is_word(name, b"connection") => {
                // The usual value is one word, which need not be taken apart.
                if !self.learn_connection_option(value) {
                    for option in list_values(value) {
                        self.names_others |=
                            !option.is_empty() && !self.learn_connection_option(option);
                    }
                }
                Ok(Learned::HopByHop { special: true })
            }
            10 if is_word(name, b"keep-alive") => Ok(Learned::HopByHop { special: false }),
            14 if is_word(name, b"content-length") => self.learn_length(value),
            14 if is_word(name, b"http2-settings") => Ok(Learned::HopByHop { special: false }),
            16 if is_word(name, b"proxy-connection") => Ok(Learned::HopByHop { special: false }),
            17 if is_word(name, b"transfer-encoding") => self.learn_coding(kind, version, value),
            _ => Ok(Learned::Ordinary),
        }
    }

    /// Whether it is one of the options that do not name a field.
    fn learn_connection_option(&mut self, option: &[u8]) -> bool {
        match option.len() {
            5 if is_word(option, b"close") => self.close = true,
            10 if is_word(option, b"keep-alive") => self.keep_alive = true,
            7 if is_word(option, b"upgrade") => self.upgrade = true,
            _ => return false,
        }
        true
    }

    /// Identical values, in a list or in several fields, count once (RFC 9112, section 6.3).
    fn learn_length(&mut self, value: &[u8]) -> Result<Learned, E> {
        if self.coding {
            return Err(E::LengthAndCoding);
        }
        let mut length = self.content_length;
        if length.is_none()
            && let Some(n) = parse_u64(value)
        {
            self.content_length = Some(n);
            return Ok(Learned::Special);
        }
        for element in value.split(|&b| b == b',') {
            let n = parse_u64(trim(element)).ok_or(E::BadContentLength)?;
            if *length.get_or_insert(n) != n {
                return Err(E::DifferingContentLength);
            }
        }
        if self.content_length.is_some() {
            return Ok(Learned::Repeated);
        }
        self.content_length = length;
        Ok(match value.iter().position(|b| !b.is_ascii_digit()) {
            None => Learned::Special,
            Some(first_len) => Learned::Part(0..first_len),
        })
    }

    fn learn_coding(&mut self, kind: Kind, version: Version, value: &[u8]) -> Result<Learned, E> {
        if self.content_length.is_some() {
            return Err(E::LengthAndCoding);
        }
        if version == Version::Http10 {
            // The framing of such a message is suspect: a request is refused; a response is
            // the last on its connection (RFC 9112, section 6.1).
            if kind == Kind::Request {
                return Err(E::TransferCodingInHttp10);
            }
            self.close = true;
        }
        self.coding = true;
        for coding in value.split(|&b| b == b',').map(trim) {
            if coding.is_empty() || self.chunked {
                return Err(E::BadTransferCoding);
            }
            if is_word(coding, b"chunked") {
                self.chunked = true;
            } else {
                self.unknown_coding = true;
            }
        }
        Ok(Learned::Special)
    }
}

fn span(from: usize, to: usize) -> Span {
    Span { at: to_u32(from), len: to_u32(to - from) }
}

/// The version, and whether it is spelled as we write it.
fn parse_version(text: &[u8], at: usize) -> Result<(Version, bool), ParseError> {
    match text {
        b"HTTP/1.1" => Ok((Version::Http11, true)),
        b"HTTP/1.0" => Ok((Version::Http10, true)),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            match major {
                b'1' => Ok((Version::Http11, false)),
                _ => Err(ParseError::new(at, E::UnsupportedVersion)),
            }
        }
        _ => Err(ParseError::new(at, E::BadVersion)),
    }
}

/// Refuses control bytes; leniently only CR, which no recipient reads in one way.
#[inline]
fn check_text(text: &[u8], at: usize, limits: &Limits) -> Result<(), ParseError> {
    if may_have_control(text) { refuse_control(text, at, limits) } else { Ok(()) }
}

#[cold]
fn refuse_control(text: &[u8], at: usize, limits: &Limits) -> Result<(), ParseError> {
    let bad = |&b: &u8| if limits.accept_invalid { b == b'\r' } else { is_control(b) };
    match text.iter().position(bad) {
        Some(offset) if text[offset] == b'\r' => Err(ParseError::new(at + offset, E::BareCr)),
        Some(offset) => Err(ParseError::new(at + offset, E::ControlByte)),
        None => Ok(()),
    }
}

#[cold]
fn name_error(line: &[u8], from: usize, name_len: usize) -> ParseError {
    let rest = &line[name_len..];
    match rest.first() {
        None => ParseError::new(from + name_len, E::MissingColon),
        Some(&b)
            if is_ows(b) && name_len > 0 && rest.iter().find(|&&b| !is_ows(b)) == Some(&b':') =>
        {
            ParseError::new(from + name_len, E::SpaceBeforeColon)
        }
        Some(_) => ParseError::new(from + name_len, E::BadName),
    }
}

/// With `accept_invalid` a name is what stands before the colon, without the space after it
/// (which a proxy removes: RFC 9112, section 5.1).
#[cold]
fn lenient_name(
    line: &mut [u8],
    from: usize,
    limits: &Limits,
) -> Result<(usize, usize), ParseError> {
    let colon = memchr(b':', line).ok_or(ParseError::new(from + line.len(), E::MissingColon))?;
    let name_len = trim(&line[..colon]).len();
    let bad = |&b: &u8| b <= b' ' || b == 0x7f;
    if let Some(offset) = line[..name_len].iter().position(bad) {
        return Err(ParseError::new(from + offset, E::BadName));
    }
    if name_len == 0 {
        return Err(ParseError::new(from, E::BadName));
    }
    if !limits.keep_case {
        line[..name_len].make_ascii_lowercase();
    }
    Ok((name_len, colon))
}
