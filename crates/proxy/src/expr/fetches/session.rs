//! Fetches of the client's connection, and of the frontend, backend and server that serve it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use telamon_runtime::Endpoint;

use super::{Fetch, one};
use crate::expr::{Arg, Source, Value, ValueType};
use crate::model::{Proxy, Server};
use crate::stream::Context;

pub(super) const TABLE: &[Fetch] = &[
    one("bc_dst", ValueType::Addr, Source::ServerAddress, |cx, _| {
        address(inet(cx.stream?.log.server_address.as_ref()?)?)
    }),
    one("bc_dst_port", ValueType::Int, Source::ServerAddress, |cx, _| {
        port(inet(cx.stream?.log.server_address.as_ref()?)?)
    }),
    // Servers are spoken to in HTTP/1.
    one("bc_http_major", ValueType::Int, Source::ServerAddress, |cx, _| {
        cx.stream?.log.server_address.as_ref().map(|_| Value::Int(1))
    }),
    one("bc_src", ValueType::Addr, Source::ServerAddress, |cx, _| {
        address(inet(cx.stream?.log.server_source.as_ref()?)?)
    }),
    one("bc_src_port", ValueType::Int, Source::ServerAddress, |cx, _| {
        port(inet(cx.stream?.log.server_source.as_ref()?)?)
    }),
    one("be_id", ValueType::Int, Source::Backend, |cx, _| {
        Some(Value::Int(backend(cx)?.number.into()))
    }),
    one("be_name", ValueType::Str, Source::Backend, |cx, _| {
        Some(Value::str(backend(cx)?.name.as_bytes()))
    }),
    one("be_server_timeout", ValueType::Int, Source::Backend, |cx, _| {
        millis(backend(cx)?.timeouts.server)
    }),
    one("be_tunnel_timeout", ValueType::Int, Source::Backend, |cx, _| {
        millis(backend(cx)?.timeouts.tunnel)
    }),
    one("cur_server_timeout", ValueType::Int, Source::Backend, |cx, _| {
        millis(cx.stream?.server_timeout.or(backend(cx)?.timeouts.server))
    }),
    one("cur_tunnel_timeout", ValueType::Int, Source::Backend, |cx, _| {
        millis(cx.stream?.tunnel_timeout.or(backend(cx)?.timeouts.tunnel))
    }),
    one("dst", ValueType::Addr, Source::ClientAddress, |cx, _| address(dst(cx)?)),
    one("dst_port", ValueType::Int, Source::ClientAddress, |cx, _| port(dst(cx)?)),
    one("fc_dst", ValueType::Addr, Source::ClientAddress, |cx, _| address(fc_dst(cx)?)),
    one("fc_dst_port", ValueType::Int, Source::ClientAddress, |cx, _| port(fc_dst(cx)?)),
    one("fc_http_major", ValueType::Int, Source::ClientAddress, http_major),
    one("fc_pp_authority", ValueType::Str, Source::ClientAddress, |cx, _| {
        Some(Value::str(cx.session?.root().proxy_header.get()?.authority.as_deref()?))
    }),
    one("fc_pp_unique_id", ValueType::Str, Source::ClientAddress, |cx, _| {
        Some(Value::str(cx.session?.root().proxy_header.get()?.unique_id.as_deref()?))
    }),
    one("fc_rcvd_proxy", ValueType::Bool, Source::ClientAddress, |cx, _| {
        Some(Value::Bool(cx.session?.root().proxy_header.get().is_some()))
    }),
    one("fc_src", ValueType::Addr, Source::ClientAddress, |cx, _| address(fc_src(cx)?)),
    one("fc_src_port", ValueType::Int, Source::ClientAddress, |cx, _| port(fc_src(cx)?)),
    one("fe_client_timeout", ValueType::Int, Source::Frontend, |cx, _| {
        millis(frontend(cx)?.timeouts.client)
    }),
    one("fe_defbe", ValueType::Str, Source::Frontend, |cx, _| {
        let default = frontend(cx)?.frontend.as_ref()?.default_backend?;
        Some(Value::str(cx.model.proxies.get(default.0 as usize)?.name.as_bytes()))
    }),
    one("fe_id", ValueType::Int, Source::Frontend, |cx, _| {
        Some(Value::Int(frontend(cx)?.number.into()))
    }),
    one("fe_name", ValueType::Str, Source::Frontend, |cx, _| {
        Some(Value::str(frontend(cx)?.name.as_bytes()))
    }),
    one("http_first_req", ValueType::Bool, Source::Request, |cx, _| {
        Some(Value::Bool(cx.stream?.first_request))
    }),
    one("last_rule_file", ValueType::Str, Source::Internal, |cx, _| {
        Some(Value::str(cx.model.files.get(&cx.stream?.last_rule?.file)?.as_bytes()))
    }),
    one("last_rule_line", ValueType::Int, Source::Internal, |cx, _| {
        Some(Value::Int(cx.stream?.last_rule?.line.into()))
    }),
    one("so_id", ValueType::Int, Source::Listener, |cx, _| {
        Some(Value::Int(cx.session?.listener.number.into()))
    }),
    one("so_name", ValueType::Str, Source::Listener, |cx, _| {
        Some(Value::str(cx.session?.listener.name.as_bytes()))
    }),
    one("src", ValueType::Addr, Source::ClientAddress, |cx, _| address(src(cx)?)),
    one("src_port", ValueType::Int, Source::ClientAddress, |cx, _| port(src(cx)?)),
    one("srv_id", ValueType::Int, Source::Server, |cx, _| {
        Some(Value::Int(server(cx)?.number.into()))
    }),
    one("srv_name", ValueType::Str, Source::Server, |cx, _| {
        Some(Value::str(server(cx)?.name.as_bytes()))
    }),
    one("stopping", ValueType::Bool, Source::Internal, |cx, _| {
        Some(Value::Bool(cx.session?.worker.shared.stopping.load(Relaxed)))
    }),
    one("thread", ValueType::Int, Source::ClientAddress, |cx, _| {
        Some(Value::Int(cx.session?.worker.index() as i64))
    }),
    one("unique-id", ValueType::Str, Source::Frontend, unique_id),
];

/// The client's address.
pub(crate) fn src(cx: &Context<'_>) -> Option<SocketAddr> {
    inet(&cx.session?.src.borrow())
}

fn dst(cx: &Context<'_>) -> Option<SocketAddr> {
    inet(&cx.session?.dst.borrow())
}

/// The addresses of the connection, before rules of the session or of a request set others.
fn fc_src(cx: &Context<'_>) -> Option<SocketAddr> {
    inet(&cx.session?.of_connection(|(src, _)| src))
}

fn fc_dst(cx: &Context<'_>) -> Option<SocketAddr> {
    inet(&cx.session?.of_connection(|(_, dst)| dst))
}

/// The address, IPv4 where IPv6 only wraps it.
fn inet(endpoint: &Endpoint) -> Option<SocketAddr> {
    endpoint.inet().map(|inet| SocketAddr::new(inet.ip().to_canonical(), inet.port()))
}

fn address<'a>(inet: SocketAddr) -> Option<Value<'a>> {
    Some(Value::Addr(inet.ip()))
}

fn port<'a>(inet: SocketAddr) -> Option<Value<'a>> {
    Some(Value::Int(inet.port().into()))
}

fn millis<'a>(timeout: Option<Duration>) -> Option<Value<'a>> {
    Some(Value::Int(timeout?.as_millis() as i64))
}

fn frontend<'a>(cx: &Context<'a>) -> Option<&'a Proxy> {
    let id =
        cx.stream.map(|stream| stream.frontend).or(cx.session.map(|session| session.frontend))?;
    cx.model.proxies.get(id.0 as usize)
}

fn backend<'a>(cx: &Context<'a>) -> Option<&'a Proxy> {
    let id = cx.stream.map(|stream| stream.backend).or(cx.check.map(|check| check.backend))?;
    cx.model.proxies.get(id.0 as usize)
}

fn server<'a>(cx: &Context<'a>) -> Option<&'a Server> {
    let id = match cx.check {
        Some(check) => check.server,
        None => cx.stream?.server?,
    };
    backend(cx)?.backend.as_ref()?.servers.get(id.0 as usize)
}

fn http_major<'a>(cx: &Context<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    use telamon_http_proto::Version;
    let version = cx.stream.map_or(Version::Http11, |stream| stream.request.version());
    Some(Value::Int(match version {
        Version::Http10 | Version::Http11 => 1,
        Version::Http2 => 2,
        Version::Http3 => 3,
    }))
}

/// Made when it is first asked for, and the same from then on.
fn unique_id<'a>(cx: &Context<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    let stream = cx.stream?;
    frontend(cx)?.unique_id_format.as_ref()?;
    Some(Value::str(crate::log::unique_id(stream)))
}
