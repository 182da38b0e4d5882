//! Readers of single values: the next word as a number, a time, an address.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Amount, Args, LISTED_MAX};
use crate::address::{Address, AddressRules, parse_address};
use crate::diagnostics::{ConfigErrorKind, any_of};
use crate::section::Token;
use crate::source::Location;
use crate::value::{
    ValueError, invalid_name_char, parse_duration, parse_integer, parse_size, parse_time,
};

impl<'a> Args<'a> {
    /// A time in milliseconds unless it has a suffix; at most 24.8 days.
    pub fn duration(&mut self) -> Option<Duration> {
        self.duration_in(Duration::from_millis(1))
    }

    /// As [`duration`](Self::duration), of at least 1 ms.
    pub fn period(&mut self) -> Option<Duration> {
        let token = self.peek();
        let time = self.duration()?;
        match token {
            Some(token) if time.is_zero() => {
                self.bad(token, "time", "at least 1ms");
                None
            }
            _ => Some(time),
        }
    }

    /// A time in seconds unless it has a suffix.
    pub fn duration_secs(&mut self) -> Option<Duration> {
        self.duration_in(Duration::from_secs(1))
    }

    /// A time in seconds unless it has a suffix, without the limit of timers.
    pub fn long_duration_secs(&mut self) -> Option<Duration> {
        let token = self.next(A_TIME)?;
        let time = parse_time(token.text, Duration::from_secs(1));
        time.map_err(|error| self.bad_value(token, "time", A_TIME, error, 0..=i64::MAX)).ok()
    }

    fn duration_in(&mut self, unit: Duration) -> Option<Duration> {
        let token = self.next(A_TIME)?;
        parse_duration(token.text, unit)
            .map_err(|error| {
                let kind = match error {
                    ValueError::OutOfRange => ConfigErrorKind::BadValue {
                        what: "time".into(),
                        found: token.text.to_owned(),
                        expected: "at most 2147483647ms (24.8 days)".into(),
                    },
                    _ => return self.bad_value(token, "time", A_TIME, error, 0..=0),
                };
                self.fail(token.at, kind);
            })
            .ok()
    }

    /// A number of bytes, with `k`, `m` or `g`; at most 2^32 - 1.
    pub fn size(&mut self) -> Option<u64> {
        let token = self.next(A_SIZE)?;
        parse_size(token.text)
            .map_err(|error| {
                self.bad_value(token, "size", A_SIZE, error, 0..=i64::from(u32::MAX));
            })
            .ok()
    }

    /// A whole number in a range; `what` is a noun without article: `weight`.
    pub fn integer<T>(&mut self, what: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Into<i64> + TryFrom<i64>,
    {
        let token = self.next(A_NUMBER)?;
        self.integer_of(token, what, range)
    }

    /// As [`integer`](Self::integer), of a word already taken.
    pub fn integer_of<T>(
        &mut self,
        token: Token<'_>,
        what: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<T>
    where
        T: Copy + Into<i64> + TryFrom<i64>,
    {
        let range = (*range.start()).into()..=(*range.end()).into();
        match parse_integer(token.text, range.clone()) {
            Ok(value) => T::try_from(value).ok(),
            Err(error) => {
                self.bad_value(token, what, A_NUMBER, error, range);
                None
            }
        }
    }

    /// A number from 0 to `max`, or a percentage from 0 to 100.
    pub fn percent_or_integer(&mut self, what: &'static str, max: u32) -> Option<Amount> {
        const EXPECTED: &str = "a number, or a percentage such as `50%`";
        let token = self.next(EXPECTED)?;
        let (digits, max, make): (_, _, fn(u32) -> Amount) = match token.text.strip_suffix('%') {
            Some(digits) => (digits, 100, Amount::Percent),
            None => (token.text, max, Amount::Count),
        };
        match parse_integer(digits, 0..=i64::from(max)) {
            Ok(value) => u32::try_from(value).ok().map(make),
            Err(error) => {
                self.bad_value(token, what, EXPECTED, error, 0..=i64::from(max));
                None
            }
        }
    }

    /// One address.
    pub fn address(&mut self, rules: &AddressRules) -> Option<Address> {
        let token = self.next("an address")?;
        self.address_of(token, token.text, token.at, rules)
    }

    /// Addresses separated by commas, each with its place, as on `bind` lines.
    pub fn addresses(&mut self, rules: &AddressRules) -> Option<Vec<(Address, Location)>> {
        let token = self.next("an address")?;
        let mut addresses = Vec::new();
        let mut start = 0;
        for part in token.text.split(',') {
            let at = token.part(start..start + part.len());
            start += part.len() + 1;
            addresses.push((self.address_of(token, part, at, rules)?, at));
        }
        Some(addresses)
    }

    fn address_of(
        &mut self,
        token: Token<'a>,
        text: &str,
        at: Location,
        rules: &AddressRules,
    ) -> Option<Address> {
        let expanded = self.environment.expand(text);
        let error = match parse_address(expanded.as_deref().unwrap_or(text), rules) {
            Ok(address) => return Some(address),
            Err(error) => error,
        };
        // `*: 80`: the port stands in the next word.
        let detached = token.text.ends_with(':')
            && self.peek().is_some_and(|next| next.text.parse::<u16>().is_ok());
        let (at, kind) = match self.peek() {
            Some(port) if detached => {
                let expected = format!("no space: `{}{}`", token.text, port.text);
                self.next += 1;
                (token.at.to(port.at), error.kind(text, Some(expected)))
            }
            _ => (at, error.kind(text, None)),
        };
        self.fail(at, kind);
        None
    }

    /// One of some words; `what` is a noun without article.
    pub fn one_of<T: Copy>(&mut self, what: &'static str, words: &[(&str, T)]) -> Option<T> {
        let names = || words.iter().map(|(word, _)| *word);
        let Some(token) = self.peek() else {
            let names: Vec<_> = names().collect();
            self.missing(any_of(&names));
            return None;
        };
        self.next += 1;
        let found = words.iter().find(|(word, _)| *word == token.text).map(|(_, value)| *value);
        if found.is_none() {
            let mut kind = ConfigErrorKind::unknown(what, token.text, names());
            if let ConfigErrorKind::Unknown { nearest: None, .. } = kind
                && words.len() <= LISTED_MAX
            {
                let names: Vec<_> = names().collect();
                kind = ConfigErrorKind::BadValue {
                    what: what.into(),
                    found: token.text.to_owned(),
                    expected: any_of(&names).into(),
                };
            }
            self.fail(token.at, kind);
        }
        found
    }

    /// A name of letters, digits, `.`, `:`, `_` and `-`.
    pub fn name(&mut self, what: &'static str) -> Option<Token<'a>> {
        let token = self.next(format!("the name of a {what}"))?;
        match invalid_name_char(token.text) {
            None => Some(token),
            Some(found) => {
                self.fail(token.at, ConfigErrorKind::BadNameCharacter { what, found });
                None
            }
        }
    }

    fn bad_value(
        &mut self,
        token: Token<'_>,
        what: &'static str,
        expected: &'static str,
        error: ValueError,
        range: RangeInclusive<i64>,
    ) {
        let found = token.text.to_owned();
        match error {
            ValueError::NotANumber => self.bad(token, what, expected),
            ValueError::Trailing { at } => {
                let expected = format!("{expected}, without `{}`", &token.text[at..]);
                let kind = ConfigErrorKind::BadValue {
                    what: what.into(),
                    found,
                    expected: expected.into(),
                };
                self.fail(token.part(at..token.text.len()), kind);
            }
            ValueError::OutOfRange => {
                let (min, max) = range.into_inner();
                let kind = ConfigErrorKind::OutOfRange { what: what.into(), found, min, max };
                self.fail(token.at, kind);
            }
        }
    }
}

const A_TIME: &str = "a time such as `10s`";
const A_SIZE: &str = "a size such as `16k`";
const A_NUMBER: &str = "a number";
