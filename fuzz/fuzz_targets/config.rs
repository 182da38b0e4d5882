//! Any bytes as a configuration: sections, links between them, and messages that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use telamon_config::{
    AddressRules, Diagnostics, Environment, SectionSpec, Source, Style, check_condition,
    parse_address, read, resolve_defaults,
};

fuzz_target!(|bytes: &[u8]| {
    let mut source = Source::new();
    let file = source.add("fuzz.cfg", bytes.to_vec());
    let mut environment = Environment::new().with_variables([("A", "one"), ("W", " x  y ")]);
    let mut diagnostics = Diagnostics::new().diagnostic_mode(true);
    let sections = read(&source, SectionSpec::HAPROXY, &mut environment, &mut diagnostics);
    resolve_defaults(&sections, &mut diagnostics);
    for token in sections.iter().flat_map(|section| section.lines()).flat_map(|line| line.tokens())
    {
        // What is marked must lie within its line.
        let line = source.bytes(file).split(|byte| *byte == b'\n').nth(token.at.line as usize - 1);
        let end = (token.at.column - 1 + token.at.len) as usize;
        assert!(line.is_some_and(|line| end <= line.len()));
        let _ = parse_address(token.text, &AddressRules::BIND);
        let _ = parse_address(token.text, &AddressRules::SERVER);
    }
    check_condition(&source, file, &environment, &mut diagnostics);
    diagnostics.render(&source, Style::Plain);
});
