//! The commands a socket knows: found by their words, listed by `help`.

use std::rc::Rc;

use telamon_runtime::api::{self, Command};

/// Commands by name, sorted as `help` lists them.
#[derive(Debug, Default)]
pub struct Table {
    commands: Vec<Command>,
    processes: Option<Processes>,
}

/// Whom a command on the master's socket may be for. Source: HAProxy management guide, "Master CLI".
#[derive(Debug)]
pub struct Processes {
    /// The process number of the worker.
    pub worker: u32,
    /// What the worker answers.
    pub worker_table: Rc<Table>,
}

/// A process on the other side of the master's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    Master,
    Worker,
}

impl Processes {
    /// The process that the text after `@` names: `master`, `1` or nothing, or `!` and a process number.
    pub(super) fn find(&self, text: &str) -> Option<Process> {
        match text {
            "" | "0" | "master" => Some(Process::Master),
            "1" => Some(Process::Worker),
            _ => {
                let pid: u32 = text.strip_prefix('!')?.parse().ok()?;
                (pid == self.worker).then_some(Process::Worker)
            }
        }
    }
}

impl Table {
    /// Of two commands with the same words the later one is kept.
    pub fn new(commands: impl IntoIterator<Item = Command>) -> Self {
        let mut table = Self::default();
        for command in commands {
            table.commands.retain(|known| known.words != command.words);
            table.commands.push(command);
        }
        table.commands.sort_by_key(|command| command.words);
        table
    }

    /// The same for the master's socket: these commands are the master's own, and those of a worker are reached by its
    /// number.
    pub fn master(commands: impl IntoIterator<Item = Command>, processes: Processes) -> Self {
        Self { processes: Some(processes), ..Self::new(commands) }
    }

    pub(super) fn processes(&self) -> Option<&Processes> {
        self.processes.as_ref()
    }

    /// The command that a line names, with the words that are left for it.
    pub(super) fn find<'a>(&self, line: &'a [&'a str]) -> Option<(&Command, &'a [&'a str])> {
        api::find(&self.commands, line)
    }

    /// Every command, or those nearest to `words`, each on a line, as HAProxy lays them out.
    pub(super) fn help(&self, words: &[&str]) -> String {
        let own: &[Entry] = if self.processes.is_some() { &MASTER } else { &SESSION };
        let mut entries = own.to_vec();
        entries.extend(
            self.commands
                .iter()
                .filter(|command| !command.help.is_empty())
                .map(|command| (command.words, command.usage, command.help)),
        );
        entries.sort_by_key(|(name, ..)| *name);
        let mut shown = nearest(entries, words);
        shown.extend(ALWAYS);
        let mut text = String::new();
        for (name, usage, about) in shown {
            let blank = if usage.is_empty() { "" } else { " " };
            let usage = name.join(" ") + blank + usage;
            text.push_str(&format!("  {usage:<40}: {about}\n"));
        }
        text
    }

    /// The answer to a command that does not exist.
    pub(super) fn unknown(&self, words: &[&str]) -> String {
        let head = if words.is_empty() {
            "Unknown command. Please enter one of the following commands only:\n"
        } else {
            "Unknown command, but maybe one of the following ones is a better match:\n"
        };
        head.to_owned() + &self.help(words)
    }
}

/// Name, usage and purpose of a command.
type Entry = (&'static [&'static str], &'static str, &'static str);

/// Those whose names the words begin; if there are none, the few with the fewest letters to change.
fn nearest(mut entries: Vec<Entry>, words: &[&str]) -> Vec<Entry> {
    let begun =
        |(name, ..): &&Entry| words.iter().zip(*name).all(|(word, name)| name.starts_with(word));
    let found: Vec<Entry> = entries.iter().filter(begun).copied().collect();
    if !found.is_empty() {
        return found;
    }
    entries.sort_by_cached_key(|(name, ..)| distance(words, name));
    let best = entries.first().map_or(0, |(name, ..)| distance(words, name));
    entries.truncate(SUGGESTIONS_MAX);
    entries.retain(|(name, ..)| distance(words, name) <= best + 1);
    entries.sort_by_key(|(name, ..)| *name);
    entries
}

/// Letters to change until `words` begin or are the name; letters are counted in the words that both have.
fn distance(words: &[&str], name: &[&str]) -> usize {
    let apart: usize =
        words.iter().zip(name).map(|(word, name)| edits(word.as_bytes(), name.as_bytes())).sum();
    apart + name.len().saturating_sub(words.len())
}

/// Levenshtein's distance; a word is cut at 32 bytes, longer than any name.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let a = &a[..a.len().min(32)];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Commands nearest to a mistyped one that are shown.
const SUGGESTIONS_MAX: usize = 5;

/// What the session itself answers, listed among the others.
const SESSION: [Entry; 5] = [
    (&["operator"], "", "lower the level of the current CLI session to operator"),
    (
        &["set", "severity-output"],
        "[none|number|string]",
        "set presence of severity level in feedback information",
    ),
    (&["set", "timeout"], "[cli] <delay>", "change a timeout setting"),
    (&["show", "cli", "level"], "", "display the level of the current CLI session"),
    (&["user"], "", "lower the level of the current CLI session to user"),
];

/// The same of the master's socket.
const MASTER: [Entry; 6] = [
    (&["@!<pid>"], "", "send a command to the <pid> process"),
    (&["@<relative pid>"], "", "send a command to the <relative pid> process"),
    (&["@master"], "", "send a command to the master process"),
    (&["operator"], "", "lower the level of the current CLI session to operator"),
    (&["show", "cli", "level"], "", "display the level of the current CLI session"),
    (&["user"], "", "lower the level of the current CLI session to user"),
];

/// What ends every list, in this order.
const ALWAYS: [Entry; 3] = [
    (&["help"], "[<command>]", "list matching or all commands"),
    (&["prompt"], "", "toggle interactive mode with prompt"),
    (&["quit"], "", "disconnect"),
];
