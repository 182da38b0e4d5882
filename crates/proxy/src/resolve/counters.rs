//! What is counted of each name server (`show resolvers`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use telamon_dns_proto::AnswerError;

/// Questions and answers of one name server since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) send_errors: AtomicU64,
    pub(crate) valid: AtomicU64,
    /// Answers that changed a server's address.
    pub(crate) updates: AtomicU64,
    /// Aliases that lead nowhere.
    pub(crate) alias_errors: AtomicU64,
    /// Answers without a record.
    pub(crate) empty: AtomicU64,
    pub(crate) no_name: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) other: AtomicU64,
    pub(crate) malformed: AtomicU64,
    /// Answers larger than `accepted_payload_size`.
    pub(crate) too_big: AtomicU64,
    pub(crate) truncated: AtomicU64,
    /// Answers to questions that nobody has asked any more.
    pub(crate) outdated: AtomicU64,
}

/// Counts an answer that is of no use.
pub(super) fn count(counters: &Counters, error: AnswerError) {
    let counter = match error {
        AnswerError::Malformed { .. } => &counters.malformed,
        AnswerError::Truncated => &counters.truncated,
        AnswerError::NoName => &counters.no_name,
        AnswerError::Refused => &counters.refused,
        AnswerError::Empty => &counters.empty,
        AnswerError::BadAlias => &counters.alias_errors,
        AnswerError::OtherKind | AnswerError::Failed(_) => &counters.other,
    };
    counter.fetch_add(1, Relaxed);
}

/// The counters of all name servers, by `resolvers` section and name: they survive reloads.
#[derive(Debug, Default)]
pub(crate) struct AllCounters(Mutex<ByName>);

type ByName = HashMap<(Box<str>, Box<str>), Arc<Counters>>;

impl AllCounters {
    /// Those of one name server; all zero if it is new.
    pub(crate) fn of(&self, section: &str, nameserver: &str) -> Arc<Counters> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry((section.into(), nameserver.into())).or_default())
    }
}
