//! The first messages of MQTT: CONNECT and CONNACK of versions 3.1, 3.1.1 and 5.
//!
//! Source: OASIS, "MQTT Version 5.0", sections 2 and 3.1 to 3.2.

use super::Found;

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const DISCONNECT: u8 = 14;
/// Bytes of the longest remaining length.
const LENGTH_WIDTH_MAX: usize = 4;

/// Fields that are no properties, numbered above them.
const FIELDS: [(&[u8], u8); 10] = [
    (b"flags", FLAGS),
    (b"reason_code", REASON_CODE),
    (b"protocol_name", PROTOCOL_NAME),
    (b"protocol_version", PROTOCOL_VERSION),
    (b"client_identifier", CLIENT_IDENTIFIER),
    (b"will_topic", WILL_TOPIC),
    (b"will_payload", WILL_PAYLOAD),
    (b"username", USERNAME),
    (b"password", PASSWORD),
    (b"keepalive", KEEPALIVE),
];
const FLAGS: u8 = 200;
const REASON_CODE: u8 = 201;
const PROTOCOL_NAME: u8 = 202;
const PROTOCOL_VERSION: u8 = 203;
const CLIENT_IDENTIFIER: u8 = 204;
const WILL_TOPIC: u8 = 205;
const WILL_PAYLOAD: u8 = 206;
const USERNAME: u8 = 207;
const PASSWORD: u8 = 208;
const KEEPALIVE: u8 = 209;

/// The type of a packet, by number or name.
pub(super) fn packet(text: &[u8]) -> Option<u8> {
    match text {
        b"connect" | b"CONNECT" | b"1" => Some(CONNECT),
        b"connack" | b"CONNACK" | b"2" => Some(CONNACK),
        _ => None,
    }
}

/// A field, by name, or by number for a property.
pub(super) fn field_number(text: &[u8]) -> Option<u8> {
    if let Some((_, number)) = FIELDS.iter().find(|(name, _)| *name == text) {
        return Some(*number);
    }
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    width_of(number).map(|_| number)
}

/// Whether a CONNECT or CONNACK message is all that there is.
pub(super) fn validate(bytes: &[u8]) -> Found<()> {
    match parse(bytes) {
        Found::Value(_) => Found::Value(()),
        Found::Nothing => Found::Nothing,
        Found::Incomplete => Found::Incomplete,
    }
}

/// The text of a field.
pub(super) fn field(bytes: &[u8], packet: u8, wanted: u8) -> Found<Vec<u8>> {
    let message = match parse(bytes) {
        Found::Value(message) => message,
        Found::Nothing => return Found::Nothing,
        Found::Incomplete => return Found::Incomplete,
    };
    if message.packet != packet {
        return Found::Nothing;
    }
    match message.fields.into_iter().find(|(field, _)| *field == wanted) {
        Some((_, text)) => Found::Value(text),
        None => Found::Nothing,
    }
}

struct Message {
    packet: u8,
    /// Numbers in decimal.
    fields: Vec<(u8, Vec<u8>)>,
}

fn parse(bytes: &[u8]) -> Found<Message> {
    let Some((&first, rest)) = bytes.split_first() else { return Found::Incomplete };
    let packet = first >> 4;
    if !(CONNECT..=DISCONNECT + 1).contains(&packet) {
        return Found::Nothing;
    }
    let mut input = Reader(rest);
    let Some(len) = input.length() else {
        return if rest.len() >= LENGTH_WIDTH_MAX { Found::Nothing } else { Found::Incomplete };
    };
    let Some(body) = input.0.get(..len) else { return Found::Incomplete };
    // Neither side may send more before the other has answered.
    if first & 15 != 0 || input.0.len() > len {
        return Found::Nothing;
    }
    let mut body = Reader(body);
    let fields = match packet {
        CONNECT => connect(&mut body),
        CONNACK => connack(&mut body),
        _ => None,
    };
    match fields {
        Some(fields) if body.0.is_empty() => Found::Value(Message { packet, fields }),
        _ => Found::Nothing,
    }
}

fn connect(body: &mut Reader<'_>) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut fields = Vec::new();
    let name = body.text()?;
    let version = body.u8()?;
    if !matches!((name, version), (b"MQIsdp", 3) | (b"MQTT", 4 | 5)) {
        return None;
    }
    let flags = body.u8()?;
    // The lowest bit is reserved.
    if flags & 1 != 0 {
        return None;
    }
    fields.push((PROTOCOL_NAME, name.to_vec()));
    fields.push((PROTOCOL_VERSION, decimal(version.into())));
    fields.push((FLAGS, decimal(flags.into())));
    fields.push((KEEPALIVE, decimal(body.number(2)?)));
    if version == 5 {
        properties(body, &mut fields)?;
    }
    fields.push((CLIENT_IDENTIFIER, body.text()?.to_vec()));
    if flags & 0x04 != 0 {
        if version == 5 {
            properties(body, &mut fields)?;
        }
        fields.push((WILL_TOPIC, body.text()?.to_vec()));
        fields.push((WILL_PAYLOAD, body.text()?.to_vec()));
    }
    if flags & 0x80 != 0 {
        fields.push((USERNAME, body.text()?.to_vec()));
    }
    if flags & 0x40 != 0 {
        fields.push((PASSWORD, body.text()?.to_vec()));
    }
    Some(fields)
}

fn connack(body: &mut Reader<'_>) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut fields = Vec::new();
    let flags = body.u8()?;
    if flags & 0xfe != 0 {
        return None;
    }
    fields.push((FLAGS, decimal(flags.into())));
    fields.push((REASON_CODE, decimal(body.u8()?.into())));
    // Only version 5 has more.
    let version = if body.0.is_empty() { 4 } else { 5 };
    fields.push((PROTOCOL_VERSION, decimal(version)));
    if version == 5 {
        properties(body, &mut fields)?;
    }
    Some(fields)
}

fn properties(body: &mut Reader<'_>, fields: &mut Vec<(u8, Vec<u8>)>) -> Option<()> {
    let len = body.length()?;
    let mut input = Reader(body.take(len)?);
    while let Some(property) = input.u8() {
        let text = match width_of(property)? {
            Width::Number(width) => decimal(input.number(width)?),
            Width::Variable => decimal(input.length()? as u64),
            Width::Text => input.text()?.to_vec(),
            Width::Pair => {
                input.text()?;
                input.text()?;
                continue;
            }
        };
        fields.push((property, text));
    }
    Some(())
}

enum Width {
    Number(usize),
    Variable,
    Text,
    Pair,
}

/// How a property is written (section 2.2.2.2).
fn width_of(property: u8) -> Option<Width> {
    Some(match property {
        1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => Width::Number(1),
        19 | 33 | 34 | 35 => Width::Number(2),
        2 | 17 | 24 | 39 => Width::Number(4),
        11 => Width::Variable,
        3 | 8 | 9 | 18 | 21 | 22 | 26 | 28 | 31 => Width::Text,
        38 => Width::Pair,
        _ => return None,
    })
}

fn decimal(n: u64) -> Vec<u8> {
    n.to_string().into_bytes()
}

struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self, width: usize) -> Option<u64> {
        Some(self.take(width)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    /// A text or block behind its length.
    fn text(&mut self) -> Option<&'r [u8]> {
        let len = self.number(2)?;
        self.take(len as usize)
    }

    /// A length of one to four bytes, seven bits in each, lowest first.
    fn length(&mut self) -> Option<usize> {
        let mut len = 0;
        for place in 0..LENGTH_WIDTH_MAX {
            let byte = self.u8()?;
            len |= usize::from(byte & 127) << (7 * place);
            if byte & 128 == 0 {
                return Some(len);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'r [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}
