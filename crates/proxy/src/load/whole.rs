//! What only the finished parts show: references between proxies, missing pieces, doubtful combinations.

use std::cell::Cell;
use std::collections::HashMap;

use telamon_balance::health::Observe;
use telamon_config::{ConfigErrorKind, Diagnostics, Location, Section};

use super::draft::{Draft, Own, ProxyContext};
use super::mistake::ProxyMistake;
use super::server::ServerSettings;
use crate::expr::Source;
use crate::model::{
    CheckMethod, CheckProtocol, Mode, Model, ProcessVariable, Proxy, ProxyId, RetryOn, ServerId,
};
use crate::rules::{BackendChoice, TcpAction};
use crate::stream::Context;

/// Looks at one section whose lines have been read. HAProxy warns of the same.
pub(super) fn section(context: &ProxyContext, section: &Section, diagnostics: &mut Diagnostics) {
    let ProxyContext { draft, own, .. } = context;
    let at = section.name().map_or(section.at(), |name| name.at);
    let title = || section.title();
    if context.accepts() && own.binds.is_empty() && !draft.disabled && !has_bind_line(section) {
        diagnostics.warning(at, ProxyMistake::NoBind { proxy: title() }.into());
    }
    let missing = missing_timeouts(context);
    if !missing.is_empty() && !draft.disabled {
        diagnostics.warning(at, ProxyMistake::MissingTimeouts { proxy: title(), missing }.into());
    }
    let ignored = [
        (own.http_check_at, draft.check.is_http(), "http-check", "option httpchk"),
        (own.tcp_check_at, draft.check.is_tcp(), "tcp-check", "option tcp-check"),
    ];
    for (place, used, rules, needs) in ignored {
        if let (Some(place), false) = (place, used) {
            let kind = ProxyMistake::IgnoredRules { rules, needs, proxy: title() };
            diagnostics.warning(place, kind.into());
        }
    }
    if context.accepts() && draft.format.is_some() && draft.log.is_empty() {
        diagnostics.warning(at, ProxyMistake::NoLogTarget { proxy: title() }.into());
    }
    contents_by_chance(context, diagnostics);
    shared_cookies(context, diagnostics);
    let wanted = draft.retry_on.has(RetryOn::EMPTY) && draft.retry_on.has(RetryOn::TIMEOUT);
    for server in own.servers.iter().filter(|line| line.settings.fast_open && !wanted) {
        let title =
            format!("server {} has `tfo` and cannot send its first packet again", server.name);
        let help = "HAProxy wants `retry-on conn-failure empty-response response-timeout` with it";
        diagnostics.warning(server.at, ProxyMistake::Says { title, help }.into());
    }
    for server in &own.servers {
        let settings = &server.settings;
        let unchecked = settings.observe.is_some() && !settings.check && settings.track.is_none();
        if settings.observe == Some(Observe::Layer7) && draft.mode == Mode::Tcp {
            let title = "`observe layer7` needs `mode http` and has no effect".to_owned();
            let help = "`observe layer4` looks at connections";
            diagnostics.warning(settings.observe_at, ProxyMistake::Says { title, help }.into());
        } else if unchecked {
            let title = format!("server {} has `observe` and is not checked", server.name);
            let help =
                "`observe` has no effect without `check`, which is what brings a server back";
            diagnostics.warning(settings.observe_at, ProxyMistake::Says { title, help }.into());
        }
    }
    if draft.mode == Mode::Tcp {
        needs_http(draft, own, at, &title(), diagnostics);
    }
}

/// `bind` lines that are wrong were reported; they are there all the same.
fn has_bind_line(section: &Section) -> bool {
    section.lines().any(|line| line.keyword().is("bind"))
}

fn missing_timeouts(context: &ProxyContext) -> Vec<&'static str> {
    let Draft { timeouts, bad_timeouts, .. } = &context.draft;
    let serves = context.serves() && !context.own.servers.is_empty();
    let tunnels = context.draft.mode == Mode::Tcp && timeouts.tunnel.is_some();
    let wanted = [
        (context.accepts() && timeouts.client.is_none(), "timeout client"),
        (serves && timeouts.connect.is_none(), "timeout connect"),
        (serves && timeouts.server.is_none() && !tunnels, "timeout server"),
    ];
    let missing =
        wanted.into_iter().filter(|(missing, name)| *missing && !bad_timeouts.contains(name));
    missing.map(|(_, name)| name).collect()
}

/// Captures and keys of what nobody waits for, and keys that need no contents.
fn contents_by_chance(context: &ProxyContext, diagnostics: &mut Diagnostics) {
    if !context.accepts() {
        return;
    }
    let waits = context.draft.inspect_delay.is_some();
    for rule in &context.own.rules.tcp_request_content {
        let (what, tracks, sent) = match &rule.action {
            TcpAction::Capture(capture) => ("a capture", false, capture.sample.source().is_sent()),
            TcpAction::Track(track) => ("`track-sc`", true, track.key.source().is_sent()),
            _ => continue,
        };
        if sent && !waits {
            let title = format!("{what} of contents without `tcp-request inspect-delay`");
            let help = "the rule runs at once: what it finds is a matter of chance";
            diagnostics.warning(rule.at, ProxyMistake::Says { title, help }.into());
        }
        let asks =
            || rule.condition.as_ref().is_some_and(|condition| condition.reads(Source::is_sent));
        if tracks && !sent && context.draft.mode == Mode::Http && !asks() {
            let title =
                "a `track-sc` that looks at no contents runs once for each request".to_owned();
            let help =
                "write `tcp-request session` to track connections that send no valid request too";
            diagnostics.warning(rule.at, ProxyMistake::Says { title, help }.into());
        }
    }
}

/// Two servers that a cookie means, of which the second is never found while the first is there.
fn shared_cookies(context: &ProxyContext, diagnostics: &mut Diagnostics) {
    if context.draft.cookie.is_none() {
        return;
    }
    let mut first = HashMap::new();
    for server in &context.own.servers {
        let ServerSettings { cookie: Some(cookie), backup, priority, .. } = &server.settings else {
            continue;
        };
        // One that steps in for another may have its cookie.
        let key = (cookie, *backup, *priority);
        if let Some(first) = first.get(&key) {
            let value = String::from_utf8_lossy(cookie).into_owned();
            let kind = ProxyMistake::SharedCookie { value, first: *first };
            diagnostics.warning(server.at, kind.into());
        } else {
            first.insert(key, server.at);
        }
    }
}

/// What stands in a proxy of `mode tcp` without effect.
fn needs_http(draft: &Draft, own: &Own, at: Location, proxy: &str, diagnostics: &mut Diagnostics) {
    let rules = &own.rules;
    let first = |places: Vec<Location>| places.into_iter().next();
    let places =
        |set: &[crate::rules::HttpRequestRule]| first(set.iter().map(|rule| rule.at).collect());
    // Slots that rules fill are good for samples of any mode.
    let slots = own.captures.request.iter().chain(&own.captures.response);
    let captures =
        slots.map(|slot| &slot.header).any(Option::is_some) || own.captures.cookie.is_some();
    let found = [
        ("`stats`", own.stats_at),
        ("`cookie`", own.cookie_at),
        (
            "`cookie` of servers",
            own.servers.iter().find(|s| s.settings.cookie.is_some()).map(|s| s.at),
        ),
        ("`capture`", captures.then_some(at)),
        ("`http-request` rules", places(&rules.http_request)),
        ("`http-response` rules", places(&rules.http_response)),
        ("`http-after-response` rules", places(&rules.http_after_response)),
        ("`redirect` rules", places(&rules.redirect)),
        ("`option forwardfor`", draft.options.forwardfor.is_some().then_some(at)),
        ("the key of `balance`", draft.balance.key.needs_http().then_some(at)),
        ("`option originalto`", draft.options.originalto.is_some().then_some(at)),
    ];
    for (what, place) in found {
        if let Some(place) = place {
            let kind = ProxyMistake::NeedsHttp { what: what.to_owned(), proxy: proxy.to_owned() };
            diagnostics.warning(place, kind.into());
        }
    }
}

/// Looks at all proxies together, and completes what takes all of them.
pub(super) fn check(model: &mut Model, diagnostics: &mut Diagnostics) {
    for (index, proxy) in model.proxies.iter().enumerate() {
        targets(model, ProxyId(index as u32), proxy, diagnostics);
        tracked(model, proxy, diagnostics);
    }
    duplicate_addresses(model, diagnostics);
    model.link_trackers();
    set_variables(model);
}

/// Where a frontend may pass its traffic.
fn targets(model: &Model, id: ProxyId, proxy: &Proxy, diagnostics: &mut Diagnostics) {
    let Some(frontend) = &proxy.frontend else { return };
    let rules = frontend.use_backend.iter().filter_map(|rule| match rule.action {
        BackendChoice::Static(target) => Some((target, rule.at)),
        BackendChoice::Dynamic(_) => None,
    });
    let default = frontend.default_backend.map(|target| (target, proxy.at));
    for (target, at) in rules.chain(default) {
        let to = model.proxy(target);
        if target == id {
            diagnostics.error(at, ProxyMistake::Loop { proxy: title(proxy) }.into());
        } else if proxy.mode == Mode::Http && to.mode == Mode::Tcp {
            let (from, to_title) = (with_mode(proxy), with_mode(to));
            let kind = ProxyMistake::WrongMode { from, to: to_title, to_at: to.at };
            diagnostics.error(at, kind.into());
        }
    }
}

fn title(proxy: &Proxy) -> String {
    format!("{} {}", proxy.section, proxy.name)
}

fn with_mode(proxy: &Proxy) -> String {
    let mode = if proxy.mode == Mode::Http { "http" } else { "tcp" };
    format!("{} (mode {mode})", title(proxy))
}

/// Servers that follow others: the chain has to end in one that is checked.
fn tracked(model: &Model, proxy: &Proxy, diagnostics: &mut Diagnostics) {
    let Some(backend) = &proxy.backend else { return };
    for server in &backend.servers {
        let Some(mut at) = server.tracks else { continue };
        let other = model.proxy(at.0);
        if disables_on_404(other) != disables_on_404(proxy) {
            let title = format!(
                "server {} cannot track one that a 404 means something else for",
                server.name
            );
            let help = "give both backends `http-check disable-on-404`, or none of them";
            diagnostics.error(server.at, ProxyMistake::Says { title, help }.into());
            continue;
        }
        if server.check.is_some() {
            let kind = ConfigErrorKind::Conflict {
                what: "track".into(),
                with: "check".into(),
                first: None,
            };
            diagnostics.error(server.at, kind);
            continue;
        }
        let end = (0..TRACK_MAX).find_map(|_| {
            let (ProxyId(_), ServerId(index)) = at;
            let followed = model.proxy(at.0).backend.as_ref()?.servers.get(index as usize)?;
            match followed.tracks {
                Some(next) => {
                    at = next;
                    None
                }
                None => Some(followed),
            }
        });
        let why = match end {
            Some(followed) if followed.check.is_some() || followed.agent.is_some() => continue,
            Some(_) => "the server at its end has neither `check` nor `agent-check`",
            None => "it goes round in a circle",
        };
        let kind = ProxyMistake::BadTrack { server: server.name.to_string(), why };
        diagnostics.error(server.at, kind.into());
    }
}

/// Whether a 404 takes a server out of the balancing.
fn disables_on_404(proxy: &Proxy) -> bool {
    match proxy.backend.as_ref().map(|backend| &backend.check) {
        Some(CheckMethod::Script(script)) => {
            script.protocol == CheckProtocol::Http && script.disable_on_404
        }
        _ => false,
    }
}

/// One address twice in the same configuration cannot be bound twice.
fn duplicate_addresses(model: &Model, diagnostics: &mut Diagnostics) {
    let mut places = std::collections::HashMap::new();
    for proxy in model.proxies.iter().filter(|proxy| !proxy.disabled) {
        for listener in proxy.frontend.iter().flat_map(|frontend| &frontend.listeners) {
            if let Some(first) = places.insert(listener.bind.key(), listener.at) {
                let (what, name) = ("address", super::describe(&listener.bind));
                diagnostics.error(listener.at, ConfigErrorKind::Duplicate { what, name, first });
            }
        }
    }
}

/// `set-var` and `set-var-fmt` of `global`.
fn set_variables(model: &Model) {
    let wants_more = Cell::new(false);
    let cx = Context::for_process(model, &wants_more);
    for (variable, value) in &model.global.process_vars {
        match value {
            ProcessVariable::Sample(expr) => {
                if let Some(value) = expr.eval(&cx) {
                    variable.set(&cx, value, Default::default());
                }
            }
            ProcessVariable::Format(format) => {
                let mut text = Vec::new();
                format.render(&cx, &mut text);
                variable.set(&cx, crate::expr::Value::Str(text.into()), Default::default());
            }
        }
    }
}

/// The longest chain of `track`.
const TRACK_MAX: usize = 1000;
