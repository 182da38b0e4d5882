//! Events per period, kept in twelve bytes.
//!
//! The count of the running period and of the one before; a reading takes of the earlier one what a period that ends
//! now still covers. The arithmetic is HAProxy's, so that a limit is reached by the same request: periods begin at even
//! milliseconds, and a slow steady rate of one event a period reads as 1.

use super::data::{get_u32, put_u32};

/// When the running period began, its events, and those of the period before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rate {
    start: u32,
    running: u32,
    before: u32,
}

impl Rate {
    /// Bytes that it takes.
    pub(super) const WIDTH: usize = 12;

    /// One that has had `events` in a period that begins now.
    pub(super) fn begun(events: u32, now_ms: u32) -> Self {
        Self { start: now_ms & !1, running: events, before: 0 }
    }

    pub(super) fn load(bytes: &[u8]) -> Self {
        Self { start: get_u32(bytes, 0), running: get_u32(bytes, 4), before: get_u32(bytes, 8) }
    }

    pub(super) fn store(self, bytes: &mut [u8]) {
        put_u32(bytes, 0, self.start);
        put_u32(bytes, 4, self.running);
        put_u32(bytes, 8, self.before);
    }

    /// Counts events; returns how many the running period has.
    pub(super) fn add(&mut self, events: u32, period_ms: u32, now_ms: u32) -> u32 {
        let age = now_ms.wrapping_sub(self.start) as i32;
        if *self == Self::default() {
            *self = Self::begun(0, now_ms);
        } else if age >= period_ms as i32 {
            let second = self.start.wrapping_add(period_ms);
            *self = if now_ms.wrapping_sub(second) >= period_ms {
                Self::begun(0, now_ms)
            } else {
                Self { start: second & !1, running: 0, before: self.running }
            };
        }
        self.running = self.running.wrapping_add(events);
        self.running
    }

    /// Events per period as of now.
    pub(super) fn read(self, period_ms: u32, now_ms: u32) -> u32 {
        let period = i64::from(period_ms);
        let Self { mut running, mut before, .. } = self;
        let age = i64::from(now_ms.wrapping_sub(self.start) as i32);
        let mut remain = period - age;
        if remain < 0 {
            remain += period;
            before = if remain >= 0 { running } else { 0 };
            running = 0;
        }
        if running == 0 && before <= 1 {
            return before;
        }
        // A period is at least a millisecond.
        ((i64::from(before) * remain + i64::from(running) * period) / period.max(1)) as u32
    }

    /// Events of the running period, whenever it began.
    pub(super) fn running(self) -> u32 {
        self.running
    }
}
