//! Cookie lines from arbitrary bytes.
//!
//! The first byte says how long the name is that the line begins with, the second what becomes of its cookies. Whatever
//! comes: no panic; the parts cover the line without a gap; cookies of other names keep every byte and their order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use telamon_http_proto::cookie::{
    EditedLine, Fate, cookie_parts, edit_cookies, set_cookie_ranges,
};

fuzz_target!(|data: &[u8]| {
    let [name, fate, line @ ..] = data else { return };
    let (name, line) = line.split_at(line.len().min(usize::from(*name % 8)));
    let mut end = 0;
    for part in cookie_parts(line) {
        assert_eq!(part.whole.start, end);
        assert!(part.name.start <= part.name.end && part.name.end <= part.whole.end);
        if let Some(value) = &part.value {
            assert!(part.name.end <= value.start && value.start <= value.end);
            assert!(value.end <= part.whole.end);
        }
        end = part.whole.end;
    }
    assert_eq!(end, line.len());
    if let Some((name, value)) = set_cookie_ranges(line) {
        assert!(name.end < value.start && value.end <= line.len());
    }

    let fate = match fate % 3 {
        0 => Fate::Keep,
        1 => Fate::Remove,
        _ => Fate::Shorten(usize::from(fate / 3)),
    };
    let mut out = Vec::new();
    match edit_cookies(line, name, &mut out, |_| fate) {
        EditedLine::Same => assert!(out.is_empty()),
        EditedLine::Empty => assert!(others(line, name).is_empty()),
        // A cut inside of quotes may open or close them for what follows.
        EditedLine::Changed if fate == Fate::Remove => {
            assert_eq!(others(line, name), others(&out, name));
            assert!(out.len() < line.len());
        }
        EditedLine::Changed => assert!(out.len() < line.len()),
    }
});

/// The cookies that are not ours, byte for byte.
fn others<'l>(line: &'l [u8], name: &[u8]) -> Vec<(&'l [u8], &'l [u8])> {
    let cookies = cookie_parts(line).filter_map(|part| {
        let value = part.value?;
        Some((&line[part.name], &line[value]))
    });
    cookies.filter(|(found, _)| *found != name && !found.starts_with(b"$")).collect()
}
