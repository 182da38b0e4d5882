//! Who a client says it is: `Authorization`, and the passwords of user lists.

use telamon_http_proto::Head;

use super::converters::encode::base64_decode;
use crate::model::{Password, Userlist};

/// User and password of HTTP's Basic scheme (RFC 7617).
pub(crate) fn basic(head: &Head) -> Option<(Vec<u8>, Vec<u8>)> {
    let line = authorization(head)?;
    let (scheme, credentials) = split(line)?;
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let decoded = base64_decode(credentials)?;
    let colon = memchr::memchr(b':', &decoded)?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}

/// The scheme that the client uses, as it wrote it.
pub(crate) fn scheme(head: &Head) -> Option<&[u8]> {
    split(authorization(head)?).map(|(scheme, _)| scheme)
}

/// The token of the Bearer scheme (RFC 6750) in the given header.
pub(crate) fn bearer<'h>(head: &'h Head, header: &[u8]) -> Option<&'h [u8]> {
    let index = head.find(header, 0)?;
    let (scheme, token) = split(head.value_at(index)?)?;
    scheme.eq_ignore_ascii_case(b"bearer").then_some(token)
}

/// Whether the list has that user with that password. Takes as long for wrong passwords of one
/// length as for the right one.
pub(crate) fn is_known(users: &Userlist, user: &[u8], password: &[u8]) -> bool {
    users.users.get(user).is_some_and(|entry| match &entry.password {
        Password::Clear(clear) => same(clear, password),
        Password::Crypt(hash) => verify(hash, password),
    })
}

/// Whether the user is in the group.
pub(crate) fn is_in_group(users: &Userlist, user: &[u8], group: &str) -> bool {
    users.users.get(user).is_some_and(|user| user.groups.iter().any(|known| **known == *group))
}

/// Why the password of a user list cannot be verified here; `None` when it can.
pub fn unsupported_crypt(hash: &str) -> Option<&'static str> {
    match hash.split('$').nth(1) {
        Some("5" | "6") => None,
        Some("1") => Some("MD5 crypt ($1$)"),
        Some("2" | "2a" | "2b" | "2y") => Some("bcrypt"),
        Some("y" | "gy") => Some("yescrypt"),
        Some("7") => Some("scrypt"),
        _ => Some("DES crypt"),
    }
}

/// Compares without telling by its time where the first difference is.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
}

/// Verifies SHA-256 and SHA-512 crypt. Costs milliseconds by design.
fn verify(hash: &str, password: &[u8]) -> bool {
    super::converters::sha_crypt::crypt(password, hash)
        .is_some_and(|computed| same(computed.as_bytes(), hash.as_bytes()))
}

fn authorization(head: &Head) -> Option<&[u8]> {
    head.header(b"authorization")
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', line)?;
    Some((&line[..space], line[space + 1..].trim_ascii()))
}
