//! Sample expressions: one typed engine for ACLs, rules, log formats and `%[…]`.
//!
//! An [`Expr`] is a fetch (`req.hdr(host)`) and converters (`,lower,field(1,:)`), type-checked when the configuration
//! is loaded; [`Expr::eval`] reads a [`Context`](crate::stream::Context) and gives a [`Value`] that borrows from it
//! where it can. Tables in `expr/fetches/` and `expr/converters/` say what exists; each row has its name, its
//! arguments, its type, where it may be used, and the function that does it.

use std::borrow::Cow;
use std::net::IpAddr;

/// A sample: what a fetch found or a converter made.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Addr(IpAddr),
    /// Text; any bytes.
    Str(Cow<'a, [u8]>),
    /// Bytes that are shown in hexadecimal where text is expected.
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
