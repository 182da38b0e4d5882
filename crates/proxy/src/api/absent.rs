//! Commands that HAProxy has and Telamon does not, so that whoever sends one learns why nothing happens.

use telamon_runtime::api::Level;

use super::{Row, done, row};

pub(super) const COMMANDS: &[Row] = &[
    not_yet(&["add", "server"], "create a new server"),
    not_yet(&["del", "server"], "remove a dynamically added server"),
    not_yet(&["show", "cache"], "show cache status"),
    not_yet(&["show", "peers"], "dump some information about all the peers"),
    not_yet(&["show", "tls-keys"], "show tls keys references or dump tls ticket keys"),
    not_yet(&["set", "ssl", "tls-key"], "set the next TLS key of a listener"),
    mode(&["experimental-mode"]),
    mode(&["expert-mode"]),
    inner(&["show", "pools"]),
    inner(&["show", "fd"]),
    inner(&["show", "threads"]),
    inner(&["show", "activity"]),
    inner(&["show", "profiling"]),
    inner(&["set", "profiling"]),
    inner(&["show", "tasks"]),
    inner(&["show", "events"]),
    inner(&["show", "libs"]),
    inner(&["show", "trace"]),
    inner(&["trace"]),
];

const fn not_yet(words: &'static [&'static str], help: &'static str) -> Row {
    row(words, Level::User, "", help, |_, _| {
        Err("Telamon does not support this command yet.\n".to_owned())
    })
}

/// Scripts say these before commands that HAProxy guards; none is guarded here.
const fn mode(words: &'static [&'static str]) -> Row {
    row(words, Level::Admin, "[on|off]", "without effect: no command needs it", |_, _| done())
}

/// Commands that show HAProxy's own insides.
const fn inner(words: &'static [&'static str]) -> Row {
    row(words, Level::User, "", "not available: about HAProxy's own internals", |_, _| {
        Err("Not available: this command is about HAProxy's own internals.\n".to_owned())
    })
}
