//! The runtime API: commands on the sockets that `stats socket` opens.
//!
//! [`listen`] accepts, [`serve`] talks to one client, [`Table`] finds the commands, [`generic`] makes those that
//! every plane shares; what a plane adds comes as [`Command`](telamon_runtime::api::Command)s. Which addresses are
//! listened on and with which level is the caller's. The master's socket ([`Table::master`]) speaks the same protocol; a
//! command there may name the process that it is for.

mod generic;
mod lex;
mod listen;
mod session;
mod table;

pub use self::generic::{CliSocket, Variables, generic, prefixed};
pub use self::listen::listen;
pub use self::session::{SessionOptions, serve};
pub use self::table::{Processes, Table};
