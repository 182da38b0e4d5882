//! Strategies that choose by a key of the request: the same key, the same server.

use std::collections::BTreeMap;

use telamon_testkit::{RawClient, Signal, Telamon, TestServer, eventually, free_port};

/// The request that is number `n`.
type Key = fn(u32) -> String;

/// How to choose, and what makes request number `n` differ from others.
const WAYS: [(&str, Key); 7] = [
    ("balance uri", |n| get(&format!("/page/{n}?same"), "")),
    ("balance uri whole\nhash-type consistent", |n| get(&format!("/page?n={n}"), "")),
    ("balance uri len 3 depth 2\nhash-type map-based djb2 avalanche", |n| {
        get(&format!("/{}/any/{n}", n % 40), "")
    }),
    ("balance url_param user\nhash-type consistent wt6", |n| get(&format!("/?x=1&user=u{n}"), "")),
    ("balance hdr(X-Key)\nhash-type consistent crc32 avalanche\nhash-balance-factor 0", |n| {
        get("/", &format!("X-Key: k{n}\r\n"))
    }),
    ("balance maglev path", |n| get(&format!("/{n}"), "")),
    ("balance ketama path", |n| get(&format!("/{n}"), "")),
];

fn get(target: &str, header: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{header}\r\n")
}

fn ask(client: &mut RawClient, key: Key, n: u32) -> String {
    client.send(key(n));
    client.response().text()
}

/// The server of each key.
fn spread(telamon: &Telamon, key: Key) -> Vec<String> {
    let mut client = telamon.connect();
    (0..120).map(|n| ask(&mut client, key, n)).collect()
}

#[test]
fn a_key_keeps_its_server_over_workers_clients_and_reloads() {
    let servers = ["a", "b", "c"].map(TestServer::named);
    let lines: String = servers.iter().map(|server| format!("server {server}\n")).collect();
    for (way, key) in WAYS {
        let config = Telamon::listen_on(free_port(), &format!("{way}\n{lines}global\nnbthread 2"));
        let telamon = Telamon::start(&config);
        let first = spread(&telamon, key);
        let mut shares = BTreeMap::new();
        for name in &first {
            *shares.entry(name.as_str()).or_insert(0) += 1;
        }
        assert!(shares.len() == 3 && shares.values().all(|count| *count > 10), "{way}: {shares:?}");
        assert_eq!(spread(&telamon, key), first, "{way}");
        if Telamon::is_haproxy() {
            continue;
        }
        telamon.signal(Signal::USR2);
        eventually("reloaded", || telamon.stderr().contains("the new configuration is in force"));
        assert_eq!(spread(&telamon, key), first, "{way} after a reload");
    }
}

#[test]
fn only_the_keys_of_a_server_that_leaves_move() {
    for (way, key) in WAYS {
        if !way.contains("consistent") && !way.contains("maglev") && !way.contains("ketama") {
            continue;
        }
        let servers = ["a", "b", "c", "d"].map(TestServer::named);
        let lines: String = servers.iter().map(|server| format!("server {server}\n")).collect();
        let telamon = Telamon::listen(&format!("{way}\n{lines}"));
        let before = spread(&telamon, key);
        telamon.stats_socket("disable server web/b");
        let without = spread(&telamon, key);
        let moved_needlessly = |(old, new): (&String, &String)| old != "b" && old != new;
        let needless = before.iter().zip(&without).filter(|pair| moved_needlessly(*pair)).count();
        // Maglev lets a few others move; the rest none.
        let most = if way.contains("maglev") { before.len() / 10 } else { 0 };
        assert!(needless <= most, "{way}: {needless}");
        assert!(without.iter().all(|name| name != "b"), "{way}");
        telamon.stats_socket("enable server web/b");
        assert_eq!(spread(&telamon, key), before, "{way}");
    }
}

#[test]
fn a_slow_start_gives_a_server_its_share_little_by_little() {
    let servers = ["a", "b"].map(TestServer::named);
    let telamon = Telamon::listen(&format!(
        "default-server slowstart 60s weight 100\nserver {}\nserver {}\nglobal\nnbthread 1",
        servers[0], servers[1]
    ));
    assert_eq!(telamon.stat("web", "b", "weight"), "100");
    telamon.stats_socket("disable server web/b");
    telamon.stats_socket("enable server web/b");
    let weight: u32 = telamon.stat("web", "b", "weight").parse().unwrap();
    assert!((1..=20).contains(&weight), "{weight}");
    let mut client = telamon.connect();
    let answers: Vec<String> = (0..40).map(|_| client.get("/").text()).collect();
    let of_b = answers.iter().filter(|name| *name == "b").count();
    assert!((1..=8).contains(&of_b), "{of_b} of 40");
}
