//! Looking keys up in stick tables: `in_table`, `table_*`.

use telamon_balance::stick::{Cell, DataType, Entry};

use super::{Arg, Converter, Value, ValueType, converter};
use crate::expr::args::Param;
use crate::model::StickTable;
use crate::stream::Context;
use crate::tracking::{self, or_first};

const TABLE_ONLY: &[Param] = &[Param::Table];
const WITH_DEFAULT: &[Param] = &[Param::Table, Param::Int];
const INDEXED: &[Param] = &[Param::Int, Param::Table];

/// A stored value, 0 for a key that is not there.
macro_rules! stored {
    ($name:literal, $read:expr) => {
        converter($name, ValueType::Any, ValueType::Int, |cx, args, value| {
            let read: fn(&Entry<'_>) -> Option<i64> = $read;
            look_up(cx, &args[0], value, |entry| read(entry))?.unwrap_or(Some(0)).map(Value::Int)
        })
        .with(TABLE_ONLY, 1)
    };
}

/// An element of an array.
macro_rules! element {
    ($name:literal, $data:ident) => {
        converter($name, ValueType::Any, ValueType::Int, |cx, args, value| {
            let index = u32::try_from(args[0].int()?).ok()?;
            let cell = Cell { data: DataType::$data, index };
            look_up(cx, &args[1], value, |entry| entry.get(cell))?
                .unwrap_or(Some(0))
                .map(Value::Int)
        })
        .with(INDEXED, 2)
    };
}

pub(super) const TABLE: &[Converter] = &[
    converter("in_table", ValueType::Any, ValueType::Bool, |cx, args, value| {
        Some(Value::Bool(look_up(cx, &args[0], value, |_| ())?.is_some()))
    })
    .with(TABLE_ONLY, 1),
    stored!("table_bytes_in_rate", |entry| entry.get(DataType::BytesInRate)),
    stored!("table_bytes_out_rate", |entry| entry.get(DataType::BytesOutRate)),
    stored!("table_conn_cnt", |entry| entry.get(DataType::ConnCnt)),
    stored!("table_conn_cur", |entry| entry.get(DataType::ConnCur)),
    stored!("table_conn_rate", |entry| entry.get(DataType::ConnRate)),
    converter("table_expire", ValueType::Any, ValueType::Int, |cx, args, value| {
        let left = look_up(cx, &args[0], value, |entry| i64::from(entry.remaining_ms()))?;
        left.or(args[1].int()).map(Value::Int)
    })
    .with(WITH_DEFAULT, 1),
    element!("table_gpc", Gpc),
    stored!("table_gpc0", |entry| first(entry, DataType::Gpc0, DataType::Gpc)),
    stored!("table_gpc0_rate", |entry| first(entry, DataType::Gpc0Rate, DataType::GpcRate)),
    stored!("table_gpc1", |entry| first(entry, DataType::Gpc1, DataType::Gpc)),
    stored!("table_gpc1_rate", |entry| first(entry, DataType::Gpc1Rate, DataType::GpcRate)),
    element!("table_gpc_rate", GpcRate),
    element!("table_gpt", Gpt),
    stored!("table_gpt0", |entry| first(entry, DataType::Gpt0, DataType::Gpt)),
    stored!("table_http_err_cnt", |entry| entry.get(DataType::HttpErrCnt)),
    stored!("table_http_err_rate", |entry| entry.get(DataType::HttpErrRate)),
    stored!("table_http_fail_cnt", |entry| entry.get(DataType::HttpFailCnt)),
    stored!("table_http_fail_rate", |entry| entry.get(DataType::HttpFailRate)),
    stored!("table_http_req_cnt", |entry| entry.get(DataType::HttpReqCnt)),
    stored!("table_http_req_rate", |entry| entry.get(DataType::HttpReqRate)),
    converter("table_idle", ValueType::Any, ValueType::Int, |cx, args, value| {
        let expire = table(cx, &args[0])?.entries.expire_ms();
        let idle = look_up(cx, &args[0], value, |entry| {
            i64::from(expire.saturating_sub(entry.remaining_ms()))
        })?;
        idle.or(args[1].int()).map(Value::Int)
    })
    .with(WITH_DEFAULT, 1),
    stored!("table_kbytes_in", |entry| entry.get(DataType::BytesInCnt).map(|bytes| bytes >> 10)),
    stored!("table_kbytes_out", |entry| entry.get(DataType::BytesOutCnt).map(|bytes| bytes >> 10)),
    stored!("table_server_id", |entry| entry.get(DataType::ServerId)),
    stored!("table_sess_cnt", |entry| entry.get(DataType::SessCnt)),
    stored!("table_sess_rate", |entry| entry.get(DataType::SessRate)),
    // HAProxy counts its own look at the entry.
    stored!("table_trackers", |entry| Some(i64::from(entry.refs()) + 1)),
];

/// Looks a sample up in a table: `None` when it cannot be a key, `Some(None)` when it is not there.
fn look_up<R>(
    cx: &Context<'_>,
    arg: &Arg,
    value: Value<'_>,
    read: impl FnOnce(&mut Entry<'_>) -> R,
) -> Option<Option<R>> {
    let table = table(cx, arg)?;
    let now = cx.session?.worker.now_ms() as u32;
    tracking::with_key(value, table.config.key, |key| table.entries.read(key, now, read))
}

fn table<'a>(cx: &Context<'a>, arg: &Arg) -> Option<&'a StickTable> {
    match arg {
        Arg::Table(id) => cx.model.table(*id),
        _ => None,
    }
}

fn first(entry: &Entry<'_>, data: DataType, array: DataType) -> Option<i64> {
    or_first(data, array).into_iter().find_map(|cell| entry.get(cell))
}
