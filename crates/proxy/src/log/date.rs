//! Dates in the forms that log lines and syslog headers have.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use telamon_runtime::local_time::utc_offset_seconds;

use super::escape::{padded, pair, unsigned};

/// A moment of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Since 1970, UTC.
    pub(crate) seconds: i64,
    /// 0 to 999,999.
    pub(crate) micros: u32,
}

impl Stamp {
    pub(crate) fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The moment `ms` milliseconds before this one.
    pub(crate) fn minus_ms(self, ms: u32) -> Self {
        let micros = self.seconds * 1_000_000 + i64::from(self.micros) - i64::from(ms) * 1000;
        Self { seconds: micros.div_euclid(1_000_000), micros: micros.rem_euclid(1_000_000) as u32 }
    }

    pub(crate) fn millis(self) -> u32 {
        self.micros / 1000
    }

    /// `20/Nov/2026:14:59:45.821`, local time.
    pub(crate) fn write_log(self, out: &mut Vec<u8>) {
        Civil::local(self.seconds).write_clf(out);
        out.push(b'.');
        padded(u64::from(self.millis()), 3, out);
    }

    /// `20/Nov/2026:14:59:45.821034`, local time.
    pub(crate) fn write_log_micros(self, out: &mut Vec<u8>) {
        Civil::local(self.seconds).write_clf(out);
        out.push(b'.');
        padded(u64::from(self.micros), 6, out);
    }

    /// `20/Nov/2026:14:59:45 +0000`.
    pub(crate) fn write_gmt(self, out: &mut Vec<u8>) {
        Civil::at(self.seconds, 0).write_clf(out);
        out.extend_from_slice(b" +0000");
    }

    /// `20/Nov/2026:15:59:45 +0100`, local time.
    pub(crate) fn write_local(self, out: &mut Vec<u8>) {
        let civil = Civil::local(self.seconds);
        civil.write_clf(out);
        out.push(b' ');
        civil.write_offset("", out);
    }

    /// `Nov  3 14:59:45`, local time (RFC 3164, 4.1.2).
    pub(crate) fn write_rfc3164(self, out: &mut Vec<u8>) {
        let civil = Civil::local(self.seconds);
        out.extend_from_slice(civil.month_name());
        out.push(b' ');
        if civil.day < 10 {
            out.push(b' ');
        }
        unsigned(u64::from(civil.day), out);
        out.push(b' ');
        civil.write_time(out);
    }

    /// `2026-11-20T14:59:45.821000+00:00`, local time (RFC 5424, 6.2.3).
    pub(crate) fn write_iso(self, out: &mut Vec<u8>) {
        let civil = Civil::local(self.seconds);
        padded(civil.year.unsigned_abs(), 4, out);
        out.push(b'-');
        pair(civil.month, out);
        out.push(b'-');
        pair(civil.day, out);
        out.push(b'T');
        civil.write_time(out);
        out.push(b'.');
        padded(u64::from(self.micros), 6, out);
        civil.write_offset(":", out);
    }
}

impl From<SystemTime> for Stamp {
    fn from(time: SystemTime) -> Self {
        // A clock before 1970 is a broken clock; the line is worth more than its date.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            micros: since.subsec_micros(),
        }
    }
}

/// A date of the Gregorian calendar and a time of day.
struct Civil {
    year: i64,
    /// From 1.
    month: u32,
    /// From 1.
    day: u32,
    second_of_day: u32,
    offset: i32,
}

impl Civil {
    fn local(seconds: i64) -> Self {
        Self::at(seconds, local_offset(seconds))
    }

    fn at(seconds: i64, offset: i32) -> Self {
        let local = seconds + i64::from(offset);
        // Counted in years that begin in March, so that the leap day is the last of its year, and in eras of 400 years,
        // all of which have the same number of days.
        let days = local.div_euclid(86_400) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month: month as u32,
            day: (day_of_year - (153 * march_month + 2) / 5 + 1) as u32,
            second_of_day: local.rem_euclid(86_400) as u32,
            offset,
        }
    }

    fn month_name(&self) -> &'static [u8; 3] {
        MONTHS[self.month as usize - 1]
    }

    fn write_clf(&self, out: &mut Vec<u8>) {
        pair(self.day, out);
        out.push(b'/');
        out.extend_from_slice(self.month_name());
        out.push(b'/');
        padded(self.year.unsigned_abs(), 4, out);
        out.push(b':');
        self.write_time(out);
    }

    fn write_time(&self, out: &mut Vec<u8>) {
        pair(self.second_of_day / 3600, out);
        out.push(b':');
        pair(self.second_of_day / 60 % 60, out);
        out.push(b':');
        pair(self.second_of_day % 60, out);
    }

    fn write_offset(&self, between: &str, out: &mut Vec<u8>) {
        out.push(if self.offset < 0 { b'-' } else { b'+' });
        let minutes = self.offset.unsigned_abs() / 60;
        pair(minutes / 60, out);
        out.extend_from_slice(between.as_bytes());
        pair(minutes % 60, out);
    }
}

/// The offset of local time, asked of the C library once per quarter of an hour: clocks change on its boundaries only.
fn local_offset(seconds: i64) -> i32 {
    thread_local! {
        static LAST: Cell<(i64, i32)> = const { Cell::new((i64::MIN, 0)) };
    }
    let quarter = seconds.div_euclid(900);
    let (known, offset) = LAST.get();
    if known == quarter {
        return offset;
    }
    // Expected lines in tests are in UTC wherever they run.
    let offset = if cfg!(test) { 0 } else { utc_offset_seconds(seconds) };
    LAST.set((quarter, offset));
    offset
}

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gregorian_dates() {
        #[track_caller]
        fn check(seconds: i64, expected: &str) {
            let mut out = Vec::new();
            Stamp { seconds, micros: 0 }.write_gmt(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        check(0, "01/Jan/1970:00:00:00 +0000");
        check(951_782_399, "28/Feb/2000:23:59:59 +0000");
        check(951_782_400, "29/Feb/2000:00:00:00 +0000");
        check(951_868_800, "01/Mar/2000:00:00:00 +0000");
        check(1_795_186_785, "20/Nov/2026:14:59:45 +0000");
        check(4_107_542_400, "01/Mar/2100:00:00:00 +0000");
    }

    #[test]
    fn offsets_have_a_sign_and_four_digits() {
        #[track_caller]
        fn check(offset: i32, expected: &str) {
            let mut out = Vec::new();
            Civil::at(0, offset).write_clf(&mut out);
            out.push(b' ');
            Civil::at(0, offset).write_offset(":", &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        check(0, "01/Jan/1970:00:00:00 +00:00");
        check(20_700, "01/Jan/1970:05:45:00 +05:45");
        check(-34_200, "31/Dec/1969:14:30:00 -09:30");
    }

    #[test]
    fn going_back_crosses_seconds() {
        let stamp = Stamp { seconds: 10, micros: 1000 };
        assert_eq!(stamp.minus_ms(2), Stamp { seconds: 9, micros: 999_000 });
        assert_eq!(stamp.minus_ms(0), stamp);
    }
}
