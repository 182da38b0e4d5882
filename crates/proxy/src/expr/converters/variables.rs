//! Setting variables.

use super::{Arg, Converter, Param, ValueType, converter};
use crate::expr::args::ArgError;
use crate::expr::variables::SetConditions;
use crate::expr::{ParseScope, unknown};
use crate::stream::Context;

const STR: Param = Param::Str;

pub(super) const TABLE: &[Converter] = &[
    converter("set-var", ValueType::Any, ValueType::Any, |cx, args, value| {
        let Arg::SetVariable(name, conditions) = &args[0] else { return None };
        name.set(cx, value.clone(), *conditions);
        Some(value)
    })
    .with(&[STR, STR, STR, STR, STR, STR, STR, STR, STR], 1)
    .checked(check_set),
    converter("unset-var", ValueType::Any, ValueType::Any, |cx: &Context<'_>, args, value| {
        let Arg::Variable(name) = &args[0] else { return None };
        name.unset(cx);
        Some(value)
    })
    .with(&[Param::Variable], 1),
];

fn check_set(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    let name = args[0].text().unwrap_or_default();
    let name = crate::expr::args::variable(name).map_err(|kind| ArgError { index: 0, kind })?;
    let mut conditions = SetConditions::default();
    for (index, arg) in args.iter().enumerate().skip(1) {
        let Some(word) = arg.text() else { continue };
        let word = String::from_utf8_lossy(word);
        if !conditions.add(&word) {
            let kind = unknown("condition", &word, SetConditions::WORDS.into_iter());
            return Err(ArgError { index, kind });
        }
    }
    args[0] = Arg::SetVariable(name, conditions);
    Ok(())
}
