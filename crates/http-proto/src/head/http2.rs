//! Heads and trailers from HTTP/2, and for it (RFC 9113, section 8; RFC 8441).
//!
//! ```text
//! :method GET  :scheme https  :authority a  :path /p      GET https://a/p HTTP/2.0
//! cookie a=1   accept *   cookie b=2                <-->  host: a
//!                                                         accept: *
//!                                                         cookie: a=1; b=2
//! ```
//!
//! What comes is laid into the input buffer as HTTP/1 would have it, and indexed as if it had been read there: rules,
//! logs and HTTP/1 on the other side see nothing new. Three things that HTTP/2 says by its frames are fields then: content
//! of unknown length is `transfer-encoding: chunked`, an extended CONNECT is a GET with `upgrade`, and its success is
//! 101. They are taken back on the way out.

use super::{Head, Header, Kind, Limits, Method, Span, Version, to_u32};
use crate::bytes::{
    TOKEN, is_control, is_ows, is_word, may_have_control, parse_u64, push_u64, trim,
};
use crate::error::{ParseError, ParseErrorKind as E};
use crate::head::Field;
use crate::uri::{self, Target};

/// The pseudo-header fields of a request (RFC 9113, section 8.3.1; RFC 8441, section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http2Request<'h> {
    /// `:method`
    pub method: &'h [u8],
    /// `:scheme`; not with CONNECT.
    pub scheme: Option<&'h [u8]>,
    /// `:authority`
    pub authority: Option<&'h [u8]>,
    /// `:path`; not with CONNECT.
    pub path: Option<&'h [u8]>,
    /// `:protocol`, of an extended CONNECT.
    pub protocol: Option<&'h [u8]>,
}

impl Head {
    /// Makes this the head of a request that came as HTTP/2 fields, pseudo-header fields included, in the order
    /// received. `ends` says that nothing follows it. What the head held before is dropped, and content is to be
    /// appended to the input as [`Head::request_body`] frames it.
    ///
    /// Beside `:authority` Host is dropped, as in HAProxy, so that nobody behind can take another for it; and neither is
    /// asked for. White space around values and bytes outside RFC 3986 in the target are refused, which HAProxy takes;
    /// [`Limits::accept_invalid`] lets them pass.
    ///
    /// # Errors
    /// The first violation. Its offset is in the head as far as it was laid down. See [`ParseError::resets_stream`].
    pub fn read_http2_request<'f>(
        &mut self,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
        ends: bool,
        limits: &Limits,
    ) -> Result<(), ParseError> {
        self.begin_http2(Kind::Request, limits);
        let mut pseudo = Pseudo::default();
        self.read_fields(fields, limits, &mut pseudo, Self::lay_request_line)?;
        if let Some(protocol) = pseudo.protocol {
            self.lay_field(b"upgrade", protocol, limits)?;
            self.lay_field(b"connection", b"upgrade", limits)?;
        } else if !ends && self.method_kind != Method::Connect {
            self.lay_unknown_length(limits)?;
        }
        self.lay_end(limits)?;
        let told = self.facts.content_length;
        if ends && told.is_some_and(|length| length > 0) {
            return Err(self.fault(E::LengthWithoutContent));
        }
        self.facts.ended = ends
            && told.is_none()
            && matches!(self.method_kind, Method::Post | Method::Put | Method::Patch);
        Ok(())
    }

    /// Makes this the head of a response that came as HTTP/2 fields, the answer to `request`; otherwise as
    /// [`Head::read_http2_request`]. Success of an extended CONNECT becomes 101; what WebSocket over HTTP/1 proves by
    /// its key is for the caller to add.
    ///
    /// # Errors
    /// The first violation; the proxy answers 502.
    pub fn read_http2_response<'f>(
        &mut self,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
        ends: bool,
        request: &Self,
        limits: &Limits,
    ) -> Result<(), ParseError> {
        self.begin_http2(Kind::Response, limits);
        let mut pseudo = Pseudo { switches: request.wants_upgrade(), ..Pseudo::default() };
        self.read_fields(fields, limits, &mut pseudo, Self::lay_status_line)?;
        let bodyless = matches!(self.status, 100..=199 | 204 | 304)
            || request.method_kind == Method::Head
            || (request.method_kind == Method::Connect && self.status < 300);
        if self.status == 101 {
            for protocol in request.header_lines(b"upgrade") {
                self.lay_field(b"upgrade", protocol, limits)?;
            }
            self.lay_field(b"connection", b"upgrade", limits)?;
        } else if !ends && !bodyless {
            self.lay_unknown_length(limits)?;
        }
        self.lay_end(limits)?;
        let told = self.facts.content_length;
        if ends && !bodyless && told.is_some_and(|length| length > 0) {
            return Err(self.fault(E::LengthWithoutContent));
        }
        self.facts.ended = ends && !bodyless && told.is_none();
        Ok(())
    }

    /// What this request says in pseudo-header fields. `secure` gives the scheme where the target has none.
    ///
    /// `:authority` is Host, as rules have left it, or the authority of the target (RFC 9113, section 8.3.1; HAProxy
    /// leaves Host a field). A request for an upgrade is an extended CONNECT.
    #[must_use]
    pub fn http2_request(&self, secure: bool) -> Http2Request<'_> {
        let method = self.method();
        if self.method_kind == Method::Connect {
            let authority = Some(self.target());
            return Http2Request { method, authority, ..Http2Request::default() };
        }
        let protocol = if self.wants_upgrade() { self.header(b"upgrade") } else { None };
        let default: &[u8] = if secure { b"https" } else { b"http" };
        Http2Request {
            method: if protocol.is_some() { b"CONNECT" } else { method },
            scheme: Some(self.scheme().unwrap_or(default)),
            authority: self.host().filter(|host| !host.is_empty()),
            path: Some(match self.path_and_query() {
                b"" if self.method_kind == Method::Options => b"*",
                b"" => b"/",
                rest => rest,
            }),
            protocol,
        }
    }

    /// `:status` of this response: success of an extended CONNECT is 200.
    #[must_use]
    pub fn http2_status(&self) -> u16 {
        if self.status == 101 { 200 } else { self.status }
    }

    /// Gives `each` the fields that HTTP/2 is sent, names in lower case: without those that are about the connection or
    /// in the pseudo-header fields. [`Head::strip_hop_by_hop`] has removed what Connection names.
    pub fn http2_fields(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let switches = match self.kind {
            Kind::Request => self.wants_upgrade(),
            Kind::Response => self.status == 101,
        };
        let mut lowered = Vec::new();
        for Header { name, value } in self.headers() {
            let name = if self.keep_case && name.iter().any(u8::is_ascii_uppercase) {
                lowered.clear();
                lowered.extend(name.iter().map(u8::to_ascii_lowercase));
                &lowered
            } else {
                name
            };
            let travels = match name {
                b"host" => self.kind == Kind::Response,
                b"te" => value.eq_ignore_ascii_case(b"trailers"),
                b"sec-websocket-key" | b"sec-websocket-accept" => !switches,
                _ => !is_connection_field(name) && name != b"http2-settings",
            };
            if travels {
                each(name, value);
            }
        }
    }

    fn begin_http2(&mut self, kind: Kind, limits: &Limits) {
        self.clear();
        self.kind = kind;
        self.version = Version::Http2;
        self.rewritten_max = to_u32(limits.rewritten_max);
    }

    /// Takes all fields; `start` lays the start line once the pseudo-header fields are known.
    fn read_fields<'f>(
        &mut self,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
        limits: &Limits,
        pseudo: &mut Pseudo<'f>,
        start: fn(&mut Self, &mut Pseudo<'f>, &Limits) -> Result<(), E>,
    ) -> Result<(), ParseError> {
        let mut started = false;
        // The crumbs are joined in the side buffer, which is free before there are edits.
        self.side.clear();
        for (name, value) in fields {
            check_value(value, limits).map_err(|kind| self.fault(kind))?;
            let value = trim(value);
            if let Some(name) = name.strip_prefix(b":") {
                if started {
                    return Err(self.fault(E::MisplacedPseudo));
                }
                let place = pseudo.place(self.kind, name).ok_or(self.fault(E::UnknownPseudo))?;
                if place.replace(value).is_some() {
                    return Err(self.fault(E::RepeatedPseudo));
                }
                continue;
            }
            if !std::mem::replace(&mut started, true) {
                start(self, pseudo, limits).map_err(|kind| self.fault(kind))?;
            }
            check_field(name, value).map_err(|kind| self.fault(kind))?;
            if name == b"host" && pseudo.authority.is_some() {
                // It gives way to `:authority`, which it has to repeat (RFC 9113, section 8.3.1).
            } else if name == b"cookie" && self.kind == Kind::Request {
                // RFC 9113, section 8.2.3. A crumb of nothing would leave white space at an end.
                if !self.side.is_empty() && !value.is_empty() {
                    self.side.extend_from_slice(b"; ");
                }
                self.side.extend_from_slice(value);
                if self.side.len() > limits.head_max {
                    return Err(self.fault(E::HeadTooLarge));
                }
            } else {
                self.lay_field(name, value, limits)?;
            }
        }
        if !started {
            start(self, pseudo, limits).map_err(|kind| self.fault(kind))?;
        }
        if !self.side.is_empty() {
            let cookie = std::mem::take(&mut self.side);
            let laid = self.lay_field(b"cookie", &cookie, limits);
            self.side = cookie;
            self.side.clear();
            laid?;
        }
        Ok(())
    }

    /// `method SP request-target SP HTTP-version`, then Host of `:authority`.
    fn lay_request_line(&mut self, pseudo: &mut Pseudo<'_>, limits: &Limits) -> Result<(), E> {
        let mut method = pseudo.method.ok_or(E::MissingPseudo)?;
        if method.is_empty() || method.iter().any(|b| TOKEN[usize::from(*b)] == 0) {
            return Err(E::BadMethod);
        }
        let connect = Method::of(method) == Method::Connect;
        match (connect, pseudo.protocol) {
            (false, Some(_)) => return Err(E::ForbiddenPseudo),
            (true, Some(protocol)) => {
                if pseudo.authority.is_none() {
                    return Err(E::MissingPseudo);
                }
                if protocol.is_empty() || protocol.iter().any(|b| !is_protocol(*b)) {
                    return Err(E::UnknownPseudo);
                }
                method = b"GET";
            }
            (true, None) if pseudo.scheme.is_some() || pseudo.path.is_some() => {
                return Err(E::ForbiddenPseudo);
            }
            _ => {}
        }
        self.method_kind = Method::of(method);
        self.input.extend_from_slice(method);
        self.word = Span { at: 0, len: to_u32(method.len()) };
        self.input.push(b' ');
        let target_at = self.input.len();
        let authority = if self.method_kind == Method::Connect {
            let authority = pseudo.authority.ok_or(E::MissingPseudo)?;
            self.input.extend_from_slice(authority);
            Some(authority)
        } else {
            self.lay_target(pseudo)?
        };
        let target = &self.input[target_at..];
        self.parts = if limits.accept_invalid {
            Target::parse_lenient(self.method_kind, target)
        } else {
            Target::parse(self.method_kind, target)
        }
        .map_err(|_| E::BadTarget)?;
        self.target = Span { at: to_u32(target_at), len: to_u32(target.len()) };
        self.input.extend_from_slice(b" HTTP/2.0\r\n");
        if let Some(authority) = authority {
            // It is a part of the target, which was looked at.
            self.lay_field(b"host", authority, limits).map_err(|error| error.kind)?;
        }
        Ok(())
    }

    /// Lays scheme, authority and path down; returns the authority without the scheme's own port.
    fn lay_target<'f>(&mut self, pseudo: &Pseudo<'f>) -> Result<Option<&'f [u8]>, E> {
        let scheme = pseudo.scheme.ok_or(E::MissingPseudo)?;
        let path = pseudo.path.ok_or(E::MissingPseudo)?;
        if !is_scheme(scheme) {
            return Err(E::BadScheme);
        }
        let asterisk = path == b"*" && self.method_kind == Method::Options;
        if path.first() != Some(&b'/') && !asterisk {
            return Err(E::BadPath);
        }
        let Some(authority) = pseudo.authority else {
            self.input.extend_from_slice(path);
            return Ok(None);
        };
        if authority.is_empty() || !uri::is_host(authority) {
            return Err(E::BadHost);
        }
        let (host, port) = uri::split_port(authority);
        let authority = if port.is_empty() || uri::is_default_port(Some(scheme), port) {
            host
        } else {
            authority
        };
        self.input.extend_from_slice(scheme);
        self.input.extend_from_slice(b"://");
        self.input.extend_from_slice(authority);
        if !asterisk {
            self.input.extend_from_slice(path);
        }
        let usual = [&b"http"[..], b"https"];
        self.normalized = usual.iter().any(|usual| scheme.eq_ignore_ascii_case(usual));
        Ok(Some(authority))
    }

    fn lay_status_line(&mut self, pseudo: &mut Pseudo<'_>, _: &Limits) -> Result<(), E> {
        let status = pseudo.status.ok_or(E::MissingPseudo)?;
        let number = parse_u64(status).filter(|n| status.len() == 3 && *n >= 100);
        self.status = match number {
            // There is no such in HTTP/2 (RFC 9113, section 8.6).
            None | Some(101) => return Err(E::BadStatus),
            Some(200..=299) if pseudo.switches => 101,
            Some(number) => number as u16,
        };
        self.input.extend_from_slice(b"HTTP/2.0 ");
        push_u64(&mut self.input, u64::from(self.status));
        self.input.push(b' ');
        // HTTP/2 has no reason phrase, and HAProxy makes up none.
        self.word = Span { at: to_u32(self.input.len()), len: 0 };
        self.input.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn lay_unknown_length(&mut self, limits: &Limits) -> Result<(), ParseError> {
        if self.facts.content_length.is_none() {
            self.lay_field(b"transfer-encoding", b"chunked", limits)?;
        }
        Ok(())
    }

    /// Lays a valid field down, and learns what it says.
    fn lay_field(&mut self, name: &[u8], value: &[u8], limits: &Limits) -> Result<(), ParseError> {
        if self.fields.len() + 1 >= limits.headers_max {
            return Err(self.fault(E::TooManyHeaders));
        }
        let at = self.input.len();
        if at + name.len() + value.len() + 6 > limits.head_max.min(1 << 30) {
            return Err(self.fault(E::HeadTooLarge));
        }
        let name_len = u16::try_from(name.len()).map_err(|_| self.fault(E::BadName))?;
        self.input.extend_from_slice(name);
        self.input.extend_from_slice(b": ");
        let value_at = self.input.len();
        self.input.extend_from_slice(value);
        self.input.extend_from_slice(b"\r\n");
        let field = Field {
            name_at: to_u32(at),
            name_len,
            value_at: to_u32(value_at),
            value_len: to_u32(value.len()),
            verbatim: true,
            hop_by_hop: false,
        };
        let before = self.fields.len();
        self.add_field(field, limits)?;
        if self.fields.len() == before {
            // A Content-Length that repeats the one before it.
            self.input.truncate(at);
        }
        Ok(())
    }

    fn lay_end(&mut self, limits: &Limits) -> Result<(), ParseError> {
        let line = self.input.len();
        self.input.extend_from_slice(b"\r\n");
        if self.input.len() > limits.head_max {
            return Err(self.fault(E::HeadTooLarge));
        }
        self.finish(line, line + 2, limits)
    }

    fn fault(&self, kind: E) -> ParseError {
        ParseError::new(self.input.len(), kind)
    }
}

/// Appends trailers that came by HTTP/2 as the end of a chunked body: `0`, the fields, the empty line.
///
/// # Errors
/// What is wrong with them, as [`ChunkedDecoder`](crate::ChunkedDecoder) and RFC 9113, section 8.1, see it; the offset
/// is in `out`, to which nothing is appended then.
pub fn write_http2_trailers<'f>(
    fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), ParseError> {
    let start = out.len();
    out.extend_from_slice(b"0\r\n");
    for (name, value) in fields {
        let checked = check_value(value, limits).and_then(|()| check_trailer(name, value));
        let kind = match checked {
            Ok(())
                if out.len() + name.len() + value.len() - start <= crate::chunked::TRAILERS_MAX =>
            {
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(trim(value));
                out.extend_from_slice(b"\r\n");
                continue;
            }
            Ok(()) => E::TrailersTooLarge,
            Err(kind) => kind,
        };
        let error = ParseError::new(out.len(), kind);
        out.truncate(start);
        return Err(error);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The fields of a trailer section, the lines behind the last chunk as [`ChunkedDecoder`](crate::ChunkedDecoder) has
/// accepted them, that HTTP/2 may be sent. Names are as received.
pub fn trailer_fields(section: &[u8]) -> impl Iterator<Item = Header<'_>> {
    section.split(|b| *b == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let value = line[colon + 1..].strip_suffix(b"\r").unwrap_or(&line[colon + 1..]);
        let (name, value) = (&line[..colon], trim(value));
        let lowered = name.to_ascii_lowercase();
        check_trailer(&lowered, value).is_ok().then_some(Header { name, value })
    })
}

/// What stood in pseudo-header fields.
#[derive(Default)]
struct Pseudo<'f> {
    method: Option<&'f [u8]>,
    scheme: Option<&'f [u8]>,
    authority: Option<&'f [u8]>,
    path: Option<&'f [u8]>,
    protocol: Option<&'f [u8]>,
    status: Option<&'f [u8]>,
    /// The request has asked for another protocol.
    switches: bool,
}

impl<'f> Pseudo<'f> {
    /// Where that of this name goes; `None` if there is none of this name.
    fn place(&mut self, kind: Kind, name: &[u8]) -> Option<&mut Option<&'f [u8]>> {
        Some(match (kind, name) {
            (Kind::Request, b"method") => &mut self.method,
            (Kind::Request, b"scheme") => &mut self.scheme,
            (Kind::Request, b"authority") => &mut self.authority,
            (Kind::Request, b"path") => &mut self.path,
            (Kind::Request, b"protocol") => &mut self.protocol,
            (Kind::Response, b"status") => &mut self.status,
            _ => return None,
        })
    }
}

/// A field line (RFC 9113, sections 8.2.1 and 8.2.2).
fn check_field(name: &[u8], value: &[u8]) -> Result<(), E> {
    if name.is_empty() {
        return Err(E::BadName);
    }
    // The table gives the lower-case form, and 0 for what is none of a token.
    if let Some(b) = name.iter().find(|b| **b == 0 || TOKEN[usize::from(**b)] != **b) {
        return Err(if b.is_ascii_uppercase() { E::UppercaseName } else { E::BadName });
    }
    if is_connection_field(name) || (name == b"te" && !value.eq_ignore_ascii_case(b"trailers")) {
        return Err(E::ConnectionField);
    }
    Ok(())
}

/// A trailer field; none of these may frame or route the message (RFC 9110, section 6.5.1).
fn check_trailer(name: &[u8], value: &[u8]) -> Result<(), E> {
    if name.first() == Some(&b':') {
        return Err(E::MisplacedPseudo);
    }
    check_field(name, value)?;
    if matches!(name, b"host" | b"content-length" | b"te") {
        return Err(E::ForbiddenTrailer);
    }
    Ok(())
}

fn check_value(value: &[u8], limits: &Limits) -> Result<(), E> {
    let ends = [value.first(), value.last()];
    if !limits.accept_invalid && ends.into_iter().flatten().any(|b| is_ows(*b)) {
        return Err(E::SpaceAroundValue);
    }
    if may_have_control(value) && value.iter().any(|b| is_control(*b)) {
        return Err(E::ControlByte);
    }
    Ok(())
}

/// Fields that have no meaning in HTTP/2 (RFC 9113, section 8.2.2).
fn is_connection_field(name: &[u8]) -> bool {
    match name.len() {
        7 => is_word(name, b"upgrade"),
        10 => is_word(name, b"connection") || is_word(name, b"keep-alive"),
        16 => is_word(name, b"proxy-connection"),
        17 => is_word(name, b"transfer-encoding"),
        _ => false,
    }
}

/// `ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`
fn is_scheme(text: &[u8]) -> bool {
    let [first, rest @ ..] = text else { return false };
    let more = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    first.is_ascii_alphabetic() && rest.iter().all(more)
}

/// A byte of `protocol-name [ "/" protocol-version ]` (RFC 9110, section 7.8).
fn is_protocol(b: u8) -> bool {
    b == b'/' || TOKEN[usize::from(b)] != 0
}

#[cfg(test)]
mod tests;
