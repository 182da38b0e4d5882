//! Addresses and messages of binary protocols: FIX, MQTT.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Arg, Converter, Param, Value, ValueType, converter};
use crate::expr::ParseScope;
use crate::expr::args::ArgError;
use crate::stream::Context;

mod fix;
mod mqtt;

pub(super) const TABLE: &[Converter] = &[
    converter("fix_is_valid", ValueType::Bin, ValueType::Bool, |cx, _, value| {
        verdict(cx, fix::validate(value.as_bytes()?))
    }),
    converter("fix_tag_value", ValueType::Bin, ValueType::Bin, |cx, args, value| {
        let tag = args[0].int()?;
        match fix::value_of(value.as_bytes()?, tag as u32) {
            Found::Value(bytes) => Some(Value::Bin(bytes.to_vec().into())),
            Found::Incomplete => wait(cx),
            Found::Nothing => None,
        }
    })
    .with(&[Param::Str], 1)
    .checked(check_tag),
    converter("ipmask", ValueType::Addr, ValueType::Addr, ipmask)
        .with(&[Param::Mask4, Param::Mask6], 1),
    converter("mqtt_field_value", ValueType::Bin, ValueType::Str, |cx, args, value| {
        let (Arg::Int(packet), Arg::Int(field)) = (&args[0], &args[1]) else { return None };
        match mqtt::field(value.as_bytes()?, *packet as u8, *field as u8) {
            Found::Value(text) => Some(Value::Str(text.into())),
            Found::Incomplete => wait(cx),
            Found::Nothing => None,
        }
    })
    .with(&[Param::Str, Param::Str], 2)
    .checked(check_field),
    converter("mqtt_is_valid", ValueType::Bin, ValueType::Bool, |cx, _, value| {
        verdict(cx, mqtt::validate(value.as_bytes()?))
    }),
];

/// What came of looking at a message.
#[derive(Debug, PartialEq, Eq)]
enum Found<T> {
    Value(T),
    Nothing,
    Incomplete,
}

fn verdict<'a>(cx: &Context<'_>, found: Found<()>) -> Option<Value<'a>> {
    match found {
        Found::Value(()) => Some(Value::Bool(true)),
        Found::Nothing => Some(Value::Bool(false)),
        Found::Incomplete => wait(cx),
    }
}

/// There is no answer yet. Where no more will come, the fetch has already said so.
fn wait<T>(cx: &Context<'_>) -> Option<T> {
    let complete = cx.stream.is_none_or(|stream| match cx.direction {
        crate::stream::Direction::Request => stream.request_input_complete,
        crate::stream::Direction::Response => stream.response_input_complete,
    });
    if !complete {
        cx.wants_more.set(true);
    }
    None
}

fn check_tag(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match args[0].text().and_then(fix::tag) {
        Some(tag) => {
            args[0] = Arg::Int(tag.into());
            Ok(())
        }
        None => Err(ArgError::bad(0, &args[0], "the number or name of a FIX tag")),
    }
}

fn check_field(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    let Some(packet) = args[0].text().and_then(mqtt::packet) else {
        return Err(ArgError::bad(0, &args[0], "connect or connack"));
    };
    let Some(field) = args[1].text().and_then(mqtt::field_number) else {
        return Err(ArgError::bad(1, &args[1], "a field's name or a property's number"));
    };
    args[0] = Arg::Int(packet.into());
    args[1] = Arg::Int(field.into());
    Ok(())
}

/// Keeps the bits of a mask; an IPv6 address that is a mapped IPv4 one becomes that first.
fn ipmask<'a>(_: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let Value::Addr(address) = value else { return None };
    let v4 = match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    };
    Some(Value::Addr(match (v4, address, &args[0], &args[1]) {
        (Some(address), _, Arg::Addr(IpAddr::V4(mask)), _) => {
            Ipv4Addr::from_bits(address.to_bits() & mask.to_bits()).into()
        }
        (None, IpAddr::V6(address), _, Arg::Addr(IpAddr::V6(mask))) => {
            Ipv6Addr::from_bits(address.to_bits() & mask.to_bits()).into()
        }
        _ => return None,
    }))
}
