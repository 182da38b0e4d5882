//! `show table`, `set table`, `clear table`.

use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::sync::Arc;

use telamon_balance::stick::{Cell, DataType, Entry, Key, KeyType, Stored, Table};
use telamon_runtime::api::{Answer, Invocation, Level};

use super::{Row, done, row, text};
use crate::expr::AddrText;
use crate::model::StickTable;
use crate::snapshot::Snapshot;
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["show", "table"],
        Level::User,
        "<table> [<filter>]*",
        "report table usage stats or dump this table's contents (filter: data/key)",
        show,
    ),
    row(
        &["set", "table"],
        Level::User,
        "<table> key <k> [data.* <v>]*",
        "update or create a table entry's data",
        set,
    ),
    row(
        &["clear", "table"],
        Level::User,
        "<table> [<filter>]*",
        "remove an entry from a table (filter: data/key)",
        clear,
    ),
];

/// What is asked of the entries of a table.
#[derive(Clone, Copy)]
struct Filter {
    data: Cell,
    operator: Operator,
    value: i64,
}

#[derive(Clone, Copy)]
enum Operator {
    Eq,
    Ne,
    Le,
    Ge,
    Lt,
    Gt,
}

impl Filter {
    fn fits(&self, entry: &Entry<'_>) -> bool {
        let Some(value) = entry.get(self.data) else { return false };
        match self.operator {
            Operator::Eq => value == self.value,
            Operator::Ne => value != self.value,
            Operator::Le => value <= self.value,
            Operator::Ge => value >= self.value,
            Operator::Lt => value < self.value,
            Operator::Gt => value > self.value,
        }
    }
}

fn show(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let snapshot = view.snapshot();
    let now = view.shared.now_ms() as u32;
    let Some(name) = call.args.first() else {
        let mut heads = String::new();
        // HAProxy begins with the last.
        for table in snapshot.model.tables.iter().rev() {
            table.entries.sweep(now);
            head(&mut heads, table);
        }
        return text(heads);
    };
    let index = find(&snapshot, name)?;
    let table = &snapshot.model.tables[index];
    table.entries.sweep(now);
    let mut out = String::new();
    let filters = match call.args.get(1).copied() {
        Some("key") => {
            let key = OwnedKey::read(table, call.args, "Showing keys from")?;
            permit(call)?;
            head(&mut out, table);
            let found = key.with(|key| {
                table.entries.read(key, now, |entry| {
                    line(&mut out, table, key.normalized(table.config.key), entry);
                })
            });
            return text(if found.is_some() { out } else { String::new() });
        }
        Some(word) if word.starts_with("data.") => filters(table, call.args)?,
        None | Some("") => Vec::new(),
        Some(_) => {
            return Err("Optional argument only supports \"data.<store_data_type>\" <operator> \
                        <value> and key <key>\n"
                .to_owned());
        }
    };
    head(&mut out, table);
    if call.level < Level::Operator {
        out.push_str("# contents not dumped due to insufficient privileges\n");
        return text(out);
    }
    let shared = Arc::clone(&view.shared);
    let mut keys = table.entries.keys(now).into_iter();
    let mut pending = Some(out);
    Ok(Answer::Parts(Box::new(move |part| {
        let table = &snapshot.model.tables[index];
        let mut out = pending.take().unwrap_or_default();
        let now = shared.now_ms() as u32;
        let mut left = PART_ENTRIES;
        while left > 0
            && let Some(key) = keys.next()
        {
            left -= 1;
            table.entries.read(&Key::from(&*key), now, |entry| {
                if filters.iter().all(|filter| filter.fits(entry)) {
                    line(&mut out, table, &key, entry);
                }
            });
        }
        part.extend_from_slice(out.as_bytes());
        left == 0
    })))
}

fn set(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let snapshot = view.snapshot();
    let usage =
        || "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n".to_owned();
    let name = call.args.first().ok_or_else(usage)?;
    let table = &snapshot.model.tables[find(&snapshot, name)?];
    match call.args.get(1).copied() {
        Some("key") => {}
        Some(word) if word.starts_with("data.") => {
            return Err("content-based lookup is only supported with the \"show\" and \"clear\" \
                        actions\n"
                .to_owned());
        }
        Some(_) => return Err(usage()),
        None => return done(),
    }
    let key = OwnedKey::read(table, call.args, "Inserting keys into")?;
    permit(call)?;
    let now = view.shared.now_ms() as u32;
    let result = key.with(|key| {
        table.entries.update(key, now, |entry| {
            for pair in call.args[3..].chunks(2) {
                let name = pair[0].strip_prefix("data.");
                let name =
                    name.ok_or("\"data.<type>\" followed by a value expected\n".to_owned())?;
                let data = DataType::of_name(name).ok_or("Unknown data type\n".to_owned())?;
                if entry.get(data).is_none() {
                    return Err("Data type not stored in this table\n".to_owned());
                }
                let value = pair.get(1).and_then(|word| integer(word));
                let value = value.ok_or("Require a valid integer value to store\n".to_owned())?;
                // A server has a name, which no number is.
                if data != DataType::ServerKey {
                    entry.set(data, value);
                }
            }
            Ok(())
        })
    });
    result.ok_or("Unable to allocate a new entry\n".to_owned())??;
    done()
}

fn clear(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let snapshot = view.snapshot();
    let usage = || {
        "Required arguments: <table> \"data.<store_data_type>\" <operator> <value> or <table> key \
         <key>\n"
            .to_owned()
    };
    let name = call.args.first().ok_or_else(usage)?;
    let index = find(&snapshot, name)?;
    let table = &snapshot.model.tables[index];
    let now = view.shared.now_ms() as u32;
    let filters = match call.args.get(1).copied() {
        Some("key") => {
            let key = OwnedKey::read(table, call.args, "Removing keys from")?;
            permit(call)?;
            return match key.with(|key| table.entries.remove(key, now)) {
                Some(false) => Err("Entry currently in use, cannot remove\n".to_owned()),
                _ => done(),
            };
        }
        Some(word) if word.starts_with("data.") => filters(table, call.args)?,
        None => Vec::new(),
        Some(_) => return Err(usage()),
    };
    if call.level < Level::Operator {
        return done();
    }
    let shared = Arc::clone(&view.shared);
    let mut keys = table.entries.keys(now).into_iter();
    Ok(Answer::Parts(Box::new(move |_| {
        let table = &snapshot.model.tables[index];
        let now = shared.now_ms() as u32;
        let mut left = PART_ENTRIES;
        while left > 0
            && let Some(key) = keys.next()
        {
            left -= 1;
            let fits = |entry: &mut Entry<'_>| filters.iter().all(|filter| filter.fits(entry));
            _ = table.entries.remove_if(&Key::from(&*key), now, fits);
        }
        left == 0
    })))
}

fn find(snapshot: &Snapshot, name: &str) -> Result<usize, String> {
    let found = snapshot.model.tables.iter().position(|table| *table.name == *name);
    found.ok_or_else(|| "No such table\n".to_owned())
}

fn permit(call: &Invocation<'_>) -> Result<(), String> {
    if call.level < Level::Operator {
        return Err("Permission denied\n".to_owned());
    }
    Ok(())
}

/// Reads `data.TYPE OP VALUE …`.
fn filters(table: &StickTable, args: &[&str]) -> Result<Vec<Filter>, String> {
    let mut filters = Vec::new();
    for (number, words) in args[1..].chunks(3).enumerate() {
        if number == FILTERS_MAX {
            let (place, after) = (3 * (number + 1) + 1, args[3 * number]);
            return Err(format!(
                "Detected extra data in filter, {place}th word of input, after '{after}'\n"
            ));
        }
        let fail = |what: &str| Err(format!("Filter entry #{}: {what}\n", number + 1));
        let name = words[0].get(5..).unwrap_or_default();
        let Some(data) = DataType::of_name(name) else { return fail("Unknown data type") };
        if !table.entries.stores(data) {
            return fail("Data type not stored in this table");
        }
        let operator = match words.get(1).copied() {
            Some("eq") => Operator::Eq,
            Some("ne") => Operator::Ne,
            Some("le") => Operator::Le,
            Some("ge") => Operator::Ge,
            Some("lt") => Operator::Lt,
            Some("gt") => Operator::Gt,
            _ => {
                return fail(
                    "Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"",
                );
            }
        };
        let Some(value) = words.get(2).and_then(|word| integer(word)) else {
            return fail("Require a valid integer value to compare against");
        };
        filters.push(Filter { data: data.into(), operator, value });
    }
    Ok(filters)
}

fn integer(word: &str) -> Option<i64> {
    word.parse().ok()
}

/// A key as it was written.
enum OwnedKey {
    Short([u8; 4]),
    Long(Ipv6Addr),
    Text(Box<[u8]>),
}

impl OwnedKey {
    /// Reads the word after `key`.
    fn read(table: &StickTable, args: &[&str], doing: &str) -> Result<Self, String> {
        let word = *args.get(2).ok_or("Key value expected\n")?;
        let invalid = || "Invalid key\n".to_owned();
        Ok(match table.config.key {
            // What is no address is 0.0.0.0 to HAProxy.
            KeyType::Ip => {
                Self::Short(word.parse().map_or([0; 4], |ip: std::net::Ipv4Addr| ip.octets()))
            }
            KeyType::Ipv6 => Self::Long(word.parse().map_err(|_| invalid())?),
            KeyType::Integer => {
                let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
                let number: u32 = word[..digits].parse().map_err(|_| invalid())?;
                Self::Short(number.to_ne_bytes())
            }
            KeyType::String { .. } => Self::Text(word.as_bytes().into()),
            KeyType::Binary { .. } => {
                return Err(format!(
                    "{doing} tables of type other than ip, ipv6, string and integer is not \
                     supported\n"
                ));
            }
        })
    }

    fn with<R>(&self, use_key: impl FnOnce(&Key<'_>) -> R) -> R {
        match self {
            Self::Short(bytes) => use_key(&Key::from(*bytes)),
            Self::Long(address) => use_key(&Key::from(*address)),
            Self::Text(text) => use_key(&Key::from(&**text)),
        }
    }
}

fn head(out: &mut String, table: &StickTable) {
    let StickTable { name, entries, .. } = table;
    let (key, size, used) = (entries.key_type().name(), entries.size(), entries.used());
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# table: {name}, type: {key}, size:{size}, used:{used}");
}

/// Writes an entry as HAProxy shows it; in the place of its address stands a number that is the key's alone.
fn line(out: &mut String, table: &StickTable, key: &[u8], entry: &Entry<'_>) {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let _ = write!(out, "0x{:x}: key=", hash >> 16 | 1);
    let key_type = table.config.key;
    match key_type {
        KeyType::Ip | KeyType::Ipv6 => {
            if let Some(address) = key_type.address(key) {
                let _ = write!(out, "{}", AddrText(address));
            }
        }
        KeyType::Integer => {
            let number = key.try_into().map_or(0, u32::from_ne_bytes);
            let _ = write!(out, "{number}");
        }
        KeyType::String { .. } => dump_text(out, key),
        KeyType::Binary { len } => {
            for place in 0..len as usize {
                let _ = write!(out, "{:02X}", key.get(place).unwrap_or(&0));
            }
        }
    }
    let _ = write!(out, " use={} exp={}", entry.refs(), entry.remaining_ms());
    for Stored { data, count, period_ms } in table.entries.stored() {
        for index in 0..count {
            out.push(' ');
            let name = data.name();
            let _ = match (data.is_array(), name.split_once('_')) {
                (true, Some((name, rest))) => write!(out, "{name}{index}_{rest}"),
                (true, None) => write!(out, "{name}{index}"),
                (false, _) => write!(out, "{name}"),
            };
            if data.is_rate() {
                let _ = write!(out, "({period_ms})");
            }
            let value = entry.get(Cell { data, index }).unwrap_or(0);
            let _ = match data {
                DataType::ServerKey => {
                    let name = server_name(&table.entries, value);
                    write!(out, "={}", name.as_deref().unwrap_or("-"))
                }
                _ => write!(out, "={value}"),
            };
        }
    }
    out.push('\n');
}

fn server_name(entries: &Table, number: i64) -> Option<Arc<str>> {
    entries.server_name(u32::try_from(number).ok()?)
}

/// Writes text up to its NUL, with everything escaped that could be taken for more than text.
fn dump_text(out: &mut String, text: &[u8]) {
    for &byte in text.iter().take_while(|byte| **byte != 0) {
        match byte {
            b'=' | b' ' | b'\\' => out.extend(['\\', byte as char]),
            b'!'..=b'~' => out.push(byte as char),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            0x1b => out.push_str("\\e"),
            _ => {
                let _ = write!(out, "\\x{byte:02X}");
            }
        }
    }
}

/// Entries that are looked at before other work of the control thread gets its turn.
const PART_ENTRIES: usize = 256;
/// Conditions in one command.
const FILTERS_MAX: usize = 4;
