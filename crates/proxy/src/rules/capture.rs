//! `capture SAMPLE len N | id N`.

use std::cell::Cell;

use crate::expr::{Expr, ValueType};
use crate::stream::{Context, Direction, Stream};

/// A sample that is kept for the log.
#[derive(Debug)]
pub struct Capture {
    pub sample: Expr,
    /// Index among the frontend's captures of the direction.
    pub slot: usize,
    /// `len N`: the slot is this rule's own, and has to be declared in the frontend; `None` for `id N`.
    pub len: Option<usize>,
}

impl Capture {
    /// Captures, and returns whether more bytes may change what was captured. An absent sample, or a slot that this
    /// frontend does not have, captures nothing.
    pub(crate) fn apply(&self, stream: &mut Stream, direction: Direction) -> bool {
        let wants_more = Cell::new(false);
        let cx = Context::for_stream(stream, direction, &wants_more);
        let declared = &cx.model.proxy(stream.frontend).captures;
        let declared = match direction {
            Direction::Request => &declared.request,
            Direction::Response => &declared.response,
        };
        let count = declared.len();
        let Some(len) = declared.get(self.slot).map(|slot| slot.len) else { return false };
        let captured = self.sample.eval_as(&cx, ValueType::Str).map(|value| {
            let bytes = value.as_bytes().unwrap_or_default();
            Box::from(&bytes[..bytes.len().min(len)])
        });
        if let Some(captured) = captured {
            let slots = match direction {
                Direction::Request => &mut stream.request_captures,
                Direction::Response => &mut stream.response_captures,
            };
            slots.resize(count.max(slots.len()), None);
            slots[self.slot] = Some(captured);
        }
        wants_more.get()
    }
}
