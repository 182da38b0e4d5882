//! Numbers: arithmetic, bits and truth.

use super::{Arg, Converter, Param, Value, ValueType, converter, operand};
use crate::stream::Context;

const OPERAND: &[Param] = &[Param::Operand];

pub(super) const TABLE: &[Converter] = &[
    two("add", |cx, args, value| apply(cx, args, value, i64::saturating_add)),
    two("and", |cx, args, value| apply(cx, args, value, |a, b| a & b)),
    converter("bool", ValueType::Int, ValueType::Bool, |_, _, value| test(value, |n| n != 0)),
    converter("cpl", ValueType::Int, ValueType::Int, |_, _, value| map(value, |n| !n)),
    two("div", |cx, args, value| {
        apply(cx, args, value, |a, b| if b == 0 { i64::MAX } else { a.saturating_div(b) })
    }),
    converter("even", ValueType::Int, ValueType::Bool, |_, _, value| test(value, |n| n & 1 == 0)),
    two("mod", |cx, args, value| {
        apply(cx, args, value, |a, b| if b == 0 { 0 } else { a.wrapping_rem(b) })
    }),
    two("mul", |cx, args, value| apply(cx, args, value, i64::saturating_mul)),
    converter("neg", ValueType::Int, ValueType::Int, |_, _, value| map(value, i64::saturating_neg)),
    converter("not", ValueType::Int, ValueType::Bool, |_, _, value| test(value, |n| n == 0)),
    converter("odd", ValueType::Int, ValueType::Bool, |_, _, value| test(value, |n| n & 1 == 1)),
    two("or", |cx, args, value| apply(cx, args, value, |a, b| a | b)),
    two("sub", |cx, args, value| apply(cx, args, value, i64::saturating_sub)),
    two("xor", |cx, args, value| apply(cx, args, value, |a, b| a ^ b)),
];

const fn two(name: &'static str, run: super::WithFn) -> Converter {
    converter(name, ValueType::Int, ValueType::Int, run).with(OPERAND, 1)
}

fn apply<'a>(
    cx: &Context<'a>,
    args: &'a [Arg],
    value: Value<'a>,
    operation: fn(i64, i64) -> i64,
) -> Option<Value<'a>> {
    let right = operand(cx, &args[0])?;
    map(value, |left| operation(left, right))
}

fn map<'a>(value: Value<'a>, operation: impl Fn(i64) -> i64) -> Option<Value<'a>> {
    match value {
        Value::Int(n) => Some(Value::Int(operation(n))),
        _ => None,
    }
}

fn test<'a>(value: Value<'a>, holds: impl Fn(i64) -> bool) -> Option<Value<'a>> {
    match value {
        Value::Int(n) => Some(Value::Bool(holds(n))),
        _ => None,
    }
}
