//! The commands that every plane shares: `show info`, `show stat`, `show schema json`, `show env`, `show version`,
//! `show cli sockets`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use telamon_balance::stats::{Column, Field, Kinds, Source};
use telamon_runtime::Endpoint;
use telamon_runtime::api::{Answer, Command, Invocation, Level};

use crate::format::{self, Format, InfoFormat};
use crate::select::{self, Selection};
use crate::{BOTH_SIDES, Console, info_of};

/// A socket that the runtime API is served on, as `show cli sockets` lists it.
#[derive(Debug, Clone)]
pub struct CliSocket {
    pub address: Endpoint,
    pub level: Level,
}

impl fmt::Display for CliSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} all", prefixed(&self.address), self.level.name())
    }
}

/// An address with its family before it, as `show cli sockets` and `HAPROXY_CLI` have it.
pub fn prefixed(address: &Endpoint) -> String {
    match address {
        Endpoint::Inet(SocketAddr::V4(address)) => format!("ipv4@{address}"),
        Endpoint::Inet(SocketAddr::V6(address)) => format!("ipv6@{address}"),
        Endpoint::Unix(path) => format!("unix@{}", path.display()),
        Endpoint::Abstract(name) => format!("abns@{}", String::from_utf8_lossy(name)),
        Endpoint::Unnamed => "unknown".to_owned(),
    }
}

/// Names and values of variables, as text.
pub type Variables = Arc<[(String, String)]>;

/// The shared commands over the planes of a console.
///
/// `variables` are those of the process and its configuration, for `show env`.
pub fn generic(
    console: &Arc<Console>,
    sockets: Vec<CliSocket>,
    variables: Variables,
) -> Vec<Command> {
    let (for_info, for_stat, for_version) =
        (Arc::clone(console), Arc::clone(console), Arc::clone(console));
    vec![
        Command {
            words: &["show", "info"],
            level: Level::User,
            usage: "[desc|json|typed|float]*",
            help: "report information about the running process",
            run: Box::new(move |call| show_info(&for_info, call)),
        },
        Command {
            words: &["show", "stat"],
            level: Level::User,
            usage: "[desc|json|no-maint|typed|up]*",
            help: "report counters for each proxy and server",
            run: Box::new(move |call| show_stat(&for_stat, call)),
        },
        Command {
            words: &["show", "schema", "json"],
            level: Level::User,
            usage: "",
            help: "report schema used for stats",
            run: Box::new(|_| Answer::Text(format::JSON_SCHEMA.to_owned())),
        },
        Command {
            words: &["show", "env"],
            level: Level::Operator,
            usage: "[var]",
            help: "dump environment variables known to the process",
            run: Box::new(move |call| show_env(&variables, call)),
        },
        Command {
            words: &["show", "version"],
            level: Level::User,
            usage: "",
            help: "show version of the current process",
            run: Box::new(move |_| {
                let info = info_of(for_version.sources());
                let version = info.get(Field::Version).map(ToString::to_string).unwrap_or_default();
                Answer::Text(version + "\n")
            }),
        },
        Command {
            words: &["show", "cli", "sockets"],
            level: Level::User,
            usage: "",
            help: "dump list of cli sockets",
            run: Box::new(move |_| {
                let mut text = String::from("# socket lvl processes\n");
                for socket in &sockets {
                    text.push_str(&format!("{socket}\n"));
                }
                Answer::Text(text)
            }),
        },
    ]
}

fn show_info(console: &Console, call: &Invocation<'_>) -> Answer {
    // `float` asks for decimals, which no value here has.
    let has = |word| call.args.contains(&word);
    let format = match (has("json"), has("typed"), has("desc")) {
        (true, _, _) => InfoFormat::Json,
        (_, true, false) => InfoFormat::Typed,
        (_, true, true) => InfoFormat::TypedExplained,
        (_, _, false) => InfoFormat::Plain,
        (_, _, true) => InfoFormat::PlainExplained,
    };
    let mut out = Vec::new();
    format::info(format, &info_of(console.sources()), &mut out);
    Answer::Text(String::from_utf8_lossy(&out).into_owned())
}

fn show_stat(console: &Console, call: &Invocation<'_>) -> Answer {
    let mut args = call.args;
    if let [domain, rest @ ..] = args
        && *domain == "domain"
    {
        match rest {
            ["proxy", rest @ ..] => args = rest,
            _ => return failure("Invalid statistics domain.\n"),
        }
    }
    let mut selection =
        Selection { hide_addresses: call.level < Level::Operator, ..Selection::default() };
    if let [proxy, kinds, object, rest @ ..] = args {
        let id = console.sources().iter().find_map(|source| id_of(&**source, proxy));
        let Some(id) = id.or_else(|| integer(proxy).filter(|id| *id != 0)) else {
            return failure("No such proxy.\n");
        };
        selection.proxy = u64::try_from(id).ok();
        selection.kinds = Kinds(integer(kinds).map_or(0, |kinds| (kinds & 15) as u8));
        selection.object = integer(object).and_then(|id| u64::try_from(id).ok());
        args = rest;
    }
    let has = |word| args.contains(&word);
    selection.hide_down = has("up");
    selection.hide_maint = has("no-maint");
    let format = match (has("json"), has("typed"), has("desc")) {
        (true, _, _) => Format::Json,
        (_, true, true) => Format::TypedExplained,
        (_, true, false) => Format::Typed,
        _ => Format::Csv,
    };
    let mut dump = crate::Dump::new(console.sources().to_vec(), selection, format);
    Answer::Parts(Box::new(move |out| dump.part(out)))
}

fn failure(text: &str) -> Answer {
    Answer::Failure(text.to_owned())
}

/// The numeric id of the proxy of a name.
fn id_of(source: &dyn Source, name: &str) -> Option<i64> {
    (0..source.proxies()).find_map(|at| {
        let proxy = source.proxy(at, BOTH_SIDES)?;
        let row = proxy.rows.first().filter(|row| select::text(row, Column::Pxname) == name)?;
        i64::try_from(select::number(row, Column::Iid)).ok()
    })
}

/// The number a text begins with, as C's `atoi` reads it.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number: i64 = digits[..end].parse().ok()?;
    Some(if text.starts_with('-') { -number } else { number })
}

fn show_env(variables: &[(String, String)], call: &Invocation<'_>) -> Answer {
    let line = |(name, value): &(String, String)| format!("{name}={value}\n");
    match call.args.first() {
        None => Answer::Text(variables.iter().map(line).collect()),
        Some(asked) => match variables.iter().find(|(name, _)| name == asked) {
            Some(variable) => Answer::Text(line(variable)),
            None => failure("Variable not found\n"),
        },
    }
}
