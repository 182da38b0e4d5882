//! What Telamon needs from Linux, and the only home of `unsafe`.
//!
//! Start with [`workers`]: a thread per core, each with a single-threaded reactor, a mailbox and a
//! timer [`wheel`]. A worker accepts through a [`listener`], talks through a [`socket`] and reaches
//! servers through [`connect()`]. The control thread owns the [`registry`] of bound sockets, and every
//! opening of a file and every bind goes through [`files`], so that a privileged parent can stand
//! behind it.
//!
//! There is no HTTP here, nothing of balancing and no configuration language. What planes offer
//! one another ([`service`], [`api`]) is plain data.

#[cfg(not(target_os = "linux"))]
compile_error!("telamon-runtime is written for Linux");

pub mod api;
pub mod bind;
pub mod clock;
pub mod connect;
pub mod descriptor;
pub mod endpoint;
pub mod files;
pub mod handover;
pub mod limit;
pub mod listener;
pub mod local_time;
pub mod memory;
pub mod parent;
pub mod parking;
pub mod process;
pub mod registry;
pub mod service;
pub mod signals;
pub mod socket;
pub mod socks4;
pub mod splice;
pub mod wheel;
pub mod workers;

mod sys;

pub use bind::{BindAddress, BindSpec, Neighbor};
pub use clock::Moment;
pub use connect::{ConnectError, ConnectErrorKind, ConnectOptions, connect};
pub use endpoint::Endpoint;
pub use files::{Direct, Files, Recorded, Recording, Replay};
pub use limit::{Limit, Permit};
pub use listener::{Accepted, Listener, Steering};
pub use parking::{Parking, Unparked};
pub use registry::Registry;
pub use signals::{Signal, Signals};
pub use socket::tls::{Detached, HandshakeError, Tls};
pub use socket::{Idle, Keepalive, Socket, SocketKind};
pub use splice::{Pipe, PipePool};
pub use wheel::{Deadline, Elapsed, Wheel};
pub use workers::{Peers, Worker, WorkerOptions, Workers};
