//! Clients that ask without pause, and what went wrong for them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::{RawClient, eventually};

/// Threads that each send `GET /` and wait for its answer, over and over, until stopped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// As many clients that keep their connection, and as many with a new one for each request.
    pub fn start(port: u16, kept: usize, fresh: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let client = |index| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.run(port, index < kept))
        };
        let threads = (0..kept + fresh).map(client).collect();
        Self { shared, threads }
    }

    /// How many requests have been answered with 200.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// Waits until as many more have been answered.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn wait_for_more(&self, count: usize) {
        let before = self.answered();
        eventually("requests go on", || self.answered() >= before + count);
    }

    /// Ends it and returns what failed: every request without an answer or with another than 200.
    pub fn stop(mut self) -> Vec<String> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn run(&self, port: u16, keeps: bool) {
        let mut kept = None;
        while !self.stopped.load(Ordering::SeqCst) {
            match ask(port, kept.take()) {
                Ok(client) => {
                    self.answered.fetch_add(1, Ordering::SeqCst);
                    kept = client.filter(|_| keeps);
                }
                Err(why) => {
                    self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(why);
                }
            }
        }
    }
}

/// One request; returns the connection unless the answer says that it ends.
fn ask(port: u16, kept: Option<RawClient>) -> Result<Option<RawClient>, String> {
    let mut client = match kept {
        Some(client) => client,
        None => RawClient::try_connect(port).map_err(|error| format!("connect: {error}"))?,
    };
    client
        .try_send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .map_err(|error| format!("send: {error}"))?;
    let answer = client.try_response(false).map_err(|error| format!("answer: {error}"))?;
    match answer.status {
        200 if answer.header("connection") == Some("close") => Ok(None),
        200 => Ok(Some(client)),
        _ => Err(format!("{answer:?}")),
    }
}
