//! What HAProxy logs of all servers on SIGHUP.

use telamon_balance::{Counter, Run};

use crate::log::{Level, notice, send};
use crate::model::Proxy;
use crate::snapshot::Snapshot;

/// Logs the state of each server and proxy, to the proxies' logs and to standard error.
pub fn log_server_states(snapshot: &Snapshot) {
    notice::warning(format_args!("SIGHUP received, dumping servers states."));
    for proxy in &snapshot.model.proxies {
        let name = &proxy.name;
        let line = format!("SIGHUP received, dumping servers states for proxy {name}.");
        send(Level::Notice, proxy, &line);
        for server in proxy.backend.iter().flat_map(|backend| &backend.servers) {
            let member = &server.state.member;
            let up = if member.status().run == Run::Stopped { "DOWN" } else { "UP" };
            let (load, name) = (&member.load, &server.name);
            say(
                proxy,
                &format!(
                    "SIGHUP: Server {}/{name} is {up}. Conn: {} act, {} pend, {} tot.",
                    proxy.name,
                    load.current(),
                    load.queued(),
                    load.total(),
                ),
            );
        }
        say(proxy, &summary(proxy));
    }
}

fn summary(proxy: &Proxy) -> String {
    let pool = proxy.backend.as_ref().filter(|b| !b.servers.is_empty()).map(|b| &b.pool);
    let servers = match pool.map(|pool| pool.usable()) {
        None => "has no servers.".to_owned(),
        Some((0, 0)) => "has no server available !".to_owned(),
        Some((0, _)) => "is running on backup servers !".to_owned(),
        Some((active, backup)) => {
            format!("has {active} active servers and {backup} backup servers available.")
        }
    };
    let state = &proxy.state;
    format!(
        "SIGHUP: Proxy {} {servers} Conn: act(FE+BE): {}+{}, {} pend ({} unass), tot(FE+BE): {}+{}.",
        proxy.name,
        state.frontend.load.current(),
        state.backend.load.current(),
        pool.map_or(0, |pool| pool.waiting()),
        pool.map_or(0, |pool| pool.load().queued()),
        state.frontend.counters.total(Counter::Connections),
        state.backend.counters.total(Counter::Sessions),
    )
}

fn say(proxy: &Proxy, line: &str) {
    notice::warning(format_args!("{line}"));
    send(Level::Notice, proxy, line);
}
