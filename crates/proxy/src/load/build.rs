//! From what the lines say to a [`Proxy`].

use std::net::SocketAddr;
use std::sync::Arc;

use telamon_balance::health::{Observation, Observe};
use telamon_balance::{Member, MemberConfig, Pool, PoolOptions};
use telamon_config::{
    Address, ConfigErrorKind, Diagnostics, Family, Host, Location, Port, Section, Transport,
};
use telamon_runtime::connect::{Source, SourcePorts};
use telamon_runtime::{ConnectOptions, Endpoint};

use super::draft::{Draft, Format, ProxyContext};
use super::mistake::ProxyMistake;
use super::names::assign_numbers;
use super::place::{Place, locate};
use super::server::{ServerLine, ServerSettings, SourceDraft};
use super::state_file;
use crate::expr::LogFormat;
use crate::learn::Learning;
use crate::log::Builtin;
use crate::model::{
    AgentCheck, Backend, Balance, CheckMethod, CheckStep, CheckTls, Frontend, Listener,
    LogSettings, Mode, Proxy, ProxyId, ResolvedFrom, Rules, SavedState, Server, ServerCheck,
    ServerId, ServerTls, StatsPage,
};
use crate::rules::Routes;
use crate::state::{ListenerState, ProxyState, ServerState};

/// Makes the proxy of a section whose lines have been read.
pub(super) fn proxy(
    mut context: ProxyContext,
    id: ProxyId,
    section: &Section,
    number: u32,
    diagnostics: &mut Diagnostics,
) -> Proxy {
    let name: Arc<str> = Arc::clone(&context.base.directory.proxies[id.0 as usize].name);
    let at = section.name().map_or(section.at(), |name| name.at);
    let frontend = context.accepts().then(|| frontend(&mut context, id, &name, diagnostics));
    let backend = context.serves().then(|| backend(&mut context, id, number, diagnostics));
    let log = log_settings(&context, section, diagnostics);
    let ProxyContext { draft, own, base, .. } = context;
    let workers = base.workers.get();
    let rules = Rules {
        tcp_request_inspect_delay: draft.inspect_delay,
        tcp_response_inspect_delay: draft.inspect_delay_response,
        ..own.rules
    };
    let stats = draft.stats.filter(|_| draft.mode == Mode::Http).map(|page| {
        let rules = if own.stats_rules.is_empty() { page.rules } else { own.stats_rules.into() };
        Arc::new(StatsPage { admin: own.stats_admin.into(), rules, ..page })
    });
    let state = ProxyState::new(workers);
    state.backend.dynamic_cookies().configure(&draft.dynamic_cookies);
    if let Some(frontend) = &frontend
        && let Some(maxconn) = frontend.maxconn
    {
        state.frontend.limit.set_max(maxconn);
    }
    Proxy {
        name,
        number,
        has_own_number: section.lines().any(|line| line.keyword().is("id")),
        section: section.keyword(),
        at,
        mode: draft.mode,
        disabled: draft.disabled,
        description: own.description,
        options: draft.options,
        timeouts: draft.timeouts,
        rules,
        errors: draft.errors,
        log,
        captures: own.captures,
        unique_id_format: draft.unique_id_format,
        unique_id_header: draft.unique_id_header,
        stats,
        frontend,
        backend,
        state,
    }
}

fn frontend(
    context: &mut ProxyContext,
    id: ProxyId,
    name: &Arc<str>,
    diagnostics: &mut Diagnostics,
) -> Frontend {
    let own = &mut context.own;
    let draft = &context.draft;
    let maxconn = draft.maxconn.or(context.base.options.proxy_maxconn);
    let mut specs = Vec::new();
    for line in std::mem::take(&mut own.binds) {
        let mut number = line.settings.id.map(|(number, _)| number);
        let tls = line.settings.tls.acceptor(&context.base, diagnostics);
        for (address, at) in &line.addresses {
            let bound = line.settings.specs(
                address,
                *at,
                &context.socket_owner,
                &context.base,
                diagnostics,
            );
            for spec in bound {
                specs.push((spec, line.settings.clone(), *at, number, tls.clone()));
                number = number.map(|number| number + 1);
            }
        }
    }
    let written: Vec<Option<u32>> = specs.iter().map(|(.., number, _)| *number).collect();
    let numbers = assign_numbers(&written, 1);
    let options = &draft.options;
    let listeners =
        specs.into_iter().zip(numbers).map(|((mut bind, settings, at, _, tls), number)| {
            let wanted = settings.backlog.or(draft.backlog);
            let most = (settings.maxconn > 0).then_some(settings.maxconn).or(maxconn);
            let positive = |number: Option<u32>| number.filter(|number| *number > 0);
            // As many as may be let in; the system has a limit of its own (net.core.somaxconn).
            bind.backlog = positive(wanted)
                .or(positive(most))
                .or(context.global.maxconn)
                .unwrap_or(super::settings::NUMBER_MAX);
            bind.keepalive = options.clitcpka.then(|| draft.client_keepalive.build());
            bind.nolinger = options.nolinger;
            bind.delay_ack = options.tcp_smart_accept.unwrap_or(draft.mode == Mode::Http);
            bind.receive_buffer = context.global.tune.rcvbuf_client;
            bind.send_buffer = context.global.tune.sndbuf_client;
            bind.reuse_port = !context.global.noreuseport;
            let state = ListenerState::new(context.base.workers.get());
            if settings.maxconn > 0 {
                state.limit.set_max(settings.maxconn);
            }
            Arc::new(Listener {
                frontend: id,
                proxy_name: Arc::clone(name),
                name: settings.name.unwrap_or_else(|| format!("sock-{number}").into()),
                number,
                at,
                bind,
                maxconn: settings.maxconn,
                accept_proxy: settings.accept_proxy,
                tls,
                protocol: settings.protocol,
                state,
            })
        });
    Frontend {
        listeners: listeners.collect(),
        maxconn,
        backlog: draft.backlog,
        rate_limit_sessions: draft.rate_limit_sessions,
        use_backend: Routes::new(std::mem::take(&mut own.use_backend)),
        default_backend: draft.default_backend.map(|(id, _)| id),
        monitor_uri: draft.monitor_uri.clone(),
        monitor_fail: std::mem::take(&mut own.monitor_fail),
    }
}

fn backend(
    context: &mut ProxyContext,
    id: ProxyId,
    proxy_number: u32,
    diagnostics: &mut Diagnostics,
) -> Backend {
    let lines = std::mem::take(&mut context.own.servers);
    let written: Vec<Option<u32>> = lines
        .iter()
        .map(|line| line.settings.id.map(|(number, _)| number + line.number_step))
        .collect();
    duplicate_numbers(&lines, &written, diagnostics);
    let numbers = assign_numbers(&written, 1);
    let mut servers = Vec::with_capacity(lines.len());
    let mut members = Vec::with_capacity(lines.len());
    let name = Arc::clone(&context.base.directory.proxies[id.0 as usize].name);
    let states = (!lines.is_empty() && !context.draft.disabled)
        .then(|| state_file::states(context, &name, proxy_number, diagnostics))
        .flatten();
    for (line, number) in lines.into_iter().zip(numbers) {
        let saved = states.as_ref().and_then(|states| states.of(&line.name, diagnostics));
        let index = servers.len() as u32;
        let server = server(context, line, index, number, id, saved, diagnostics);
        members.push(Arc::clone(&server.state.member));
        servers.push(server);
    }
    let direct = direct(context, id, diagnostics);
    let draft = &context.draft;
    let balance = match draft.mode {
        // As HAProxy does, with a warning (see `whole`).
        Mode::Tcp if draft.balance.key.needs_http() => Balance::default(),
        _ => draft.balance.clone(),
    };
    if let Some(key) = draft.dynamic_cookies.key_in_use() {
        servers.iter().for_each(|server| server.state.set_cookie_key(Some(key)));
    }
    let options = PoolOptions {
        all_backups: draft.options.allbackups,
        // What is not written is computed once all frontends are known.
        fullconn: draft.fullconn.unwrap_or(0),
        queue_max: draft.max_pending,
        redispatch: draft.redispatch != 0,
        panic_threshold: draft.panic_threshold,
    };
    Backend {
        servers,
        pool: Pool::new(members, || balance.make(), options),
        balance,
        use_server: std::mem::take(&mut context.own.use_server),
        cookie: draft.cookie.clone(),
        cookie_index: Default::default(),
        persist_rules: std::mem::take(&mut context.own.persist_rules),
        stick_request: std::mem::take(&mut context.own.stick_request),
        stick_response: std::mem::take(&mut context.own.stick_response),
        fullconn: draft.fullconn,
        retries: draft.retries,
        retry_on: draft.retry_on,
        retry_budget: draft.retry_budget,
        outlier_ejection: draft.outlier_ejection,
        redispatch: draft.redispatch,
        reuse: draft.reuse,
        direct: direct.map(Box::new),
        check: draft.check.method(),
        send_name_header: draft.send_name_header.clone(),
        max_keep_alive_queue: draft.max_keep_alive_queue,
    }
}

/// What stands in for servers: `dispatch`, else `option transparent`.
fn direct(
    context: &mut ProxyContext,
    id: ProxyId,
    diagnostics: &mut Diagnostics,
) -> Option<Server> {
    let destination = Address::Ip {
        host: Host::Unspecified,
        port: Port::None,
        family: Family::Any,
        transport: Transport::default(),
    };
    let transparent = context.draft.options.transparent;
    let address = context
        .own
        .dispatch
        .take()
        .or_else(|| transparent.then_some((destination, Location::COMMAND_LINE)))?;
    let line = ServerLine {
        name: "dispatch".into(),
        place: Arc::default(),
        at: address.1,
        address,
        settings: ServerSettings::default(),
        number_step: 0,
    };
    Some(server(context, line, u32::MAX, 0, id, None, diagnostics))
}

fn duplicate_numbers(lines: &[ServerLine], written: &[Option<u32>], diagnostics: &mut Diagnostics) {
    let mut places = std::collections::HashMap::new();
    for (line, number) in lines.iter().zip(written) {
        let (Some(number), Some((_, at))) = (number, line.settings.id) else { continue };
        if let Some(first) = places.insert(*number, at) {
            let (what, name) = ("server id", number.to_string());
            diagnostics.error(at, ConfigErrorKind::Duplicate { what, name, first });
        }
    }
}

fn server(
    context: &ProxyContext,
    line: ServerLine,
    index: u32,
    number: u32,
    id: ProxyId,
    saved: Option<SavedState>,
    diagnostics: &mut Diagnostics,
) -> Server {
    let ServerLine { at, address, place, settings, .. } = line;
    let base = &context.base;
    let draft = &context.draft;
    let names = &base.directory.proxies[id.0 as usize].servers;
    let name = names.get(index as usize).map_or_else(|| line.name.as_ref().into(), Arc::clone);
    let Place { written, now, unresolved, resolution } = locate(
        base,
        address,
        &settings,
        saved.as_ref().and_then(|saved| saved.address),
        diagnostics,
    );
    let check_address = settings
        .check_address
        .as_deref()
        .and_then(|(host, family, at)| base.address(diagnostics, host, *family, *at));
    let check = settings.check.then_some(ServerCheck {
        inter: settings.inter,
        fastinter: settings.fastinter,
        downinter: settings.downinter,
        rise: settings.rise,
        fall: settings.fall,
        via_socks4: settings.check_via_socks4 && settings.socks4.is_some(),
        address: check_address,
        port: settings.check_port,
        send_proxy: settings
            .send_proxy
            .build_for_checks(settings.check_port.is_none() && settings.check_address.is_none()),
    });
    let tls = settings.tls.ssl.and_then(|_| {
        let connector = settings.tls.connector(base, at, None, diagnostics)?;
        Some(Arc::new(ServerTls { connector, sni: settings.sni.clone() }))
    });
    let check_tls = check_tls(context, at, &settings, tls.as_ref(), diagnostics);
    let agent = &settings.agent;
    let agent_address = agent
        .address
        .as_deref()
        .and_then(|(host, family, at)| base.address(diagnostics, host, *family, *at))
        .or(check_address);
    if agent.check && agent.port.is_none() {
        let server = name.to_string();
        diagnostics.error(at, ProxyMistake::NoAgentPort { server }.into());
    }
    let agent = agent.port.filter(|_| agent.check).map(|port| AgentCheck {
        inter: agent.inter,
        port,
        address: agent_address,
        send: agent.send.clone(),
    });
    // Without an address there is nothing to check yet: the socket may set one, and a port with it.
    let has_place = matches!(&now.endpoint, Endpoint::Inet(inet) if !inet.ip().is_unspecified());
    let has_port = !has_place
        || now.mapped_port.is_none()
        || settings.check_port.is_some()
        || draft.check.has_port();
    if check.is_some() && !has_port {
        let server = name.to_string();
        diagnostics.error(at, ProxyMistake::NoCheckPort { server }.into());
    }
    if settings.backup && settings.priority > 0 {
        let server = name.to_string();
        diagnostics.error(at, ProxyMistake::PriorityOfBackup { server }.into());
    }
    let member_config = MemberConfig {
        number,
        weight: settings.weight,
        limits: settings.limits,
        backup: settings.backup,
        priority: settings.priority,
        place,
    };
    let workers = base.workers.get();
    let member = Member::new(&name, &member_config, workers);
    let tracks =
        settings.track.as_deref().and_then(|(text, at)| track(context, id, text, *at, diagnostics));
    let source = settings.source.as_deref().or(draft.source.as_ref());
    let socks4 = settings.socks4.as_deref().and_then(|(host, port, family, at)| {
        Some(SocketAddr::new(base.address(diagnostics, host, *family, *at)?, *port))
    });
    let connect = ConnectOptions {
        socks4,
        source: source.and_then(build_source),
        interface: source.and_then(|source| source.interface.clone()),
        keepalive: draft.options.srvtcpka.then(|| draft.server_keepalive.build()),
        nolinger: draft.options.nolinger,
        user_timeout: settings.user_timeout,
        receive_buffer: context.global.tune.rcvbuf_server,
        send_buffer: context.global.tune.sndbuf_server,
        delay_ack: draft.options.tcp_smart_connect,
        fast_open: settings.fast_open,
        ..ConnectOptions::default()
    };
    let state = ServerState::new(member, now, workers);
    if let Some(ResolvedFrom::Host(host)) = resolution.as_ref().map(|r| &r.from) {
        state.set_host(Some(host.clone()));
    }
    Server {
        name,
        index,
        number,
        has_own_number: settings.id.is_some(),
        at,
        address: written,
        resolution,
        check,
        tls,
        check_tls,
        protocol: settings.protocol,
        websocket: settings.websocket,
        agent,
        rise: u16::try_from(settings.rise).unwrap_or(u16::MAX),
        slow_start_s: settings.slow_start_s,
        disabled: settings.disabled,
        unresolved,
        member_config,
        connect,
        pool_max_conn: settings.pool_max_conn,
        pool_low_conn: settings.pool_low_conn,
        pool_purge_delay: settings.pool_purge_delay,
        max_reuse: settings.max_reuse,
        send_proxy: settings.send_proxy.build(),
        learning: learning(&settings, draft, index),
        shuts_down: settings.shuts_down,
        takes_back: settings.takes_back,
        redir: settings.redir,
        saved: saved.map(Box::new),
        tracks,
        trackers: Vec::new(),
        non_stick: settings.non_stick,
        written_cookie: settings.cookie,
        state,
    }
}

/// How the server's checks use TLS.
fn check_tls(
    context: &ProxyContext,
    at: Location,
    settings: &ServerSettings,
    tls: Option<&Arc<ServerTls>>,
    diagnostics: &mut Diagnostics,
) -> Option<Arc<CheckTls>> {
    let draft = &settings.check_tls;
    let elsewhere = settings.check_port.is_some() || settings.check_address.is_some();
    let always = draft.applies(&settings.tls, elsewhere);
    let asked = || match context.draft.check.method() {
        CheckMethod::Connect => false,
        CheckMethod::Script(script) => script.steps.iter().any(CheckStep::asks_for_tls),
    };
    if !settings.check || !(always || asked()) {
        return None;
    }
    let base = &context.base;
    let connector = match (tls, &draft.alpn) {
        (Some(tls), None) => Arc::clone(&tls.connector),
        // What is wrong with the line was told.
        (None, _) if settings.tls.ssl.is_some() => return None,
        (_, alpn) => {
            let at = draft.at.unwrap_or(at);
            settings.tls.connector(base, at, alpn.as_deref(), diagnostics)?
        }
    };
    Some(Arc::new(CheckTls { connector, sni: draft.sni.clone(), always }))
}

/// What is learnt from the server's traffic. Backups are no peers of the others, and what stands in for servers has none.
fn learning(settings: &ServerSettings, draft: &Draft, index: u32) -> Option<Learning> {
    let speaks = |observe| observe == Observe::Layer4 || draft.mode == Mode::Http;
    let observe = settings.observe.filter(|observe| settings.check && speaks(*observe));
    let observation = observe.map(|observe| Observation {
        observe,
        limit: settings.error_limit,
        on_error: settings.on_error,
    });
    let is_peer = !settings.backup && index != u32::MAX;
    let outliers = draft.outlier_ejection.filter(|_| is_peer).map(|config| config.consecutive);
    (observation.is_some() || outliers.is_some()).then_some(Learning { observation, outliers })
}

fn build_source(draft: &SourceDraft) -> Option<Source> {
    // All addresses and any port: the kernel's choice.
    if draft.ip.is_unspecified() && draft.ports.is_none() {
        return None;
    }
    let ports = draft.ports.map(|(first, last)| SourcePorts::new(first..=last));
    Some(Source { ip: draft.ip, ports, transparent: draft.transparent })
}

/// The server that `track` names.
fn track(
    context: &ProxyContext,
    own: ProxyId,
    text: &str,
    at: Location,
    diagnostics: &mut Diagnostics,
) -> Option<(ProxyId, ServerId)> {
    let directory = &context.base.directory;
    let found = match text.split_once('/') {
        Some((backend, server)) => directory
            .backend(backend)
            .and_then(|id| directory.server(id, server).map(|server| (id, server))),
        None => directory.server(own, text).map(|server| (own, server)),
    };
    found.map_err(|kind| diagnostics.error(at, kind)).ok()
}

fn log_settings(
    context: &ProxyContext,
    section: &Section,
    diagnostics: &mut Diagnostics,
) -> LogSettings {
    let ProxyContext { draft, global, base, .. } = context;
    let mut resolve = |format: &Option<Format>| -> Option<Arc<LogFormat>> {
        match format.as_ref().filter(|_| context.accepts())? {
            Format::Written(format) => Some(Arc::clone(format)),
            Format::Builtin(builtin, at) if builtin.needs_http() && draft.mode == Mode::Tcp => {
                let (what, proxy) = ("`option httplog`".to_owned(), section.title());
                diagnostics.warning(*at, ProxyMistake::NeedsHttp { what, proxy }.into());
                Some(base.builtin_format(Builtin::Tcp))
            }
            Format::Builtin(builtin, _) => Some(base.builtin_format(*builtin)),
        }
    };
    LogSettings {
        format: resolve(&draft.format),
        error_format: resolve(&draft.error_format),
        format_sd: draft.format_sd.clone(),
        targets: draft.log.clone(),
        tag: draft.log_tag.clone().or_else(|| global.log_tag.clone()),
        send_hostname: global.log_send_hostname.clone(),
        ..LogSettings::default()
    }
}
