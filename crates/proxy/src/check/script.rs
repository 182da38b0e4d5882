//! One check of one server, from its first connection to what it found.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use telamon_http_proto::{Limits, Method};
use telamon_runtime::connect::{ConnectErrorKind, connect, connect_directly, probe};
use telamon_runtime::{Endpoint, Socket};
use telamon_tls::{Connector, Handshake};
use tokio::time::{Instant, timeout_at};

use super::expect::{Judged, judge_bytes, judge_response, text};
use super::packet::{self, Answered};
use super::reply::Reply;
use super::{CheckStatus, Finding, request, words};
use crate::expr::{SetConditions, ValueType, Variables};
use crate::model::{
    CheckConnect, CheckExpect, CheckMethod, CheckPort, CheckProtocol, CheckRequest, CheckStep,
    Expected, Proxy, ProxyId, Script, Server, ServerCheck, ServerId,
};
use crate::proxy_protocol;
use crate::snapshot::Snapshot;
use crate::stream::{CheckSight, Context, Direction};
use crate::tls;

/// Checks a server once. Ends by itself, at the latest when the time-outs of its connections are over.
pub(super) async fn check(snapshot: &Snapshot, proxy: ProxyId, server: ServerId) -> Finding {
    let gone = || Finding::new(CheckStatus::SocketError, "the server is not checked");
    let Some(config) = snapshot.model.server(proxy, server) else { return gone() };
    let Some(check) = &config.check else { return gone() };
    let check = &match config.state.check_target() {
        (None, None) => Cow::Borrowed(check),
        (address, port) => Cow::Owned(ServerCheck {
            address: address.or(check.address),
            port: port.or(check.port),
            ..check.clone()
        }),
    };
    let Some(backend) = &snapshot.model.proxy(proxy).backend else { return gone() };
    match &backend.check {
        CheckMethod::Connect => connect_once(snapshot.model.proxy(proxy), config, check).await,
        CheckMethod::Script(script) => {
            let mut run = Run::new(snapshot, (proxy, server), (config, check), script);
            run.steps().await.unwrap_or_else(|finding| finding)
        }
    }
}

/// How long a connection may take to stand: all of the interval, or `timeout connect` where `timeout check` leaves the
/// rest its own time.
fn connect_deadline(proxy: &Proxy, check: &ServerCheck) -> Instant {
    let limit = proxy.timeouts.check.and(proxy.timeouts.connect).unwrap_or(Duration::MAX);
    Instant::now() + check.inter.min(limit)
}

async fn connect_once(proxy: &Proxy, server: &Server, check: &ServerCheck) -> Finding {
    let to = endpoint(server, check, &CheckConnect::default(), None);
    let deadline = connect_deadline(proxy, check);
    let tls = server.check_tls.as_ref().filter(|tls| tls.always);
    let connecting = async {
        match (check.via_socks4, tls) {
            (true, _) => connect(&to, &server.connect).await,
            (false, Some(_)) => connect_directly(&to, &server.connect).await,
            (false, None) => probe(&to, &server.connect).await,
        }
    };
    match timeout_at(deadline, connecting).await {
        Ok(Ok(mut socket)) => {
            let Some(tls) = tls else { return Finding::new(CheckStatus::L4Ok, "") };
            // Closing then leaves nothing behind; where that fails it is closed all the same.
            let _ = socket.set_nolinger();
            if let Some(settings) = &check.send_proxy {
                let mut preface = Vec::new();
                proxy_protocol::write_for_check(&socket, settings, &mut preface);
                if let Err(error) = socket.write_all(&preface).await {
                    return Finding::new(CheckStatus::L4Connection, error.to_string());
                }
            }
            let shaken = tls::connect(&mut socket, &tls.connector, tls.sni.as_deref(), None);
            match timeout_at(deadline, shaken).await {
                Ok(Ok(_)) => Finding::new(CheckStatus::L6Ok, ""),
                Ok(Err(failure)) => Finding::new(CheckStatus::L6Response, failure.error.text()),
                Err(_) => Finding::new(CheckStatus::L6Timeout, ""),
            }
        }
        Ok(Err(error)) => {
            Finding::new(CheckStatus::L4Connection, words::connect_failure(&error, !to.is_inet()))
        }
        Err(_) => Finding::new(CheckStatus::L4Timeout, ""),
    }
}

/// Where to connect: what the step says, else what the server's `addr` and `port` say, else where the server is.
fn endpoint(
    server: &Server,
    check: &ServerCheck,
    step: &CheckConnect,
    sampled_port: Option<u16>,
) -> Endpoint {
    let own = server.state.address().endpoint;
    let ip = step.address.map(|address| address.ip()).or(check.address).or_else(|| own.ip());
    let Some(ip) = ip else { return own };
    let fixed = match &step.port {
        Some(CheckPort::Fixed(port)) => Some(*port),
        _ => None,
    };
    let port = [fixed, sampled_port, step.address.map(|address| address.port()), check.port]
        .into_iter()
        .flatten()
        .find(|port| *port != 0)
        .or_else(|| own.port())
        .unwrap_or(0);
    std::net::SocketAddr::new(ip, port).into()
}

/// A script under way.
pub(super) struct Run<'a> {
    snapshot: &'a Snapshot,
    proxy: &'a Proxy,
    server: &'a Server,
    check: &'a ServerCheck,
    script: &'a Script,
    /// The same proxy and server by number.
    ids: (ProxyId, ServerId),
    socket: Option<Socket>,
    /// What TLS agreed on.
    tls: Option<Handshake>,
    reply: Reply,
    /// The server sends no more.
    ended: bool,
    deadline: Instant,
    variables: RefCell<Variables>,
    /// The last connection, transmission or expectation begun; what a failure is reported for.
    current: usize,
    code: u16,
    /// What the last packet told.
    told: String,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        ids: (ProxyId, ServerId),
        (server, check): (&'a Server, &'a ServerCheck),
        script: &'a Script,
    ) -> Self {
        let proxy = snapshot.model.proxy(ids.0);
        let tune = &snapshot.model.global.tune;
        let limits = Limits {
            head_max: tune.bufsize,
            rewritten_max: tune.bufsize,
            rewrite_reserve: tune.maxrewrite,
            headers_max: tune.http_maxhdr,
            accept_invalid: proxy.options.accept_invalid_http_response,
            keep_case: false,
        };
        Self {
            snapshot,
            proxy,
            server,
            check,
            script,
            ids,
            socket: None,
            tls: None,
            reply: Reply::new(script.protocol, limits, tune.bufsize),
            ended: false,
            deadline: Instant::now(),
            variables: RefCell::default(),
            current: 0,
            code: 0,
            told: String::new(),
        }
    }

    /// Goes through the steps; the error is what ended them early.
    pub(super) async fn steps(&mut self) -> Result<Finding, Finding> {
        let script = self.script;
        let mut at = 0;
        let mut last = None;
        // An expectation looks at what is there already if one before it has read it.
        let mut must_read = true;
        while let Some(step) = script.steps.get(at) {
            if !matches!(step, CheckStep::Comment(_)) {
                self.code = 0;
            }
            match step {
                CheckStep::Connect(connect) => {
                    if self.is_cut_short().await {
                        return Err(Finding::new(CheckStatus::SocketError, ""));
                    }
                    (self.current, last, must_read) = (at, Some(step), true);
                    self.connect(connect).await?;
                }
                CheckStep::Send { data, .. } => {
                    (self.current, last, must_read) = (at, Some(step), true);
                    let bytes = self.with_context(Direction::Request, |cx| {
                        match (text(data, cx), data) {
                            (Ok(bytes), _) => Ok(bytes.into_owned()),
                            // A format that comes out empty sends nothing.
                            (Err(_), crate::model::CheckText::Format(_)) => Ok(Vec::new()),
                            (Err(_), _) => Err(()),
                        }
                    });
                    self.reply.restart(Method::Other);
                    self.send(&bytes.map_err(|()| self.unsendable(at))?).await?;
                }
                CheckStep::Request(request) => {
                    (self.current, last, must_read) = (at, Some(step), true);
                    self.request(request).await?;
                }
                CheckStep::Expect(expect) => {
                    (self.current, last) = (at, Some(step));
                    if must_read {
                        self.receive().await?;
                        must_read = false;
                    }
                    if !self.expect(at, expect)? {
                        at = self.first_of_chain(at);
                        self.current = at;
                        must_read = true;
                        continue;
                    }
                }
                CheckStep::SetVar { variable, value } => {
                    self.with_context(Direction::Response, |cx| {
                        if let Some(value) = value.eval(cx) {
                            variable.set(cx, value, SetConditions::default());
                        }
                    });
                }
                CheckStep::SetVarFormat { variable, value } => {
                    self.with_context(Direction::Response, |cx| {
                        let mut text = Vec::new();
                        value.render(cx, &mut text);
                        let value = crate::expr::Value::Str(text.into());
                        variable.set(cx, value, SetConditions::default());
                    });
                }
                CheckStep::UnsetVar(variable) => {
                    self.with_context(Direction::Response, |cx| variable.unset(cx));
                }
                CheckStep::Comment(_) => {}
            }
            at += 1;
        }
        Ok(self.passed(last))
    }

    /// Whether the server has closed within the answer before the next connection. An expectation may have held before that
    /// showed; HAProxy tells it where the close has come by then.
    async fn is_cut_short(&mut self) -> bool {
        let until = Instant::now() + CLOSE_PATIENCE;
        while let (true, false, Some(socket)) = (self.reply.is_cut(), self.ended, &self.socket) {
            let space = self.reply.space();
            let reading = std::future::poll_fn(|cx| socket.poll_read_append(cx, space));
            match timeout_at(until, reading).await {
                Ok(Ok(count)) if count > 0 => self.reply.received(count),
                Ok(_) => self.ended = true,
                Err(_) => break,
            }
        }
        self.ended && self.reply.is_cut()
    }

    /// What came since something was last sent.
    pub(super) fn received(&self) -> &[u8] {
        self.reply.bytes()
    }

    /// All steps went well.
    fn passed(&mut self, last: Option<&CheckStep>) -> Finding {
        let by_tcp_check =
            if self.script.protocol == CheckProtocol::Tcp { "(tcp-check)" } else { "" };
        match last {
            Some(CheckStep::Expect(_)) if self.is_conditional() => {
                Finding { code: self.code, ..Finding::new(CheckStatus::L7OkConditional, "") }
            }
            Some(CheckStep::Expect(expect)) => {
                let text = self.formatted(expect.on_success.as_deref());
                let text = match &expect.what {
                    Expected::Packet(_) => std::mem::take(&mut self.told),
                    _ => text.unwrap_or_else(|| by_tcp_check.to_owned()),
                };
                self.take_code(expect);
                let status = expect.ok_status.unwrap_or(CheckStatus::L7Ok);
                Finding { code: self.code, ..Finding::new(status, text) }
            }
            Some(CheckStep::Connect(connect)) => {
                let layer4 = self.tls.is_none();
                let status = if layer4 { CheckStatus::L4Ok } else { CheckStatus::L6Ok };
                Finding::new(status, if connect.implicit { "" } else { "(tcp-check)" })
            }
            _ => Finding::new(CheckStatus::L7Ok, "(tcp-check)"),
        }
    }

    async fn connect(&mut self, step: &CheckConnect) -> Result<(), Finding> {
        self.socket = None;
        self.tls = None;
        self.ended = false;
        self.reply.restart(Method::Other);
        let sampled = match &step.port {
            Some(CheckPort::Sample(expr)) => {
                self.with_context(Direction::Request, |cx| match expr.eval_as(cx, ValueType::Int) {
                    Some(crate::expr::Value::Int(port)) => u16::try_from(port).ok(),
                    _ => None,
                })
            }
            _ => None,
        };
        let to = endpoint(self.server, self.check, step, sampled);
        self.deadline = connect_deadline(self.proxy, self.check);
        let through = step.via_socks4 || (step.as_server && self.check.via_socks4);
        let connecting = async {
            match through {
                true => connect(&to, &self.server.connect).await,
                false => connect_directly(&to, &self.server.connect).await,
            }
        };
        match timeout_at(self.deadline, connecting).await {
            Ok(Ok(socket)) => {
                if !step.linger {
                    // Closing then leaves nothing behind; where that fails it is closed all the same.
                    let _ = socket.set_nolinger();
                }
                let mut preface = Vec::new();
                let settings = match step.send_proxy {
                    true => Some(self.server.send_proxy.unwrap_or_default()),
                    false => self.check.send_proxy.filter(|_| step.as_server),
                };
                if let Some(settings) = &settings {
                    proxy_protocol::write_for_check(&socket, settings, &mut preface);
                }
                self.socket = Some(socket);
                if !preface.is_empty() {
                    self.send(&preface).await?;
                }
                self.shake_hands(step).await?;
                if let Some(timeout) = self.proxy.timeouts.check {
                    self.deadline = Instant::now() + timeout;
                }
                Ok(())
            }
            // The server let it in and reset it at once. HAProxy, which sends along with the end of the handshake, learns it
            // when it waits for the answer; where nothing is to be sent, it takes it for a refusal.
            Ok(Err(error)) if error.kind == ConnectErrorKind::Reset && self.sends_next() => {
                self.current = self.next_expectation();
                Err(self.broken(&error.source))
            }
            Ok(Err(error)) => {
                let text = words::connect_failure(&error, !to.is_inet());
                Err(self.failed_here(CheckStatus::L4Connection, &text))
            }
            Err(_) => Err(self.failed_here(CheckStatus::L4Timeout, "")),
        }
    }

    /// Begins TLS, if the step or the server's line asks for it.
    async fn shake_hands(&mut self, step: &CheckConnect) -> Result<(), Finding> {
        let Some(connector) = self.connector(step) else { return Ok(()) };
        let of_line = self.server.check_tls.as_ref();
        let name = step.sni.as_deref().or_else(|| of_line?.sni.as_deref());
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let shaken = tls::connect(socket, connector, name, step.alpn.as_deref());
        match timeout_at(self.deadline, Box::pin(shaken)).await {
            Ok(Ok(tls)) => {
                self.tls = Some(tls);
                Ok(())
            }
            Ok(Err(failure)) => {
                Err(self.failed_here(CheckStatus::L6Response, failure.error.text()))
            }
            Err(_) => Err(self.failed_here(CheckStatus::L6Timeout, "")),
        }
    }

    fn connector(&self, step: &CheckConnect) -> Option<&'a Connector> {
        let tls = self.server.check_tls.as_ref()?;
        (step.tls || step.as_server && tls.always).then_some(&*tls.connector)
    }

    /// Whether the step behind the current connection sends something.
    fn sends_next(&self) -> bool {
        let rest = self.script.steps.get(self.current + 1..).unwrap_or_default();
        let next = rest.iter().find(|step| {
            matches!(step, CheckStep::Send { .. } | CheckStep::Request(_) | CheckStep::Expect(_))
        });
        matches!(next, Some(CheckStep::Send { .. } | CheckStep::Request(_)))
    }

    /// The next step that waits for something, or the current one.
    fn next_expectation(&self) -> usize {
        let expects = |at: &usize| matches!(self.script.steps[*at], CheckStep::Expect(_));
        (self.current..self.script.steps.len()).find(expects).unwrap_or(self.current)
    }

    async fn request(&mut self, request: &CheckRequest) -> Result<(), Finding> {
        let mut bytes = Vec::new();
        let of = (self.proxy, self.server);
        self.with_context(Direction::Request, |cx| {
            request::write(request, self.script.send_state, of, cx, &mut bytes);
        });
        self.reply.restart(Method::of(&request.method));
        self.send(&bytes).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Finding> {
        let Some(socket) = &self.socket else { return Err(self.unconnected()) };
        match timeout_at(self.deadline, socket.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.failed_here(CheckStatus::L7Timeout, "")),
        }
    }

    /// Waits until something has come, or nothing will.
    async fn receive(&mut self) -> Result<(), Finding> {
        if self.ended || self.reply.is_over() {
            return self.received_anything();
        }
        let Some(socket) = &self.socket else { return Err(self.unconnected()) };
        let space = self.reply.space();
        let reading = std::future::poll_fn(|cx| socket.poll_read_append(cx, space));
        match timeout_at(self.deadline, reading).await {
            Ok(Ok(0)) => self.ended = true,
            Ok(Ok(count)) => self.reply.received(count),
            Ok(Err(error)) if self.reply.is_empty() => return Err(self.broken(&error)),
            // Many servers reset the connection behind their last byte.
            Ok(Err(_)) => self.ended = true,
            Err(_) => {
                let status = match &self.script.steps[self.current] {
                    CheckStep::Expect(expect) => expect.tout_status,
                    _ => None,
                };
                return Err(self.failed_here(status.unwrap_or(CheckStatus::L7Timeout), ""));
            }
        }
        self.received_anything()
    }

    fn received_anything(&self) -> Result<(), Finding> {
        if self.script.protocol == CheckProtocol::Http || !self.reply.is_empty() {
            return Ok(());
        }
        let status = match &self.script.steps[self.current] {
            CheckStep::Expect(expect) => expect.error_status,
            _ => None,
        };
        let text = words::empty(self.script, self.current);
        Err(Finding::new(status.unwrap_or(CheckStatus::L7Response), text))
    }

    /// Whether an expectation holds; `false` waits for more.
    fn expect(&mut self, at: usize, expect: &CheckExpect) -> Result<bool, Finding> {
        let last = self.ended || self.reply.is_over();
        if let Expected::Packet(packet) = &expect.what {
            return match packet::judge(*packet, self.reply.bytes(), last) {
                Answered::Wait => Ok(false),
                Answered::Well(text) => {
                    self.told = text;
                    Ok(true)
                }
                Answered::Badly(finding) => Err(finding),
            };
        }
        let judged = if self.script.protocol == CheckProtocol::Http {
            self.code = self.reply.response().map_or(0, |response| response.status());
            if self.is_conditional() {
                return Ok(true);
            }
            self.with_context(Direction::Response, |cx| {
                judge_response(expect, &self.reply, last, cx)
            })
        } else {
            self.with_context(Direction::Response, |cx| {
                judge_bytes(expect, self.reply.bytes(), last, cx)
            })
        };
        let failure = match judged {
            Judged::Wait => return Ok(false),
            Judged::Holds => return Ok(true),
            Judged::Fails(failure) => failure,
        };
        let said = self.formatted(expect.on_error.as_deref());
        let mut text = match (said, failure.text) {
            (Some(said), _) => said,
            (None, Some(text)) => text.into_owned(),
            (None, None) if self.script.protocol == CheckProtocol::Tcp => {
                words::mismatch(self.script, at, failure.matched)
            }
            (None, None) => String::new(),
        };
        if let Some(comment) = words::comment(self.script, at) {
            text.push_str(" comment: ");
            text.push_str(comment);
        }
        self.take_code(expect);
        Err(Finding { code: self.code, ..Finding::new(failure.status, text) })
    }

    /// A 404 that takes the server out of the balancing rather than down: only where it was not down.
    fn is_conditional(&self) -> bool {
        self.script.disable_on_404
            && self.code == 404
            && self.server.state.member.status().run != telamon_balance::Run::Stopped
    }

    /// Where to begin again when more has come: the first expectation of this chain that forbids something, since what
    /// is new may be just that.
    fn first_of_chain(&self, at: usize) -> usize {
        let mut first = at;
        for before in (0..at).rev() {
            match &self.script.steps[before] {
                CheckStep::Expect(expect) if expect.negated => first = before,
                CheckStep::Connect(_) | CheckStep::Send { .. } | CheckStep::Request(_) => break,
                _ => {}
            }
        }
        first
    }

    fn formatted(&self, format: Option<&crate::expr::LogFormat>) -> Option<String> {
        let mut text = Vec::new();
        self.with_context(Direction::Response, |cx| format.map(|f| f.render(cx, &mut text)))?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn take_code(&mut self, expect: &CheckExpect) {
        let Some(expr) = &expect.status_code else { return };
        let code = self.with_context(Direction::Response, |cx| {
            // Bytes are read as text, and text as a number.
            match expr.eval_as(cx, ValueType::Str)?.cast(ValueType::Int)? {
                crate::expr::Value::Int(code) => u16::try_from(code).ok(),
                _ => None,
            }
        });
        self.code = code.unwrap_or(self.code);
    }

    /// The connection failed, or time is over, at the current step.
    fn failed_here(&self, status: CheckStatus, text: &str) -> Finding {
        Finding::new(status, format!("{text}{}", words::place(self.script, self.current)))
    }

    fn broken(&self, error: &io::Error) -> Finding {
        self.failed_here(CheckStatus::SocketError, &words::socket_failure(error))
    }

    fn unsendable(&self, at: usize) -> Finding {
        let step = words::step_number(self.script, at);
        let text = format!("tcp-check send : failed to build log-format string at step {step}");
        Finding::new(CheckStatus::L7Response, text)
    }

    /// The loader puts a connection before all else.
    fn unconnected(&self) -> Finding {
        self.failed_here(CheckStatus::SocketError, "not connected")
    }

    fn with_context<R>(&self, direction: Direction, f: impl FnOnce(&Context<'_>) -> R) -> R {
        let wants_more = Cell::new(false);
        let sight = CheckSight {
            backend: self.ids.0,
            server: self.ids.1,
            response: self.reply.response(),
            content: self.reply.content(),
            tls: self.tls.as_ref(),
        };
        f(&Context {
            model: &self.snapshot.model,
            session: None,
            stream: None,
            check_vars: Some(&self.variables),
            check: Some(&sight),
            direction,
            wants_more: &wants_more,
        })
    }
}

/// How long the close behind an answer that is not whole yet may take to show, before the next connection.
const CLOSE_PATIENCE: Duration = Duration::from_millis(2);
