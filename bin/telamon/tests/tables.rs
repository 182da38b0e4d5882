//! Stick tables: rate limits, counters, and clients that come back to their server.

use std::time::Duration;

use telamon_testkit::{
    Behaviour, RawClient, Response, Signal, Telamon, TestServer, eventually, free_port,
};

/// One request on a connection of its own, as if a proxy in front had passed it on for that client.
fn get_for(telamon: &Telamon, client: &str, path: &str) -> Response {
    let mut connection = telamon.connect();
    connection.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-client: {client}\r\n\r\n"));
    connection.response()
}

/// The lines of `show table` without what differs from run to run.
fn table(telamon: &Telamon, name: &str) -> Vec<String> {
    let shown = telamon.stats_socket(&format!("show table {name}"));
    let lines = shown.lines().filter(|line| line.starts_with("0x"));
    let entry = |line: &str| {
        let words = line.split_whitespace().skip(1).filter(|word| !word.starts_with("exp="));
        words.collect::<Vec<_>>().join(" ")
    };
    lines.map(entry).collect()
}

#[test]
fn a_client_that_asks_too_often_is_refused_and_others_are_not() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!(
        "stick-table type ipv6 size 100k expire 1m store http_req_rate(1m),http_err_cnt
         http-request track-sc0 hdr_ip(x-client)
         http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 3 }}
         server {app}"
    ));
    let status = |client| get_for(&telamon, client, "/").status;
    let statuses = |client| [(); 5].map(|()| status(client));
    assert_eq!(statuses("192.0.2.1"), [200, 200, 200, 429, 429]);
    assert_eq!(statuses("2001:db8::2"), [200, 200, 200, 429, 429]);
    assert_eq!(app.requests(), 6);
    let expected = [
        "key=::ffff:192.0.2.1 use=0 http_req_rate(60000)=5 http_err_cnt=2",
        "key=2001:db8::2 use=0 http_req_rate(60000)=5 http_err_cnt=2",
    ];
    eventually("all is counted", || table(&telamon, "web") == expected);
    telamon.stats_socket("clear table web key ::ffff:192.0.2.1");
    assert_eq!(status("192.0.2.1"), 200, "forgiven");
    assert_eq!(status("2001:db8::2"), 429);
}

#[test]
fn connections_are_counted_while_they_last() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!(
        "stick-table type ip size 10 store conn_cur,conn_cnt,sess_cnt,http_req_cnt
         tcp-request connection track-sc0 src
         tcp-request connection reject if {{ sc0_conn_cur gt 2 }}
         server {app}"
    ));
    let (mut one, mut two) = (telamon.connect(), telamon.connect());
    assert_eq!(one.get("/").text(), "app");
    assert_eq!(one.get("/").text(), "app");
    assert_eq!(two.get("/").text(), "app");
    assert!(telamon.connect().is_closed_within(Duration::from_secs(5)), "the third");
    let shown = || table(&telamon, "web").join("");
    // HAProxy counts no session for a connection that was refused.
    let expected = "key=127.0.0.1 use=2 conn_cnt=3 conn_cur=2 sess_cnt=2 http_req_cnt=3";
    eventually("the third is gone", || shown() == expected);
    drop(one);
    eventually("one is left", || shown().contains("use=1 conn_cnt=3 conn_cur=1"));
    let mut third = telamon.connect();
    assert_eq!(third.get("/").text(), "app");
}

#[test]
fn bytes_of_a_long_transfer_are_counted_on_the_way() {
    if Telamon::is_haproxy() {
        return;
    }
    let app = TestServer::start("app", Behaviour::Echo);
    let telamon = Telamon::listen(&format!(
        "mode tcp
         stick-table type ip size 10 store bytes_in_cnt,bytes_out_cnt
         tcp-request connection track-sc0 src
         server {app}"
    ));
    let mut client = telamon.connect();
    eventually("bytes are counted before the end", || {
        client.send([b'x'; 1000]);
        client.read_exactly(1000);
        let shown = table(&telamon, "web").join("");
        shown.contains("use=1")
            && !shown.contains("bytes_in_cnt=0")
            && !shown.contains("_out_cnt=0")
    });
}

#[test]
fn a_key_comes_back_to_its_server_until_that_is_gone() {
    let servers = ["a", "b", "c"].map(TestServer::named);
    let [a, b, c] = &servers;
    let telamon = Telamon::listen(&format!(
        "balance roundrobin
         stick-table type string len 32 size 1k expire 1m
         stick on url_param(user)
         server {a}
         server {b}
         server {c}"
    ));
    let ask = |user: &str| get_for(&telamon, "192.0.2.1", &format!("/?user={user}")).text();
    let first = ["x", "y", "z"].map(ask);
    assert_eq!(["x", "y", "z"].map(ask), first);
    let mut all = first.clone();
    all.sort();
    assert_eq!(all, ["a", "b", "c"], "each in turn");
    telamon.stats_socket(&format!("set server web/{} state maint", first[0]));
    let moved = ask("x");
    assert_ne!(moved, first[0]);
    telamon.stats_socket(&format!("set server web/{} state ready", first[0]));
    assert_eq!(ask("x"), moved, "it stays where it went");
    let shown = table(&telamon, "web");
    assert!(shown[0].starts_with("key=x use=0 server_id="), "{shown:?}");
    assert!(shown[0].ends_with(&format!("server_key={moved}")), "{shown:?}");
}

#[test]
fn entries_survive_a_reload_under_the_same_name() {
    if Telamon::is_haproxy() {
        return;
    }
    let port = free_port();
    let config = |table: &str| {
        let lines = format!(
            "stick-table {table}
             http-request track-sc0 src
             http-request return status 200 hdr x-count %[sc0_http_req_cnt]"
        );
        Telamon::listen_on(port, &lines)
    };
    let telamon = Telamon::start(&config("type ip size 10 expire 1m store http_req_cnt"));
    let reload = |config: &str, expected: &str| {
        let count = || telamon.stderr().matches(expected).count();
        let before = count();
        telamon.write_config(config);
        telamon.signal(Signal::USR2);
        eventually(expected, || count() > before);
    };
    let done = "the new configuration is in force";
    let count = || RawClient::connect(port).get("/").header("x-count").map(str::to_owned);
    assert_eq!(count().as_deref(), Some("1"));
    reload(&config("type ip size 20 expire 2m store http_req_cnt"), done);
    assert_eq!(count().as_deref(), Some("2"));
    assert!(telamon.stats_socket("show table web").contains("size:20, used:1"));
    reload(&config("type ip size 20 store http_req_cnt,gpc0"), "stick table web begins empty");
    eventually("it is in force", || count().as_deref() == Some("1"));
}

#[test]
fn counts_are_exact_over_workers() {
    let port = free_port();
    let config = Telamon::listen_on(
        port,
        "stick-table type integer size 100 store http_req_cnt,gpc0
         http-request track-sc0 url_param(n)
         http-request sc-inc-gpc0(0)
         http-request return status 200",
    );
    let telamon = Telamon::start(&format!("{config}global\n    nbthread 2\n"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = RawClient::connect(port);
                for n in 0..200 {
                    assert_eq!(client.get(&format!("/?n={}", n % 5)).status, 200);
                }
            });
        }
    });
    eventually("all are counted", || {
        table(&telamon, "web").iter().all(|line| line.ends_with("use=0 gpc0=160 http_req_cnt=160"))
    });
    assert_eq!(table(&telamon, "web").len(), 5);
}

#[test]
fn a_flood_of_keys_evicts_the_oldest() {
    let telamon = Telamon::listen(
        "stick-table type string len 8 size 20 store gpc0
         http-request track-sc0 url_param(n)
         http-request track-sc1 url_param(n) table kept
         http-request return status 200 hdr x-tracked %[sc0_tracked]%[sc1_tracked]
         backend kept
         stick-table type string len 8 size 20 nopurge store gpc0",
    );
    let mut client = telamon.connect();
    for n in 0..200 {
        let answer = client.get(&format!("/?n={n}"));
        let expected = if n < 20 { "11" } else { "10" };
        assert_eq!(answer.header("x-tracked"), Some(expected), "{n}");
    }
    let keys = |name| {
        let mut keys: Vec<u32> = table(&telamon, name)
            .iter()
            .filter_map(|line| line.split_whitespace().next()?.strip_prefix("key=")?.parse().ok())
            .collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys("kept"), (0..20).collect::<Vec<_>>());
    if !Telamon::is_haproxy() {
        // HAProxy's idea of which is the oldest is coarse.
        assert_eq!(keys("web"), (180..200).collect::<Vec<_>>());
    }
}

/// What one request for each client leaves in the table.
#[track_caller]
fn check_keys(table_type: &str, rule: &str, heads: &[&str], expected: &[&str]) {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!(
        "stick-table type {table_type} size 20 store http_req_cnt
         {rule}
         server {app}"
    ));
    for head in heads {
        let mut connection = telamon.connect();
        connection.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n"));
        assert_eq!(connection.response().status, 200);
    }
    let keys = || -> Vec<String> {
        let entries = table(&telamon, "web");
        entries.iter().filter_map(|entry| Some(entry.split(' ').next()?.to_owned())).collect()
    };
    let expected: Vec<_> = expected.iter().map(|key| format!("key={key}")).collect();
    eventually(&format!("{rule}: {expected:?}"), || keys() == expected);
}

#[test]
fn what_cannot_be_a_key_is_none() {
    const ADDRESSES: &[&str] = &[
        "x-ip: ::1",
        "x-ip: ::10.0.0.1",
        "x-ip: 2002:a00:9::1",
        "x-ip: 2001:db8::a00:1",
        "x-ip: ::ffff:10.0.0.7",
        "x-ip: 10.0.0.8",
    ];
    for rule in ["http-request track-sc0 hdr_ip(x-ip)", "stick on hdr_ip(x-ip)"] {
        check_keys("ip", rule, ADDRESSES, &["10.0.0.7", "10.0.0.8"]);
        check_keys("ipv6", rule, &ADDRESSES[4..], &["::ffff:10.0.0.7", "::ffff:10.0.0.8"]);
    }
    // A cookie that ends its line without a value is not seen; an empty header is a key like any other.
    for rule in ["http-request track-sc0 cook(J)", "stick on cook(J)"] {
        check_keys("string", rule, &["cookie: J=", "cookie: a=1;J="], &[]);
        check_keys("string", rule, &["cookie: J=; a=1", "cookie: J=x"], &["", "x"]);
    }
    check_keys("string", "stick on hdr(x-k)", &["x-k:", "x-k: a"], &["", "a"]);
    let rule = "http-request set-var(txn.k) hdr(x-k)
                http-response set-header set-cookie \"J=%[var(txn.k)]\"
                http-response track-sc0 res.cook(J)";
    check_keys("string", rule, &["x-k:", "x-k: a", "x-k: ; path=/"], &["", "a"]);
}

#[test]
fn bytes_are_those_that_the_client_sent() {
    if Telamon::is_haproxy() {
        // It counts its own form of a head.
        return;
    }
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!(
        "stick-table type ip size 10 store bytes_in_cnt
         http-request track-sc0 src
         http-request set-header x-much \"%[str({})]\"
         http-request del-header x-gone
         http-request return status 204 if {{ path /returned }}
         server {app}",
        "x".repeat(500)
    ));
    let mut sent = 0;
    for (path, body) in [("/", 0), ("/returned", 0), ("/", 5_000)] {
        let mut client = telamon.connect();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: a\r\nx-gone: 1\r\ncontent-length: {body}");
        let request = format!("{head}\r\n\r\n{}", "b".repeat(body));
        sent += request.len();
        client.send(request);
        client.response();
    }
    let expected = format!("bytes_in_cnt={sent}");
    eventually(&expected, || table(&telamon, "web").join("").ends_with(&expected));
    let stat = telamon.stats_socket("show stat");
    let line = stat.lines().find(|line| line.starts_with("web,FRONTEND,")).unwrap_or_default();
    assert_eq!(line.split(',').nth(8), Some(&*sent.to_string()), "bin of {line}");
}

#[test]
fn servers_and_keys_are_shown_as_they_are_stored() {
    let app = TestServer::start_at("::1", free_port(), "app", Behaviour::Name);
    let telamon = Telamon::listen(&format!(
        "stick-table type string len 8 size 20 srvkey addr
         stick on url_param(user)
         default-server id 5
         server {app}
         server other 127.0.0.1:{} backup id 7",
        free_port()
    ));
    assert_eq!(get_for(&telamon, "192.0.2.1", "/?user=abcdefghij").text(), "app");
    let stored = format!("key=abcdefgh use=0 server_id=1 server_key={}", app.address());
    eventually("the key is cut", || table(&telamon, "web") == [stored.clone()]);
    let shown = telamon.stats_socket("show table web key abcdefghij");
    assert!(shown.contains(": key=abcdefgh use=0"), "{shown}");
    let state = telamon.stats_socket("show servers state web");
    let forced = |line: &str| line.split(' ').nth(16).map(str::to_owned);
    let forced: Vec<_> = state.lines().skip(2).filter_map(forced).collect();
    assert_eq!(forced, ["0", "1"], "{state}");
}
