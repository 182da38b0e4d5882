//! Checks of real servers on the loopback, from the first connection to the line in the log.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use regex::bytes::Regex;
use telamon_balance::Run;
use telamon_runtime::workers::block_on;

use super::*;
use crate::model::*;
use crate::state_change::scene::{LogEar, backend, server, shared};
use crate::state_change::{Order, Place, order};

/// A backend under checks, with its log.
struct Scene {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    checks: Checks,
    log: LogEar,
}

impl Scene {
    /// Starts to check a backend `b` with servers `s1`, `s2` … at these addresses, once per 50 ms, `rise 1 fall 1`.
    fn start(check: CheckMethod, log_checks: bool, servers: &[SocketAddr]) -> Self {
        let log = LogEar::new();
        let shared = shared();
        let model = model(check, log_checks, servers, &log);
        let snapshot = Arc::new(Snapshot { model, generation: 0 });
        let checks = Checks::start(Arc::clone(&snapshot), Arc::clone(&shared));
        Self { shared, snapshot, checks, log }
    }

    /// The next line of the log, with durations as `N`; empty when there is none for a second.
    async fn line(&self) -> String {
        let end = Instant::now() + Duration::from_secs(1);
        let duration = regex::Regex::new("duration: [0-9]+ms").unwrap();
        while Instant::now() < end {
            if let Some(line) = self.log.line() {
                return duration.replace(&line, "duration: Nms").into_owned();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        String::new()
    }

    fn server(&self, index: u32) -> &Server {
        self.snapshot.model.server(ProxyId(0), ServerId(index)).unwrap()
    }

    fn order(&self, index: u32, what: Order) {
        let place = Place { proxy: ProxyId(0), server: ServerId(index) };
        assert!(order(&self.shared, &self.snapshot, place, what, ""));
    }
}

fn model(check: CheckMethod, log_checks: bool, servers: &[SocketAddr], log: &LogEar) -> Model {
    let servers = servers.iter().zip(1..).map(|(address, number)| {
        let mut server = server(&format!("s{number}"), *address);
        server.check = Some(ServerCheck {
            via_socks4: false,
            inter: Duration::from_millis(50),
            fastinter: None,
            downinter: None,
            rise: 1,
            fall: 1,
            address: None,
            port: None,
            send_proxy: None,
        });
        server
    });
    let mut proxy = backend("b", servers.collect(), log);
    proxy.options.log_health_checks = log_checks;
    proxy.timeouts.check = Some(Duration::from_millis(60));
    if let Some(backend) = &mut proxy.backend {
        backend.check = check;
    }
    Model { proxies: vec![proxy], ..Model::default() }
}

/// A server that answers each connection with these bytes, once something has come if `reads`.
fn serve(answer: &'static [u8], reads: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            _ = client.set_read_timeout(Some(Duration::from_millis(500)));
            if reads {
                _ = client.read(&mut [0; 2000]);
            }
            _ = client.write_all(answer);
        }
    });
    address
}

/// A server whose kernel accepts, and that then says nothing.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::mem::forget(listener); // it listens as long as the tests run
    address
}

fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_server_goes_down_and_comes_back() {
    block_on(async {
        let address = nobody();
        let scene = Scene::start(CheckMethod::Connect, false, &[address, silent()]);
        assert_eq!(
            scene.line().await,
            "<129>Server b/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: Nms. 1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue."
        );
        assert_eq!(scene.server(0).state.member.status().run, Run::Stopped);
        let _listener = TcpListener::bind(address).unwrap();
        assert_eq!(
            scene.line().await,
            "<133>Server b/s1 is UP, reason: Layer4 check passed, check duration: Nms. 2 active and 0 backup servers online. 0 sessions requeued, 0 total in queue."
        );
        assert_eq!(scene.server(0).state.check_report().status, CheckStatus::L4Ok);
        assert_eq!(scene.server(0).state.health().transitions(), 1);
    });
}

#[test]
fn the_last_server_takes_the_backend_with_it() {
    block_on(async {
        let scene = Scene::start(CheckMethod::Connect, true, &[nobody()]);
        let refused = "<133>Health check for server b/s1 failed, reason: Layer4 connection problem, info: \"Connection refused\", check duration: Nms, status: 0/1 DOWN.";
        assert_eq!(scene.line().await, refused);
        let down = "<129>Server b/s1 is DOWN. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.";
        assert_eq!(scene.line().await, down);
        assert_eq!(scene.line().await, "<128>backend b has no server available!");
        // More of the same is not worth a line.
        assert_eq!(scene.line().await, "");
    });
}

#[test]
fn orders_are_followed_and_checks_rest_meanwhile() {
    block_on(async {
        let scene = Scene::start(CheckMethod::Connect, false, &[silent(), silent()]);
        scene.order(0, Order::Maintenance);
        let down = "<129>Server b/s1 is going DOWN for maintenance. 1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.";
        assert_eq!(scene.line().await, down);
        scene.order(0, Order::Ready);
        let up = "<133>Server b/s1 is UP/READY (leaving forced maintenance).";
        assert_eq!(scene.line().await, up);
        scene.order(0, Order::Drain);
        let drain = "<133>Server b/s1 enters drain state. 1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.";
        assert_eq!(scene.line().await, drain);
        scene.order(0, Order::Ready);
        assert_eq!(scene.line().await, "<133>Server b/s1 is UP (leaving forced drain).");
        assert_eq!(scene.snapshot.model.proxies[0].backend.as_ref().unwrap().pool.usable(), (2, 0));
        scene.checks.stop();
    });
}

#[test]
fn a_reload_keeps_health_and_checks_who_is_new() {
    block_on(async {
        let address = nobody();
        let mut scene = Scene::start(CheckMethod::Connect, false, &[address]);
        assert!(scene.line().await.starts_with("<129>Server b/s1 is DOWN"));
        assert!(scene.line().await.starts_with("<128>"));
        let mut model = model(CheckMethod::Connect, false, &[address, nobody()], &scene.log);
        crate::state::adopt(&mut model, &scene.snapshot.model);
        scene.snapshot = Arc::new(Snapshot { model, generation: 1 });
        scene.checks.reload(Arc::clone(&scene.snapshot));
        assert_eq!(scene.server(0).state.member.status().run, Run::Stopped);
        let line = scene.line().await;
        assert!(line.starts_with("<129>Server b/s2 is DOWN"), "{line}");
        assert!(line.contains("0 active and 0 backup servers left"), "{line}");
    });
}

fn connection() -> CheckStep {
    CheckStep::Connect(CheckConnect { implicit: true, ..CheckConnect::default() })
}

fn send(text: &str) -> CheckStep {
    CheckStep::Send { data: CheckText::Fixed(text.as_bytes().into()), comment: None }
}

fn expect(what: Expected) -> CheckStep {
    CheckStep::Expect(Box::new(CheckExpect {
        what,
        negated: false,
        min_recv: None,
        comment: None,
        ok_status: None,
        error_status: None,
        tout_status: None,
        on_success: None,
        on_error: None,
        status_code: None,
    }))
}

fn string(text: &str) -> CheckStep {
    expect(Expected::Contains(CheckText::Fixed(text.as_bytes().into())))
}

fn script(protocol: CheckProtocol, steps: Vec<CheckStep>) -> CheckMethod {
    let script = Script { protocol, steps, disable_on_404: false, send_state: false };
    CheckMethod::Script(Arc::new(script))
}

fn http(expected: CheckStep) -> CheckMethod {
    let request = CheckRequest {
        method: (*b"OPTIONS").into(),
        uri: CheckText::Fixed((*b"/").into()),
        version: (*b"HTTP/1.0").into(),
        headers: Vec::new(),
        body: None,
        comment: None,
    };
    let steps = vec![connection(), CheckStep::Request(Box::new(request)), expected];
    script(CheckProtocol::Http, steps)
}

/// The first line that `option log-health-checks` gives.
#[track_caller]
fn check(method: CheckMethod, server: SocketAddr, expected: &str) {
    let line = block_on(async { Scene::start(method, true, &[server]).line().await });
    let line = line.strip_prefix("<133>Health check for server b/s1 ").unwrap_or(&line).to_owned();
    assert_eq!(line.split(", check duration").next().unwrap_or_default(), expected);
}

#[test]
fn http_checks_say_what_haproxy_says() {
    let status = || http(expect(Expected::Status([(200, 399)].into())));
    let ok = || serve(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", true);
    check(status(), ok(), "succeeded, reason: Layer7 check passed, code: 200");
    check(
        status(),
        serve(b"HTTP/1.1 500 <Bad> \"thing\"\r\n\r\n", true),
        "failed, reason: Layer7 wrong status, code: 500, info: \"<3C>Bad<3E> <22>thing<22>\"",
    );
    check(
        status(),
        serve(b"what is this\r\n\r\n", true),
        "failed, reason: Layer7 invalid response",
    );
    check(status(), serve(b"", true), "failed, reason: Layer7 invalid response");
    check(status(), silent(), "failed, reason: Layer7 timeout");
    check(
        status(),
        nobody(),
        "failed, reason: Layer4 connection problem, info: \"Connection refused\"",
    );
    check(http(string("hello")), ok(), "succeeded, reason: Layer7 check passed, code: 200");
    check(
        http(string("nope")),
        ok(),
        "failed, reason: Layer7 invalid response, info: \"HTTP content check did not match\"",
    );
}

#[test]
fn an_answer_that_breaks_off_fails_the_next_exchange() {
    let request = || CheckStep::Request(Box::default());
    let status = || expect(Expected::Status([(200, 399)].into()));
    let exchanges = |count: usize| {
        let one = || [connection(), request(), status()];
        script(CheckProtocol::Http, (0..count).flat_map(|_| one()).collect())
    };
    let cut = || serve(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true);
    let ok = "succeeded, reason: Layer7 check passed, code: 200";
    // The status has come, and nobody looks further.
    check(exchanges(1), cut(), ok);
    check(exchanges(2), cut(), "failed, reason: Socket error");
    check(exchanges(2), serve(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true), ok);
    check(exchanges(2), serve(b"HTTP/3.7 200 OK\r\n\r\nabc", true), ok);
}

#[test]
fn tcp_checks_say_where_they_failed() {
    let tcp = |steps: Vec<CheckStep>| {
        let mut all = vec![connection()];
        all.extend(steps);
        script(CheckProtocol::Tcp, all)
    };
    let banner = || serve(b"220 mail ready\r\n", false);
    check(tcp(vec![]), banner(), "succeeded, reason: Layer4 check passed");
    check(
        tcp(vec![]),
        nobody(),
        "failed, reason: Layer4 connection problem, info: \"Connection refused at initial connection step of tcp-check\"",
    );
    let explicit = CheckStep::Connect(CheckConnect {
        comment: Some("first".into()),
        ..CheckConnect::default()
    });
    check(
        script(CheckProtocol::Tcp, vec![explicit]),
        nobody(),
        "failed, reason: Layer4 connection problem, info: \"Connection refused at step 1 of tcp-check (connect) comment: 'first'\"",
    );
    check(
        tcp(vec![string("220")]),
        banner(),
        "succeeded, reason: Layer7 check passed, code: 0, info: \"(tcp-check)\"",
    );
    let regex = Expected::Regex(Regex::new("^221").unwrap());
    check(
        tcp(vec![expect(regex)]),
        banner(),
        "failed, reason: Layer7 invalid response, info: \"TCPCHK did not match content (regex) at step 1\"",
    );
    check(
        tcp(vec![send("foo"), CheckStep::Comment("cc".into()), string("x")]),
        serve(b"", true),
        "failed, reason: Layer7 invalid response, info: \"TCPCHK got an empty response at step 3 comment: 'cc'\"",
    );
    check(
        tcp(vec![send("foo"), string("x")]),
        silent(),
        "failed, reason: Layer7 timeout, info: \" at step 2 of tcp-check (expect string 'x')\"",
    );
}

#[test]
fn first_checks_are_spread() {
    block_on(async {
        let unused = SocketAddr::from((IpAddr::from(Ipv4Addr::LOCALHOST), 9));
        let mut model = model(CheckMethod::Connect, false, &[unused; 200], &LogEar::new());
        for server in
            model.proxies.iter_mut().flat_map(|p| &mut p.backend).flat_map(|b| &mut b.servers)
        {
            server.check.as_mut().unwrap().inter = Duration::from_secs(2);
        }
        let shared = shared();
        let snapshot = Arc::new(Snapshot { model, generation: 0 });
        state_change::begin(&shared, &snapshot);
        let mut calendar = Calendar {
            shared,
            snapshot,
            entries: Vec::new(),
            by_state: HashMap::new(),
            due: BinaryHeap::new(),
            running: JoinSet::new(),
            rng: Rng::new(1),
        };
        calendar.fill();
        let first = calendar.entries[0].next;
        let steps = calendar.entries.windows(2).map(|pair| pair[1].next - pair[0].next);
        assert!(steps.clone().all(|step| step.as_millis().abs_diff(10) <= 1));
        assert_eq!((calendar.entries[199].next - first).as_millis(), 1990);
    });
}
