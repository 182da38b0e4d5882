//! Servers: `show servers state|conn`, `show backend`, `set server`, weights and maintenance.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use telamon_balance::health::Forced;
use telamon_balance::{Admin, AgentState, Run};
use telamon_dns_proto::{Name, NameError};
use telamon_runtime::Endpoint;
use telamon_runtime::api::{Answer, Invocation, Level};

use super::{Row, Target, backends, done, row, text};
use crate::check::CheckStatus;
use crate::model::{Proxy, Server, ServerAddress};
use crate::state::Address;
use crate::state_change::{self, Order};
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["show", "servers", "state"],
        Level::User,
        "[<backend>]",
        "dump volatile server information (all or for a single backend)",
        show_state,
    ),
    row(
        &["show", "servers", "conn"],
        Level::User,
        "[<backend>]",
        "dump server connections status (all or for a single backend)",
        show_connections,
    ),
    row(
        &["show", "backend"],
        Level::User,
        "",
        "list backends in the current running config",
        show_backends,
    ),
    row(
        &["set", "server"],
        Level::Admin,
        "<bk>/<srv> [opts]",
        "change a server's state, weight, address or ssl",
        set_server,
    ),
    row(
        &["get", "weight"],
        Level::User,
        "<bk>/<srv>",
        "report a server's current weight",
        get_weight,
    ),
    row(
        &["set", "weight"],
        Level::Admin,
        "<bk>/<srv>  (DEPRECATED)",
        "change a server's weight (use 'set server' instead)",
        |view, call| weight(view, &Target::parse(view, call.args.first())?, call.args.get(1)),
    ),
    row(
        &["set", "maxconn", "server"],
        Level::Admin,
        "<bk>/<srv>",
        "change a server's maxconn setting",
        set_maxconn,
    ),
    row(
        &["disable", "server"],
        Level::Admin,
        "(DEPRECATED)",
        "disable a server for maintenance (use 'set server' instead)",
        |view, call| order(view, call, Order::Maintenance),
    ),
    row(
        &["enable", "server"],
        Level::Admin,
        "(DEPRECATED)",
        "enable a disabled server (use 'set server' instead)",
        |view, call| order(view, call, Order::Ready),
    ),
    row(&["disable", "agent"], Level::Admin, "", "disable agent checks", |view, call| {
        Target::parse(view, call.args.first())?.set_agent(view, false);
        done()
    }),
    row(&["enable", "agent"], Level::Admin, "", "enable agent checks", |view, call| {
        let target = Target::parse(view, call.args.first())?;
        if target.server().agent.is_none() {
            return Err("Agent was not configured on this server, cannot enable.\n".to_owned());
        }
        target.set_agent(view, true);
        done()
    }),
    row(&["disable", "health"], Level::Admin, "", "disable health checks", |view, call| {
        Target::parse(view, call.args.first())?.set_checks(false);
        done()
    }),
    row(&["enable", "health"], Level::Admin, "", "enable health checks", |view, call| {
        let target = Target::parse(view, call.args.first())?;
        if target.server().check.is_none() {
            return Err(
                "Health check was not configured on this server, cannot enable.\n".to_owned()
            );
        }
        target.set_checks(true);
        done()
    }),
];

fn order(view: &View, call: &Invocation<'_>, order: Order) -> Result<Answer, String> {
    Target::parse(view, call.args.first())?.order(view, order);
    done()
}

fn show_state(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let snapshot = view.snapshot();
    let now_ms = view.shared.now_ms();
    let mut out = String::from(STATE_HEADER);
    for proxy in backends(&snapshot.model, call.args.first())? {
        for server in proxy.backend.iter().flat_map(|backend| &backend.servers) {
            write_state(proxy, server, now_ms, &mut out);
        }
    }
    text(out)
}

/// One line; a later process can be started from these (`load-server-state-from-file`).
fn write_state(proxy: &Proxy, server: &Server, now_ms: u64, out: &mut String) {
    let (state, member) = (&server.state, &server.state.member);
    let status = member.status();
    let (mut address, port) = place(&state.address());
    let lost = status.admin.has(Admin::MAINT_RESOLUTION);
    if lost && state.address().endpoint.ip().is_some_and(|ip| ip.is_unspecified()) {
        address = "-".to_owned();
    }
    let (check_status, result, in_progress) = {
        let report = state.check_report();
        (report.status, result_number(report.status), report.in_progress)
    };
    let maintenance = status.admin.in_maintenance();
    let check_state = match &server.check {
        // A server that was disabled from the start keeps the mark.
        None => u32::from(server.disabled) << 3,
        Some(_) => {
            let enabled = !state.checks_disabled.load(Relaxed);
            2 | u32::from(in_progress)
                | u32::from(enabled) << 2
                | u32::from(enabled && maintenance) << 3
        }
    };
    let health = match status.checks {
        Some(checks) => checks.health,
        // A server that goes down because the one it tracks did keeps its own count.
        None if status.agent == AgentState::Down && !maintenance => server.rise,
        None if status.run == Run::Stopped && (server.tracks.is_none() || maintenance) => 0,
        // One that began without an address has never been found up.
        None if server.unresolved => 0,
        None => server.rise,
    };
    let written = match &server.address {
        ServerAddress::Ip { host: Some(host), .. } => Some(host.to_string()),
        _ => None,
    };
    let now = state.host().map(|host| host.to_string());
    // A host that the line does not name: the socket's, or an SRV record's.
    let renamed = if state.renamed.load(Relaxed) { 64 } else { 0 };
    let host = now.or(written).unwrap_or_else(|| "-".to_owned());
    let service = server.resolution.as_ref().and_then(|resolution| resolution.service());
    let service = service.map_or_else(|| "-".to_owned(), |name| name.to_string());
    let check = server.check.as_ref();
    let set = state.check_target();
    let check_port = set.1.or(check.and_then(|check| check.port)).unwrap_or(0);
    let or_dash = |ip: Option<IpAddr>| ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string());
    let check_address = or_dash(set.0.or(check.and_then(|check| check.address)));
    let agent = agent_fields(server);
    _ = writeln!(
        out,
        "{} {} {} {} {address} {} {} {} {} {} {} {result} {health} {check_state} {} {} {} {host} \
         {port} {service} 0 {check_port} {check_address} {} {}",
        proxy.number,
        proxy.name,
        server.number,
        server.name,
        status.run as u8,
        admin_number(status.admin, server.disabled) | renamed,
        member.weight(),
        member.weight_initial(),
        now_ms.saturating_sub(member.last_change_ms()) / 1000,
        check_status.number(),
        agent.state,
        u8::from(proxy.has_own_number),
        u8::from(server.has_own_number),
        or_dash(agent.address),
        agent.port,
    );
}

/// What dumps of states have of an agent.
struct AgentFields {
    /// HAProxy's bits: 1 asked just now, 2 there is one, 4 switched on, 16 it is an agent.
    state: u32,
    address: Option<IpAddr>,
    port: u16,
}

fn agent_fields(server: &Server) -> AgentFields {
    let Some(agent) = &server.agent else {
        return AgentFields { state: 0, address: None, port: 0 };
    };
    let set = server.state.probing();
    AgentFields {
        state: 16
            | 2
            | u32::from(!set.agent_disabled) << 2
            | u32::from(set.agent_report.in_progress),
        address: set.agent_address.or(agent.address),
        port: set.agent_port.unwrap_or(agent.port),
    }
}

/// Address and port in state dumps; `-` and 0 where there is none.
fn place(address: &Address) -> (String, u16) {
    match &address.endpoint {
        Endpoint::Inet(inet) => (inet.ip().to_string(), inet.port()),
        _ => ("-".to_owned(), 0),
    }
}

/// The administrative flags with HAProxy's numbers; a server that the configuration disables keeps that mark.
fn admin_number(admin: Admin, disabled: bool) -> u32 {
    let flag = |flag: Admin, number: u32| if admin.has(flag) { number } else { 0 };
    flag(Admin::MAINT_FORCED.with(Admin::MAINT_CONFIGURED), 1)
        | flag(Admin::MAINT_INHERITED, 2)
        | if disabled { 4 } else { 0 }
        | flag(Admin::DRAIN_FORCED, 8)
        | flag(Admin::DRAIN_INHERITED, 16)
        | flag(Admin::MAINT_RESOLUTION, 32)
}

/// HAProxy's number of what a check's status means.
fn result_number(status: CheckStatus) -> u32 {
    match status {
        CheckStatus::Unknown | CheckStatus::Initializing => 0,
        CheckStatus::Checked => 1,
        CheckStatus::L4Ok | CheckStatus::L6Ok | CheckStatus::L7Ok | CheckStatus::ProcessOk => 3,
        CheckStatus::L7OkConditional => 4,
        _ => 2,
    }
}

/// `need_est`, an estimate of HAProxy's pools, does not exist here and is 0; `used_max` is since the start.
fn show_connections(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let snapshot = view.snapshot();
    let mut out = format!(
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb \
         safe_nb idle_lim idle_cur idle_per_thr[{}]\n",
        view.shared.workers
    );
    for proxy in backends(&snapshot.model, call.args.first())? {
        for server in proxy.backend.iter().flat_map(|backend| &backend.servers) {
            let (state, load) = (&server.state, &server.state.member.load);
            let (address, port) = place(&state.address());
            let counts: Vec<(u32, u32)> = state.idle_pool.counts().collect();
            let (idle, safe) = counts.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
            let limit = server.pool_max_conn.map_or(-1, i64::from);
            _ = write!(
                out,
                "{}/{} {}/{} {address} {port} - {} {} {} 0 {} {safe} {limit} {idle}",
                proxy.name,
                server.name,
                proxy.number,
                server.number,
                server.pool_purge_delay.as_millis(),
                load.current(),
                load.peak(),
                idle - safe,
            );
            counts.iter().for_each(|(idle, _)| _ = write!(out, " {idle}"));
            out.push('\n');
        }
    }
    text(out)
}

fn show_backends(view: &View, _: &Invocation<'_>) -> Result<Answer, String> {
    let snapshot = view.snapshot();
    let mut out = String::from("# name\n");
    backends(&snapshot.model, None)?.for_each(|proxy| _ = writeln!(out, "{}", proxy.name));
    text(out)
}

fn set_server(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let target = Target::parse(view, call.args.first())?;
    let value = call.args.get(2).copied();
    let refuse = |why: &str| Err(why.to_owned());
    match call.args.get(1).copied() {
        Some("weight") => return weight(view, &target, call.args.get(2)),
        Some("state") => match value {
            Some("ready") => target.order(view, Order::Ready),
            Some("drain") => target.order(view, Order::Drain),
            Some("maint") => target.order(view, Order::Maintenance),
            _ => {
                return refuse("'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n");
            }
        },
        Some("health") => {
            if target.server().tracks.is_some() {
                return refuse("cannot change health on a tracking server.\n");
            }
            let forced = match value {
                Some("up") => Forced::Up,
                Some("stopping") => Forced::Stopping,
                Some("down") => Forced::Down,
                _ => {
                    return refuse(
                        "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n",
                    );
                }
            };
            target.order(view, Order::Health(forced));
        }
        Some("addr") => return set_address(view, &target, &call.args[2..]),
        Some("agent" | "agent-send") if !target.has_agent() => {
            return refuse("agent checks are not enabled on this server.\n");
        }
        Some("agent") => match value {
            Some("up") => target.order(view, Order::Agent { up: true }),
            Some("down") => target.order(view, Order::Agent { up: false }),
            _ => return refuse("'set server <srv> agent' expects 'up' or 'down'.\n"),
        },
        Some("agent-send") => {
            let text = value.unwrap_or_default().as_bytes().into();
            target.server().state.probing().agent_send = Some(text);
        }
        Some(what @ ("agent-addr" | "agent-port" | "check-addr" | "check-port")) => {
            return set_probe_target(&target, what, &call.args[2..]);
        }
        Some("fqdn") if value.is_none() => {
            return refuse("set server <b>/<s> fqdn requires a FQDN.\n");
        }
        Some("fqdn") => return set_host(view, &target, value.unwrap_or_default()),
        Some("ssl") => {
            return refuse(
                "'set server <srv> ssl' cannot be set.  default-server should define ssl \
                 settings\n",
            );
        }
        _ => {
            return refuse(
                "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | \
                 agent-send | check-addr | check-port | fqdn | health | ssl | state | weight\n",
            );
        }
    }
    done()
}

/// `agent-addr IP [port PORT]`, `agent-port PORT` and the same of checks.
fn set_probe_target(target: &Target, what: &str, args: &[&str]) -> Result<Answer, String> {
    let (address, port) = match (what.ends_with("-addr"), args) {
        (true, [] | [""]) => {
            return Err(format!(
                "set server <b>/<s> {what} requires an address and optionally a port.\n"
            ));
        }
        (false, [] | [""]) => return Err(format!("set server <b>/<s> {what} requires a port.\n")),
        (true, [address, "port", port, ..]) => (Some(address), Some(port)),
        (true, [address, ..]) => (Some(address), None),
        (false, [port, ..]) => (None, Some(port)),
    };
    let of_agent = what.starts_with("agent");
    if of_agent && !target.has_agent() {
        return Err("agent checks are not enabled on this server".to_owned());
    }
    if !of_agent && target.server().check.is_none() {
        return Err("health checks are not enabled on this server".to_owned());
    }
    let parse = |ip: &&str| ip.parse().map_err(|_| format!("invalid addr '{ip}'"));
    let address: Option<IpAddr> = address.map(parse).transpose()?;
    let port = match port.map(|port| port.parse::<i64>()) {
        None => None,
        Some(Err(_)) => return Err("provided port is not an integer".to_owned()),
        Some(Ok(port)) => Some(u16::try_from(port).map_err(|_| "provided port is invalid")?),
    };
    let mut set = target.server().state.probing();
    if of_agent {
        set.agent_address = address.or(set.agent_address);
        set.agent_port = port.or(set.agent_port);
    } else {
        set.check_address = address.or(set.check_address);
        set.check_port = port.or(set.check_port);
    }
    done()
}

/// `fqdn NAME`: name servers are asked for this host from now on.
fn set_host(view: &View, target: &Target, text: &str) -> Result<Answer, String> {
    const BY: &str = " by 'stats socket command'\n";
    let refuse = |why: &str| Err(format!("set server <b>/<s> fqdn failed because {why}.\n"));
    let (proxy, server) = (target.proxy(), target.server());
    let Some(resolution) = &server.resolution else {
        return refuse("no resolution is configured");
    };
    if resolution.service().is_some() {
        return refuse("SRV resolution is configured");
    }
    let host = match Name::parse(text) {
        Ok(host) => host,
        Err(NameError::BadCharacter(_) | NameError::TooLong) => {
            return Ok(Answer::Text(format!("invalid fqdn '{text}'{BY}")));
        }
        Err(_) => {
            let what = format!("could not update {}/{} FQDN{BY}", proxy.name, server.name);
            return Ok(Answer::Text(what));
        }
    };
    let before = server.state.host();
    if before.as_ref() == Some(&host) {
        return Ok(Answer::Text(format!("no need to change the FDQN{BY}")));
    }
    let before = before.map_or_else(|| "(null)".to_owned(), |host| host.to_string());
    server.state.set_host(Some(host));
    server.state.renamed.store(true, Relaxed);
    view.shared.names.renamed();
    let name = &server.name;
    Ok(Answer::Text(format!("{}/{name} changed its FQDN from {before} to {text}{BY}", proxy.name)))
}

/// `addr IP [port PORT]`. Tells what it changed.
fn set_address(view: &View, target: &Target, args: &[&str]) -> Result<Answer, String> {
    let [address, rest @ ..] = args else {
        return Err(
            "set server <b>/<s> addr requires an address and optionally a port.\n".to_owned()
        );
    };
    const BY: &str = " by 'stats socket command'\n";
    let Ok(ip) = address.parse::<IpAddr>() else {
        return Err(format!("Invalid addr '{address}'{BY}"));
    };
    let state = &target.server().state;
    let Address { endpoint: Endpoint::Inet(old), mapped_port } = state.address() else {
        return Err(format!(
            "Update for the current server address family is only supported through \
             configuration file{BY}"
        ));
    };
    let mut said = if old.ip() == ip {
        "no need to change the addr".to_owned()
    } else {
        format!("IP changed from '{}' to '{ip}'", old.ip())
    };
    let mut new =
        Address { endpoint: Endpoint::Inet(SocketAddr::new(ip, old.port())), mapped_port };
    if let [word, port @ ..] = rest
        && *word == "port"
    {
        let port = port.first().copied().unwrap_or_default();
        said.push_str(", ");
        match parse_port(port) {
            None => _ = write!(said, "problem converting port '{port}' to an int"),
            Some(Port::Mapped(_)) if has_portless_check(target.server()) => said.push_str(
                "can't change <port> to port map because it is incompatible with current health \
                 check port configuration (use 'port' statement from the 'server' directive.",
            ),
            Some(wanted) => {
                let before = port_text(&Address { endpoint: Endpoint::Inet(old), mapped_port });
                new = match wanted {
                    Port::Fixed(number) => Address {
                        endpoint: Endpoint::Inet(SocketAddr::new(ip, number)),
                        mapped_port: None,
                    },
                    Port::Mapped(shift) => Address { mapped_port: Some(shift), ..new },
                };
                let after = port_text(&new);
                if before == after {
                    said.push_str("no need to change the port");
                } else {
                    _ = write!(said, "port changed from '{before}' to '{after}'");
                }
            }
        }
    }
    if new != state.address() {
        state.set_address(new);
    }
    target.order(view, Order::Resolved);
    text(said + BY)
}

enum Port {
    Fixed(u16),
    Mapped(i32),
}

/// `+N` and `-N` are relative to the port that the client connected to.
fn parse_port(word: &str) -> Option<Port> {
    if word.starts_with(['+', '-']) {
        let shift: i32 = word.parse().ok()?;
        return (shift.unsigned_abs() <= u16::MAX.into()).then_some(Port::Mapped(shift));
    }
    word.parse().ok().map(Port::Fixed)
}

fn has_portless_check(server: &Server) -> bool {
    server.check.as_ref().is_some_and(|check| check.port.is_none())
}

fn port_text(address: &Address) -> String {
    match (&address.endpoint, address.mapped_port) {
        (_, Some(shift)) => format!("{shift:+}"),
        (Endpoint::Inet(inet), None) => inet.port().to_string(),
        _ => "0".to_owned(),
    }
}

fn get_weight(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let target = Target::parse(view, call.args.first())?;
    let member = &target.server().state.member;
    text(format!("{} (initial {})\n", member.weight(), member.weight_initial()))
}

fn weight(view: &View, target: &Target, word: Option<&&str>) -> Result<Answer, String> {
    let word = word.ok_or("Require <weight> or <weight%>.\n")?;
    set_weight(view, target, word)?;
    done()
}

/// Sets a weight that is written absolute (`5`) or as a part of the configured one (`50%`).
pub(super) fn set_weight(view: &View, target: &Target, word: &str) -> Result<(), String> {
    let to = (&view.shared, &target.snapshot);
    state_change::set_weight(to.0, to.1, target.place, word).map_err(str::to_owned)
}

fn set_maxconn(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let target = Target::parse(view, call.args.first())?;
    let word = call.args.get(1).copied().unwrap_or_default();
    state_change::set_maxconn(&view.shared, &target.snapshot, target.place, word)?;
    done()
}

const STATE_HEADER: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state \
    srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status \
    srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id \
    srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
    srv_agent_addr srv_agent_port\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_haproxys_numbers() {
        #[track_caller]
        fn check(admin: Admin, disabled: bool, expected: u32) {
            assert_eq!(admin_number(admin, disabled), expected);
        }
        check(Admin::READY, false, 0);
        check(Admin::MAINT_FORCED, false, 1);
        check(Admin::MAINT_CONFIGURED, true, 5);
        check(Admin::READY, true, 4);
        check(Admin::DRAIN_FORCED, false, 8);
        check(Admin::DRAIN_INHERITED, false, 16);
    }

    #[test]
    fn ports_may_be_relative() {
        #[track_caller]
        fn check(word: &str, expected: &str) {
            let shown = match parse_port(word) {
                None => "none".to_owned(),
                Some(Port::Fixed(port)) => port.to_string(),
                Some(Port::Mapped(shift)) => format!("{shift:+}"),
            };
            assert_eq!(shown, expected);
        }
        check("80", "80");
        check("+1", "+1");
        check("-100", "-100");
        check("", "none");
        check("x1", "none");
        check("70000", "none");
        check("+70000", "none");
    }
}
