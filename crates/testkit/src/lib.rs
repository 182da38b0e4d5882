//! Scripted clients and servers, and a handle on the running program, so that an end-to-end test
//! reads like the story it tells:
//!
//! ```no_run
//! use telamon_testkit::{Behaviour, Telamon, TestServer};
//!
//! let app = TestServer::named("app1");
//! let telamon = Telamon::listen(&format!("server {app}"));
//! assert_eq!(telamon.connect().get("/").text(), "app1");
//! app.becomes(Behaviour::Dies);
//! assert_eq!(telamon.connect().get("/").status, 502);
//! ```
//!
//! Everything is blocking, threaded and bounded: no wait is longer than [`PATIENCE`], and a wait
//! that ends without its event panics with what was seen instead, which is the test's failure. Only
//! `std` and signals are used (and rustls for TLS), so the kit shares no fault with the program it judges. It speaks
//! HTTP/1, HTTP/2 ([`http2`]) and bytes; it does not check what it is not asked about.

mod client;
mod dns;
pub mod http2;
mod load;
mod process;
mod server;
mod syslog;
mod tls;

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub use client::{RawClient, Response};
pub use dns::{DnsManner, DnsServer};
pub use load::Load;
pub use process::{Scratch, Signal, Telamon, signal_process};
pub use server::{Behaviour, TestServer};
pub use syslog::SyslogSink;
pub use tls::{Identity, Shaken, TlsClient, TlsPort};

/// How long any wait of the kit lasts at most; the machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Returns a TCP port that nothing listens on, and that no other test is given while this process
/// lives.
///
/// It lies below the ports that the kernel chooses for connections, so none of them takes it either.
/// Tests of other processes are kept away by an abstract unix socket of the port's name, which is
/// held to the end.
///
/// # Panics
/// When the machine has no free port.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes begin in different places, so that few ports are tried in vain.
    let first = (std::process::id().wrapping_mul(97) % u32::from(PORTS)) as u16;
    for _ in 0..PORTS {
        let port = 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS;
        let claim = SocketAddr::from_abstract_name(format!("telamon-testkit-port-{port}"));
        let Ok(claim) = claim.and_then(|name| UnixListener::bind_addr(&name)) else { continue };
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            std::mem::forget(claim);
            return port;
        }
    }
    panic!("no free port between 10000 and {}", 10_000 + PORTS);
}

const PORTS: u16 = 20_000;

/// Raises this process's limit of open descriptors as far as it may, for tests with many connections.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Whether the test may do what only root may.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
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
