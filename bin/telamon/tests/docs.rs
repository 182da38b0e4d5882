//! The manual says what the program knows.

use std::process::Command;

#[test]
fn the_list_of_keywords_is_the_programs_own() {
    let output = Command::new(env!("CARGO_BIN_EXE_telamon")).arg("keywords").output().unwrap();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/keywords.md");
    let same = std::fs::read(kept).unwrap() == output.stdout;
    assert!(
        same,
        "docs/keywords.md is old: `cargo run -- keywords > docs/keywords.md` makes it anew"
    );
}
