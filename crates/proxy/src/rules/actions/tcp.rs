//! The actions of `tcp-request` and `tcp-response`.

use telamon_config::Keyword;

use super::{ANY, Chosen, FRONT, NICE, T, log_level};
use crate::rules::{
    AddressEdit, AddressField, Capture, CounterEdit, LookUp, TcpAction, Track, VariableEdit,
};

pub(super) const TCP_TRACKS: &[T] = &tracks!(TcpAction);
pub(super) const TCP_COUNTERS: &[T] = &counters!(TcpAction);

/// What every TCP rule set takes.
pub(super) const TCP_ACTIONS: &[T] = &[
    action!("accept", "accept", "ends the rule set", |_, _| Some(TcpAction::Accept)),
    action!("reject", "reject", "closes the connection", |_, _| Some(TcpAction::Reject)),
    action!(
        "set-var(",
        "set-var(<name>[,<condition>...]) <sample>",
        "sets a variable",
        |args, scope| VariableEdit::read(args, scope).map(TcpAction::Variable)
    ),
    action!(
        "set-var-fmt(",
        "set-var-fmt(<name>[,<condition>...]) <format>",
        "sets a variable to a text",
        |args, scope| VariableEdit::read(args, scope).map(TcpAction::Variable)
    ),
    action!(
        "silent-drop",
        "silent-drop",
        "forgets the connection without telling the client",
        |_, _| Some(TcpAction::SilentDrop)
    ),
    action!("unset-var(", "unset-var(<name>)", "removes a variable", |args, scope| {
        VariableEdit::read(args, scope).map(TcpAction::Variable)
    }),
];

pub(super) const ADDRESSES: &[T] = &[
    action!(
        "set-dst",
        "set-dst <sample>",
        "sets the address that the client connected to",
        |args, scope| AddressEdit::read(args, scope, AddressField::Destination)
            .map(TcpAction::Address)
    ),
    action!(
        "set-dst-port",
        "set-dst-port <sample>",
        "sets the port that the client connected to",
        |args, scope| AddressEdit::read(args, scope, AddressField::DestinationPort)
            .map(TcpAction::Address)
    ),
    action!("set-src", "set-src <sample>", "sets the client's address", |args, scope| {
        AddressEdit::read(args, scope, AddressField::Source).map(TcpAction::Address)
    }),
    action!("set-src-port", "set-src-port <sample>", "sets the client's port", |args, scope| {
        AddressEdit::read(args, scope, AddressField::SourcePort).map(TcpAction::Address)
    }),
];

pub(super) const CONTENT_ACTIONS: &[T] = &[
    action!(
        "capture",
        FRONT,
        "capture <sample> len <bytes>",
        "keeps a sample for the log",
        |args, scope| Capture::read(args, scope).map(TcpAction::Capture)
    ),
    action!(
        "do-resolve(",
        "do-resolve(<var>,<resolvers>[,ipv4|ipv6]) <sample>",
        "asks name servers for a host's address while the request waits",
        |args, scope| LookUp::read(args, scope).map(TcpAction::LookUp)
    ),
];

/// Of the log line.
pub(super) const LOGGING: &[T] = &[
    action!(
        "set-log-level",
        "set-log-level <level>",
        "sets the severity of the log line",
        |args, _| log_level(args).map(TcpAction::SetLogLevel)
    ),
    T::no_effect("set-nice", ANY, NICE),
];

pub(super) const TCP_RESPONSE_ACTIONS: &[T] =
    &[action!("close", "close", "closes the connection to the server", |_, _| Some(
        TcpAction::Close
    ))];

pub(super) const TCP_PLANNED: &[T] = &[T::not_yet("set-mark", ANY), T::not_yet("set-tos", ANY)];

pub(super) const CONNECTION_ACTIONS: &[T] = &[action!(
    "expect-proxy",
    FRONT,
    "expect-proxy layer4",
    "the connection begins with the PROXY protocol's header",
    |args, _| {
        args.one_of("layer", &[("layer4", ())])?;
        Some(TcpAction::ExpectProxy)
    }
)];

pub(super) const CONNECTION_PLANNED: &[T] = &[T::not_yet_guard("expect-netscaler-cip", ANY)];

pub(super) const CONTENT_PLANNED: &[T] = &[
    T::not_yet("ot-group", ANY),
    T::not_yet_guard("send-spoe-group", ANY),
    T::not_yet("set-priority-class", ANY),
    T::not_yet("set-priority-offset", ANY),
    T::not_yet_guard("switch-mode", ANY),
    T::not_yet_guard("use-service", ANY),
];

pub(super) const TCP_RESPONSE_PLANNED: &[T] =
    &[T::not_yet("ot-group", ANY), T::not_yet_guard("send-spoe-group", ANY)];
