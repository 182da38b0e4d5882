//! Frontends: pausing and stopping them, and their limits.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use telamon_runtime::api::{Answer, Invocation, Level as Access};

use super::{Row, done, row};
use crate::log::Level;
use crate::model::Proxy;
use crate::snapshot::Snapshot;
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["disable", "frontend"],
        Access::Admin,
        "<frontend>",
        "temporarily disable specific frontend",
        disable,
    ),
    row(
        &["enable", "frontend"],
        Access::Admin,
        "<frontend>",
        "re-enable specific frontend",
        enable,
    ),
    row(
        &["shutdown", "frontend"],
        Access::Admin,
        "<frontend>",
        "stop a specific frontend",
        shutdown,
    ),
    row(
        &["set", "maxconn", "frontend"],
        Access::Admin,
        "<frontend> <value>",
        "change a frontend's maxconn setting",
        set_maxconn,
    ),
    row(
        &["set", "maxconn", "global"],
        Access::Admin,
        "<value>",
        "change the per-process maxconn setting",
        set_global_maxconn,
    ),
    row(
        &["set", "rate-limit"],
        Access::Admin,
        "<setting> <value>",
        "change a rate limiting value",
        set_rate_limit,
    ),
];

/// The frontend that a command names.
struct Named(Arc<Snapshot>, crate::model::ProxyId);

impl Named {
    fn parse(view: &View, call: &Invocation<'_>) -> Result<Self, String> {
        let name = call.args.first().ok_or("A frontend name is expected.\n")?;
        let snapshot = view.snapshot();
        let id = snapshot.model.frontend(name).ok_or("No such frontend.\n")?;
        Ok(Self(snapshot, id))
    }

    fn proxy(&self) -> &Proxy {
        self.0.model.proxy(self.1)
    }
}

fn disable(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let named = Named::parse(view, call)?;
    let state = &named.proxy().state.frontend;
    if state.stopped.load(Relaxed) {
        return Err("Frontend was previously shut down, cannot disable.\n".to_owned());
    }
    if state.paused.swap(true, Relaxed) {
        return Err("All sockets are already disabled.\n".to_owned());
    }
    tell("Paused", named.proxy());
    Ok(hold(view, &named))
}

fn enable(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let named = Named::parse(view, call)?;
    let state = &named.proxy().state.frontend;
    if state.stopped.load(Relaxed) {
        return Err("Frontend was previously shut down, cannot enable.\n".to_owned());
    }
    if !state.paused.swap(false, Relaxed) {
        return Err("All sockets are already enabled.\n".to_owned());
    }
    tell("Resumed", named.proxy());
    let peers = view.peers.clone();
    let name = Arc::clone(&named.proxy().name);
    Ok(Answer::Later(Box::pin(async move {
        peers.broadcast(move |worker| worker.resume(&name)).await;
        String::new()
    })))
}

fn shutdown(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let named = Named::parse(view, call)?;
    if named.proxy().state.frontend.stopped.swap(true, Relaxed) {
        return Err("Frontend was already shut down.\n".to_owned());
    }
    crate::plane::tell_stopped(named.proxy());
    Ok(hold(view, &named))
}

/// Says what became of it, as HAProxy does: a `listen` section is a proxy.
pub(crate) fn tell(what: &str, proxy: &Proxy) {
    let kind = if proxy.backend.is_some() { "proxy" } else { "frontend" };
    let text = format!("{what} {kind} {}.", proxy.name);
    crate::log::warning(format_args!("{text}"));
    crate::log::send(Level::Warning, proxy, &text);
}

/// Lets no worker accept for it; answers once none does.
fn hold(view: &View, named: &Named) -> Answer {
    let peers = view.peers.clone();
    let name = Arc::clone(&named.proxy().name);
    Answer::Later(Box::pin(async move {
        peers.broadcast(move |worker| worker.hold(&name)).await;
        String::new()
    }))
}

fn set_maxconn(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let named = Named::parse(view, call)?;
    let limit = call.args.get(1).ok_or("Integer value expected.\n")?;
    let limit: i64 = limit.parse().map_err(|_| "Integer value expected.\n")?;
    let limit = u32::try_from(limit).map_err(|_| "Value out of range.\n")?;
    named.proxy().state.frontend.limit.set_max(limit);
    done()
}

fn set_rate_limit(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let limits = &view.shared.rate_limits;
    let word = |at: usize| call.args.get(at).map_or("", |word| word.as_ref());
    let (limit, unit) = match (word(0), word(1)) {
        ("connections", "global") => (&limits.connections, 1),
        ("sessions", "global") => (&limits.sessions, 1),
        ("ssl-sessions", "global") => (&limits.tls_sessions, 1),
        ("http-compression", "global") => (&limits.compression, 1024),
        _ => return Err(RATE_LIMITS.to_owned()),
    };
    let value: i64 = word(2).parse().map_err(|_| "Expects an integer value.\n")?;
    let value = u32::try_from(value).ok().and_then(|value| value.checked_mul(unit));
    limit.store(value.ok_or("Value out of range.\n")?, Relaxed);
    done()
}

fn set_global_maxconn(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let limit = call.args.first().ok_or("Expects an integer value.\n")?;
    let limit: i64 = limit.parse().map_err(|_| "Expects an integer value.\n")?;
    let most = view.shared.connections_max.load(Relaxed);
    // Nothing and less is what the process was started with.
    let limit = if limit <= 0 { most } else { u32::try_from(limit).unwrap_or(u32::MAX) };
    if limit > most {
        return Err("Value out of range.\n".to_owned());
    }
    view.shared.connections.set_max(limit);
    done()
}

/// The answer to `set rate-limit` for anything else.
const RATE_LIMITS: &str = "\
'set rate-limit' only supports :
   - 'connections global' to set the per-process maximum connection rate
   - 'sessions global' to set the per-process maximum session rate
   - 'ssl-sessions global' to set the per-process maximum SSL session rate
   - 'http-compression global' to set the per-process maximum compression speed in kB/s
";
