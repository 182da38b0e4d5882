//! The manual's tables, from the tables that the program runs on.

use std::fmt::Write as _;

use crate::keyword::{Keyword, Status, Table};
use crate::section::SectionSpec;

/// One Markdown table of all keywords: usage, sections, status, what it does. In the order of the
/// tables, so that the author groups them.
pub fn markdown<C>(table: &Table<C>, specs: &[SectionSpec]) -> String {
    let mut out = format!("| {} | in | status | |\n| --- | --- | --- | --- |\n", table.what);
    for keyword in table.keywords() {
        let sections: Vec<_> = keyword.sections.names(specs).collect();
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            escape(keyword.usage),
            sections.join(", "),
            status(keyword),
            escape(keyword.doc),
        );
    }
    out
}

fn status<C>(keyword: &Keyword<C>) -> String {
    let status = match keyword.status {
        Status::Works(_) => "works",
        Status::Idle(_) | Status::NoEffect(_) => "no effect",
        Status::NotYet { .. } => "not yet",
        Status::Obsolete(_) | Status::ObsoleteWith(_) => "obsolete",
    };
    match keyword.since {
        Some(version) => format!("{status}; HAProxy {version}"),
        None => status.to_owned(),
    }
}

/// A bar would end the cell.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}
