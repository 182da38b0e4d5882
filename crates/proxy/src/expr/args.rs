//! The arguments of fetches and converters: `name(a,"b c",'d')`.

use std::net::IpAddr;
use std::sync::Arc;

use ::regex::bytes::Regex;
use telamon_config::ConfigErrorKind;

use super::network::{parse_mask, parse_mask6};
use super::patterns::Match;
use super::{ExprError, Matcher, ParseScope, SetConditions, ValueType};
use crate::model::{ProxyId, ServerId, TableId, Userlist};
use crate::rules::VariableName;

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Param {
    Str,
    Int,
    Ipv4,
    Ipv6,
    /// An IPv4 mask: octets or bits.
    Mask4,
    Mask6,
    /// `scope.name`.
    Variable,
    /// A number, or a variable that holds one.
    Operand,
    Frontend,
    Backend,
    /// `backend/server`, or a server of the proxy itself.
    Server,
    Userlist,
    /// A stick table; where one is required, that of the section itself unless named.
    Table,
}

/// An argument, read and resolved.
#[derive(Debug, Clone)]
pub enum Arg {
    Absent,
    Str(Box<[u8]>),
    Int(i64),
    Addr(IpAddr),
    Regex(Box<Regex>),
    Variable(VariableName),
    SetVariable(VariableName, SetConditions),
    Proxy(ProxyId),
    Server(ProxyId, ServerId),
    Userlist(Arc<Userlist>),
    Table(TableId),
    Map(Arc<Matcher>, ValueType),
    /// What a map gives when nothing matches.
    Default(super::Value<'static>),
}

/// What is known of the fetch or converter whose arguments are read.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Param],
    pub(crate) required: usize,
    pub(crate) check: Option<Check>,
}

/// Checks arguments further and gives them their final form; says which argument is wrong.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    With(CheckFn),
    /// Loads a map that is compared in this way and gives values of this type.
    Map(Match, ValueType),
}

pub(crate) type CheckFn = fn(&mut [Arg], &mut ParseScope<'_>) -> Result<(), ArgError>;

#[derive(Debug)]
pub(crate) struct ArgError {
    pub(crate) index: usize,
    pub(crate) kind: ConfigErrorKind,
}

impl Arg {
    /// The text of a string argument.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            _ => None,
        }
    }
}

impl ArgError {
    /// The argument is not what was expected.
    pub(crate) fn bad(index: usize, arg: &Arg, expected: impl Into<String>) -> Self {
        let found = match arg {
            Arg::Str(text) => String::from_utf8_lossy(text).into_owned(),
            Arg::Int(n) => n.to_string(),
            _ => String::new(),
        };
        let kind = ConfigErrorKind::BadValue {
            what: "argument".into(),
            found,
            expected: expected.into().into(),
        };
        Self { index, kind }
    }
}

/// Reads the arguments at `at`, where the name ends, if any; returns them and where they end.
pub(crate) fn parse(
    spec: &Spec,
    text: &[u8],
    at: usize,
    scope: &mut ParseScope<'_>,
) -> Result<(Box<[Arg]>, usize), ExprError> {
    let mut raw: Vec<(Vec<u8>, usize, usize)> = Vec::new();
    let mut end = at;
    let given = text.get(at) == Some(&b'(');
    if given {
        end = split(text, at + 1, &mut raw)?;
    }
    // `name()` has one empty argument where one is required, else none.
    if raw.len() == 1 && raw[0].0.is_empty() && spec.required == 0 {
        raw.clear();
    }
    // Without a name it is about the proxy that it stands in.
    if raw.is_empty() && matches!(spec.params.first(), Some(Param::Frontend | Param::Backend)) {
        raw.push((Vec::new(), at.saturating_sub(spec.name.len()), end));
    }
    if raw.is_empty() && spec.required == 1 && spec.params.first() == Some(&Param::Table) {
        raw.push((Vec::new(), at.saturating_sub(spec.name.len()), end));
    }
    if raw.len() > spec.params.len() {
        let (_, start, _) = raw[spec.params.len()];
        let kind = match spec.params.len() {
            0 => ConfigErrorKind::BadValue {
                what: "argument".into(),
                found: String::from_utf8_lossy(&raw[0].0).into_owned(),
                expected: format!("none: {} takes no argument", spec.name).into(),
            },
            max => ConfigErrorKind::BadValue {
                what: "arguments".into(),
                found: raw.len().to_string(),
                expected: format!("at most {max} for {}", spec.name).into(),
            },
        };
        let stop = raw.last().map_or(end, |(_, _, stop)| *stop);
        return Err(ExprError { at: start..stop, kind });
    }
    if raw.len() < spec.required {
        let kind = ConfigErrorKind::BadValue {
            what: "arguments".into(),
            found: raw.len().to_string(),
            expected: format!("at least {} for {}", spec.required, spec.name).into(),
        };
        return Err(ExprError { at: at..end.max(at + 1).min(text.len().max(at + 1)), kind });
    }
    let mut args = Vec::with_capacity(spec.params.len());
    for (index, param) in spec.params.iter().enumerate() {
        args.push(match raw.get(index) {
            None => Arg::Absent,
            Some((value, start, stop)) => read(spec.name, *param, value, scope)
                .map_err(|kind| ExprError { at: *start..*stop, kind })?,
        });
    }
    if let Some(check) = spec.check {
        let checked = match check {
            Check::With(check) => check(&mut args, scope),
            Check::Map(method, output) => {
                super::converters::load_map(&mut args, scope, method, output)
            }
        };
        checked.map_err(|error| {
            let at =
                raw.get(error.index).map_or(at..end.max(at + 1), |(_, start, stop)| *start..*stop);
            ExprError { at, kind: error.kind }
        })?;
    }
    Ok((args.into(), end))
}

/// Splits at commas up to the closing parenthesis; quotes and backslashes are resolved. Returns
/// where it ends.
fn split(
    text: &[u8],
    mut at: usize,
    out: &mut Vec<(Vec<u8>, usize, usize)>,
) -> Result<usize, ExprError> {
    let opened = at - 1;
    let mut quote: Option<u8> = None;
    let mut value = Vec::new();
    let mut start = at;
    while let Some(&byte) = text.get(at) {
        match (byte, quote) {
            (b'"' | b'\'', None) => quote = Some(byte),
            (byte, Some(open)) if byte == open => quote = None,
            (b'\\', quote) if quote != Some(b'\'') && at + 1 < text.len() => {
                let escaped = text[at + 1];
                match escaped {
                    b'\\' | b' ' | b'"' | b'\'' => value.push(escaped),
                    b'r' => value.push(b'\r'),
                    b'n' => value.push(b'\n'),
                    b't' => value.push(b'\t'),
                    // A lone backslash stays.
                    _ => value.extend([b'\\', escaped]),
                }
                at += 1;
            }
            (b',', None) => {
                out.push((std::mem::take(&mut value), start, at));
                start = at + 1;
            }
            (b')', None) => {
                out.push((value, start, at));
                return Ok(at + 1);
            }
            (byte, _) => value.push(byte),
        }
        at += 1;
    }
    let kind = match quote {
        Some(quote) => ConfigErrorKind::UnclosedQuote { quote: quote as char },
        None => ConfigErrorKind::Missing { what: "')'".into(), after: lossy(&text[opened..]) },
    };
    Err(ExprError { at: opened..text.len(), kind })
}

fn read(
    name: &str,
    param: Param,
    value: &[u8],
    scope: &ParseScope<'_>,
) -> Result<Arg, ConfigErrorKind> {
    let bad = |expected: &str| ConfigErrorKind::BadValue {
        what: "argument".into(),
        found: lossy(value),
        expected: expected.to_owned().into(),
    };
    let text = std::str::from_utf8(value);
    let named = || text.map_err(|_| bad("a name"));
    Ok(match param {
        Param::Str => Arg::Str(value.into()),
        Param::Int => {
            let n = text.ok().and_then(|text| text.parse().ok());
            Arg::Int(n.ok_or_else(|| bad("a number"))?)
        }
        Param::Ipv4 => {
            let ip = text.ok().and_then(|text| text.parse().ok()).map(IpAddr::V4);
            Arg::Addr(ip.ok_or_else(|| bad("an IPv4 address"))?)
        }
        Param::Ipv6 => {
            let ip = text.ok().and_then(|text| text.parse().ok()).map(IpAddr::V6);
            Arg::Addr(ip.ok_or_else(|| bad("an IPv6 address"))?)
        }
        Param::Mask4 => {
            let mask = text.ok().and_then(parse_mask).ok_or_else(|| bad("an IPv4 mask"))?;
            Arg::Addr(mask.into())
        }
        Param::Mask6 => {
            let mask = text.ok().and_then(parse_mask6).ok_or_else(|| bad("an IPv6 mask"))?;
            Arg::Addr(mask.into())
        }
        Param::Variable => Arg::Variable(variable(value)?),
        Param::Operand => match text.ok().and_then(|text| text.parse().ok()) {
            Some(n) => Arg::Int(n),
            None => Arg::Variable(
                VariableName::parse(value)
                    .map_err(|_| bad("a number, or the name of a variable with its scope"))?,
            ),
        },
        Param::Frontend if value.is_empty() => own_proxy(name, scope, "frontend", scope.frontend)?,
        Param::Backend if value.is_empty() => own_proxy(name, scope, "backend", scope.backend)?,
        Param::Frontend => Arg::Proxy(scope.directory.frontend(named()?)?),
        Param::Backend => Arg::Proxy(scope.directory.backend(named()?)?),
        Param::Server => {
            let (backend, server) = match named()?.split_once('/') {
                Some((backend, server)) => (scope.directory.backend(backend)?, server),
                None => match scope.proxy {
                    Some(proxy) => (proxy, named()?),
                    None => return Err(bad("backend/server")),
                },
            };
            Arg::Server(backend, scope.directory.server(backend, server)?)
        }
        Param::Table if value.is_empty() => Arg::Table(scope.own_table(name)?),
        Param::Table => Arg::Table(scope.directory.table(named()?)?),
        Param::Userlist => Arg::Userlist(scope.directory.userlist(named()?)?),
    })
}

/// Reads the name of a variable.
pub(crate) fn variable(value: &[u8]) -> Result<VariableName, ConfigErrorKind> {
    VariableName::parse(value).map_err(|_| ConfigErrorKind::BadValue {
        what: "variable".into(),
        found: lossy(value),
        expected: "a scope (proc, sess, txn, req, res, check), a dot, and a name of letters, digits, '_' and '.'"
            .into(),
    })
}

fn own_proxy(
    name: &str,
    scope: &ParseScope<'_>,
    what: &'static str,
    is_one: bool,
) -> Result<Arg, ConfigErrorKind> {
    match scope.proxy {
        Some(proxy) if is_one => Ok(Arg::Proxy(proxy)),
        // In `defaults` it is whichever proxy the line is used in.
        None if !matches!(scope.place, super::Place::Configuration | super::Place::Socket) => {
            Ok(Arg::Absent)
        }
        _ => Err(ConfigErrorKind::Missing {
            what: format!("the name of a {what}").into(),
            after: name.to_owned(),
        }),
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
