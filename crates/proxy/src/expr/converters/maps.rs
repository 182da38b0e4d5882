//! Maps: `map(file[,default])` and its kin, by method and type of the result.

use std::sync::LazyLock;

use super::{Arg, Converter, Param, Value, ValueType};
use crate::expr::acl::list_error;
use crate::expr::args::{ArgError, Check};
use crate::expr::lists::{ListError, Usage};
use crate::expr::patterns::Match;
use crate::expr::{Convert, ParseScope, parse_int_lenient};
use crate::stream::Context;

pub(super) static TABLE: LazyLock<Vec<Converter>> = LazyLock::new(|| {
    let mut rows = vec![row("map", Match::Str, ValueType::Str)];
    for (names, method) in NAMES {
        for (name, output) in names.iter().zip([ValueType::Str, ValueType::Int, ValueType::Addr]) {
            rows.push(row(name, method, output));
        }
    }
    rows
});

/// The names of maps that give text, numbers and addresses, and how they compare.
const NAMES: [(&[&str], Match); 10] = [
    (&["map_beg", "map_beg_int", "map_beg_ip"], Match::Beg),
    (&["map_dir", "map_dir_int", "map_dir_ip"], Match::Dir),
    (&["map_dom", "map_dom_int", "map_dom_ip"], Match::Dom),
    (&["map_end", "map_end_int", "map_end_ip"], Match::End),
    (&["map_int", "map_int_int", "map_int_ip"], Match::Int),
    (&["map_ip", "map_ip_int", "map_ip_ip"], Match::Ip),
    (&["map_reg", "map_reg_int", "map_reg_ip"], Match::Reg),
    (&["map_regm"], Match::RegGroups),
    (&["map_str", "map_str_int", "map_str_ip"], Match::Str),
    (&["map_sub", "map_sub_int", "map_sub_ip"], Match::Sub),
];

fn row(name: &'static str, method: Match, output: ValueType) -> Converter {
    Converter {
        name,
        params: &[Param::Str, Param::Str],
        required: 1,
        input: match method {
            Match::Int => ValueType::Int,
            Match::Ip => ValueType::Addr,
            _ => ValueType::Str,
        },
        output,
        run: Convert::With(look_up),
        check: Some(Check::Map(method, output)),
    }
}

/// Loads the map that the first argument names.
pub(crate) fn load(
    args: &mut [Arg],
    scope: &mut ParseScope<'_>,
    method: Match,
    output: ValueType,
) -> Result<(), ArgError> {
    if let Some(text) = args[1].text() {
        let default = Value::Str(text.to_vec().into()).cast(output);
        let Some(default) = default.filter(|_| output != ValueType::Int || is_number(text)) else {
            return Err(ArgError::bad(1, &args[1], format!("a default of type {}", output.name())));
        };
        args[1] = Arg::Default(default);
    }
    if scope.offline {
        args[0] = Arg::Absent;
        return Ok(());
    }
    let name = String::from_utf8_lossy(args[0].text().unwrap_or_default()).into_owned();
    let usage = Usage { acl: false, map: true };
    let failed = |error| ArgError { index: 0, kind: list_error(&name, error) };
    let line = format!("map at {}", scope.line);
    let list = scope.lists.file(&name, usage, &line, scope.files).map_err(failed)?;
    if let Some((line, value)) = list.first_unusable(output) {
        return Err(failed(ListError::Value { line, value }));
    }
    let matcher = scope.lists.matcher(&list, method, false).map_err(failed)?;
    args[0] = Arg::Map(matcher, output);
    Ok(())
}

fn look_up<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let found = match &args[0] {
        Arg::Map(matcher, output) => matcher.map(&value, *output),
        _ => None,
    };
    found.or_else(|| match &args[1] {
        Arg::Default(value) => Some(value.clone()),
        _ => None,
    })
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && parse_int_lenient(text).1 == text.len()
}
