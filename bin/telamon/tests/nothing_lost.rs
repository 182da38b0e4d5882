//! Bad days: servers that are killed under load, clients that crawl, peers that stop reading.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use telamon_testkit::{
    Behaviour, Load, PATIENCE, RawClient, Telamon, TestServer, eventually, raise_descriptor_limit,
};

#[test]
fn a_killed_server_costs_only_what_was_in_flight_on_it() {
    const CLIENTS: usize = 6;
    let servers = ["a", "b", "c"].map(TestServer::named);
    let [a, b, c] = &servers;
    let telamon = Telamon::listen(&format!(
        "balance roundrobin\noption redispatch\ntimeout connect 200ms\n\
         default-server check inter 50ms fall 2\nserver {a}\nserver {b}\nserver {c}"
    ));
    let load = Load::start(telamon.port(), CLIENTS, 0);
    load.wait_for_more(200);
    b.kill();
    eventually("b is DOWN", || telamon.stat("web", "b", "status") == "DOWN");
    load.wait_for_more(CLIENTS); // those that had chosen b before
    let before = telamon.stat("web", "b", "lbtot");
    load.wait_for_more(300);
    assert_eq!(telamon.stat("web", "b", "lbtot"), before, "a server that is DOWN is chosen");
    let failures = load.stop();
    assert!(failures.len() <= CLIENTS, "{failures:?}");
}

#[test]
fn two_thousand_crawling_clients_hold_nobody_up_and_are_cut() {
    const CLIENTS: usize = 2000;
    raise_descriptor_limit();
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!(
        "maxconn 5000\ntimeout http-request 3s\nserver {app}\nglobal\nmaxconn 5000"
    ));
    let mut clients: Vec<RawClient> = (0..CLIENTS).map(|_| telamon.connect()).collect();
    // One byte a second: a pace, not a wait.
    for byte in b"GE" {
        let round = Instant::now();
        for client in &mut clients {
            client.send([*byte]);
        }
        for _ in 0..20 {
            assert_eq!(telamon.connect().get("/").text(), "app");
        }
        thread::sleep(Duration::from_secs(1).saturating_sub(round.elapsed()));
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 408);
    }
    assert!(clients.iter_mut().all(|client| client.is_closed_within(PATIENCE)));
    assert_eq!(telamon.connect().get("/").text(), "app");
}

/// What a stalled transfer may add to the process, buffers of both sides and accounting included.
const MEMORY_KIB_MAX: u64 = 16 * 1024;
const TRANSFER: u64 = 100 << 20;

#[test]
fn a_client_that_stops_reading_costs_no_memory_and_is_cut() {
    let (large, app) =
        (TestServer::start("large", Behaviour::Large(TRANSFER)), TestServer::named("app"));
    let telamon = Telamon::listen(&format!(
        "timeout client 1s\nuse_backend large if {{ path /large }}\nserver {app}\nbackend large\nserver {large}"
    ));
    assert_eq!(telamon.connect().get("/").text(), "app");
    let before = telamon.memory_kib();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = telamon.connect();
        client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut half = client.stream().take(TRANSFER / 2);
        assert_eq!(std::io::copy(&mut half, &mut std::io::sink()).unwrap(), TRANSFER / 2);
        clients.push(client);
    }
    assert_eq!(telamon.connect().get("/").text(), "app");
    let grown = telamon.memory_kib().saturating_sub(before);
    assert!(grown < MEMORY_KIB_MAX, "{grown} KiB");
    eventually("they are cut", || telamon.stat("large", "BACKEND", "scur") == "0");
    for client in &clients {
        let read = std::io::copy(&mut client.stream(), &mut std::io::sink());
        let rest = read.unwrap_or_default();
        assert!(rest < TRANSFER / 2, "{rest}");
    }
    assert_eq!(telamon.connect().get("/").text(), "app");
}

#[test]
fn a_server_that_stops_reading_costs_no_memory_and_is_cut() {
    let stuck = TestServer::start("stuck", Behaviour::StopsReading(TRANSFER / 2));
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!(
        "timeout server 1s\nuse_backend stuck if {{ path /stuck }}\nserver {app}\n\
         backend stuck\ntimeout server 1s\nserver {stuck}"
    ));
    assert_eq!(telamon.connect().get("/").text(), "app");
    let before = telamon.memory_kib();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = telamon.connect();
        client
            .send(format!("POST /stuck HTTP/1.1\r\nHost: x\r\nContent-Length: {TRANSFER}\r\n\r\n"));
        let sent = client.send_until_stuck(TRANSFER);
        assert!((TRANSFER / 2..TRANSFER).contains(&sent), "{sent}");
        clients.push(client);
    }
    assert_eq!(telamon.connect().get("/").text(), "app");
    let grown = telamon.memory_kib().saturating_sub(before);
    assert!(grown < MEMORY_KIB_MAX, "{grown} KiB");
    eventually("they are cut", || telamon.stat("stuck", "BACKEND", "scur") == "0");
    for client in &mut clients {
        // 504, unless what the client still had under way reset the connection under it.
        match client.try_response(false) {
            Ok(answer) => assert_eq!(answer.status, 504),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof),
                "{error}"
            ),
        }
    }
    assert_eq!(telamon.connect().get("/").text(), "app");
}

#[test]
fn bytes_that_stop_in_tcp_mode_cost_no_memory_and_are_cut() {
    let stuck = TestServer::start("stuck", Behaviour::StopsReading(1 << 20));
    let telamon =
        Telamon::listen(&format!("mode tcp\ntimeout server 1s\ntimeout client 1s\nserver {stuck}"));
    let before = telamon.memory_kib();
    let mut client = telamon.connect();
    let sent = client.send_until_stuck(TRANSFER);
    assert!(sent < TRANSFER, "{sent}");
    let grown = telamon.memory_kib().saturating_sub(before);
    assert!(grown < MEMORY_KIB_MAX, "{grown} KiB");
    client.read_to_end();
    let _ = client.stream().write_all(b"x");
    eventually("it is cut", || telamon.stat("web", "FRONTEND", "scur") == "0");
}
