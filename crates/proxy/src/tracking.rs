//! What a session and its requests count of the keys that they track: `track-sc*`.
//!
//! A key tracked by `tcp-request connection` or `session` is the session's, one tracked by contents is its request's (in
//! `mode tcp`: the same). A counter that the session has is seen by its requests too, and they cannot set it anew. What
//! is counted, and when, is HAProxy's: a connection when a key begins to be tracked, a session when the rules have let
//! it in, a request when its head has come (or when it is tracked), errors by whoever answers, bytes as they go.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use telamon_balance::stick::{Cell, DataType, Entry, Key, KeyType, Table, Tracked};

use crate::expr::{Value, ValueType};
use crate::stream::{Session, Stream};
use crate::worker::Worker;

/// The counters of a session or of a request, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Tracking(RefCell<Vec<Option<Counter>>>);

/// A key that is tracked; given back when it is dropped.
#[derive(Debug)]
struct Counter {
    /// `None` only while it is dropped.
    entry: Option<Tracked>,
    worker: Rc<Worker>,
}

impl Tracking {
    pub(crate) fn has(&self, number: usize) -> bool {
        matches!(self.0.borrow().get(number), Some(Some(_)))
    }

    /// Ends all tracking.
    pub(crate) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Begins to track a key: a connection is counted, and whatever `first` counts.
    fn begin(
        &self,
        number: usize,
        table: &Arc<Table>,
        key: &Key<'_>,
        worker: &Rc<Worker>,
        first: impl FnOnce(&mut Entry<'_>),
    ) {
        let tracked = table.track(key, worker.now_ms() as u32, |entry| {
            entry.add(DataType::ConnCur, 1);
            entry.add(DataType::ConnCnt, 1);
            entry.add(DataType::ConnRate, 1);
            first(entry);
        });
        let Some(entry) = tracked else { return };
        let mut counters = self.0.borrow_mut();
        if counters.len() <= number {
            counters.resize_with(number + 1, || None);
        }
        counters[number] = Some(Counter { entry: Some(entry), worker: Rc::clone(worker) });
    }

    fn with<R>(&self, number: usize, read: impl FnOnce(&Tracked) -> R) -> Option<R> {
        let counters = self.0.borrow();
        let counter = counters.get(number)?.as_ref()?;
        counter.entry.as_ref().map(read)
    }

    fn numbers(&self) -> usize {
        self.0.borrow().len()
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry.release(self.worker.now_ms() as u32, |entry| {
                entry.take_one(DataType::ConnCur);
            });
        }
    }
}

/// Tracks a key for a session.
pub(crate) fn track_session(session: &Session, number: usize, table: &Arc<Table>, key: &Key<'_>) {
    if !session.root().tracking.has(number) {
        session.root().tracking.begin(number, table, key, &session.worker, |_| ());
    }
}

/// Tracks a key for a request; what it has counted so far, `first` counts too.
pub(crate) fn track_stream(
    stream: &Stream,
    number: usize,
    table: &Arc<Table>,
    key: &Key<'_>,
    first: impl FnOnce(&mut Entry<'_>),
) {
    if !is_tracked(&stream.session, Some(stream), number) {
        stream.tracking.begin(number, table, key, &stream.session.worker, first);
    }
}

/// Whether a counter has a key.
pub(crate) fn is_tracked(session: &Session, stream: Option<&Stream>, number: usize) -> bool {
    session.root().tracking.has(number) || stream.is_some_and(|stream| stream.tracking.has(number))
}

/// Looks at the entry of a counter, or changes it; `None` where the counter has no key.
pub(crate) fn with_counter<R>(
    session: &Session,
    stream: Option<&Stream>,
    number: usize,
    visit: impl FnOnce(&Tracked) -> R,
) -> Option<R> {
    match stream {
        Some(stream) if stream.tracking.has(number) => stream.tracking.with(number, visit),
        _ => session.root().tracking.with(number, visit),
    }
}

/// The rules have let the session in.
pub(crate) fn session_begins(session: &Session) {
    for number in 0..session.tracking.numbers() {
        session.root().tracking.with(number, |tracked| {
            tracked.with(session.worker.now_ms() as u32, |entry| {
                entry.add(DataType::SessCnt, 1);
                entry.add(DataType::SessRate, 1);
            });
        });
    }
}

/// A request has come.
pub(crate) fn request(stream: &Stream) {
    count(stream, count_request);
}

/// Bytes that are no request have come.
pub(crate) fn bad_request(stream: &Stream) {
    count(stream, |entry| {
        count_request(entry);
        count_error(entry);
    });
}

/// The request was refused, or answered with a status from 400 to 499.
pub(crate) fn error(stream: &Stream) {
    count(stream, count_error);
}

/// The server failed, or answered with a status that says so.
pub(crate) fn failure(stream: &Stream) {
    count(stream, count_failure);
}

/// The server has answered.
pub(crate) fn answered(stream: &Stream) {
    let status = stream.response.status();
    // Most answers say nothing of either, and need no look at the tables.
    if status >= 400 {
        count(stream, |entry| count_status(entry, status));
    }
}

/// Counts the bytes that a stream has moved so far; those of a long one every second.
pub(crate) fn flow(stream: &mut Stream, bytes_in: u64, bytes_out: u64) {
    if stream.tracking.is_empty() && stream.session.root().tracking.is_empty() {
        return;
    }
    let now = stream.session.worker.now_ms();
    if now.saturating_sub(stream.tracked_bytes.at_ms) >= FLOW_EVERY_MS {
        stream.tracked_bytes.at_ms = now;
        bytes(stream, bytes_in, bytes_out);
    }
}

/// Counts the bytes that were not counted yet of those that a stream has moved.
pub(crate) fn bytes(stream: &mut Stream, bytes_in: u64, bytes_out: u64) {
    let counted = &mut stream.tracked_bytes;
    let more_in = bytes_in.saturating_sub(counted.bytes_in);
    let more_out = bytes_out.saturating_sub(counted.bytes_out);
    (counted.bytes_in, counted.bytes_out) =
        (bytes_in.max(counted.bytes_in), bytes_out.max(counted.bytes_out));
    if more_in == 0 && more_out == 0 {
        return;
    }
    const DATA: [DataType; 4] = [
        DataType::BytesInCnt,
        DataType::BytesInRate,
        DataType::BytesOutCnt,
        DataType::BytesOutRate,
    ];
    each(stream, |tracked, now_ms| {
        if DATA.iter().any(|data| tracked.table().stores(*data)) {
            tracked.with(now_ms, |entry| {
                if more_in > 0 {
                    entry.add(DataType::BytesInCnt, more_in);
                    entry.add(DataType::BytesInRate, more_in);
                }
                if more_out > 0 {
                    entry.add(DataType::BytesOutCnt, more_out);
                    entry.add(DataType::BytesOutRate, more_out);
                }
            });
        }
    });
}

pub(crate) fn count_request(entry: &mut Entry<'_>) {
    entry.add(DataType::HttpReqCnt, 1);
    entry.add(DataType::HttpReqRate, 1);
}

/// What the status of an answer says of client and server.
pub(crate) fn count_status(entry: &mut Entry<'_>, status: u16) {
    match status {
        400..=499 => count_error(entry),
        // These two are about the request.
        501 | 505 => {}
        500..=599 => count_failure(entry),
        _ => {}
    }
}

fn count_error(entry: &mut Entry<'_>) {
    entry.add(DataType::HttpErrCnt, 1);
    entry.add(DataType::HttpErrRate, 1);
}

fn count_failure(entry: &mut Entry<'_>) {
    entry.add(DataType::HttpFailCnt, 1);
    entry.add(DataType::HttpFailRate, 1);
}

/// Changes every entry that the request or its session tracks.
fn count(stream: &Stream, change: impl Fn(&mut Entry<'_>)) {
    each(stream, |tracked, now_ms| tracked.with(now_ms, &change));
}

fn each(stream: &Stream, visit: impl Fn(&Tracked, u32)) {
    let session = &*stream.session;
    let numbers = stream.tracking.numbers().max(session.root().tracking.numbers());
    let now_ms = session.worker.now_ms() as u32;
    for number in 0..numbers {
        with_counter(session, Some(stream), number, |tracked| visit(tracked, now_ms));
    }
}

/// The bytes of a stream that its counters know of.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct TrackedBytes {
    bytes_in: u64,
    bytes_out: u64,
    at_ms: u64,
}

/// The type that samples are cast to before they are keys of a type.
pub(crate) fn sample_type(key: KeyType) -> ValueType {
    match key {
        KeyType::Ip | KeyType::Ipv6 => ValueType::Addr,
        KeyType::Integer => ValueType::Int,
        KeyType::String { .. } => ValueType::Str,
        KeyType::Binary { .. } => ValueType::Bin,
    }
}

/// Hands over a sample as a key of a type; `None` when it cannot be one.
pub(crate) fn with_key<R>(
    sample: Value<'_>,
    key: KeyType,
    use_key: impl FnOnce(&Key<'_>) -> R,
) -> Option<R> {
    let is_text = matches!(sample, Value::Str(_));
    Some(match (sample.cast(sample_type(key))?, key) {
        // Text has to be of the family itself.
        (Value::Addr(IpAddr::V6(_)), KeyType::Ip) | (Value::Addr(IpAddr::V4(_)), KeyType::Ipv6)
            if is_text =>
        {
            return None;
        }
        (Value::Addr(address), key) => use_key(&address_key(address, key)?),
        (Value::Int(number), KeyType::Integer) => use_key(&Key::integer(number as u32)),
        (Value::Str(text) | Value::Bin(text), KeyType::String { .. } | KeyType::Binary { .. }) => {
            use_key(&Key::from(&*text))
        }
        _ => return None,
    })
}

/// An address as a key of a type; an IPv6 one is none of type `ip` unless it is a mapped IPv4 one (`::ffff:a.b.c.d`).
fn address_key(address: IpAddr, key: KeyType) -> Option<Key<'static>> {
    Some(match (address, key) {
        (IpAddr::V4(address), KeyType::Ip) => Key::from(address),
        (IpAddr::V6(address), KeyType::Ip) => Key::from(address.to_ipv4_mapped()?),
        (IpAddr::V4(address), KeyType::Ipv6) => Key::from(address.to_ipv6_mapped()),
        (IpAddr::V6(address), KeyType::Ipv6) => Key::from(address),
        (IpAddr::V4(address), KeyType::Integer) => Key::integer(address.to_bits()),
        _ => return None,
    })
}

/// A value, or the first element of the array that stands for it.
pub(crate) fn or_first(data: DataType, array: DataType) -> [Cell; 2] {
    let index = u32::from(matches!(data, DataType::Gpc1 | DataType::Gpc1Rate));
    [Cell::from(data), Cell { data: array, index }]
}

/// How often the bytes of a long transfer are counted.
const FLOW_EVERY_MS: u64 = 1_000;
