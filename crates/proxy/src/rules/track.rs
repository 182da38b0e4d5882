//! `track-sc*`, `sc-inc-gpc*`, `sc-add-gpc`, `sc-set-gpt*`.

use std::cell::Cell as Flag;

use telamon_balance::stick::{Cell, DataType, Entry};
use telamon_config::{Args, ConfigErrorKind};

use super::actions::typed_sample;
use crate::expr::{Expr, ParseScope, Value, ValueType};
use crate::load::table;
use crate::model::{Mode, TableId};
use crate::stream::{Context, Direction, Session, Stream};
use crate::tracking::{self, or_first};

/// `track-sc<N> KEY [table T]`.
#[derive(Debug)]
pub struct Track {
    pub number: u8,
    pub key: Expr,
    pub table: TableId,
}

/// What is done to the entry that a counter has.
#[derive(Debug)]
pub struct CounterEdit {
    pub number: u8,
    pub change: Change,
}

/// Where there are two places, the first that is stored is meant.
#[derive(Debug)]
pub enum Change {
    /// Counts events: a rate and a counter.
    Count {
        rate: Places,
        count: Places,
        events: Amount,
    },
    Tag {
        places: Places,
        value: Amount,
    },
}

type Places = Vec<Cell>;

#[derive(Debug)]
pub enum Amount {
    Fixed(u32),
    Sample(Expr),
}

impl Track {
    /// Reads what follows `track-sc<number>`.
    pub(super) fn read(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Self> {
        let keyword = args.keyword();
        let digits = keyword.text.trim_start_matches("track-sc");
        let begin = keyword.text.len() - digits.len();
        let number = counter_number(digits, scope)
            .map_err(|kind| args.fail(keyword.part(begin..keyword.text.len()), kind))
            .ok()?;
        let at = args.peek().map_or_else(|| args.at(), |token| token.at);
        let key = Expr::parse(args, scope)?;
        let table = table::table_of(args, scope)?;
        let spec = scope.directory.table_spec(table);
        if let Some(kind) = spec.and_then(|spec| table::unfit(&key, spec)) {
            args.fail(at, kind);
            return None;
        }
        Some(Self { number, key, table })
    }

    /// Tracks for a session, before it has a stream.
    pub(super) fn apply_to_session(&self, session: &Session, cx: &Context<'_>) {
        let number = usize::from(self.number);
        if session.root().tracking.has(number) {
            return;
        }
        let Some(table) = cx.model.table(self.table) else { return };
        let Some(key) = self.key.eval(cx) else { return };
        tracking::with_key(key, table.config.key, |key| {
            tracking::track_session(session, number, &table.entries, key);
        });
    }

    /// Tracks for a stream. Says whether more bytes may give it a key.
    pub(super) fn apply(&self, stream: &Stream, direction: Direction) -> bool {
        let number = usize::from(self.number);
        if tracking::is_tracked(&stream.session, Some(stream), number) {
            return false;
        }
        let wants_more = Flag::new(false);
        let cx = Context::for_stream(stream, direction, &wants_more);
        let Some(table) = cx.model.table(self.table) else { return false };
        let key = self.key.eval(&cx);
        let complete = match direction {
            Direction::Request => stream.request_input_complete,
            Direction::Response => stream.response_input_complete,
        };
        if wants_more.get() && !complete {
            return true;
        }
        let Some(key) = key else { return false };
        // The request was counted before its key was tracked.
        let is_http = stream.snapshot.proxy(stream.frontend).mode == Mode::Http;
        tracking::with_key(key, table.config.key, |key| {
            tracking::track_stream(stream, number, &table.entries, key, |entry| {
                if is_http {
                    tracking::count_request(entry);
                }
                if direction == Direction::Response {
                    tracking::count_status(entry, stream.response.status());
                }
            });
        });
        false
    }
}

impl CounterEdit {
    /// Reads `sc-inc-gpc(I,N)`, `sc-inc-gpc0(N)`, `sc-inc-gpc1`, `sc-add-gpc(I,N) …`, `sc-set-gpt(I,N) …`,
    /// `sc-set-gpt0(N) …`; the name is the keyword's, up to its parenthesis.
    pub(super) fn read(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Self> {
        let keyword = args.keyword();
        let (name, inner) = match keyword.text.split_once('(') {
            None => (keyword.text, None),
            Some((name, rest)) => (name, Some(rest)),
        };
        let is_array = matches!(name, "sc-inc-gpc" | "sc-add-gpc" | "sc-set-gpt");
        let begin = name.len() + 1;
        let place = keyword.part(begin.min(keyword.text.len())..keyword.text.len());
        let usage = if is_array {
            format!("{name}(<index>,<counter>)")
        } else {
            format!("{name}[(<counter>)]")
        };
        let bad = |args: &mut Args<'_>| {
            args.bad(keyword, "action", format!("`{usage}`"));
            None
        };
        let words: Vec<&str> = match inner.map(|inner| inner.strip_suffix(')')) {
            None => Vec::new(),
            Some(None) => return bad(args),
            Some(Some(inner)) => inner.split(',').map(str::trim).collect(),
        };
        let (index, number) = match (is_array, &words[..]) {
            (true, [index, number]) => {
                let Some(index) = index.parse::<u32>().ok() else { return bad(args) };
                (index, *number)
            }
            (false, [number]) => (0, *number),
            (false, []) => (0, "0"),
            _ => return bad(args),
        };
        let number = counter_number(number, scope).map_err(|kind| args.fail(place, kind)).ok()?;
        let cell = |data| Cell { data, index };
        let change = match name {
            "sc-set-gpt0" => {
                let places = or_first(DataType::Gpt0, DataType::Gpt).into();
                Change::Tag { places, value: amount(args, scope)? }
            }
            "sc-set-gpt" => {
                let places = vec![cell(DataType::Gpt)];
                Change::Tag { places, value: amount(args, scope)? }
            }
            "sc-inc-gpc0" => Change::Count {
                rate: or_first(DataType::Gpc0Rate, DataType::GpcRate).into(),
                count: or_first(DataType::Gpc0, DataType::Gpc).into(),
                events: Amount::Fixed(1),
            },
            "sc-inc-gpc1" => Change::Count {
                rate: or_first(DataType::Gpc1Rate, DataType::GpcRate).into(),
                count: or_first(DataType::Gpc1, DataType::Gpc).into(),
                events: Amount::Fixed(1),
            },
            _ => Change::Count {
                rate: vec![cell(DataType::GpcRate)],
                count: vec![cell(DataType::Gpc)],
                events: match name {
                    "sc-add-gpc" => amount(args, scope)?,
                    _ => Amount::Fixed(1),
                },
            },
        };
        Some(Self { number, change })
    }

    /// Changes the entry, if the counter has one.
    pub(super) fn apply(&self, cx: &Context<'_>) {
        let Some(session) = cx.session else { return };
        let (value, number) = match &self.change {
            Change::Count { events: amount, .. } | Change::Tag { value: amount, .. } => {
                (amount.eval(cx), usize::from(self.number))
            }
        };
        let Some(value) = value else { return };
        tracking::with_counter(session, cx.stream, number, |tracked| {
            tracked.with(session.worker.now_ms() as u32, |entry| self.change.apply(entry, value));
        });
    }
}

impl Change {
    fn apply(&self, entry: &mut Entry<'_>, value: u32) {
        match self {
            Self::Tag { places, .. } => {
                _ = places.iter().any(|place| entry.set(*place, value.into()));
            }
            Self::Count { rate, count, .. } => {
                for places in [rate, count] {
                    _ = places.iter().any(|place| entry.add(*place, value.into()).is_some());
                }
            }
        }
    }
}

impl Amount {
    fn eval(&self, cx: &Context<'_>) -> Option<u32> {
        match self {
            Self::Fixed(amount) => Some(*amount),
            Self::Sample(expr) => match expr.eval_as(cx, ValueType::Int)? {
                Value::Int(amount) => Some(amount as u32),
                _ => None,
            },
        }
    }
}

/// A number, or a sample that gives one.
fn amount(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Amount> {
    if let Some(token) = args.peek()
        && let Ok(number) = token.text.parse::<i64>()
    {
        _ = args.next_if_any();
        return Some(Amount::Fixed(number as u32));
    }
    typed_sample(args, scope, ValueType::Int).map(Amount::Sample)
}

/// The number of a counter.
fn counter_number(text: &str, scope: &ParseScope<'_>) -> Result<u8, ConfigErrorKind> {
    let number = text.parse::<u8>().ok().filter(|number| u32::from(*number) < scope.stick_counters);
    number.ok_or_else(|| ConfigErrorKind::BadValue {
        what: "counter".into(),
        found: text.to_owned(),
        expected: match scope.stick_counters {
            0 => "none: `tune.stick-counters` is 0".into(),
            counters => format!("from 0 to {} (`tune.stick-counters`)", counters - 1).into(),
        },
    })
}
