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

    /// The steps of a check by HTTP: those that are written, with the request of `option httpchk` where the first
    /// exchange sends none.
    fn http_steps(&self) -> Vec<CheckStep> {
        let written = self.http.as_deref().map_or(&[][..], |steps| steps);
        let own_request = match self.request.as_deref() {
            Some(request) => request.clone(),
            None => CheckRequest::default(),
        };
        let mut steps = written.to_vec();
        let mut acting = (0..steps.len()).filter(|at| steps[*at].acts());
        let mut first = acting.next();
        let mut behind_connect = None;
        if let Some(at) = first
            && matches!(steps[at], CheckStep::Connect(_))
        {
            behind_connect = Some(at + 1);
            first = acting.next();
        }
        match first.map(|at| &mut steps[at]) {
            // Adds to the request of the option.
            Some(CheckStep::Request(request)) => request.complete(&own_request),
            _ => {
                let at = behind_connect.or(first).unwrap_or(steps.len());
                steps.insert(at, CheckStep::Request(Box::new(own_request)));
            }
        }
        for step in &mut steps {
            if let CheckStep::Request(request) = step {
                request.complete(&CheckRequest::default());
            }
        }
        // What is sent last has an answer.
        if let Some(CheckStep::Request(_)) = steps.iter().rev().find(|step| step.acts()) {
            steps.push(CheckStep::Expect(Box::new(CheckExpect::of(Expected::Status(Box::new([
                (200, 399),
            ]))))));
        }
        steps
    }
}

/// With a connection before anything is sent or awaited.
fn connected(mut steps: Vec<CheckStep>) -> Vec<CheckStep> {
    if !matches!(steps.iter().find(|step| step.acts()), Some(CheckStep::Connect(_))) {
        let connect = CheckConnect { implicit: true, as_server: true, ..CheckConnect::default() };
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
