//! How health is checked: which method a backend chooses, and the script that comes of it.
//!
//! `rule.rs` has the rules of `http-check` and `tcp-check`, `http.rs` the requests, `expect.rs` what is awaited, `preset.rs`
//! the exchanges of `option redis-check` and its kin.

use std::rc::Rc;
use std::sync::Arc;

use telamon_config::{Args, Keyword, Modifier, Sections};

use super::draft::ProxyContext;
use super::options::value;
use crate::model::{
    CheckConnect, CheckExpect, CheckMethod, CheckProtocol, CheckRequest, CheckStep, Expected,
    Script,
};

use preset::Preset;

mod expect;
mod http;
pub(super) mod preset;
pub(super) mod rule;
#[cfg(test)]
mod tests;

type K = Keyword<ProxyContext>;

/// What a section says about checks, and what it inherits.
#[derive(Clone, Default)]
pub(super) struct CheckDraft {
    method: Method,
    /// What `option httpchk` says about the request.
    request: Option<Rc<CheckRequest>>,
    /// This section says it.
    request_is_own: bool,
    http: Option<Rc<Vec<CheckStep>>>,
    tcp: Option<Rc<Vec<CheckStep>>>,
    disable_on_404: bool,
    send_state: bool,
    /// The exchange of `option redis-check` and its kin.
    preset: Option<Rc<Vec<CheckStep>>>,
    /// The finished script, for all who inherit it unchanged.
    script: Option<Arc<Script>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Method {
    #[default]
    Connect,
    Http,
    Tcp,
    Preset(Preset),
}

const ANY: Sections = Sections::PROXIES;
const BACK: Sections = Sections::BACKS;

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "option httpchk",
        ANY,
        "option httpchk [[<method>] <uri> [<version>]]",
        "checks by a request of HTTP",
        |proxy, args| {
            if chooses(proxy, args, Method::Http) {
                proxy.draft.check.request = Some(Rc::new(http::option(args)));
                // What a section inherits of `http-check` belongs to the option it inherits.
                proxy.draft.check.http = None;
                proxy.draft.check.request_is_own = true;
            }
        },
    )
    .negatable(),
    K::works(
        "option tcp-check",
        ANY,
        "option tcp-check",
        "checks by what `tcp-check` says, else by a connection",
        |proxy, args| {
            chooses(proxy, args, Method::Tcp);
        },
    )
    .negatable(),
    K::not_yet("option external-check", ANY).negatable(),
    K::not_yet("external-check command", ANY),
    K::not_yet("external-check path", ANY),
    K::works("http-check", ANY, "http-check <rule>", "a step of checks by HTTP", |proxy, args| {
        if proxy.has_side(args, BACK) {
            proxy.own.http_check_at.get_or_insert(args.at());
            args.one(&rule::HTTP, proxy);
        }
    }),
    K::works("tcp-check", ANY, "tcp-check <rule>", "a step of checks over TCP", |proxy, args| {
        if proxy.has_side(args, BACK) {
            proxy.own.tcp_check_at.get_or_insert(args.at());
            args.one(&rule::TCP, proxy);
        }
    }),
];

impl CheckDraft {
    /// Takes the steps of a section; they replace those that were inherited.
    pub(super) fn take(&mut self, http: &mut Vec<CheckStep>, tcp: &mut Vec<CheckStep>) {
        let sends = http.iter().any(|step| matches!(step, CheckStep::Request(_)));
        if sends && !self.request_is_own {
            // A section that says what is sent does not add to what it inherits.
            self.request = None;
        }
        self.request_is_own = false;
        for (own, steps) in [(http, &mut self.http), (tcp, &mut self.tcp)] {
            if !own.is_empty() {
                *steps = Some(Rc::new(std::mem::take(own)));
                self.script = None;
            }
        }
        if self.script.is_none() {
            self.script = self.build().map(Arc::new);
        }
    }

    pub(super) fn method(&self) -> CheckMethod {
        self.script.clone().map_or(CheckMethod::Connect, CheckMethod::Script)
    }

    pub(super) fn is_http(&self) -> bool {
        self.method == Method::Http
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.method == Method::Tcp
    }

    /// Whether the first connection goes to a port of its own.
    pub(super) fn has_port(&self) -> bool {
        let first =
            self.script.iter().flat_map(|script| &script.steps).find_map(|step| match step {
                CheckStep::Connect(connect) => Some(connect),
                _ => None,
            });
        first.is_some_and(|connect| connect.port.is_some())
    }

    fn build(&self) -> Option<Script> {
        let (protocol, steps) = match self.method {
            Method::Connect => return None,
            Method::Http => (CheckProtocol::Http, self.http_steps()),
            Method::Tcp => (CheckProtocol::Tcp, self.tcp.as_deref().cloned().unwrap_or_default()),
            Method::Preset(_) => (CheckProtocol::Preset, self.preset.as_deref()?.clone()),
        };
        let steps = connected(steps);
        let (disable_on_404, send_state) = (self.disable_on_404, self.send_state);
        Some(Script { protocol, steps, disable_on_404, send_state })
    }

    /// The steps of a check by HTTP: those that are written, with the request of `option httpchk` where none of them
    /// sends one after a connection of its own.
    fn http_steps(&self) -> Vec<CheckStep> {
        let written = self.http.as_deref().map_or(&[][..], |steps| steps);
        let own_request = match self.request.as_deref() {
            Some(request) => request.clone(),
            None => CheckRequest::default(),
        };
        let first_action = written.iter().find(|step| {
            matches!(step, CheckStep::Connect(_) | CheckStep::Request(_) | CheckStep::Expect(_))
        });
        let mut steps = written.to_vec();
        match first_action {
            // A complete script.
            Some(CheckStep::Connect(_)) => {}
            // Adds to the request of the option.
            Some(CheckStep::Request(_)) => {
                if let Some(CheckStep::Request(request)) =
                    steps.iter_mut().find(|step| matches!(step, CheckStep::Request(_)))
                {
                    request.complete(&own_request);
                }
            }
            _ => {
                let at = steps
                    .iter()
                    .position(|step| matches!(step, CheckStep::Expect(_)))
                    .unwrap_or(steps.len());
                steps.insert(at, CheckStep::Request(Box::new(own_request)));
            }
        }
        for step in &mut steps {
            if let CheckStep::Request(request) = step {
                request.complete(&CheckRequest::default());
            }
        }
        if !steps.iter().any(|step| matches!(step, CheckStep::Expect(_))) {
            steps.push(CheckStep::Expect(Box::new(CheckExpect::of(Expected::Status(Box::new([
                (200, 399),
            ]))))));
        }
        steps
    }
}

/// With a connection before anything is sent or awaited.
fn connected(mut steps: Vec<CheckStep>) -> Vec<CheckStep> {
    let acts = |step: &&CheckStep| {
        matches!(
            step,
            CheckStep::Connect(_)
                | CheckStep::Send { .. }
                | CheckStep::Request(_)
                | CheckStep::Expect(_)
        )
    };
    if !matches!(steps.iter().find(acts), Some(CheckStep::Connect(_))) {
        let connect = CheckConnect { implicit: true, ..CheckConnect::default() };
        steps.insert(0, CheckStep::Connect(connect));
    }
    steps
}

/// Chooses a method, or takes it back; returns whether it is now chosen.
fn chooses(proxy: &mut ProxyContext, args: &mut Args<'_>, method: Method) -> bool {
    if !proxy.has_side(args, BACK) {
        return false;
    }
    let check = &mut proxy.draft.check;
    check.script = None;
    match args.modifier() {
        Modifier::None => check.method = method,
        Modifier::No | Modifier::Default if check.method == method => {
            check.method = Method::Connect
        }
        Modifier::No | Modifier::Default => {}
    }
    value(args)
}
