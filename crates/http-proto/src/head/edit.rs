//! Edits of a head, and heads made from parts.
//!
//! The text of an edit goes to the side buffer. CR, LF and NUL in it become spaces (RFC 9110,
//! section 5.5), in a target they are percent-encoded, so that no value computed from a request
//! can add a line to a head. HAProxy writes them as they are.

use super::{Facts, Field, Head, Header, Kind, Method, SIDE, Span, Version, to_u32};
use crate::answer::reason_phrase;
use crate::bytes::{lower, may_have_control, push_u64, token_end};
use crate::error::EditError;
use crate::uri::{self, Form, Target};

impl Head {
    /// Begins a request from parts; fields follow with [`Head::add_header`]. What the head held
    /// before is dropped. `rewritten_max` is as in [`Limits`](crate::Limits).
    ///
    /// # Errors
    /// [`EditError::Malformed`] for a method or target that could not be sent.
    pub fn start_request(
        &mut self,
        method: &[u8],
        target: &[u8],
        version: Version,
        rewritten_max: usize,
    ) -> Result<(), EditError> {
        self.clear();
        self.rewritten_max = to_u32(rewritten_max);
        self.version = version;
        self.size = self.start_line_size() + 2;
        self.set_method(method)?;
        self.set_target(target)
    }

    /// Begins a response from parts, with the usual reason phrase.
    ///
    /// # Errors
    /// [`EditError::Malformed`] for a status outside 100 to 999.
    pub fn start_response(
        &mut self,
        status: u16,
        version: Version,
        rewritten_max: usize,
    ) -> Result<(), EditError> {
        self.clear();
        self.kind = Kind::Response;
        self.rewritten_max = to_u32(rewritten_max);
        self.version = version;
        self.size = self.start_line_size() + 2;
        self.set_status(status, None)
    }

    /// Replaces the method.
    ///
    /// # Errors
    /// [`EditError::Malformed`] if it is not a token; [`EditError::NoRoom`].
    pub fn set_method(&mut self, method: &[u8]) -> Result<(), EditError> {
        if self.kind != Kind::Request || !is_token(method) {
            return Err(EditError::Malformed);
        }
        self.word = self.swap_text(self.word.len, method)?;
        self.method_kind = Method::of(method);
        self.start_line = Span::default();
        Ok(())
    }

    /// Replaces the whole target: `set-uri`. Bytes that would end the target are
    /// percent-encoded.
    ///
    /// # Errors
    /// [`EditError::Malformed`] if it is empty; [`EditError::NoRoom`].
    pub fn set_target(&mut self, target: &[u8]) -> Result<(), EditError> {
        let end = self.target().len();
        let (size, normalized) = (self.size, self.normalized);
        if normalized {
            // It is sent whole from now on.
            self.size = size - to_u32(self.wire_target().len()) + to_u32(end);
            self.normalized = false;
        }
        let set = self.rewrite_target(0, [target, b""], end);
        if set.is_err() {
            (self.size, self.normalized) = (size, normalized);
        }
        set
    }

    /// Replaces the path and keeps the query: `set-path`.
    ///
    /// # Errors
    /// As [`Head::set_target`].
    pub fn set_path(&mut self, path: &[u8]) -> Result<(), EditError> {
        let after =
            if self.parts.is_asterisk() { self.target().len() } else { self.parts.path_end() };
        self.rewrite_target(self.parts.path_start(), [path, b""], after)
    }

    /// Replaces path and query: `set-pathq`.
    ///
    /// # Errors
    /// As [`Head::set_target`].
    pub fn set_path_and_query(&mut self, path_and_query: &[u8]) -> Result<(), EditError> {
        self.rewrite_target(self.parts.path_start(), [path_and_query, b""], self.target().len())
    }

    /// Replaces what follows `?`: `set-query`. The `?` is added if `query` is not empty, and an
    /// existing one stays.
    ///
    /// # Errors
    /// As [`Head::set_target`].
    pub fn set_query(&mut self, query: &[u8]) -> Result<(), EditError> {
        if self.parts.is_asterisk() {
            return Err(EditError::Malformed);
        }
        let mark: &[u8] = if self.query().is_some() || !query.is_empty() { b"?" } else { b"" };
        self.rewrite_target(self.parts.path_end(), [mark, query], self.target().len())
    }

    /// Leaves out the scheme's own port where an absolute target or CONNECT and its Host name it, so that rules find
    /// one form (RFC 9110, section 4.2.3; as in HAProxy). A Host with a port beside a target without one stays.
    ///
    /// To be called on a request as it was read: that the two agree is a part of parsing.
    pub fn normalize_authority(&mut self) {
        let Some(authority) = self.authority() else { return };
        let scheme = self.scheme();
        let (host, port) = uri::split_port(uri::without_user_info(authority));
        // A colon may stand without a port.
        let port_len = uri::without_user_info(authority).len() - host.len();
        let bare = host.to_vec();
        let host_at = self.find(b"host", 0);
        let Some(scheme) = scheme else {
            // CONNECT has to name a port.
            let repeated = host_at.and_then(|at| self.value_at(at)).map(uri::split_port);
            if repeated.is_some_and(|(_, theirs)| theirs == port)
                && uri::is_default_port(None, port)
                && let Some(at) = host_at
            {
                // It becomes shorter, so there is room.
                let _ = self.replace_value(at, &bare);
            }
            return;
        };
        if port_len == 0 || !(port.is_empty() || uri::is_default_port(Some(scheme), port)) {
            return;
        }
        let end = scheme.len() + b"://".len() + authority.len();
        if self.rewrite_target(end - port_len, [b"", b""], end).is_ok()
            && let Some(at) = host_at
        {
            let _ = self.replace_value(at, &bare);
        }
    }

    /// Replaces status and reason phrase; without one the usual phrase is taken.
    ///
    /// # Errors
    /// [`EditError::Malformed`] for a status outside 100 to 999; [`EditError::NoRoom`].
    pub fn set_status(&mut self, status: u16, reason: Option<&[u8]>) -> Result<(), EditError> {
        if self.kind != Kind::Response || !(100..=999).contains(&status) {
            return Err(EditError::Malformed);
        }
        self.word =
            self.swap_text(self.word.len, reason.unwrap_or(reason_phrase(status).as_bytes()))?;
        self.status = status;
        self.start_line = Span::default();
        Ok(())
    }

    /// Adds a field at the end: `add-header`. The name is written in lower case, unless
    /// [`Limits::keep_case`](crate::Limits::keep_case) was set.
    ///
    /// # Errors
    /// [`EditError::Malformed`] if the name is not a token; [`EditError::NoRoom`].
    pub fn add_header(&mut self, name: &[u8], value: &[u8]) -> Result<(), EditError> {
        self.insert_header(self.fields.len(), name, value)
    }

    /// Adds a field before the one at `index`.
    ///
    /// # Errors
    /// As [`Head::add_header`].
    pub fn insert_header(
        &mut self,
        index: usize,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), EditError> {
        let name_len = u16::try_from(name.len()).map_err(|_| EditError::Malformed)?;
        if !is_token(name) {
            return Err(EditError::Malformed);
        }
        let size = to_u32(name.len()).saturating_add(to_u32(value.len())).saturating_add(4);
        self.take_room(0, size, size as usize)?;
        // The whole line, so that it is written at once.
        let at = self.side.len();
        self.side.extend_from_slice(name);
        self.side.extend_from_slice(b": ");
        if !self.keep_case {
            lower(&mut self.side, at, at + name.len());
        }
        let value = self.append(value);
        self.side.extend_from_slice(b"\r\n");
        self.framing_edited |= is_framing(name);
        let field = Field {
            name_at: to_u32(at) | SIDE,
            name_len,
            value_at: value.at,
            value_len: value.len,
            verbatim: true,
            hop_by_hop: false,
        };
        if index < self.fields.len() {
            self.fields.insert(index, field);
        } else {
            self.fields.push(field);
        }
        Ok(())
    }

    /// Removes every field of that name, then adds it at the end: `set-header`.
    ///
    /// # Errors
    /// As [`Head::add_header`]; the fields of that name are gone nevertheless.
    pub fn set_header(&mut self, name: &[u8], value: &[u8]) -> Result<(), EditError> {
        self.del_header(name);
        self.add_header(name, value)
    }

    /// Removes every field of that name; returns how many there were.
    pub fn del_header(&mut self, name: &[u8]) -> usize {
        self.retain_headers(|header| !header.name.eq_ignore_ascii_case(name))
    }

    /// Removes the fields that `keep` refuses; returns how many.
    pub fn retain_headers(&mut self, mut keep: impl FnMut(Header<'_>) -> bool) -> usize {
        let mut fields = std::mem::take(&mut self.fields);
        let before = fields.len();
        let mut size = self.size;
        let mut framing_edited = self.framing_edited;
        fields.retain(|field| {
            let kept = keep(self.header_of(field));
            if !kept {
                size -= field.size();
                framing_edited |= is_framing(self.name_of(field));
            }
            kept
        });
        self.framing_edited = framing_edited;
        self.size = size;
        self.fields = fields;
        before - self.fields.len()
    }

    /// Removes the field at `index`; nothing happens if there is none.
    pub fn remove_header_at(&mut self, index: usize) {
        if index < self.fields.len() {
            let field = self.fields.remove(index);
            self.size -= field.size();
            self.framing_edited |= is_framing(self.name_of(&field));
        }
    }

    /// Replaces the value of the field at `index`, in place: `replace-header`.
    ///
    /// # Errors
    /// [`EditError::Malformed`] if there is no such field; [`EditError::NoRoom`].
    pub fn replace_value(&mut self, index: usize, value: &[u8]) -> Result<(), EditError> {
        let field = *self.fields.get(index).ok_or(EditError::Malformed)?;
        let span = self.swap_text(field.value_len, value)?;
        self.framing_edited |= is_framing(self.name_of(&field));
        let field = &mut self.fields[index];
        field.value_at = span.at;
        field.value_len = span.len;
        field.verbatim = false;
        Ok(())
    }

    /// Makes Content-Length and Transfer-Encoding say again what the body really is, if rules
    /// have touched them; a response with 1xx or 204 loses both (RFC 9112, section 6.1; RFC 9110,
    /// section 8.6). Call it before [`Head::write_to`] on every head that goes on its way.
    /// HAProxy sends what the rules wrote.
    ///
    /// # Errors
    /// [`EditError::NoRoom`].
    pub fn restore_framing(&mut self) -> Result<(), EditError> {
        let bodyless = self.kind == Kind::Response && matches!(self.status, 100..=199 | 204);
        if !self.framing_edited && !bodyless {
            return Ok(());
        }
        self.retain_headers(|header| !is_framing(header.name));
        if !bodyless {
            if self.facts.chunked {
                self.add_header(b"transfer-encoding", b"chunked")?;
            } else if let Some(length) = self.facts.content_length {
                let mut text = Vec::with_capacity(20);
                push_u64(&mut text, length);
                self.add_header(b"content-length", &text)?;
            }
        }
        self.framing_edited = false;
        Ok(())
    }

    /// Removes `Transfer-Encoding: chunked`: the body is sent decoded and ends when the
    /// connection closes, as an HTTP/1.0 client needs it (RFC 9112, section 6.1). HAProxy sends
    /// chunks to such clients too.
    pub fn remove_chunked(&mut self) {
        if self.facts.chunked {
            self.facts.chunked = false;
            self.del_header(b"transfer-encoding");
            self.framing_edited = false;
        }
    }

    /// Says `content-length: 0` where HTTP/1 needs to be told what HTTP/2 shows by its framing: that a message of a
    /// kind that has content ends with its head. Call it on what goes over HTTP/1.
    ///
    /// # Errors
    /// [`EditError::NoRoom`].
    pub fn say_no_content(&mut self) -> Result<(), EditError> {
        if std::mem::take(&mut self.facts.ended) {
            self.facts.content_length = Some(0);
            self.add_header(b"content-length", b"0")?;
        }
        Ok(())
    }

    /// Adds an empty Host where HTTP/2 has told no authority: HTTP/1.1 asks for one all the same (RFC 9112, section 3.2).
    /// Call it on what goes over HTTP/1.
    ///
    /// # Errors
    /// [`EditError::NoRoom`].
    pub fn say_host(&mut self) -> Result<(), EditError> {
        if self.version < Version::Http2 || self.has_header(b"host") {
            return Ok(());
        }
        self.add_header(b"host", b"")
    }

    /// Removes every received field that is meant for this connection only.
    pub(crate) fn remove_hop_by_hop(&mut self) {
        let size = &mut self.size;
        self.fields.retain(|field| {
            if field.hop_by_hop {
                *size -= field.size();
            }
            !field.hop_by_hop
        });
    }

    pub(crate) fn facts_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// Makes a new target of the first `before` bytes of the old one, `pieces`, and its bytes from
    /// `after` on.
    fn rewrite_target(
        &mut self,
        before: usize,
        pieces: [&[u8]; 2],
        after: usize,
    ) -> Result<(), EditError> {
        if self.parts.form() == Form::Authority && (before > 0 || pieces[0].is_empty()) {
            // CONNECT has no path to replace.
            return Err(EditError::Malformed);
        }
        let must_encode = |b: u8| b <= b' ' || b == 0x7f;
        let bytes = || pieces.iter().flat_map(|piece| piece.iter().copied());
        let old_len = self.target.len as usize;
        let kept_len = before + old_len.saturating_sub(after);
        let len = kept_len + bytes().map(|b| if must_encode(b) { 3 } else { 1 }).sum::<usize>();
        if self.kind != Kind::Request || len == 0 {
            return Err(EditError::Malformed);
        }
        let sent_before = self.size - to_u32(self.wire_target().len()).min(self.size);
        self.take_room(self.target.len, to_u32(len), len)?;
        let at = self.side.len();
        self.copy_of_target(0, before);
        for b in bytes() {
            if must_encode(b) {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                self.side.extend_from_slice(&[
                    b'%',
                    HEX[usize::from(b >> 4)],
                    HEX[usize::from(b & 15)],
                ]);
            } else {
                self.side.push(b);
            }
        }
        self.copy_of_target(after, old_len);
        self.parts = Target::parse_lenient(self.method_kind, &self.side[at..])
            .map_err(|_| EditError::Malformed)?;
        self.target = Span { at: to_u32(at) | SIDE, len: to_u32(len) };
        self.start_line = Span::default();
        if self.normalized {
            self.size = sent_before + to_u32(self.wire_target().len());
        }
        Ok(())
    }

    /// Appends bytes `from..to` of the target to the side buffer.
    fn copy_of_target(&mut self, from: usize, to: usize) {
        let at = (self.target.at & !SIDE) as usize;
        let range = at + from..at + to.max(from);
        if self.target.at & SIDE != 0 {
            self.side.extend_from_within(range);
        } else {
            self.side.extend_from_slice(self.input.get(range).unwrap_or_default());
        }
    }

    /// Puts `text` in the side buffer in the place of a text of `old_len` bytes.
    fn swap_text(&mut self, old_len: u32, text: &[u8]) -> Result<Span, EditError> {
        self.take_room(old_len, to_u32(text.len()), text.len())?;
        Ok(self.append(text))
    }

    fn take_room(&mut self, old_len: u32, new_len: u32, side_len: usize) -> Result<(), EditError> {
        let size = (self.size - old_len.min(self.size)).saturating_add(new_len);
        let held = to_u32(self.remaining().len());
        let size_max = self.rewritten_max.saturating_sub(held).max(self.rewritten_min);
        let side_max = (self.rewritten_max as usize).saturating_mul(4).min(SIDE as usize - 1);
        // A head may have come in larger than the limit; an edit that does not grow it is fine.
        if (size > size_max && size > self.size) || self.side.len() + side_len > side_max {
            return Err(EditError::NoRoom);
        }
        self.size = size;
        Ok(())
    }

    fn append(&mut self, text: &[u8]) -> Span {
        let at = self.side.len();
        self.side.extend_from_slice(text);
        if may_have_control(text) {
            for b in &mut self.side[at..] {
                if matches!(*b, b'\r' | b'\n' | 0) {
                    *b = b' ';
                }
            }
        }
        Span { at: to_u32(at) | SIDE, len: to_u32(text.len()) }
    }
}

fn is_framing(name: &[u8]) -> bool {
    match name.len() {
        14 => name.eq_ignore_ascii_case(b"content-length"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => false,
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && token_end(text, 0) == text.len()
}
