//! Which `defaults` section a proxy takes its presets from.

use std::collections::HashMap;

use crate::diagnostics::{ConfigErrorKind, Diagnostics};
use crate::section::{Section, Sections};
use crate::value::invalid_name_char;

/// For each section the index of the `defaults` section that presets it: the one named after
/// `from`, else for a proxy the last one before it. A `defaults` section without `from` starts
/// from the built-in values.
///
/// Reports names that are unknown (or come later) or ambiguous, and a section that is used in
/// both ways.
pub fn resolve_defaults(sections: &[Section], diagnostics: &mut Diagnostics) -> Vec<Option<usize>> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    // How each `defaults` section is used: by name, and as the last one.
    let mut used = vec![(false, false); sections.len()];
    let mut reported = vec![false; sections.len()];
    let mut last = None;
    let mut presets = Vec::with_capacity(sections.len());
    for (index, section) in sections.iter().enumerate() {
        let is_defaults = section.spec.bit == Sections::DEFAULTS;
        let mut preset = None;
        if let Some(from) = section.from() {
            let found = by_name.get(from.text).map_or(&[][..], |found| found);
            if found.is_empty() {
                let known = by_name.keys().copied();
                let kind =
                    ConfigErrorKind::undefined("defaults section before this", from.text, known);
                diagnostics.error(from.at, kind);
            } else if let Some(found) = invalid_name_char(from.text) {
                let kind = ConfigErrorKind::BadNameCharacter { what: "defaults section", found };
                diagnostics.error(from.at, kind);
            }
            if let [first, second, ..] = found {
                let (first, second) = (sections[*first].at(), sections[*second].at());
                let (what, name) = ("defaults section", from.text.to_owned());
                let kind = ConfigErrorKind::Ambiguous { what, name, first, second };
                diagnostics.error(from.at, kind);
            }
            preset = found.first().copied();
        } else if section.spec.inherits && !is_defaults {
            preset = last;
        }
        if let Some(preset) = preset {
            let (by_name, as_last) = &mut used[preset];
            match section.from() {
                Some(_) => *by_name = true,
                None => *as_last = true,
            }
            if *by_name && *as_last && !std::mem::replace(&mut reported[preset], true) {
                let defaults = &sections[preset];
                let name = defaults.name().map_or_else(String::new, |name| name.text.to_owned());
                let kind = ConfigErrorKind::MixedDefaults { name, defaults: defaults.at() };
                diagnostics.report(section.at(), kind);
            }
        }
        presets.push(preset);
        if is_defaults {
            last = Some(index);
            if let Some(name) = section.name() {
                by_name.entry(name.text).or_default().push(index);
            }
        }
    }
    presets
}
