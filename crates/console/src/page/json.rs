//! The page's JSON, written by hand: four shapes of its own need no serializer.

use super::view::Cell;
use crate::format;
use crate::history::Sample;

/// Collects a document; each call appends what its name says and returns the writer for the next.
#[derive(Default)]
pub(super) struct Json {
    out: Vec<u8>,
}

impl Json {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn open(&mut self, bracket: char) -> &mut Self {
        self.out.push(bracket as u8);
        self
    }

    pub(super) fn close(&mut self, bracket: char) -> &mut Self {
        self.out.push(bracket as u8);
        self
    }

    /// Begins a member of an object.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        self.item().text(name);
        self.out.push(b':');
        self
    }

    /// Begins an item, with a comma unless it is the first.
    pub(super) fn item(&mut self) -> &mut Self {
        if !matches!(self.out.last(), Some(b'{' | b'[')) {
            self.out.push(b',');
        }
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        format::json_text(text, &mut self.out);
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        format::put(&mut self.out, format_args!("{number}"));
        self
    }

    pub(super) fn list<const N: usize>(&mut self, texts: [&str; N]) -> &mut Self {
        self.open('[');
        for text in texts {
            self.item().text(text);
        }
        self.close(']')
    }

    /// The text alone, or text, key and tip.
    pub(super) fn cell(&mut self, cell: &Cell) -> &mut Self {
        if cell.sort.is_none() && cell.title.is_none() {
            return self.text(&cell.text);
        }
        self.open('[').text(&cell.text);
        self.item();
        match cell.sort {
            Some(sort) => self.number(sort),
            None => self.null(),
        };
        self.item().text(cell.title.as_deref().unwrap_or_default()).close(']')
    }

    pub(super) fn sample(&mut self, sample: Sample) -> &mut Self {
        self.open('[');
        for value in [sample.rate, sample.latency_ms, sample.errors] {
            self.item().value(value);
        }
        self.close(']')
    }

    pub(super) fn curve(&mut self, samples: &[Sample]) -> &mut Self {
        self.open('[');
        let kinds: [fn(&Sample) -> Option<f32>; 3] =
            [|sample| sample.rate, |sample| sample.latency_ms, |sample| sample.errors];
        for kind in kinds {
            self.item().open('[');
            for sample in samples {
                self.item().value(kind(sample));
            }
            self.close(']');
        }
        self.close(']')
    }

    /// One decimal is all that a curve can show.
    pub(super) fn value(&mut self, value: Option<f32>) -> &mut Self {
        match value {
            Some(value) if value.fract() == 0.0 => {
                format::put(&mut self.out, format_args!("{value}"))
            }
            Some(value) => format::put(&mut self.out, format_args!("{value:.1}")),
            None => return self.null(),
        }
        self
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.out.extend_from_slice(b"null");
        self
    }
}
