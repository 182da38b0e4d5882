//! The line protocol of the runtime API: bytes in, requests out, no I/O.
//!
//! Commands end at a newline or at `;`; a backslash takes the next byte literally; words are split at blanks. A
//! line whose last word is `<<` is followed by a payload, which an empty line ends. The master's socket speaks the
//! same protocol.

use std::collections::VecDeque;

/// What the client sent next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A command, complete with its payload; no words for an empty line.
    Request(Request),
    /// A line of a payload has been read and more must follow; interactive clients are shown `+ `.
    MorePayload,
    /// The line cannot be a command; what was wrong is for the client.
    Refused(&'static str),
    /// A command or payload is longer than the limit. Nothing after it can be understood: close.
    TooLong,
}

/// One command as the client wrote it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) words: Vec<String>,
    /// The lines between `<<` and the empty line, each with its newline.
    pub(super) payload: Option<String>,
}

/// Collects the client's bytes and cuts them into [`Input`]s.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: VecDeque<u8>,
    /// Bytes of `buffer` known to hold no end of a command.
    scanned: usize,
    /// The command whose payload is being read.
    open: Option<(Vec<String>, Vec<u8>)>,
    /// The last command ended with its line, not at a `;` that others follow.
    at_line_end: bool,
    limit: usize,
}

impl Reader {
    /// Refuses commands that are, with their payload, longer than `limit` bytes (`tune.bufsize`).
    pub(super) fn new(limit: usize) -> Self {
        Self { buffer: VecDeque::new(), scanned: 0, open: None, at_line_end: true, limit }
    }

    /// Takes what was read from the client. Call [`next`](Self::next) until it is `None` before the next read, so
    /// that no more than one read's bytes beyond the limit are ever held.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// Returns the next input, or `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Option<Input> {
        let Some(end) = self.find_end() else {
            return (self.held_with(self.buffer.len()) > self.limit).then_some(Input::TooLong);
        };
        if self.held_with(end) > self.limit {
            return Some(Input::TooLong);
        }
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        self.scanned = 0;
        self.at_line_end = line.pop() == Some(b'\n');
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        match self.open.take() {
            Some((words, payload)) if line.is_empty() => Some(finish(words, payload)),
            Some((words, mut payload)) => {
                payload.extend_from_slice(&line);
                payload.push(b'\n');
                self.open = Some((words, payload));
                Some(Input::MorePayload)
            }
            None => Some(self.command(&line)),
        }
    }

    /// Whether nothing is held of a command that has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.open.is_none() && self.at_line_end
    }

    fn held_with(&self, line: usize) -> usize {
        line + self.open.as_ref().map_or(0, |(_, payload)| payload.len())
    }

    /// Where the line ends: at a newline, for commands also at `;`, unless a backslash stands before it.
    fn find_end(&mut self) -> Option<usize> {
        let in_payload = self.open.is_some();
        let mut at = self.scanned;
        while let Some(&byte) = self.buffer.get(at) {
            match byte {
                b'\n' => return Some(at),
                b';' if !in_payload => return Some(at),
                // Both bytes at once; an escape that a read has cut in two is looked at again.
                b'\\' if !in_payload && at + 1 == self.buffer.len() => break,
                b'\\' if !in_payload => at += 1,
                _ => {}
            }
            at += 1;
        }
        self.scanned = at;
        None
    }

    fn command(&mut self, line: &[u8]) -> Input {
        let Ok(line) = std::str::from_utf8(line) else {
            return Input::Refused("The command is not valid UTF-8.\n");
        };
        if line.bytes().any(|byte| byte == 0) {
            return Input::Refused("The command holds a NUL byte.\n");
        }
        let mut words = split(line);
        if words.len() > WORDS_MAX {
            return Input::Refused("Too many words in the command.\n");
        }
        if words.last().is_some_and(|word| word == PAYLOAD) {
            words.pop();
            self.open = Some((words, Vec::new()));
            return Input::MorePayload;
        }
        Input::Request(Request { words, payload: None })
    }
}

fn finish(words: Vec<String>, payload: Vec<u8>) -> Input {
    match String::from_utf8(payload) {
        Ok(payload) => Input::Request(Request { words, payload: Some(payload) }),
        Err(_) => Input::Refused("The payload is not valid UTF-8.\n"),
    }
}

fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Words that one command may have.
const WORDS_MAX: usize = 64;
const PAYLOAD: &str = "<<";

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the input whole and byte by byte; requests are shown as `[word,word|payload]`.
    #[track_caller]
    fn check(input: &str, expected: &str) {
        let mut whole = Reader::new(64);
        whole.feed(input.as_bytes());
        assert_eq!(shown(&mut whole), expected, "whole");
        let mut bytewise = Reader::new(64);
        let mut text = String::new();
        for byte in input.bytes() {
            bytewise.feed(&[byte]);
            text += &shown(&mut bytewise);
        }
        assert_eq!(text, expected, "byte by byte");
    }

    fn shown(reader: &mut Reader) -> String {
        let mut text = String::new();
        while let Some(input) = reader.next() {
            match input {
                Input::Request(Request { words, payload }) => {
                    let payload = payload.map(|payload| format!("|{payload}")).unwrap_or_default();
                    text += &format!("[{}{payload}]", words.join(","));
                }
                Input::MorePayload => text += "+",
                Input::Refused(_) => text += "!",
                Input::TooLong => return text + "#",
            }
        }
        text
    }

    #[test]
    fn commands_and_words() {
        check("show info\n", "[show,info]");
        check("  show \t info  \r\n", "[show,info]");
        check("show info", ""); // cut short: never run
        check("a;b; c\n", "[a][b][c]");
        check("a;", "[a]");
        check("\n;\n", "[][][]");
        check("set map #1 a\\;b c\\ d e\\\\f\n", "[set,map,#1,a;b,c d,e\\f]");
        check("a\\\n", "");
        check("a\0b\n", "!");
    }

    #[test]
    fn a_line_goes_on_after_a_semicolon() {
        let mut reader = Reader::new(64);
        reader.feed(b"a;");
        assert_eq!(shown(&mut reader), "[a]");
        assert!(!reader.is_empty());
        reader.feed(b"b\n");
        assert_eq!(shown(&mut reader), "[b]");
        assert!(reader.is_empty());
    }

    #[test]
    fn payloads() {
        check("add map x <<\na b\nc;d\n\nshow info\n", "+++[add,map,x|a b\nc;d\n][show,info]");
        check("a <<\n\n", "+[a|]");
        check("a<<\nb <<c\n", "[a<<][b,<<c]");
    }

    #[test]
    fn limits() {
        check(&format!("{}\n", "a".repeat(64)), &format!("[{}]", "a".repeat(64)));
        let mut reader = Reader::new(64);
        reader.feed(&[b'a'; 65]);
        assert_eq!(reader.next(), Some(Input::TooLong));
        let mut reader = Reader::new(16);
        reader.feed(b"a <<\nbbbbbbbb\ncccccccc\n");
        assert_eq!(shown(&mut reader), "++#");
        let mut reader = Reader::new(1024);
        reader.feed(&[b"a ".repeat(65), b"\na\n".to_vec()].concat());
        assert_eq!(shown(&mut reader), "![a]");
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let mut reader = Reader::new(64);
        reader.feed(b"show \xff\nshow info\n");
        assert_eq!(shown(&mut reader), "![show,info]");
    }
}
