//! The cases, by section of RFC 9113 and RFC 7541: what is sent, and what must come.
//!
//! They are those of the suite `h2spec` 2.6, under its ids, so that results can be compared; the
//! suite counts sections as RFC 7540 did. Words and code are ours.

mod frames;
mod hpack;
mod ordinary;
mod requests;

use crate::peer::{Must, Peer};

/// Cases that belong to one section.
#[derive(Debug)]
pub(crate) struct Section {
    /// The suite's name for it.
    pub(crate) id: &'static str,
    /// RFC and section today.
    pub(crate) rfc: &'static str,
    pub(crate) cases: &'static [Case],
}

/// One connection: what is sent on it, and what must come.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) must: Must,
    pub(crate) send: fn(&mut Peer),
    /// The preface and SETTINGS have been exchanged before.
    pub(crate) greets: bool,
}

/// Every section, in order.
pub(crate) fn all() -> impl Iterator<Item = &'static Section> {
    [ordinary::SECTIONS, frames::SECTIONS, requests::SECTIONS, hpack::SECTIONS]
        .into_iter()
        .flatten()
}

const fn section(id: &'static str, rfc: &'static str, cases: &'static [Case]) -> Section {
    Section { id, rfc, cases }
}

const fn case(what: &'static str, must: Must, send: fn(&mut Peer)) -> Case {
    Case { what, must, send, greets: true }
}

const fn first(what: &'static str, must: Must, send: fn(&mut Peer)) -> Case {
    Case { what, must, send, greets: false }
}
