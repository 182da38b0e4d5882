//! `set-var`, `set-var-fmt`, `unset-var`.

use crate::expr::{Expr, LogFormat, SetConditions, Value};
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
