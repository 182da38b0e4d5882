//! What an OCSP response says (RFC 6960, 4.2.1), for those who look at it. Nothing is verified here.

use std::fmt::Write as _;

use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::certificate::{Name, month};

/// A response that was read from its DER encoding, which it borrows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspResponse<'d> {
    responder: Responder<'d>,
    produced: &'d [u8],
    answers: Vec<Answer<'d>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Responder<'d> {
    Name(&'d [u8]),
    Key(&'d [u8]),
}

/// What it says of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer<'d> {
    /// The whole identifier, which names the response.
    id: &'d [u8],
    algorithm: &'d [u8],
    name_hash: &'d [u8],
    key_hash: &'d [u8],
    serial: &'d [u8],
    status: Status<'d>,
    this_update: &'d [u8],
    next_update: Option<&'d [u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status<'d> {
    Good,
    Revoked { since: &'d [u8], reason: Option<u8> },
    Unknown,
}

impl<'d> OcspResponse<'d> {
    /// Reads a response that answers; `None` for anything else.
    pub fn parse(der: &'d [u8]) -> Option<Self> {
        let mut response = Reader(Reader(der).take(SEQUENCE)?);
        // 0: successful. The others carry nothing.
        if response.take(ENUMERATED)? != [0] {
            return None;
        }
        let mut bytes = Reader(Reader(response.take(CONTEXT)?).take(SEQUENCE)?);
        if bytes.take(OID)? != BASIC {
            return None;
        }
        let mut basic = Reader(Reader(bytes.take(OCTETS)?).take(SEQUENCE)?);
        let mut data = Reader(basic.take(SEQUENCE)?);
        // Version 1 is not written.
        _ = data.take_if(CONTEXT);
        let responder = match data.take_if(CONTEXT + 1) {
            Some(name) => Responder::Name(name),
            None => Responder::Key(Reader(data.take(CONTEXT + 2)?).take(OCTETS)?),
        };
        let produced = data.take(TIME)?;
        let mut list = Reader(data.take(SEQUENCE)?);
        let mut answers = Vec::new();
        while !list.0.is_empty() {
            answers.push(answer(list.take(SEQUENCE)?)?);
        }
        (!answers.is_empty()).then_some(Self { responder, produced, answers })
    }

    /// The identifier of the certificate that it is about, in DER.
    pub fn id(&self) -> &'d [u8] {
        self.answers[0].id
    }

    /// Whom it is about, as HAProxy lists it under the identifier.
    pub fn summary(&self) -> String {
        let Answer { name_hash, key_hash, serial, .. } = &self.answers[0];
        format!(
            " Certificate ID:\n   Issuer Name Hash: {}\n   Issuer Key Hash: {}\n   Serial Number: {}\n",
            hex(name_hash),
            hex(key_hash),
            hex(serial)
        )
    }

    /// All that it says, as `openssl ocsp -respin FILE -text` prints it, up to its signature.
    pub fn text(&self) -> String {
        let mut out = String::from(
            "OCSP Response Data:\n    OCSP Response Status: successful (0x0)\n    \
             Response Type: Basic OCSP Response\n    Version: 1 (0x0)\n    Responder Id: ",
        );
        match self.responder {
            Responder::Name(der) => {
                if let Ok((_, name)) = X509Name::from_der(der) {
                    out.push_str(&String::from_utf8_lossy(&Name::new(&name).spaced()));
                }
            }
            Responder::Key(key) => out.push_str(&hex(key)),
        }
        _ = write!(out, "\n    Produced At: {}\n    Responses:\n", moment(self.produced));
        for answer in &self.answers {
            _ = write!(
                out,
                "    Certificate ID:\n      Hash Algorithm: {}\n      Issuer Name Hash: {}\n      \
                 Issuer Key Hash: {}\n      Serial Number: {}\n    Cert Status: ",
                hash_name(answer.algorithm),
                hex(answer.name_hash),
                hex(answer.key_hash),
                hex(answer.serial)
            );
            match answer.status {
                Status::Good => out.push_str("good"),
                Status::Unknown => out.push_str("unknown"),
                Status::Revoked { since, reason } => {
                    _ = write!(out, "revoked\n    Revocation Time: {}", moment(since));
                    if let Some(reason) = reason {
                        let word = REASONS.get(usize::from(reason)).unwrap_or(&"(UNKNOWN)");
                        _ = write!(out, "\n    Revocation Reason: {word} (0x{reason:x})");
                    }
                }
            }
            _ = write!(out, "\n    This Update: {}", moment(answer.this_update));
            if let Some(next) = answer.next_update {
                _ = write!(out, "\n    Next Update: {}", moment(next));
            }
            out.push_str("\n\n");
        }
        out
    }
}

fn answer(der: &[u8]) -> Option<Answer<'_>> {
    let mut input = Reader(der);
    let (id, body) = input.element(SEQUENCE)?;
    let mut body = Reader(body);
    let algorithm = Reader(body.take(SEQUENCE)?).take(OID)?;
    let (name_hash, key_hash) = (body.take(OCTETS)?, body.take(OCTETS)?);
    let serial = match body.take(INTEGER)? {
        [0, rest @ ..] if !rest.is_empty() => rest,
        serial => serial,
    };
    let status = if input.take_if(CONTEXT_PLAIN).is_some() {
        Status::Good
    } else if let Some(revoked) = input.take_if(CONTEXT + 1) {
        let mut revoked = Reader(revoked);
        let since = revoked.take(TIME)?;
        let reason = revoked.take_if(CONTEXT).and_then(|reason| {
            Reader(reason).take(ENUMERATED).and_then(|reason| reason.first().copied())
        });
        Status::Revoked { since, reason }
    } else {
        input.take(CONTEXT_PLAIN + 2)?;
        Status::Unknown
    };
    let this_update = input.take(TIME)?;
    let next_update = match input.take_if(CONTEXT) {
        Some(next) => Some(Reader(next).take(TIME)?),
        None => None,
    };
    Some(Answer { id, algorithm, name_hash, key_hash, serial, status, this_update, next_update })
}

/// `20210527154338Z` as `May 27 15:43:38 2021 GMT`.
fn moment(time: &[u8]) -> String {
    let number = |at: std::ops::Range<usize>| {
        let digits = std::str::from_utf8(time.get(at)?).ok()?;
        digits.parse::<u16>().ok()
    };
    let text = || {
        let month = month(number(4..6)?.checked_sub(1)?.into())?;
        Some(format!(
            "{month} {:2} {:02}:{:02}:{:02} {} GMT",
            number(6..8)?,
            number(8..10)?,
            number(10..12)?,
            number(12..14)?,
            number(0..4)?
        ))
    };
    text().unwrap_or_else(|| "Bad time value".to_owned())
}

fn hash_name(oid: &[u8]) -> &'static str {
    match oid {
        [0x2b, 0x0e, 0x03, 0x02, 0x1a] => "sha1",
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01] => "sha256",
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02] => "sha384",
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03] => "sha512",
        _ => "undefined",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Reads DER, one element after another.
struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    /// The contents of the next element, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.element(tag).map(|(_, contents)| contents)
    }

    fn take_if(&mut self, tag: u8) -> Option<&'d [u8]> {
        if self.0.first() == Some(&tag) { self.take(tag) } else { None }
    }

    /// The next element, and its contents.
    fn element(&mut self, tag: u8) -> Option<(&'d [u8], &'d [u8])> {
        let [found, first, rest @ ..] = self.0 else { return None };
        if *found != tag {
            return None;
        }
        let (len, rest) = match usize::from(*first) {
            len @ 0..=0x7f => (len, rest),
            long @ 0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(long - 0x80)?;
                let len = digits.iter().fold(0usize, |len, digit| len << 8 | usize::from(*digit));
                (len, rest)
            }
            _ => return None,
        };
        let contents = rest.get(..len)?;
        let whole = self.0.len() - rest.len() + len;
        let element = &self.0[..whole];
        self.0 = &self.0[whole..];
        Some((element, contents))
    }
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const CONTEXT_PLAIN: u8 = 0x80;
const CONTEXT: u8 = 0xa0;

/// 1.3.6.1.5.5.7.48.1.1
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];

/// RFC 5280, 5.3.1.
const REASONS: [&str; 11] = [
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "(UNKNOWN)",
    "removeFromCRL",
    "privilegeWithdrawn",
    "aACompromise",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let mut out = vec![tag];
        match body.len() {
            len @ 0..=0x7f => out.push(len as u8),
            len => out.extend([0x82, (len >> 8) as u8, len as u8]),
        }
        out.extend(body);
        out
    }

    /// A response by the holder of a key about one certificate.
    fn response(status: &[u8], next: &[u8]) -> Vec<u8> {
        let algorithm =
            element(SEQUENCE, &[&element(OID, &[&[0x2b, 0x0e, 0x03, 0x02, 0x1a]]), &[5, 0]]);
        let id = element(
            SEQUENCE,
            &[
                &algorithm,
                &element(OCTETS, &[&[0x8a; 20]]),
                &element(OCTETS, &[&[0xf6; 20]]),
                &element(INTEGER, &[&[0x10, 0x0a]]),
            ],
        );
        let time = element(TIME, &[b"20210527154338Z"]);
        let answer = element(SEQUENCE, &[&id, status, &time, next]);
        let data = element(
            SEQUENCE,
            &[
                &element(CONTEXT + 2, &[&element(OCTETS, &[&[0x11; 20]])]),
                &time,
                &element(SEQUENCE, &[&answer]),
            ],
        );
        let basic = element(SEQUENCE, &[&data]);
        let bytes = element(SEQUENCE, &[&element(OID, &[BASIC]), &element(OCTETS, &[&basic])]);
        element(SEQUENCE, &[&[ENUMERATED, 1, 0], &element(CONTEXT, &[&bytes])])
    }

    #[test]
    fn responses_are_shown_as_openssl_does() {
        #[track_caller]
        fn check(status: &[u8], next: &[u8], expected: &str) {
            let der = response(status, next);
            let response = OcspResponse::parse(&der).expect("a response");
            assert_eq!(hex(&response.id()[..6]), "303B30090605");
            let text = response.text();
            let (head, rest) = text.split_once("    Cert Status: ").expect("a status");
            assert_eq!(
                head,
                "OCSP Response Data:\n    OCSP Response Status: successful (0x0)\n    Response Type: Basic OCSP \
                 Response\n    Version: 1 (0x0)\n    Responder Id: 1111111111111111111111111111111111111111\n    \
                 Produced At: May 27 15:43:38 2021 GMT\n    Responses:\n    Certificate ID:\n      Hash Algorithm: \
                 sha1\n      Issuer Name Hash: 8A8A8A8A8A8A8A8A8A8A8A8A8A8A8A8A8A8A8A8A\n      Issuer Key Hash: \
                 F6F6F6F6F6F6F6F6F6F6F6F6F6F6F6F6F6F6F6F6\n      Serial Number: 100A\n"
            );
            assert_eq!(rest, expected);
            assert!(response.summary().ends_with("  Serial Number: 100A\n"));
            for end in 0..der.len() {
                assert_eq!(OcspResponse::parse(&der[..end]), None);
            }
        }
        let next = element(CONTEXT, &[&element(TIME, &[b"20481012154338Z"])]);
        check(
            &[0x80, 0],
            &next,
            "good\n    This Update: May 27 15:43:38 2021 GMT\n    Next Update: Oct 12 15:43:38 2048 GMT\n\n",
        );
        check(&[0x82, 0], &[], "unknown\n    This Update: May 27 15:43:38 2021 GMT\n\n");
        let time = element(TIME, &[b"20210527154338Z"]);
        let reason = element(CONTEXT, &[&[ENUMERATED, 1, 1]]);
        check(
            &element(CONTEXT + 1, &[&time, &reason]),
            &[],
            "revoked\n    Revocation Time: May 27 15:43:38 2021 GMT\n    Revocation Reason: keyCompromise (0x1)\n    \
             This Update: May 27 15:43:38 2021 GMT\n\n",
        );
    }

    #[test]
    fn what_is_damaged_is_no_response() {
        let mut der = response(&[0x80, 0], &[]);
        for at in 0..der.len() {
            for change in [0x00, 0x7f, 0x84, 0xff] {
                let kept = std::mem::replace(&mut der[at], change);
                if let Some(response) = OcspResponse::parse(&der) {
                    _ = (response.text(), response.summary());
                }
                der[at] = kept;
            }
        }
        assert_eq!(OcspResponse::parse(&[SEQUENCE, 3, ENUMERATED, 1, 6]), None);
    }
}
