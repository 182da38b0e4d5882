//! The status page: HTML, live numbers, CSV and JSON, and the actions of operators.
//!
//! A proxy with `stats enable` asks [`Pages`] for requests whose target begins with its `stats uri`, after its
//! rules. The page is one HTML document with a style sheet and a script, all served below that URI; numbers then
//! come as compact JSON. The curves are drawn by the page's own script: three small lines a proxy need no library.
//!
//! Options after the URI, the posted form and the redirect after it are HAProxy's, so scripts keep working. Added
//! are `;live`, `;history` and the action `weight`. Left out: HAProxy's HTML, which scripts should not read, and the
//! `Refresh` header on it, because a page that updates itself must not be loaded anew.

mod json;
mod query;
mod summary;
mod view;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use telamon_balance::stats::{Action, Column, Field, Info, Kind, Kinds, Proxy};
use telamon_runtime::service::{PageRequest, PageResponse, Service};

use self::json::Json;
use self::query::{Form, Format, Outcome, Query};
use self::summary::{Problem, Summary, Verdict};
use self::view::{HEADINGS, Heading, RowView};
use crate::format;
use crate::history::SECONDS;
use crate::select::{self, Selection};
use crate::{Console, Dump, curve_of, info_of};

/// What `stats …` sets for one page.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What the page's addresses begin with (`stats uri`).
    pub uri: String,
    /// `stats refresh`: how often the numbers are fetched; each second unless set.
    pub refresh: Option<Duration>,
    /// `stats hide-version`.
    pub hide_version: bool,
    /// `stats scope`: names of the proxies that are shown; empty shows all.
    pub scope: Vec<Box<str>>,
    /// `stats show-legends`: addresses, algorithms and cookies may be seen.
    pub show_legends: bool,
    /// `stats show-node`.
    pub node: Option<String>,
    /// `stats show-desc`.
    pub description: Option<String>,
}

/// The status pages of all proxies: the [`Service`] that their listeners ask.
pub struct Pages {
    console: Arc<Console>,
    /// By the proxy that the page is on.
    settings: RefCell<HashMap<String, Settings>>,
}

impl Pages {
    pub fn new(console: Arc<Console>) -> Self {
        Self { console, settings: RefCell::default() }
    }

    /// Replaces the settings, by proxy; a reload may have changed them.
    pub fn set(&self, settings: HashMap<String, Settings>) {
        self.settings.replace(settings);
    }
}

impl Service for Pages {
    fn answer(&self, request: &PageRequest) -> PageResponse {
        match self.settings.borrow().get(&request.proxy) {
            Some(settings) => Page { console: &self.console, settings }.answer(request),
            // A reload has taken the page away while the request was under way.
            None => respond(404, "text/plain", b"no status page here\n".to_vec()),
        }
    }
}

/// One proxy's page.
struct Page<'a> {
    console: &'a Console,
    settings: &'a Settings,
}

impl Page<'_> {
    fn answer(&self, request: &PageRequest) -> PageResponse {
        let target = match &request.query {
            Some(query) => format!("{}?{query}", request.path),
            None => request.path.clone(),
        };
        let query = Query::parse(target.strip_prefix(&self.settings.uri).unwrap_or_default());
        if request.method == "POST" {
            return self.redirect(self.act(request), &query);
        }
        let mut response = match query.format {
            Format::Html => self.html(&query, request.admin),
            Format::Csv => self.dump(&query, format::Format::Csv),
            Format::Typed => self.dump(&query, format::Format::Typed),
            Format::Json => self.dump(&query, format::Format::Json),
            Format::JsonSchema => self
                .with_refresh(&query, respond(200, "application/json", format::JSON_SCHEMA.into())),
            Format::Live => respond(200, "application/json", self.live(&query)),
            Format::History => respond(200, "application/json", self.curves(&query)),
            Format::Stylesheet => asset("text/css", STYLESHEET),
            Format::Script => asset("text/javascript", SCRIPT),
        };
        if request.method == "HEAD" {
            response.body.clear();
        }
        response
    }

    fn act(&self, request: &PageRequest) -> Outcome {
        // A browser says when the form stood on another site's page.
        let foreign =
            matches!(request.header("sec-fetch-site"), Some(b"cross-site" | b"same-site"));
        if !request.admin || foreign {
            return Outcome::Denied;
        }
        let Some(form) = Form::parse(&request.body) else { return Outcome::BadParameters };
        let Some(action) = &form.action else { return Outcome::Nothing };
        let Some(action) = action_of(action, form.weight.as_deref()) else {
            return Outcome::BadParameters;
        };
        let Some(backend) = &form.backend else { return Outcome::Nothing };
        let Some(backend) = self.backend_of(backend) else { return Outcome::BadParameters };
        let done = |server: &&String| {
            self.console
                .sources()
                .iter()
                .any(|source| source.act(&backend, server, &action).is_ok())
        };
        match (form.servers.iter().filter(done).count(), form.servers.len()) {
            (_, 0) => Outcome::Nothing,
            (0, _) => Outcome::BadParameters,
            (done, all) if done == all => Outcome::Done,
            _ => Outcome::Partly,
        }
    }

    /// The name of a backend that is shown here, from its name or its `#id`.
    fn backend_of(&self, text: &str) -> Option<String> {
        let kinds = Kinds::BACKEND;
        let mut proxies =
            Proxies::new(self.console, Selection { kinds, ..self.selection(&Query::default()) });
        let id = text.strip_prefix('#').and_then(|id| id.parse().ok());
        proxies.find_map(|proxy| {
            let row = proxy.rows.iter().find(|row| row.kind == Kind::Backend)?;
            let name = select::text(row, Column::Pxname);
            (name == text || id == Some(select::number(row, Column::Iid))).then(|| name.to_owned())
        })
    }

    /// Back to the page, so that loading it anew does not post again.
    fn redirect(&self, outcome: Outcome, query: &Query) -> PageResponse {
        let mut response = respond(303, "text/plain", Vec::new());
        let location = format!("{};st={}{}", self.settings.uri, outcome.code(), query.kept());
        response.headers.push(("location".to_owned(), location));
        response
    }

    fn selection(&self, query: &Query) -> Selection {
        Selection {
            hide_down: query.hide_down,
            hide_maint: query.hide_maint,
            names: self.settings.scope.clone(),
            part: query.scope.clone(),
            ..Selection::default()
        }
    }

    fn dump(&self, query: &Query, format: format::Format) -> PageResponse {
        let content_type =
            if format == format::Format::Json { "application/json" } else { "text/plain" };
        let mut selection = self.selection(query);
        selection.hide_addresses = !self.settings.show_legends;
        match Dump::new(self.console.sources().to_vec(), selection, format).whole(DUMP_LEN_MAX) {
            Some(body) => self.with_refresh(query, respond(200, content_type, body)),
            None => respond(503, "text/plain", DUMP_TOO_LONG.into()),
        }
    }

    fn with_refresh(&self, query: &Query, mut response: PageResponse) -> PageResponse {
        if let Some(refresh) = self.settings.refresh.filter(|_| !query.no_refresh) {
            response.headers.push(("refresh".to_owned(), refresh.as_secs().to_string()));
        }
        response
    }

    fn html(&self, query: &Query, admin: bool) -> PageResponse {
        let info = info_of(self.console.sources());
        let field = |field| info.get(field).map(ToString::to_string).unwrap_or_default();
        let shown = self.shown(query, &info);
        let seconds =
            self.settings.refresh.filter(|_| !query.no_refresh).map(|refresh| refresh.as_secs());
        let page = PageTemplate {
            product: PRODUCT,
            version: (!self.settings.hide_version).then(|| field(Field::Version)),
            uri: &self.settings.uri,
            query: query.kept(),
            scope: query.scope.as_deref(),
            assets: assets_version(),
            refresh: seconds,
            live: !query.no_refresh,
            every: seconds.unwrap_or(1).max(shown.rows as u64 / ROWS_A_SECOND),
            shape: shown.shape(),
            pid: field(Field::Pid),
            threads: field(Field::Nbthread),
            maxconn: field(Field::Maxconn),
            node: self.settings.node.as_deref(),
            description: self.settings.description.as_deref(),
            notice: query.outcome.map(Outcome::notice),
            facts: shown.facts,
            verdict: shown.verdict,
            problems: shown.problems,
            columns: HEADINGS,
            actions: ACTIONS,
            proxies: shown
                .proxies
                .into_iter()
                .map(|mut proxy| {
                    proxy.admin = admin && proxy.rows.iter().any(|row| row.pick);
                    proxy
                })
                .collect(),
            left_out: shown.left_out,
        };
        // Rendering only fails where a value's Display does, and none of these can.
        let html = page.render().unwrap_or_default();
        let mut response = respond(200, "text/html; charset=utf-8", html.into());
        response
            .headers
            .push(("content-security-policy".to_owned(), CONTENT_SECURITY_POLICY.to_owned()));
        response.headers.push(("x-content-type-options".to_owned(), "nosniff".to_owned()));
        response
    }

    /// Everything that the page and its live numbers say of what runs.
    fn shown(&self, query: &Query, info: &Info) -> Shown {
        let mut summary = Summary::default();
        let (mut proxies, mut rows, mut left_out) = (Vec::new(), 0, 0);
        let history = self.console.history();
        for proxy in Proxies::new(self.console, self.selection(query)) {
            summary.add(&proxy);
            let room = ROWS_MAX.saturating_sub(rows);
            if proxy.rows.len() > room {
                left_out += proxy.rows.len() - room;
            }
            if room == 0 {
                continue;
            }
            let mut view = self.proxy(&proxy, room);
            view.curves =
                view.curve.as_deref().is_some_and(|curve| history.latest(curve).is_some());
            rows += view.rows.len();
            proxies.push(view);
        }
        let number = |field| info.get(field).map(ToString::to_string).unwrap_or_default();
        let traffic = match info.get(Field::BytesOutRate) {
            Some(telamon_balance::stats::Value::Unsigned(rate)) => *rate,
            _ => 0,
        };
        Shown {
            facts: Facts {
                uptime: number(Field::Uptime),
                servers: format!("{} of {}", summary.servers_up, summary.servers),
                connections: format!("{} of {}", number(Field::CurrConns), number(Field::Maxconn)),
                queue: summary.waiting.to_string(),
                traffic: format!("{}B/s", view::size(traffic)),
            },
            verdict: summary.verdict(),
            problems: summary.into_problems(),
            proxies,
            rows: rows + left_out,
            left_out,
        }
    }

    fn proxy(&self, proxy: &Proxy, room: usize) -> ProxyView {
        let front = proxy.rows.iter().find(|row| row.kind == Kind::Frontend);
        let back = proxy.rows.iter().find(|row| row.kind == Kind::Backend);
        let any = &proxy.rows[0]; // a proxy without a selected row is not shown
        let section = match (front, back) {
            (Some(_), Some(_)) => "listen",
            (Some(_), None) => "frontend",
            _ => "backend",
        };
        let mut what = format!("{section} · {}", select::text(any, Column::Mode));
        if let Some(algorithm) =
            back.map(|row| select::text(row, Column::Algo)).filter(|text| !text.is_empty())
        {
            // Writing into a String cannot fail.
            let _ = write!(what, " · {algorithm}");
        }
        ProxyView {
            name: select::text(any, Column::Pxname).to_owned(),
            what,
            description: proxy.description.clone(),
            legend: self
                .settings
                .show_legends
                .then(|| format!("id {}", select::number(any, Column::Iid))),
            curve: back.or(front).map(curve_of),
            curves: false,
            admin: false,
            rows: proxy
                .rows
                .iter()
                .take(room)
                .map(|row| RowView::of(row, self.settings.show_legends))
                .collect(),
        }
    }

    fn live(&self, query: &Query) -> Vec<u8> {
        let info = info_of(self.console.sources());
        let shown = self.shown(query, &info);
        let mut json = Json::default();
        json.open('{');
        json.name("shape").text(&shown.shape());
        json.name("verdict").list([shown.verdict.level, &shown.verdict.text]);
        json.name("facts").open('{');
        for (name, value) in shown.facts.all() {
            json.name(name).text(value);
        }
        json.close('}');
        json.name("problems").open('[');
        for Problem { level, who, what, anchor } in &shown.problems {
            json.item().list([level.class(), who, what, anchor]);
        }
        json.close(']');
        json.name("rows").open('[');
        for row in shown.proxies.iter().flat_map(|proxy| &proxy.rows) {
            json.item().open('[');
            for text in [&row.key, row.class, &row.state, &row.since] {
                json.item().text(text);
            }
            json.item().open('[');
            for cell in &row.cells {
                json.item().cell(cell);
            }
            json.close(']').close(']');
        }
        json.close(']');
        let history = self.console.history();
        json.name("sampled").number(history.turns());
        json.name("samples").open('{');
        if let Some(sample) = history.latest_total() {
            json.name("").sample(sample);
        }
        for curve in shown.proxies.iter().filter_map(|proxy| proxy.curve.as_deref()) {
            if let Some(sample) = history.latest(curve) {
                json.name(curve).sample(sample);
            }
        }
        json.close('}').close('}');
        json.into_bytes()
    }

    fn curves(&self, query: &Query) -> Vec<u8> {
        let info = info_of(self.console.sources());
        let shown = self.shown(query, &info);
        let history = self.console.history();
        let mut json = Json::default();
        json.open('{');
        json.name("limit").number(SECONDS as u64);
        json.name("sampled").number(history.turns());
        json.name("curves").open('{');
        json.name("").curve(&history.total().collect::<Vec<_>>());
        for curve in shown.proxies.iter().filter_map(|proxy| proxy.curve.as_deref()) {
            json.name(curve).curve(&history.of(curve).collect::<Vec<_>>());
        }
        json.close('}').close('}');
        json.into_bytes()
    }
}

/// The selected proxies of all planes.
struct Proxies<'a> {
    console: &'a Console,
    selection: Selection,
    next: (usize, usize),
}

impl<'a> Proxies<'a> {
    fn new(console: &'a Console, selection: Selection) -> Self {
        Self { console, selection, next: (0, 0) }
    }
}

impl Iterator for Proxies<'_> {
    type Item = Proxy;

    /// The next one with a row to show.
    fn next(&mut self) -> Option<Proxy> {
        loop {
            let source = self.console.sources().get(self.next.0)?;
            match self.selection.proxy(&**source, self.next.1) {
                Some(proxy) => {
                    self.next.1 += 1;
                    if !proxy.rows.is_empty() {
                        return Some(proxy);
                    }
                }
                None => self.next = (self.next.0 + 1, 0),
            }
        }
    }
}

struct Shown {
    facts: Facts,
    verdict: Verdict,
    problems: Vec<Problem>,
    proxies: Vec<ProxyView>,
    /// Rows in all, shown or not.
    rows: usize,
    left_out: usize,
}

impl Shown {
    /// A fingerprint of which rows there are: when it changes, the open page is loaded anew.
    fn shape(&self) -> String {
        let mut hasher = DefaultHasher::new();
        for row in self.proxies.iter().flat_map(|proxy| &proxy.rows) {
            hasher.write(row.key.as_bytes());
            hasher.write_u8(0);
        }
        format!("{:x}", hasher.finish())
    }
}

struct Facts {
    uptime: String,
    servers: String,
    connections: String,
    queue: String,
    traffic: String,
}

impl Facts {
    fn all(&self) -> [(&'static str, &str); 5] {
        [
            ("uptime", &self.uptime),
            ("servers", &self.servers),
            ("connections", &self.connections),
            ("queue", &self.queue),
            ("traffic", &self.traffic),
        ]
    }
}

struct ProxyView {
    name: String,
    /// Section, mode and algorithm.
    what: String,
    description: Option<String>,
    legend: Option<String>,
    /// What its curve is known by.
    curve: Option<String>,
    /// Whether there is one.
    curves: bool,
    /// Whether its servers can be acted on.
    admin: bool,
    rows: Vec<RowView>,
}

#[derive(Template)]
#[template(path = "page.html")]
struct PageTemplate<'a> {
    product: &'static str,
    version: Option<String>,
    uri: &'a str,
    query: String,
    scope: Option<&'a str>,
    assets: String,
    /// Seconds, for browsers without scripts.
    refresh: Option<u64>,
    /// Whether the page begins with live numbers.
    live: bool,
    /// Seconds between live numbers.
    every: u64,
    shape: String,
    pid: String,
    threads: String,
    maxconn: String,
    node: Option<&'a str>,
    description: Option<&'a str>,
    /// CSS class and text.
    notice: Option<(&'static str, &'static str)>,
    facts: Facts,
    verdict: Verdict,
    problems: Vec<Problem>,
    columns: &'static [Heading],
    actions: &'static [(&'static str, &'static str)],
    proxies: Vec<ProxyView>,
    left_out: usize,
}

fn respond(status: u16, content_type: &str, body: Vec<u8>) -> PageResponse {
    let headers = [("cache-control", "no-cache"), ("content-type", content_type)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    PageResponse { status, headers, body }
}

/// The page names its style sheet and script with [`assets_version`], so they may be kept.
fn asset(content_type: &str, text: &str) -> PageResponse {
    let headers = [
        ("cache-control", "max-age=86400"),
        ("content-type", content_type),
        ("x-content-type-options", "nosniff"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    PageResponse { status: 200, headers, body: text.into() }
}

fn assets_version() -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(STYLESHEET.as_bytes());
    hasher.write(SCRIPT.as_bytes());
    format!("{:x}", hasher.finish())
}

/// The action of a form; the last four are the ones from before HAProxy 1.5.
fn action_of(word: &str, weight: Option<&str>) -> Option<Action> {
    Some(match word {
        "ready" | "enable" => Action::Ready,
        "drain" => Action::Drain,
        "maint" | "disable" => Action::Maintenance,
        "weight" => Action::Weight(weight.filter(|weight| !weight.is_empty())?.to_owned()),
        "dhlth" => Action::DisableChecks,
        "ehlth" => Action::EnableChecks,
        "hrunn" => Action::ForceUp,
        "hnolb" => Action::ForceStopping,
        "hdown" => Action::ForceDown,
        "dagent" => Action::DisableAgent,
        "eagent" => Action::EnableAgent,
        "arunn" => Action::AgentUp,
        "adown" => Action::AgentDown,
        "shutdown" => Action::KillSessions,
        "stop" => Action::Weight("0%".to_owned()),
        "start" => Action::Weight("100%".to_owned()),
        _ => return None,
    })
}

/// The actions as the page offers them.
const ACTIONS: &[(&str, &str)] = &[
    ("ready", "Set state to READY"),
    ("drain", "Set state to DRAIN"),
    ("maint", "Set state to MAINT"),
    ("weight", "Set weight"),
    ("shutdown", "Kill sessions"),
    ("dhlth", "Health: disable checks"),
    ("ehlth", "Health: enable checks"),
    ("hrunn", "Health: force UP"),
    ("hnolb", "Health: force NOLB"),
    ("hdown", "Health: force DOWN"),
    ("dagent", "Agent: disable checks"),
    ("eagent", "Agent: enable checks"),
    ("arunn", "Agent: force UP"),
    ("adown", "Agent: force DOWN"),
];

const PRODUCT: &str = "Telamon";
/// Bytes of a dump that is held for one request: the CSV of 400,000 servers, the JSON of 10,000.
const DUMP_LEN_MAX: usize = 128 << 20;
const DUMP_TOO_LONG: &str =
    "the answer is longer than 128 MiB: add ;scope=NAME, or ask the stats socket\n";
/// Rows that one page shows; with more, filter by `scope=`.
const ROWS_MAX: usize = 2000;
/// With more rows the numbers come less often, so that an open page costs the control thread little.
const ROWS_A_SECOND: u64 = 500;
const STYLESHEET: &str = include_str!("../assets/app.css");
const SCRIPT: &str = include_str!("../assets/app.js");
/// Nothing from elsewhere is loaded, framed or run.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'";

#[cfg(test)]
mod tests;
