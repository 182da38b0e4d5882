//! The runtime API: commands on the sockets that `stats socket` opens.
//!
//! [`serve`] talks to one client, [`Table`] finds the commands, [`generic`] makes those that every plane shares.
//! What a plane adds comes as [`Command`](telamon_runtime::api::Command)s. Which addresses are listened on, how many
//! clients at a time and with which level is the caller's; the master's socket uses the same protocol.

mod generic;
mod lex;
mod session;
mod table;

pub use self::generic::{CliSocket, generic};
pub use self::session::{SessionOptions, serve};
pub use self::table::Table;
