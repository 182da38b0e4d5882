//! The client's side of SOCKS 4: a connection that a proxy makes for us.
//!
//! A request names an IPv4 address and a port, the answer has eight bytes, and the connection is as one to the
//! destination from then on. Source: "SOCKS: A protocol for TCP proxy across firewalls" (Ying-Da Lee).

use std::fmt;
use std::net::SocketAddr;

/// Why the proxy makes no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socks4Error {
    /// Its answer has this code: 91 (rejected or failed), 92 or 93 (about the user).
    Denied(u8),
    /// It answered something else than SOCKS 4, or went away.
    Aborted,
    /// Only IPv4 addresses can be asked for.
    NotIpv4,
}

/// The request to connect to `to`, with the name of the user that HAProxy gives.
pub(crate) fn request(to: SocketAddr) -> Result<[u8; 16], Socks4Error> {
    let SocketAddr::V4(to) = to else { return Err(Socks4Error::NotIpv4) };
    let mut out = *b"\x04\x01\0\0\0\0\0\0HAProxy\0";
    out[2..4].copy_from_slice(&to.port().to_be_bytes());
    out[4..8].copy_from_slice(&to.ip().octets());
    Ok(out)
}

/// Reads the answer: a zero, a code, and six bytes that mean nothing here.
pub(crate) fn read_answer(answer: [u8; ANSWER_LEN]) -> Result<(), Socks4Error> {
    match answer {
        [0, GRANTED, ..] => Ok(()),
        [0, code, ..] => Err(Socks4Error::Denied(code)),
        _ => Err(Socks4Error::Aborted),
    }
}

/// HAProxy's words for it.
impl fmt::Display for Socks4Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied(_) => "SOCKS4 Proxy deny the request",
            Self::Aborted => "SOCKS4 Proxy handshake aborted by server",
            Self::NotIpv4 => "SOCKS4 Proxy knows IPv4 addresses alone",
        })
    }
}

impl std::error::Error for Socks4Error {}

pub(crate) const ANSWER_LEN: usize = 8;
const GRANTED: u8 = 90;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_port_address_and_user() {
        #[track_caller]
        fn check(to: &str, expected: Result<&[u8], Socks4Error>) {
            let found = request(to.parse().expect("an address"));
            assert_eq!(
                found.as_ref().map(|bytes| &bytes[..]),
                expected.as_ref().map(|bytes| *bytes)
            );
        }
        check("10.1.2.3:258", Ok(b"\x04\x01\x01\x02\x0a\x01\x02\x03HAProxy\0"));
        check("[::1]:80", Err(Socks4Error::NotIpv4));
    }

    #[test]
    fn only_one_answer_grants() {
        #[track_caller]
        fn check(start: [u8; 2], expected: Result<(), Socks4Error>) {
            let mut answer = [0xff; ANSWER_LEN];
            answer[..2].copy_from_slice(&start);
            assert_eq!(read_answer(answer), expected);
        }
        check([0, 90], Ok(()));
        check([0, 91], Err(Socks4Error::Denied(91)));
        check([0, 0], Err(Socks4Error::Denied(0)));
        check([5, 90], Err(Socks4Error::Aborted));
        check([4, 90], Err(Socks4Error::Aborted));
    }
}
