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
    let (words, rest) = bytes.as_chunks::<8>();
    let bad = words.iter().fold(0, |bad, &chunk| bad | controls(u64::from_le_bytes(chunk)));
    let tail = match bytes.last_chunk::<8>() {
        Some(&chunk) => controls(u64::from_le_bytes(chunk)),
        None => u64::from(rest.iter().fold(false, |bad, &b| bad | (b < 0x20) | (b == 0x7f))),
    };
    bad | tail != 0
}

/// The index of the first byte from `from` on that is below 0x20 (HTAB included) or DEL.
#[inline]
pub(crate) fn find_control(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(word) = word_at(bytes, at) {
        let found = controls(word);
        if found != 0 {
            return Some(at + first_byte(found));
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|&b| b < b' ' || b == 0x7f).map(|offset| at + offset)
}

/// The end of the token that begins at `from`.
#[inline]
pub(crate) fn token_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    // Nearly all names end with a colon and are of letters, digits and hyphens. Where the colon
    // is does not wait for what is before it; the table knows the rest.
    while let Some(word) = word_at(bytes, at) {
        let colon = equal(word, b':');
        let before = (colon & colon.wrapping_neg()) >> 7;
        if unusual_in_tokens(word) & before.wrapping_sub(1) != 0 {
            break;
        }
        if colon != 0 {
            return at + first_byte(colon);
        }
        at += 8;
    }
    while let Some(&b) = bytes.get(at)
        && TOKEN[usize::from(b)] != 0
    {
        at += 1;
    }
    at
}

/// The end of the token that begins at `from`, whose letters become lower case unless `keep_case`: [`token_end`] and
/// [`lower`] in one pass.
#[inline(always)]
pub(crate) fn read_token(bytes: &mut [u8], from: usize, keep_case: bool) -> usize {
    let mut at = from;
    while let Some(word) = word_at(bytes, at) {
        let letters = letters(word);
        let colon = equal(word, b':');
        let before = ((colon & colon.wrapping_neg()) >> 7).wrapping_sub(1);
        if !(letters | digits_and_hyphens(word)) & HIGH & before != 0 {
            break;
        }
        // Small letters have this bit; the highest of their byte is marked.
        let upper = letters & !(word << 2) & before;
        if upper != 0 && !keep_case {
            bytes[at..at + 8].copy_from_slice(&(word | upper >> 2).to_le_bytes());
        }
        if colon != 0 {
            return at + first_byte(colon);
        }
        at += 8;
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

/// Makes ASCII letters lower case, from `from` to before `to`. Only words that change are written:
/// reading bytes again that were just written with another width takes a processor long.
#[inline]
pub(crate) fn lower(bytes: &mut [u8], from: usize, to: usize) {
    let mut at = from;
    while at < to {
        let Some(word) = word_at(bytes, at) else {
            bytes[at..to].make_ascii_lowercase();
            return;
        };
        let behind = 64 - 8 * (to - at).min(8) as u32;
        let upper = in_range(word, b'A', b'Z') & (u64::MAX >> behind);
        if upper != 0 {
            bytes[at..at + 8].copy_from_slice(&(word | upper >> 2).to_le_bytes());
        }
        at += 8;
    }
}

// Eight bytes at a time, in a word whose lowest byte is the first. A result has the highest bit of
// each byte that is meant. `controls` and `equal` are exact up to the first byte they find, the
// others for every byte.

const ONES: u64 = u64::MAX / 0xff;
const HIGH: u64 = 0x80 * ONES;

#[inline(always)]
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|&chunk| u64::from_le_bytes(chunk))
}

/// The index of the first byte that is marked.
#[inline(always)]
fn first_byte(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

#[inline(always)]
fn equal(word: u64, b: u8) -> u64 {
    let zero = word ^ (u64::from(b) * ONES);
    zero.wrapping_sub(ONES) & !zero & HIGH
}

#[inline(always)]
fn controls(word: u64) -> u64 {
    (word.wrapping_sub(0x20 * ONES) & !word & HIGH) | equal(word, 0x7f)
}

#[inline(always)]
fn in_range(word: u64, first: u8, last: u8) -> u64 {
    let low = word & !HIGH; // so that no sum carries into the next byte
    let from_first = low + u64::from(0x80 - first) * ONES;
    let after_last = low + u64::from(0x7f - last) * ONES;
    from_first & !after_last & !word & HIGH
}

/// Bytes other than letters, digits and hyphens.
#[inline(always)]
fn unusual_in_tokens(word: u64) -> u64 {
    !(letters(word) | digits_and_hyphens(word)) & HIGH
}

#[inline(always)]
fn letters(word: u64) -> u64 {
    in_range(word | (0x20 * ONES), b'a', b'z')
}

#[inline(always)]
fn digits_and_hyphens(word: u64) -> u64 {
    in_range(word, b'0', b'9') | in_range(word, b'-', b'-')
}

/// How many bytes from the first on are surely letters, digits, hyphens or dots; in steps of eight.
#[inline]
pub(crate) fn usual_in_names(bytes: &[u8]) -> usize {
    let usual = |chunk: &&[u8; 8]| {
        let word = u64::from_le_bytes(**chunk);
        // The slash lies between.
        let others = in_range(word, b'-', b'9') & !in_range(word, b'/', b'/');
        (letters(word) | others) == HIGH
    };
    8 * bytes.as_chunks::<8>().0.iter().take_while(usual).count()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_of_bytes_what_single_bytes_tell() {
        for b in 0..=255u8 {
            for at in 0..20 {
                let mut text = *b"Some-Name-1of20Bytes: and a value of some length";
                text[at] = b;
                let find = |is: &dyn Fn(u8) -> bool| text.iter().position(|&b| is(b));
                let control = |b| b < b' ' || b == 0x7f;
                assert_eq!(find_control(&text, 0), find(&control), "{b} at {at}");
                assert_eq!(may_have_control(&text), find(&control).is_some(), "{b} at {at}");
                let end = find(&|b| TOKEN[usize::from(b)] == 0).unwrap_or(text.len());
                assert_eq!(token_end(&text, 0), end, "{b} at {at}");
                assert!(usual_in_names(&text) <= end, "{b} at {at}");
                let mut read = text;
                assert_eq!(read_token(&mut read, 0, true), end, "{b} at {at}");
                assert_eq!(read, text, "{b} at {at}");
                assert_eq!(read_token(&mut read, 0, false), end, "{b} at {at}");
                let mut expected = text;
                expected[..end].make_ascii_lowercase();
                assert_eq!(read, expected, "{b} at {at}");
                let mut expected = text;
                expected[3..at.max(3)].make_ascii_lowercase();
                lower(&mut text, 3, at);
                assert_eq!(text, expected, "{b} at {at}");
            }
        }
    }
}
