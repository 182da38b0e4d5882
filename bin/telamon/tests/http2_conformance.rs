//! Every case of `conformance/src/cases/` against the program.

use telamon_conformance::{Verdict, cases};
use telamon_testkit::{Behaviour, Telamon, TestServer};

#[test]
fn every_case_passes() {
    let origin = TestServer::start("origin", Behaviour::Body(b"Hello, HTTP/2!".to_vec()));
    let telamon = Telamon::listen(&format!("server {origin}"));
    let failed: Vec<_> = cases()
        .filter_map(|case| match case.run(telamon.port(), false) {
            (Verdict::Failed, seen) => {
                Some(format!("{} {}: must: {}; seen: {seen}", case.id(), case.what(), case.must()))
            }
            _ => None,
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
