//! gRPC's own health check: `grpc.health.v1.Health/Check` over HTTP/2 without TLS (RFC 9113, with prior knowledge).
//!
//! One request on one connection needs no state of HTTP/2: everything is sent at once, and of the answer only the frames
//! matter that carry the message or say that there is none. Header blocks are not read, so that a service that is not
//! known is told from one that is not healthy by the absence of a message.

use super::{Answered, Reader};

/// All that is said for the service of that name; the empty name is the server as a whole.
pub(crate) fn request(service: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, a string.
        message.push(0x0a);
        varint(service.len(), &mut message);
        message.extend_from_slice(service);
    }
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.append(&mut message);
    let mut out = PREFACE.to_vec();
    frame(SETTINGS, 0, 0, &[], &mut out);
    frame(HEADERS, END_HEADERS, 1, HEADER_BLOCK, &mut out);
    frame(DATA, END_STREAM, 1, &body, &mut out);
    out
}

pub(super) fn answer(bytes: &[u8]) -> Option<Answered> {
    let invalid = |text| Some(Answered::invalid(text));
    let mut reader = Reader(bytes);
    let mut body = Vec::new();
    let mut first = true;
    loop {
        if first && !bytes.is_empty() && bytes.get(3).is_some_and(|kind| *kind != SETTINGS) {
            return invalid("not HTTP/2");
        }
        let len = reader.big_endian(3)?;
        if len > FRAME_MAX {
            return invalid("not HTTP/2");
        }
        let (kind, flags, stream) = (reader.byte()?, reader.byte()?, reader.big_endian(4)?);
        let payload = reader.take(len)?;
        first = false;
        match (kind, stream) {
            (DATA, 1) => body.extend_from_slice(unpadded(payload, flags)),
            (RST_STREAM, 1) => return invalid("the stream was reset"),
            (GOAWAY, _) => return invalid("the server refuses requests"),
            _ => {}
        }
        if let Some(status) = status(&body) {
            return Some(judged(status));
        }
        let ends = matches!(kind, DATA | HEADERS) && stream == 1 && flags & END_STREAM != 0;
        if ends {
            return invalid("no answer: the service is not known, or health is not served");
        }
    }
}

fn judged(status: u64) -> Answered {
    let text = match status {
        0 => "UNKNOWN",
        1 => return Answered::Well("SERVING".to_owned()),
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "a status that there is not",
    };
    Answered::refused(u16::try_from(status).unwrap_or(u16::MAX), text)
}

/// The status in a whole message; a message without one means 0.
fn status(body: &[u8]) -> Option<u64> {
    let mut reader = Reader(body);
    reader.byte()?;
    let len = reader.big_endian(4)?;
    let message = reader.take(len)?;
    // Field 1, a number; it is the only field that there is.
    Some(match message {
        [0x08, number, ..] => u64::from(number & 0x7f),
        _ => 0,
    })
}

fn unpadded(payload: &[u8], flags: u8) -> &[u8] {
    match payload {
        [padding, rest @ ..] if flags & PADDED != 0 => {
            rest.get(..rest.len().saturating_sub(usize::from(*padding))).unwrap_or_default()
        }
        payload => payload,
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `:method POST`, `:scheme http`, and literals that nobody needs to remember (RFC 7541, section 6.2.2).
const HEADER_BLOCK: &[u8] = b"\x83\x86\
    \x04\x1c/grpc.health.v1.Health/Check\
    \x01\x09localhost\
    \x0f\x10\x10application/grpc\
    \x00\x02te\x08trailers";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// The largest frame that may come: nothing larger was allowed.
const FRAME_MAX: usize = 16384;

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames as `kind flags stream payload`, and what comes of them.
    #[track_caller]
    fn check(frames: &[(u8, u8, u32, &[u8])], expected: &str) {
        let mut bytes = Vec::new();
        for (kind, flags, stream, payload) in frames {
            frame(*kind, *flags, *stream, payload, &mut bytes);
        }
        let told = |answer: Option<Answered>| match answer {
            None => "wait".to_owned(),
            Some(Answered::Wait) => "wait".to_owned(),
            Some(Answered::Well(text)) => format!("ok: {text}"),
            Some(Answered::Badly(finding)) => {
                format!("{} {}: {}", finding.status.name(), finding.code, finding.text)
            }
        };
        assert_eq!(told(answer(&bytes)), expected);
        for end in 0..bytes.len() {
            _ = answer(&bytes[..end]);
        }
    }

    #[test]
    fn the_request_is_what_grpc_expects() {
        assert_eq!(HEADER_BLOCK[3], 28);
        let whole = request(b"");
        assert!(whole.starts_with(PREFACE));
        assert!(whole.ends_with(b"\x00\x00\x05\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00"));
        assert!(request(b"shop").ends_with(b"\x00\x00\x00\x00\x06\x0a\x04shop"));
        let long = request(&[b'x'; 300]);
        assert!(long.windows(3).any(|window| window == b"\x0a\xac\x02"));
    }

    #[test]
    fn answers_are_read_frame_by_frame() {
        let settings = (SETTINGS, 0, 0, &b""[..]);
        let headers = (HEADERS, END_HEADERS, 1, &b"\x88"[..]);
        fn data(payload: &[u8]) -> (u8, u8, u32, &[u8]) {
            (DATA, 0, 1, payload)
        }
        let serving = b"\x00\x00\x00\x00\x02\x08\x01";
        check(&[settings, headers, data(serving)], "ok: SERVING");
        check(&[settings, headers, data(b"\0\0\0\0\x02\x08\x02")], "L7STS 2: NOT_SERVING");
        check(&[settings, headers, data(b"\0\0\0\0\x02\x08\x03")], "L7STS 3: SERVICE_UNKNOWN");
        check(&[settings, headers, data(b"\0\0\0\0\0")], "L7STS 0: UNKNOWN");
        check(&[settings, headers, data(&serving[..4])], "wait");
        check(&[settings, headers, data(&serving[..4]), data(&serving[4..])], "ok: SERVING");
        let padded = [&b"\x03"[..], serving, b"\0\0\0"].concat();
        check(&[settings, headers, (DATA, PADDED, 1, &padded)], "ok: SERVING");
        // Others' streams and pings do not matter.
        check(&[settings, (6, 0, 0, &[0; 8]), (DATA, 0, 3, serving)], "wait");
        let refused = "L7RSP 0: no answer: the service is not known, or health is not served";
        check(&[settings, (HEADERS, END_HEADERS | END_STREAM, 1, b"\x88")], refused);
        check(&[settings, (RST_STREAM, 0, 1, &[0; 4])], "L7RSP 0: the stream was reset");
        check(&[settings, (GOAWAY, 0, 0, &[0; 8])], "L7RSP 0: the server refuses requests");
        check(&[headers], "L7RSP 0: not HTTP/2");
        let http1 = answer(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert_eq!(http1, Some(Answered::invalid("not HTTP/2")));
    }
}
