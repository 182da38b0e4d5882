//! Fetches that need no traffic: constants, variables, the process.

use std::borrow::Cow;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Fetch, one};
use crate::expr::args::{ArgError, Param};
use crate::expr::patterns::parse_hex;
use crate::expr::{Arg, ParseScope, Source, Value, ValueType};
use crate::stream::Context;

pub(super) const TABLE: &[Fetch] = &[
    one("always_false", ValueType::Bool, Source::Constant, |_, _| Some(Value::Bool(false))),
    one("always_true", ValueType::Bool, Source::Constant, |_, _| Some(Value::Bool(true))),
    one("bin", ValueType::Bin, Source::Constant, |_, args| Some(Value::bin(args[0].text()?)))
        .with(&[Param::Str], 1)
        .checked(check_bin),
    one("bool", ValueType::Bool, Source::Constant, |_, args| {
        Some(Value::Bool(args[0].int()? != 0))
    })
    .with(&[Param::Str], 1)
    .checked(check_bool),
    one("date", ValueType::Int, Source::Constant, date)
        .with(&[Param::Int, Param::Str], 0)
        .checked(check_date),
    one("date_us", ValueType::Int, Source::Constant, |_, _| {
        Some(Value::Int(since_epoch().subsec_micros().into()))
    }),
    one("env", ValueType::Str, Source::Constant, |_, args| Some(Value::str(args[0].text()?)))
        .with(&[Param::Str], 1)
        .checked(check_env),
    one("hostname", ValueType::Str, Source::Constant, |_, _| {
        let name = rustix::system::uname().nodename().to_bytes().to_vec();
        Some(Value::Str(Cow::Owned(name)))
    }),
    one("int", ValueType::Int, Source::Constant, |_, args| Some(Value::Int(args[0].int()?)))
        .with(&[Param::Int], 1),
    one("ipv4", ValueType::Addr, Source::Constant, constant_address).with(&[Param::Ipv4], 1),
    one("ipv6", ValueType::Addr, Source::Constant, constant_address).with(&[Param::Ipv6], 1),
    one("meth", ValueType::Method, Source::Constant, |_, args| {
        Some(Value::Method(Cow::Borrowed(args[0].text()?)))
    })
    .with(&[Param::Str], 1),
    one("nbproc", ValueType::Int, Source::Constant, |_, _| Some(Value::Int(1))),
    one("proc", ValueType::Int, Source::Constant, |_, _| Some(Value::Int(1))),
    one("rand", ValueType::Int, Source::Constant, rand).with(&[Param::Int], 0),
    one("str", ValueType::Str, Source::Constant, |_, args| Some(Value::str(args[0].text()?)))
        .with(&[Param::Str], 1),
    one("uuid", ValueType::Str, Source::Constant, |_, _| {
        Some(Value::Str(Cow::Owned(uuid().into_bytes())))
    })
    .with(&[Param::Int], 0)
    .checked(check_uuid),
    one("var", ValueType::Any, Source::Constant, variable).with(&[Param::Variable, Param::Str], 1),
];

fn constant_address<'a>(_: &Context<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    match args[0] {
        Arg::Addr(address) => Some(Value::Addr(address)),
        _ => None,
    }
}

fn variable<'a>(cx: &Context<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let Arg::Variable(name) = &args[0] else { return None };
    name.get(cx).or_else(|| args[1].text().map(Value::str))
}

fn date<'a>(_: &Context<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let now = since_epoch();
    let now = match args[1].int() {
        None | Some(1) => now.as_secs() as i64,
        Some(1_000) => now.as_millis() as i64,
        Some(_) => now.as_micros() as i64,
    };
    // The offset counts in the unit that is returned.
    Some(Value::Int(now.saturating_add(args[0].int().unwrap_or(0))))
}

fn rand<'a>(_: &Context<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let random = random() >> 32;
    Some(Value::Int(match args[0].int() {
        // Scaled rather than divided, so that every value is as likely as any other.
        Some(below) => ((random as u128 * below.max(0) as u128) >> 32) as i64,
        None => random as i64,
    }))
}

fn check_bin(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    let Some(bytes) = args[0].text().and_then(parse_hex) else {
        return Err(ArgError::bad(0, &args[0], "an even number of hexadecimal digits"));
    };
    args[0] = Arg::Str(bytes.into());
    Ok(())
}

fn check_bool(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    let on = match args[0].text() {
        Some(b"true" | b"1") => true,
        Some(b"false" | b"0") => false,
        _ => return Err(ArgError::bad(0, &args[0], "true, false, 1 or 0")),
    };
    args[0] = Arg::Int(on.into());
    Ok(())
}

/// Replaces a unit of time by how many of them a second has.
pub(crate) fn check_unit(args: &mut [Arg], index: usize) -> Result<(), ArgError> {
    args[index] = Arg::Int(match args[index].text() {
        None => return Ok(()),
        Some(b"s") => 1,
        Some(b"ms") => 1_000,
        Some(b"us") => 1_000_000,
        Some(_) => return Err(ArgError::bad(index, &args[index], "s, ms or us")),
    });
    Ok(())
}

fn check_date(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    check_unit(args, 1)
}

/// The environment is read when the configuration is.
fn check_env(args: &mut [Arg], scope: &mut ParseScope<'_>) -> Result<(), ArgError> {
    let value = args[0].text().and_then(|name| scope.environment.get(name));
    args[0] = value.map_or(Arg::Absent, |value| Arg::Str(value.into()));
    Ok(())
}

fn check_uuid(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match args[0].int() {
        None | Some(4) => Ok(()),
        Some(_) => Err(ArgError::bad(0, &args[0], "4, the only version there is")),
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A random UUID (RFC 9562, 5.4).
fn uuid() -> String {
    let (high, low) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff,
    )
}

/// 64 random bits (splitmix64), seeded by the system once per thread. Not for secrets.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let z = (next ^ next >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    })
}
