//! `capture SAMPLE len N | id N`.

use std::cell::Cell;

use telamon_config::{Args, ConfigErrorKind};

use super::actions::typed_sample;
use crate::expr::{Expr, ParseScope, Place, ValueType};
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
    /// Reads `SAMPLE len N`, which takes the next slot of the frontend, or `SAMPLE id N`.
    pub(super) fn read(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Self> {
        let sample = typed_sample(args, scope, ValueType::Str)?;
        let own = matches!(scope.place, Place::HttpRequest | Place::TcpRequestContent);
        let by_id = !matches!(scope.place, Place::TcpRequestContent);
        if own && args.is("len") {
            if !scope.frontend && scope.proxy.is_some() {
                let what = "capture … len".to_owned();
                args.fail(
                    args.at(),
                    ConfigErrorKind::Requires { what, needs: "a frontend".into() },
                );
                return None;
            }
            args.accept("len");
            let len = args.integer("length", 1_u32..=LEN_MAX)?;
            let slot = scope.request_captures;
            return Some(Self { sample, slot, len: Some(len as usize) });
        }
        if by_id && args.accept("id") {
            let token = args.peek();
            let slot = args.integer("slot", 0_u32..=SLOT_MAX)? as usize;
            let (declared, direction) = match scope.place {
                Place::HttpResponse => (scope.response_captures, "response"),
                _ => (scope.request_captures, "request"),
            };
            // A backend alone is reached from any frontend, whose slots are not known here.
            if let Some(token) = token.filter(|_| scope.frontend && slot >= declared) {
                let expected = format!("that of a `declare capture {direction}` line above it");
                args.bad(token, "slot", expected);
                return None;
            }
            return Some(Self { sample, slot, len: None });
        }
        args.missing(match (own, by_id) {
            (true, true) => "`len` or `id`",
            (true, false) => "`len`",
            _ => "`id`",
        });
        None
    }

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

/// Bytes that one capture may keep.
const LEN_MAX: u32 = 65536;
/// Slots that a frontend may have.
const SLOT_MAX: u32 = 65535;
