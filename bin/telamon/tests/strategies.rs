//! What HAProxy does not have: least-time, usage, maglev, ketama, levels of priority, the panic threshold, and the
//! simulator that shows what they do.

use std::fmt::Write as _;
use std::process::Output;
use std::time::Duration;

use telamon_testkit::{Behaviour, RawClient, Telamon, TestServer, eventually, free_port};

/// Servers a, b, c …, each with its settings, behind one port.
struct Farm {
    servers: Vec<TestServer>,
    telamon: Telamon,
}

impl Farm {
    #[track_caller]
    fn new(lines: &str, settings: &[&str]) -> Self {
        let mut lines = lines.to_owned();
        let mut servers = Vec::new();
        for (name, settings) in ["a", "b", "c", "d"].into_iter().zip(settings) {
            let server = TestServer::named(name);
            write!(lines, "\nserver {server} {settings}").unwrap();
            servers.push(server);
        }
        Self { servers, telamon: Telamon::listen(&lines) }
    }

    /// Who answered as many requests, one after another.
    #[track_caller]
    fn answers(&self, count: usize) -> String {
        let mut client = self.telamon.connect();
        (0..count).map(|_| client.get("/").text()).collect()
    }

    /// How many of some 120 requests from four clients at once each server was given.
    #[track_caller]
    fn given(&self) -> Vec<usize> {
        let before: Vec<usize> = self.servers.iter().map(TestServer::requests).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = self.telamon.connect();
                    (0..30).for_each(|_| _ = client.get("/"));
                });
            }
        });
        self.servers.iter().zip(before).map(|(server, before)| server.requests() - before).collect()
    }
}

#[test]
fn least_time_leaves_a_slow_server_and_comes_back() {
    let farm = Farm::new("balance least-time", &["", "", ""]);
    farm.servers[1].becomes(Behaviour::Slow(Duration::from_millis(300)));
    farm.given(); // it learns
    let slow = farm.given();
    assert!(slow[1] < 12 && slow[0] > 20 && slow[2] > 20, "{slow:?}");
    farm.servers[1].becomes(Behaviour::Name);
    eventually("it has its share again", || farm.given()[1] > 25);
}

#[test]
fn least_time_leaves_a_server_that_fails_quickly() {
    let farm = Farm::new("balance least-time", &["", "", ""]);
    let error = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
    farm.servers[0].becomes(Behaviour::Raw(error.to_vec()));
    farm.given();
    let failing = farm.given();
    assert!(failing[0] < 12, "{failing:?}");
    farm.servers[0].becomes(Behaviour::Name);
    eventually("it has its share again", || farm.given()[0] > 25);
}

#[test]
fn least_time_of_connections_learns_from_those_that_are_refused() {
    let farm = Farm::new("mode tcp\nbalance least-time\nretries 1\noption redispatch 1", &["", ""]);
    farm.servers[0].kill();
    for _ in 0..20 {
        assert_eq!(farm.telamon.connect().get("/").text(), "b");
    }
}

fn reports(name: &str, load: &str) -> Behaviour {
    let text = format!("HTTP/1.1 200 OK\r\nX-Load: {load}\r\nContent-Length: 1\r\n\r\n{name}");
    Behaviour::Raw(text.into_bytes())
}

#[test]
fn usage_shares_by_what_servers_say_they_have_left() {
    let farm = Farm::new("balance usage header X-Load expire 1m", &["", "", ""]);
    for (server, load) in
        farm.servers.iter().zip(["cpu=0.8 mem=20%", "TEXT cpu_utilization=0.4", "0"])
    {
        server.becomes(reports(server.name(), load));
    }
    farm.answers(30);
    let answers = farm.answers(180); // 0.2 to 0.6 to 1
    let count = |name| answers.matches(name).count();
    assert!(count("a").abs_diff(20) <= 1 && count("b").abs_diff(60) <= 1, "{answers}");

    // What makes no sense is told once and changes nothing.
    farm.servers[2].becomes(reports("c", "plenty"));
    let answers = farm.answers(180);
    assert!(answers.matches('c').count().abs_diff(100) <= 1, "{answers}");
    let stderr = farm.telamon.stderr();
    assert_eq!(stderr.matches("reports a load that cannot be read in x-load: `plenty`").count(), 1);
}

#[test]
fn keyed_strategies_keep_a_key_with_its_server() {
    for strategy in ["maglev path", "maglev path size 251", "ketama path"] {
        let farm = Farm::new(&format!("balance {strategy}"), &["", "", ""]);
        let mut client = farm.telamon.connect();
        let owners = |client: &mut RawClient| -> String {
            (0..60).map(|n| client.get(&format!("/{n}?x")).text()).collect()
        };
        let first = owners(&mut client);
        assert!("abc".chars().all(|name| first.contains(name)), "{first}");
        assert_eq!(owners(&mut client), first);
        // One goes: the others keep what they had (nearly all, with a table).
        farm.telamon.stats_socket("disable server web/a");
        let without = owners(&mut client);
        let moved = first.chars().zip(without.chars()).filter(|(was, is)| *was != 'a' && was != is);
        assert!(moved.count() <= if strategy.starts_with("ketama") { 0 } else { 12 }, "{without}");
        assert!(!without.contains('a'));
    }
}

#[test]
fn levels_take_over_one_after_another() {
    let farm = Farm::new(
        "balance roundrobin\nstats uri /stats",
        &["priority 1", "", "priority 2", "backup"],
    );
    let down =
        |server: &str| _ = farm.telamon.stats_socket(&format!("disable server web/{server}"));
    let page = || farm.telamon.connect().get("/stats").text();
    assert_eq!(farm.answers(3), "bbb");
    assert!(page().contains("priority 0 in use"));
    down("b");
    assert_eq!(farm.answers(3), "aaa");
    assert!(page().contains("priority 1 in use"));
    down("a");
    assert_eq!(farm.answers(3), "ccc");
    down("c");
    assert_eq!(farm.answers(3), "ddd");
    farm.telamon.stats_socket("enable server web/b");
    assert_eq!(farm.answers(3), "bbb");
}

#[test]
fn below_the_threshold_checks_are_not_believed() {
    let (dead, alive) = (free_port(), TestServer::named("alive"));
    let failing = format!("check inter 100ms fall 1 port {dead}");
    let passing = format!("check inter 100ms fall 1 port {}", alive.port());
    let settings = [&*failing, &*failing, &*failing, &*passing];
    let farm = Farm::new("balance roundrobin\npanic-threshold 50%\nstats uri /stats", &settings);
    eventually("it panics", || {
        farm.telamon.stderr().contains("1 of 4 servers usable, less than 50%: panic")
    });
    let answers = farm.answers(8);
    assert!("abcd".chars().all(|name| answers.matches(name).count() == 2), "{answers}");
    let page = farm.telamon.connect().get("/stats").text();
    assert!(page.contains("panic: health is ignored"));
    // A check that can be answered again, and one more: half of them is enough.
    let _revived = TestServer::start_on(dead, "revived", Behaviour::Name);
    eventually("it is over", || farm.telamon.stderr().contains("panic is over"));
}

#[track_caller]
fn simulate(config: &str, arguments: &[&str]) -> Output {
    let folder = std::env::temp_dir().join(format!(
        "telamon-simulate-{}-{}",
        std::process::id(),
        free_port()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("test.cfg");
    std::fs::write(&file, config).unwrap();
    let output = Telamon::command().arg("simulate").arg(&file).args(arguments).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    output
}

#[test]
fn the_simulator_compares_strategies_and_repeats_itself() {
    let config = "backend app\n balance leastconn\n server web1 127.0.0.1:1\n server web2 127.0.0.1:2 weight 2\n";
    let arguments = [
        "--rate",
        "500",
        "--duration",
        "10s",
        "--slow",
        "web1@2s",
        "--recover",
        "web1@6s",
        "--strategy",
        "roundrobin,least-time",
    ];
    let output = simulate(config, &arguments);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for expected in [
        "backend app: 2 servers, 500 requests/s of 20ms on average, for 10s, seed 1\n",
        "  at 2s web1 takes 10 times as long\n  at 6s web1 recovers\n",
        "\nroundrobin ",
        "\nleast-time ",
        "\nstrategy ",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(simulate(config, &arguments).stdout, output.stdout);

    let fails = |config: &str, arguments: &[&str], expected: &str| {
        let output = simulate(config, arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains(expected), "{stderr}");
    };
    fails(
        config,
        &["--fail", "web3@1s"],
        "`--fail` names a server `web3`; the backend has web1, web2",
    );
    fails(config, &["--strategy", "least-tme"], "did you mean `least-time`?");
    fails(config, &["--rate", "1e9"], "requests are too many");
    fails("backend app\n balance lestconn\n", &[], "did you mean `leastconn`?");
    fails("frontend f\n", &[], "the configuration has no backend with servers");
}
