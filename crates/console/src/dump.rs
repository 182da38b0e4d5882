//! A dump of all selected rows in parts, a proxy at a time.

use std::sync::Arc;

use telamon_balance::stats::{Row, Source};

use crate::format::{self, Format};
use crate::select::Selection;

/// Writes the rows of all sources, some at each call, so that what is held is never more than one proxy.
pub(crate) struct Dump {
    sources: Vec<Arc<dyn Source>>,
    selection: Selection,
    format: Format,
    /// The source and proxy that are next.
    next: (usize, usize),
    rows: std::vec::IntoIter<Row>,
    begun: bool,
    is_first: bool,
}

impl Dump {
    pub(crate) fn new(sources: Vec<Arc<dyn Source>>, selection: Selection, format: Format) -> Self {
        Self {
            sources,
            selection,
            format,
            next: (0, 0),
            rows: Vec::new().into_iter(),
            begun: false,
            is_first: true,
        }
    }

    /// Appends about [`PART_LEN`] bytes; `false` once there are no more.
    pub(crate) fn part(&mut self, out: &mut Vec<u8>) -> bool {
        if !self.begun {
            self.begun = true;
            format::begin(self.format, out);
        }
        while out.len() < PART_LEN {
            let Some(row) = self.rows.next() else {
                if self.turn() {
                    continue;
                }
                format::end(self.format, out);
                return false;
            };
            format::row(self.format, &row, self.is_first, out);
            self.is_first = false;
        }
        true
    }

    /// Everything at once, or `None` when that is more than `max` bytes.
    pub(crate) fn whole(mut self, max: usize) -> Option<Vec<u8>> {
        let (mut whole, mut part) = (Vec::new(), Vec::new());
        loop {
            let more = self.part(&mut part);
            if whole.len() + part.len() > max {
                return None;
            }
            whole.append(&mut part);
            if !more {
                return Some(whole);
            }
        }
    }

    /// Takes the next proxy; `false` after the last.
    fn turn(&mut self) -> bool {
        while let Some(source) = self.sources.get(self.next.0) {
            if let Some(proxy) = self.selection.proxy(&**source, self.next.1) {
                self.next.1 += 1;
                self.rows = proxy.rows.into_iter();
                return true;
            }
            self.next = (self.next.0 + 1, 0);
        }
        false
    }
}

/// Bytes that are written at a time.
const PART_LEN: usize = 16384;
