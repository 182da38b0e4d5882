//! Timeouts: one coarse wheel per worker, a [`Deadline`] per connection.
//!
//! A connection asks for a [`Deadline`] once and arms it again and again; arming later than before
//! is a store. When it passes, the task that waits on it is woken, within some 10 ms and never
//! early. A wheel without armed deadlines causes no wake-ups.
//!
//! ```ignore
//! let deadline = worker.wheel().deadline();
//! deadline.arm(Duration::from_secs(30));
//! match deadline.guard(socket.read(&mut buf)).await {
//!     Ok(result) => …,
//!     Err(Elapsed) => …,
//! }
//! ```

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use self::core::{Core, Key, NEVER};
use crate::clock::{Moment, nanos};

pub(crate) mod core;

/// The timers of one worker. Clones share it.
#[derive(Clone, Debug)]
pub struct Wheel(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    core: RefCell<Core<Timer>>,
    origin: Instant,
    /// The same moment, or a little before: what is due is never early.
    origin_moment: Moment,
    /// The time as it was last looked at.
    now: Cell<Moment>,
    /// The tick the driver sleeps until.
    sleeps_until: Cell<u64>,
    driver: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
struct Timer {
    waker: Option<Waker>,
    expired: bool,
}

/// A point in time at which a task wants to be woken.
#[derive(Debug)]
pub struct Deadline {
    wheel: Rc<Inner>,
    key: Key,
}

/// The deadline passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Wheel {
    /// Starts a wheel on this thread, driven by a local task.
    ///
    /// # Panics
    /// Outside a `LocalSet`. Workers have one already: [`crate::Worker::wheel`].
    pub fn start() -> Self {
        let now = Moment::now();
        let inner = Rc::new(Inner {
            core: RefCell::new(Core::new()),
            origin: Instant::now(),
            origin_moment: now,
            now: Cell::new(now),
            sleeps_until: Cell::new(NEVER),
            driver: RefCell::new(None),
        });
        let driven = inner.clone();
        tokio::task::spawn_local(async move {
            let mut sleep = pin!(tokio::time::sleep_until(driven.origin));
            let mut due = Vec::new();
            std::future::poll_fn(|cx| driven.poll_drive(cx, sleep.as_mut(), &mut due)).await;
        });
        Self(inner)
    }

    /// A new deadline, disarmed.
    pub fn deadline(&self) -> Deadline {
        let key = self.0.core.borrow_mut().insert(Timer::default());
        Deadline { wheel: self.0.clone(), key }
    }

    /// Looks at the clock, for [`Wheel::now`].
    pub fn touch(&self) -> Moment {
        let now = Moment::now();
        self.0.now.set(now);
        now
    }

    /// The time as it was last looked at.
    pub fn now(&self) -> Moment {
        self.0.now.get()
    }

    /// The tick at which `after` from `now` has passed.
    pub(crate) fn tick_after(&self, now: Moment, after: Duration) -> u64 {
        self.0.tick_after(now, after)
    }

    /// The tick that has begun.
    pub(crate) fn tick_now(&self) -> u64 {
        self.0.tick_now()
    }

    /// Deadlines that exist, armed or not.
    pub fn len(&self) -> usize {
        self.0.core.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    /// Wakes what is due and sleeps until the next slot; never ready.
    fn poll_drive(
        &self,
        cx: &mut Context<'_>,
        mut sleep: Pin<&mut Sleep>,
        due: &mut Vec<Key>,
    ) -> Poll<()> {
        loop {
            let next = {
                let mut core = self.core.borrow_mut();
                core.advance(self.tick_now(), due);
                core.next_tick()
            };
            for key in due.drain(..) {
                // Waking may drop a task and with it deadlines, so the wheel is not borrowed then.
                let waker = self.core.borrow_mut().get_mut(key).and_then(|timer| {
                    timer.expired = true;
                    timer.waker.take()
                });
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            self.driver.replace(Some(cx.waker().clone()));
            let Some(next) = next else {
                self.sleeps_until.set(NEVER);
                return Poll::Pending;
            };
            self.sleeps_until.set(next);
            sleep.as_mut().reset(self.origin + Duration::from_millis(next * TICK_MS));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Whole ticks only: what is due is never early.
    fn tick_now(&self) -> u64 {
        (Instant::now() - self.origin).as_millis() as u64 / TICK_MS
    }

    fn tick_after(&self, now: Moment, after: Duration) -> u64 {
        let since = now.nanos_since(self.origin_moment);
        since.saturating_add(nanos(after)).div_ceil(TICK_MS * 1_000_000)
    }

    fn set_deadline(&self, key: Key, tick: u64) {
        let next = {
            let mut core = self.core.borrow_mut();
            let Some(timer) = core.get_mut(key) else { return };
            timer.expired = false;
            if !core.set_deadline(key, tick) {
                return;
            }
            core.next_tick()
        };
        if let Some(next) = next
            && next < self.sleeps_until.get()
        {
            self.sleeps_until.set(next);
            let driver = self.driver.take();
            if let Some(driver) = driver {
                driver.wake();
            }
        }
    }
}

impl Deadline {
    /// Sets the deadline `after` from now, in place of any before.
    pub fn arm(&self, after: Duration) {
        self.arm_from(Moment::now(), after);
    }

    /// As [`Deadline::arm`], when the caller has the time at hand.
    pub fn arm_from(&self, now: Moment, after: Duration) {
        self.arm_at_tick(self.wheel.tick_after(now, after));
    }

    pub(crate) fn arm_at_tick(&self, tick: u64) {
        self.wheel.set_deadline(self.key, tick);
    }

    /// Sets or clears the deadline: a timeout that the configuration does not have is none.
    pub fn arm_optional(&self, after: Option<Duration>) {
        match after {
            Some(after) => self.arm(after),
            None => self.disarm(),
        }
    }

    /// As [`Deadline::arm_optional`], when the caller has the time at hand.
    pub fn arm_optional_from(&self, now: Moment, after: Option<Duration>) {
        match after {
            Some(after) => self.arm_from(now, after),
            None => self.disarm(),
        }
    }

    /// The time as it was last looked at ([`Wheel::touch`]).
    pub fn now(&self) -> Moment {
        self.wheel.now.get()
    }

    /// Clears the deadline, and that it had passed.
    pub fn disarm(&self) {
        self.wheel.set_deadline(self.key, NEVER);
    }

    /// Whether it has passed since it was armed last.
    pub fn is_expired(&self) -> bool {
        self.wheel.core.borrow().get(self.key).is_some_and(|timer| timer.expired)
    }

    /// Ready once the deadline has passed; else the task is woken when it does.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<Elapsed> {
        let mut core = self.wheel.core.borrow_mut();
        let Some(timer) = core.get_mut(self.key) else { return Poll::Pending };
        if timer.expired {
            return Poll::Ready(Elapsed);
        }
        match &timer.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => timer.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until the deadline has passed.
    pub async fn expired(&self) -> Elapsed {
        std::future::poll_fn(|cx| self.poll_expired(cx)).await
    }

    /// Waits for `future`, but not longer than the deadline. It may be armed meanwhile.
    ///
    /// # Errors
    /// [`Elapsed`]; the future is dropped where it stood.
    pub async fn guard<F: Future>(&self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            self.poll_expired(cx).map(Err)
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let timer = self.wheel.core.borrow_mut().remove(self.key);
        // The waker may own the last reference to a task: drop it outside the borrow.
        drop(timer);
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed")
    }
}

impl std::error::Error for Elapsed {}

/// The grain of the wheel. Small enough for timeouts of 10 ms, large enough that deadlines of one
/// moment share a wake-up.
const TICK_MS: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::block_on_paused;

    impl Wheel {
        /// A moment of the paused clock.
        fn moment(&self, at: Instant) -> Moment {
            self.0.origin_moment + (at - self.0.origin)
        }
    }

    #[test]
    fn a_deadline_is_never_early_and_little_late() {
        block_on_paused(async {
            let wheel = Wheel::start();
            let deadline = wheel.deadline();
            for ms in [1, 10, 37, 1000, 100_000] {
                let start = Instant::now();
                deadline.arm_from(wheel.moment(start), Duration::from_millis(ms));
                deadline.expired().await;
                let took = start.elapsed();
                assert!(took >= Duration::from_millis(ms), "{took:?} for {ms} ms");
                assert!(took <= Duration::from_millis(ms + 10), "{took:?} for {ms} ms");
            }
        });
    }

    #[test]
    fn arming_again_replaces_and_disarming_forgets() {
        block_on_paused(async {
            let wheel = Wheel::start();
            let deadline = wheel.deadline();
            let start = Instant::now();
            let arm = |ms| {
                deadline.arm_from(wheel.moment(Instant::now()), Duration::from_millis(ms));
            };
            arm(10);
            arm(500);
            deadline.expired().await;
            assert!(start.elapsed() >= Duration::from_millis(500));
            assert!(deadline.is_expired());
            arm(1000);
            assert!(!deadline.is_expired());
            arm(20); // earlier than the driver sleeps
            let start = Instant::now();
            deadline.expired().await;
            assert!(start.elapsed() <= Duration::from_millis(30));
            arm(20);
            deadline.disarm();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!deadline.is_expired());
        });
    }

    #[test]
    fn a_guard_gives_the_output_or_that_time_is_up() {
        block_on_paused(async {
            let wheel = Wheel::start();
            let deadline = wheel.deadline();
            deadline.arm_from(wheel.moment(Instant::now()), Duration::from_millis(50));
            assert_eq!(deadline.guard(async { 1 }).await, Ok(1));
            assert_eq!(deadline.guard(std::future::pending::<()>()).await, Err(Elapsed));
            drop(deadline);
            assert!(wheel.is_empty());
        });
    }
}
