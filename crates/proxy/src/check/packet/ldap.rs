//! LDAP version 3: an anonymous simple bind (RFC 4511, section 4.2).

use super::{Answered, Reader};

/// A `BindRequest` of version 3 with an empty name and an empty password.
pub(crate) const BIND_REQUEST: &[u8] = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00";

pub(super) fn bind_response(bytes: &[u8]) -> Option<Answered> {
    let foreign = || Some(Answered::invalid("Not LDAPv3 protocol"));
    let mut reader = Reader(bytes);
    if reader.byte()? != SEQUENCE {
        return foreign();
    }
    let Ok(len) = length(&mut reader)? else { return foreign() };
    let mut message = Reader(reader.take(len)?);
    // Message 1, as in the request.
    if message.take(4) != Some(b"\x02\x01\x01\x61") {
        return foreign();
    }
    let mut result = || {
        length(&mut message)?.ok()?;
        (message.take(2)? == ENUMERATED_1).then(|| message.byte())?
    };
    Some(match result() {
        None => return foreign(),
        Some(0) => Answered::Well("Success".to_owned()),
        Some(code) => Answered::refused(
            code.into(),
            "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9",
        ),
    })
}

/// A length in BER: in one byte, or in the two or four bytes that follow. The error is any other form.
fn length(reader: &mut Reader<'_>) -> Option<Result<usize, ()>> {
    Some(match reader.byte()? {
        len @ 0..=0x7f => Ok(len.into()),
        0x82 => Ok(reader.big_endian(2)?),
        0x84 => Ok(reader.big_endian(4)?),
        _ => Err(()),
    })
}

const SEQUENCE: u8 = 0x30;
/// An enumerated value of one byte.
const ENUMERATED_1: &[u8] = b"\x0a\x01";
