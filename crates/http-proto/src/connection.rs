//! What a head says about its body and its connection (RFC 9112, sections 6.3 and 9; RFC 9110,
//! section 7.6.1).

use crate::bytes::is_word;
use crate::error::{EditError, ParseError, ParseErrorKind};
use crate::head::{Head, Kind, Method, Version};
use crate::values::list_values;

/// Where the body of a message ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// After this many bytes, at least 1.
    Length(u64),
    /// With the last chunk and the trailers; see [`ChunkedDecoder`](crate::ChunkedDecoder).
    Chunked,
    /// When the server closes.
    UntilClose,
    /// Never: bytes flow both ways until either side closes.
    Tunnel,
}

impl Head {
    /// The body of a request. CONNECT has none; what follows its 2xx answer is a tunnel.
    #[must_use]
    pub fn request_body(&self) -> BodyLength {
        let facts = self.facts();
        match facts.content_length {
            _ if facts.chunked => BodyLength::Chunked,
            Some(n) if n > 0 => BodyLength::Length(n),
            _ => BodyLength::None,
        }
    }

    /// The body of a response to a request of that method that did or did not ask for an
    /// upgrade ([`Head::wants_upgrade`]).
    ///
    /// # Errors
    /// 101 that nobody asked for.
    pub fn response_body(
        &self,
        request: Method,
        upgrade_asked: bool,
    ) -> Result<BodyLength, ParseError> {
        let facts = self.facts();
        Ok(match (self.status(), facts.content_length) {
            (101, _) if upgrade_asked => BodyLength::Tunnel,
            (101, _) => return Err(ParseError::new(0, ParseErrorKind::UnexpectedSwitch)),
            (200..=299, _) if request == Method::Connect => BodyLength::Tunnel,
            (100..=199 | 204 | 304, _) => BodyLength::None,
            _ if request == Method::Head => BodyLength::None,
            _ if facts.chunked => BodyLength::Chunked,
            (_, Some(0)) => BodyLength::None,
            (_, None) if facts.ended => BodyLength::None,
            (_, Some(n)) => BodyLength::Length(n),
            (_, None) => BodyLength::UntilClose,
        })
    }

    /// The value of Content-Length, as received.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.facts().content_length
    }

    /// Whether the sender wants the connection kept (RFC 9112, section 9.3). `close` wins over
    /// `keep-alive`; Proxy-Connection is ignored.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        let facts = self.facts();
        match self.version() {
            Version::Http10 => facts.keep_alive && !facts.close,
            Version::Http11 => !facts.close,
            Version::Http2 | Version::Http3 => true,
        }
    }

    /// Whether the client waits for 100 (Continue) before it sends the body. HTTP/1.0 clients
    /// cannot (RFC 9110, section 10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.facts().expect_continue && self.version() >= Version::Http11
    }

    /// Whether the message asks for, or grants, another protocol than `h2c` on this connection.
    #[must_use]
    pub fn wants_upgrade(&self) -> bool {
        self.facts().upgrade
            && self.version() >= Version::Http11
            && self.header_values(b"upgrade").any(is_other_than_h2c)
    }

    /// Removes what is meant for this connection only: Connection and the fields it names,
    /// Keep-Alive, Proxy-Connection, HTTP2-Settings, and Upgrade unless it is asked for properly.
    /// Of an upgrade, `connection: upgrade` and the protocols other than `h2c` stay.
    ///
    /// Only fields the peer sent are removed, never one that a rule has added, and never one
    /// that frames or routes the message, whatever Connection names. HAProxy leaves all of them
    /// but the tokens `close` and `keep-alive`.
    ///
    /// # Errors
    /// [`EditError::NoRoom`].
    pub fn strip_hop_by_hop(&mut self) -> Result<(), EditError> {
        let facts = *self.facts();
        if !facts.hop_by_hop {
            return Ok(());
        }
        let upgrade = self.wants_upgrade();
        if facts.names_others {
            self.remove_named_by_connection();
        }
        if upgrade {
            self.keep_upgrade()?;
        } else {
            self.remove_hop_by_hop();
        }
        let facts = self.facts_mut();
        facts.hop_by_hop = false;
        facts.upgrade = upgrade;
        Ok(())
    }

    /// Adds the Connection field that says whether the connection stays open, if one is needed:
    /// `close` from HTTP/1.1 on, `keep-alive` when either side speaks HTTP/1.0. `peer` is the
    /// version of the request that this response answers; for a request, its own. An upgrade's
    /// Connection field stays as it is.
    ///
    /// Call it last, after [`Head::strip_hop_by_hop`].
    ///
    /// # Errors
    /// [`EditError::NoRoom`].
    pub fn set_connection(&mut self, keep_alive: bool, peer: Version) -> Result<(), EditError> {
        if self.facts().upgrade {
            // 426 tells the protocols it would take, and may still close.
            return match self.find(b"connection", 0) {
                Some(index)
                    if !keep_alive && self.kind() == Kind::Response && self.status() != 101 =>
                {
                    self.replace_value(index, b"upgrade, close")
                }
                _ => Ok(()),
            };
        }
        match (keep_alive, self.version()) {
            (true, Version::Http10) => self.add_header(b"connection", b"keep-alive"),
            (true, _) if peer == Version::Http10 => self.add_header(b"connection", b"keep-alive"),
            (false, version) if version >= Version::Http11 => {
                self.add_header(b"connection", b"close")
            }
            _ => Ok(()),
        }
    }

    /// Removes all that is meant for this connection only but the request for another protocol.
    fn keep_upgrade(&mut self) -> Result<(), EditError> {
        let mut index = 0;
        let mut connection_kept = false;
        while let Some(header) = self.header_at(index) {
            let (name, value) = (header.name, header.value);
            if !self.is_hop_by_hop(index) {
                index += 1;
            } else if is_word(name, b"connection") && !connection_kept {
                connection_kept = true;
                if !value.eq_ignore_ascii_case(b"upgrade") {
                    self.replace_value(index, b"upgrade")?;
                }
                index += 1;
            } else if is_word(name, b"upgrade") && list_values(value).any(is_other_than_h2c) {
                if !list_values(value).all(is_other_than_h2c) {
                    let others: Vec<&[u8]> =
                        list_values(value).filter(|name| is_other_than_h2c(name)).collect();
                    let others = others.join(&b", "[..]);
                    self.replace_value(index, &others)?;
                }
                index += 1;
            } else {
                self.remove_header_at(index);
            }
        }
        Ok(())
    }

    fn remove_named_by_connection(&mut self) {
        let names: Vec<u8> = self.header_lines(b"connection").collect::<Vec<_>>().join(&b","[..]);
        for name in list_values(&names) {
            if PROTECTED.iter().any(|protected| name.eq_ignore_ascii_case(protected)) {
                continue;
            }
            let mut from = 0;
            while let Some(index) = self.find(name, from) {
                if self.is_received(index) {
                    self.remove_header_at(index);
                } else {
                    from = index + 1;
                }
            }
        }
    }
}

fn is_other_than_h2c(protocol: &[u8]) -> bool {
    !protocol.is_empty() && !protocol.eq_ignore_ascii_case(b"h2c")
}

/// Fields that Connection must not name (RFC 9110, section 7.6.1), and those handled apart.
const PROTECTED: [&[u8]; 9] = [
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"upgrade",
    b"cache-control",
    b"authorization",
    b"cookie",
    b"date",
];
