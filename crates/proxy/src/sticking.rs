//! `stick` rules: the server that a key went to before, and remembering where it goes.
//!
//! [`choose`] runs the rules of the request, after everything else that may bind it to a server; [`remember`] runs those of
//! the answer and writes down, for all keys that were to be stored, which server it was. Source: HAProxy configuration
//! manual, `stick on` and its kin.

use telamon_balance::stick::{DataType, Entry, Key};
use telamon_runtime::Endpoint;

use crate::expr::AddrText;
use crate::model::{Backend, Proxy, Server, ServerId, ServerKey, StickRule, StickTable, TableId};
use crate::stream::{Context, Direction, Stream};
use crate::tracking;

/// A key whose server is to be remembered once it is known.
#[derive(Debug)]
pub(crate) struct ToStore {
    table: TableId,
    key: Box<[u8]>,
}

/// What an entry says of a server: its id, and the number of its name in the table.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    id: i64,
    name: u32,
}

/// Runs the rules of a request: binds it to the server of the first key that is known, unless it is bound already, and
/// notes the keys to be stored.
pub(crate) fn choose(stream: &mut Stream, proxy: &Proxy, backend: &Backend) {
    for rule in &backend.stick_request {
        // Of several rules that store into a table, the first that has a key counts.
        if rule.stores && stream.to_store.iter().any(|to_store| to_store.table == rule.table) {
            continue;
        }
        let snapshot = stream.snapshot.clone();
        let Some(table) = snapshot.table(rule.table) else { continue };
        let matches = rule.matches;
        let found = with_key(stream, rule, table, Direction::Request, |key, now| {
            let known = if matches { table.entries.read(key, now, recall) } else { None };
            (known, rule.stores.then(|| key.as_bytes().into()))
        });
        let Some((known, key)) = found else { continue };
        if let Some(known) = known
            && stream.persistence.server().is_none()
            && let Some(server) = server_of(known, table, backend)
        {
            stream.persistence.bind(proxy, backend, server);
        }
        if let Some(key) = key {
            note(stream, rule, key);
        }
    }
}

/// The server has answered: runs the rules of the answer, and remembers the server for all keys that were noted.
pub(crate) fn remember(stream: &mut Stream, backend: &Backend, server: &Server) {
    let of_request = stream.to_store.len();
    for rule in &backend.stick_response {
        if stream.to_store[of_request..].iter().any(|to_store| to_store.table == rule.table) {
            continue;
        }
        let snapshot = stream.snapshot.clone();
        let Some(table) = snapshot.table(rule.table) else { continue };
        let key =
            with_key(stream, rule, table, Direction::Response, |key, _| key.as_bytes().into());
        if let Some(key) = key {
            note(stream, rule, key);
        }
    }
    if stream.to_store.is_empty() || server.non_stick {
        return;
    }
    let now = stream.session.worker.now_ms() as u32;
    for ToStore { table, key } in std::mem::take(&mut stream.to_store) {
        let Some(table) = stream.snapshot.table(table) else { continue };
        let name = match table.server_key {
            ServerKey::Name => table.entries.server_number(&server.name),
            ServerKey::Address => table.entries.server_number(&address_key(server)),
        };
        table.entries.update(&Key::from(&*key), now, |entry| {
            entry.set(DataType::ServerId, server.number.into());
            entry.set(DataType::ServerKey, name.into());
        });
    }
}

/// Hands the rule's key over, if its condition holds and it has one.
fn with_key<R>(
    stream: &Stream,
    rule: &StickRule,
    table: &StickTable,
    direction: Direction,
    use_key: impl FnOnce(&Key<'_>, u32) -> R,
) -> Option<R> {
    let wants_more = std::cell::Cell::new(false);
    let cx = Context::for_stream(stream, direction, &wants_more);
    if rule.condition.as_ref().is_some_and(|condition| !condition.holds(&cx)) {
        return None;
    }
    let sample = rule.key.eval(&cx)?;
    let now = stream.session.worker.now_ms() as u32;
    tracking::with_key(sample, table.config.key, |key| use_key(key, now))
}

fn note(stream: &mut Stream, rule: &StickRule, key: Box<[u8]>) {
    if stream.to_store.len() < STORED_MAX {
        stream.to_store.push(ToStore { table: rule.table, key });
    }
}

fn recall(entry: &mut Entry<'_>) -> Remembered {
    entry.touch();
    Remembered {
        id: entry.get(DataType::ServerId).unwrap_or(0),
        name: entry.get(DataType::ServerKey).map_or(0, |name| name as u32),
    }
}

/// The server that is remembered: by its name or address, else by its id.
fn server_of(known: Remembered, table: &StickTable, backend: &Backend) -> Option<ServerId> {
    let servers = &backend.servers;
    let id = u32::try_from(known.id).ok()?;
    // Ids count from 1 unless they are written.
    let likely = servers.get((id as usize).wrapping_sub(1)).filter(|server| server.number == id);
    let by_id = || likely.or_else(|| servers.iter().find(|server| server.number == id));
    let by_key = || {
        let name = table.entries.server_name(known.name)?;
        match table.server_key {
            ServerKey::Name => likely
                .filter(|server| server.name == name)
                .or_else(|| servers.iter().find(|server| server.name == name)),
            ServerKey::Address => {
                let at = |server: &&Server| address_key(server) == *name;
                likely.filter(at).or_else(|| servers.iter().find(at))
            }
        }
    };
    by_key().or_else(by_id).map(|server| ServerId(server.index))
}

/// What is remembered of a server with `srvkey addr`: its address and port, an IPv6 one without brackets.
fn address_key(server: &Server) -> String {
    match server.state.address().endpoint {
        Endpoint::Inet(address) => format!("{}:{}", AddrText(address.ip()), address.port()),
        other => other.to_string(),
    }
}

/// Keys that one stream has stored at most.
const STORED_MAX: usize = 8;
