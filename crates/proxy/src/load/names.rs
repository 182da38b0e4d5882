//! The names in a configuration, before any line is read: proxies, their modes, their servers.
//!
//! Every line may refer to what stands below it, so this looks ahead at the few words that make names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use telamon_config::{
    ConfigErrorKind, Diagnostics, Environment, Line, Location, Section, Sections,
};

use super::table;
use crate::expr::{Directory, ProxyEntry};
use crate::model::{Mode, ProxyId, Userlist};

/// What was found.
pub(super) struct Names {
    pub(super) directory: Directory,
    /// By section that is a proxy.
    pub(super) ids: HashMap<usize, ProxyId>,
    /// By section: the last `mode`, else the preset's.
    pub(super) modes: Vec<Mode>,
    /// HAProxy's ids, by proxy.
    pub(super) numbers: Vec<u32>,
}

/// The most servers that one `server-template` makes.
pub(super) const TEMPLATE_MAX: u32 = 100_000;

/// Collects the names; reports those that are given twice.
pub(super) fn collect(
    sections: &[Section],
    presets: &[Option<usize>],
    userlists: HashMap<Box<str>, Arc<Userlist>>,
    environment: &Environment,
    diagnostics: &mut Diagnostics,
) -> Names {
    let mut names = Names {
        directory: Directory { userlists, ..Directory::default() },
        ids: HashMap::new(),
        modes: vec![Mode::default(); sections.len()],
        numbers: Vec::new(),
    };
    // Names are unique among what accepts and among what has servers.
    let mut accepting: HashMap<&str, Location> = HashMap::new();
    let mut serving: HashMap<&str, Location> = HashMap::new();
    let mut numbers = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let kind = section.spec.bit;
        if !kind.intersects(Sections::PROXIES) {
            continue;
        }
        if let Some(preset) = presets[index] {
            names.modes[index] = names.modes[preset];
        }
        let mut number = None;
        let mut servers = Vec::new();
        let mut places = HashMap::new();
        for line in section.lines() {
            match line.keyword().text {
                "mode" => match line.token(1).map(|token| token.text) {
                    Some("http") => names.modes[index] = Mode::Http,
                    Some("tcp") => names.modes[index] = Mode::Tcp,
                    _ => {}
                },
                "id" => number = line.token(1).and_then(|token| token.text.parse().ok()),
                "server" | "server-template" if kind.intersects(Sections::BACKS) => {
                    add_servers(line, &mut servers, &mut places, diagnostics);
                }
                _ => {}
            }
        }
        let Some(name) = section.name().filter(|_| kind != Sections::DEFAULTS) else { continue };
        let (frontend, backend) =
            (kind.intersects(Sections::FRONTS), kind.intersects(Sections::BACKS));
        let tables = [(frontend, &mut accepting), (backend, &mut serving)];
        for (_, table) in tables.into_iter().filter(|(takes_part, _)| *takes_part) {
            if let Some(first) = table.insert(name.text, name.at) {
                let (what, text) = ("proxy", name.text.to_owned());
                diagnostics.error(name.at, ConfigErrorKind::Duplicate { what, name: text, first });
                table.insert(name.text, first);
                break;
            }
        }
        let table = table::collect(section, &mut names.directory, environment, diagnostics);
        names.ids.insert(index, ProxyId(names.directory.proxies.len() as u32));
        names.directory.proxies.push(ProxyEntry {
            name: name.text.into(),
            frontend,
            backend,
            servers,
            table,
        });
        numbers.push(number);
    }
    for (index, ProxyId(id)) in &names.ids {
        let own = names.directory.proxies[*id as usize].table;
        table::collect_rules(&sections[*index], own, &mut names.directory);
    }
    // HAProxy's stats sockets belong to a hidden frontend, which then has the first number.
    let first = if has_stats_socket(sections) { 2 } else { 1 };
    names.numbers = assign_numbers(&numbers, first);
    names
}

/// Notes the names that a line gives to servers; reports one that is there already.
fn add_servers<'s>(
    line: Line<'s>,
    servers: &mut Vec<Arc<str>>,
    places: &mut HashMap<Arc<str>, Location>,
    diagnostics: &mut Diagnostics,
) {
    let Some(name) = line.token(1) else { return };
    let mut add = |text: Arc<str>| {
        if let Some(first) = places.get(&text) {
            let (what, name_text, first) = ("server", text.to_string(), *first);
            let kind = ConfigErrorKind::Duplicate { what, name: name_text, first };
            diagnostics.error(name.at, kind);
            return;
        }
        places.insert(Arc::clone(&text), name.at);
        servers.push(text);
    };
    if line.keyword().is("server") {
        return add(name.text.into());
    }
    let Some((first, last)) = line.token(2).and_then(|token| template_range(token.text)) else {
        return;
    };
    for number in first..=last {
        add(format!("{}{number}", name.text).into());
    }
}

/// `5` or `3-7`, of a `server-template`.
pub(super) fn template_range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
        None => (1, text.parse().ok()?),
    };
    (first <= last && last - first < TEMPLATE_MAX).then_some((first, last))
}

fn has_stats_socket(sections: &[Section]) -> bool {
    let globals = sections.iter().filter(|section| section.spec.bit == Sections::GLOBAL);
    globals.flat_map(Section::lines).any(|line| {
        let setting = line.token(1).map(|token| token.text);
        line.keyword().text == "stats" && matches!(setting, Some("socket" | "timeout" | "maxconn"))
    })
}

/// The numbers of things in their order: the one that was written, else the first from its place on that none has. As
/// HAProxy counts: a written number also uses up its place.
pub(super) fn assign_numbers(written: &[Option<u32>], first: u32) -> Vec<u32> {
    let taken: HashSet<u32> = written.iter().flatten().copied().collect();
    let mut next = first;
    let mut assign = |number: &Option<u32>| {
        let assigned = number.unwrap_or_else(|| {
            while taken.contains(&next) {
                next += 1;
            }
            next
        });
        next += 1;
        assigned
    };
    written.iter().map(&mut assign).collect()
}

#[cfg(test)]
mod tests {
    use super::assign_numbers;

    /// From haproxy's statistics.
    #[test]
    fn a_written_number_uses_up_its_place() {
        let written = [None, Some(50), None, Some(2), None, None];
        assert_eq!(assign_numbers(&written, 1), [1, 50, 3, 2, 5, 6]);
        assert_eq!(assign_numbers(&[Some(30), None], 2), [30, 3]);
        assert_eq!(assign_numbers(&[None, None, Some(2)], 1), [1, 3, 2]);
    }
}
