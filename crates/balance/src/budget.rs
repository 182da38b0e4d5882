//! A budget for retries, so that they cannot multiply an outage.
//!
//! A request that fails is worth another try as long as few fail. When most do, trying again is what keeps a pool down:
//! with `retries 3` four times the load falls on servers that could not bear it once. A [`RetryBudget`] bounds what is
//! sent again by what is sent at all: retries of the last second may be a share of the requests of the last second, or
//! a minimum that lets a pool with little traffic retry too. Sources: Finagle's `RetryBudget`, Envoy's
//! `retry_budget`. HAProxy has none.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::rate::RateCounter;

/// How many retries a pool allows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Retries per hundred requests, 0 to 100.
    pub percent: u32,
    /// Retries per second that are always allowed.
    pub min_per_s: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, min_per_s: 10 }
    }
}

impl RetryBudget {
    /// How many retries per second it allows beside so many requests per second.
    pub fn allowed(&self, requests_per_s: u32) -> u32 {
        let share = u64::from(requests_per_s) * u64::from(self.percent) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(self.min_per_s)
    }
}

/// What of a pool's budget is used, over all workers.
#[derive(Debug, Default)]
pub struct RetryMeter {
    rate: RateCounter,
    /// Held for one look and one count, so that two workers do not both take the last one.
    taking: Mutex<()>,
    refused: AtomicU64,
    /// When one was last refused, plus 1; 0 is never.
    refused_ms: AtomicU64,
}

/// Whether a retry may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Retry {
    /// It is counted.
    Allowed,
    /// The budget is used up.
    Refused {
        /// None has been refused for [`QUIET_MS`]: worth a line in the log.
        news: bool,
    },
}

impl RetryMeter {
    /// Takes one retry of the budget, while the pool has `requests_per_s`.
    pub fn take(&self, budget: &RetryBudget, requests_per_s: u32, now_ms: u64) -> Retry {
        let taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if self.rate.rate(now_ms as u32) < budget.allowed(requests_per_s) {
            self.rate.add(1, now_ms as u32);
            return Retry::Allowed;
        }
        drop(taking);
        self.refused.fetch_add(1, Relaxed);
        let last = self.refused_ms.swap(now_ms + 1, Relaxed);
        Retry::Refused { news: last == 0 || now_ms.saturating_sub(last - 1) >= QUIET_MS }
    }

    /// Retries in the last second that were allowed.
    pub fn rate(&self, now_ms: u64) -> u32 {
        self.rate.rate(now_ms as u32)
    }

    /// Retries ever refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Forgets how many were refused.
    pub fn reset(&self) {
        self.refused.store(0, Relaxed);
    }
}

/// How long no retry may have been refused for the next refusal to be news, in milliseconds.
pub const QUIET_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_or_the_minimum_is_allowed_whichever_is_more() {
        #[track_caller]
        fn check(percent: u32, min_per_s: u32, requests_per_s: u32, expected: u32) {
            assert_eq!(RetryBudget { percent, min_per_s }.allowed(requests_per_s), expected);
        }
        check(20, 10, 0, 10);
        check(20, 10, 49, 10);
        check(20, 10, 100, 20);
        check(0, 0, 1_000_000, 0);
        check(100, 0, u32::MAX, u32::MAX);
    }

    #[test]
    fn what_is_refused_is_counted_and_told_once_per_outage() {
        let (meter, budget) = (RetryMeter::default(), RetryBudget { percent: 20, min_per_s: 2 });
        let take = |now_ms| meter.take(&budget, 15, now_ms);
        assert_eq!([take(0), take(0), take(0)], [Retry::Allowed; 3]);
        assert_eq!([take(10), take(20)], [true, false].map(|news| Retry::Refused { news }));
        assert_eq!(take(5_000), Retry::Allowed);
        assert_eq!([take(5_000), take(5_000)], [Retry::Allowed; 2]);
        assert_eq!(take(5_001), Retry::Refused { news: false });
        assert_eq!([take(20_000), take(20_000), take(20_000)], [Retry::Allowed; 3]);
        assert_eq!(take(20_000), Retry::Refused { news: true });
        assert_eq!(meter.refused(), 4);
    }

    #[test]
    fn workers_together_never_take_more() {
        let (meter, budget) = (RetryMeter::default(), RetryBudget { percent: 0, min_per_s: 100 });
        let allowed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let taken = (0..1000).filter(|_| meter.take(&budget, 0, 7) == Retry::Allowed);
                    allowed.fetch_add(taken.count() as u64, Relaxed);
                });
            }
        });
        assert_eq!(allowed.into_inner(), 100);
    }
}
