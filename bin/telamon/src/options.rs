//! The command line: HAProxy's own options in HAProxy's meaning, and the verbs beside them.
//!
//! One table ([`OPTIONS`]) says what exists; parsing, `--help` and the shell completions are made from it. HAProxy's
//! style (`-dM0x55`, `-sf PID PID`, letters that are no bundle) is not getopt's, so no library for it fits.
//! Source: HAProxy management guide, 3. Starting HAProxy.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) verb: Verb,
    /// `-f` and what follows `--`, in order.
    pub(crate) files: Vec<PathBuf>,
    /// `-C`: changed to before any file is read.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) pidfile: Option<PathBuf>,
    /// `-n`: replaces `maxconn` of the global section.
    pub(crate) maxconn: Option<u32>,
    /// `-N`: `maxconn` of proxies that set none.
    pub(crate) proxy_maxconn: Option<u32>,
    /// `-m`: megabytes of memory the process may use.
    pub(crate) memory_mb: Option<u64>,
    /// `-L`: the local peer's name; the host's name otherwise.
    pub(crate) local_peer: Option<String>,
    /// `-S`: where the master listens, with the settings of a `bind` line after commas.
    pub(crate) master_socket: Option<String>,
    pub(crate) daemon: bool,
    /// `-db`: never in the background.
    pub(crate) foreground: bool,
    pub(crate) debug: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    pub(crate) master_worker: bool,
    /// `-Ws`: master-worker that tells systemd when it is ready.
    pub(crate) notify: bool,
    /// `-dW`: a warning is an error.
    pub(crate) warnings_are_errors: bool,
    /// `-dD`: also says what is merely suspicious.
    pub(crate) diagnostics: bool,
    /// `-dS`: never splice.
    pub(crate) no_splice: bool,
    /// `-dr`: a server's name that does not resolve is no error.
    pub(crate) ignore_resolve_failures: bool,
    /// `-sf` (finish) or `-st` (terminate) and the processes to tell once this one listens.
    pub(crate) replaces: Option<Replaces>,
    /// `-x`: the stats socket of the old process, whose listening sockets are taken over.
    pub(crate) takeover_socket: Option<PathBuf>,
    /// `--lenient`: what HAProxy knows and Telamon does not yet is a warning where ignoring it is harmless.
    pub(crate) lenient: bool,
    /// `--offline`: looks at the language alone, not at files, names, users or ports.
    pub(crate) offline: bool,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Run the configuration.
    #[default]
    Run,
    /// `-c`, `telamon check`.
    Check,
    /// `-cc EXPR`.
    Condition(String),
    Demo,
    Help,
    /// `-v`.
    Version,
    /// `-vv`.
    BuildInfo,
    /// `telamon completions SHELL`.
    Completions(Shell),
    /// `telamon keywords`: the keyword tables as Markdown.
    Keywords,
    /// `telamon simulate …`, with what follows it.
    Simulate(Vec<OsString>),
}

/// `-sf` and `-st`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replaces {
    pub(crate) how: ReplaceHow,
    pub(crate) pids: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplaceHow {
    Finish,
    Terminate,
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// A command line that makes no sense. Each message names the argument and what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OptionError {
    Unknown { found: String, nearest: Option<&'static str> },
    Missing { option: &'static str, value: &'static str },
    BadNumber { option: &'static str, found: String },
    BadShell { found: String },
    NoFile,
}

impl std::error::Error for OptionError {}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { found, nearest: Some(near) } => {
                write!(f, "`{found}` is no option or command; did you mean `{near}`?")
            }
            Self::Unknown { found, nearest: None } => {
                write!(f, "`{found}` is no option or command")
            }
            Self::Missing { option, value } => write!(f, "`{option}` needs {value} after it"),
            Self::BadNumber { option, found } => {
                write!(f, "`{option}` needs a whole number, found `{found}`")
            }
            Self::BadShell { found } => {
                write!(f, "completions exist for bash, zsh and fish, not for `{found}`")
            }
            Self::NoFile => write!(f, "no configuration file given; name one with `-f FILE`"),
        }
    }
}

/// One row of the table of options.
struct OptionRow {
    flag: &'static str,
    /// How its value is shown in the help; empty for a switch.
    value: &'static str,
    help: &'static str,
    take: Take,
}

/// How an option reads what follows it.
enum Take {
    Switch(fn(&mut Options)),
    Value(fn(&mut Options, OsString) -> Result<(), OptionError>),
    /// The value, if any, is glued to the flag: `-dM0x55`.
    Glued(fn(&mut Options)),
    /// Every following argument that is a number.
    Pids(ReplaceHow),
    /// Every following argument, to the end.
    Rest,
}

const OPTIONS: &[OptionRow] = &[
    row(
        "-f",
        "FILE|DIR",
        "configuration file, or folder of *.cfg files; may be repeated",
        Take::Value(|o, v| {
            o.files.push(v.into());
            Ok(())
        }),
    ),
    row("--", "FILE...", "everything that follows is a configuration file", Take::Rest),
    row(
        "-c",
        "",
        "check the configuration and exit: 0 valid, 1 invalid, 2 valid but nothing listens",
        Take::Switch(|o| o.verb = Verb::Check),
    ),
    row(
        "-cc",
        "EXPR",
        "evaluate the condition of an .if line and exit: 0 true, 1 false, 2 error",
        Take::Value(|o, v| {
            o.verb = Verb::Condition(v.to_string_lossy().into_owned());
            Ok(())
        }),
    ),
    row(
        "-C",
        "DIR",
        "change to DIR before reading files",
        Take::Value(|o, v| {
            o.directory = Some(v.into());
            Ok(())
        }),
    ),
    row("-D", "", "run in the background", Take::Switch(|o| o.daemon = true)),
    row(
        "-db",
        "",
        "stay in the foreground, whatever the configuration says",
        Take::Switch(|o| o.foreground = true),
    ),
    row(
        "-d",
        "",
        "debug mode: foreground, and every message is shown",
        Take::Switch(|o| o.debug = true),
    ),
    row(
        "-W",
        "",
        "master-worker: a small parent keeps the privileges and reloads on USR2",
        Take::Switch(|o| o.master_worker = true),
    ),
    row(
        "-Ws",
        "",
        "master-worker that tells systemd when it is ready",
        Take::Switch(|o| {
            o.master_worker = true;
            o.notify = true;
        }),
    ),
    row(
        "-S",
        "ADDRESS",
        "where the master listens for commands",
        Take::Value(|o, v| {
            o.master_socket = Some(v.to_string_lossy().into_owned());
            Ok(())
        }),
    ),
    row(
        "-p",
        "FILE",
        "write the process number to FILE",
        Take::Value(|o, v| {
            o.pidfile = Some(v.into());
            Ok(())
        }),
    ),
    row(
        "-n",
        "N",
        "maxconn of the whole process",
        Take::Value(|o, v| {
            o.maxconn = Some(number("-n", &v)?);
            Ok(())
        }),
    ),
    row(
        "-N",
        "N",
        "maxconn of proxies that set none",
        Take::Value(|o, v| {
            o.proxy_maxconn = Some(number("-N", &v)?);
            Ok(())
        }),
    ),
    row(
        "-m",
        "MB",
        "memory that the process may use, in megabytes",
        Take::Value(|o, v| {
            o.memory_mb = Some(number("-m", &v)?);
            Ok(())
        }),
    ),
    row(
        "-L",
        "NAME",
        "the local peer's name (default: the host's)",
        Take::Value(|o, v| {
            o.local_peer = Some(v.to_string_lossy().into_owned());
            Ok(())
        }),
    ),
    row(
        "-sf",
        "PID...",
        "once listening, tell these processes to finish what they have and leave",
        Take::Pids(ReplaceHow::Finish),
    ),
    row(
        "-st",
        "PID...",
        "once listening, tell these processes to stop at once",
        Take::Pids(ReplaceHow::Terminate),
    ),
    row(
        "-x",
        "SOCKET",
        "take over the listening sockets through the old process's stats socket",
        Take::Value(|o, v| {
            o.takeover_socket = Some(v.into());
            Ok(())
        }),
    ),
    row("-q", "", "say nothing at the start", Take::Switch(|o| o.quiet = true)),
    row(
        "-V",
        "",
        "say more; undoes -q",
        Take::Switch(|o| {
            o.verbose = true;
            o.quiet = false;
        }),
    ),
    row("-v", "", "show the version", Take::Switch(|o| o.verb = Verb::Version)),
    row(
        "-vv",
        "",
        "show the version and how this program was built",
        Take::Switch(|o| o.verb = Verb::BuildInfo),
    ),
    row(
        "-dW",
        "",
        "refuse to start when there is a warning",
        Take::Switch(|o| o.warnings_are_errors = true),
    ),
    row("-dD", "", "also say what is merely suspicious", Take::Switch(|o| o.diagnostics = true)),
    row(
        "-dr",
        "",
        "a server's name that does not resolve is no error",
        Take::Switch(|o| o.ignore_resolve_failures = true),
    ),
    row("-dS", "", "never use splice()", Take::Switch(|o| o.no_splice = true)),
    row("-dM", "[BYTE]", "accepted; memory is always initialized here", Take::Glued(|_| ())),
    row(
        "-dI",
        "",
        "accepted; integrity checks of memory pools have no counterpart here",
        Take::Switch(|_| ()),
    ),
    row("-de", "", "accepted; epoll is the only poller here", Take::Switch(|_| ())),
    row("-dp", "", "accepted; epoll is the only poller here", Take::Switch(|_| ())),
    row(
        "-dG",
        "",
        "accepted; names are always resolved by the system's resolver",
        Take::Switch(|_| ()),
    ),
    row(
        "-dR",
        "",
        "accepted; SO_REUSEPORT is used where the address allows it",
        Take::Switch(|_| ()),
    ),
    row("-dV", "", "accepted; without effect until there is TLS to servers", Take::Switch(|_| ())),
    row("-dL", "", "accepted; this program loads no libraries", Take::Switch(|_| ())),
    row(
        "--offline",
        "",
        "with check: the language alone, not files, names, users or ports",
        Take::Switch(|o| o.offline = true),
    ),
    row(
        "--lenient",
        "",
        "what HAProxy knows and Telamon does not yet is a warning where that is harmless",
        Take::Switch(|o| o.lenient = true),
    ),
    row("--help", "", "show this help", Take::Switch(|o| o.verb = Verb::Help)),
    row("-h", "", "show this help", Take::Switch(|o| o.verb = Verb::Help)),
    row("--version", "", "show the version", Take::Switch(|o| o.verb = Verb::Version)),
];

const VERBS: &[(&str, &str, &str)] = &[
    ("check", "FILE...", "check configurations; shows every mistake in one run"),
    ("demo", "", "four small servers, a balancer and the status page, to try things on"),
    ("simulate", "FILE...", "try strategies on servers that are not there (simulate --help)"),
    ("keywords", "", "print every keyword of the configuration language as Markdown"),
    ("completions", "bash|zsh|fish", "print a completion script for your shell"),
];

const fn row(flag: &'static str, value: &'static str, help: &'static str, take: Take) -> OptionRow {
    OptionRow { flag, value, help, take }
}

impl Options {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, OptionError> {
        let mut options = Self::default();
        let mut args = args.into_iter().peekable();
        if let Some(verb) = args.peek().and_then(|arg| arg.to_str()).map(str::to_owned)
            && !verb.starts_with('-')
        {
            args.next();
            options.verb = match verb.as_str() {
                "check" => Verb::Check,
                "demo" => Verb::Demo,
                "keywords" => Verb::Keywords,
                "simulate" => {
                    options.verb = Verb::Simulate(args.collect());
                    return Ok(options);
                }
                "help" => Verb::Help,
                "completions" => Verb::Completions(shell(args.next())?),
                _ => return Err(unknown(&verb)),
            };
        }
        let verb_takes_files = options.verb == Verb::Check;
        while let Some(arg) = args.next() {
            let text = arg.to_string_lossy().into_owned();
            if verb_takes_files && !text.starts_with('-') {
                options.files.push(arg.into());
                continue;
            }
            let found = OPTIONS.iter().find(|row| match row.take {
                Take::Glued(_) => text.starts_with(row.flag),
                _ => text == row.flag,
            });
            let Some(found) = found else { return Err(unknown(&text)) };
            match &found.take {
                Take::Switch(set) | Take::Glued(set) => set(&mut options),
                Take::Value(set) => {
                    let value = args
                        .next()
                        .ok_or(OptionError::Missing { option: found.flag, value: found.value })?;
                    set(&mut options, value)?;
                }
                Take::Pids(how) => {
                    let mut pids = Vec::new();
                    while let Some(next) = args.peek() {
                        let bytes = next.as_bytes();
                        if !bytes.first().is_some_and(u8::is_ascii_digit) {
                            break;
                        }
                        pids.push(number(found.flag, next)?);
                        args.next();
                    }
                    options.replaces = Some(Replaces { how: *how, pids });
                }
                Take::Rest => options.files.extend(args.by_ref().map(PathBuf::from)),
            }
        }
        if options.debug {
            options.foreground = true;
            options.quiet = false;
        }
        if options.files.is_empty() && matches!(options.verb, Verb::Run | Verb::Check) {
            return Err(OptionError::NoFile);
        }
        Ok(options)
    }
}

/// The text of `--help`.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "Telamon balances load: it runs the HAProxy configuration you already have.\n\n\
         Usage: telamon -f FILE [OPTIONS]\n       telamon COMMAND\n\n\
         To try it:        telamon demo\n\
         To check a file:  telamon check haproxy.cfg\n\
         To run it:        telamon -f haproxy.cfg\n\nCommands:\n",
    );
    for (verb, value, help) in VERBS {
        text.push_str(&format!("  {:<22} {help}\n", format!("{verb} {value}")));
    }
    text.push_str("\nOptions (HAProxy's, in HAProxy's meaning):\n");
    for row in OPTIONS {
        text.push_str(&format!("  {:<22} {}\n", format!("{} {}", row.flag, row.value), row.help));
    }
    text.push_str(
        "\nSignals: TERM and INT stop at once; USR1 stops accepting and finishes what is in flight;\n\
         USR2 reloads the configuration; HUP reloads under -W, else logs the servers' states.\n",
    );
    text
}

/// A completion script made from the same tables.
pub(crate) fn completions(shell: Shell) -> String {
    let flags = || OPTIONS.iter().filter(|row| row.flag != "--");
    match shell {
        Shell::Bash => {
            let simulate: Vec<_> = crate::simulate::flags().map(|flag| flag.0).collect();
            let words: Vec<_> =
                VERBS.iter().map(|verb| verb.0).chain(flags().map(|row| row.flag)).collect();
            format!(
                "_telamon() {{\n  local word=\"${{COMP_WORDS[COMP_CWORD]}}\"\n  \
                 if [ \"${{COMP_WORDS[1]}}\" = simulate ] && [ \"$COMP_CWORD\" -gt 1 ]; then\n    \
                 COMPREPLY=($(compgen -W '{}' -- \"$word\") $(compgen -f -- \"$word\"))\n    return\n  fi\n  \
                 case \"${{COMP_WORDS[COMP_CWORD-1]}}\" in\n    \
                 -f|-p|-x|check) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n    \
                 -C) COMPREPLY=($(compgen -d -- \"$word\")) ;;\n    \
                 completions) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$word\")) ;;\n    \
                 *) COMPREPLY=($(compgen -W '{}' -- \"$word\")) ;;\n  esac\n}}\n\
                 complete -o filenames -F _telamon telamon\n",
                simulate.join(" "),
                words.join(" ")
            )
        }
        Shell::Zsh => {
            let mut text = String::from("#compdef telamon\n_arguments \\\n");
            for row in flags() {
                let value = match row.value {
                    "" | "[BYTE]" => String::new(),
                    "FILE" | "FILE|DIR" | "SOCKET" => {
                        format!(":{}:_files", row.value.to_lowercase())
                    }
                    "DIR" => ":dir:_files -/".to_owned(),
                    other => format!(":{}:", other.to_lowercase()),
                };
                text.push_str(&format!("  '*{}[{}]{value}' \\\n", row.flag, escape_zsh(row.help)));
            }
            for (flag, value, help) in crate::simulate::flags() {
                let value = if value.is_empty() {
                    String::new()
                } else {
                    format!(":{}:", value.to_lowercase())
                };
                let (help, value) = (escape_zsh(help), escape_zsh(&value));
                text.push_str(&format!("  '*{flag}[simulate: {help}]{value}' \\\n"));
            }
            let verbs: Vec<_> = VERBS.iter().map(|verb| verb.0).collect();
            text.push_str(&format!("  '1:command:({})' '*:file:_files'\n", verbs.join(" ")));
            text
        }
        Shell::Fish => {
            let mut text = String::new();
            for (verb, _, help) in VERBS {
                text.push_str(&format!(
                    "complete -c telamon -n __fish_use_subcommand -a {verb} -d \"{help}\"\n"
                ));
            }
            for row in flags() {
                let (kind, name) = match row.flag.strip_prefix("--") {
                    Some(long) => ("-l", long),
                    None => ("-o", row.flag.trim_start_matches('-')),
                };
                let needs = if row.value.is_empty() || row.value == "[BYTE]" { "" } else { " -r" };
                text.push_str(&format!(
                    "complete -c telamon {kind} {name}{needs} -d \"{}\"\n",
                    row.help
                ));
            }
            for (flag, value, help) in crate::simulate::flags() {
                let (name, help) = (flag.trim_start_matches('-'), help.replace('`', "'"));
                let needs = if value.is_empty() { "" } else { " -r" };
                text.push_str(&format!(
                    "complete -c telamon -n '__fish_seen_subcommand_from simulate' -l {name}{needs} -d \"{help}\"\n"
                ));
            }
            text
        }
    }
}

fn escape_zsh(text: &str) -> String {
    text.replace('[', "\\[").replace(']', "\\]").replace('\'', "'\\''")
}

fn shell(word: Option<OsString>) -> Result<Shell, OptionError> {
    let word =
        word.ok_or(OptionError::Missing { option: "completions", value: "bash|zsh|fish" })?;
    match word.to_str() {
        Some("bash") => Ok(Shell::Bash),
        Some("zsh") => Ok(Shell::Zsh),
        Some("fish") => Ok(Shell::Fish),
        _ => Err(OptionError::BadShell { found: word.to_string_lossy().into_owned() }),
    }
}

fn number<T: std::str::FromStr>(option: &'static str, value: &OsString) -> Result<T, OptionError> {
    value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| OptionError::BadNumber {
        option,
        found: value.to_string_lossy().into_owned(),
    })
}

fn unknown(found: &str) -> OptionError {
    let words = VERBS.iter().map(|verb| verb.0).chain(OPTIONS.iter().map(|row| row.flag));
    OptionError::Unknown { found: found.to_owned(), nearest: telamon_config::nearest(found, words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, OptionError> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[track_caller]
    fn check(line: &str, expected: impl FnOnce(&mut Options)) {
        let mut options = Options::default();
        expected(&mut options);
        assert_eq!(parse(line), Ok(options));
    }

    #[test]
    fn options_mean_what_they_mean_in_haproxy() {
        check("-f a.cfg -f b", |o| o.files = vec!["a.cfg".into(), "b".into()]);
        check("-db -- a.cfg b.cfg", |o| {
            o.foreground = true;
            o.files = vec!["a.cfg".into(), "b.cfg".into()];
        });
        check("-c -f x", |o| {
            o.verb = Verb::Check;
            o.files = vec!["x".into()];
        });
        check("-sf 12 34 -f x", |o| {
            o.replaces = Some(Replaces { how: ReplaceHow::Finish, pids: vec![12, 34] });
            o.files = vec!["x".into()];
        });
        check("-Ws -f /etc/h.cfg -p /run/h.pid -S /run/m.sock", |o| {
            o.master_worker = true;
            o.notify = true;
            o.files = vec!["/etc/h.cfg".into()];
            o.pidfile = Some("/run/h.pid".into());
            o.master_socket = Some("/run/m.sock".into());
        });
        check("-d -dM0x55 -dI -dW -L A -f x", |o| {
            o.debug = true;
            o.foreground = true;
            o.warnings_are_errors = true;
            o.local_peer = Some("A".into());
            o.files = vec!["x".into()];
        });
        check("check --offline x.cfg", |o| {
            o.verb = Verb::Check;
            o.offline = true;
            o.files = vec!["x.cfg".into()];
        });
    }

    #[test]
    fn mistakes_name_the_argument() {
        assert_eq!(parse(""), Err(OptionError::NoFile));
        assert_eq!(
            parse("-n 5x"),
            Err(OptionError::BadNumber { option: "-n", found: "5x".into() })
        );
        assert_eq!(parse("-f"), Err(OptionError::Missing { option: "-f", value: "FILE|DIR" }));
        assert_eq!(
            parse("chekc x"),
            Err(OptionError::Unknown { found: "chekc".into(), nearest: Some("check") })
        );
    }

    #[test]
    fn every_option_is_in_the_help_and_the_completions() {
        let help = help();
        for row in OPTIONS {
            assert!(help.contains(row.flag), "{}", row.flag);
            if row.flag != "--" {
                assert!(completions(Shell::Bash).contains(row.flag));
            }
        }
    }
}
