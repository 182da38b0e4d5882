//! Backends and servers by name.

use super::{Converter, Value, ValueType, converter};
use crate::expr::fetches::load::{load, usable};
use crate::model::{Backend, Model};

pub(super) const TABLE: &[Converter] = &[
    converter("nbsrv", ValueType::Str, ValueType::Int, |cx, _, value| {
        let name = std::str::from_utf8(value.as_bytes()?).ok()?;
        Some(Value::Int(usable(backend(cx.model, name)?).into()))
    }),
    // `backend/server`, or a server of the backend that the request is in.
    converter("srv_queue", ValueType::Str, ValueType::Int, |cx, _, value| {
        let name = std::str::from_utf8(value.as_bytes()?).ok()?;
        let (backend, name) = match name.split_once('/') {
            Some((backend_name, server)) => (backend(cx.model, backend_name)?, server),
            None => (cx.model.proxy(cx.stream?.backend).backend.as_ref()?, name),
        };
        let server = backend.servers.iter().find(|server| *server.name == *name)?;
        Some(Value::Int(load(server).queued().into()))
    }),
];

fn backend<'m>(model: &'m Model, name: &str) -> Option<&'m Backend> {
    model.proxy(model.backend(name)?).backend.as_ref()
}
