//! Numbers, times and sizes, whole words only: `508x` is an error (HAProxy reads 508).

use std::ops::RangeInclusive;
use std::time::Duration;

/// Why a word is not the value it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// It does not start with a digit.
    NotANumber,
    /// What stands from this byte on does not belong to it.
    Trailing { at: usize },
    /// Too large for the type, or out of the given range.
    OutOfRange,
}

/// A decimal integer with optional sign in `range`.
pub fn parse_integer(text: &str, range: RangeInclusive<i64>) -> Result<i64, ValueError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (value, rest) = digits_of(digits);
    if rest.len() == digits.len() {
        return Err(ValueError::NotANumber);
    }
    if !rest.is_empty() {
        return Err(ValueError::Trailing { at: text.len() - rest.len() });
    }
    let value = value.and_then(|value| i64::try_from(value).ok()).ok_or(ValueError::OutOfRange)?;
    let value = if negative { -value } else { value };
    if range.contains(&value) { Ok(value) } else { Err(ValueError::OutOfRange) }
}

/// A time; `unit` is that of a number without suffix. At most 2^31 - 1 ms (24.8 days), HAProxy's
/// limit for timers.
pub fn parse_duration(text: &str, unit: Duration) -> Result<Duration, ValueError> {
    let time = parse_time(text, unit)?;
    if time > TIMER_MAX { Err(ValueError::OutOfRange) } else { Ok(time) }
}

/// A time without the limit of timers: ages, expiries.
pub fn parse_time(text: &str, unit: Duration) -> Result<Duration, ValueError> {
    let (value, suffix) = digits_of(text);
    if suffix.len() == text.len() {
        return Err(ValueError::NotANumber);
    }
    let unit = match suffix {
        "" => unit,
        "us" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        "d" => Duration::from_secs(86400),
        _ => {
            let known = match suffix.as_bytes() {
                [b'u' | b'm', b's', ..] => 2,
                [b's' | b'm' | b'h' | b'd', ..] => 1,
                _ => 0,
            };
            return Err(ValueError::Trailing { at: text.len() - suffix.len() + known });
        }
    };
    let nanos = value.and_then(|value| u128::from(value).checked_mul(unit.as_nanos()));
    let nanos = nanos.ok_or(ValueError::OutOfRange)?;
    let secs = u64::try_from(nanos / 1_000_000_000).map_err(|_| ValueError::OutOfRange)?;
    Ok(Duration::new(secs, (nanos % 1_000_000_000) as u32))
}

/// A number of bytes with an optional `k`, `m` or `g` (powers of 1024), at most 2^32 - 1, as in
/// HAProxy.
pub fn parse_size(text: &str) -> Result<u64, ValueError> {
    let (value, suffix) = digits_of(text);
    if suffix.len() == text.len() {
        return Err(ValueError::NotANumber);
    }
    let factor = match suffix.as_bytes() {
        [] => 1,
        [b'k' | b'K'] => 1 << 10,
        [b'm' | b'M'] => 1 << 20,
        [b'g' | b'G'] => 1 << 30,
        other => {
            let known = usize::from(matches!(other[0], b'k' | b'K' | b'm' | b'M' | b'g' | b'G'));
            return Err(ValueError::Trailing { at: text.len() - suffix.len() + known });
        }
    };
    value
        .and_then(|value| value.checked_mul(factor))
        .filter(|value| *value <= u64::from(u32::MAX))
        .ok_or(ValueError::OutOfRange)
}

/// The first character that HAProxy does not allow in the name of a section or server.
pub fn invalid_name_char(name: &str) -> Option<char> {
    name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | ':' | '_' | '-'))
}

/// The value of the digits at the start (`None` beyond 64 bits), and what follows them.
fn digits_of(text: &str) -> (Option<u64>, &str) {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    (text[..len].parse().ok(), &text[len..])
}

const TIMER_MAX: Duration = Duration::from_millis(i32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;
    use ValueError::*;

    #[test]
    fn integers() {
        let check = |text, expected| assert_eq!(parse_integer(text, -5..=508), expected, "{text}");
        check("508", Ok(508));
        check("+5", Ok(5));
        check("-5", Ok(-5));
        check("-6", Err(OutOfRange));
        check("509", Err(OutOfRange));
        check("99999999999999999999", Err(OutOfRange));
        check("508x", Err(Trailing { at: 3 }));
        check("-5 ", Err(Trailing { at: 2 }));
        check("", Err(NotANumber));
        check("-", Err(NotANumber));
        check("x1", Err(NotANumber));
        check("\u{663}", Err(NotANumber));
    }

    #[test]
    fn times() {
        let ms = Duration::from_millis;
        let check = |text, expected| assert_eq!(parse_duration(text, ms(1)), expected, "{text}");
        check("5000", Ok(ms(5000)));
        check("10us", Ok(Duration::from_micros(10)));
        check("10ms", Ok(ms(10)));
        check("10s", Ok(ms(10_000)));
        check("2m", Ok(ms(120_000)));
        check("1h", Ok(ms(3_600_000)));
        check("24d", Ok(ms(2_073_600_000)));
        check("25d", Err(OutOfRange));
        check("2147483647", Ok(ms(2_147_483_647)));
        check("2147483648", Err(OutOfRange));
        check("99999999999999999999d", Err(OutOfRange));
        check("18446744073709551615d", Err(OutOfRange));
        check("10x", Err(Trailing { at: 2 }));
        check("10sec", Err(Trailing { at: 3 }));
        check("10min", Err(Trailing { at: 3 }));
        check("10 s", Err(Trailing { at: 2 }));
        check("s", Err(NotANumber));
        check("-1s", Err(NotANumber));
        assert_eq!(parse_duration("5", Duration::from_secs(1)), Ok(ms(5000)));
        assert_eq!(parse_time("365d", ms(1)), Ok(Duration::from_secs(365 * 86400)));
    }

    #[test]
    fn sizes() {
        let check = |text, expected| assert_eq!(parse_size(text), expected, "{text}");
        check("16384", Ok(16384));
        check("16k", Ok(16384));
        check("1M", Ok(1 << 20));
        check("3g", Ok(3 << 30));
        check("4g", Err(OutOfRange));
        check("4294967295", Ok(4_294_967_295));
        check("4294967296", Err(OutOfRange));
        check("16kb", Err(Trailing { at: 3 }));
        check("16b", Err(Trailing { at: 2 }));
        check("k", Err(NotANumber));
    }
}
