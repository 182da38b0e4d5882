//! Every fetch that HAProxy 2.6 has, by topic.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::args::{Check, CheckFn, Param};
use super::{EachFn, Fetch, Pick, Run, Source, Value, ValueType};
use crate::stream::Context;
pub(crate) use internal::check_unit;

mod counters;
pub(crate) mod http;
mod internal;
pub(crate) mod load;
mod payload;
mod planned;
mod session;
mod tls;
mod tls_hello;

/// Finds a fetch by its name, or by one of its older names.
pub(crate) fn find(name: &str) -> Option<&'static Fetch> {
    BY_NAME.get(name).copied()
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    tables().map(|fetch| fetch.name)
}

fn tables() -> impl Iterator<Item = &'static Fetch> {
    let tables: [&'static [Fetch]; 6] = [
        internal::TABLE,
        load::TABLE,
        session::TABLE,
        http::TABLE,
        payload::TABLE,
        &planned::TABLE,
    ];
    let more = counters::TABLES.iter().chain(&tls::TABLES);
    tables.into_iter().flatten().chain(more.copied().flatten())
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static Fetch>> =
    LazyLock::new(|| tables().map(|fetch| (fetch.name, fetch)).collect());

type OneFn = for<'a> fn(&Context<'a>, &'a [super::Arg]) -> Option<Value<'a>>;

/// A fetch of at most one sample, without arguments.
const fn one(name: &'static str, output: ValueType, source: Source, run: OneFn) -> Fetch {
    Fetch { name, params: &[], required: 0, output, source, run: Run::One(run), check: None }
}

/// A fetch of any number of samples, without arguments.
const fn each(
    name: &'static str,
    output: ValueType,
    source: Source,
    run: EachFn,
    pick: Pick,
) -> Fetch {
    Fetch { name, params: &[], required: 0, output, source, run: Run::Each(run, pick), check: None }
}

impl Fetch {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = names().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
