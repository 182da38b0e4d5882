//! `set-src`, `set-src-port`, `set-dst`, `set-dst-port`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use telamon_config::Args;
use telamon_runtime::Endpoint;

use super::actions::typed_sample;
use crate::expr::{Expr, ParseScope, Place, Value, ValueType};
use crate::stream::{Context, Direction, Session, Stream};

/// Which part of which address is set, and to what.
#[derive(Debug)]
pub struct AddressEdit {
    pub field: AddressField,
    pub value: Expr,
    /// It stands among the rules of the connection, whose own addresses it sets.
    pub of_connection: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressField {
    Source,
    SourcePort,
    Destination,
    DestinationPort,
}

impl AddressEdit {
    /// Reads `SAMPLE`.
    pub(super) fn read(
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
        field: AddressField,
    ) -> Option<Self> {
        let of_connection = scope.place == Place::TcpRequestConnection;
        Some(Self { field, value: typed_sample(args, scope, field.value_type())?, of_connection })
    }

    /// Sets it for the session. An absent sample leaves it.
    pub(crate) fn apply(&self, cx: &Context<'_>) {
        if let (Some(session), Some(value)) = (cx.session, self.eval(cx)) {
            self.store(session, value);
        }
    }

    /// Sets it until the request is over.
    pub(crate) fn apply_to_request(&self, stream: &mut Stream, direction: Direction) {
        let wants_more = std::cell::Cell::new(false);
        let value = self.eval(&Context::for_stream(stream, direction, &wants_more));
        if let Some(value) = value.map(Value::into_owned) {
            let session = &stream.session;
            stream.session_addresses.get_or_insert_with(|| {
                Box::new((session.src.borrow().clone(), session.dst.borrow().clone()))
            });
            self.store(session, value);
        }
    }

    fn eval<'a>(&'a self, cx: &Context<'a>) -> Option<Value<'a>> {
        self.value.eval_as(cx, self.field.value_type())
    }

    fn store(&self, session: &Session, value: Value<'_>) {
        if !self.of_connection {
            session.keep_connection_addresses();
        }
        let endpoint = match self.field {
            AddressField::Source | AddressField::SourcePort => &session.src,
            AddressField::Destination | AddressField::DestinationPort => &session.dst,
        };
        let old = endpoint.borrow().inet();
        let new = match value {
            // The port is kept where there is one.
            Value::Addr(ip) => SocketAddr::new(ip, old.map_or(0, |old| old.port())),
            Value::Int(port) => {
                let ip = old.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |old| old.ip());
                SocketAddr::new(ip, port as u16)
            }
            _ => return,
        };
        *endpoint.borrow_mut() = Endpoint::Inet(new);
    }
}

impl AddressField {
    /// The type that its value is cast to.
    pub(crate) fn value_type(self) -> ValueType {
        match self {
            Self::Source | Self::Destination => ValueType::Addr,
            Self::SourcePort | Self::DestinationPort => ValueType::Int,
        }
    }
}
