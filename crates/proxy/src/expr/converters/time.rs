//! Times as text.

use std::borrow::Cow;
use std::io::Write as _;

use telamon_runtime::local_time::utc_offset_seconds;

use super::{Arg, Converter, Param, Value, ValueType, converter};
use crate::expr::ParseScope;
use crate::expr::args::ArgError;
use crate::stream::Context;

pub(super) const TABLE: &[Converter] = &[
    converter("http_date", ValueType::Int, ValueType::Str, http_date)
        .with(&[Param::Int, Param::Str], 0)
        .checked(check_http_date),
    converter("ltime", ValueType::Int, ValueType::Str, |_, args, value| {
        let seconds = shifted(value, &args[1])?;
        formatted(seconds, utc_offset_seconds(seconds), args[0].text()?)
    })
    .with(&[Param::Str, Param::Int], 1),
    converter("utime", ValueType::Int, ValueType::Str, |_, args, value| {
        formatted(shifted(value, &args[1])?, 0, args[0].text()?)
    })
    .with(&[Param::Str, Param::Int], 1),
];

/// Keeps times in a range in which years have a sensible number of digits, as HAProxy does.
const SECONDS_MASK: i64 = 0x007f_ffff_ffff_ffff;
/// 31 December 9999.
const SECONDS_MAX: i64 = 253_402_300_799;

fn shifted(value: Value<'_>, offset: &Arg) -> Option<i64> {
    let Value::Int(seconds) = value else { return None };
    let seconds = (seconds & SECONDS_MASK).saturating_add(offset.int().unwrap_or(0));
    Some(seconds.clamp(0, SECONDS_MAX))
}

fn http_date<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let Value::Int(time) = value else { return None };
    let time = time.saturating_add(args[0].int().unwrap_or(0));
    let per_second = args[1].int().unwrap_or(1);
    let seconds = ((time / per_second) & SECONDS_MASK).clamp(0, SECONDS_MAX);
    let format: &[u8] = b"%a, %d %b %Y %H:%M:%S";
    let Some(Value::Str(text)) = formatted(seconds, 0, format) else { return None };
    let mut text = text.into_owned();
    if per_second > 1 {
        _ = write!(text, ".{}", time % per_second);
    }
    text.extend_from_slice(b" GMT");
    Some(Value::Str(Cow::Owned(text)))
}

fn check_http_date(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    crate::expr::fetches::check_unit(args, 1)
}

/// Writes a time as strftime(3) does in the C locale. `offset` is that of the time zone.
fn formatted<'a>(unix: i64, offset: i32, format: &[u8]) -> Option<Value<'a>> {
    let local = unix + i64::from(offset);
    let date = Date::of(local.div_euclid(86_400));
    let (hour, minute, second) =
        (local.rem_euclid(86_400) / 3600, local.rem_euclid(3600) / 60, local.rem_euclid(60));
    let hour12 = (hour + 11) % 12 + 1;
    let mut out = Vec::with_capacity(format.len() + 16);
    let mut rest = format;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let Some((&directive, after)) = rest.split_first() else { break };
        rest = after;
        let sub = |format: &[u8]| match formatted(unix, offset, format) {
            Some(Value::Str(text)) => text.into_owned(),
            _ => Vec::new(),
        };
        _ = match directive {
            b'a' => out.write_all(&DAYS[date.weekday].as_bytes()[..3]),
            b'A' => out.write_all(DAYS[date.weekday].as_bytes()),
            b'b' | b'h' => out.write_all(&MONTHS[date.month - 1].as_bytes()[..3]),
            b'B' => out.write_all(MONTHS[date.month - 1].as_bytes()),
            b'c' => out.write_all(&sub(b"%a %b %e %H:%M:%S %Y")),
            b'C' => write!(out, "{:02}", date.year / 100),
            b'd' => write!(out, "{:02}", date.day),
            b'D' | b'x' => out.write_all(&sub(b"%m/%d/%y")),
            b'e' => write!(out, "{:2}", date.day),
            b'F' => out.write_all(&sub(b"%Y-%m-%d")),
            b'H' => write!(out, "{hour:02}"),
            b'I' => write!(out, "{hour12:02}"),
            b'j' => write!(out, "{:03}", date.day_of_year),
            b'k' => write!(out, "{hour:2}"),
            b'l' => write!(out, "{hour12:2}"),
            b'm' => write!(out, "{:02}", date.month),
            b'M' => write!(out, "{minute:02}"),
            b'n' => out.write_all(b"\n"),
            b'p' => out.write_all(if hour < 12 { b"AM" } else { b"PM" }),
            b'r' => out.write_all(&sub(b"%I:%M:%S %p")),
            b'R' => out.write_all(&sub(b"%H:%M")),
            b's' => write!(out, "{unix}"),
            b'S' => write!(out, "{second:02}"),
            b't' => out.write_all(b"\t"),
            b'T' | b'X' => out.write_all(&sub(b"%H:%M:%S")),
            b'u' => write!(out, "{}", (date.weekday + 6) % 7 + 1),
            b'w' => write!(out, "{}", date.weekday),
            b'y' => write!(out, "{:02}", date.year % 100),
            b'Y' => write!(out, "{}", date.year),
            b'z' => {
                let sign = if offset < 0 { '-' } else { '+' };
                let minutes = offset.abs() / 60;
                write!(out, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
            }
            b'Z' if offset == 0 => out.write_all(b"GMT"),
            b'%' => out.write_all(b"%"),
            // What strftime does not know stays as it is.
            other => out.write_all(&[b'%', other]),
        };
    }
    Some(Value::Str(Cow::Owned(out)))
}

/// A day of the Gregorian calendar.
struct Date {
    year: i64,
    /// From 1.
    month: usize,
    day: i64,
    /// From Sunday, 0.
    weekday: usize,
    /// From 1.
    day_of_year: i64,
}

impl Date {
    /// The day that many days after 1 January 1970. Years are counted from March, so that the
    /// leap day is the last of its year.
    fn of(days: i64) -> Self {
        let from_0000_03_01 = days + 719_468;
        let era = from_0000_03_01.div_euclid(146_097);
        let day_of_era = from_0000_03_01.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * from_march + 2) / 153;
        let day = from_march - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let before_march = 59 + i64::from(leap);
        let day_of_year = if month > 2 { from_march + before_march + 1 } else { from_march - 305 };
        Self {
            year,
            month: month as usize,
            day,
            weekday: (days + 4).rem_euclid(7) as usize,
            day_of_year,
        }
    }
}

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
