//! One client of the runtime API: reads commands, runs them, writes their answers.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use telamon_runtime::Socket;
use telamon_runtime::api::{Answer, Invocation, Level};

use super::Table;
use super::lex::{Input, Reader};
use super::table::Process;

/// What a client of a socket may do and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions {
    /// What the listener's `level` allows.
    pub level: Level,
    /// How long the client may be silent, or not read (`stats timeout`).
    pub timeout: Duration,
    /// Bytes of one command with its payload (`tune.bufsize`).
    pub command_len_max: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { level: Level::Operator, timeout: Duration::from_secs(10), command_len_max: 16384 }
    }
}

/// Serves one client until it is done, silent for too long, or gone.
///
/// A client that is not interactive is answered until no command of it is left, then the connection is closed;
/// closing its writing side does not cost it the answer.
///
/// # Errors
/// Those of the socket; [`io::ErrorKind::TimedOut`] when the client was silent or did not read.
pub async fn serve(socket: &Socket, table: &Table, options: SessionOptions) -> io::Result<()> {
    let mut session = Session {
        socket,
        table,
        level: options.level,
        timeout: options.timeout,
        interactive: false,
        process: Process::Master,
        severities: Severities::None,
        over: false,
    };
    session.run(options.command_len_max).await
}

struct Session<'a> {
    socket: &'a Socket,
    table: &'a Table,
    level: Level,
    timeout: Duration,
    /// `prompt` was said: the connection stays and is shown a prompt.
    interactive: bool,
    /// On the master's socket: whom commands are for that do not say it.
    process: Process,
    severities: Severities,
    /// The last answer was one that ends the connection.
    over: bool,
}

/// `set severity-output`: how messages are marked.
#[derive(Clone, Copy)]
enum Severities {
    None,
    Number,
    Text,
}

/// How grave a message is, with syslog's numbers.
#[derive(Clone, Copy)]
enum Severity {
    Error = 3,
    Info = 6,
}

/// What follows a command.
enum Next {
    /// The answer's empty line and, to interactive clients, the prompt.
    Prompt,
    Close,
}

impl Session<'_> {
    async fn run(&mut self, command_len_max: usize) -> io::Result<()> {
        let mut reader = Reader::new(command_len_max);
        let mut chunk = vec![0; READ_LEN];
        loop {
            while let Some(input) = reader.next() {
                if matches!(self.answer(input).await?, Next::Close) {
                    return self.socket.shutdown_write();
                }
                if !self.interactive && reader.is_empty() {
                    return self.socket.shutdown_write();
                }
            }
            match self.in_time(self.socket.read(&mut chunk)).await? {
                0 => return self.socket.shutdown_write(), // what is left is a command cut short: never run
                len => reader.feed(&chunk[..len]),
            }
        }
    }

    async fn answer(&mut self, input: Input) -> io::Result<Next> {
        match input {
            Input::Request(request) => {
                let words: Vec<&str> = request.words.iter().map(String::as_str).collect();
                if words.first() == Some(&"quit") {
                    return Ok(Next::Close);
                }
                if self.chooses(&words) {
                    self.write(self.prompt().as_bytes()).await?;
                    return Ok(Next::Prompt);
                }
                self.execute_for(&words, request.payload.as_deref()).await?;
                if self.over {
                    return Ok(Next::Close);
                }
            }
            Input::MorePayload => {
                if self.interactive {
                    self.write(b"+ ").await?;
                }
                return Ok(Next::Prompt);
            }
            Input::Refused(why) => self.say(Severity::Error, why).await?,
            Input::TooLong => {
                self.write(b"The command is longer than tune.bufsize.\n\n").await?;
                return Ok(Next::Close);
            }
        }
        let end = format!("\n{}", self.prompt());
        self.write(end.as_bytes()).await?;
        Ok(Next::Prompt)
    }

    /// What invites an interactive client to go on.
    fn prompt(&self) -> Cow<'static, str> {
        match (self.interactive, self.table.processes()) {
            (false, _) => "".into(),
            (true, None) => "> ".into(),
            (true, Some(processes)) => match self.process {
                Process::Master => "master> ".into(),
                Process::Worker => format!("{}> ", processes.worker).into(),
            },
        }
    }

    /// On the master's socket: a line that only says whom what follows is for, or asks for a prompt. It is not answered.
    fn chooses(&mut self, words: &[&str]) -> bool {
        let Some(processes) = self.table.processes() else { return false };
        match words {
            ["prompt"] => self.interactive = !self.interactive,
            [word] => match word.strip_prefix('@').and_then(|name| processes.find(name)) {
                Some(process) => self.process = process,
                None => return false,
            },
            _ => return false,
        }
        true
    }

    /// Executes a command, which on the master's socket may begin with whom it is for.
    async fn execute_for(&mut self, words: &[&str], payload: Option<&str>) -> io::Result<()> {
        let Some(processes) = self.table.processes() else {
            return self.execute(self.table, words, payload).await;
        };
        let (process, words) = match words {
            [first, rest @ ..] if first.starts_with('@') => match processes.find(&first[1..]) {
                Some(process) => (process, rest),
                None => {
                    let why = format!("Can't find the target PID matching the prefix '{first}'\n");
                    return self.say(Severity::Error, &why).await;
                }
            },
            words => (self.process, words),
        };
        match process {
            Process::Master => self.execute(self.table, words, payload).await,
            Process::Worker => self.execute(&processes.worker_table, words, payload).await,
        }
    }

    /// Answers what concerns the session itself, else runs the command of the table.
    async fn execute(
        &mut self,
        table: &Table,
        words: &[&str],
        payload: Option<&str>,
    ) -> io::Result<()> {
        let done = match words {
            ["help", topic @ ..] => {
                let head = "The following commands are valid at this level:\n";
                return self.say(Severity::Info, &(head.to_owned() + &table.help(topic))).await;
            }
            ["show", "cli", "level", ..] => {
                return self.say(Severity::Info, &format!("{}\n", self.level.name())).await;
            }
            ["prompt", ..] => {
                self.interactive = !self.interactive;
                Ok(())
            }
            ["operator", ..] => self.lower(Level::Operator),
            ["user", ..] => self.lower(Level::User),
            ["set", "timeout", "cli", rest @ ..] => self.set_timeout(rest),
            ["set", "timeout", ..] => Err("'set timeout' only supports 'cli'.\n"),
            ["set", "severity-output", rest @ ..] => self.set_severities(rest),
            _ => match table.find(words) {
                Some((command, _)) if self.level < command.level => Err("Permission denied\n"),
                Some((command, args)) => {
                    let answer = (command.run)(&Invocation { args, payload, level: self.level });
                    return self.write_answer(answer).await;
                }
                None => return self.say(Severity::Info, &table.unknown(words)).await,
            },
        };
        match done {
            Ok(()) => Ok(()),
            Err(why) => self.say(Severity::Error, why).await,
        }
    }

    fn lower(&mut self, level: Level) -> Result<(), &'static str> {
        if self.level < level {
            return Err("Permission denied\n");
        }
        self.level = level;
        Ok(())
    }

    fn set_timeout(&mut self, args: &[&str]) -> Result<(), &'static str> {
        let text = args.first().ok_or("Expects an integer value.\n")?;
        self.timeout = seconds(text).ok_or("Invalid timeout value.\n")?;
        Ok(())
    }

    fn set_severities(&mut self, args: &[&str]) -> Result<(), &'static str> {
        self.severities = match args.first() {
            Some(&"none") => Severities::None,
            Some(&"number") => Severities::Number,
            Some(&"string") => Severities::Text,
            _ => return Err("one of 'none', 'number', 'string' is a required argument\n"),
        };
        Ok(())
    }

    async fn write_answer(&mut self, answer: Answer) -> io::Result<()> {
        match answer {
            Answer::Text(text) => self.write(text.as_bytes()).await,
            Answer::Failure(text) => self.say(Severity::Error, &text).await,
            Answer::Sockets(offers) => {
                self.over = true;
                telamon_runtime::handover::give(self.socket, &offers).await
            }
            Answer::Later(later) => self.write(later.await.as_bytes()).await,
            Answer::Parts(mut parts) => {
                let mut chunk = Vec::new();
                loop {
                    let more = parts(&mut chunk);
                    self.write(&chunk).await?;
                    chunk.clear();
                    if !more {
                        return Ok(());
                    }
                    // A reader as fast as the writer must not keep the control thread.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Writes a message, with how grave it is if the client wants to know.
    async fn say(&self, severity: Severity, text: &str) -> io::Result<()> {
        let marked = match self.severities {
            Severities::None => return self.write(text.as_bytes()).await,
            Severities::Number => format!("[{}]: {text}", severity as u8),
            Severities::Text => format!("[{}]: {text}", severity.word()),
        };
        self.write(marked.as_bytes()).await
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let len = self.in_time(self.socket.write(bytes)).await?;
            bytes = &bytes[len..];
        }
        Ok(())
    }

    async fn in_time(&self, io: impl Future<Output = io::Result<usize>>) -> io::Result<usize> {
        tokio::time::timeout(self.timeout, io).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "err",
            Self::Info => "info",
        }
    }
}

/// Reads a delay: seconds unless suffixed with `us`, `ms`, `s`, `m`, `h` or `d`; none below a second.
fn seconds(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let factor = match &text[end..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        "ms" => return whole(number / 1000),
        "us" => return whole(number / 1_000_000),
        _ => return None,
    };
    whole(number.checked_mul(factor)?)
}

fn whole(seconds: u64) -> Option<Duration> {
    (1..=TIMEOUT_MAX).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// Bytes read from the client at a time.
const READ_LEN: usize = 4096;
/// The longest timeout in seconds: what milliseconds in 31 bits hold, as HAProxy's timers.
const TIMEOUT_MAX: u64 = i32::MAX as u64 / 1000;

#[cfg(test)]
mod tests;
