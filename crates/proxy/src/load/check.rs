//! How health is checked: `option httpchk` and `option tcp-check` (their kin in `preset.rs`), `http-check …`, `tcp-check …`.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use telamon_config::{
    Address, AddressRules, Args, ConfigErrorKind, Host, Keyword, Modifier, Sections, Table, Token,
};

use super::draft::ProxyContext;
use super::mistake::ProxyMistake;
use super::options::value;
use crate::check::CheckStatus;
use crate::expr::{Expr, LogFormat, ParseScope, Place};
use crate::log::FormatUse;
use crate::model::{
    CheckConnect, CheckExpect, CheckMethod, CheckPort, CheckProtocol, CheckRequest, CheckStep,
    CheckText, Expected, HeaderPart, Script,
};
use crate::rules::VariableName;

use preset::Preset;

pub(super) mod preset;

type K = Keyword<ProxyContext>;

/// What a section says about checks, and what it inherits.
#[derive(Clone, Default)]
pub(super) struct CheckDraft {
    method: Method,
    /// What `option httpchk` says about the request.
    request: Option<Rc<CheckRequest>>,
    /// This section says it.
    request_is_own: bool,
    http: Option<Rc<Vec<CheckStep>>>,
    tcp: Option<Rc<Vec<CheckStep>>>,
    disable_on_404: bool,
    send_state: bool,
    /// The exchange of `option redis-check` and its kin.
    preset: Option<Rc<Vec<CheckStep>>>,
    /// The finished script, for all who inherit it unchanged.
    script: Option<Arc<Script>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Method {
    #[default]
    Connect,
    Http,
    Tcp,
    Preset(Preset),
}

const ANY: Sections = Sections::PROXIES;
const BACK: Sections = Sections::BACKS;

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "option httpchk",
        ANY,
        "option httpchk [[<method>] <uri> [<version>]]",
        "checks by a request of HTTP",
        |proxy, args| {
            if chooses(proxy, args, Method::Http) {
                proxy.draft.check.request = Some(Rc::new(httpchk(args)));
                // What a section inherits of `http-check` belongs to the option it inherits.
                proxy.draft.check.http = None;
                proxy.draft.check.request_is_own = true;
            }
        },
    )
    .negatable(),
    K::works(
        "option tcp-check",
        ANY,
        "option tcp-check",
        "checks by what `tcp-check` says, else by a connection",
        |proxy, args| {
            chooses(proxy, args, Method::Tcp);
        },
    )
    .negatable(),
    K::not_yet("option external-check", ANY).negatable(),
    K::not_yet("external-check command", ANY),
    K::not_yet("external-check path", ANY),
    K::works("http-check", ANY, "http-check <rule>", "a step of checks by HTTP", |proxy, args| {
        if proxy.has_side(args, BACK) {
            proxy.own.http_check_at.get_or_insert(args.at());
            args.one(&HTTP_RULES, proxy);
        }
    }),
    K::works("tcp-check", ANY, "tcp-check <rule>", "a step of checks over TCP", |proxy, args| {
        if proxy.has_side(args, BACK) {
            proxy.own.tcp_check_at.get_or_insert(args.at());
            args.one(&TCP_RULES, proxy);
        }
    }),
];

pub(super) static HTTP_RULES: LazyLock<Table<ProxyContext>> = LazyLock::new(|| {
    const KEYWORDS: &[K] = &[
        K::works(
            "connect",
            ANY,
            "http-check connect [port <port>] [addr <ip>] [linger] [comment <text>] ...",
            "opens a connection",
            |proxy, args| {
                let connect = connect(proxy, args);
                proxy.own.http_check.extend(connect);
            },
        ),
        K::works(
            "send",
            ANY,
            "http-check send [meth <method>] [uri <uri>] [ver <version>] [hdr <name> <format>]... [body <text>] [comment <text>]",
            "sends a request",
            |proxy, args| {
                let send = http_send(proxy, args);
                proxy.own.http_check.extend(send);
            },
        ),
        K::works(
            "expect",
            ANY,
            "http-check expect [options] [!] { status | rstatus | hdr | fhdr | string | rstring } <pattern>",
            "what the answer must be",
            |proxy, args| {
                let expect = expect(proxy, args, CheckProtocol::Http);
                proxy.own.http_check.extend(expect);
            },
        ),
        K::works(
            "comment",
            ANY,
            "http-check comment <text>",
            "what a failure in the next steps is reported with",
            |proxy, args| {
                let step = comment(args).map(CheckStep::Comment);
                proxy.own.http_check.extend(step);
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
        K::works(
            "set-var(",
            ANY,
            "http-check set-var(<name>) <expression>",
            "a variable of the check",
            |proxy, args| {
                let step = set_var(proxy, args);
                proxy.own.http_check.extend(step);
            },
        ),
        K::works(
            "set-var-fmt(",
            ANY,
            "http-check set-var-fmt(<name>) <format>",
            "a variable of the check",
            |proxy, args| {
                let step = set_var_fmt(proxy, args);
                proxy.own.http_check.extend(step);
            },
        ),
        K::works(
            "unset-var(",
            ANY,
            "http-check unset-var(<name>)",
            "forgets a variable of the check",
            |proxy, args| {
                let step = variable(args).map(CheckStep::UnsetVar);
                proxy.own.http_check.extend(step);
            },
        ),
    ];
    Table::new("http-check rule", &[KEYWORDS])
});

pub(super) static TCP_RULES: LazyLock<Table<ProxyContext>> = LazyLock::new(|| {
    const KEYWORDS: &[K] = &[
        K::works(
            "connect",
            ANY,
            "tcp-check connect [port <port>] [addr <ip>] [linger] [comment <text>] ...",
            "opens a connection",
            |proxy, args| {
                let connect = connect(proxy, args);
                proxy.own.tcp_check.extend(connect);
            },
        ),
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
            "tcp-check expect [options] [!] { string | rstring | binary | rbinary } <pattern>",
            "what the server must send",
            |proxy, args| {
                let expect = expect(proxy, args, CheckProtocol::Tcp);
                proxy.own.tcp_check.extend(expect);
            },
        ),
        K::works(
            "comment",
            ANY,
            "tcp-check comment <text>",
            "what a failure in the next steps is reported with",
            |proxy, args| {
                let step = comment(args).map(CheckStep::Comment);
                proxy.own.tcp_check.extend(step);
            },
        ),
        K::works(
            "set-var(",
            ANY,
            "tcp-check set-var(<name>) <expression>",
            "a variable of the check",
            |proxy, args| {
                let step = set_var(proxy, args);
                proxy.own.tcp_check.extend(step);
            },
        ),
        K::works(
            "set-var-fmt(",
            ANY,
            "tcp-check set-var-fmt(<name>) <format>",
            "a variable of the check",
            |proxy, args| {
                let step = set_var_fmt(proxy, args);
                proxy.own.tcp_check.extend(step);
            },
        ),
        K::works(
            "unset-var(",
            ANY,
            "tcp-check unset-var(<name>)",
            "forgets a variable of the check",
            |proxy, args| {
                let step = variable(args).map(CheckStep::UnsetVar);
                proxy.own.tcp_check.extend(step);
            },
        ),
    ];
    Table::new("tcp-check rule", &[KEYWORDS])
});

impl CheckDraft {
    /// Takes the steps of a section; they replace those that were inherited.
    pub(super) fn take(&mut self, http: &mut Vec<CheckStep>, tcp: &mut Vec<CheckStep>) {
        let sends = http.iter().any(|step| matches!(step, CheckStep::Request(_)));
        if sends && !self.request_is_own {
            // A section that says what is sent does not add to what it inherits.
            self.request = None;
        }
        self.request_is_own = false;
        for (own, steps) in [(http, &mut self.http), (tcp, &mut self.tcp)] {
            if !own.is_empty() {
                *steps = Some(Rc::new(std::mem::take(own)));
                self.script = None;
            }
        }
        if self.script.is_none() {
            self.script = self.build().map(Arc::new);
        }
    }

    pub(super) fn method(&self) -> CheckMethod {
        self.script.clone().map_or(CheckMethod::Connect, CheckMethod::Script)
    }

    pub(super) fn is_http(&self) -> bool {
        self.method == Method::Http
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.method == Method::Tcp
    }

    /// Whether the first connection goes to a port of its own.
    pub(super) fn has_port(&self) -> bool {
        let first =
            self.script.iter().flat_map(|script| &script.steps).find_map(|step| match step {
                CheckStep::Connect(connect) => Some(connect),
                _ => None,
            });
        first.is_some_and(|connect| connect.port.is_some())
    }

    fn build(&self) -> Option<Script> {
        let (protocol, steps) = match self.method {
            Method::Connect => return None,
            Method::Http => (CheckProtocol::Http, self.http_steps()),
            Method::Tcp => (CheckProtocol::Tcp, self.tcp.as_deref().cloned().unwrap_or_default()),
            Method::Preset(_) => (CheckProtocol::Preset, self.preset.as_deref()?.clone()),
        };
        let steps = connected(steps);
        let (disable_on_404, send_state) = (self.disable_on_404, self.send_state);
        Some(Script { protocol, steps, disable_on_404, send_state })
    }

    /// The steps of a check by HTTP: those that are written, with the request of `option httpchk` where none of them
    /// sends one after a connection of its own.
    fn http_steps(&self) -> Vec<CheckStep> {
        let written = self.http.as_deref().map_or(&[][..], |steps| steps);
        let own_request = match self.request.as_deref() {
            Some(request) => request.clone(),
            None => CheckRequest::default(),
        };
        let first_action = written.iter().find(|step| {
            matches!(step, CheckStep::Connect(_) | CheckStep::Request(_) | CheckStep::Expect(_))
        });
        let mut steps = written.to_vec();
        match first_action {
            // A complete script.
            Some(CheckStep::Connect(_)) => {}
            // Adds to the request of the option.
            Some(CheckStep::Request(_)) => {
                if let Some(CheckStep::Request(request)) =
                    steps.iter_mut().find(|step| matches!(step, CheckStep::Request(_)))
                {
                    request.complete(&own_request);
                }
            }
            _ => {
                let at = steps
                    .iter()
                    .position(|step| matches!(step, CheckStep::Expect(_)))
                    .unwrap_or(steps.len());
                steps.insert(at, CheckStep::Request(Box::new(own_request)));
            }
        }
        for step in &mut steps {
            if let CheckStep::Request(request) = step {
                request.complete(&CheckRequest::default());
            }
        }
        if !steps.iter().any(|step| matches!(step, CheckStep::Expect(_))) {
            steps.push(CheckStep::Expect(Box::new(CheckExpect::of(Expected::Status(Box::new([
                (200, 399),
            ]))))));
        }
        steps
    }
}

/// With a connection before anything is sent or awaited.
fn connected(mut steps: Vec<CheckStep>) -> Vec<CheckStep> {
    let acts = |step: &&CheckStep| {
        matches!(
            step,
            CheckStep::Connect(_)
                | CheckStep::Send { .. }
                | CheckStep::Request(_)
                | CheckStep::Expect(_)
        )
    };
    if !matches!(steps.iter().find(acts), Some(CheckStep::Connect(_))) {
        let connect = CheckConnect { implicit: true, ..CheckConnect::default() };
        steps.insert(0, CheckStep::Connect(connect));
    }
    steps
}

/// Chooses a method, or takes it back; returns whether it is now chosen.
fn chooses(proxy: &mut ProxyContext, args: &mut Args<'_>, method: Method) -> bool {
    if !proxy.has_side(args, BACK) {
        return false;
    }
    let check = &mut proxy.draft.check;
    check.script = None;
    match args.modifier() {
        Modifier::None => check.method = method,
        Modifier::No | Modifier::Default if check.method == method => {
            check.method = Method::Connect
        }
        Modifier::No | Modifier::Default => {}
    }
    value(args)
}

/// Reads what follows `option httpchk`.
fn httpchk(args: &mut Args<'_>) -> CheckRequest {
    let mut words = args.rest().into_iter();
    let mut request = CheckRequest::default();
    let (Some(first), second) = (words.next(), words.next()) else { return request };
    let uri = match second {
        None => first,
        Some(uri) => {
            request.method = first.bytes.into();
            uri
        }
    };
    request.uri = CheckText::Fixed(uri.bytes.into());
    let Some(version) = words.next() else { return request };
    // Old configurations smuggle headers behind the version: `HTTP/1.1\r\nHost:\ www`.
    let rest: Vec<u8> = std::iter::once(version)
        .chain(words)
        .map(|token| token.bytes.to_vec())
        .collect::<Vec<_>>()
        .join(&b' ');
    let text = String::from_utf8_lossy(&rest).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    if text.contains("\r\n") {
        let title = "headers hidden behind the version".to_owned();
        let help = "write them with `http-check send hdr <name> <format>`";
        args.warn(version.at, ProxyMistake::Says { title, help }.into());
    }
    let mut lines = head.split("\r\n");
    request.version = lines.next().unwrap_or_default().as_bytes().into();
    for line in lines.filter(|line| !line.is_empty()) {
        match line.split_once(':') {
            Some((name, value)) => {
                let format = Arc::new(LogFormat::constant(value.trim().as_bytes()));
                request.headers.push((name.trim().as_bytes().into(), format));
            }
            None => args.bad(version, "header", "`name: value`"),
        }
    }
    if !body.is_empty() {
        request.body = Some(CheckText::Fixed(body.as_bytes().into()));
    }
    request
}

/// Reads what follows `connect`.
fn connect(proxy: &mut ProxyContext, args: &mut Args<'_>) -> Option<CheckStep> {
    let mut connect = CheckConnect::default();
    while let Some(token) = args.next_if_any() {
        match token.text {
            "default" => {}
            "linger" => connect.linger = true,
            "comment" => connect.comment = comment(args),
            "port" => {
                let port = args.peek()?;
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
            "send-proxy" | "via-socks4" | "ssl" => {
                let keyword = format!("{} {}", args.keyword_text(), token.text);
                args.report(token.at, ConfigErrorKind::NotYet { keyword, guards_access: false });
            }
            "sni" | "alpn" | "proto" => {
                args.next("a value")?;
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

/// Reads what follows `http-check send`.
fn http_send(proxy: &mut ProxyContext, args: &mut Args<'_>) -> Option<CheckStep> {
    let mut request = CheckRequest::default();
    while let Some(token) = args.next_if_any() {
        match token.text {
            "meth" => request.method = args.next("a method")?.bytes.into(),
            "uri" => request.uri = CheckText::Fixed(args.next("a URI")?.bytes.into()),
            "uri-lf" => request.uri = CheckText::Format(format(proxy, args)?),
            "ver" => request.version = args.next("a version such as `HTTP/1.1`")?.bytes.into(),
            "hdr" => {
                let name = args.next("a header name")?;
                let value = format(proxy, args)?;
                // The sender's to add.
                if !name.text.eq_ignore_ascii_case("content-length")
                    && !name.text.eq_ignore_ascii_case("transfer-encoding")
                {
                    request.headers.push((name.bytes.into(), value));
                }
            }
            "body" => request.body = Some(CheckText::Fixed(args.next("a body")?.bytes.into())),
            "body-lf" => request.body = Some(CheckText::Format(format(proxy, args)?)),
            "comment" => request.comment = comment(args),
            other => {
                let known = ["meth", "uri", "uri-lf", "ver", "hdr", "body", "body-lf", "comment"];
                args.fail(token.at, ConfigErrorKind::unknown("word", other, known));
                return None;
            }
        }
    }
    Some(CheckStep::Request(Box::new(request)))
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

/// Reads what follows `expect`.
fn expect(
    proxy: &mut ProxyContext,
    args: &mut Args<'_>,
    protocol: CheckProtocol,
) -> Option<CheckStep> {
    let mut expect = CheckExpect::of(Expected::Status(Box::default()));
    while expect_option(&mut expect, proxy, args)? {}
    let mut token = args.next("what to expect")?;
    while token.text == "!" {
        expect.negated = !expect.negated;
        token = args.next("what to expect")?;
    }
    let word = token.text.trim_start_matches('!');
    expect.negated ^= (token.text.len() - word.len()) % 2 == 1;
    expect.what = expected(proxy, args, word, token, protocol)?;
    // Options may also stand behind the pattern.
    while expect_option(&mut expect, proxy, args)? {}
    Some(CheckStep::Expect(Box::new(expect)))
}

/// Reads one option of an `expect`; `false` when the next word is none.
fn expect_option(
    expect: &mut CheckExpect,
    proxy: &mut ProxyContext,
    args: &mut Args<'_>,
) -> Option<bool> {
    use CheckStatus as C;
    let named = |status: C| (status.name(), status);
    let ok = [C::L7Ok, C::L7OkConditional, C::L6Ok, C::L4Ok].map(named);
    let error =
        [C::L7OkConditional, C::L7Response, C::L7Status, C::L6Response, C::L4Connection].map(named);
    let late = [C::L7Timeout, C::L6Timeout, C::L4Timeout].map(named);
    if args.accept("min-recv") {
        let number = args.integer("number of bytes", -1..=i32::MAX)?;
        expect.min_recv = usize::try_from(number).ok();
    } else if args.accept("comment") {
        expect.comment = comment(args);
    } else if args.accept("ok-status") {
        expect.ok_status = Some(args.one_of("status of a check", &ok)?);
    } else if args.accept("error-status") {
        expect.error_status = Some(args.one_of("status of a check", &error)?);
    } else if args.accept("tout-status") {
        expect.tout_status = Some(args.one_of("status of a check", &late)?);
    } else if args.accept("on-success") {
        expect.on_success = Some(format(proxy, args)?);
    } else if args.accept("on-error") {
        expect.on_error = Some(format(proxy, args)?);
    } else if args.accept("status-code") {
        expect.status_code = Some(Arc::new(proxy.scoped(args, Place::Check, Expr::parse)?));
    } else {
        return Some(false);
    }
    Some(true)
}

fn expected(
    proxy: &mut ProxyContext,
    args: &mut Args<'_>,
    word: &str,
    at: Token<'_>,
    protocol: CheckProtocol,
) -> Option<Expected> {
    let http = protocol == CheckProtocol::Http;
    let known: &[&str] = match protocol {
        CheckProtocol::Http => {
            &["status", "rstatus", "string", "rstring", "string-lf", "hdr", "fhdr"]
        }
        _ => &["string", "rstring", "string-lf", "binary", "rbinary", "binary-lf"],
    };
    if !known.contains(&word) {
        args.fail(
            at.at,
            ConfigErrorKind::unknown("kind of expectation", word, known.iter().copied()),
        );
        return None;
    }
    Some(match word {
        "status" => Expected::Status(statuses(args)?),
        "rstatus" => Expected::StatusRegex(regex(args, false)?),
        "string" => Expected::Contains(CheckText::Fixed(args.next("a text")?.bytes.into())),
        "rstring" => Expected::Regex(regex(args, false)?),
        "string-lf" => Expected::Contains(CheckText::Format(format(proxy, args)?)),
        "binary" => {
            let token = args.next("hexadecimal digits")?;
            Expected::Contains(CheckText::Binary(hex(args, token)?))
        }
        "rbinary" => Expected::HexRegex(regex(args, false)?),
        "binary-lf" => Expected::Contains(CheckText::HexFormat(format(proxy, args)?)),
        full if http => header(proxy, args, full == "fhdr")?,
        _ => return None,
    })
}

/// Reads `{ name | name-lf } [-m M] TEXT [{ value | value-lf } [-m M] TEXT]`.
fn header(proxy: &mut ProxyContext, args: &mut Args<'_>, full: bool) -> Option<Expected> {
    let mut part = |args: &mut Args<'_>, plain: &'static str, lf: &'static str| {
        let as_format = args.is(lf);
        if !as_format && !args.is(plain) {
            return None;
        }
        args.next_if_any();
        let method = if args.accept("-m") {
            args.one_of(
                "match method",
                &[("str", 's'), ("beg", 'b'), ("end", 'e'), ("sub", 'u'), ("reg", 'r')],
            )?
        } else {
            's'
        };
        if method == 'r' {
            // Names have no case.
            return regex(args, plain == "name").map(HeaderPart::Regex);
        }
        let text = if as_format {
            CheckText::Format(format(proxy, args)?)
        } else {
            CheckText::Fixed(args.next("a text")?.bytes.into())
        };
        Some(match method {
            'b' => HeaderPart::Begin(text),
            'e' => HeaderPart::End(text),
            'u' => HeaderPart::Contains(text),
            _ => HeaderPart::Exact(text),
        })
    };
    let name = part(args, "name", "name-lf");
    if name.is_none() && !args.failed() {
        args.missing("`name <text>`");
    }
    let name = name?;
    let value = part(args, "value", "value-lf");
    if args.failed() {
        return None;
    }
    // What stands behind both says whether values are compared whole.
    let full = full || args.accept("full");
    Some(Expected::Header { name, value, full })
}

/// Reads `200-299,301`.
fn statuses(args: &mut Args<'_>) -> Option<Box<[(u16, u16)]>> {
    const EXPECTED: &str = "statuses such as `200-399,401`";
    let token = args.next(EXPECTED)?;
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some((first, last))
    };
    let ranges: Option<Vec<(u16, u16)>> = token.text.split(',').map(range).collect();
    if ranges.is_none() {
        args.bad(token, "status", EXPECTED);
    }
    ranges.map(Vec::into_boxed_slice)
}

fn regex(args: &mut Args<'_>, ignore_case: bool) -> Option<regex::bytes::Regex> {
    let token = args.next("a regular expression")?;
    match crate::expr::regex::compile(token.bytes, ignore_case) {
        Ok(regex) => Some(regex),
        Err(error) => {
            args.bad(token, "regular expression", error.to_string());
            None
        }
    }
}

fn hex(args: &mut Args<'_>, token: Token<'_>) -> Option<Box<[u8]>> {
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

fn format(proxy: &mut ProxyContext, args: &mut Args<'_>) -> Option<Arc<LogFormat>> {
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

fn comment(args: &mut Args<'_>) -> Option<Box<str>> {
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
