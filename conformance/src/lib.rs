//! What RFC 9113 and RFC 7541 ask of a server, case by case.

mod cases;
mod peer;

use std::fmt;

use crate::cases::{Case, Section};
use crate::peer::Peer;
pub use crate::peer::Verdict;

/// Every case, in order.
pub fn cases() -> impl Iterator<Item = Numbered> {
    cases::all().flat_map(|section| {
        section.cases.iter().enumerate().map(move |(at, case)| Numbered {
            section,
            case,
            number: at + 1,
        })
    })
}

/// A case and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Numbered {
    section: &'static Section,
    case: &'static Case,
    number: usize,
}

impl Numbered {
    /// The name that the suite h2spec has for it, as in `http2/6.9.1/2`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.section.id, self.number)
    }

    /// The standard and its section.
    pub fn rfc(&self) -> &'static str {
        self.section.rfc
    }

    /// What is sent.
    pub fn what(&self) -> &'static str {
        self.case.what
    }

    /// What must come.
    pub fn must(&self) -> impl fmt::Display {
        self.case.must
    }

    /// Tries it on a port of 127.0.0.1, behind which a GET and a POST of `/` are answered with 200 and a body of five
    /// bytes or more; returns what has come besides.
    pub fn run(&self, port: u16, tls: bool) -> (Verdict, String) {
        let mut peer = match Peer::connect(port, tls, self.case.greets) {
            Ok(peer) => peer,
            Err(error) => return (Verdict::Failed, format!("no HTTP/2 connection: {error}")),
        };
        (self.case.send)(&mut peer);
        peer.judge(&self.case.must)
    }
}
