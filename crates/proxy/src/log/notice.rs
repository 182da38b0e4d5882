//! What the process says of itself on standard error: `[NOTICE]   (1234) : text`.
//!
//! At the start `-q` silences notices, warnings and alerts alike; once the process runs it always speaks, unless it is a
//! daemon, whose standard error is closed. Errors of the configuration are shown by `telamon-config` instead.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// Silences messages (`-q`) until [`started`]; `-V` and `-d` do not set it.
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Ends the time in which [`set_quiet`] applies: from now on what is said is news.
pub fn started() {
    QUIET.store(false, Ordering::Relaxed);
}

/// Something happened that an operator may want to know.
pub fn notice(text: fmt::Arguments<'_>) {
    say("NOTICE", text);
}

/// Something is probably not as it was meant.
pub fn warning(text: fmt::Arguments<'_>) {
    say("WARNING", text);
}

/// Something does not work.
pub fn alert(text: fmt::Arguments<'_>) {
    say("ALERT", text);
}

/// The text of a system error without Rust's `(os error N)`.
pub fn text_of(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn say(label: &str, text: fmt::Arguments<'_>) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    // Standard error may be full or closed, and there is nobody else to tell; `eprintln!` would panic.
    let _ = io::stderr().write_all(message(label, std::process::id(), text).as_bytes());
}

fn message(label: &str, pid: u32, text: fmt::Arguments<'_>) -> String {
    // The label is padded so that the process stands below the process.
    format!("{:<10} ({pid}) : {text}\n", format!("[{label}]"))
}

static QUIET: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_padded() {
        #[track_caller]
        fn check(label: &str, expected: &str) {
            assert_eq!(message(label, 30246, format_args!("text")), expected);
        }
        check("NOTICE", "[NOTICE]   (30246) : text\n");
        check("WARNING", "[WARNING]  (30246) : text\n");
        check("ALERT", "[ALERT]    (30246) : text\n");
    }
}
