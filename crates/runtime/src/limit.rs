//! How many connections may be open at once, shared by all workers.
//!
//! A [`Limit`] stands for `maxconn` of the process or of a frontend. A listener takes a [`Permit`]
//! before it accepts and waits without polling while there is none; dropping the permit lets
//! waiting listeners go on.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A counted limit. Clones share it.
#[derive(Clone, Debug)]
pub struct Limit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: AtomicU32,
    used: AtomicU32,
    waiting: AtomicBool,
    waiters: Mutex<Vec<Waker>>,
}

/// One place under a [`Limit`], given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Inner>);

impl Limit {
    pub fn new(max: u32) -> Self {
        Self(Arc::new(Inner {
            max: AtomicU32::new(max),
            used: AtomicU32::new(0),
            waiting: AtomicBool::new(false),
            waiters: Mutex::new(Vec::new()),
        }))
    }

    /// Changes the limit. Places already taken stay taken.
    pub fn set_max(&self, max: u32) {
        self.0.max.store(max, SeqCst);
        self.0.wake();
    }

    pub fn max(&self) -> u32 {
        self.0.max.load(SeqCst)
    }

    /// Places taken now.
    pub fn used(&self) -> u32 {
        self.0.used.load(SeqCst)
    }

    /// Takes a place if there is one.
    pub fn try_acquire(&self) -> Option<Permit> {
        let max = self.max();
        self.0
            .used
            .fetch_update(SeqCst, SeqCst, |used| (used < max).then(|| used + 1))
            .is_ok()
            .then(|| Permit(self.0.clone()))
    }

    /// Takes a place beyond the limit, for what must not wait (the master's own sockets).
    pub fn force(&self) -> Permit {
        self.0.used.fetch_add(1, SeqCst);
        Permit(self.0.clone())
    }

    /// Waits until there may be a place. Somebody else may take it first.
    pub async fn room(&self) {
        std::future::poll_fn(|cx| self.poll_room(cx)).await;
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.used() < self.max() {
            return Poll::Ready(());
        }
        {
            let mut waiters = self.0.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            // One entry per listener: they are few, and a waker is not kept twice.
            if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
                waiters.push(cx.waker().clone());
            }
            self.0.waiting.store(true, SeqCst);
        }
        // A place given back before `waiting` was set woke nobody.
        if self.used() < self.max() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Inner {
    fn wake(&self) {
        if self.waiting.load(SeqCst) {
            let waiters = {
                let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
                self.waiting.store(false, SeqCst);
                std::mem::take(&mut *waiters)
            };
            waiters.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, SeqCst);
        self.0.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::block_on;

    #[test]
    fn a_place_is_taken_once_and_given_back() {
        let limit = Limit::new(1);
        let permit = limit.try_acquire().unwrap();
        assert!(limit.try_acquire().is_none());
        drop(permit);
        assert!(limit.try_acquire().is_some());
        limit.set_max(0);
        assert!(limit.try_acquire().is_none());
    }

    #[test]
    fn a_waiter_is_woken_from_another_thread() {
        let limit = Limit::new(1);
        let permit = limit.try_acquire().unwrap();
        let thread = std::thread::spawn(move || drop(permit));
        block_on(limit.room());
        thread.join().unwrap();
        assert!(limit.try_acquire().is_some());
    }
}
