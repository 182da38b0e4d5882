//! Field blocks that cannot be decoded (RFC 7541).

use telamon_testkit::http2::code::COMPRESSION_ERROR;
use telamon_testkit::http2::{indexed, setting, size_update};

use super::{Section, case, section};
use crate::peer::Must;
use crate::peer::Must::ConnectionError;

const UNDECODABLE: Must = ConnectionError(&[COMPRESSION_ERROR]);

/// `x-test` as a new name, Huffman-coded, without indexing; a coded value follows.
const NAME: &[u8] = b"\x00\x85\xf2\xb2\x4a\x84\xff";

#[rustfmt::skip] // one line a case where it fits
pub(super) const SECTIONS: &[Section] = &[
    section("hpack/2.3.3", "RFC 7541 2.3.3", &[
        case("an index beyond the tables", UNDECODABLE, |p| p.get_then(&indexed(126))),
        case("the index of a name beyond the tables", UNDECODABLE, |p| p.get_then(b"\x7e\x04test")),
    ]),
    section("hpack/4.2", "RFC 7541 4.2", &[
        case("a change of the table's size at the end of a block", UNDECODABLE, |p| p.get_then(&size_update(1))),
    ]),
    section("hpack/5.2", "RFC 7541 5.2", &[
        case("padding of more than 7 bits", UNDECODABLE, |p| p.get_then(&[NAME, b"\x84\x49\x50\x9f\xff"].concat())),
        case("padding of zeros", UNDECODABLE, |p| p.get_then(&[NAME, b"\x83\x49\x50\x90"].concat())),
        case("the end-of-string symbol inside", UNDECODABLE, |p| {
            p.get_then(&[NAME, b"\x87\xff\xff\xff\xfd\x25\x42\x7f"].concat());
        }),
    ]),
    section("hpack/6.1", "RFC 7541 6.1", &[
        case("index 0", UNDECODABLE, |p| p.get_then(&indexed(0))),
    ]),
    section("hpack/6.3", "RFC 7541 6.3", &[
        case("a table larger than SETTINGS_HEADER_TABLE_SIZE", UNDECODABLE, |p| {
            let most = p.setting(setting::HEADER_TABLE_SIZE, 4096) as usize;
            p.get_after(&size_update(most + 1));
        }),
    ]),
];
