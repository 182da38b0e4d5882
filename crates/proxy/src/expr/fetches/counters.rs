//! Fetches of stick tables: of the keys that are tracked (`sc_*`, `sc0_*` to `sc2_*`), of the client's address
//! (`src_*`), and of tables as a whole.
//!
//! Each counter has five names. `sc_*` takes the number of the counter and, as the others, may name another table in
//! which the tracked key is looked up; `src_*` looks the client's address up in a table.

use telamon_balance::stick::{Cell, DataType, Entry, Key};

use super::session::src;
use super::{Fetch, one};
use crate::expr::args::Param;
use crate::expr::{Arg, Source, Value, ValueType};
use crate::model::StickTable;
use crate::stream::Context;
use crate::tracking::{self, or_first};

const NUMBERED: &[Param] = &[Param::Int, Param::Table];
const TABLE_ONLY: &[Param] = &[Param::Table];
const INDEXED: &[Param] = &[Param::Int, Param::Int, Param::Table];

/// Reads or changes an entry; `None` is what is not stored.
type Visit = fn(&mut Entry<'_>, u32) -> Option<i64>;

/// Which entry is meant.
#[derive(Clone, Copy)]
enum Of {
    /// That of the counter which the first argument names.
    Numbered,
    Counter(usize),
    Source,
}

/// What becomes of a source address that the table does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Zero,
    Made,
}

/// A row of a counter.
macro_rules! row {
    ($name:expr, $of:expr, $params:expr, $required:expr, $source:expr, $absent:expr, $visit:expr) => {
        one($name, ValueType::Int, $source, |cx, args| number(cx, args, $of, $absent, $visit))
            .with($params, $required)
    };
}

/// The five rows of a counter.
macro_rules! counter {
    ($name:literal, $visit:expr) => {
        counter!($name, Source::Internal, Absent::Zero, $visit)
    };
    ($name:literal, $from:expr, $absent:expr, $visit:expr) => {
        &[
            row!(concat!("sc_", $name), Of::Numbered, NUMBERED, 1, $from, $absent, $visit),
            row!(concat!("sc0_", $name), Of::Counter(0), TABLE_ONLY, 0, $from, $absent, $visit),
            row!(concat!("sc1_", $name), Of::Counter(1), TABLE_ONLY, 0, $from, $absent, $visit),
            row!(concat!("sc2_", $name), Of::Counter(2), TABLE_ONLY, 0, $from, $absent, $visit),
            row!(
                concat!("src_", $name),
                Of::Source,
                TABLE_ONLY,
                1,
                Source::ClientAddress,
                $absent,
                $visit
            ),
        ]
    };
}

/// The two rows of an element of an array, whose first argument is its index.
macro_rules! element {
    ($name:literal, $absent:expr, $visit:expr) => {
        &[
            one(concat!("sc_", $name), ValueType::Int, Source::Internal, |cx, args| {
                element(cx, args, Of::Numbered, $absent, $visit)
            })
            .with(INDEXED, 2),
            one(concat!("src_", $name), ValueType::Int, Source::ClientAddress, |cx, args| {
                element(cx, args, Of::Source, $absent, $visit)
            })
            .with(NUMBERED, 2),
        ]
    };
}

/// A stored value.
macro_rules! stored {
    ($name:literal, $data:ident) => {
        counter!($name, |entry, _| entry.get(DataType::$data))
    };
}

pub(super) const TABLES: &[&[Fetch]] = &[
    stored!("bytes_in_rate", BytesInRate),
    stored!("bytes_out_rate", BytesOutRate),
    counter!("clr_gpc0", Source::Internal, Absent::Made, |entry, _| {
        clear(entry, &or_first(DataType::Gpc0, DataType::Gpc))
    }),
    counter!("clr_gpc1", Source::Internal, Absent::Made, |entry, _| {
        clear(entry, &or_first(DataType::Gpc1, DataType::Gpc))
    }),
    stored!("conn_cnt", ConnCnt),
    stored!("conn_cur", ConnCur),
    stored!("conn_rate", ConnRate),
    counter!("get_gpc0", |entry, _| first(entry, &or_first(DataType::Gpc0, DataType::Gpc))),
    counter!("get_gpc1", |entry, _| first(entry, &or_first(DataType::Gpc1, DataType::Gpc))),
    counter!("get_gpt0", |entry, _| first(entry, &or_first(DataType::Gpt0, DataType::Gpt))),
    counter!("gpc0_rate", |entry, _| {
        first(entry, &or_first(DataType::Gpc0Rate, DataType::GpcRate))
    }),
    counter!("gpc1_rate", |entry, _| {
        first(entry, &or_first(DataType::Gpc1Rate, DataType::GpcRate))
    }),
    stored!("http_err_cnt", HttpErrCnt),
    stored!("http_err_rate", HttpErrRate),
    stored!("http_fail_cnt", HttpFailCnt),
    stored!("http_fail_rate", HttpFailRate),
    stored!("http_req_cnt", HttpReqCnt),
    stored!("http_req_rate", HttpReqRate),
    counter!("inc_gpc0", Source::Internal, Absent::Made, |entry, _| {
        let rate = or_first(DataType::Gpc0Rate, DataType::GpcRate);
        increment(entry, &rate, &or_first(DataType::Gpc0, DataType::Gpc))
    }),
    counter!("inc_gpc1", Source::Internal, Absent::Made, |entry, _| {
        let rate = or_first(DataType::Gpc1Rate, DataType::GpcRate);
        increment(entry, &rate, &or_first(DataType::Gpc1, DataType::Gpc))
    }),
    counter!("kbytes_in", Source::ClientAddress, Absent::Zero, |entry, _| {
        entry.get(DataType::BytesInCnt).map(|bytes| bytes >> 10)
    }),
    counter!("kbytes_out", Source::ClientAddress, Absent::Zero, |entry, _| {
        entry.get(DataType::BytesOutCnt).map(|bytes| bytes >> 10)
    }),
    stored!("sess_cnt", SessCnt),
    stored!("sess_rate", SessRate),
    element!("clr_gpc", Absent::Made, |entry, index| {
        clear(entry, &[Cell { data: DataType::Gpc, index }])
    }),
    element!("get_gpc", Absent::Zero, |entry, index| entry
        .get(Cell { data: DataType::Gpc, index })),
    element!("get_gpt", Absent::Zero, |entry, index| entry
        .get(Cell { data: DataType::Gpt, index })),
    element!("gpc_rate", Absent::Zero, |entry, index| {
        entry.get(Cell { data: DataType::GpcRate, index })
    }),
    element!("inc_gpc", Absent::Made, |entry, index| {
        let rate = [Cell { data: DataType::GpcRate, index }];
        increment(entry, &rate, &[Cell { data: DataType::Gpc, index }])
    }),
    &[
        row!("sc_trackers", Of::Numbered, NUMBERED, 1, Source::Internal, Absent::Zero, trackers),
        row!(
            "sc0_trackers",
            Of::Counter(0),
            TABLE_ONLY,
            0,
            Source::Internal,
            Absent::Zero,
            trackers
        ),
        row!(
            "sc1_trackers",
            Of::Counter(1),
            TABLE_ONLY,
            0,
            Source::Internal,
            Absent::Zero,
            trackers
        ),
        row!(
            "sc2_trackers",
            Of::Counter(2),
            TABLE_ONLY,
            0,
            Source::Internal,
            Absent::Zero,
            trackers
        ),
        one("sc0_tracked", ValueType::Bool, Source::Internal, |cx, _| tracked(cx, 0))
            .with(TABLE_ONLY, 0),
        one("sc1_tracked", ValueType::Bool, Source::Internal, |cx, _| tracked(cx, 1))
            .with(TABLE_ONLY, 0),
        one("sc2_tracked", ValueType::Bool, Source::Internal, |cx, _| tracked(cx, 2))
            .with(TABLE_ONLY, 0),
        one("sc_tracked", ValueType::Bool, Source::Internal, |cx, args| {
            tracked(cx, usize::try_from(args[0].int()?).ok()?)
        })
        .with(NUMBERED, 1),
        // HAProxy has this one by chance, and only for the second counter.
        one("sc1_clr_gpc", ValueType::Int, Source::Internal, |cx, args| {
            let index = u32::try_from(args[0].int()?).ok()?;
            visit(cx, Of::Counter(1), &args[1], Absent::Zero, |entry| {
                clear(entry, &[Cell { data: DataType::Gpc, index }])
            })
        })
        .with(NUMBERED, 1),
        one("src_updt_conn_cnt", ValueType::Int, Source::ClientAddress, |cx, args| {
            let table = table(cx, &args[0])?;
            let now = cx.session?.worker.now_ms() as u32;
            let added = with_source(cx, table, |key| {
                table.entries.update(key, now, |entry| entry.add(DataType::ConnCnt, 1))
            });
            added??.map(Value::Int)
        })
        .with(TABLE_ONLY, 1),
        one("table_avl", ValueType::Int, Source::Internal, |cx, args| {
            let entries = &table(cx, &args[0])?.entries;
            Some(Value::Int(entries.size().saturating_sub(entries.used()).into()))
        })
        .with(TABLE_ONLY, 1),
        one("table_cnt", ValueType::Int, Source::Internal, |cx, args| {
            Some(Value::Int(table(cx, &args[0])?.entries.used().into()))
        })
        .with(TABLE_ONLY, 1),
    ],
];

fn number<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    of: Of,
    absent: Absent,
    read: Visit,
) -> Option<Value<'a>> {
    let (of, table) = match of {
        Of::Numbered => (Of::Counter(usize::try_from(args[0].int()?).ok()?), &args[1]),
        of => (of, &args[0]),
    };
    visit(cx, of, table, absent, |entry| read(entry, 0))
}

fn element<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    of: Of,
    absent: Absent,
    read: Visit,
) -> Option<Value<'a>> {
    let index = u32::try_from(args[0].int()?).ok()?;
    let (of, table) = match of {
        Of::Numbered => (Of::Counter(usize::try_from(args[1].int()?).ok()?), &args[2]),
        of => (of, &args[1]),
    };
    visit(cx, of, table, absent, |entry| read(entry, index))
}

/// Visits the entry that is meant. A key that the table does not have counts 0.
fn visit<'a>(
    cx: &Context<'a>,
    of: Of,
    other: &Arg,
    absent: Absent,
    read: impl Fn(&mut Entry<'_>) -> Option<i64>,
) -> Option<Value<'a>> {
    let session = cx.session?;
    let now = session.worker.now_ms() as u32;
    let number = match of {
        Of::Counter(number) => number,
        Of::Numbered => return None,
        Of::Source => {
            let table = table(cx, other)?;
            let found = with_source(cx, table, |key| match absent {
                Absent::Zero => table.entries.read(key, now, read),
                Absent::Made => table.entries.update(key, now, read),
            })?;
            return found.unwrap_or(Some(0)).map(Value::Int);
        }
    };
    if let Arg::Absent = other {
        let read = |tracked: &telamon_balance::stick::Tracked| tracked.with(now, &read);
        return tracking::with_counter(session, cx.stream, number, read)?.map(Value::Int);
    }
    let table = table(cx, other)?;
    let mut key = session.worker.lend_buffer();
    let copied = tracking::with_counter(session, cx.stream, number, |tracked| {
        tracked.copy_key(&mut key);
    });
    let found = copied.map(|()| table.entries.read(&Key::from(&*key), now, read));
    session.worker.return_buffer(key);
    found?.unwrap_or(Some(0)).map(Value::Int)
}

fn tracked<'a>(cx: &Context<'a>, number: usize) -> Option<Value<'a>> {
    Some(Value::Bool(tracking::is_tracked(cx.session?, cx.stream, number)))
}

fn trackers(entry: &mut Entry<'_>, _: u32) -> Option<i64> {
    Some(entry.refs().into())
}

fn first(entry: &Entry<'_>, cells: &[Cell]) -> Option<i64> {
    cells.iter().find_map(|cell| entry.get(*cell))
}

fn clear(entry: &mut Entry<'_>, cells: &[Cell]) -> Option<i64> {
    cells.iter().find_map(|cell| {
        let before = entry.get(*cell)?;
        entry.set(*cell, 0);
        Some(before)
    })
}

/// Counts an event; gives the counter, else the events of the running period, 0 where neither is stored.
fn increment(entry: &mut Entry<'_>, rate: &[Cell], count: &[Cell]) -> Option<i64> {
    let rate = rate.iter().find_map(|cell| entry.add(*cell, 1));
    let count = count.iter().find_map(|cell| entry.add(*cell, 1));
    Some(count.or(rate).unwrap_or(0))
}

fn table<'a>(cx: &Context<'a>, arg: &Arg) -> Option<&'a StickTable> {
    match arg {
        Arg::Table(id) => cx.model.table(*id),
        _ => None,
    }
}

/// Visits the entry of the client's address.
fn with_source<R>(
    cx: &Context<'_>,
    table: &StickTable,
    use_key: impl FnOnce(&Key<'_>) -> R,
) -> Option<R> {
    tracking::with_key(Value::Addr(src(cx)?.ip()), table.config.key, use_key)
}
