//! Values and their casts.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A sample: what a fetch found or a converter made.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Addr(IpAddr),
    /// Text; any bytes.
    Str(Cow<'a, [u8]>),
    /// A block of bytes; as text it ends at the first NUL.
    Bin(Cow<'a, [u8]>),
    /// An HTTP method.
    Method(Cow<'a, [u8]>),
}

/// The type of a [`Value`], known at load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// Known only at run time (`var()`).
    Any,
    Bool,
    Int,
    Addr,
    Str,
    Bin,
    Method,
}

impl<'a> Value<'a> {
    /// Text that is borrowed.
    pub fn str(text: &'a [u8]) -> Self {
        Self::Str(Cow::Borrowed(text))
    }

    /// Bytes that are borrowed.
    pub fn bin(bytes: &'a [u8]) -> Self {
        Self::Bin(Cow::Borrowed(bytes))
    }

    pub fn type_of(&self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::Int(_) => ValueType::Int,
            Self::Addr(_) => ValueType::Addr,
            Self::Str(_) => ValueType::Str,
            Self::Bin(_) => ValueType::Bin,
            Self::Method(_) => ValueType::Method,
        }
    }

    /// Turns the value into `to` by HAProxy's casts; `None` where there is none, or where the text
    /// does not say a value of that type.
    pub fn cast(self, to: ValueType) -> Option<Self> {
        Some(match (self, to) {
            (value, ValueType::Any) => value,
            (value, to) if value.type_of() == to => value,
            (Self::Bool(on), ValueType::Int) => Self::Int(on.into()),
            (Self::Bool(on), ValueType::Str) => Self::str(if on { b"1" } else { b"0" }),
            (Self::Bool(on), ValueType::Bin) => {
                Self::Bin(Cow::Owned(u64::from(on).to_be_bytes().to_vec()))
            }
            (Self::Int(n), ValueType::Bool) => Self::Bool(n != 0),
            (Self::Int(n), ValueType::Addr) => Self::Addr(Ipv4Addr::from_bits(n as u32).into()),
            (Self::Int(n), ValueType::Str) => Self::Str(Cow::Owned(n.to_string().into_bytes())),
            (Self::Int(n), ValueType::Bin) => Self::Bin(Cow::Owned(n.to_be_bytes().to_vec())),
            (Self::Addr(IpAddr::V4(ip)), ValueType::Int) => Self::Int(ip.to_bits().into()),
            (Self::Addr(ip), ValueType::Str) => {
                Self::Str(Cow::Owned(AddrText(ip).to_string().into_bytes()))
            }
            (Self::Addr(IpAddr::V4(ip)), ValueType::Bin) => {
                Self::Bin(Cow::Owned(ip.octets().to_vec()))
            }
            (Self::Addr(IpAddr::V6(ip)), ValueType::Bin) => {
                Self::Bin(Cow::Owned(ip.octets().to_vec()))
            }
            (Self::Str(text), ValueType::Int) if !text.is_empty() => {
                Self::Int(parse_int_lenient(&text).0)
            }
            (Self::Str(text), ValueType::Bool) if !text.is_empty() => {
                Self::Bool(parse_int_lenient(&text).0 != 0)
            }
            (Self::Str(text), ValueType::Addr) => Self::Addr(parse_ip(&text)?),
            (Self::Str(text), ValueType::Bin) => Self::Bin(text),
            (Self::Str(text) | Self::Bin(text), ValueType::Method) => Self::Method(text),
            (Self::Bin(bytes), ValueType::Str) => Self::Str(until_nul(bytes)),
            (Self::Method(method), ValueType::Str) => Self::Str(method),
            (Self::Method(method), ValueType::Bin) => Self::Bin(method),
            _ => return None,
        })
    }

    /// Appends the value as text, as logs and headers show it; `false` when it has no text.
    pub fn write_text(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Bool(on) => out.push(if *on { b'1' } else { b'0' }),
            Self::Str(text) | Self::Method(text) => out.extend_from_slice(text),
            Self::Bin(bytes) => {
                out.extend_from_slice(bytes.split(|&byte| byte == 0).next().unwrap_or_default());
            }
            // Writing to a vector cannot fail.
            Self::Int(n) => _ = write!(out, "{n}"),
            Self::Addr(ip) => _ = write!(out, "{}", AddrText(*ip)),
        }
        true
    }

    /// The bytes of text, blocks and methods; `None` for the rest.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Str(bytes) | Self::Bin(bytes) | Self::Method(bytes) => Some(bytes),
            Self::Bool(_) | Self::Int(_) | Self::Addr(_) => None,
        }
    }

    /// The value with nothing borrowed, for variables.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Bool(on) => Value::Bool(on),
            Self::Int(n) => Value::Int(n),
            Self::Addr(ip) => Value::Addr(ip),
            Self::Str(text) => Value::Str(Cow::Owned(text.into_owned())),
            Self::Bin(bytes) => Value::Bin(Cow::Owned(bytes.into_owned())),
            Self::Method(method) => Value::Method(Cow::Owned(method.into_owned())),
        }
    }
}

impl ValueType {
    /// Whether [`Value::cast`] knows a way from one type to another.
    pub fn casts_to(self, to: Self) -> bool {
        match (self, to) {
            (Self::Any, _) | (_, Self::Any) => true,
            (from, to) if from == to => true,
            (Self::Bool, to) => matches!(to, Self::Int | Self::Str | Self::Bin),
            (Self::Int, to) => matches!(to, Self::Bool | Self::Addr | Self::Str | Self::Bin),
            (Self::Addr, to) => matches!(to, Self::Int | Self::Str | Self::Bin),
            (Self::Str, _) => true,
            (Self::Bin, to) => matches!(to, Self::Str | Self::Method),
            (Self::Method, to) => matches!(to, Self::Str | Self::Bin),
        }
    }

    /// The word for it in messages, and in the socket's answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Bool => "bool",
            Self::Int => "sint",
            Self::Addr => "addr",
            Self::Str => "str",
            Self::Bin => "bin",
            Self::Method => "meth",
        }
    }
}

/// Reads a number as HAProxy's casts do: an optional sign and the digits that follow, clamped to
/// 64 bits; 0 without digits. Also returns how many bytes were read.
pub fn parse_int_lenient(text: &[u8]) -> (i64, usize) {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative || text.first() == Some(&b'+'));
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut n: i64 = 0;
    for &digit in &text[start..start + digits] {
        let digit = i64::from(digit - b'0');
        n = n.saturating_mul(10);
        n = if negative { n.saturating_sub(digit) } else { n.saturating_add(digit) };
    }
    (n, start + digits)
}

/// Reads an address of either family, without port or brackets.
pub fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The IPv4 address inside a 6to4 (`2002:…`), compatible (`::a.b.c.d`) or mapped
/// (`::ffff:a.b.c.d`) IPv6 address.
pub(crate) fn v6_to_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = ip.to_bits();
    if bits >> 32 == 0 || bits >> 32 == 0xffff {
        Some(Ipv4Addr::from_bits(bits as u32))
    } else if bits >> 112 == 0x2002 {
        Some(Ipv4Addr::from_bits((bits >> 80) as u32))
    } else {
        None
    }
}

/// An address in the form that inet_ntop(3) gives.
pub(crate) struct AddrText(pub(crate) IpAddr);

impl fmt::Display for AddrText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // The C library also writes compatible addresses with dots.
            IpAddr::V6(ip) if ip.to_bits() >> 32 == 0 && ip.to_bits() >> 16 != 0 => {
                write!(f, "::{}", Ipv4Addr::from_bits(ip.to_bits() as u32))
            }
            ip => ip.fmt(f),
        }
    }
}

fn until_nul(bytes: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match memchr::memchr(0, &bytes) {
        None => bytes,
        Some(at) => match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..at]),
            Cow::Owned(mut bytes) => {
                bytes.truncate(at);
                Cow::Owned(bytes)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: Value<'_>, to: ValueType, expected: Option<Value<'_>>) {
        let known = from.type_of().casts_to(to);
        let got = from.cast(to);
        assert!(known || got.is_none(), "a cast that casts_to() does not know");
        assert_eq!(got, expected);
    }

    #[test]
    fn casts_are_those_of_haproxy() {
        check(Value::Bool(true), ValueType::Int, Some(Value::Int(1)));
        check(Value::Bool(true), ValueType::Addr, None);
        check(Value::Int(0), ValueType::Bool, Some(Value::Bool(false)));
        check(
            Value::Int(0x7f00_0001),
            ValueType::Addr,
            Some(Value::Addr(Ipv4Addr::LOCALHOST.into())),
        );
        check(Value::str(b"12x"), ValueType::Int, Some(Value::Int(12)));
        check(Value::str(b"-12"), ValueType::Int, Some(Value::Int(-12)));
        check(Value::str(b"x"), ValueType::Int, Some(Value::Int(0)));
        check(Value::str(b""), ValueType::Int, None);
        check(Value::str(b"99999999999999999999"), ValueType::Int, Some(Value::Int(i64::MAX)));
        check(Value::str(b"::1"), ValueType::Addr, Some(Value::Addr(Ipv6Addr::LOCALHOST.into())));
        check(Value::bin(b"ab\0c"), ValueType::Str, Some(Value::str(b"ab")));
        check(Value::bin(b"1"), ValueType::Int, None);
        check(Value::Addr(Ipv6Addr::LOCALHOST.into()), ValueType::Int, None);
        check(Value::Method(b"GET".into()), ValueType::Str, Some(Value::str(b"GET")));
    }
}
