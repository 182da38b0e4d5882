//! Variables: `var(scope.name)`, `set-var`, `unset-var`.

use std::sync::{PoisonError, RwLock};

use super::value::Value;
use crate::model::Tune;
use crate::rules::{Scope, VariableName};
use crate::stream::{Context, Direction};

/// The variables of one scope. Few, so a list is searched; names are compared whole.
#[derive(Debug, Default)]
pub struct Variables {
    list: Vec<(Box<[u8]>, Value<'static>)>,
    /// Bytes that names and values take.
    size: usize,
}

/// Variables of scope `proc`.
///
/// Every name that the configuration uses exists from the start (`ifexists` finds it), without a
/// value.
#[derive(Debug, Default)]
pub struct ProcessVariables {
    variables: RwLock<Variables>,
}

/// When `set-var` sets: `set-var(name,ifset,ifgt)`. All must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetConditions {
    pub if_exists: bool,
    pub if_not_exists: bool,
    pub if_empty: bool,
    pub if_not_empty: bool,
    pub if_set: bool,
    pub if_not_set: bool,
    pub if_greater: bool,
    pub if_less: bool,
}

/// A variable name that cannot be one; `at` is the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Does not begin with a scope and a dot.
    NoScope,
    Empty,
    BadCharacter {
        at: usize,
    },
}

impl VariableName {
    /// Reads `scope.name`: letters, digits, `_` and `.`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, NameError> {
        let dot = memchr::memchr(b'.', text).ok_or(NameError::NoScope)?;
        let scope = match &text[..dot] {
            b"proc" => Scope::Process,
            b"sess" => Scope::Session,
            b"txn" => Scope::Transaction,
            b"req" => Scope::Request,
            b"res" => Scope::Response,
            b"check" => Scope::Check,
            _ => return Err(NameError::NoScope),
        };
        let name = &text[dot + 1..];
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        let bad =
            name.iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')));
        match bad {
            Some(at) => Err(NameError::BadCharacter { at: dot + 1 + at }),
            None => Ok(Self { scope, name: name.into() }),
        }
    }

    /// The value, borrowed where its scope allows.
    pub fn get(&self, cx: &Context<'_>) -> Option<Value<'static>> {
        self.with(cx, |variables| variables.get(&self.name).cloned()).flatten()
    }

    /// Sets the variable. `false` when its scope is not there, a condition does not hold, or a
    /// limit (`tune.vars.*-max-size`) is reached: then nothing changes.
    pub fn set(&self, cx: &Context<'_>, value: Value<'_>, conditions: SetConditions) -> bool {
        if !self.allows(cx, &value, conditions) {
            return false;
        }
        let before = self.with(cx, |v| v.size_of(&self.name)).unwrap_or_default();
        let after = self.name.len() + OVERHEAD + size_of_value(&value);
        if after > before && !self.has_room(cx, after - before) {
            return false;
        }
        let value = value.into_owned();
        self.with_mut(cx, |variables| variables.set(&self.name, value)).is_some()
    }

    /// Removes the variable's value.
    pub fn unset(&self, cx: &Context<'_>) {
        self.with_mut(cx, |variables| variables.unset(&self.name));
    }

    fn allows(&self, cx: &Context<'_>, value: &Value<'_>, when: SetConditions) -> bool {
        if when == SetConditions::default() {
            return true;
        }
        let old = self.get(cx);
        // Variables of the process exist from the moment the configuration names them.
        let exists = old.is_some() || self.scope == Scope::Process;
        let empty = value.as_bytes().is_some_and(<[u8]>::is_empty);
        let scalar = |value: &Value<'_>| match value {
            Value::Int(n) => Some(*n),
            Value::Bool(on) => Some((*on).into()),
            _ => None,
        };
        // Numbers are compared with numbers; for anything else these two conditions do not apply.
        let compared = old.as_ref().and_then(&scalar).zip(scalar(value));
        !(when.if_exists && !exists
            || when.if_not_exists && exists
            || when.if_empty && !empty
            || when.if_not_empty && empty
            || when.if_set && old.is_none()
            || when.if_not_set && old.is_some()
            || when.if_greater && compared.is_some_and(|(old, new)| old <= new)
            || when.if_less && compared.is_some_and(|(old, new)| old >= new))
    }

    /// Whether the limits of this scope and of all that hold it leave `more` bytes.
    fn has_room(&self, cx: &Context<'_>, more: usize) -> bool {
        let tune: &Tune = &cx.model.global.tune;
        let fits =
            |limit: Option<usize>, used: usize| limit.is_none_or(|limit| used + more <= limit);
        let proc_used = || cx.model.variables.size();
        let sess_used = || cx.session.map_or(0, |session| session.root().vars.borrow().size);
        let stream_used = || {
            cx.stream.map_or(0, |stream| {
                let vars = stream.vars.borrow();
                vars.txn.size + vars.req.size + vars.res.size
            })
        };
        let own = match self.scope {
            Scope::Process => fits(tune.vars_proc_max_size, proc_used()),
            Scope::Session => fits(tune.vars_sess_max_size, sess_used() + stream_used()),
            Scope::Transaction => {
                fits(tune.vars_txn_max_size, stream_used())
                    && fits(tune.vars_sess_max_size, sess_used() + stream_used())
            }
            Scope::Request | Scope::Response => {
                let used = cx.stream.map_or(0, |stream| {
                    let vars = stream.vars.borrow();
                    if self.scope == Scope::Request { vars.req.size } else { vars.res.size }
                });
                fits(tune.vars_reqres_max_size, used)
                    && fits(tune.vars_txn_max_size, stream_used())
                    && fits(tune.vars_sess_max_size, sess_used() + stream_used())
            }
            Scope::Check => {
                let used = cx.check_vars.map_or(0, |vars| vars.borrow().size);
                fits(tune.vars_sess_max_size, used)
            }
        };
        own && fits(tune.vars_global_max_size, proc_used() + sess_used() + stream_used())
    }

    fn with<R>(&self, cx: &Context<'_>, read: impl FnOnce(&Variables) -> R) -> Option<R> {
        Some(match self.scope {
            Scope::Process => {
                let variables = &cx.model.variables.variables;
                read(&variables.read().unwrap_or_else(PoisonError::into_inner))
            }
            Scope::Session => read(&cx.session?.root().vars.borrow()),
            Scope::Transaction => read(&cx.stream?.vars.borrow().txn),
            // They end with their half of the exchange.
            Scope::Request if cx.direction == Direction::Request => {
                read(&cx.stream?.vars.borrow().req)
            }
            Scope::Response if cx.direction == Direction::Response => {
                read(&cx.stream?.vars.borrow().res)
            }
            Scope::Request | Scope::Response => return None,
            Scope::Check => read(&cx.check_vars?.borrow()),
        })
    }

    fn with_mut<R>(&self, cx: &Context<'_>, write: impl FnOnce(&mut Variables) -> R) -> Option<R> {
        Some(match self.scope {
            Scope::Process => {
                let variables = &cx.model.variables.variables;
                write(&mut variables.write().unwrap_or_else(PoisonError::into_inner))
            }
            Scope::Session => write(&mut cx.session?.root().vars.borrow_mut()),
            Scope::Transaction => write(&mut cx.stream?.vars.borrow_mut().txn),
            Scope::Request if cx.direction == Direction::Request => {
                write(&mut cx.stream?.vars.borrow_mut().req)
            }
            Scope::Response if cx.direction == Direction::Response => {
                write(&mut cx.stream?.vars.borrow_mut().res)
            }
            Scope::Request | Scope::Response => return None,
            Scope::Check => write(&mut cx.check_vars?.borrow_mut()),
        })
    }
}

impl Variables {
    pub fn get(&self, name: &[u8]) -> Option<&Value<'static>> {
        self.list.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }

    pub fn set(&mut self, name: &[u8], value: Value<'static>) {
        self.unset(name);
        self.size += name.len() + OVERHEAD + size_of_value(&value);
        self.list.push((name.into(), value));
    }

    pub fn unset(&mut self, name: &[u8]) {
        if let Some(at) = self.list.iter().position(|(known, _)| **known == *name) {
            self.size -= self.size_of(name);
            self.list.swap_remove(at);
        }
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.list.clear();
        self.size = 0;
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Value<'static>)> {
        self.list.iter().map(|(name, value)| (&**name, value))
    }

    fn size_of(&self, name: &[u8]) -> usize {
        self.get(name).map_or(0, |value| name.len() + OVERHEAD + size_of_value(value))
    }
}

impl ProcessVariables {
    pub fn get(&self, name: &[u8]) -> Option<Value<'static>> {
        self.variables.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn set(&self, name: &[u8], value: Value<'static>) {
        self.variables.write().unwrap_or_else(PoisonError::into_inner).set(name, value);
    }

    fn size(&self) -> usize {
        self.variables.read().unwrap_or_else(PoisonError::into_inner).size
    }
}

impl SetConditions {
    /// Adds a condition by its word; `false` when there is none of that name.
    pub fn add(&mut self, word: &str) -> bool {
        let switch = match word {
            "ifexists" => &mut self.if_exists,
            "ifnotexists" => &mut self.if_not_exists,
            "ifempty" => &mut self.if_empty,
            "ifnotempty" => &mut self.if_not_empty,
            "ifset" => &mut self.if_set,
            "ifnotset" => &mut self.if_not_set,
            "ifgt" => &mut self.if_greater,
            "iflt" => &mut self.if_less,
            _ => return false,
        };
        *switch = true;
        true
    }

    pub const WORDS: [&'static str; 8] =
        ["ifexists", "ifnotexists", "ifempty", "ifnotempty", "ifset", "ifnotset", "ifgt", "iflt"];
}

fn size_of_value(value: &Value<'_>) -> usize {
    value.as_bytes().map_or(0, <[u8]>::len)
}

/// What one variable takes beside its name and text; near what HAProxy counts.
const OVERHEAD: usize = 48;
