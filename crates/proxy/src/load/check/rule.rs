//! The rules of `http-check` and `tcp-check`.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use telamon_config::{Address, AddressRules, Args, ConfigErrorKind, Host, Keyword, Table, Token};

use super::expect::expect;
use super::{ANY, http};
use crate::expr::{Expr, LogFormat, ParseScope, Place};
use crate::load::draft::ProxyContext;
use crate::load::mistake::ProxyMistake;
use crate::log::FormatUse;
use crate::model::{CheckConnect, CheckPort, CheckProtocol, CheckStep, CheckText};
use crate::rules::VariableName;

type K = Keyword<ProxyContext>;

/// A rule that adds a step to `$steps`.
macro_rules! step {
    ($steps:ident, $name:literal, $usage:expr, $doc:literal, $read:expr) => {
        K::works($name, ANY, $usage, $doc, |proxy, args| {
            let read: fn(&mut ProxyContext, &mut Args<'_>) -> Option<CheckStep> = $read;
            let step = read(proxy, args);
            proxy.own.$steps.extend(step);
        })
    };
}

/// The rules that both have: `$rule` is the keyword, `$steps` where its steps are gathered.
macro_rules! shared {
    ($rule:literal, $steps:ident, $protocol:expr) => {
        &[
            step!(
                $steps,
                "connect",
                concat!(
                    $rule,
                    " connect [default] [port <port>] [addr <ip>] [linger] [send-proxy] [via-socks4] [comment <text>]"
                ),
                "opens a connection",
                |proxy, args| connect(proxy, args, $protocol)
            ),
            step!(
                $steps,
                "comment",
                concat!($rule, " comment <text>"),
                "what a failure in the next steps is reported with",
                |_, args| comment(args).map(CheckStep::Comment)
            ),
            step!(
                $steps,
                "set-var(",
                concat!($rule, " set-var(<name>) <expression>"),
                "a variable of the check",
                set_var
            ),
            step!(
                $steps,
                "set-var-fmt(",
                concat!($rule, " set-var-fmt(<name>) <format>"),
                "a variable of the check",
                set_var_fmt
            ),
            step!(
                $steps,
                "unset-var(",
                concat!($rule, " unset-var(<name>)"),
                "forgets a variable of the check",
                |_, args| variable(args).map(CheckStep::UnsetVar)
            ),
        ]
    };
}

pub(in crate::load) static HTTP: LazyLock<Table<ProxyContext>> = LazyLock::new(|| {
    const SHARED: &[K] = shared!("http-check", http_check, CheckProtocol::Http);
    const KEYWORDS: &[K] = &[
        K::works(
            "send",
            ANY,
            "http-check send [meth <method>] [{ uri <uri> | uri-lf <format> }] [ver <version>] [hdr <name> <format>]... [{ body <text> | body-lf <format> }] [comment <text>]",
            "sends a request",
            |proxy, args| {
                follows(proxy, args, "send");
                let send = http::send(proxy, args);
                proxy.own.http_check.extend(send);
            },
        ),
        K::works(
            "expect",
            ANY,
            "http-check expect [options] [!] { status | rstatus | hdr | fhdr | string | rstring | string-lf } <pattern>",
            "what the answer must be",
            |proxy, args| {
                follows(proxy, args, "expect");
                let expect = expect(proxy, args, CheckProtocol::Http);
                proxy.own.http_check.extend(expect);
            },
        ),
        K::works(
            "disable-on-404",
            ANY,
            "http-check disable-on-404",
            "404 means no new requests, not down",
            |proxy, _| {
                proxy.draft.check.disable_on_404 = true;
                proxy.draft.check.script = None;
            },
        ),
        K::works(
            "send-state",
            ANY,
            "http-check send-state",
            "tells the server its state",
            |proxy, _| {
                proxy.draft.check.send_state = true;
                proxy.draft.check.script = None;
            },
        ),
    ];
    Table::new("http-check rule", &[KEYWORDS, SHARED])
});

pub(in crate::load) static TCP: LazyLock<Table<ProxyContext>> = LazyLock::new(|| {
    const SHARED: &[K] = shared!("tcp-check", tcp_check, CheckProtocol::Tcp);
    const KEYWORDS: &[K] = &[
        K::works(
            "send",
            ANY,
            "tcp-check send <data> [comment <text>]",
            "sends bytes",
            |proxy, args| {
                send(proxy, args, |_, token, _| Some(CheckText::Fixed(token.bytes.into())));
            },
        ),
        K::works(
            "send-binary",
            ANY,
            "tcp-check send-binary <hex> [comment <text>]",
            "sends bytes",
            |proxy, args| {
                send(proxy, args, |args, token, _| hex(args, token).map(CheckText::Binary));
            },
        ),
        K::works(
            "send-lf",
            ANY,
            "tcp-check send-lf <format> [comment <text>]",
            "sends what a format gives",
            |proxy, args| {
                send(proxy, args, |args, token, scope| {
                    format_of(args, token, scope).map(CheckText::Format)
                });
            },
        ),
        K::works(
            "send-binary-lf",
            ANY,
            "tcp-check send-binary-lf <format> [comment <text>]",
            "sends the bytes whose digits a format gives",
            |proxy, args| {
                send(proxy, args, |args, token, scope| {
                    format_of(args, token, scope).map(CheckText::HexFormat)
                });
            },
        ),
        K::works(
            "expect",
            ANY,
            "tcp-check expect [options] [!] { string | rstring | string-lf | binary | rbinary | binary-lf } <pattern>",
            "what the server must send",
            |proxy, args| {
                let expect = expect(proxy, args, CheckProtocol::Tcp);
                proxy.own.tcp_check.extend(expect);
            },
        ),
    ];
    Table::new("tcp-check rule", &[KEYWORDS, SHARED])
});

/// Reports a step of `http-check` that stands where none of its kind can. HAProxy looks only where `option httpchk`
/// stands above.
fn follows(proxy: &ProxyContext, args: &mut Args<'_>, step: &'static str) {
    if !proxy.draft.check.is_http() {
        return;
    }
    let Some(before) = proxy.own.http_check.iter().rev().find(|step| step.acts()) else { return };
    let lacks = match (step, before) {
        ("send", CheckStep::Request(_) | CheckStep::Expect(_)) => "connect",
        ("expect", CheckStep::Connect(_)) => "send",
        ("connect", CheckStep::Connect(_) | CheckStep::Request(_)) => "expect",
        _ => return,
    };
    let title = format!("`http-check {step}` without an `http-check {lacks}` before it");
    let help = "an exchange is a `connect`, a `send` and what to `expect`; the next one begins with a `connect` again";
    args.fail(args.at(), ProxyMistake::Says { title, help }.into());
}

/// Reads what follows `connect`.
fn connect(
    proxy: &mut ProxyContext,
    args: &mut Args<'_>,
    protocol: CheckProtocol,
) -> Option<CheckStep> {
    let steps = match protocol {
        CheckProtocol::Http => &proxy.own.http_check,
        _ => &proxy.own.tcp_check,
    };
    let first = steps.iter().find(|step| step.acts());
    if first.is_some_and(|step| !matches!(step, CheckStep::Connect(_))) {
        let title = "`connect` behind other steps".to_owned();
        let help = "where there is a `connect`, the first step has to be one; only `set-var`, `unset-var` and `comment` may stand before it";
        args.fail(args.at(), ProxyMistake::Says { title, help }.into());
        return None;
    }
    if protocol == CheckProtocol::Http {
        follows(proxy, args, "connect");
    }
    let mut connect = CheckConnect::default();
    while let Some(token) = args.next_if_any() {
        match token.text {
            "default" => connect.as_server = true,
            "linger" => connect.linger = true,
            "comment" => connect.comment = comment(args),
            "port" => {
                let port = args.next("a port or an expression")?;
                args.back();
                connect.port = Some(match port.text.parse::<u16>() {
                    Ok(_) => CheckPort::Fixed(args.integer("port", 1..=u16::MAX)?),
                    Err(_) => CheckPort::Sample(Arc::new(proxy.scoped(
                        args,
                        Place::Check,
                        Expr::parse,
                    )?)),
                });
            }
            "addr" => {
                let at = args.peek().map_or(args.at(), |token| token.at);
                let rules =
                    AddressRules { unix: false, port_offset: false, ..AddressRules::SERVER };
                let Address::Ip { host, port, family, .. } = args.address(&rules)? else {
                    return None;
                };
                let base = Rc::clone(&proxy.base);
                let port = match port {
                    telamon_config::Port::One(port) => port,
                    _ => 0,
                };
                if !matches!(host, Host::Unspecified) {
                    connect.address =
                        Some(SocketAddr::new(base.address(args, &host, family, at)?, port));
                }
            }
            "via-socks4" => connect.via_socks4 = true,
            "send-proxy" => connect.send_proxy = true,
            "ssl" => connect.tls = true,
            "sni" => connect.sni = Some(args.next("a host name")?.text.into()),
            "alpn" => {
                let token = args.next("names such as `h2,http/1.1`")?;
                match telamon_tls::protocols(token.text) {
                    Ok(protocols) => connect.alpn = Some(protocols.into()),
                    Err(_) => {
                        args.bad(token, "list of protocols", "names such as `h2,http/1.1`");
                        return None;
                    }
                }
            }
            "proto" => {
                args.next("a protocol")?;
                let keyword = format!("{} {}", args.keyword_text(), token.text);
                args.report(token.at, ConfigErrorKind::NotYet { keyword, guards_access: false });
            }
            other => {
                let known = [
                    "default",
                    "port",
                    "addr",
                    "linger",
                    "comment",
                    "send-proxy",
                    "via-socks4",
                    "ssl",
                    "sni",
                    "alpn",
                    "proto",
                ];
                args.fail(token.at, ConfigErrorKind::unknown("word", other, known));
                return None;
            }
        }
    }
    Some(CheckStep::Connect(connect))
}

/// Reads what follows `tcp-check send…`.
fn send(
    proxy: &mut ProxyContext,
    args: &mut Args<'_>,
    read: impl FnOnce(&mut Args<'_>, Token<'_>, &mut ParseScope<'_>) -> Option<CheckText>,
) {
    let Some(token) = args.next("what to send") else { return };
    let data = proxy.scoped(args, Place::Check, |args, scope| read(args, token, scope));
    let comment = if args.accept("comment") { comment(args) } else { None };
    proxy.own.tcp_check.extend(data.map(|data| CheckStep::Send { data, comment }));
}

pub(super) fn hex(args: &mut Args<'_>, token: Token<'_>) -> Option<Box<[u8]>> {
    let digits = token.bytes;
    let bytes: Option<Vec<u8>> = (digits.len().is_multiple_of(2) && digits.is_ascii())
        .then(|| {
            digits
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect()
        })
        .flatten();
    if bytes.is_none() {
        args.bad(token, "bytes", "pairs of hexadecimal digits");
    }
    bytes.map(Vec::into_boxed_slice)
}

pub(super) fn format(proxy: &mut ProxyContext, args: &mut Args<'_>) -> Option<Arc<LogFormat>> {
    proxy
        .scoped(args, Place::Check, |args, scope| LogFormat::parse(args, scope, FormatUse::Text))
        .map(Arc::new)
}

fn format_of(
    args: &mut Args<'_>,
    token: Token<'_>,
    scope: &mut ParseScope<'_>,
) -> Option<Arc<LogFormat>> {
    LogFormat::parse_token(&token, args, scope, FormatUse::Text).map(Arc::new)
}

pub(super) fn comment(args: &mut Args<'_>) -> Option<Box<str>> {
    args.next("a text").map(|token| token.text.into())
}

fn set_var(proxy: &mut ProxyContext, args: &mut Args<'_>) -> Option<CheckStep> {
    let variable = variable(args)?;
    let value = proxy.scoped(args, Place::Check, Expr::parse).map(Arc::new)?;
    Some(CheckStep::SetVar { variable, value })
}

fn set_var_fmt(proxy: &mut ProxyContext, args: &mut Args<'_>) -> Option<CheckStep> {
    let variable = variable(args)?;
    let value = format(proxy, args)?;
    Some(CheckStep::SetVarFormat { variable, value })
}

/// The name within `set-var(NAME)`.
fn variable(args: &mut Args<'_>) -> Option<VariableName> {
    let token = args.keyword();
    let name = token.text.split_once('(').and_then(|(_, name)| name.strip_suffix(')'));
    let name = name.and_then(|name| VariableName::parse(name.as_bytes()).ok());
    if name.is_none() {
        args.bad(token, "variable", "a scope and a name such as `check.name`");
        args.skip_rest();
    }
    name
}
