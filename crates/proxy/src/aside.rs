//! Work that most requests do not have, kept apart from what every request runs.
//!
//! An asynchronous function is compiled into those that wait for it, and what it holds becomes a part of them: the code
//! of what is rare would stand between what is not, and a request would run through more of it than a processor's first
//! cache holds; and the tasks of all connections would be as large as the rarest thing they might do.

use std::pin::Pin;
use std::task::{Context, Poll};

/// Work with code and memory of its own, which it takes when it begins.
pub(crate) struct Aside<F>(Pin<Box<F>>);

/// Does `work` aside.
#[inline]
pub(crate) fn aside<F: Future>(work: F) -> Aside<F> {
    Aside(Box::pin(work))
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    #[cold]
    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(cx)
    }
}
