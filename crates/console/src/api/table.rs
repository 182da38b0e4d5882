//! The commands a socket knows: found by their words, listed by `help`.

use telamon_runtime::api::{self, Command};

/// Commands by name, sorted as `help` lists them.
#[derive(Debug, Default)]
pub struct Table {
    commands: Vec<Command>,
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

    /// The command that a line names, with the words that are left for it.
    pub(super) fn find<'a>(&self, line: &'a [&'a str]) -> Option<(&Command, &'a [&'a str])> {
        api::find(&self.commands, line)
    }

    /// Every command, or those nearest to `words`, each on a line, as HAProxy lays them out.
    pub(super) fn help(&self, words: &[&str]) -> String {
        let mut text = String::new();
        for command in self.nearest(words) {
            let usage = if command.usage.is_empty() { "" } else { " " };
            let usage = command.words.join(" ") + usage + command.usage;
            line(&mut text, &usage, command.help);
        }
        for (usage, about) in BUILT_IN {
            line(&mut text, usage, about);
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

    /// Those whose words the given ones begin; if there are none, the few with the fewest letters to change.
    fn nearest(&self, words: &[&str]) -> Vec<&Command> {
        let begun = |command: &&Command| {
            words.iter().zip(command.words).all(|(word, name)| name.starts_with(word))
        };
        let begun: Vec<_> = self.commands.iter().filter(begun).collect();
        if !begun.is_empty() {
            return begun;
        }
        let mut ranked: Vec<_> =
            self.commands.iter().map(|command| (distance(words, command.words), command)).collect();
        ranked.sort_by_key(|(distance, _)| *distance);
        let best = ranked.first().map_or(0, |(distance, _)| *distance);
        let mut near: Vec<_> = ranked
            .into_iter()
            .take(SUGGESTIONS_MAX)
            .filter(|(distance, _)| *distance <= best + 1)
            .map(|(_, command)| command)
            .collect();
        near.sort_by_key(|command| command.words);
        near
    }
}

fn line(text: &mut String, usage: &str, about: &str) {
    text.push_str(&format!("  {usage:<40}: {about}\n"));
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

/// What the session itself answers, at the end of every list as in HAProxy.
const BUILT_IN: [(&str, &str); 3] = [
    ("help [<command>]", "list matching or all commands"),
    ("prompt", "toggle interactive mode with prompt"),
    ("quit", "disconnect"),
];
