//! Answers of name servers, and `/etc/resolv.conf`, from arbitrary bytes.
//!
//! The first byte chooses what was asked. Whatever comes: no panic; an answer holds at least one record and none that its
//! bytes have no room for; what is remembered of it stays within its limit and is the same when it comes again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use telamon_dns_proto::{
    Kind, Name, Question, Records, message_id, parse_resolv_conf, read_answer,
};

fuzz_target!(|data: &[u8]| {
    let [options, message @ ..] = data else { return };
    if let Ok(text) = std::str::from_utf8(message) {
        let _ = parse_resolv_conf(text);
        if let Ok(name) = Name::parse(text) {
            assert_eq!(Name::parse(&name.to_string()), Ok(name));
        }
    }
    let kind = [Kind::A, Kind::Aaaa, Kind::Srv][usize::from(options % 3)];
    let text = if options & 0x80 == 0 { "web.example" } else { "_http._tcp.example" };
    let name = Name::parse(text).expect("a name");
    let Some(id) = message_id(message) else { return };
    let Ok(answer) = read_answer(message, &Question { id, name: &name, kind }) else { return };
    assert!(!answer.records.is_empty() && answer.records.len() * 11 < message.len());
    let mut records = Records::default();
    records.merge(answer.records.clone(), 1, 0);
    let once: Vec<_> = records.iter().cloned().collect();
    assert!(!once.is_empty());
    records.merge(answer.records, 2, 0);
    assert!(records.iter().eq(&once));
});
