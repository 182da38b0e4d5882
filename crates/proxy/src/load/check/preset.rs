//! `option redis-check` and its kin: the exchanges of common protocols, as scripts.

use std::rc::Rc;
use std::sync::Arc;

use telamon_config::{Args, ConfigErrorKind, Keyword, Token};

use super::{ANY, Method, chooses};
use crate::check::CheckStatus;
use crate::check::packet::{grpc, ldap, mysql, spop};
use crate::expr::{Expr, LogFormat, ParseScope, Place};
use crate::load::draft::ProxyContext;
use crate::log::FormatUse;
use crate::model::{CheckConnect, CheckExpect, CheckStep, CheckText, Expected, Packet};

type K = Keyword<ProxyContext>;

/// The protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preset {
    Grpc,
    Ldap,
    Mysql,
    Pgsql,
    Redis,
    Smtp,
    Spop,
    SslHello,
}

pub(in crate::load) const KEYWORDS: &[K] = &[
    K::works(
        "option redis-check",
        ANY,
        "option redis-check",
        "checks that Redis answers PING",
        |proxy, args| choose(proxy, args, Preset::Redis, |_, scope| Some(redis(scope))),
    )
    .negatable(),
    K::works(
        "option smtpchk",
        ANY,
        "option smtpchk [{ HELO | EHLO } <domain>]",
        "checks that a mail server greets and takes HELO",
        |proxy, args| {
            choose(proxy, args, Preset::Smtp, |args, scope| {
                let hello = match (args.next_if_any(), args.next_if_any()) {
                    (Some(word), Some(domain)) if matches!(word.text, "HELO" | "EHLO") => {
                        [word.bytes, domain.bytes].join(&b' ')
                    }
                    // HAProxy takes any other words for none.
                    _ => b"HELO localhost".to_vec(),
                };
                Some(smtp(&hello, scope))
            });
        },
    )
    .negatable(),
    K::works(
        "option grpc-check",
        ANY,
        "option grpc-check [service <name>]",
        "checks by `grpc.health.v1` that a service, or the server as a whole, is serving; Telamon's own",
        |proxy, args| choose(proxy, args, Preset::Grpc, |args, _| grpc(args)),
    )
    .negatable(),
    K::works(
        "option ldap-check",
        ANY,
        "option ldap-check",
        "checks that an LDAP server takes an anonymous bind",
        |proxy, args| choose(proxy, args, Preset::Ldap, |_, _| Some(ldap())),
    )
    .negatable(),
    K::works(
        "option mysql-check",
        ANY,
        "option mysql-check [user <name> [{ post-41 | pre-41 }]]",
        "checks that MySQL greets and lets a user without a password in",
        |proxy, args| choose(proxy, args, Preset::Mysql, |args, _| mysql(args)),
    )
    .negatable(),
    K::works(
        "option pgsql-check",
        ANY,
        "option pgsql-check user <name>",
        "checks that PostgreSQL asks a user to log in",
        |proxy, args| choose(proxy, args, Preset::Pgsql, pgsql),
    )
    .negatable(),
    K::works(
        "option ssl-hello-chk",
        ANY,
        "option ssl-hello-chk",
        "checks that a server answers the hello of SSLv3 by a record of TLS",
        |proxy, args| choose(proxy, args, Preset::SslHello, |_, _| Some(ssl_hello())),
    )
    .negatable(),
    K::works(
        "option spop-check",
        ANY,
        "option spop-check",
        "checks that an agent of SPOP says hello",
        |proxy, args| choose(proxy, args, Preset::Spop, |_, _| Some(spop())),
    )
    .negatable(),
];

fn choose(
    proxy: &mut ProxyContext,
    args: &mut Args<'_>,
    preset: Preset,
    steps: impl FnOnce(&mut Args<'_>, &mut ParseScope<'_>) -> Option<Vec<CheckStep>>,
) {
    if chooses(proxy, args, Method::Preset(preset)) {
        let steps = proxy.scoped(args, Place::Check, steps);
        proxy.draft.check.preset = steps.map(Rc::new);
    }
}

/// Redis answers `PING`.
fn redis(scope: &mut ParseScope<'_>) -> Vec<CheckStep> {
    let pong = CheckText::Fixed((*b"+PONG\r\n").into());
    let expect = CheckExpect {
        error_status: Some(CheckStatus::L7Status),
        on_success: format("Redis server is ok", scope),
        on_error: format("%[res.payload(0,0),cut_crlf]", scope),
        ..CheckExpect::of(Expected::Contains(pong))
    };
    vec![send(b"*1\r\n$4\r\nPING\r\n"), CheckStep::Expect(Box::new(expect))]
}

/// A mail server greets, takes `HELO` or `EHLO`, and lets one go (RFC 5321, section 4).
fn smtp(hello: &[u8], scope: &mut ParseScope<'_>) -> Vec<CheckStep> {
    let reply = "%[res.payload(4,0),ltrim(' '),cut_crlf]";
    let mut expect = |pattern: &str, min_recv: Option<usize>, good: bool| {
        let pattern = crate::expr::regex::compile(pattern.as_bytes(), false).ok()?;
        Some(CheckStep::Expect(Box::new(CheckExpect {
            min_recv,
            error_status: Some(CheckStatus::L7Status),
            on_error: format(reply, scope),
            on_success: if good { format(reply, scope) } else { None },
            status_code: Expr::parse_text(b"res.payload(0,3)", scope).ok().map(Arc::new),
            ..CheckExpect::of(Expected::Regex(pattern))
        })))
    };
    let greeting = expect(r"^2[0-9]{2}[ \r]", Some(4), false);
    let welcome = expect(r"^(2[0-9]{2}-[^\r]*\r\n)*2[0-9]{2}[ \r]", None, true);
    let farewell = expect(r"^2[0-9]{2}[- \r]", Some(4), true);
    let any_code = expect(r"^[0-9]{3}[ \r]", Some(4), false).map(|mut step| {
        if let CheckStep::Expect(expect) = &mut step {
            // What has no code at all is no mail server, and there is no code to report.
            expect.error_status = Some(CheckStatus::L7Response);
            expect.on_error = format("%[res.payload(0,0),cut_crlf]", scope);
            expect.status_code = None;
        }
        step
    });
    [
        Some(polite()),
        any_code,
        greeting,
        Some(send(&[hello, b"\r\n"].concat())),
        welcome,
        Some(send(b"QUIT\r\n")),
        farewell,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The health of one service, or of all.
fn grpc(args: &mut Args<'_>) -> Option<Vec<CheckStep>> {
    let service = named(args, "service", "the name of a service")?;
    let service = service.map_or(&b""[..], |token| token.bytes);
    Some(vec![send(&grpc::request(service)), packet(Packet::GrpcHealth)])
}

/// An anonymous bind (RFC 4511, section 4.2).
fn ldap() -> Vec<CheckStep> {
    vec![send(ldap::BIND_REQUEST), packet(Packet::LdapBindResponse)]
}

/// The greeting alone, or the login of a user without a password.
fn mysql(args: &mut Args<'_>) -> Option<Vec<CheckStep>> {
    let mut steps = vec![polite(), packet(Packet::MysqlGreeting)];
    if let Some(user) = user(args)? {
        let login = match args.next_if_any().map(|token| (token.text, token)) {
            None | Some(("post-41", _)) => mysql::Login::Post41,
            Some(("pre-41", _)) => mysql::Login::Pre41,
            Some((other, token)) => {
                let kind = ConfigErrorKind::unknown("word", other, ["post-41", "pre-41"]);
                args.fail(token.at, kind);
                return None;
            }
        };
        steps.insert(1, send(&mysql::login(user.bytes, login)));
        steps.push(packet(Packet::MysqlLogin));
    }
    Some(steps)
}

/// A start-up message of version 3.0; the server asks for a password, or needs none.
fn pgsql(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Vec<CheckStep>> {
    let Some(user) = user(args)? else {
        args.missing("`user <name>`");
        return None;
    };
    let mut message = [b"\0\x03\0\0user\0", user.bytes, b"\0\0"].concat();
    let len = u32::try_from(message.len() + 4).ok()?;
    message.splice(..0, len.to_be_bytes());
    let no_error = CheckExpect {
        negated: true,
        min_recv: Some(5),
        error_status: Some(CheckStatus::L7Response),
        on_error: format("%[res.payload(6,0)]", scope),
        ..CheckExpect::of(Expected::Regex(regex("^E")?))
    };
    // `R`, a length, and one of the ways to authenticate.
    let authentication = "^52000000[A-Z0-9]{2}000000(00|02|03|04|05|06|07|09|0A)";
    let authenticates = CheckExpect {
        min_recv: Some(9),
        error_status: Some(CheckStatus::L7Status),
        on_success: format("PostgreSQL server is ok", scope),
        on_error: format("PostgreSQL unknown error", scope),
        ..CheckExpect::of(Expected::HexRegex(regex(authentication)?))
    };
    Some(vec![polite(), send(&message), expect(no_error), expect(authenticates)])
}

/// A client of SSLv3 (RFC 6101, section 5.6.1.2). Servers that know better answer by an alert, which is an answer.
fn ssl_hello() -> Vec<CheckStep> {
    let mut hello = b"\x03\0".to_vec();
    // The time of the client, and what is to be random, where no secret depends on it.
    hello.extend_from_slice(&[0; 4]);
    hello.extend_from_slice(b"telamon: a check, not a session.".get(..28).unwrap_or_default());
    // No session to resume.
    hello.push(0);
    hello.extend_from_slice(&(SSL3_CIPHERS.len() as u16 * 2).to_be_bytes());
    hello.extend(SSL3_CIPHERS.iter().flat_map(|cipher| cipher.to_be_bytes()));
    // No compression.
    hello.extend_from_slice(b"\x01\0");
    let mut record = b"\x16\x03\0".to_vec();
    record.extend_from_slice(&(hello.len() as u16 + 4).to_be_bytes());
    record.push(1);
    record.extend_from_slice(&(hello.len() as u32).to_be_bytes()[1..]);
    record.append(&mut hello);
    // Handshake, or alert.
    let answer = regex("^1[56]").map(|answer| {
        expect(CheckExpect {
            min_recv: Some(5),
            ok_status: Some(CheckStatus::L6Ok),
            error_status: Some(CheckStatus::L6Response),
            tout_status: Some(CheckStatus::L6Timeout),
            ..CheckExpect::of(Expected::HexRegex(answer))
        })
    });
    [Some(send(&record)), answer].into_iter().flatten().collect()
}

/// The first frames of a client and an agent.
fn spop() -> Vec<CheckStep> {
    vec![polite(), send(&spop::hello()), packet(Packet::SpopHello)]
}

/// A connection that is not reset at its end, of which some servers complain.
fn polite() -> CheckStep {
    CheckStep::Connect(CheckConnect { as_server: true, linger: true, ..CheckConnect::default() })
}

/// Reads `user NAME`, if there is anything.
fn user<'a>(args: &mut Args<'a>) -> Option<Option<Token<'a>>> {
    named(args, "user", "the name of a user")
}

/// Reads `WORD NAME`, if there is anything.
fn named<'a>(
    args: &mut Args<'a>,
    word: &'static str,
    what: &'static str,
) -> Option<Option<Token<'a>>> {
    let Some(token) = args.next_if_any() else { return Some(None) };
    if token.text != word {
        args.fail(token.at, ConfigErrorKind::unknown("word", token.text, [word]));
        return None;
    }
    args.next(what).map(Some)
}

fn expect(expect: CheckExpect) -> CheckStep {
    CheckStep::Expect(Box::new(expect))
}

fn packet(packet: Packet) -> CheckStep {
    expect(CheckExpect::of(Expected::Packet(packet)))
}

fn regex(pattern: &str) -> Option<regex::bytes::Regex> {
    crate::expr::regex::compile(pattern.as_bytes(), false).ok()
}

fn send(bytes: &[u8]) -> CheckStep {
    CheckStep::Send { data: CheckText::Fixed(bytes.into()), comment: None }
}

/// The formats here are right wherever a check may stand; a test reads each.
fn format(text: &str, scope: &mut ParseScope<'_>) -> Option<Arc<LogFormat>> {
    LogFormat::parse_text(text.as_bytes(), scope, FormatUse::Text).ok().map(Arc::new)
}

/// What servers of the day had: RC4, DES, 3DES and IDEA by RSA and Diffie-Hellman (RFC 6101, appendix A.6), and AES.
const SSL3_CIPHERS: &[u16] = &[
    0x04, 0x05, 0x07, 0x09, 0x0a, 0x12, 0x13, 0x15, 0x16, 0x2f, 0x33, 0x35, 0x39, 0x03, 0x06, 0x08,
    0x11, 0x14,
];
