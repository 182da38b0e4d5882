//! `stick-table` and `stick`.
//!
//! The lines of all sections are looked at before any other ([`collect`]), so that rules and expressions can name a
//! table that stands below them, and be checked against its type. What is wrong with a line is told when it is read in
//! its place.

use std::sync::{Arc, LazyLock};

use telamon_balance::stick::{DataType, KeyType, Stored, TableConfig};
use telamon_config::{
    Args, Checker, ConfigErrorKind, Diagnostics, Environment, Keyword, Line, Section, Sections,
    Table, Token,
};

use super::draft::ProxyContext;
use super::mistake::ProxyMistake;
use crate::expr::{Condition, Directory, Expr, ParseScope, Place};
use crate::model::{ServerKey, StickRule, TableId, TableSpec};

type K = Keyword<ProxyContext>;
type O = Keyword<TableDraft>;

const BACK: Sections = Sections::BACKS;
const NAMED: Sections = Sections::PROXIES.without(Sections::DEFAULTS);

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "stick-table",
        NAMED,
        "stick-table type <type> size <entries> [expire <time>] [nopurge] [store <data>...] [srvkey { name | addr }]",
        "a table of what keys have done, and of the servers they went to",
        |_, args| _ = read(args),
    ),
    K::works(
        "stick on",
        NAMED,
        "stick on <sample> [table <table>] [if <condition>]",
        "sends a key to the server that it went to before, and remembers which that is",
        |proxy, args| rule(proxy, args, Place::StickRequest, true, true),
    ),
    K::works(
        "stick match",
        NAMED,
        "stick match <sample> [table <table>] [if <condition>]",
        "sends a key to the server that it went to before",
        |proxy, args| rule(proxy, args, Place::StickRequest, true, false),
    ),
    K::works(
        "stick store",
        NAMED,
        "stick store <sample> [table <table>] [if <condition>]",
        "as `stick store-request`",
        |proxy, args| rule(proxy, args, Place::StickRequest, false, true),
    ),
    K::works(
        "stick store-request",
        NAMED,
        "stick store-request <sample> [table <table>] [if <condition>]",
        "remembers the server that a key goes to",
        |proxy, args| rule(proxy, args, Place::StickRequest, false, true),
    ),
    K::works(
        "stick store-response",
        NAMED,
        "stick store-response <sample> [table <table>] [if <condition>]",
        "remembers the server that a key came from",
        |proxy, args| rule(proxy, args, Place::StickResponse, false, true),
    ),
];

pub(super) static OPTIONS: LazyLock<Table<TableDraft>> =
    LazyLock::new(|| Table::new("argument", &[OPTION_KEYWORDS]));

const OPTION_KEYWORDS: &[O] = &[
    O::works(
        "expire",
        NAMED,
        "expire <time>",
        "how long an entry stays that nobody touches; without it, until the table is full",
        |draft, args| {
            if let Some(time) = args.duration() {
                draft.expire_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
            }
        },
    ),
    O::works("nopurge", NAMED, "nopurge", "a full table refuses new keys", |draft, _| {
        draft.no_purge = true;
    }),
    O::not_yet("peers", NAMED),
    O::works("size", NAMED, "size <entries>", "entries at most, with k, m or g", |draft, args| {
        let token = args.peek();
        match args.size() {
            Some(0) => {
                if let Some(token) = token {
                    args.bad(token, "size", "at least 1 entry");
                }
            }
            size => draft.size = size.and_then(|size| u32::try_from(size).ok()),
        }
    }),
    O::works(
        "srvkey",
        NAMED,
        "srvkey { name | addr }",
        "what is remembered of a server beside its id",
        |draft, args| {
            let words = [("name", ServerKey::Name), ("addr", ServerKey::Address)];
            draft.server_key = args.one_of("server key", &words).unwrap_or_default();
        },
    ),
    O::works(
        "store",
        NAMED,
        "store <data>[,<data>...]",
        "what is kept for each key",
        |draft, args| {
            if let Some(token) = args.next("a data type") {
                store(draft, args, token);
            }
        },
    ),
    O::works(
        "type",
        NAMED,
        "type { ip | ipv6 | integer | string [len <bytes>] | binary [len <bytes>] }",
        "what the keys are",
        |draft, args| draft.key = key_type(args),
    ),
];

/// A `stick-table` line while it is read.
#[derive(Default)]
pub(super) struct TableDraft {
    key: Option<KeyType>,
    size: Option<u32>,
    expire_ms: u32,
    no_purge: bool,
    store: Vec<Stored>,
    server_key: ServerKey,
}

/// Notes the tables of a proxy's section; reports a name that another table has.
pub(super) fn collect(
    section: &Section,
    directory: &mut Directory,
    environment: &Environment,
    diagnostics: &mut Diagnostics,
) -> Option<TableId> {
    let name = section.name()?;
    let mut own = None;
    for line in section.lines().filter(|line| line.keyword().is("stick-table")) {
        let at = line.keyword().at;
        if let Some(other) = directory.tables.iter().find(|table| *table.name == *name.text) {
            let (what, name) = ("stick table", name.text.to_owned());
            diagnostics.error(at, ConfigErrorKind::Duplicate { what, name, first: other.at });
            continue;
        }
        let mut told = Diagnostics::new().lenient(true);
        let mut checker = Checker::new(environment, &mut told);
        let mut args = checker.args(line);
        let read = read(&mut args);
        let server_key = read.as_ref().map_or_else(Default::default, |(_, key)| *key);
        own = Some(TableId(directory.tables.len() as u32));
        directory.tables.push(TableSpec {
            name: name.text.into(),
            at,
            config: read.map(|(config, _)| config),
            server_key,
        });
    }
    own
}

/// Has the tables that `stick` rules use remember servers.
pub(super) fn collect_rules(section: &Section, own: Option<TableId>, directory: &mut Directory) {
    for line in section.lines().filter(|line| line.keyword().is("stick")) {
        let named = named_table(line);
        let table = match named {
            Some(name) => directory.tables.iter_mut().find(|table| *table.name == *name),
            None => own.and_then(|TableId(own)| directory.tables.get_mut(own as usize)),
        };
        let Some(config) = table.and_then(|table| table.config.as_mut()) else { continue };
        for data in [DataType::ServerId, DataType::ServerKey] {
            if config.store.iter().all(|stored| stored.data != data) {
                config.store.push(Stored::count(data));
            }
        }
    }
}

/// The name after `table` in a `stick` line.
fn named_table<'s>(line: Line<'s>) -> Option<&'s str> {
    let words: Vec<_> = line.tokens().map(|token| token.text).collect();
    let end = words.iter().position(|word| matches!(*word, "if" | "unless"));
    let words = &words[..end.unwrap_or(words.len())];
    let at = words.iter().rposition(|word| *word == "table")?;
    words.get(at + 1).copied()
}

fn read(args: &mut Args<'_>) -> Option<(TableConfig, ServerKey)> {
    let mut draft = TableDraft::default();
    args.each(&OPTIONS, &mut draft);
    if args.failed() {
        return None;
    }
    let Some(key) = draft.key else {
        args.missing("`type`");
        return None;
    };
    let Some(size) = draft.size else {
        args.missing("`size`");
        return None;
    };
    let TableDraft { expire_ms, no_purge, store, server_key, .. } = draft;
    Some((TableConfig { key, size, expire_ms, no_purge, store }, server_key))
}

fn key_type(args: &mut Args<'_>) -> Option<KeyType> {
    const STRING: KeyType = KeyType::String { len: STRING_LEN_DEFAULT };
    const BINARY: KeyType = KeyType::Binary { len: BINARY_LEN_DEFAULT };
    let types = [KeyType::Ip, KeyType::Ipv6, KeyType::Integer, STRING, BINARY];
    let key = args.one_of("key type", &types.map(|key| (key.name(), key)))?;
    if !matches!(key, KeyType::String { .. } | KeyType::Binary { .. }) || !args.accept("len") {
        return Some(key);
    }
    let len = args.integer("length", 1..=KEY_LEN_MAX)?;
    Some(match key {
        KeyType::String { .. } => KeyType::String { len },
        _ => KeyType::Binary { len },
    })
}

/// Reads `conn_cur,http_req_rate(10s),gpc(4)`.
fn store(draft: &mut TableDraft, args: &mut Args<'_>, token: Token<'_>) {
    let mut begin = 0;
    for part in split_store(token.text) {
        let place = token.part(begin..begin + part.len());
        match stored(part) {
            Ok(stored) if draft.store.iter().any(|other| other.data == stored.data) => {
                let title = format!("data type `{part}` is there already");
                let help = "the first one counts";
                args.warn(place, ProxyMistake::Says { title, help }.into());
            }
            Ok(stored) => draft.store.push(stored),
            Err(kind) => return args.fail(place, kind),
        }
        begin += part.len() + 1;
    }
    let has = |data| draft.store.iter().any(|stored| stored.data == data);
    let exclusive = [
        (DataType::Gpt, DataType::Gpt0),
        (DataType::Gpc, DataType::Gpc0),
        (DataType::Gpc, DataType::Gpc1),
        (DataType::GpcRate, DataType::Gpc0Rate),
        (DataType::GpcRate, DataType::Gpc1Rate),
    ];
    for (array, single) in exclusive {
        if has(array) && has(single) {
            let (what, with) = (array.name().into(), single.name().into());
            return args.fail(token.at, ConfigErrorKind::Conflict { what, with, first: None });
        }
    }
}

/// The parts between commas outside of parentheses.
fn split_store(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0u32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn stored(text: &str) -> Result<Stored, ConfigErrorKind> {
    let bad = |expected: String| ConfigErrorKind::BadValue {
        what: "data type".into(),
        found: text.to_owned(),
        expected: expected.into(),
    };
    let (name, words) = match text.split_once('(') {
        None => (text, Vec::new()),
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(inner) => (name, inner.split(',').collect()),
            None => return Err(bad(format!("a closing parenthesis: `{text})`"))),
        },
    };
    let Some(data) = DataType::of_name(name) else {
        let names = DataType::ALL.map(DataType::name);
        return Err(ConfigErrorKind::unknown("data type", name, names));
    };
    let shape = match (data.is_array(), data.is_rate()) {
        (true, true) => format!("`{name}(<elements>,<period>)`"),
        (true, false) => format!("`{name}(<elements>)`"),
        (false, true) => format!("`{name}(<period>)`, as in `{name}(10s)`"),
        (false, false) => format!("`{name}` without parentheses"),
    };
    if words.len() != usize::from(data.is_array()) + usize::from(data.is_rate()) {
        return Err(bad(shape));
    }
    let mut words = words.into_iter();
    let mut result = Stored::count(data);
    if data.is_array() {
        let count = words.next().and_then(|word| word.parse().ok());
        let fits = count.filter(|count| (1..=Stored::COUNT_MAX).contains(count));
        result.count =
            fits.ok_or_else(|| bad(format!("from 1 to {} elements", Stored::COUNT_MAX)))?;
    }
    if data.is_rate() {
        let unit = std::time::Duration::from_millis(1);
        let period = words.next().and_then(|word| telamon_config::parse_duration(word, unit).ok());
        let period = period.map_or(0, |period| period.as_millis());
        result.period_ms = u32::try_from(period)
            .ok()
            .filter(|period| *period > 0)
            .ok_or_else(|| bad(format!("a period from 1ms to 24d: {shape}")))?;
    }
    Ok(result)
}

/// Reads a `stick` rule.
fn rule(proxy: &mut ProxyContext, args: &mut Args<'_>, place: Place, matches: bool, stores: bool) {
    if !proxy.has_named_side(args, BACK) {
        return;
    }
    let on_response = place == Place::StickResponse;
    let rule = proxy.scoped(args, place, |args, scope| {
        let at = args.peek().map(|token| token.at);
        let key = Expr::parse(args, scope)?;
        let table = table_of(args, scope)?;
        let spec = scope.directory.table_spec(table);
        if let Some(kind) = spec.and_then(|spec| unfit(&key, spec)) {
            args.fail(at.unwrap_or_else(|| args.at()), kind);
            return None;
        }
        let condition = Condition::parse_if_unless(args, scope);
        if condition.is_none() && !args.failed() {
            args.end();
        }
        (!args.failed()).then_some(StickRule { condition, key, table, matches, stores })
    });
    let rules = match on_response {
        true => &mut proxy.own.stick_response,
        false => &mut proxy.own.stick_request,
    };
    rules.extend(rule);
}

/// Reads `table <name>`; without it, the section's own is meant.
pub(crate) fn table_of(args: &mut Args<'_>, scope: &ParseScope<'_>) -> Option<TableId> {
    let found = match args.accept("table") {
        true => {
            let token = args.next("the name of a stick table")?;
            scope.directory.table(token.text).map_err(|kind| (token.at, kind))
        }
        false => scope.own_table(&args.keyword_text()).map_err(|kind| (args.at(), kind)),
    };
    found.map_err(|(at, kind)| args.fail(at, kind)).ok()
}

/// Why samples of an expression cannot be keys of a table.
pub(crate) fn unfit(key: &Expr, spec: &TableSpec) -> Option<ConfigErrorKind> {
    let to = crate::tracking::sample_type(spec.config.as_ref()?.key);
    (!key.output().casts_to(to)).then(|| ConfigErrorKind::BadValue {
        what: "key".into(),
        found: key.text().to_owned(),
        expected: format!(
            "a sample that gives {}: stick table {} is of type {}; this one gives {}",
            to.name(),
            spec.name,
            spec.config.as_ref().map_or("", |config| config.key.name()),
            key.output().name(),
        )
        .into(),
    })
}

/// Makes the tables of a configuration.
pub(super) fn build(directory: &Directory) -> Vec<crate::model::StickTable> {
    use std::hash::{BuildHasher, RandomState};
    let tables = directory.tables.iter().map(|spec| {
        // Without a configuration there is no model.
        let config = spec.config.clone().unwrap_or_else(|| TableConfig::new(KeyType::Ip, 1));
        let seed = RandomState::new().hash_one(0);
        let entries = Arc::new(telamon_balance::stick::Table::new(&config, seed));
        let (name, server_key) = (Arc::clone(&spec.name), spec.server_key);
        crate::model::StickTable { name, at: spec.at, config, server_key, entries }
    });
    tables.collect()
}

/// HAProxy's 32 bytes count the NUL at the end.
const STRING_LEN_DEFAULT: u32 = 31;
const BINARY_LEN_DEFAULT: u32 = 32;
/// The longest key; entries have room for it whatever they hold.
const KEY_LEN_MAX: u32 = 65_535;

#[cfg(test)]
mod tests;
