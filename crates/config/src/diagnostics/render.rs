//! Shows mistakes in their lines, as rustc does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

use super::{Class, ConfigError, Diagnostics, Severity};
use crate::source::{Location, Source};

/// How the text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// ASCII without colors, for files and pipes.
    Plain,
    /// With terminal colors.
    Colored,
}

impl Diagnostics {
    /// All mistakes in the order of their places, then one line that counts them. Empty when
    /// there are none.
    pub fn render(&mut self, source: &Source, style: Style) -> String {
        self.sort();
        let index = LineIndex::new(source, self.list.iter());
        let mut out = String::new();
        for error in &self.list {
            out.push_str(&index.render(error, style));
            out.push_str("\n\n");
        }
        if let Some(summary) = self.summary(source) {
            out.push_str(&summary);
            out.push('\n');
        }
        out
    }

    /// `3 errors, 1 warning in web.cfg`; `None` when there is nothing to count.
    pub fn summary(&self, source: &Source) -> Option<String> {
        let mut out = String::new();
        for severity in [Severity::Alert, Severity::Warning, Severity::Notice] {
            let count = self.count(severity);
            if count > 0 {
                let comma = if out.is_empty() { "" } else { ", " };
                let _ = write!(out, "{comma}{count} {}", severity.noun(count));
            }
        }
        if out.is_empty() {
            return None;
        }
        let total: usize = self.counts.iter().sum();
        if total > self.list.len() {
            let _ = write!(out, " ({} not shown)", total - self.list.len());
        }
        let places = self.list.iter().map(|error| error.at.file);
        let files: BTreeSet<&Path> = places.filter_map(|file| source.path(file)).collect();
        match (files.first(), files.len()) {
            (None, _) => {}
            (Some(path), 1) => {
                let _ = write!(out, " in {}", path.display());
            }
            (Some(_), count) => {
                let _ = write!(out, " in {count} files");
            }
        }
        Some(out)
    }
}

/// The lines that are shown. Finding them takes one pass over each file, whatever their number.
struct LineIndex<'s> {
    source: &'s Source,
    /// Sorted by file and line.
    lines: Vec<(Location, &'s [u8])>,
}

impl<'s> LineIndex<'s> {
    fn new<'e>(source: &'s Source, errors: impl Iterator<Item = &'e ConfigError>) -> Self {
        let mut places: Vec<Location> = Vec::new();
        for error in errors {
            places.push(error.at);
            places.extend(error.kind.explain().related.iter().map(|(at, _)| *at));
        }
        places.retain(|at| at.line > 0);
        places.sort_unstable();
        places.dedup_by_key(|at| (at.file, at.line));
        let mut lines = Vec::with_capacity(places.len());
        let mut places = places.into_iter().peekable();
        while let Some(first) = places.peek().copied() {
            let mut text = crate::source::lines(source.bytes(first.file)).zip(1u32..);
            while let Some(at) = places.next_if(|at| at.file == first.file) {
                let line = text.find(|(_, number)| *number == at.line);
                lines.push((at, line.map_or(&[][..], |((line, _), _)| line)));
            }
        }
        Self { source, lines }
    }

    fn render(&self, error: &ConfigError, style: Style) -> String {
        let told = error.kind.explain();
        let level = match error.severity {
            Severity::Alert => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Notice | Severity::Diag => Level::NOTE,
        };
        let mut group = Group::with_title(level.primary_title(clean(told.title.as_bytes()).text));
        let label = told.label.map(|label| clean(label.as_bytes()).text);
        for element in self.mark(error.at, AnnotationKind::Primary, label) {
            group = group.element(element);
        }
        for (at, why) in told.related {
            for element in self.mark(at, AnnotationKind::Context, Some(why)) {
                group = group.element(element);
            }
        }
        if let Some(help) = told.help {
            group = group.element(Level::HELP.message(clean(help.as_bytes()).text));
        }
        if let Some(usage) = error.usage {
            group = group.element(Level::NOTE.message(format!("usage: {usage}")));
        }
        if error.class() == Class::Environment {
            let note = "the text may be right: `telamon check --offline` does not look here";
            group = group.element(Level::NOTE.message(note));
        }
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Colored => Renderer::styled(),
        };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }

    /// `--> file:line:column`, the line, and the mark under it.
    fn mark(
        &self,
        at: Location,
        kind: AnnotationKind,
        label: Option<String>,
    ) -> Vec<Element<'static>> {
        let Some(path) = self.source.path(at.file) else { return Vec::new() };
        let origin = Origin::path(path.display().to_string());
        if at.line == 0 {
            return vec![origin.into()];
        }
        let key = (at.file, at.line);
        let line = self
            .lines
            .binary_search_by_key(&key, |(at, _)| (at.file, at.line))
            .map_or(&[][..], |index| self.lines[index].1);
        let start = (at.column as usize).saturating_sub(1).min(line.len());
        let end = (start + at.len as usize).min(line.len());
        if line.len() > SHOWN_MAX {
            let origin = origin.line(at.line as usize).char_column(at.column as usize);
            let label = label.map(|label| Level::NOTE.message(label).into());
            return std::iter::once(origin.into()).chain(label).collect();
        }
        let shown = clean(line);
        let annotation = kind.span(shown.span(start..end)).label(label);
        let snippet = Snippet::source(shown.text).path(path.display().to_string());
        vec![snippet.line_start(at.line as usize).annotation(annotation).into()]
    }
}

/// Text that is safe to print, and where each byte of the original went.
struct Clean {
    text: String,
    /// `None` when nothing changed.
    places: Option<Vec<usize>>,
}

/// Replaces control characters and what is not UTF-8: a configuration may hold anything, a
/// terminal obeys escape sequences.
fn clean(bytes: &[u8]) -> Clean {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.chars().any(|c| c.is_control() && c != '\t')
    {
        return Clean { text: text.to_owned(), places: None };
    }
    let mut text = String::new();
    let mut places = Vec::with_capacity(bytes.len() + 1);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            places.extend(std::iter::repeat_n(text.len(), c.len_utf8()));
            match c {
                '\t' => text.push(c),
                // The control pictures stand in the order of the control characters.
                '\0'..='\u{1f}' => {
                    text.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'));
                }
                c if c.is_control() => text.push('\u{fffd}'),
                c => text.push(c),
            }
        }
        if !chunk.invalid().is_empty() {
            places.extend(std::iter::repeat_n(text.len(), chunk.invalid().len()));
            text.push('\u{fffd}');
        }
    }
    places.push(text.len());
    Clean { text, places: Some(places) }
}

impl Clean {
    /// A range of the original as one of the text, at least one character where there is one.
    fn span(&self, range: Range<usize>) -> Range<usize> {
        let place = |at: usize| match &self.places {
            Some(places) => places.get(at).copied().unwrap_or(self.text.len()),
            None => at.min(self.text.len()),
        };
        let boundary = |mut at: usize| {
            while !self.text.is_char_boundary(at) {
                at += 1;
            }
            at
        };
        let start = boundary(place(range.start));
        let end = boundary(place(range.end)).max(start);
        if end > start || start == self.text.len() {
            return start..end;
        }
        start..boundary(start + 1)
    }
}

/// A longer line is not shown, only where it is.
const SHOWN_MAX: usize = 2000;
