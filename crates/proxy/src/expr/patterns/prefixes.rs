//! Texts of which the ones that a subject begins with are found in logarithmic time.
//!
//! The texts are sorted, and each knows the longest other one that it begins with (its parent).
//! Every text that a subject begins with is then the last one not above the subject, or one of its
//! parents.

use std::cmp::Ordering;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Prefixes {
    /// All texts one after another; lower case and backwards where asked for.
    bytes: Box<[u8]>,
    sorted: Box<[Item]>,
    ignore_case: bool,
    backwards: bool,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    at: u32,
    len: u32,
    entry: u32,
    parent: u32,
}

impl Prefixes {
    /// `backwards` looks at suffixes instead. Of equal texts the first stays.
    pub(crate) fn build(ignore_case: bool, backwards: bool, texts: &[&[u8]]) -> Self {
        let mut owned: Vec<(Vec<u8>, u32)> = texts
            .iter()
            .enumerate()
            .map(|(entry, text)| {
                let mut text = text.to_vec();
                if ignore_case {
                    text.make_ascii_lowercase();
                }
                if backwards {
                    text.reverse();
                }
                (text, entry as u32)
            })
            .collect();
        owned.sort_unstable();
        owned.dedup_by(|second, first| second.0 == first.0);

        let mut bytes: Vec<u8> = Vec::with_capacity(owned.iter().map(|(text, _)| text.len()).sum());
        let mut sorted: Vec<Item> = Vec::with_capacity(owned.len());
        let mut open: Vec<u32> = Vec::new();
        for (index, (text, entry)) in owned.iter().enumerate() {
            while let Some(&top) = open.last()
                && !text.starts_with(&owned[top as usize].0)
            {
                open.pop();
            }
            let parent = open.last().copied().unwrap_or(NONE);
            sorted.push(Item {
                at: bytes.len() as u32,
                len: text.len() as u32,
                entry: *entry,
                parent,
            });
            bytes.extend_from_slice(text);
            open.push(index as u32);
        }
        Self { bytes: bytes.into(), sorted: sorted.into(), ignore_case, backwards }
    }

    /// The entry of the longest text that `subject` begins with.
    pub(crate) fn longest(&self, subject: &[u8]) -> Option<u32> {
        self.walk(subject).next().map(|item| item.entry)
    }

    /// The first entry that `subject` begins with and whose length is accepted.
    pub(crate) fn first(&self, subject: &[u8], accept: impl Fn(usize) -> bool) -> Option<u32> {
        self.all(subject, accept).min()
    }

    /// The entries that `subject` begins with and whose length is accepted, longest first.
    pub(crate) fn all<'s>(
        &'s self,
        subject: &'s [u8],
        accept: impl Fn(usize) -> bool + 's,
    ) -> impl Iterator<Item = u32> {
        self.walk(subject).filter(move |item| accept(item.len as usize)).map(|item| item.entry)
    }

    /// The texts that `subject` begins with, longest first.
    fn walk<'s>(&'s self, subject: &'s [u8]) -> impl Iterator<Item = &'s Item> {
        let above = self
            .sorted
            .partition_point(|item| self.compare(self.text(item), subject) != Ordering::Greater);
        let mut next = above.checked_sub(1).and_then(|last| self.sorted.get(last));
        std::iter::from_fn(move || {
            let item = next?;
            next = self.sorted.get(item.parent as usize);
            Some(item)
        })
        .filter(move |item| {
            item.len as usize <= subject.len() && self.begins(subject, self.text(item))
        })
    }

    fn text(&self, item: &Item) -> &[u8] {
        &self.bytes[item.at as usize..(item.at + item.len) as usize]
    }

    fn begins(&self, subject: &[u8], text: &[u8]) -> bool {
        let part = if self.backwards {
            &subject[subject.len() - text.len()..]
        } else {
            &subject[..text.len()]
        };
        self.compare(text, part) == Ordering::Equal
    }

    /// Compares a stored text with a subject, which is read as the texts are stored.
    fn compare(&self, text: &[u8], subject: &[u8]) -> Ordering {
        match (self.ignore_case, self.backwards) {
            (false, false) => text.cmp(subject),
            (true, false) => text.iter().copied().cmp(subject.iter().map(u8::to_ascii_lowercase)),
            (false, true) => text.iter().cmp(subject.iter().rev()),
            (true, true) => {
                text.iter().copied().cmp(subject.iter().rev().map(u8::to_ascii_lowercase))
            }
        }
    }
}
