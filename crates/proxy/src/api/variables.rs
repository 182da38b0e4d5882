//! `get var` and `set var`: variables of the process.

use std::cell::Cell;

use telamon_config::Environment;
use telamon_runtime::api::{Answer, Invocation, Level};
use telamon_runtime::bind::Neighbor;
use telamon_runtime::files::Direct;

use super::{Row, done, row, text};
use crate::expr::{Acls, Directory, Expr, ParseScope, Place, SetConditions, Value, ValueType};
use crate::log::{FormatUse, LogFormat};
use crate::model::{Mode, Model};
use crate::rules::{ErrorSets, Scope, VariableName};
use crate::stream::Context;
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["get", "var"],
        Level::Operator,
        "<name>",
        "retrieve contents of a process-wide variable",
        get,
    ),
    row(&["set", "var"], Level::Operator, "<name> {expr|fmt} <args>", "set a variable", set),
];

fn get(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let [name, ..] = call.args else {
        return Err("Missing process-wide variable identifier.\n".to_owned());
    };
    let snapshot = view.snapshot();
    let variable = VariableName::parse(name.as_bytes()).ok();
    let variable = variable.filter(|variable| variable.scope == Scope::Process);
    let value = variable.and_then(|variable| snapshot.model.variables.get(&variable.name));
    let value = value.ok_or("Variable not found.\n")?;
    let kind = value.type_of().name();
    let shown = value.cast(ValueType::Str);
    let shown = shown.as_ref().and_then(Value::as_bytes).unwrap_or_default();
    text(format!("{name}: type={kind} value=<{}>", String::from_utf8_lossy(shown)))
}

fn set(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let (name, is_format, value) = match call.args {
        [] => return Err("Missing process-wide variable identifier.\n".to_owned()),
        [_] => return Err("Missing either 'expr', 'fmt' or expression.\n".to_owned()),
        // Without a word before it, it is an expression.
        [name, value] => (name, false, value),
        [name, kind @ ("expr" | "fmt"), value, ..] => (name, *kind == "fmt", value),
        [_, kind, ..] => {
            return Err(format!(
                "'set var': arg type must be either 'expr' or 'fmt' but got '{kind}'."
            ));
        }
    };
    let variable = VariableName::parse(name.as_bytes())
        .map_err(|_| format!("'set var': invalid variable name '{name}'."))?;
    if variable.scope != Scope::Process {
        return Err(format!(
            "'set var': cannot set variable '{name}', only scope 'proc' is permitted here."
        ));
    }
    let snapshot = view.snapshot();
    assign(&snapshot.model, &variable, value.as_bytes(), is_format)?;
    done()
}

fn assign(
    model: &Model,
    variable: &VariableName,
    value: &[u8],
    is_format: bool,
) -> Result<(), String> {
    let (directory, environment) = (Directory::default(), Environment::new());
    let errors = ErrorSets::default();
    let files = Direct::new(Neighbor::Refused);
    let mut scope = ParseScope {
        directory: &directory,
        lists: &model.lists,
        files: &files,
        errors: &errors,
        environment: &environment,
        acls: Acls::default(),
        place: Place::Socket,
        proxy: None,
        mode: Mode::Http,
        frontend: false,
        backend: false,
        request_captures: 0,
        response_captures: 0,
        offline: false,
        stick_counters: 0,
        experimental: true,
        line: "stats socket".to_owned(),
    };
    let wants_more = Cell::new(false);
    let cx = Context::for_process(model, &wants_more);
    let is_set = if is_format {
        let format = LogFormat::parse_text(value, &mut scope, FormatUse::Text)
            .map_err(|mut errors| errors.swap_remove(0).kind.explain().title)?;
        let mut text = Vec::new();
        format.render(&cx, &mut text);
        variable.set(&cx, Value::Str(text.into()), SetConditions::default())
    } else {
        let expr =
            Expr::parse_text(value, &mut scope).map_err(|error| error.kind.explain().title)?;
        if let Some(kind) = expr.misplaced(&scope) {
            return Err(kind.explain().title);
        }
        match expr.eval(&cx) {
            Some(value) => variable.set(&cx, value, SetConditions::default()),
            None => {
                variable.unset(&cx);
                true
            }
        }
    };
    if is_set { Ok(()) } else { Err("Too large for tune.vars.proc-max-size.\n".to_owned()) }
}
