//! What a member says of its own load: the report, its text, and where the last one is kept.
//!
//! The text is a list of words between blanks or commas, each `NAME=VALUE` or `NAME:VALUE`, or one bare value. A value
//! is a share of the whole, written `0.42` or `42%`; above the whole it counts as the whole. The
//! names are those that ORCA gives (`endpoint-load-metrics: TEXT cpu_utilization=0.3,…`) and short
//! ones:
//!
//! | name | means |
//! | --- | --- |
//! | `cpu`, `cpu_utilization` | processors |
//! | `mem`, `memory`, `mem_utilization` | memory |
//! | `disk`, `disk_utilization` | disk |
//! | `net`, `network`, `net_utilization` | network |
//! | `load`, `application_utilization`, or no name | whatever the member means by it |
//!
//! Other names (`rps_fractional`, `named_metrics.…`) are passed over. What is scarcest decides: a
//! member's load is the highest of what it reported.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::agent::{Usage, share};

/// A report that cannot be read: nothing of it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageError {
    /// No word of it is about load.
    Empty,
    /// The value after a name that is known, or standing alone, is no share.
    BadValue(Box<str>),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it names no load, such as `cpu=0.42` or `mem=80%`"),
            Self::BadValue(found) => {
                write!(f, "`{found}` is no share of the whole, such as `0.42` or `42%`")
            }
        }
    }
}

impl std::error::Error for UsageError {}

impl Usage {
    /// Reads a whole report, such as `TEXT cpu_utilization=0.3,mem_utilization=0.8` or `42%`.
    ///
    /// # Errors
    /// The first value that is none, or that nothing was said of load.
    pub fn parse(text: &str) -> Result<Self, UsageError> {
        let text = text.trim();
        let text = text.strip_prefix("TEXT ").unwrap_or(text);
        let mut usage = Self::default();
        for word in text.split([' ', '\t', ',', ';']).filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once(['=', ':']).unwrap_or(("load", word));
            let place = match name {
                "cpu" | "cpu_utilization" => &mut usage.cpu,
                "mem" | "memory" | "mem_utilization" => &mut usage.memory,
                "disk" | "disk_utilization" => &mut usage.disk,
                "net" | "network" | "net_utilization" => &mut usage.network,
                "load" | "application_utilization" => &mut usage.load,
                _ => continue,
            };
            let bad = || UsageError::BadValue(value.chars().take(40).collect());
            *place = Some(share(value).ok_or_else(bad)?);
        }
        if usage.is_empty() { Err(UsageError::Empty) } else { Ok(usage) }
    }
}

/// The last report of a member, smoothed; read and written by any thread at any time.
#[derive(Debug, Default)]
pub(super) struct LastUsage {
    /// The load in 65,536ths in the low 17 bits, above it the time in milliseconds, plus one.
    packed: AtomicU64,
}

impl LastUsage {
    /// Takes in a report. Reports that come quickly one after another are averaged over a
    /// second, so that one answer that happened to be measured at a bad moment moves little. Two
    /// reports at the same time may lose one of them, which the next one makes good.
    pub(super) fn report(&self, usage: &Usage, now_ms: u64) {
        let Some(said) = usage.highest() else { return };
        let said = (f64::from(said.clamp(0.0, 1.0)) * WHOLE as f64) as u64;
        let smoothed = match self.load(now_ms) {
            Some((known, age_ms)) if age_ms < SMOOTHED_MS => {
                let fresh = age_ms.max(1);
                (known * (SMOOTHED_MS - fresh) + said * fresh) / SMOOTHED_MS
            }
            _ => said,
        };
        self.packed.store((now_ms + 1) << 17 | smoothed, Relaxed);
    }

    /// The load in 65,536ths and the age of the report in milliseconds; `None` before the first.
    pub(super) fn load(&self, now_ms: u64) -> Option<(u64, u64)> {
        let packed = self.packed.load(Relaxed);
        let at_ms = (packed >> 17).checked_sub(1)?;
        Some((packed & ((1 << 17) - 1), now_ms.saturating_sub(at_ms)))
    }

    pub(super) fn forget(&self) {
        self.packed.store(0, Relaxed);
    }
}

/// All that a member has, in the unit of [`Member::usage`](super::Member::usage).
pub const WHOLE: u64 = 1 << 16;

/// Over how long reports are averaged.
const SMOOTHED_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_are_written() {
        #[track_caller]
        fn check(text: &str, expected: Result<u16, &str>) {
            let found = Usage::parse(text);
            let found = found.map(|usage| usage.highest().map_or(0, |of| (of * 1000.0) as u16));
            assert_eq!(found.map_err(|e| e.to_string()), expected.map_err(str::to_owned), "{text}");
        }
        check("0.42", Ok(420));
        check("42%", Ok(420));
        check("1.75", Ok(1750)); // work that waits
        check("cpu=0.3 mem=80%", Ok(800));
        check("TEXT cpu_utilization=0.3,mem_utilization=0.8,rps_fractional=1000", Ok(800));
        check("TEXT named_metrics.queue=7, application_utilization=.25", Ok(250));
        check("load:5%", Ok(50));
        check("", Err("it names no load, such as `cpu=0.42` or `mem=80%`"));
        check("rps=7", Err("it names no load, such as `cpu=0.42` or `mem=80%`"));
        check("cpu=high", Err("`high` is no share of the whole, such as `0.42` or `42%`"));
        check("cpu=-1", Err("`-1` is no share of the whole, such as `0.42` or `42%`"));
        check("cpu=inf", Err("`inf` is no share of the whole, such as `0.42` or `42%`"));
        check("cpu=", Err("`` is no share of the whole, such as `0.42` or `42%`"));
        check("busy", Err("`busy` is no share of the whole, such as `0.42` or `42%`"));
    }

    #[test]
    fn quick_reports_are_averaged_and_slow_ones_replace() {
        let last = LastUsage::default();
        let say = |load, now_ms| {
            last.report(&Usage { load: Some(load), ..Usage::default() }, now_ms);
        };
        assert_eq!(last.load(0), None);
        say(0.5, 0);
        assert_eq!(last.load(10), Some((WHOLE / 2, 10)));
        say(1.0, 100); // a tenth of the way
        assert_eq!(last.load(100).map(|(load, _)| load * 1000 / WHOLE), Some(549));
        say(3.0, 5000);
        assert_eq!(last.load(5000), Some((WHOLE, 0)));
        last.forget();
        assert_eq!(last.load(5000), None);
    }
}
