//! Commands that a plane offers on the stats socket.
//!
//! Each plane gives `bin` a list of [`Command`]s; the console puts them together, finds the one a
//! line names ([`find`]), checks the level and runs it. Commands run on the control thread.

use std::fmt;
use std::pin::Pin;

use crate::handover::Offer;

/// What a connection to the socket may do (`level`, default operator).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Look at what is not sensitive.
    User,
    /// Look at everything, change nothing that matters.
    #[default]
    Operator,
    /// Everything.
    Admin,
}

/// One command.
pub struct Command {
    /// The words it begins with: `["show", "servers", "state"]`.
    pub words: &'static [&'static str],
    /// Who may run it.
    pub level: Level,
    /// How it is written in the help, after its words: `[<backend>]`.
    pub usage: &'static str,
    /// What it does, in the help.
    pub help: &'static str,
    pub run: Box<dyn Fn(&Invocation<'_>) -> Answer>,
}

/// One line that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The words after the command's own.
    pub args: &'a [&'a str],
    /// The lines after `<<`, if there were any.
    pub payload: Option<&'a str>,
    /// Of the connection it came from.
    pub level: Level,
}

/// What a command says, without the empty line that ends it.
pub enum Answer {
    Text(String),
    /// It did not work; the text says why. Sent like any other text.
    Failure(String),
    /// A dump too large to be held at once.
    Parts(Parts),
    /// Listening sockets for the process at the other end, which ends the connection.
    Sockets(Vec<Offer>),
    /// It takes time; other connections are served meanwhile.
    Later(Pin<Box<dyn Future<Output = String>>>),
}

/// Appends the next part of a dump; `false` when it was the last.
pub type Parts = Box<dyn FnMut(&mut Vec<u8>) -> bool>;

/// Finds the command that a line names: the one with the most words that match.
///
/// Returns it with the words that are left for it.
pub fn find<'c, 'a>(
    commands: impl IntoIterator<Item = &'c Command>,
    line: &'a [&'a str],
) -> Option<(&'c Command, &'a [&'a str])> {
    let command = commands
        .into_iter()
        .filter(|command| line.starts_with(command.words))
        .max_by_key(|command| command.words.len())?;
    Some((command, &line[command.words.len()..]))
}

impl Level {
    /// The word in configurations and on the socket.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The reverse of [`Level::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Operator, Self::Admin].into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("words", &self.words).finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.debug_tuple("Text").field(text).finish(),
            Self::Failure(text) => f.debug_tuple("Failure").field(text).finish(),
            Self::Parts(_) => f.write_str("Parts"),
            Self::Sockets(offers) => f.debug_tuple("Sockets").field(offers).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &'static [&'static str]) -> Command {
        let run = Box::new(|_: &Invocation<'_>| Answer::Text(String::new()));
        Command { words, level: Level::User, usage: "", help: "", run }
    }

    #[track_caller]
    fn check(line: &str, expected: Option<(&str, usize)>) {
        let commands = [command(&["show", "servers", "state"]), command(&["show", "servers"])];
        let words: Vec<&str> = line.split_whitespace().collect();
        let found = find(&commands, &words);
        let found = found.map(|(command, args)| (command.words.join(" "), args.len()));
        assert_eq!(found, expected.map(|(words, args)| (words.to_owned(), args)));
    }

    #[test]
    fn the_longest_command_wins() {
        check("show servers state be1", Some(("show servers state", 1)));
        check("show servers conn", Some(("show servers", 1)));
        check("show", None);
        check("", None);
    }
}
