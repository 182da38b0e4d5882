//! What the configuration of TLS reads, from arbitrary bytes.
//!
//! The first byte says which parser: lists of certificates, ticket keys, PEM files, lists of words. Whatever comes: no
//! panic, and what is read is within its bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use telamon_tls::{Bundle, CaFile, CrlFile, CrtList, Offer, Parts, TicketKeys, decode_base64, read_certificates};

fuzz_target!(|data: &[u8]| {
    let [which, text @ ..] = data else { return };
    match which % 4 {
        0 => {
            if let Ok(list) = CrtList::parse(text) {
                assert!(list.lines.len() <= text.iter().filter(|byte| **byte == b'\n').count() + 1);
                assert!(list.lines.iter().all(|line| line.number > 0 && !line.certificate.is_empty()));
            }
        }
        1 => {
            _ = TicketKeys::parse(text);
            if let Some(bytes) = decode_base64(text) {
                assert!(bytes.len() <= text.len() / 4 * 3);
            }
        }
        2 => {
            _ = read_certificates(text);
            _ = CaFile::parse([text]);
            _ = CrlFile::parse(text);
            _ = Bundle::new(&Parts { pem: text, key: Some(text), issuer: Some(text), ..Parts::default() });
        }
        _ => {
            let Ok(text) = std::str::from_utf8(text) else { return };
            for (word, _) in Offer::WORDS {
                _ = Offer::default().set(word, text);
            }
        }
    }
});
