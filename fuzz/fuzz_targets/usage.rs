//! Any text as a report of load in an answer's header: no panic, and what is taken over stays within its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use telamon_balance::{Member, MemberConfig, Usage, member::WHOLE};

fuzz_target!(|text: &str| {
    let Ok(usage) = Usage::parse(text) else { return };
    assert!(!usage.is_empty());
    let member = Member::new("a", &MemberConfig::default(), 1);
    member.report_usage(&usage, 5);
    assert!(member.usage(0, 5).is_some_and(|used| used <= WHOLE));
});
