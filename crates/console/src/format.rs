//! Statistics as CSV, typed lines and JSON, to HAProxy's bytes.
//!
//! Every function appends to a buffer, a row at a time, so that a dump of any size needs no more memory than a part.

use std::fmt::Display;
use std::io::Write as _;

use telamon_balance::stats::{Column, Field, Info, Row, Tags, Type, Value};

use crate::describe;

/// The outputs that scripts read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Csv,
    Typed,
    /// Typed, with what each value means.
    TypedExplained,
    Json,
}

/// The outputs of `show info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InfoFormat {
    /// A name and a value a line.
    Plain,
    PlainExplained,
    Typed,
    TypedExplained,
    Json,
}

/// What stands before the first row.
pub(crate) fn begin(format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Csv => {
            out.extend_from_slice(b"# ");
            for column in Column::ALL {
                put(out, format_args!("{},", column.name()));
            }
            out.push(b'\n');
        }
        Format::Typed | Format::TypedExplained => {}
        Format::Json => out.push(b'['),
    }
}

/// One row; `is_first` of the whole dump.
pub(crate) fn row(format: Format, row: &Row, is_first: bool, out: &mut Vec<u8>) {
    match format {
        Format::Csv => csv(row, out),
        Format::Typed => typed(row, |_| None, out),
        Format::TypedExplained => typed(row, |column| Some(describe::column(column)), out),
        Format::Json => {
            if !is_first {
                out.push(b',');
            }
            json(row, out);
        }
    }
}

/// What stands after the last row.
pub(crate) fn end(format: Format, out: &mut Vec<u8>) {
    if format == Format::Json {
        out.extend_from_slice(b"]\n");
    }
}

/// `show info`.
pub(crate) fn info(format: InfoFormat, info: &Info, out: &mut Vec<u8>) {
    match format {
        InfoFormat::Plain => info_plain(info, |_| None, out),
        InfoFormat::PlainExplained => info_plain(info, |field| Some(describe::field(field)), out),
        InfoFormat::Typed => info_typed(info, |_| None, out),
        InfoFormat::TypedExplained => info_typed(info, |field| Some(describe::field(field)), out),
        InfoFormat::Json => info_json(info, out),
    }
}

/// Appends a JSON string with its quotes.
pub(crate) fn json_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => put(out, format_args!("\\u{byte:04x}")),
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

/// Appends formatted text.
pub(crate) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into a Vec cannot fail.
    let _ = out.write_fmt(text);
}

fn info_plain(info: &Info, explain: fn(Field) -> Option<&'static str>, out: &mut Vec<u8>) {
    for (field, value) in fields(info) {
        put(out, format_args!("{}: {value}", field.name()));
        end_line(explain(field), out);
    }
}

fn info_typed(info: &Info, explain: fn(Field) -> Option<&'static str>, out: &mut Vec<u8>) {
    let process = process_of(info);
    for (field, value) in fields(info) {
        let (tags, value_type) = (field.tags().letters(), field.value_type().word());
        put(
            out,
            format_args!(
                "{}.{}.{process}:{tags}:{value_type}:{value}",
                field as usize,
                field.name()
            ),
        );
        end_line(explain(field), out);
    }
}

fn info_json(info: &Info, out: &mut Vec<u8>) {
    let process = process_of(info);
    out.push(b'[');
    for (at, (field, value)) in fields(info).enumerate() {
        out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        json_value(
            field as usize,
            field.name(),
            process,
            field.tags(),
            field.value_type(),
            value,
            out,
        );
    }
    out.extend_from_slice(b"]\n");
}

fn end_line(explanation: Option<&str>, out: &mut Vec<u8>) {
    if let Some(explanation) = explanation {
        put(out, format_args!(":\"{explanation}\""));
    }
    out.push(b'\n');
}

fn csv(row: &Row, out: &mut Vec<u8>) {
    for &column in Column::ALL {
        match row.get(column) {
            _ if column == Column::Separator => out.push(b'-'),
            None => {}
            Some(Value::Text(text)) if text.contains(['"', ',', '\n', '\r']) => {
                put(out, format_args!("\"{}\"", text.replace('"', "\"\"")));
            }
            Some(value) => put(out, format_args!("{value}")),
        }
        out.push(b',');
    }
    out.push(b'\n');
}

fn typed(row: &Row, explain: fn(Column) -> Option<&'static str>, out: &mut Vec<u8>) {
    let id = Id::of(row);
    for (column, value) in values(row) {
        put(
            out,
            format_args!(
                "{}.{}.{}.{}.{}.{}:{}:{}:{value}",
                row.kind.letter(),
                id.proxy,
                id.object,
                position(column),
                column.name(),
                id.process,
                column.tags(row.kind).letters(),
                column.value_type().word(),
            ),
        );
        end_line(explain(column), out);
    }
}

fn json(row: &Row, out: &mut Vec<u8>) {
    let id = Id::of(row);
    out.push(b'[');
    for (at, (column, value)) in values(row).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put(
            out,
            format_args!(
                "{{\"objType\":\"{}\",\"proxyId\":{},\"id\":{},",
                row.kind.word(),
                id.proxy,
                id.object
            ),
        );
        let (tags, value_type) = (column.tags(row.kind), column.value_type());
        json_value(position(column), column.name(), id.process, tags, value_type, value, out);
    }
    out.push(b']');
}

fn json_value(
    position: usize,
    name: &str,
    process: impl Display,
    tags: Tags,
    value_type: Type,
    value: &Value,
    out: &mut Vec<u8>,
) {
    put(
        out,
        format_args!(
            "\"field\":{{\"pos\":{position},\"name\":\"{name}\"}},\"processNum\":{process},\
             \"tags\":{{\"origin\":\"{}\",\"nature\":\"{}\",\"scope\":\"{}\"}},\
             \"value\":{{\"type\":\"{}\",\"value\":",
            tags.origin(),
            tags.nature(),
            tags.scope(),
            value_type.word(),
        ),
    );
    match value {
        Value::Unsigned(number) => put(out, format_args!("{}", number.min(&JSON_NUMBER_MAX))),
        Value::Signed(number) => put(out, format_args!("{number}")),
        Value::Text(text) => json_text(text, out),
    }
    out.extend_from_slice(b"}}");
}

/// The numbers that name a row.
struct Id {
    proxy: u64,
    object: u64,
    process: u64,
}

impl Id {
    fn of(row: &Row) -> Self {
        let number = |column| match row.get(column) {
            Some(Value::Unsigned(number)) => *number,
            _ => 0,
        };
        Self {
            proxy: number(Column::Iid),
            object: number(Column::Sid),
            process: number(Column::Pid),
        }
    }
}

fn values(row: &Row) -> impl Iterator<Item = (Column, &Value)> {
    let shown = |column: &&Column| **column != Column::Separator;
    Column::ALL.iter().filter(shown).filter_map(|&column| Some((column, row.get(column)?)))
}

/// A column's number in the typed and JSON outputs, where the separator of the CSV does not count.
fn position(column: Column) -> usize {
    column as usize - usize::from(column > Column::Separator)
}

fn fields(info: &Info) -> impl Iterator<Item = (Field, &Value)> {
    Field::ALL.iter().filter_map(|&field| Some((field, info.get(field)?)))
}

fn process_of(info: &Info) -> &Value {
    info.get(Field::ProcessNum).unwrap_or(&Value::Unsigned(1))
}

/// The largest integer that a double holds exactly, as JSON's readers keep numbers.
const JSON_NUMBER_MAX: u64 = (1 << 53) - 1;

/// The JSON schema of what [`row`] and [`info_json`] write.
pub(crate) const JSON_SCHEMA: &str = include_str!("../assets/schema.json");

#[cfg(test)]
pub(crate) mod tests;
