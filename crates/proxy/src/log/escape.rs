//! How values are written into a line: numbers, and text whose awkward bytes are encoded.

/// A set of bytes.
pub(crate) struct ByteSet([bool; 256]);

/// Encoded in captured headers: controls, bytes above 126, and what delimits them in the line.
pub(crate) static HEADER: ByteSet = ByteSet::controls_and(b"\"#{|}");
/// Encoded in the request line and its parts.
pub(crate) static URI: ByteSet = ByteSet::controls_and(b"\"#");
/// Encoded in samples that become header values: whatever a field value may not hold (RFC 9110, 5.5).
pub(crate) static FIELD_VALUE: ByteSet = ByteSet::field_value();
/// Escaped with a backslash by the flag `E` (RFC 5424, 6.3.3).
static STRUCTURED: ByteSet = ByteSet([false; 256]).with(b"\"\\]");

impl ByteSet {
    const fn controls_and(bytes: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            set[byte] = byte < 32 || byte >= 127;
            byte += 1;
        }
        Self(set).with(bytes)
    }

    const fn field_value() -> Self {
        let mut set = [false; 256];
        let mut byte = 0;
        while byte < 32 {
            set[byte] = byte != 9;
            byte += 1;
        }
        set[127] = true;
        Self(set)
    }

    const fn with(mut self, bytes: &[u8]) -> Self {
        let mut index = 0;
        while index < bytes.len() {
            self.0[bytes[index] as usize] = true;
            index += 1;
        }
        self
    }

    /// Whether any of the bytes is in the set.
    pub(crate) fn any_in(&self, text: &[u8]) -> bool {
        text.iter().any(|&byte| self.has(byte))
    }

    fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

/// Writes `text` with each byte of `set` as `mark` and two hexadecimal digits.
pub(crate) fn encoded(text: &[u8], mark: u8, set: &ByteSet, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(plain) = rest.iter().position(|&byte| set.has(byte)) {
        out.extend_from_slice(&rest[..plain]);
        let byte = rest[plain];
        out.extend_from_slice(&[mark, digit(byte >> 4), digit(byte & 15)]);
        rest = &rest[plain + 1..];
    }
    out.extend_from_slice(rest);
}

/// As [`encoded`], then a backslash before each quote, backslash and closing bracket that is left.
pub(crate) fn encoded_and_escaped(text: &[u8], mark: u8, set: &ByteSet, out: &mut Vec<u8>) {
    for &byte in text {
        if set.has(byte) {
            out.extend_from_slice(&[mark, digit(byte >> 4), digit(byte & 15)]);
        } else {
            escaped(&[byte], out);
        }
    }
}

/// Writes `text` with a backslash before each quote, backslash and closing bracket.
pub(crate) fn escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(plain) = rest.iter().position(|&byte| STRUCTURED.has(byte)) {
        out.extend_from_slice(&rest[..plain]);
        out.extend_from_slice(&[b'\\', rest[plain]]);
        rest = &rest[plain + 1..];
    }
    out.extend_from_slice(rest);
}

/// Writes a number in decimal.
pub(crate) fn unsigned(number: u64, out: &mut Vec<u8>) {
    // Most numbers of a line have one digit.
    if number < 10 {
        out.push(b'0' + number as u8);
    } else {
        padded(number, 1, out);
    }
}

/// Writes the last two digits of a number.
pub(crate) fn pair(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
}

/// Writes a number in decimal.
pub(crate) fn signed(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    unsigned(number.unsigned_abs(), out);
}

/// Writes a number in decimal with at least `width` digits (at most 20).
pub(crate) fn padded(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    let mut left = number;
    while left > 0 {
        start -= 1;
        digits[start] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    out.extend_from_slice(&digits[start.min(digits.len() - width)..]);
}

/// Writes a number in hexadecimal with at least `width` digits (at most 16).
pub(crate) fn hexadecimal(number: u64, width: usize, out: &mut Vec<u8>) {
    let needed = (64 - number.leading_zeros() as usize).div_ceil(4);
    for place in (0..needed.max(width)).rev() {
        out.push(digit((number >> (4 * place)) as u8 & 15));
    }
}

fn digit(nibble: u8) -> u8 {
    b"0123456789ABCDEF"[nibble as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        #[track_caller]
        fn check(expected: &str, write: impl FnOnce(&mut Vec<u8>)) {
            let mut out = Vec::new();
            write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        check("0", |out| unsigned(0, out));
        check("18446744073709551615", |out| unsigned(u64::MAX, out));
        check("-1", |out| signed(-1, out));
        check("-9223372036854775808", |out| signed(i64::MIN, out));
        check("007", |out| padded(7, 3, out));
        check("12345", |out| padded(12345, 3, out));
        check("0000", |out| hexadecimal(0, 4, out));
        check("6B006063", |out| hexadecimal(0x6B00_6063, 4, out));
        check("FFFFFFFFFFFFFFFF", |out| hexadecimal(u64::MAX, 4, out));
    }
}
