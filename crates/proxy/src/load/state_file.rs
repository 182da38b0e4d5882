//! `load-server-state-from-file`: what a former process wrote of its servers by `show servers state`.
//!
//! The file is read along with the configuration and each server keeps its line's content; what follows from it is
//! decided when the server gets its first state ([`state_change`](crate::state_change)). A file that cannot be read or
//! understood is a warning: servers then begin as if there were none.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use telamon_balance::Run;
use telamon_config::{Args, Diagnostics, Keyword, Location, Sections};

use super::base::Base;
use super::draft::ProxyContext;
use super::mistake::ProxyMistake;
use crate::check::CheckStatus;
use crate::model::SavedState;

type K = Keyword<ProxyContext>;

const ANY: Sections = Sections::PROXIES;
const BACK: Sections = Sections::BACKS;

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "load-server-state-from-file",
        ANY,
        "load-server-state-from-file { global | local | none }",
        "where servers begin with the state they had in a former process",
        |proxy, args| {
            if proxy.has_side(args, BACK) {
                let words = [
                    ("global", StateFrom::Global),
                    ("local", StateFrom::Local),
                    ("none", StateFrom::None),
                ];
                let at = args.at();
                let from = args.one_of("place", &words).unwrap_or_default();
                proxy.draft.state_from = (from, at);
            }
        },
    ),
    K::works(
        "server-state-file-name",
        ANY.without(Sections::DEFAULTS),
        "server-state-file-name [{ use-backend-name | <file> }]",
        "the file of `load-server-state-from-file local`; the backend's name unless set",
        |proxy, args: &mut Args<'_>| {
            if proxy.has_side(args, BACK) {
                let name = args.next_if_any().filter(|token| token.text != "use-backend-name");
                proxy.own.state_file_name = name.map(|token| token.text.into());
            }
        },
    ),
];

/// Which file has the states of a backend's servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum StateFrom {
    #[default]
    None,
    Global,
    Local,
}

/// The lines of a file, by backend and server.
pub(super) struct StateFile {
    text: String,
    lines: HashMap<Box<str>, Range<usize>>,
}

/// The states of one backend's servers.
pub(super) struct States {
    file: Rc<StateFile>,
    backend: Box<str>,
    at: Location,
}

/// Finds the states that a backend's servers may begin with.
pub(super) fn states(
    context: &ProxyContext,
    backend: &str,
    number: u32,
    diagnostics: &mut Diagnostics,
) -> Option<States> {
    let base = &context.base;
    let (from, at) = context.draft.state_from;
    let directory = context.global.server_state_base.as_deref();
    let file = match from {
        StateFrom::None => return None,
        StateFrom::Global => {
            let Some(path) = context.global.server_state_file.as_deref() else {
                let title = format!("backend {backend} has no file of states to load");
                let help =
                    "`load-server-state-from-file global` needs `server-state-file` in `global`";
                diagnostics.warning(at, ProxyMistake::Says { title, help }.into());
                return None;
            };
            base.state_file(|| read(base, directory, path, "global server", None, at, diagnostics))
        }
        StateFrom::Local => {
            let path = context.own.state_file_name.as_deref().unwrap_or(backend);
            let own = Some((backend, number));
            read(base, directory, path, "server", own, at, diagnostics).map(Rc::new)
        }
    };
    Some(States { file: file?, backend: backend.into(), at })
}

impl States {
    /// What the file has of that server.
    pub(super) fn of(&self, server: &str, diagnostics: &mut Diagnostics) -> Option<SavedState> {
        let range = self.file.lines.get(&*format!("{} {server}", self.backend))?;
        match parse(self.file.text.get(range.clone())?) {
            Ok(state) => Some(state),
            Err(why) => {
                let server = format!("{}/{server}", self.backend);
                let title = format!("server-state application failed for server '{server}'{why}");
                warn(diagnostics, self.at, title);
                None
            }
        }
    }
}

/// Reads a file. `only` is the backend that it is for, by name or, where names changed, by number.
fn read(
    base: &Base,
    directory: Option<&str>,
    path: &str,
    what: &str,
    only: Option<(&str, u32)>,
    at: Location,
    diagnostics: &mut Diagnostics,
) -> Option<StateFile> {
    if base.options.offline {
        return None;
    }
    let path = match directory {
        Some(directory) if !path.starts_with('/') => {
            format!("{}/{path}", directory.trim_end_matches('/'))
        }
        _ => path.to_owned(),
    };
    let text = match base.files.read(std::path::Path::new(&path)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            let why = crate::log::notice::text_of(&error);
            warn(diagnostics, at, format!("can't open {what} state file '{path}': {why}"));
            return None;
        }
    };
    let no_version = format!("can't get the version of the {what} state file '{path}'");
    if text.is_empty() {
        warn(diagnostics, at, no_version);
        return None;
    }
    let mut lines = HashMap::new();
    let mut start = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let range = start..start + line.len();
        start = range.end;
        if index == 0 {
            if line.trim_end_matches('\n') == "1" && line.ends_with('\n') {
                continue;
            }
            warn(diagnostics, at, no_version);
            return None;
        }
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let content = line.trim_start_matches([' ', '\t']);
        let corrupted = !line.ends_with('\n') || fields.len() < FIELDS_MIN;
        if line.ends_with('\n') && (content == "\n" || content.starts_with('#')) {
            continue;
        }
        if corrupted {
            warn(
                diagnostics,
                at,
                format!("corrupted {what} state file '{path}' at line {}", index + 1),
            );
            return None;
        }
        let name = match only {
            None => fields[1],
            Some((name, number)) => {
                let same_number = fields[0].parse() == Ok(number);
                // A number that was chosen stands for the backend whatever it is called now.
                if fields[1] != name && !(same_number && fields[15] != "0") {
                    continue;
                }
                name
            }
        };
        lines.entry(format!("{name} {}", fields[3]).into()).or_insert(range);
    }
    Some(StateFile { text, lines })
}

/// What a line says of its server.
///
/// # Errors
/// What is wrong with it, as HAProxy says: `, invalid srv_op_state value '9'`, for each field that is wrong.
fn parse(line: &str) -> Result<SavedState, String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let mut wrong = String::new();
    let mut number = |at: usize, name: &str, valid: fn(i64) -> bool| {
        let text = fields.get(at).copied().unwrap_or_default();
        match text.parse::<i64>() {
            Ok(number) if valid(number) => number,
            _ => {
                wrong.push_str(&format!(", invalid {name} value '{text}'"));
                0
            }
        }
    };
    let run = number(5, "srv_op_state", |state| (0..=3).contains(&state));
    // What is taken over from others, and from names, is found out anew.
    let admin = number(6, "srv_admin_state", |flags| {
        matches!(flags & !(2 | 16 | 32 | 64), 0 | 1 | 4 | 5 | 8 | 12)
    });
    let weight = number(7, "srv_uweight", |weight| (0..=256).contains(&weight));
    let weight_initial = number(8, "srv_iweight", |weight| (0..=256).contains(&weight));
    number(9, "srv_last_time_change", |_| true);
    let status = number(10, "srv_check_status", |status| (0..=20).contains(&status));
    number(11, "srv_check_result", |result| (0..=4).contains(&result));
    number(12, "srv_check_health", |_| true);
    let check_state = number(13, "srv_check_state", |bits| bits & !31 == 0);
    let agent_state = number(14, "srv_agent_state", |bits| bits & !31 == 0);
    number(15, "bk_f_forced_id", |forced| matches!(forced, 0 | 1));
    number(16, "srv_f_forced_id", |forced| matches!(forced, 0 | 1));
    let port = number(18, "srv_port", |port| (0..=65535).contains(&port));
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let address = |at: usize| fields.get(at).and_then(|text| text.parse().ok());
    let other_port =
        |at: usize| fields.get(at).and_then(|text| text.parse().ok()).filter(|port| *port != 0);
    let switched_off = |state: i64| state & 2 != 0 && state & 4 == 0;
    Ok(SavedState {
        run: [Run::Stopped, Run::Starting, Run::Running, Run::Stopping][run as usize],
        maintenance_forced: admin & 1 != 0,
        maintenance_configured: admin & 4 != 0,
        drain_forced: admin & 8 != 0,
        weight: weight as u32,
        weight_initial: weight_initial as u32,
        check_status: CheckStatus::from_number(status as u32),
        checks_disabled: switched_off(check_state),
        agent_disabled: switched_off(agent_state),
        address: address(4),
        port: port as u16,
        check_address: address(22),
        check_port: other_port(21),
        agent_address: address(23),
        agent_port: other_port(24),
    })
}

fn warn(diagnostics: &mut Diagnostics, at: Location, title: String) {
    let help = "servers begin as if there were no file";
    diagnostics.warning(at, ProxyMistake::Says { title, help }.into());
}

/// Fields of a line; five more came later, and what stands behind them is for whoever knows it.
const FIELDS_MIN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "4 b 1 s 127.0.0.9 2 0 5 10 7 6 3 4 6 22 0 0 - 8080 - 0 81 127.0.0.8 - 0\n";

    #[test]
    fn lines_are_read_field_by_field() {
        let state = parse(LINE).expect("a line");
        assert_eq!((state.run, state.weight, state.weight_initial), (Run::Running, 5, 10));
        assert_eq!((state.address, state.port), ("127.0.0.9".parse().ok(), 8080));
        assert_eq!((state.check_port, state.agent_port), (Some(81), None));
        assert_eq!(state.check_address, "127.0.0.8".parse().ok());
        assert_eq!(state.check_status, CheckStatus::L4Ok);
        assert!(!state.checks_disabled && !state.agent_disabled && !state.maintenance_forced);
        // Without the fields that came later.
        let short: Vec<&str> = LINE.split(' ').take(20).collect();
        assert_eq!(parse(&short.join(" ")).expect("a line").check_port, None);
    }

    #[test]
    fn fields_that_are_wrong_are_named() {
        #[track_caller]
        fn check(field: usize, text: &str, expected: &str) {
            let mut fields: Vec<&str> = LINE.split_ascii_whitespace().collect();
            fields[field] = text;
            assert_eq!(
                parse(&fields.join(" ")).map(|_| "fine".to_owned()),
                match expected {
                    "fine" => Ok("fine".to_owned()),
                    wrong => Err(format!(", invalid {wrong} value '{text}'")),
                }
            );
        }
        check(5, "3", "fine");
        check(5, "4", "srv_op_state");
        check(5, "x", "srv_op_state");
        check(6, "5", "fine");
        check(6, "46", "fine"); // inherited and unresolved do not count
        check(6, "9", "srv_admin_state");
        check(7, "257", "srv_uweight");
        check(8, "-1", "srv_iweight");
        check(9, "soon", "srv_last_time_change");
        check(10, "21", "srv_check_status");
        check(11, "5", "srv_check_result");
        check(13, "32", "srv_check_state");
        check(14, "y", "srv_agent_state");
        check(15, "2", "bk_f_forced_id");
        check(16, "2", "srv_f_forced_id");
        check(18, "70000", "srv_port");
    }
}
