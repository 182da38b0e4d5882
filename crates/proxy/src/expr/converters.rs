//! Every converter that HAProxy 2.6 has, by topic.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::args::{Check, CheckFn, Param};
use super::{Arg, Convert, Converter, Value, ValueType};
use crate::rules::VariableName;
use crate::stream::Context;

mod arithmetic;
mod binary;
pub(crate) mod encode;
mod hash;
mod json;
mod maps;
mod planned;
mod servers;
pub(crate) mod sha_crypt;
mod tables;

mod text;
mod time;
mod variables;

pub(crate) use maps::load as load_map;

/// Finds a converter by its name.
pub(crate) fn find(name: &str) -> Option<&'static Converter> {
    BY_NAME.get(name).copied()
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    tables().map(|converter| converter.name)
}

fn tables() -> impl Iterator<Item = &'static Converter> {
    let tables: [&'static [Converter]; 11] = [
        arithmetic::TABLE,
        binary::TABLE,
        encode::TABLE,
        hash::TABLE,
        json::TABLE,
        &maps::TABLE,
        &planned::TABLE,
        servers::TABLE,
        tables::TABLE,
        variables::TABLE,
        text::TABLE,
    ];
    tables.into_iter().flatten().chain(time::TABLE)
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static Converter>> =
    LazyLock::new(|| tables().map(|converter| (converter.name, converter)).collect());

type WithFn = for<'a> fn(&Context<'a>, &'a [Arg], Value<'a>) -> Option<Value<'a>>;

/// A converter without arguments.
const fn converter(
    name: &'static str,
    input: ValueType,
    output: ValueType,
    run: WithFn,
) -> Converter {
    Converter {
        name,
        params: &[],
        required: 0,
        input,
        output,
        run: Convert::With(run),
        check: None,
    }
}

impl Converter {
    /// Of which `required` must be given.
    const fn with(mut self, params: &'static [Param], required: usize) -> Self {
        self.params = params;
        self.required = required;
        self
    }

    const fn checked(mut self, check: CheckFn) -> Self {
        self.check = Some(Check::With(check));
        self
    }
}

/// The number that an argument is, or that its variable holds.
fn operand(cx: &Context<'_>, arg: &Arg) -> Option<i64> {
    match arg {
        Arg::Int(n) => Some(*n),
        Arg::Variable(name) => match name.get(cx)?.cast(ValueType::Int)? {
            Value::Int(n) => Some(n),
            _ => None,
        },
        _ => None,
    }
}

/// The text of a variable; empty when it has none.
fn variable_text(cx: &Context<'_>, name: &VariableName) -> Vec<u8> {
    let mut text = Vec::new();
    if let Some(value) = name.get(cx) {
        value.write_text(&mut text);
    }
    text
}

/// Turns a text argument into the variable that it names; an empty one into none.
fn optional_variable(args: &mut [Arg], index: usize) -> Result<(), super::args::ArgError> {
    let Some(name) = args[index].text() else { return Ok(()) };
    args[index] = match name {
        b"" => Arg::Absent,
        name => Arg::Variable(
            super::args::variable(name).map_err(|kind| super::args::ArgError { index, kind })?,
        ),
    };
    Ok(())
}

#[cfg(test)]
mod tests;
