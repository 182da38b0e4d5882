//! SPOP, the protocol of stream processing offload agents: the hello that both sides exchange.
//!
//! A frame is a length of four bytes, a type, flags of four bytes, two numbers and then names with typed values.
//! Source: HAProxy's guide "SPOE", section 3.

use super::{Answered, Reader};

/// HAPROXY-HELLO with the item that says that this is a check.
pub(crate) fn hello() -> Vec<u8> {
    let mut frame = vec![HAPROXY_HELLO];
    frame.extend_from_slice(&FIN.to_be_bytes());
    // HELLO is of no stream and no frame.
    frame.extend_from_slice(&[0, 0]);
    name(b"supported-versions", &mut frame);
    frame.push(STRING);
    name(VERSION, &mut frame);
    name(b"max-frame-size", &mut frame);
    frame.push(UINT32);
    number(FRAME_MAX, &mut frame);
    name(b"capabilities", &mut frame);
    frame.push(STRING);
    name(b"", &mut frame);
    name(b"healthcheck", &mut frame);
    frame.push(TRUE);
    let mut bytes = (frame.len() as u32).to_be_bytes().to_vec();
    bytes.append(&mut frame);
    bytes
}

/// AGENT-HELLO: an agent answers a check with its version, the size of its frames and what it can do.
pub(super) fn agent_hello(bytes: &[u8]) -> Option<Answered> {
    let mut reader = Reader(bytes);
    let len = reader.big_endian(4)?;
    let mut frame = Reader(reader.take(len)?);
    Some(match items(&mut frame) {
        Ok(()) => Answered::Well("SPOA server is ok".to_owned()),
        Err(text) => Answered::invalid(text),
    })
}

/// The error is in SPOP's words.
fn items(frame: &mut Reader<'_>) -> Result<(), &'static str> {
    const INVALID: &str = "invalid frame received";
    match frame.byte() {
        Some(AGENT_HELLO) => {}
        Some(AGENT_DISCONNECT) => return Err("unknown error"),
        _ => return Err(INVALID),
    }
    let flags = frame.big_endian(4).ok_or(INVALID)?;
    if flags & FIN as usize == 0 {
        return Err("fragmentation not supported");
    }
    if (read_number(frame), read_number(frame)) != (Some(0), Some(0)) {
        return Err(INVALID);
    }
    let (mut version, mut size, mut capabilities) = (false, false, false);
    while !frame.0.is_empty() {
        let key = read_name(frame).ok_or(INVALID)?;
        let value = read_value(frame).ok_or(INVALID)?;
        match (key, value) {
            (b"version", Value::String(text)) => {
                // `2.0` may have blanks around it.
                if text.trim_ascii() != VERSION {
                    return Err("unsupported version");
                }
                version = true;
            }
            (b"max-frame-size", Value::Number(bytes)) => {
                if !(FRAME_MIN..=FRAME_MAX).contains(&bytes) {
                    return Err("max-frame-size too big or too small");
                }
                size = true;
            }
            (b"capabilities", Value::String(_)) => capabilities = true,
            (b"version" | b"max-frame-size" | b"capabilities", _) => return Err(INVALID),
            _ => {}
        }
    }
    match (version, size, capabilities) {
        (false, ..) => Err("version value not found"),
        (_, false, _) => Err("max-frame-size value not found"),
        (.., false) => Err("capabilities value not found"),
        _ => Ok(()),
    }
}

enum Value<'b> {
    Number(u64),
    String(&'b [u8]),
    Other,
}

fn read_value<'b>(frame: &mut Reader<'b>) -> Option<Value<'b>> {
    Some(match frame.byte()? & TYPE {
        0 | 1 => Value::Other,
        2..=5 => Value::Number(read_number(frame)?),
        6 => frame.take(4).map(|_| Value::Other)?,
        7 => frame.take(16).map(|_| Value::Other)?,
        STRING => Value::String(read_name(frame)?),
        9 => read_name(frame).map(|_| Value::Other)?,
        _ => return None,
    })
}

fn read_name<'b>(frame: &mut Reader<'b>) -> Option<&'b [u8]> {
    let len = read_number(frame)?;
    frame.take(usize::try_from(len).ok()?)
}

/// Below 240 a number is one byte. Above, that byte has four bits and each that follows seven, as long as their highest
/// is set.
fn read_number(frame: &mut Reader<'_>) -> Option<u64> {
    let mut value = u64::from(frame.byte()?);
    if value < 240 {
        return Some(value);
    }
    for shift in (4..60).step_by(7) {
        let byte = u64::from(frame.byte()?);
        value += byte << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

fn number(value: u64, out: &mut Vec<u8>) {
    if value < 240 {
        out.push(value as u8);
        return;
    }
    out.push(value as u8 | 240);
    let mut rest = (value - 240) >> 4;
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest = (rest - 128) >> 7;
    }
    out.push(rest as u8);
}

fn name(text: &[u8], out: &mut Vec<u8>) {
    number(text.len() as u64, out);
    out.extend_from_slice(text);
}

const HAPROXY_HELLO: u8 = 1;
const AGENT_HELLO: u8 = 101;
const AGENT_DISCONNECT: u8 = 102;
/// The frame is not cut in pieces.
const FIN: u32 = 1;
const VERSION: &[u8] = b"2.0";
const TYPE: u8 = 0x0f;
const UINT32: u8 = 3;
const STRING: u8 = 8;
/// A boolean with the flag that it holds.
const TRUE: u8 = 0x11;
/// 16 KiB without the length.
const FRAME_MAX: u64 = 16380;
const FRAME_MIN: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for value in [0, 239, 240, 2287, 2288, 16380, 264_431, 264_432, u64::from(u32::MAX)] {
            let mut bytes = Vec::new();
            number(value, &mut bytes);
            let mut reader = Reader(&bytes);
            assert_eq!((read_number(&mut reader), reader.0.len()), (Some(value), 0), "{value}");
        }
    }

    #[test]
    fn hello_is_one_frame() {
        let hello = hello();
        assert_eq!((hello.len(), hello[3]), (82, 78));
        assert_eq!(&hello[4..11], b"\x01\0\0\0\x01\0\0");
        let size = b"\x0emax-frame-size\x03\xfc\xf0\x06";
        assert!(hello.windows(size.len()).any(|window| window == size));
    }
}
