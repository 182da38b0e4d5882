//! Fetches of how things stand: servers up, connections, queues, rates.

use telamon_balance::{Load, MemberId, RateCounter};

use super::{Fetch, one};
use crate::expr::args::Param;
use crate::expr::{Arg, Source, Value, ValueType};
use crate::model::{Backend, Proxy, Server, ServerId};
use crate::stream::Context;

const BACKEND: &[Param] = &[Param::Backend];
const FRONTEND: &[Param] = &[Param::Frontend];
const SERVER: &[Param] = &[Param::Server];

/// A row of a number.
macro_rules! number {
    ($name:literal, $read:expr) => {
        one($name, ValueType::Int, Source::Internal, |cx, args| {
            let read: fn(&Context<'_>, &[Arg]) -> Option<i64> = $read;
            read(cx, args).map(Value::Int)
        })
    };
}

pub(super) const TABLE: &[Fetch] = &[
    number!("avg_queue", |cx, args| {
        let backend = backend(cx, args)?;
        let (queued, usable) = (backend.pool.waiting(), usable(backend));
        Some(if usable > 0 { queued.div_ceil(usable) } else { queued * 2 }.into())
    })
    .with(BACKEND, 1),
    number!("be_conn", |cx, args| Some(backend(cx, args)?.pool.load().current().into()))
        .with(BACKEND, 1),
    number!("be_conn_free", |cx, args| {
        let backend = backend(cx, args)?;
        let regular = backend.servers.iter().any(|s| takes_new(s) && !s.state.member.is_backup());
        let usable =
            backend.servers.iter().enumerate().filter(|(_, server)| {
                takes_new(server) && server.state.member.is_backup() != regular
            });
        sum(usable.map(|(index, _)| free(backend, ServerId(index as u32))))
    })
    .with(BACKEND, 1),
    number!("be_sess_rate", |cx, args| { rate(cx, &back(cx, args)?.state.backend.session_rate) })
        .with(BACKEND, 1),
    number!("connslots", |cx, args| {
        let up = backend(cx, args)?.servers.iter().filter(|s| s.state.member.is_reachable());
        sum(up.map(|server| {
            let limits = server.state.member.limits();
            let load = load(server);
            // Without a limit there is no number of slots.
            let room =
                |limit: u32, used: u32| (limit > 0).then(|| i64::from(limit) - i64::from(used));
            Some(room(limits.maxconn, load.current())? + room(limits.maxqueue, load.queued())?)
        }))
    })
    .with(BACKEND, 1),
    one("dst_conn", ValueType::Int, Source::Frontend, |cx, _| {
        Some(Value::Int(cx.session?.listener.state.load.current().into()))
    }),
    number!("fe_conn", |cx, args| Some(frontend(cx, args)?.state.frontend.load.current().into()))
        .with(FRONTEND, 1),
    number!("fe_req_rate", |cx, args| rate(cx, &frontend(cx, args)?.state.frontend.request_rate))
        .with(FRONTEND, 1),
    number!("fe_sess_rate", |cx, args| rate(cx, &frontend(cx, args)?.state.frontend.session_rate))
        .with(FRONTEND, 1),
    number!("nbsrv", |cx, args| Some(usable(backend(cx, args)?).into())).with(BACKEND, 1),
    number!("queue", |cx, args| Some(backend(cx, args)?.pool.waiting().into())).with(BACKEND, 1),
    number!("srv_conn", |cx, args| Some(load(server(cx, args)?).current().into())).with(SERVER, 1),
    number!("srv_conn_free", |cx, args| {
        let Arg::Server(proxy, id) = args[0] else { return None };
        let backend = cx.model.proxies.get(proxy.0 as usize)?.backend.as_ref()?;
        Some(free(backend, id).unwrap_or(-1))
    })
    .with(SERVER, 1),
    one("srv_is_up", ValueType::Bool, Source::Internal, |cx, args| {
        Some(Value::Bool(server(cx, args)?.state.member.is_reachable()))
    })
    .with(SERVER, 1),
    number!("srv_iweight", |cx, args| Some(server(cx, args)?.state.member.weight_initial().into()))
        .with(SERVER, 1),
    number!("srv_queue", |cx, args| Some(load(server(cx, args)?).queued().into())).with(SERVER, 1),
    number!("srv_sess_rate", |cx, args| rate(cx, &server(cx, args)?.state.member.rate))
        .with(SERVER, 1),
    number!("srv_uweight", |cx, args| Some(server(cx, args)?.state.member.weight().into()))
        .with(SERVER, 1),
    number!("srv_weight", |cx, args| {
        let member = &server(cx, args)?.state.member;
        Some(if member.effective_weight() > 0 { member.warm_weight() } else { 0 }.into())
    })
    .with(SERVER, 1),
];

/// How many servers can be used: the regular ones, else the backups.
pub(crate) fn usable(backend: &Backend) -> u32 {
    match backend.pool.usable() {
        (0, backups) => backups,
        (regular, _) => regular,
    }
}

/// What a server's connections and queue are counted in.
pub(crate) fn load(server: &Server) -> &Load {
    &server.state.member.load
}

fn takes_new(server: &Server) -> bool {
    server.state.member.status().takes_new()
}

/// Connections that a server may still take; `None` without a limit.
fn free(backend: &Backend, id: ServerId) -> Option<i64> {
    let limit = backend.pool.limit(MemberId(id.0))?;
    let current = load(backend.servers.get(id.0 as usize)?).current();
    Some(limit.saturating_sub(current).into())
}

/// The sum, or -1 where one has no limit.
fn sum(mut each: impl Iterator<Item = Option<i64>>) -> Option<i64> {
    Some(each.try_fold(0, |sum, n| Some(sum + n?)).unwrap_or(-1))
}

fn rate(cx: &Context<'_>, counter: &RateCounter) -> Option<i64> {
    Some(counter.rate(cx.session?.worker.now_ms() as u32).into())
}

/// The frontend that is named, else that of the traffic.
fn frontend<'a>(cx: &Context<'a>, args: &[Arg]) -> Option<&'a Proxy> {
    named(cx, args).or_else(|| cx.model.proxies.get(cx.session?.frontend.0 as usize))
}

/// The proxy of the backend that is named, else of that of the traffic.
fn back<'a>(cx: &Context<'a>, args: &[Arg]) -> Option<&'a Proxy> {
    named(cx, args).or_else(|| cx.model.proxies.get(cx.stream?.backend.0 as usize))
}

fn named<'a>(cx: &Context<'a>, args: &[Arg]) -> Option<&'a Proxy> {
    match args[0] {
        Arg::Proxy(id) => cx.model.proxies.get(id.0 as usize),
        _ => None,
    }
}

fn backend<'a>(cx: &Context<'a>, args: &[Arg]) -> Option<&'a Backend> {
    back(cx, args)?.backend.as_ref()
}

fn server<'a>(cx: &Context<'a>, args: &[Arg]) -> Option<&'a Server> {
    let Arg::Server(proxy, id) = args[0] else { return None };
    let backend = cx.model.proxies.get(proxy.0 as usize)?.backend.as_ref()?;
    backend.servers.get(id.0 as usize)
}
