//! `set-var`, `set-var-fmt`, `unset-var`.

use telamon_config::{Args, ConfigErrorKind};

use crate::expr::{Expr, FormatUse, LogFormat, ParseScope, SetConditions, Value, parse_variable};
use crate::stream::Context;

/// What `set-var`, `unset-var` name: scope and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableName {
    pub scope: Scope,
    pub name: Box<[u8]>,
}

/// How long a variable lives. Source: HAProxy configuration manual, `set-var`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Process,
    Session,
    Transaction,
    Request,
    Response,
    Check,
}

/// A variable and what it becomes.
#[derive(Debug)]
pub struct VariableEdit {
    pub variable: VariableName,
    pub value: VariableValue,
    /// `set-var(name,ifnotset,…)`; all must hold.
    pub when: SetConditions,
}

#[derive(Debug)]
pub enum VariableValue {
    /// A sample that is absent leaves the variable as it was.
    Sample(Expr),
    Format(LogFormat),
    Unset,
}

impl VariableEdit {
    /// Reads what follows `set-var(…)`, `set-var-fmt(…)` or `unset-var(…)`, and what stands in the keyword.
    pub(super) fn read(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Self> {
        let keyword = args.keyword();
        let (inner, begin) = super::in_parentheses(args)?;
        let mut words = inner.split(',');
        let name = words.next().unwrap_or_default();
        let at = keyword.part(begin..begin + name.len());
        let variable = parse_variable(name.as_bytes()).map_err(|kind| args.fail(at, kind)).ok()?;
        let mut when = SetConditions::default();
        let mut begin = begin + name.len() + 1;
        let unsets = keyword.text.starts_with("unset-var");
        for word in words {
            if unsets || !when.add(word) {
                let kind = if unsets {
                    let after = "unset-var(<name>".to_owned();
                    ConfigErrorKind::Trailing { found: word.to_owned(), after }
                } else {
                    ConfigErrorKind::unknown("condition", word, SetConditions::WORDS)
                };
                args.fail(keyword.part(begin..begin + word.len()), kind);
                return None;
            }
            begin += word.len() + 1;
        }
        let value = if unsets {
            VariableValue::Unset
        } else if keyword.text.starts_with("set-var-fmt") {
            VariableValue::Format(LogFormat::parse(args, scope, FormatUse::Text)?)
        } else {
            VariableValue::Sample(Expr::parse(args, scope)?)
        };
        Some(Self { variable, value, when })
    }

    /// Sets or removes the variable; nothing happens where its scope is not there, or its limit is reached.
    pub(crate) fn apply(&self, cx: &Context<'_>) {
        match &self.value {
            VariableValue::Unset => self.variable.unset(cx),
            VariableValue::Sample(expr) => {
                if let Some(value) = expr.eval(cx) {
                    self.variable.set(cx, value, self.when);
                }
            }
            VariableValue::Format(format) => {
                let mut text = Vec::new();
                format.render(cx, &mut text);
                self.variable.set(cx, Value::Str(text.into()), self.when);
            }
        }
    }
}
