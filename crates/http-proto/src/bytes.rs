//! Byte classes of RFC 9110 and RFC 3986 as tables, and the loops over them.

/// Lower-case form of a `tchar` (RFC 9110, section 5.6.2); 0 for every other byte.
pub(crate) static TOKEN: [u8; 256] = {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        if c.is_ascii_alphanumeric()
            || matches!(
                c,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            table[b] = c.to_ascii_lowercase();
        }
        b += 1;
    }
    table
};

/// `unreserved / sub-delims / ":" / "@" / "/"` of RFC 3986: what a path and a query may hold
/// beside `?` and `%HH`.
pub(crate) const URI: u8 = 1;
/// What a registered name may hold beside `%HH`.
pub(crate) const REG_NAME: u8 = 2;
/// What an IP literal may hold between its brackets.
pub(crate) const IP_LITERAL: u8 = 4;

/// The classes of RFC 3986 that a byte belongs to.
pub(crate) static URI_CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        if c.is_ascii_alphanumeric()
            || matches!(
                c,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            )
        {
            table[b] = URI | REG_NAME | IP_LITERAL;
        } else if c == b':' {
            table[b] = URI | IP_LITERAL;
        } else if matches!(c, b'@' | b'/') {
            table[b] = URI;
        }
        b += 1;
    }
    table
};

/// Whether a byte may not stand in a field value: control bytes other than HTAB, and DEL.
#[inline]
pub(crate) const fn is_control(b: u8) -> bool {
    (b < 0x20 && b != b'\t') || b == 0x7f
}

/// Whether a byte below 0x20 (HTAB included) or DEL is among `bytes`; eight at a time, since
/// values are too short for wide vectors to pay.
#[inline]
pub(crate) fn may_have_control(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The classic tests for "a byte less than n" and "a byte equal to n" in a word: exact as to
    // whether there is one.
    let word = |x: u64| {
        let del = x ^ (0x7f * ONES);
        ((x.wrapping_sub(0x20 * ONES) & !x) | (del.wrapping_sub(ONES) & !del)) & HIGH
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let bad = words.iter().fold(0, |bad, &chunk| bad | word(u64::from_le_bytes(chunk)));
    let tail = match bytes.last_chunk::<8>() {
        Some(&chunk) => word(u64::from_le_bytes(chunk)),
        None => u64::from(rest.iter().fold(false, |bad, &b| bad | (b < 0x20) | (b == 0x7f))),
    };
    bad | tail != 0
}

/// Optional white space: SP and HTAB.
#[inline]
pub(crate) const fn is_ows(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// `bytes` without white space at either end.
#[inline]
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [first, rest @ ..] = bytes
        && is_ows(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_ows(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Parses `1*DIGIT` that fits in a `u64`.
pub(crate) fn parse_u64(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |n, &b| {
        b.is_ascii_digit().then_some(())?;
        n.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    })
}

/// Parses two hexadecimal digits.
pub(crate) fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let [high, low, ..] = bytes else { return None };
    Some((hex_digit(*high)? << 4) | hex_digit(*low)?)
}

/// The value of one hexadecimal digit.
#[inline]
pub(crate) const fn hex_digit(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

/// Appends `n` in decimal.
pub(crate) fn push_u64(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
