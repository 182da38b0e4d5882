//! Logs: what is written of a session or request, in which form, and where to.
//!
//! ```text
//! log_stream ─> Facts (what is known) ─> LogFormat (template of variables and samples) ─> text
//!            ─> LogTarget (header, level, sample) ─> one non-blocking send
//! ```
//!
//! `write.rs` decides whether a line is written and with which level. A `LogFormat` is also what headers, redirects and
//! names with `%[…]` are made from; it is a `Template`, which knows neither expressions nor streams and is tested
//! without them, joined to both. Lines, headers and escapes are HAProxy's to the byte. Targets never make a worker wait:
//! what they do not take at once is dropped and counted. [`notice`] is what the process says of itself on standard
//! error. Rings, TCP targets and log forwarding are not here.

mod builtin;
mod capture;
mod count;
mod date;
mod escape;
mod facts;
mod format;
mod level;
mod line;
pub mod notice;
mod request_line;
mod send;
mod target;
mod template;
mod termination;
mod variable;
mod write;

#[cfg(test)]
mod tests;

pub use builtin::Builtin;
pub(crate) use capture::{capture_cookie, capture_request, capture_response, note_server};
pub use count::LineCount;
pub(crate) use date::Stamp;
pub use format::{FormatError, FormatUse, LogFormat};
pub use level::{Facility, Level};
pub use line::{LogLine, Resolve};
pub use notice::{alert, warning};
pub use send::{dropped_lines, report_dropped_lines};
pub use target::{Destination, HeaderFormat, LEN_DEFAULT, LogTarget, Sample};
pub use termination::{Cause, Phase};
pub(crate) use variable::write_ip;

pub use write::{
    log_accept, log_connection_error, log_early, log_stream, send, send_global, unique_id,
};
