//! Logs: what is written of a session or request, in which form, and where to.

mod builtin;
mod count;
mod date;
mod escape;
mod level;
mod line;
pub mod notice;
mod request_line;
mod send;
mod target;
mod template;
mod termination;
mod variable;

#[cfg(test)]
mod tests;

pub use builtin::Builtin;
pub use count::LineCount;
pub use level::{Facility, Level};
pub use line::{LogLine, Resolve};
pub use send::{dropped_lines, report_dropped_lines};
pub use target::{Destination, HeaderFormat, LEN_DEFAULT, LogTarget, Sample};
pub use termination::{Cause, Phase};
