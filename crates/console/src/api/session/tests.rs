//! What is expected here was asked of Debian's HAProxy 2.6.12 through `socat`.

use std::rc::Rc;
use std::sync::Arc;

use telamon_runtime::Endpoint;
use telamon_runtime::api::Command;

use super::*;
use crate::Console;
use crate::api::{CliSocket, Processes, generic};
use crate::recorded::Recorded;

fn table() -> Table {
    let console = Arc::new(Console::new(vec![Arc::new(Recorded::default())]));
    let sockets = vec![
        CliSocket { address: Endpoint::Unix("/run/adm.sock".into()), level: Level::Admin },
        CliSocket {
            address: Endpoint::Inet("127.0.0.1:9999".parse().unwrap()),
            level: Level::Operator,
        },
        CliSocket { address: Endpoint::Inet("[::1]:9998".parse().unwrap()), level: Level::User },
    ];
    let mut commands = generic(&console, sockets, [("A".to_owned(), "1".to_owned())].into());
    commands.push(Command {
        words: &["disable", "server"],
        level: Level::Admin,
        usage: "(DEPRECATED)",
        help: "disable a server",
        run: Box::new(|call| Answer::Text(format!("{:?} {:?}\n", call.args, call.payload))),
    });
    commands.push(Command {
        words: &["show", "sess"],
        level: Level::Operator,
        usage: "[id]",
        help: "list sessions",
        run: Box::new(|_| Answer::Later(Box::pin(async { "asked\n".to_owned() }))),
    });
    Table::new(commands)
}

/// Sends the input, closes the writing side as `socat` does, and returns all that is answered.
fn talk(level: Level, input: &[u8]) -> String {
    talk_to(table(), level, input)
}

fn talk_to(table: Table, level: Level, input: &[u8]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, server) = Socket::pair().unwrap();
        let options = SessionOptions { level, ..SessionOptions::default() };
        let served = serve(&server, &table, options);
        let asked = async {
            client.write_all(input).await.unwrap();
            client.shutdown_write().unwrap();
            let mut answer = Vec::new();
            let mut chunk = [0; 4096];
            loop {
                match client.read(&mut chunk).await {
                    Ok(0) | Err(_) => return String::from_utf8(answer).unwrap(),
                    Ok(len) => answer.extend_from_slice(&chunk[..len]),
                }
            }
        };
        let (served, answer) = tokio::join!(served, asked);
        served.unwrap();
        answer
    })
}

#[track_caller]
fn check(level: Level, input: &str, expected: &str) {
    assert_eq!(talk(level, input.as_bytes()), expected);
}

#[test]
fn every_answer_ends_with_an_empty_line() {
    check(Level::Admin, "show version\n", "2.6.12\n\n");
    check(Level::Admin, "show version;show version\n", "2.6.12\n\n2.6.12\n\n");
    check(Level::Admin, "show version\nshow version\n", "2.6.12\n\n2.6.12\n\n");
    check(Level::Admin, "  show   version foo \r\n", "2.6.12\n\n");
    check(Level::Admin, "show version;", "2.6.12\n\n");
    check(Level::Admin, "show version", ""); // cut short
    check(Level::Admin, "quit;show version\n", "");
    check(Level::Admin, "show sess\n", "asked\n\n");
    check(Level::Admin, "show env TELAMON_NOT_SET\n", "Variable not found\n\n");
    check(Level::Admin, "show env;show env A\n", "A=1\n\nA=1\n\n");
    check(
        Level::User,
        "show cli sockets\n",
        "# socket lvl processes\nunix@/run/adm.sock admin all\nipv4@127.0.0.1:9999 operator all\n\
         ipv6@[::1]:9998 user all\n\n",
    );
}

#[test]
fn prompt_makes_it_interactive() {
    check(Level::Admin, "prompt\n", "\n> ");
    check(Level::Admin, "prompt;show version\n", "\n> 2.6.12\n\n> ");
    check(
        Level::Admin,
        "prompt\nshow version\nprompt\nshow version\n",
        "\n> 2.6.12\n\n> \n2.6.12\n\n",
    );
    check(Level::Admin, "prompt\nshow version\nquit\nshow version\n", "\n> 2.6.12\n\n> ");
    check(
        Level::Admin,
        "prompt\ndisable server a/b <<\nx y\n\nquit\n",
        "\n> + + [\"a/b\"] Some(\"x y\\n\")\n\n> ",
    );
}

#[test]
fn levels_limit_and_can_be_lowered() {
    check(Level::User, "disable server a/b\n", "Permission denied\n\n");
    check(Level::User, "show env\n", "Permission denied\n\n");
    check(Level::Operator, "disable server a/b;show sess\n", "Permission denied\n\nasked\n\n");
    check(
        Level::Admin,
        "operator;show cli level;disable server x;user;show cli level\n",
        "\noperator\n\nPermission denied\n\n\nuser\n\n",
    );
    check(Level::User, "operator;show cli level\n", "Permission denied\n\nuser\n\n");
}

#[test]
fn the_session_can_be_set() {
    check(Level::User, "set timeout cli 5s\n", "\n");
    check(Level::User, "set timeout cli\n", "Expects an integer value.\n\n");
    check(Level::User, "set timeout cli 5x\n", "Invalid timeout value.\n\n");
    check(Level::User, "set timeout\n", "'set timeout' only supports 'cli'.\n\n");
    check(Level::User, "set severity-output number;show env\n", "\n[3]: Permission denied\n\n");
    check(
        Level::User,
        "set severity-output xx\n",
        "one of 'none', 'number', 'string' is a required argument\n\n",
    );
}

#[test]
fn statistics_are_selected() {
    let csv = talk(Level::Admin, b"show stat\n");
    let names: Vec<String> =
        csv.lines().map(|line| line.split(',').take(2).collect::<Vec<_>>().join("/")).collect();
    assert_eq!(names, ["# pxname/svname", "fe1/FRONTEND", "be1/s2", "be1/BACKEND", ""]);
    let count = |command: &str| talk(Level::Admin, command.as_bytes()).lines().count() - 2;
    assert_eq!(count("show stat be1 4 -1\n"), 1);
    assert_eq!(count("show stat be1 6 -1\n"), 2);
    assert_eq!(count("show stat be1 4 7\n"), 0);
    assert_eq!(count("show stat 5 -1 -1\n"), 2);
    assert_eq!(count("show stat -1 1 -1\n"), 1);
    assert_eq!(count("show stat up\n"), 2);
    check(Level::Admin, "show stat nope 4 -1\n", "No such proxy.\n\n");
    check(Level::Admin, "show stat domain foo\n", "Invalid statistics domain.\n\n");
    let recorded = include_str!("../../format/data/server.csv");
    check(Level::Admin, "show stat be1 4 2\n", &format!("{recorded}\n"));
    let json = include_str!("../../format/data/server.json");
    check(Level::Operator, "show stat be1 4 2 json\n", &format!("{json}\n"));
    assert!(!talk(Level::User, b"show stat be1 4 2\n").contains("127.0.0.1")); // addresses from operator up
}

#[test]
fn unknown_commands_get_the_nearest() {
    const ALWAYS: &str = "  help [<command>]                        : list matching or all commands\n  \
         prompt                                  : toggle interactive mode with prompt\n  \
         quit                                    : disconnect\n";
    let better = "Unknown command, but maybe one of the following ones is a better match:\n";
    let version =
        "  show version                            : show version of the current process\n";
    let stat =
        "  show stat [desc|json|no-maint|typed|up]*: report counters for each proxy and server\n";
    check(Level::Admin, "show versoin\n", &format!("{better}{version}{ALWAYS}\n"));
    check(
        Level::Admin,
        "@1 show version\n",
        &format!("{better}{}\n", talk_help("help @1 show version\n")),
    );
    check(
        Level::Admin,
        "help show st\n",
        &format!("The following commands are valid at this level:\n{stat}{ALWAYS}\n"),
    );
    let all = talk(Level::Admin, b"\n");
    assert!(
        all.starts_with("Unknown command. Please enter one of the following commands only:\n"),
        "{all}"
    );
    assert_eq!(
        all.lines().skip(1).collect::<Vec<_>>(),
        talk(Level::User, b"help\n").lines().skip(1).collect::<Vec<_>>()
    );
}

#[test]
fn help_is_laid_out_as_haproxys() {
    let help = talk(Level::Operator, b"help\n");
    let known = "\
The following commands are valid at this level:
  disable server (DEPRECATED)             : disable a server
  operator                                : lower the level of the current CLI session to operator
  set severity-output [none|number|string]: set presence of severity level in feedback information
  set timeout [cli] <delay>               : change a timeout setting
  show cli level                          : display the level of the current CLI session
  show cli sockets                        : dump list of cli sockets
  show env [var]                          : dump environment variables known to the process
  show info [desc|json|typed|float]*      : report information about the running process
  show schema json                        : report schema used for stats
  show sess [id]                          : list sessions
  show stat [desc|json|no-maint|typed|up]*: report counters for each proxy and server
  show version                            : show version of the current process
  user                                    : lower the level of the current CLI session to user
  help [<command>]                        : list matching or all commands
  prompt                                  : toggle interactive mode with prompt
  quit                                    : disconnect

";
    assert_eq!(help, known);
}

/// The list of a help answer without its first line and its end.
fn talk_help(input: &str) -> String {
    let answer = talk(Level::Admin, input.as_bytes());
    answer.split_once('\n').unwrap().1.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn bytes_from_the_socket_cannot_hurt() {
    let long = "show env ".to_owned() + &"a".repeat(20_000);
    check(Level::Admin, &(long + "\n"), "The command is longer than tune.bufsize.\n\n");
    let zeros = talk(Level::Admin, &[0, 1, b'\n', 255, b'\n']);
    assert_eq!(zeros, "The command holds a NUL byte.\n\nThe command is not valid UTF-8.\n\n");
    for byte in 0..=255_u8 {
        talk(Level::Admin, &[byte, byte, b';', byte, b'\n', byte]);
    }
}

#[test]
fn a_silent_client_is_let_go() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_client, server) = Socket::pair().unwrap();
        let options =
            SessionOptions { timeout: Duration::from_millis(20), ..SessionOptions::default() };
        let error = serve(&server, &table(), options).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn the_masters_socket_passes_commands_on() {
    #[track_caller]
    fn check(input: &str, expected: &str) {
        let command = Command {
            words: &["show", "proc"],
            level: Level::User,
            usage: "",
            help: "show processes status",
            run: Box::new(|_| Answer::Text("processes\n".to_owned())),
        };
        let processes = Processes { worker: 42, worker_table: Rc::new(table()) };
        let table = Table::master([command], processes);
        assert_eq!(talk_to(table, Level::Admin, input.as_bytes()), expected);
    }
    check("show proc\n", "processes\n\n");
    check("@1 show version\n", "2.6.12\n\n");
    check("@!42 show version;show proc\n", "2.6.12\n\nprocesses\n\n");
    check("@1 disable server a/b\\;;@1 show version\n", "[\"a/b;\"] None\n\n2.6.12\n\n");
    check("@9 show info\n", "Can't find the target PID matching the prefix '@9'\n\n");
    check("@!43\n", "Can't find the target PID matching the prefix '@!43'\n\n");
    check("prompt\n", "master> ");
    check(
        "prompt\n@1\nshow version\n@master show proc\n@\nshow proc\nquit\n",
        "master> 42> 2.6.12\n\n42> processes\n\n42> master> processes\n\nmaster> ",
    );
    check(
        "help\n",
        "The following commands are valid at this level:\n\
         \x20 @!<pid>                                 : send a command to the <pid> process\n\
         \x20 @<relative pid>                         : send a command to the <relative pid> process\n\
         \x20 @master                                 : send a command to the master process\n\
         \x20 operator                                : lower the level of the current CLI session to operator\n\
         \x20 show cli level                          : display the level of the current CLI session\n\
         \x20 show proc                               : show processes status\n\
         \x20 user                                    : lower the level of the current CLI session to user\n\
         \x20 help [<command>]                        : list matching or all commands\n\
         \x20 prompt                                  : toggle interactive mode with prompt\n\
         \x20 quit                                    : disconnect\n\n",
    );
}
