//! Any bytes as an agent's line: no panic, and what is taken over stays within its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use telamon_balance::agent::{AgentLine, USAGE_MAX};

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let Some(line) = AgentLine::parse(bytes) else {
        assert!(end.is_none());
        return;
    };
    // What stands behind the line changes nothing.
    let end = end.expect("a line has an end");
    assert_eq!(AgentLine::parse(&bytes[..=end]).as_ref(), Some(&line));
    let usage = line.usage;
    for share in [usage.cpu, usage.memory, usage.disk, usage.network, usage.load] {
        assert!(share.is_none_or(|share| (0.0..=USAGE_MAX).contains(&share)));
    }
    assert_eq!(usage.highest().is_none(), usage.is_empty());
    assert!(line.weight.is_none_or(|weight| weight.contains('%')));
});
