//! The greeting of a TLS client (RFC 8446, 4.1.2), read without answering it.

/// The parts of a ClientHello that rules ask for.
#[derive(Debug)]
pub(super) struct Hello<'h> {
    record_version: (u8, u8),
    client_version: (u8, u8),
    ciphers: &'h [u8],
    extensions: &'h [u8],
}

impl<'h> Hello<'h> {
    /// The ciphers that the client offers, 16 bits each.
    pub(super) fn ciphers(&self) -> &'h [u8] {
        self.ciphers
    }

    /// The kinds of the extensions, 16 bits each.
    pub(super) fn extension_kinds(&self) -> Vec<u8> {
        let mut input = Reader(self.extensions);
        let mut kinds = Vec::new();
        while let Some(kind) = input.take(2) {
            let Some(len) = input.u16() else { break };
            if input.take(len).is_none() {
                break;
            }
            kinds.extend_from_slice(kind);
        }
        kinds
    }

    /// The elliptic curves that the client offers, 16 bits each.
    pub(super) fn curves(&self) -> &'h [u8] {
        let list = extension(self, 10).and_then(|body| body.get(2..));
        list.unwrap_or_default()
    }

    /// How it understands points on them, a byte each.
    pub(super) fn point_formats(&self) -> &'h [u8] {
        let list = extension(self, 11).and_then(|body| body.get(1..));
        list.unwrap_or_default()
    }

    /// The version that the message itself names, as it is on the wire.
    pub(super) fn offered_version(&self) -> i64 {
        i64::from(self.client_version.0) << 8 | i64::from(self.client_version.1)
    }
}

/// Why there is no greeting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotHello {
    Incomplete,
    /// Something else than TLS.
    Other,
}

/// Reads a ClientHello that stands in one record, as all do in practice.
pub(super) fn parse(bytes: &[u8]) -> Result<Hello<'_>, NotHello> {
    let mut input = Reader(bytes);
    match input.u8() {
        Some(0x16) => {}
        Some(_) => return Err(NotHello::Other),
        None => return Err(NotHello::Incomplete),
    }
    let record = (input.u8(), input.u8());
    let (Some(major), Some(minor)) = record else { return Err(NotHello::Incomplete) };
    if major != 3 {
        return Err(NotHello::Other);
    }
    let record_len = input.u16().ok_or(NotHello::Incomplete)?;
    if !(43..=0x4000).contains(&record_len) {
        return Err(NotHello::Other);
    }
    let body = input.take(record_len).ok_or(NotHello::Incomplete)?;
    parse_body(body, (major, minor)).ok_or(NotHello::Other)
}

/// Reads the message without the record around it.
pub(super) fn parse_message(message: &[u8]) -> Option<Hello<'_>> {
    parse_body(message, (3, 1))
}

fn parse_body(body: &[u8], record_version: (u8, u8)) -> Option<Hello<'_>> {
    let mut input = Reader(body);
    if input.u8()? != 1 {
        return None;
    }
    let len = usize::from(input.u8()?) << 16 | input.u16()?;
    let mut input = Reader(input.take(len.min(input.0.len()))?);
    let client_version = (input.u8()?, input.u8()?);
    input.take(32)?;
    let session = input.u8()?.into();
    input.take(session)?;
    let ciphers = input.u16()?;
    let ciphers = input.take(ciphers)?;
    let compressions = input.u8()?.into();
    input.take(compressions)?;
    // Clients of SSLv3 send none.
    let extensions = input.u16().and_then(|len| input.take(len.min(input.0.len())));
    Some(Hello {
        record_version,
        client_version,
        ciphers,
        extensions: extensions.unwrap_or_default(),
    })
}

/// The host name that the client asks for.
pub(super) fn server_name<'h>(hello: &Hello<'h>) -> Option<&'h [u8]> {
    let mut input = Reader(extension(hello, 0)?);
    let len = input.u16()?;
    let mut names = Reader(input.take(len.min(input.0.len()))?);
    loop {
        let kind = names.u8()?;
        let len = names.u16()?;
        let name = names.take(len)?;
        if kind == 0 {
            return Some(name);
        }
    }
}

/// The first protocol that the client offers.
pub(super) fn alpn<'h>(hello: &Hello<'h>) -> Option<&'h [u8]> {
    let mut input = Reader(extension(hello, 16)?);
    input.u16()?;
    let len = input.u8()?;
    input.take(len.into())
}

/// Whether the client names elliptic curves.
pub(super) fn has_curves(hello: &Hello<'_>) -> Option<bool> {
    extension(hello, 10).map(|_| true)
}

/// 0 without session ticket extension, 1 for an empty one, 2 for one with a ticket.
pub(super) fn ticket(hello: &Hello<'_>) -> Option<i64> {
    Some(match extension(hello, 35) {
        None => 0,
        Some([]) => 1,
        Some(_) => 2,
    })
}

/// The version, major in the high 16 bits: that of the greeting, which is not above the record's
/// in TLS 1.3.
pub(super) fn version(hello: &Hello<'_>) -> Option<i64> {
    let (major, minor) = hello.client_version.max(hello.record_version);
    Some(i64::from(major) << 16 | i64::from(minor))
}

fn extension<'h>(hello: &Hello<'h>, wanted: usize) -> Option<&'h [u8]> {
    let mut input = Reader(hello.extensions);
    loop {
        let kind = input.u16()?;
        let len = input.u16()?;
        let body = input.take(len)?;
        if kind == wanted {
            return Some(body);
        }
    }
}

struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<usize> {
        self.take(2).map(|bytes| usize::from(bytes[0]) << 8 | usize::from(bytes[1]))
    }

    fn take(&mut self, len: usize) -> Option<&'r [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with the given extensions.
    fn greeting(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let mut out = vec![0x16, 3, 1];
        out.extend((body.len() as u16 + 4).to_be_bytes());
        out.extend([1, 0]);
        out.extend((body.len() as u16).to_be_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn names_and_protocols_are_found() {
        let bytes = greeting(b"\0\0\0\x0b\0\x09\0\0\x06a.test\0\x10\0\x05\0\x03\x02h2");
        let hello = parse(&bytes).expect("a greeting");
        assert_eq!(server_name(&hello), Some(b"a.test".as_slice()));
        assert_eq!(alpn(&hello), Some(b"h2".as_slice()));
        assert_eq!(version(&hello), Some(0x3_0003));
        assert_eq!(ticket(&hello), Some(0));
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]).err(), Some(NotHello::Incomplete));
        }
        assert_eq!(parse(b"GET / HTTP/1.1\r\n").err(), Some(NotHello::Other));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            if bytes.len() > 2 {
                (bytes[0], bytes[1]) = (0x16, 3);
            }
            if let Ok(hello) = parse(&bytes) {
                _ = (server_name(&hello), alpn(&hello), has_curves(&hello), ticket(&hello));
            }
        }
    }
}
