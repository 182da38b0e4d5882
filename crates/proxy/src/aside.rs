//! Work that most requests do not have, kept apart from the code that every request runs.
//!
//! An asynchronous function is compiled into those that wait for it. What is rare would then stand between what is not,
//! and a request runs through twice as much code as a processor's first cache holds.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// Does `work` in code of its own.
pub(crate) async fn aside<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| poll(work.as_mut(), cx)).await
}

#[cold]
#[inline(never)]
fn poll<F: Future>(work: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    work.poll(cx)
}
