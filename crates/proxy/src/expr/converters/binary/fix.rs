//! Messages of the Financial Information eXchange protocol: `tag=value` pairs, each ended by SOH.
//!
//! Source: FIX Trading Community, "FIX TagValue encoding".

use super::Found;

const SOH: u8 = 1;
const BEGIN_STRING: u32 = 8;
const BODY_LENGTH: u32 = 9;
const CHECK_SUM: u32 = 10;
const MSG_TYPE: u32 = 35;
/// `8=FIX.4.0|9=1|35=A|10=000|`
const MESSAGE_LEN_MIN: usize = 26;

/// Versions, and the largest tag of each.
const VERSIONS: [(&[u8], u32); 6] = [
    (b"FIX.4.0", 140),
    (b"FIX.4.1", 211),
    (b"FIX.4.2", 446),
    (b"FIX.4.3", 659),
    (b"FIX.4.4", 956),
    // 5.0 says its version elsewhere.
    (b"FIXT.1.1", 1621),
];

/// The number of a tag, by number or name.
pub(super) fn tag(text: &[u8]) -> Option<u32> {
    Some(match text {
        b"BeginString" => BEGIN_STRING,
        b"BodyLength" => BODY_LENGTH,
        b"CheckSum" => CHECK_SUM,
        b"MsgType" => MSG_TYPE,
        b"SenderCompID" => 49,
        b"TargetCompID" => 56,
        number => number_of(number).filter(|&tag| tag > 0)?,
    })
}

/// Whether a message stands at the start: its frame in order, its length and its sum right.
pub(super) fn validate(message: &[u8]) -> Found<()> {
    if message.len() < MESSAGE_LEN_MIN {
        return Found::Incomplete;
    }
    let mut largest = u32::MAX;
    let mut body_len = 0;
    let mut body_start = 0;
    let mut at = 0;
    for place in 0.. {
        let (tag, value, end) = match next(message, at) {
            Found::Value(pair) => pair,
            Found::Incomplete => return Found::Incomplete,
            Found::Nothing => return Found::Nothing,
        };
        if tag > largest && !(10_000..20_000).contains(&tag) {
            return Found::Nothing;
        }
        match (place, tag) {
            (0, BEGIN_STRING) => match VERSIONS.iter().find(|(version, _)| *version == value) {
                Some((_, last)) => largest = *last,
                None => return Found::Nothing,
            },
            (1, BODY_LENGTH) => match number_of(value) {
                Some(len) if len > 0 => (body_len, body_start) = (len as usize, end),
                _ => return Found::Nothing,
            },
            (2, MSG_TYPE) => {}
            (0..=2, _) => return Found::Nothing,
            (_, CHECK_SUM) => {
                let sum = message[..at].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
                let in_order = at - body_start == body_len
                    && value.len() == 3
                    && number_of(value) == Some(sum.into());
                return if in_order { Found::Value(()) } else { Found::Nothing };
            }
            _ => {}
        }
        at = end;
        if at == message.len() {
            return Found::Incomplete;
        }
    }
    Found::Nothing
}

/// The value of a tag.
pub(super) fn value_of(message: &[u8], wanted: u32) -> Found<&[u8]> {
    let mut at = 0;
    while at < message.len() {
        match next(message, at) {
            Found::Value((tag, value, _)) if tag == wanted => return Found::Value(value),
            Found::Value((CHECK_SUM, ..)) | Found::Nothing => return Found::Nothing,
            Found::Value((_, _, end)) => at = end,
            Found::Incomplete => return Found::Incomplete,
        }
    }
    Found::Incomplete
}

/// The pair at `at`: its tag, its value, and where the next one begins.
fn next(message: &[u8], at: usize) -> Found<(u32, &[u8], usize)> {
    let rest = &message[at..];
    let Some(end) = memchr::memchr(SOH, rest) else { return Found::Incomplete };
    let Some(equals) = memchr::memchr(b'=', &rest[..end]) else { return Found::Nothing };
    match number_of(&rest[..equals]).filter(|&tag| tag > 0) {
        Some(tag) if equals + 1 < end => Found::Value((tag, &rest[equals + 1..end], at + end + 1)),
        _ => Found::Nothing,
    }
}

fn number_of(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGON: &str = "8=FIX.4.0|9=70|35=A|49=CLIENT1|56=EXECUTOR|34=1|52=20201029-10:54:19.617|98=0|108=30|10=090|";

    #[track_caller]
    fn check(message: &str, expected: Found<()>) {
        assert_eq!(validate(message.replace('|', "\x01").as_bytes()), expected);
    }

    #[test]
    fn messages_are_checked() {
        check(LOGON, Found::Value(()));
        check(&LOGON.replace("|98=0", "|=0"), Found::Nothing);
        check(&LOGON.replace("10=090", "10=091"), Found::Nothing);
        check(&LOGON.replace("9=70", "9=71"), Found::Nothing);
        check(&LOGON.replace("FIX.4.0", "FIX.9.0"), Found::Nothing);
        check(&LOGON[..LOGON.len() - 1], Found::Incomplete);
        let message = LOGON.replace('|', "\x01");
        assert_eq!(value_of(message.as_bytes(), 49), Found::Value(b"CLIENT1".as_slice()));
        assert_eq!(value_of(message.as_bytes(), 50), Found::Nothing);
    }
}
