//! `acl` and `map`: what the lists of patterns hold, and how it is changed while traffic uses them.

use telamon_runtime::api::{Answer, Invocation, Level};

use super::{Row, done, lossy, row, text};
use crate::expr::patterns::Match;
use crate::expr::{List, ListError};
use crate::view::View;
use std::sync::Arc;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["show", "acl"],
        Level::User,
        "[@<ver>] [<acl>]",
        "report available acls or dump an acl's contents",
        |view, call| show(view, call, ACL),
    ),
    row(
        &["show", "map"],
        Level::User,
        "[@ver] [map]",
        "report available maps or dump a map's contents",
        |view, call| show(view, call, MAP),
    ),
    row(
        &["get", "acl"],
        Level::User,
        "<acl> <value>",
        "report the patterns matching a sample for an ACL",
        |view, call| get(view, call, ACL),
    ),
    row(
        &["get", "map"],
        Level::User,
        "<acl> <value>",
        "report the keys and values matching a sample for a map",
        |view, call| get(view, call, MAP),
    ),
    row(&["add", "acl"], Level::Admin, "[@<ver>] <acl> <pattern>", "add an acl entry", add_acl),
    row(
        &["add", "map"],
        Level::Admin,
        "[@<ver>] <map> <key> <val>",
        "add a map entry (payload supported instead of key/val)",
        add_map,
    ),
    row(
        &["set", "map"],
        Level::Admin,
        "<map> [<key>|#<ref>] <value>",
        "modify a map entry",
        set_map,
    ),
    row(
        &["del", "acl"],
        Level::Admin,
        "<acl> [<key>|#<ref>]",
        "delete acl entries matching <key>",
        |view, call| delete(view, call, ACL),
    ),
    row(
        &["del", "map"],
        Level::Admin,
        "<map> [<key>|#<ref>]",
        "delete map entries matching <key>",
        |view, call| delete(view, call, MAP),
    ),
    row(
        &["clear", "acl"],
        Level::Admin,
        "[@<ver>] <acl>",
        "clear the contents of this acl",
        |view, call| clear(view, call, ACL),
    ),
    row(
        &["clear", "map"],
        Level::Admin,
        "[@<ver>] <map>",
        "clear the contents of this map",
        |view, call| clear(view, call, MAP),
    ),
    row(
        &["prepare", "acl"],
        Level::Admin,
        "<acl>",
        "prepare a new version for atomic ACL replacement",
        |view, call| prepare(view, call, ACL),
    ),
    row(
        &["prepare", "map"],
        Level::Admin,
        "<acl>",
        "prepare a new version for atomic map replacement",
        |view, call| prepare(view, call, MAP),
    ),
    row(
        &["commit", "acl"],
        Level::Admin,
        "@<ver> <acl>",
        "commit the ACL at this version",
        |view, call| commit(view, call, ACL),
    ),
    row(
        &["commit", "map"],
        Level::Admin,
        "@<ver> <map>",
        "commit the map at this version",
        |view, call| commit(view, call, MAP),
    ),
];

/// Which of the two a command is about; a file may be both.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    word: &'static str,
    title: &'static str,
}

const ACL: Kind = Kind { word: "acl", title: "ACL" };
const MAP: Kind = Kind { word: "map", title: "map" };

impl Kind {
    fn has(self, list: &List) -> bool {
        let usage = list.usage();
        if self == ACL { usage.acl } else { usage.map }
    }

    fn find(self, view: &View, name: &str) -> Result<Arc<List>, String> {
        let list = view.snapshot().model.lists.find(name).filter(|list| self.has(list));
        list.ok_or_else(|| {
            format!("Unknown {} identifier. Please use #<id> or <file>.\n", self.title)
        })
    }
}

/// `@VERSION` before the arguments. What follows `@` and is no number is version 0, as for HAProxy.
fn version<'a, 'b>(args: &'a [&'b str]) -> (Option<u32>, &'a [&'b str]) {
    match args {
        [first, rest @ ..] if first.starts_with('@') => {
            (Some(first[1..].parse().unwrap_or(0)), rest)
        }
        _ => (None, args),
    }
}

fn show(view: &View, call: &Invocation<'_>, kind: Kind) -> Result<Answer, String> {
    let (version, args) = version(call.args);
    let mut out = Vec::new();
    let Some(name) = args.first() else {
        out.extend_from_slice(b"# id (file) description\n");
        for list in view.snapshot().model.lists.all().iter().filter(|list| kind.has(list)) {
            out.extend_from_slice(list.summary().as_bytes());
            out.push(b'\n');
        }
        return Ok(Answer::Text(lossy(out)));
    };
    for entry in kind.find(view, name)?.entries(version) {
        entry.write_to(&mut out);
    }
    Ok(Answer::Text(lossy(out)))
}

fn get(view: &View, call: &Invocation<'_>, kind: Kind) -> Result<Answer, String> {
    let [name, key, ..] = call.args else {
        return Err(format!("Missing {} identifier and/or key.\n", kind.title));
    };
    let mut out = String::new();
    for (method, ignores_case, found) in kind.find(view, name)?.look_up(key.as_bytes()) {
        let case = if ignores_case { "insensitive" } else { "sensitive" };
        out.push_str(&format!("type={}, case={case}, ", method.name()));
        let verb = if kind == ACL { "match" } else { "found" };
        let Some((key, value)) = found else {
            out.push_str(&format!("{verb}=no\n"));
            continue;
        };
        let key = String::from_utf8_lossy(&key);
        let index = if is_tree(method) && !ignores_case { "tree" } else { "list" };
        out.push_str(&format!("{verb}=yes, idx={index}, "));
        if kind == ACL {
            out.push_str(&format!("pattern=\"{key}\"\n"));
        } else {
            let value = value.unwrap_or_default();
            let value = String::from_utf8_lossy(&value);
            out.push_str(&format!("key=\"{key}\", value=\"{value}\", type=\"str\"\n"));
        }
    }
    text(out)
}

/// Whether HAProxy keeps such patterns in a tree; it says so, although ours are neither trees nor lists.
fn is_tree(method: Match) -> bool {
    matches!(method, Match::Str | Match::Beg | Match::Ip)
}

fn add_acl(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let (version, args) = version(call.args);
    match (args, call.payload) {
        ([name, key, ..], None) => {
            add(view, ACL, name, version, &[(key.as_bytes(), None)])?;
        }
        ([name], Some(payload)) => {
            let keys: Vec<_> = lines(payload).map(|line| (line.as_bytes(), None)).collect();
            add(view, ACL, name, version, &keys)?;
        }
        _ => {
            return Err(
                "'add acl' expects two parameters: ACL identifier and pattern.\n".to_owned()
            );
        }
    }
    done()
}

fn add_map(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let (version, args) = version(call.args);
    match (args, call.payload) {
        ([name, key, value, ..], None) => {
            add(view, MAP, name, version, &[(key.as_bytes(), Some(value.as_bytes()))])?;
        }
        ([name], Some(payload)) => {
            let mut entries = Vec::new();
            for line in lines(payload) {
                let end = line.find([' ', '\t']).unwrap_or(line.len());
                let (key, value) = (&line[..end], line[end..].trim_matches([' ', '\t']));
                if value.is_empty() {
                    return Err(format!("Missing value for key '{key}'.\n"));
                }
                entries.push((key.as_bytes(), Some(value.as_bytes())));
            }
            add(view, MAP, name, version, &entries)?;
        }
        _ => {
            return Err(
                "'add map' expects three parameters (map identifier, key and value) or one \
                 parameter (map identifier) and a payload\n"
                    .to_owned(),
            );
        }
    }
    done()
}

fn add(
    view: &View,
    kind: Kind,
    name: &str,
    version: Option<u32>,
    entries: &[(&[u8], Option<&[u8]>)],
) -> Result<(), String> {
    let list = kind.find(view, name)?;
    list.add(entries, version).map_err(|error| match error {
        ListError::NoSuchVersion => {
            format!("Version number in the future, please use 'prepare {}' before.\n", kind.word)
        }
        error => format!("{error}.\n"),
    })
}

fn lines(payload: &str) -> impl Iterator<Item = &str> {
    payload.lines().map(|line| line.trim_start_matches([' ', '\t'])).filter(|line| !line.is_empty())
}

fn set_map(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let [name, key, value, ..] = call.args else {
        return Err(
            "'set map' expects three parameters: map identifier, key and value.\n".to_owned()
        );
    };
    let list = MAP.find(view, name)?;
    let set = match entry_id(key) {
        Some(id) => list.set_id(id?, value.as_bytes()),
        None => list.set(key.as_bytes(), value.as_bytes()),
    };
    match set {
        Ok(true) => done(),
        Ok(false) if key.starts_with('#') => Err("key or pattern not found.\n".to_owned()),
        Ok(false) => Err("entry not found.\n".to_owned()),
        Err(error) => Err(format!("{error}.\n")),
    }
}

fn delete(view: &View, call: &Invocation<'_>, kind: Kind) -> Result<Answer, String> {
    let [name, key, ..] = call.args else {
        return Err(format!(
            "This command expects two parameters: {} identifier and key.\n",
            kind.title
        ));
    };
    // HAProxy speaks of a map here in both cases.
    let list = kind.find(view, name).map_err(|error| error.replacen(ACL.title, MAP.title, 1))?;
    let deleted = match entry_id(key) {
        Some(id) => list.delete_id(id?),
        None => list.delete(key.as_bytes()),
    };
    match deleted {
        Ok(true) => done(),
        Ok(false) => Err("Key not found.\n".to_owned()),
        Err(error) => Err(format!("{error}.\n")),
    }
}

/// `#0x…`, the reference of one entry.
fn entry_id(key: &str) -> Option<Result<u64, String>> {
    let digits = key.strip_prefix('#')?;
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let id = u64::from_str_radix(digits, 16);
    Some(id.map_err(|_| "Malformed identifier. Please use #<id> or <file>.\n".to_owned()))
}

fn clear(view: &View, call: &Invocation<'_>, kind: Kind) -> Result<Answer, String> {
    let (version, args) = version(call.args);
    let [name, ..] = args else {
        return Err(format!("Missing {} identifier.\n", kind.title));
    };
    match kind.find(view, name)?.clear(version) {
        // Nothing was there, and nothing is.
        Ok(()) | Err(ListError::NoSuchVersion) => done(),
        Err(error) => Err(format!("{error}.\n")),
    }
}

fn prepare(view: &View, call: &Invocation<'_>, kind: Kind) -> Result<Answer, String> {
    let name = call.args.first().copied().unwrap_or_default();
    let version = kind.find(view, name)?.prepare();
    text(format!("New version created: {version}\n"))
}

fn commit(view: &View, call: &Invocation<'_>, kind: Kind) -> Result<Answer, String> {
    let (Some(version), args) = version(call.args) else {
        return Err("Missing version number.\n".to_owned());
    };
    let [name, ..] = args else {
        return Err(format!("Missing {} identifier.\n", kind.title));
    };
    let list = kind.find(view, name)?;
    let (current, _) = list.versions();
    let committed =
        if version == current { Err(ListError::NoSuchVersion) } else { list.commit(version) };
    match committed {
        Ok(()) => done(),
        Err(ListError::NoSuchVersion) => Err("Version number out of range.\n".to_owned()),
        Err(error) => Err(format!("{error}.\n")),
    }
}
