//! Scripted clients and servers, and a handle on the running program, so that an end-to-end test
//! reads like the story it tells:
//!
//! ```no_run
//! use telamon_testkit::{Behaviour, RawClient, Telamon, TestServer, free_port};
//!
//! let app = TestServer::named("app1");
//! let port = free_port();
//! let _telamon = Telamon::start(&format!(
//!     "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
//!      listen web\n bind 127.0.0.1:{port}\n server app1 {}\n",
//!     app.address()
//! ));
//! let mut client = RawClient::connect(port);
//! assert_eq!(client.get("/").text(), "app1");
//! app.becomes(Behaviour::Dies);
//! assert_eq!(RawClient::connect(port).get("/").status, 502);
//! ```
//!
//! Everything is blocking, threaded and bounded: no wait is longer than [`PATIENCE`], and a wait
//! that ends without its event panics with what was seen instead, which is the test's failure. Only
//! `std` and signals are used, so the kit shares no fault with the program it judges. It speaks
//! HTTP/1 and bytes; it does not check what it is not asked about.

mod client;
mod process;
mod server;
mod syslog;

use std::net::TcpListener;
use std::time::{Duration, Instant};

pub use client::{RawClient, Response};
pub use process::{Signal, Telamon};
pub use server::{Behaviour, TestServer};
pub use syslog::SyslogSink;

/// How long any wait of the kit lasts at most; the machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Returns a TCP port of 127.0.0.1 that nothing listens on now.
///
/// It is not reserved: another process may take it first, though the kernel hands these out in
/// turn and that is rare.
///
/// # Panics
/// When the machine has no free port.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

/// Asks until the answer is yes, for at most [`PATIENCE`].
///
/// # Panics
/// When it never is; `what` tells what was waited for.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
