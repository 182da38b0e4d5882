//! The PROXY protocol's header from arbitrary bytes.
//!
//! Whatever comes: no panic; a header that is whole does not change with what follows it, is incomplete at every cut
//! before its end, and is read the same when its addresses are written anew.

#![no_main]

use libfuzzer_sys::fuzz_target;
use telamon_http_proto::proxy_protocol::{parse, write_v1, write_v2};

fuzz_target!(|data: &[u8]| {
    let Ok(Some((header, len))) = parse(data) else { return };
    assert_eq!(parse(&data[..len]), Ok(Some((header.clone(), len))));
    for cut in 0..len.min(64) {
        assert_eq!(parse(&data[..cut]), Ok(None));
    }
    for version in [1, 2] {
        let mut out = Vec::new();
        match version {
            1 => write_v1(&mut out, header.addresses),
            _ => write_v2(&mut out, header.addresses, true, &[]),
        }
        let (again, all) = parse(&out).expect("ours").expect("whole");
        let text = |header: &Option<_>| format!("{header:?}");
        assert_eq!((text(&again.addresses), all), (text(&header.addresses), out.len()));
    }
});
