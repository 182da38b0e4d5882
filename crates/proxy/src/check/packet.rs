//! Answers of protocols that are read packet by packet: what the server says, or whether more has to come.
//!
//! Each file has both halves of one exchange: the bytes that are sent, and what the answer means. Pure.

pub(crate) mod grpc;
pub(crate) mod ldap;
pub(crate) mod mysql;
pub(crate) mod spop;

use super::{CheckStatus, Finding};
use crate::model::Packet;

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// More bytes may decide it.
    Wait,
    /// All is well; the text is for the report.
    Well(String),
    /// The check failed.
    Badly(Finding),
}

/// Judges all bytes since something was last sent; `last` says that no more come.
pub(super) fn judge(packet: Packet, bytes: &[u8], last: bool) -> Answered {
    let judged = match packet {
        Packet::LdapBindResponse => ldap::bind_response(bytes),
        Packet::MysqlGreeting => mysql::greeting(bytes),
        Packet::MysqlLogin => mysql::login_answer(bytes),
        Packet::SpopHello => spop::agent_hello(bytes),
        Packet::GrpcHealth => grpc::answer(bytes),
        Packet::AgentLine => super::agent::line(bytes),
    };
    match judged {
        None if last && packet == Packet::AgentLine => Answered::Badly(Finding::new(
            CheckStatus::Checked,
            "Ignoring incomplete line from agent",
        )),
        None if last => Answered::Badly(Finding::new(CheckStatus::L7Response, "")),
        None => Answered::Wait,
        Some(answered) => answered,
    }
}

impl Answered {
    /// The answer is not what the protocol has.
    fn invalid(text: &str) -> Self {
        Self::Badly(Finding::new(CheckStatus::L7Response, text))
    }

    /// The server says no.
    fn refused(code: u16, text: &str) -> Self {
        Self::Badly(Finding { code, ..Finding::new(CheckStatus::L7Status, text) })
    }
}

/// Takes bytes off the front of an answer; `None` where it is too short.
#[derive(Debug, Clone, Copy)]
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn big_endian(&mut self, count: usize) -> Option<usize> {
        let bytes = self.take(count)?;
        Some(bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    fn little_endian(&mut self, count: usize) -> Option<usize> {
        let bytes = self.take(count)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }
}

/// The text that those bytes are, up to the first zero.
fn until_zero(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer in hexadecimal digits; `wait`, `ok: TEXT` or `STATUS CODE: TEXT`. Every part of it alone has to wait.
    #[track_caller]
    fn check(packet: Packet, hex: &str, expected: &str) {
        let digits: Vec<u8> = hex.bytes().filter(|digit| *digit != b' ').collect();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
        let told = match judge(packet, &bytes, false) {
            Answered::Wait => "wait".to_owned(),
            Answered::Well(text) => format!("ok: {text}"),
            Answered::Badly(finding) => {
                format!("{} {}: {}", finding.status.name(), finding.code, finding.text)
            }
        };
        assert_eq!(told, expected);
        let cut = Answered::Badly(Finding::new(CheckStatus::L7Response, ""));
        assert_eq!(judge(packet, &[], true), cut);
        for end in 0..bytes.len() {
            // Not a panic, whatever it is.
            let _ = judge(packet, &bytes[..end], true);
        }
    }

    #[test]
    fn ldap_servers_take_an_anonymous_bind() {
        let of = Packet::LdapBindResponse;
        check(of, "300C 020101 61 07 0A0100 04000400", "ok: Success");
        check(of, "308400000010 020101 6184 00000007 0A0100 04000400", "ok: Success");
        check(of, "3082000C 020101 61 07 0A0100 04000400", "ok: Success");
        check(of, "308400000010 020101 6184 00000007 0A01", "wait");
        check(of, "300C 020101 60 07 0A0100 04000400", "L7RSP 0: Not LDAPv3 protocol");
        check(of, "3083000010 020101 61", "L7RSP 0: Not LDAPv3 protocol");
        check(of, "4854 54502F312E31", "L7RSP 0: Not LDAPv3 protocol");
        let said = "L7STS 1: See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9";
        check(of, "300C 020101 61 07 0A0101 04000400", said);
    }

    #[test]
    fn mysql_servers_greet_and_let_users_in() {
        const GREETING: &str = "0C000000 0A 382E302E3139 00 01000000";
        check(Packet::MysqlGreeting, GREETING, "ok: 8.0.19");
        check(Packet::MysqlGreeting, &GREETING[..20], "wait");
        check(Packet::MysqlGreeting, "07000000 FF 1004 4E6F212E", "L7STS 1040: No!.");
        check(Packet::MysqlGreeting, "02000000 FF10", "L7STS 16: ");
        check(Packet::MysqlLogin, GREETING, "wait");
        let login = |answer: &str| format!("{GREETING} {answer}");
        check(Packet::MysqlLogin, &login("03000002 000000"), "ok: 8.0.19");
        check(Packet::MysqlLogin, &login("05000002 FF E304 4E6F"), "L7STS 1251: No");
        check(Packet::MysqlLogin, &login("09000002 FF E304 4E6F"), "wait");
    }

    #[test]
    fn agents_of_spop_say_hello() {
        let of = Packet::SpopHello;
        let hello = "00000036 65 00000001 0000 0776657273696F6E 0803322E30 \
                     0E6D61782D6672616D652D73697A65 03FCF006 0C6361706162696C6974696573 0800";
        check(of, hello, "ok: SPOA server is ok");
        check(of, &hello[..40], "wait");
        check(of, "00000000", "L7RSP 0: invalid frame received");
        check(of, "00000007 65 00000000 0000", "L7RSP 0: fragmentation not supported");
        check(of, "00000007 01 00000001 0000", "L7RSP 0: invalid frame received");
        check(of, "00000007 65 00000001 0000", "L7RSP 0: version value not found");
        check(
            of,
            "00000014 65 00000001 0000 0776657273696F6E 0803312E30",
            "L7RSP 0: unsupported version",
        );
        check(
            of,
            "00000014 65 00000001 0000 0776657273696F6E 0803322E30",
            "L7RSP 0: max-frame-size value not found",
        );
        check(
            of,
            "00000018 66 00000001 0000 076D657373616765 0807676F20617761 79",
            "L7RSP 0: unknown error",
        );
    }
}
