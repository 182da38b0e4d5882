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

/// The index of the first byte from `from` on that is below 0x20 (HTAB included) or DEL.
#[inline(never)]
pub(crate) fn find_control(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    let mut rest = bytes.get(from..)?;
    while let Some((chunk, after)) = rest.split_first_chunk() {
        let lane = first_lane(chunk, |b| (b < b' ') | (b == 0x7f));
        if lane < LANES {
            return Some(at + lane);
        }
        at += LANES;
        rest = after;
    }
    rest.iter().position(|&b| b < b' ' || b == 0x7f).map(|offset| at + offset)
}

/// Makes the token that begins at `from` lower case, unless its case is kept; returns its end.
#[inline(always)]
pub(crate) fn lower_name(bytes: &mut [u8], from: usize, keep_case: bool) -> usize {
    let mut at = from;
    // Letters, digits and hyphens make up nearly all names; the table knows the rest.
    while let Some(chunk) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        let end = usual_in_names(chunk);
        if !keep_case {
            lower_lanes(chunk, end);
        }
        at += end;
        if end < LANES {
            break;
        }
    }
    while let Some(b) = bytes.get_mut(at)
        && TOKEN[usize::from(*b)] != 0
    {
        if !keep_case {
            *b = TOKEN[usize::from(*b)];
        }
        at += 1;
    }
    at
}

/// How many bytes are looked at together. The loops over [`Lanes`] have a fixed length and no
/// branch for single bytes, so that compilers make a few vector instructions of each. They do so
/// in small functions (hence `inline(never)`) and if the result is looked at as one integer. When
/// touching any of it, count instructions with `benches/src/heads.rs`.
const LANES: usize = 16;

type Lanes = [u8; LANES];

/// The index of the first byte that `is` holds for; `LANES` if there is none.
#[inline(always)]
fn first_lane(chunk: &Lanes, is: impl Fn(u8) -> bool) -> usize {
    let mut lanes = [0; LANES];
    for (lane, &b) in lanes.iter_mut().zip(chunk) {
        *lane = if is(b) { 0xff } else { 0 };
    }
    u128::from_le_bytes(lanes).trailing_zeros() as usize / 8
}

/// How many bytes at the front are letters, digits or hyphens.
#[inline(never)]
fn usual_in_names(chunk: &Lanes) -> usize {
    first_lane(chunk, |b| {
        let letter = (b | 0x20).wrapping_sub(b'a') < 26;
        let digit = b.wrapping_sub(b'0') < 10;
        !(letter | digit | (b == b'-'))
    })
}

/// Makes the lanes before `end` lower case, all of them letters, digits or hyphens: the bit has
/// no effect on the latter two.
#[inline(always)]
fn lower_lanes(chunk: &mut Lanes, end: usize) {
    static BITS: [Lanes; LANES + 1] = {
        let mut bits = [[0; LANES]; LANES + 1];
        let mut end = 0;
        while end <= LANES {
            let mut lane = 0;
            while lane < end {
                bits[end][lane] = 0x20;
                lane += 1;
            }
            end += 1;
        }
        bits
    };
    for (b, bit) in chunk.iter_mut().zip(&BITS[end.min(LANES)]) {
        *b |= bit;
    }
}

/// Whether `text` is `word` but for case. `word` is of lower-case letters, digits and hyphens, and
/// `text` has no control bytes, so one bit is all that may differ.
#[inline(always)]
pub(crate) fn is_word<const N: usize>(text: &[u8], word: &[u8; N]) -> bool {
    <&[u8; N]>::try_from(text).is_ok_and(|text| {
        text.iter().zip(word).fold(0, |bits, (a, b)| bits | ((a | 0x20) ^ b)) == 0
    })
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
    // Nineteen digits cannot overflow.
    let (few, rest) = bytes.split_at(bytes.len().min(19));
    let mut n = 0;
    for b in few {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n = n * 10 + u64::from(digit);
    }
    rest.iter().try_fold(n, |n, &b| {
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
