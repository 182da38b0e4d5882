//! The time as the data path uses it: one number.

use std::ops::Add;
use std::time::Duration;

use crate::sys;

/// A moment on the system's monotonic clock, in nanoseconds.
///
/// `Instant` keeps seconds and nanoseconds apart, which makes a dozen branches of every difference. Some 500 years fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Looks at the clock. On the data path [`Worker::now`](crate::Worker::now) mostly serves.
    pub fn now() -> Self {
        Self(sys::monotonic_nanos())
    }

    /// The time since `earlier`; none if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// As [`Moment::since`], in whole milliseconds.
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.nanos_since(earlier) / 1_000_000
    }

    pub(crate) fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time that has passed since.
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }
}

/// A span in nanoseconds; 500 years at most.
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_differ_by_what_was_added() {
        let now = Moment::now();
        let later = now + Duration::new(3, 2_999_999);
        assert_eq!((later.ms_since(now), now.ms_since(later)), (3002, 0));
        assert_eq!(later.since(now), Duration::new(3, 2_999_999));
        assert!(now + Duration::MAX > later);
        assert!(now.elapsed() < Duration::from_secs(60) && Moment::now() >= now);
    }
}
