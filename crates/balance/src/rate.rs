//! Rates and averages that all workers feed and that stay exact.
//!
//! Time is milliseconds from any fixed start; 32 bits wrap after 49 days without harm.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

/// Events per second over a sliding second, and the most seen in one.
///
/// The count of the running second and of the one before are kept; a reading takes of the
/// earlier one what the sliding second still covers, as HAProxy's `rate` columns do.
#[derive(Debug, Default)]
pub struct RateCounter {
    /// Start of the running second (upper half) and its events (lower half).
    running: AtomicU64,
    /// The same start, and the events of the second before. Until both starts agree a writer
    /// is between its two stores.
    before: AtomicU64,
    max: AtomicU32,
}

impl RateCounter {
    /// Counts `events` at `now_ms`; returns how many the running second has.
    #[inline]
    pub fn add(&self, events: u32, now_ms: u32) -> u32 {
        let seen = self.running.load(Acquire);
        let (start, count) = halves(seen);
        let counted = count.wrapping_add(events);
        if now_ms.wrapping_sub(start) < SECOND_MS
            && counted <= self.max.load(Relaxed)
            && self
                .running
                .compare_exchange_weak(seen, join(start, counted), AcqRel, Acquire)
                .is_ok()
        {
            return counted;
        }
        self.add_anyhow(events, now_ms)
    }

    /// The same when a second begins, the maximum grows, or another has counted meanwhile.
    #[inline(never)]
    fn add_anyhow(&self, events: u32, now_ms: u32) -> u32 {
        let mut seen = self.running.load(Acquire);
        loop {
            let (start, count) = halves(seen);
            let age = now_ms.wrapping_sub(start);
            // A caller whose clock is slightly behind counts into the running second.
            let fresh = if !(SECOND_MS..=u32::MAX / 2).contains(&age) {
                join(start, count.wrapping_add(events))
            } else if age < 2 * SECOND_MS {
                join(start.wrapping_add(SECOND_MS), events)
            } else {
                join(now_ms, events)
            };
            match self.running.compare_exchange_weak(seen, fresh, AcqRel, Acquire) {
                Ok(_) => {
                    let (new_start, new_count) = halves(fresh);
                    if new_start != start {
                        let past = if age < 2 * SECOND_MS { count } else { 0 };
                        self.before.store(join(new_start, past), Release);
                    }
                    if new_count > self.max.load(Relaxed) {
                        self.max.fetch_max(new_count, Relaxed);
                    }
                    return new_count;
                }
                Err(other) => seen = other,
            }
        }
    }

    /// Events per second as of `now_ms`.
    pub fn rate(&self, now_ms: u32) -> u32 {
        let Window { past, remaining, count } = self.window(now_ms);
        if count == 0 && past <= 1 {
            return past as u32; // one event a second reads as a steady 1
        }
        ((past * remaining + count * SECOND) / SECOND) as u32
    }

    /// Milliseconds until one more event keeps the rate within `limit`, which is not 0; `None` when it does now.
    pub fn wait_ms(&self, limit: u32, now_ms: u32) -> Option<u32> {
        let Window { past, remaining, count } = self.window(now_ms);
        let limit = u64::from(limit);
        if past * remaining / SECOND + count < limit {
            return None;
        }
        // The earlier second fades evenly: what is left of it when its part has become small enough.
        let left =
            |past: u64, part: u64| (part * SECOND).div_ceil(past.max(1)).clamp(1, SECOND) - 1;
        let wait = if count < limit {
            remaining.saturating_sub(left(past, limit - count))
        } else {
            // The running second has to become the earlier one.
            remaining + SECOND - left(count, limit)
        };
        Some(wait.max(1) as u32)
    }

    /// The running second, and how much of the one before it the sliding second still covers.
    fn window(&self, now_ms: u32) -> Window {
        let (start, mut count, mut past) = self.snapshot();
        let mut remaining = i64::from(SECOND_MS) - i64::from(now_ms.wrapping_sub(start) as i32);
        if remaining < 0 {
            remaining += i64::from(SECOND_MS);
            past = if remaining >= 0 { count } else { 0 };
            count = 0;
        }
        let remaining = remaining.clamp(0, i64::from(SECOND_MS)) as u64;
        Window { past: past.into(), remaining, count: count.into() }
    }

    /// The most events seen in one second.
    pub fn max(&self) -> u32 {
        self.max.load(Relaxed)
    }

    /// Forgets the maximum.
    pub fn reset_max(&self) {
        self.max.store(0, Relaxed);
    }

    fn snapshot(&self) -> (u32, u32, u32) {
        loop {
            let (start, count) = halves(self.running.load(Acquire));
            let (tag, past) = halves(self.before.load(Acquire));
            if tag == start {
                return (start, count, past);
            }
            std::hint::spin_loop();
        }
    }
}

/// Events of the second before, the milliseconds of it that still count, and events of the running second.
struct Window {
    past: u64,
    remaining: u64,
    count: u64,
}

/// The mean of about the last 512 values, exact enough to steer by and cheap to feed.
///
/// A sum that keeps 511/512 of itself at each new value; what HAProxy's `qtime`, `ctime`,
/// `rtime` and `ttime` columns show.
#[derive(Debug, Default)]
pub struct SlidingAverage {
    sum: AtomicU32,
}

impl SlidingAverage {
    /// Takes in a value, in milliseconds as a rule; above 8 million it saturates.
    pub fn add(&self, value: u32) {
        // Most queues are empty and most connections stand at once.
        if value == 0 && self.sum.load(Relaxed) == 0 {
            return;
        }
        let value = value.min(u32::MAX / WINDOW);
        let _ = self.sum.fetch_update(Relaxed, Relaxed, |sum| {
            Some((sum - sum.div_ceil(WINDOW)).saturating_add(value))
        });
    }

    /// The mean, rounded up, when `samples` values were ever added.
    pub fn mean(&self, samples: u64) -> u32 {
        let window = if samples == 0 { WINDOW } else { samples.min(u64::from(WINDOW)) as u32 };
        self.sum.load(Relaxed).div_ceil(window)
    }
}

fn halves(packed: u64) -> (u32, u32) {
    ((packed >> 32) as u32, packed as u32)
}

fn join(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

const SECOND_MS: u32 = 1000;
const SECOND: u64 = SECOND_MS as u64;
const WINDOW: u32 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_kept_by_waiting() {
        /// `events` at `at_ms` each; then how long one more has to wait at `now`.
        #[track_caller]
        fn check(events: &[(u32, u32)], limit: u32, now: u32, expected: Option<u32>) {
            let rate = RateCounter::default();
            for (events, at_ms) in events {
                rate.add(*events, *at_ms);
            }
            let wait = rate.wait_ms(limit, now);
            assert_eq!(wait, expected, "{events:?} at {now}, {limit}/s");
            if let Some(wait) = wait {
                assert_eq!(rate.wait_ms(limit, now + wait), None, "too short");
                assert!(wait == 1 || rate.wait_ms(limit, now + wait - 1).is_some(), "too long");
            }
        }
        check(&[(9, 5000)], 10, 5500, None);
        check(&[(10, 5000)], 10, 5500, Some(501));
        check(&[(10, 5000), (1, 6001)], 10, 6001, Some(100));
        check(&[(30, 5000)], 10, 5500, Some(1167));
        check(&[(1, 5000)], 1, 5999, Some(2));
        check(&[(50, 5000)], 10, 9000, None);
    }

    #[test]
    fn a_rate_slides_over_the_last_second() {
        let rate = RateCounter::default();
        for _ in 0..100 {
            rate.add(1, 10_000);
        }
        assert_eq!(rate.rate(10_000), 100);
        assert_eq!(rate.rate(10_999), 100);
        assert_eq!(rate.rate(11_500), 50); // half of that second is still covered
        assert_eq!(rate.rate(12_001), 0);
        rate.add(20, 11_500);
        assert_eq!(rate.rate(11_500), 70);
        assert_eq!(rate.max(), 100);
        assert_eq!(rate.rate(60_000), 0);
    }

    #[test]
    fn a_slow_steady_rate_does_not_flap() {
        let rate = RateCounter::default();
        rate.add(1, 5_000);
        assert_eq!(rate.rate(6_900), 1);
        assert_eq!(rate.rate(7_100), 0);
    }

    #[test]
    fn time_may_wrap() {
        let rate = RateCounter::default();
        rate.add(10, u32::MAX - 100);
        rate.add(10, 400);
        assert_eq!(rate.rate(400), 20);
    }

    #[test]
    fn rates_are_exact_over_threads() {
        let rate = RateCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..10_000).for_each(|_| _ = rate.add(1, 3_000)));
            }
        });
        assert_eq!(rate.rate(3_000), 20_000);
    }

    #[test]
    fn an_average_follows_its_values() {
        let average = SlidingAverage::default();
        assert_eq!(average.mean(0), 0);
        average.add(40);
        assert_eq!(average.mean(1), 40);
        (0..10_000).for_each(|_| average.add(7));
        assert_eq!(average.mean(10_001), 7);
    }
}
