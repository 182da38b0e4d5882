//! The recorded files in `data/` are answers of Debian's HAProxy 2.6.12 to `show stat` and `show info` in their three
//! formats, asked on one connection, for a frontend, a server that is down, a backend and the process.

use super::*;
use telamon_balance::stats::Kind;

/// Reads rows back from the recorded CSV.
pub(crate) fn rows(csv: &str) -> Vec<Row> {
    csv.lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let mut row = Row::new(match cells[Column::Type as usize] {
                "0" => Kind::Frontend,
                "1" => Kind::Backend,
                "2" => Kind::Server,
                _ => Kind::Listener,
            });
            for (&column, cell) in Column::ALL.iter().zip(cells) {
                if !cell.is_empty() && column != Column::Separator {
                    row.set(column, value(column.value_type(), cell));
                }
            }
            row
        })
        .collect()
}

fn value(value_type: Type, text: &str) -> Value {
    match value_type {
        Type::U32 | Type::U64 => Value::Unsigned(text.parse().unwrap()),
        Type::S32 => Value::Signed(text.parse().unwrap()),
        Type::Text => Value::Text(text.to_owned().into()),
    }
}

fn render(format: Format, rows: &[Row]) -> String {
    let mut out = Vec::new();
    begin(format, &mut out);
    for (at, one) in rows.iter().enumerate() {
        row(format, one, at == 0, &mut out);
    }
    end(format, &mut out);
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(csv: &str, typed: &str, json: &str) {
    let rows = rows(csv);
    assert_eq!(render(Format::Csv, &rows), csv);
    same_lines(&render(Format::Typed, &rows), typed, "\n");
    same_lines(&render(Format::Json, &rows), json, "},{");
}

/// Compares piece by piece, so that a failure shows the one that differs.
#[track_caller]
fn same_lines(ours: &str, theirs: &str, between: &str) {
    let differing: Vec<_> = ours
        .split(between)
        .zip(theirs.split(between))
        .filter(|(ours, theirs)| ours != theirs)
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn rows_are_written_as_haproxy_writes_them() {
    check(
        include_str!("data/frontend.csv"),
        include_str!("data/frontend.typed"),
        include_str!("data/frontend.json"),
    );
    check(
        include_str!("data/server.csv"),
        include_str!("data/server.typed"),
        include_str!("data/server.json"),
    );
    check(
        include_str!("data/backend.csv"),
        include_str!("data/backend.typed"),
        include_str!("data/backend.json"),
    );
}

#[test]
fn info_is_written_as_haproxy_writes_it() {
    let plain = include_str!("data/info.txt");
    let mut info = Info::default();
    for line in plain.lines() {
        let (name, text) = line.split_once(": ").unwrap();
        let &field = Field::ALL.iter().find(|field| field.name() == name).unwrap();
        info.set(field, value(field.value_type(), text));
    }
    let written = |format| {
        let mut out = Vec::new();
        super::info(format, &info, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(written(InfoFormat::Plain), plain);
    same_lines(&written(InfoFormat::Typed), include_str!("data/info.typed"), "\n");
    same_lines(&written(InfoFormat::Json), include_str!("data/info.json"), "},{");
}

#[test]
fn every_value_can_be_explained() {
    let rows = rows(include_str!("data/server.csv"));
    let typed = render(Format::TypedExplained, &rows);
    assert!(typed.starts_with("S.5.2.0.pxname.1:KNS:str:be1:\"Name of the proxy\"\n"), "{typed}");
    let mut info = Info::default();
    info.set(Field::Nbthread, 4_u32);
    let mut out = Vec::new();
    super::info(InfoFormat::PlainExplained, &info, &mut out);
    super::info(InfoFormat::TypedExplained, &info, &mut out);
    assert_eq!(out, b"Nbthread: 4:\"Worker threads\"\n3.Nbthread.1:CGS:u32:4:\"Worker threads\"\n");
}

#[test]
fn names_cannot_break_the_formats() {
    let mut row = Row::new(Kind::Server);
    row.set(Column::Pxname, "a,\"b\"").set(Column::Svname, "x\n\u{1}é");
    let csv = render(Format::Csv, std::slice::from_ref(&row));
    assert!(csv.contains("\n\"a,\"\"b\"\"\",\"x\n\u{1}é\","), "{csv}");
    let json = render(Format::Json, &[row]);
    assert!(json.contains(r#""value":"a,\"b\"""#), "{json}");
    assert!(json.contains(r#""value":"x\n\u0001é""#), "{json}");
}
