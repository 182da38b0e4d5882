//! MySQL and MariaDB: the server greets with its version; a user without a password may then log in and leave.
//!
//! Packets have a length of three bytes, the lowest first, and a sequence number. Source: "Connection Phase" in the
//! MySQL internals manual.

use super::{Answered, Reader, until_zero};

/// How a client logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// `HandshakeResponse320`, for servers before 4.1.
    Pre41,
    /// `HandshakeResponse41`
    Post41,
}

/// Logs a user in without a password and says goodbye.
pub(crate) fn login(user: &[u8], login: Login) -> Vec<u8> {
    let mut response = match login {
        // CLIENT_LONG_PASSWORD is not asked for; packets may have 64 KiB.
        Login::Pre41 => b"\x00\x80\x00\x00\x01".to_vec(),
        Login::Post41 => {
            // CLIENT_PROTOCOL_41 and CLIENT_SECURE_CONNECTION; UTF-8; 23 bytes are reserved.
            let mut response = b"\x00\x82\x00\x00\x00\x80\x00\x01\x21".to_vec();
            response.extend_from_slice(&[0; 23]);
            response
        }
    };
    response.extend_from_slice(user);
    // The end of the name, and no password.
    response.extend_from_slice(b"\0\0");
    let mut packets = (response.len() as u32).to_le_bytes()[..3].to_vec();
    packets.push(1);
    packets.append(&mut response);
    packets.extend_from_slice(COM_QUIT);
    packets
}

/// The greeting; the version is what the report has.
pub(super) fn greeting(bytes: &[u8]) -> Option<Answered> {
    let payload = packet(&mut Reader(bytes))?;
    Some(error(payload).unwrap_or_else(|| Answered::Well(version(payload))))
}

/// What follows the greeting once a user has logged in.
pub(super) fn login_answer(bytes: &[u8]) -> Option<Answered> {
    let mut reader = Reader(bytes);
    let greeting = packet(&mut reader)?;
    let payload = packet(&mut reader)?;
    Some(error(payload).unwrap_or_else(|| Answered::Well(version(greeting))))
}

/// Behind the version of the protocol.
fn version(greeting: &[u8]) -> String {
    until_zero(greeting.get(1..).unwrap_or_default())
}

fn packet<'b>(reader: &mut Reader<'b>) -> Option<&'b [u8]> {
    let len = reader.little_endian(3)?;
    reader.byte()?;
    reader.take(len)
}

fn error(payload: &[u8]) -> Option<Answered> {
    let mut reader = Reader(payload);
    if reader.byte()? != ERR {
        return None;
    }
    // One that breaks off within its number is read as far as it goes, as HAProxy does.
    let code =
        reader.little_endian(reader.0.len().min(2)).and_then(|code| u16::try_from(code).ok());
    Some(Answered::refused(code.unwrap_or_default(), &until_zero(reader.0)))
}

const ERR: u8 = 0xff;
const COM_QUIT: &[u8] = b"\x01\0\0\0\x01";
