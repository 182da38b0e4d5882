//! Which of many conditions may hold, found by one lookup for each distinct expression.
//!
//! Ten thousand `use_backend NAME if { path_beg /x }` ask for the same `path`, each with other patterns. The index turns
//! them around: the path is fetched once, and the patterns that it begins with name the conditions. Those found are only
//! *possible*: whoever asks tests them as ever, so what an index leaves out is cost and never an answer. A condition takes
//! part when each of its alternatives needs a text comparison with patterns of the configuration (`str`, `beg`, `end`,
//! `dir`, `dom`); any other is always possible.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Condition;
use super::acl::Test;
use super::patterns::{Match, Prefixes, delimiters, ends_word, trim_delimiters, with_text, words};
use crate::stream::Context;

/// Fewer conditions are tried one after another.
const WORTH: usize = 8;

/// An index over conditions, which are known by their places in a list.
#[derive(Debug)]
pub(crate) struct ConditionIndex {
    lookups: Box<[Lookup]>,
    /// Conditions that no lookup finds, in order.
    always: Box<[u32]>,
    /// A list has been changed at run time.
    stale: Arc<AtomicBool>,
}

/// One expression compared in one way.
#[derive(Debug)]
struct Lookup {
    /// A test that asks for the expression.
    asks: Arc<Test>,
    method: Match,
    texts: Prefixes,
    /// For each text, the conditions that compare with it.
    conditions: Box<[Box<[u32]>]>,
}

/// What is asked, how it is compared, and whether without regard to case.
type Question = (Box<str>, Match, bool);

/// The places of the conditions that compare with each text, and a test that asks.
type Answers = (Arc<Test>, BTreeMap<Box<[u8]>, Vec<u32>>);

impl ConditionIndex {
    /// An index, if there are enough conditions for it; `None` among them is one that always holds.
    pub(crate) fn build<'c>(
        conditions: impl ExactSizeIterator<Item = Option<&'c Condition>>,
    ) -> Option<Self> {
        if conditions.len() < WORTH {
            return None;
        }
        let stale = Arc::new(AtomicBool::new(false));
        let mut collected = HashMap::new();
        let mut always = Vec::new();
        for (place, condition) in (0u32..).zip(conditions) {
            match condition.and_then(|condition| condition.needs(is_indexable)) {
                Some(tests) => {
                    tests.into_iter().for_each(|test| collect(&mut collected, test, place, &stale))
                }
                None => always.push(place),
            }
        }
        let lookups: Box<[_]> = collected.into_iter().map(Lookup::new).collect();
        (!lookups.is_empty()).then(|| Self { lookups, always: always.into(), stale })
    }

    /// The places of the conditions that may hold, in order; `None` where a list has been changed and all may.
    pub(crate) fn possible(&self, cx: &Context<'_>) -> Option<Vec<u32>> {
        if self.stale.load(Ordering::Acquire) {
            return None;
        }
        let mut found = self.always.to_vec();
        for lookup in &self.lookups {
            lookup.asks.expr().each(cx, |value| {
                with_text(&value, |text| lookup.find(text, &mut found));
                ControlFlow::Continue(())
            });
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

fn is_indexable(test: &Test) -> bool {
    let texts =
        |method| matches!(method, Match::Str | Match::Beg | Match::End | Match::Dir | Match::Dom);
    test.lists().is_some_and(|lists| {
        lists.iter().all(|list| list.to_index().is_some_and(|(method, _, _)| texts(method)))
    })
}

fn collect(
    into: &mut HashMap<Question, Answers>,
    test: &Arc<Test>,
    place: u32,
    stale: &Arc<AtomicBool>,
) {
    for list in test.lists().unwrap_or_default() {
        list.tell(stale);
        let Some((method, ignore_case, patterns)) = list.to_index() else { continue };
        let key = (test.expr().text().into(), method, ignore_case);
        let (_, texts) = into.entry(key).or_insert_with(|| (Arc::clone(test), BTreeMap::new()));
        for pattern in patterns {
            let pattern = match method {
                Match::Dir | Match::Dom => trim_delimiters(pattern, delimiters(method)),
                _ => pattern,
            };
            let mut pattern = pattern.to_vec();
            if ignore_case {
                pattern.make_ascii_lowercase();
            }
            texts.entry(pattern.into()).or_default().push(place);
        }
    }
}

impl Lookup {
    fn new(((_, method, ignore_case), (asks, texts)): (Question, Answers)) -> Self {
        let keys: Vec<&[u8]> = texts.keys().map(|text| &**text).collect();
        let prefixes = Prefixes::build(ignore_case, method == Match::End, &keys);
        Self {
            asks,
            method,
            texts: prefixes,
            conditions: texts.into_values().map(Into::into).collect(),
        }
    }

    /// Adds the conditions that have a pattern which the text matches.
    fn find(&self, text: &[u8], found: &mut Vec<u32>) {
        let mut add = |entry: u32| found.extend_from_slice(&self.conditions[entry as usize]);
        match self.method {
            Match::Str => self.texts.all(text, |len| len == text.len()).for_each(add),
            Match::Dir | Match::Dom => {
                let delimiters = delimiters(self.method);
                for rest in words(text, delimiters) {
                    let whole = |len| len > 0 && ends_word(rest, len, delimiters);
                    self.texts.all(rest, whole).for_each(&mut add);
                }
            }
            _ => self.texts.all(text, |_| true).for_each(add),
        }
    }
}
