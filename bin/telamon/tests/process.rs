//! The process: what it tells its service manager, what its command line sets, and how it ends or is succeeded.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

use telamon_testkit::{
    Behaviour, Load, PATIENCE, RawClient, Scratch, Signal, SyslogSink, Telamon, TestServer,
    eventually, free_port,
};

/// A frontend that answers with a text of its own.
fn says(port: u16, text: &str) -> String {
    Telamon::listen_on(
        port,
        &format!("http-request return status 200 content-type t string {text}"),
    )
}

#[test]
fn a_service_manager_is_told_of_start_reload_and_end() {
    if Telamon::is_haproxy() {
        return; // it says the same in fewer words
    }
    let folder = Scratch::new();
    let path = folder.join("notify");
    check_notify(UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap());
    let name = format!("telamon-test-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    check_notify(UnixDatagram::bind_addr(&address).unwrap(), &format!("@{name}"));
}

#[track_caller]
fn check_notify(manager: UnixDatagram, address: &str) {
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut buffer = [0; 512];
        let count = manager.recv(&mut buffer).expect("the manager is told");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let port = free_port();
    let mut command = Telamon::command();
    let mut telamon =
        Telamon::start_as(command.arg("-Ws").env("NOTIFY_SOCKET", address), &says(port, "one"));
    let ready = format!("READY=1\nMAINPID={}\nSTATUS=Ready.\n", telamon.pid());
    assert_eq!(next(), ready);
    for (config, text) in [(says(port, "two"), "two"), ("no such section\n".to_owned(), "two")] {
        telamon.write_config(&config);
        telamon.signal(Signal::USR2);
        let reloading = next();
        assert!(reloading.starts_with("RELOADING=1\n"), "{reloading}");
        // A configuration that is not used leaves the service as ready as it was.
        assert_eq!(next(), ready);
        assert_eq!(RawClient::connect(port).get("/").text(), text);
    }
    telamon.signal(Signal::TERM);
    assert_eq!(next(), "STOPPING=1\n");
    telamon.wait_exit();
}

#[test]
fn files_are_named_from_the_folder_of_the_command_line() {
    let folder = Scratch::new();
    let (inner, port) = (folder.join("inner"), free_port());
    fs::create_dir(&inner).unwrap();
    let lines = "errorfile 403 pages/403.http\nhttp-request deny\n";
    fs::write(inner.join("web.cfg"), Telamon::listen_on(port, lines)).unwrap();
    let page = "HTTP/1.0 403 Forbidden\r\ncontent-length: 4\r\n\r\nours";
    fs::create_dir(inner.join("pages")).unwrap();
    fs::write(inner.join("pages/403.http"), page).unwrap();
    let run = |args: &[&str], at: &Path| {
        let output = Telamon::command().current_dir(at).arg("-c").args(args).output().unwrap();
        output.status.code()
    };
    assert_eq!(run(&["-f", "web.cfg"], &inner), Some(0));
    assert_eq!(run(&["-C", "inner", "-f", "web.cfg"], &folder), Some(0));
    assert_eq!(run(&["-f", "web.cfg", "-C", "inner"], &folder), Some(0));
    assert_eq!(run(&["-f", "inner/web.cfg"], &folder), Some(1));
    assert_eq!(run(&["-C", "nowhere", "-f", "web.cfg"], &folder), Some(1));

    let mut command = Telamon::command();
    let telamon = Telamon::start_as(
        command.args(["-C", inner.to_str().unwrap(), "-f", "web.cfg"]),
        "defaults\n",
    );
    assert_eq!(RawClient::connect(port).get("/").text(), "ours");
    if !Telamon::is_haproxy() {
        fs::write(inner.join("pages/403.http"), page.replace("ours", "anew")).unwrap();
        telamon.signal(Signal::USR2);
        eventually("a reload reads it again", || {
            RawClient::connect(port).get("/").text() == "anew"
        });
    }
}

#[test]
fn the_command_line_limits_connections() {
    // Of the process: it goes before what the configuration says.
    check_limit("global\nmaxconn 50\n", &["-n", "2"], "show info", "Maxconn: 2\n");
    check_limit("", &["-n", "2"], "show info", "Maxconn: 2\n");
    // Of frontends that set none.
    check_limit("", &["-N", "2"], "show servers conn", "");
}

/// Two clients are served and a third waits.
#[track_caller]
fn check_limit(global: &str, args: &[&str], command: &str, says: &str) {
    let app = TestServer::start("app", Behaviour::Waits);
    let config = Telamon::listen_on(free_port(), &format!("server {app}"));
    let telamon = Telamon::start_with(&format!("{global}{config}"), args);
    let answer = telamon.stats_socket(command);
    assert!(answer.contains(says), "{answer}");
    let ask = || {
        let mut client = telamon.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client
    };
    // One by one: another worker might let in the last before the first.
    let served: Vec<_> = (1..=2)
        .map(|count| {
            let client = ask();
            eventually("it is served", || app.requests() == count);
            client
        })
        .collect();
    let mut third = ask();
    assert!(!third.is_closed_within(Duration::from_millis(200)));
    assert_eq!(app.requests(), 2);
    app.becomes(Behaviour::Name);
    drop(served);
    assert_eq!(third.response().text(), "app");
}

#[test]
fn a_servers_limit_grows_with_its_backends_load() {
    // As many clients all the time; so many requests on the server at most.
    check_dynamic("minconn 2 maxconn 8", "fullconn 16", 6, 3);
    check_dynamic("minconn 2 maxconn 8", "fullconn 16", 12, 6);
    check_dynamic("minconn 2 maxconn 8", "fullconn 16", 20, 8);
    check_dynamic("minconn 2 maxconn 8", "fullconn 400", 12, 2);
    check_dynamic("maxconn 4", "fullconn 400", 12, 4);
}

#[track_caller]
fn check_dynamic(server: &str, full: &str, clients: usize, expected: usize) {
    let app = TestServer::start("app", Behaviour::Slow(Duration::from_millis(30)));
    let telamon = Telamon::listen(&format!("{full}\nserver {app} {server}"));
    let load = Load::start(telamon.port(), clients, 0);
    let in_flight = || telamon.stat("web", "app", "scur").parse::<usize>().unwrap();
    eventually("the limit is reached", || in_flight() >= expected);
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        let found = in_flight();
        assert!(found <= expected, "{server}, {full}, {clients} clients: {found}");
    }
    assert_eq!(load.stop(), Vec::<String>::new());
}

#[test]
fn successors_lose_no_connection_under_load() {
    if Telamon::is_haproxy() {
        return; // without `-x` some of its clients are reset
    }
    check_successors("");
    // The one that serves has neither the right to tell the old one nor a way to see it.
    if telamon_testkit::is_root() {
        let jail = Scratch::new();
        let privileges = format!("global\nuser nobody\ngroup nogroup\nchroot {}\n", jail.display());
        check_successors(&privileges);
    }
}

#[track_caller]
fn check_successors(global: &str) {
    let app = TestServer::named("app");
    let lines = format!("option idle-close-on-response\nserver {app}");
    let config = format!("{global}{}", Telamon::listen_on(free_port(), &lines));
    let mut telamon = Telamon::start(&config);
    let load = Load::start(telamon.port(), 2, 4);
    for _ in 0..5 {
        load.wait_for_more(60);
        let pid = telamon.pid().to_string();
        let next = Telamon::start_with(&config, &["-sf", &pid]);
        assert!(telamon.wait_exit().success());
        telamon = next;
    }
    load.wait_for_more(60);
    let answered = load.answered();
    assert_eq!(load.stop(), Vec::<String>::new(), "of {answered}");
}

#[test]
fn what_lasts_too_long_after_the_end_is_cut_off_with_an_answer() {
    let (app, log) = (TestServer::start("app", Behaviour::Waits), SyslogSink::start());
    let config = format!(
        "global\nhard-stop-after 300ms\nlog {} local0\n{}log global\noption httplog\n{}",
        log.address(),
        Telamon::listen_on(free_port(), &format!("server {app}")),
        format_args!(
            "listen bytes\nmode tcp\nlog global\noption tcplog\nbind 127.0.0.1:{}\nserver {app}\n",
            free_port()
        )
    );
    let mut telamon = Telamon::start(&config);
    let mut client = telamon.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("a request is in flight", || app.requests() == 1);
    telamon.signal(Signal::USR1);
    let answer = client.response();
    assert_eq!((answer.status, answer.header("connection")), (502, Some("close")));
    assert!(telamon.wait_exit().success());
    log.wait_for("Proxy web stopped (cumulated conns: FE: 1, BE: 1).");
    log.wait_for(": soft-stop running for too long, performing a hard-stop.");
    log.wait_for(": Proxy web hard-stopped (1 remaining conns will be closed).");
    let line = log.wait_for("GET / HTTP/1.1");
    assert!(line.contains(" web web/app 0/0/") && line.contains(" 502 "), "{line}");
    assert!(line.contains(" - - KH-- "), "{line}");
    // Nothing was left in the other, and nothing resisted.
    let lines = log.lines();
    assert!(!lines.iter().any(|line| line.contains("bytes hard") || line.contains("resisted")));
}
