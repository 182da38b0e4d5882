//! The last minutes of every proxy, one sample a second, in bounded memory.
//!
//! The control thread calls [`History::sample`] once a second; the status page draws what is kept. A curve takes
//! 12 bytes a second: 600 seconds of the [`CURVES_MAX`] first proxies are 1.8 MB.

use std::collections::{HashMap, VecDeque};

/// Seconds that are kept.
pub(crate) const SECONDS: usize = 600;
/// Proxies that have a curve of their own; the sum over all proxies always has one.
pub(crate) const CURVES_MAX: usize = 256;

/// What a proxy has counted since the start, and how long its requests take now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Reading {
    /// Requests (`mode tcp`: sessions).
    pub(crate) units: u64,
    /// Of them failed.
    pub(crate) errors: u64,
    /// Milliseconds from request to the end of the answer, averaged over the last ones; `None` where not measured.
    pub(crate) latency_ms: Option<f32>,
}

/// One second of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Requests per second; `None` in the first second of a proxy or after its counters were cleared.
    pub(crate) rate: Option<f32>,
    /// `None` while nothing happened.
    pub(crate) latency_ms: Option<f32>,
    /// Errors per second.
    pub(crate) errors: Option<f32>,
}

/// The curves. See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct History {
    curves: HashMap<Box<str>, Curve>,
    total: Curve,
    /// Counts the calls of [`sample`](Self::sample).
    turns: u64,
    at_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct Curve {
    samples: VecDeque<Sample>,
    last: Option<Reading>,
    /// The turn of the last sample; a proxy that a reload took away is forgotten.
    turn: u64,
}

impl History {
    /// Takes one reading of each proxy; `total` is what the clients of all saw. Call it once a second: `now_ms` is
    /// any monotone clock, and rates are divided by the time that really passed.
    pub(crate) fn sample<'a>(
        &mut self,
        proxies: impl IntoIterator<Item = (&'a str, Reading)>,
        total: Reading,
        now_ms: u64,
    ) {
        let passed = self.at_ms.map(|at| now_ms.saturating_sub(at).max(1) as f32 / 1000.0);
        self.at_ms = Some(now_ms);
        self.turns += 1;
        self.total.push(total, passed, self.turns);
        for (name, reading) in proxies {
            if !self.curves.contains_key(name) {
                if self.curves.len() >= CURVES_MAX {
                    continue;
                }
                self.curves.insert(name.into(), Curve::default());
            }
            if let Some(curve) = self.curves.get_mut(name) {
                curve.push(reading, passed, self.turns);
            }
        }
        let turns = self.turns;
        self.curves.retain(|_, curve| curve.turn == turns);
    }

    /// Samples taken so far: changes when there is something new to show.
    pub(crate) fn turns(&self) -> u64 {
        self.turns
    }

    /// The curve of a proxy, oldest first; empty if it has none. A proxy is known by any name that its plane keeps
    /// over reloads.
    pub(crate) fn of(&self, proxy: &str) -> impl Iterator<Item = Sample> + '_ {
        self.curves.get(proxy).into_iter().flat_map(|curve| curve.samples.iter().copied())
    }

    /// The curve of all together, oldest first.
    pub(crate) fn total(&self) -> impl Iterator<Item = Sample> + '_ {
        self.total.samples.iter().copied()
    }

    pub(crate) fn latest(&self, proxy: &str) -> Option<Sample> {
        self.curves.get(proxy).and_then(|curve| curve.samples.back().copied())
    }

    pub(crate) fn latest_total(&self) -> Option<Sample> {
        self.total.samples.back().copied()
    }
}

impl Curve {
    fn push(&mut self, reading: Reading, passed: Option<f32>, turn: u64) {
        let per_second = |count: fn(&Reading) -> u64| {
            // Counters that went back were cleared: how much happened in this second is not known.
            let counted = count(&reading).checked_sub(count(&self.last?))?;
            Some(counted as f32 / passed?)
        };
        let rate = per_second(|reading| reading.units);
        let errors = per_second(|reading| reading.errors);
        let latency_ms = reading.latency_ms.filter(|_| rate.is_some_and(|rate| rate > 0.0));
        if self.samples.len() == SECONDS {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { rate, latency_ms, errors });
        self.last = Some(reading);
        self.turn = turn;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(units: u64, errors: u64) -> Reading {
        Reading { units, errors, latency_ms: Some(4.0) }
    }

    /// Readings of one proxy as (millisecond, units) -> rates, the latency shown in parentheses.
    #[track_caller]
    fn check(readings: &[(u64, u64)], expected: &str) {
        let mut history = History::default();
        for &(at, units) in readings {
            history.sample([("web", reading(units, 0))], Reading::default(), at);
        }
        let shown: Vec<String> = history
            .of("web")
            .map(|sample| match (sample.rate, sample.latency_ms) {
                (None, _) => "-".to_owned(),
                (Some(rate), None) => format!("{rate}"),
                (Some(rate), Some(latency)) => format!("{rate}({latency})"),
            })
            .collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn rates_are_differences_over_the_time_that_passed() {
        check(&[(0, 50)], "-");
        check(&[(0, 50), (1000, 60), (2000, 60)], "- 10(4) 0");
        check(&[(0, 0), (2000, 10)], "- 5(4)"); // the sampler was late
        check(&[(0, 50), (1000, 7), (2000, 9)], "- - 2(4)"); // counters cleared
    }

    #[test]
    fn memory_is_bounded() {
        let mut history = History::default();
        let names: Vec<String> = (0..CURVES_MAX + 50).map(|n| format!("p{n}")).collect();
        for at in 0..SECONDS as u64 + 10 {
            let proxies = names.iter().map(|name| (name.as_str(), reading(at, 0)));
            history.sample(proxies, reading(at, 0), at * 1000);
        }
        assert_eq!(history.curves.len(), CURVES_MAX);
        assert_eq!(history.of("p0").count(), SECONDS);
        assert_eq!(history.total().count(), SECONDS);
        history.sample([("other", reading(0, 0))], reading(0, 0), 0);
        assert_eq!(history.curves.len(), 0); // full at that moment; the gone proxies made room for the next turn
        history.sample([("other", reading(0, 0))], reading(0, 0), 0);
        assert_eq!(history.of("other").count(), 1);
    }
}
