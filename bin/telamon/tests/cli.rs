//! The command line, signals, and what the process may do.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use telamon_testkit::{
    Behaviour, RawClient, Scratch, Signal, SyslogSink, Telamon, TestServer, eventually, free_port,
    is_root, signal_process,
};

/// The examples that come with the program.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A configuration whose only answer is this text.
fn says(port: u16, text: &str) -> String {
    Telamon::listen_on(
        port,
        &format!("http-request return status 200 content-type text/plain string {text}"),
    )
}

#[test]
fn checking_tells_by_its_exit_status() {
    check_status("listen web\nbind 127.0.0.1:1\nmode http\ntimeout client 1s\n", 0);
    check_status("listen web\nbind 127.0.0.1:1\nmode nonsense\n", 1);
    check_status("backend apps\nmode http\n", 2);
}

#[track_caller]
fn check_status(config: &str, status: i32) {
    let output = Telamon::check(config, &["-c"]);
    assert_eq!(output.status.code(), Some(status), "{config}: {output:?}");
    if status == 0 {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "Configuration file is valid\n");
    }
}

#[test]
fn conditions_tell_by_their_exit_status() {
    for (condition, status) in [
        ("version_atleast(2.6)", 0),
        ("version_atleast(9.0)", 1),
        ("streq(a,a) && !streq(a,b)", 0),
        ("defined(NO_SUCH_VARIABLE_HERE)", 1),
        ("feature(EPOLL)", 0),
    ] {
        let ended = Telamon::command().args(["-cc", condition]).output().unwrap();
        assert_eq!(ended.status.code(), Some(status), "{condition}: {ended:?}");
    }
    let nonsense = Telamon::command().args(["-cc", "nonsense("]).output().unwrap();
    assert!(nonsense.status.code().is_some_and(|code| code > 0));
    assert!(!nonsense.stderr.is_empty());
}

#[test]
fn versions_and_help_are_shown() {
    for option in ["-v", "-vv"] {
        let shown = Telamon::command().arg(option).output().unwrap();
        assert!(shown.status.success());
        assert!(String::from_utf8_lossy(&shown.stdout).contains("version"), "{shown:?}");
    }
    let refused = Telamon::command().arg("-zz").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn every_slip_of_a_file_is_named_in_one_run() {
    if Telamon::is_haproxy() {
        return;
    }
    let file = "examples/mistakes/two-apps-by-path-with-slips.cfg";
    let checked =
        Telamon::command().current_dir(ROOT).args(["check", "--offline", file]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8_lossy(&checked.stderr);
    let text = fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
    for slip in [
        "maxconn 508x",
        "bind *: 80",
        "acl even path_end -1 /even",
        "use_backend odd_application_node if odd",
        "bind *83",
        "balance roundrobbin",
        "server server01 localhost:9003 chekc",
        "option httpchek",
    ] {
        let line = 1 + text.lines().position(|line| line.trim().starts_with(slip)).unwrap();
        assert!(said.contains(&format!("{file}:{line}:")), "{slip} (line {line}) in:\n{said}");
    }
    for better in ["roundrobin", "check", "httpchk", "odd_application_nodes"] {
        assert!(said.contains(better), "{better} in:\n{said}");
    }
    assert_eq!(
        said.matches("\nerror").count() + usize::from(said.starts_with("error")),
        9,
        "{said}"
    );
}

#[test]
fn every_example_is_valid() {
    let examples = Path::new(ROOT).join("examples");
    let inside = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let folders = inside(&examples).filter(|path| path.is_dir() && !path.ends_with("mistakes"));
    let files = inside(&examples).chain(folders.flat_map(|folder| inside(&folder)));
    let mut count = 0;
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "cfg")) {
        // Certificates are made by who tries them out.
        let has_tls = fs::read_to_string(&path).unwrap().contains(" ssl crt ");
        let how: &[&str] = if has_tls { &["check", "--offline"] } else { &["-c"] };
        let mut command = Telamon::command();
        let checked = command.current_dir(ROOT).args(how).arg("-f").arg(&path).output().unwrap();
        assert!(checked.status.success(), "{path:?}: {checked:?}");
        count += 1;
    }
    assert!(count > 15, "{count}");
}

#[test]
fn several_files_and_folders_make_one_configuration() {
    let folder = Scratch::new();
    let (port, app) = (free_port(), TestServer::named("app"));
    let web = folder.join("web");
    fs::create_dir(&web).unwrap();
    let defaults =
        "defaults\nmode http\ntimeout connect 1s\ntimeout client 5s\ntimeout server 5s\n";
    fs::write(folder.join("defaults.cfg"), defaults).unwrap();
    let frontend = format!("frontend web\nbind 127.0.0.1:{port}\ndefault_backend apps\n");
    fs::write(web.join("1.cfg"), frontend).unwrap();
    fs::write(web.join("2.cfg"), format!("backend apps\nserver {app}\n")).unwrap();
    fs::write(web.join("3.txt"), "not read").unwrap();
    let mut child = Telamon::command()
        .arg("-db")
        .arg("-f")
        .arg(folder.join("defaults.cfg"))
        .arg("-f")
        .arg(&web)
        .spawn()
        .unwrap();
    eventually("it listens", || RawClient::try_connect(port).is_ok());
    let text = RawClient::connect(port).get("/").text();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(text, "app");
}

#[test]
fn a_daemon_leaves_its_number_and_ends_when_told() {
    let folder = Scratch::new();
    let port = free_port();
    let (config, pidfile) = (folder.join("web.cfg"), folder.join("web.pid"));
    fs::write(&config, says(port, "daemon")).unwrap();
    let started = Telamon::command()
        .args(["-D", "-p"])
        .arg(&pidfile)
        .arg("-f")
        .arg(&config)
        .status()
        .unwrap();
    assert!(started.success());
    let pid = fs::read_to_string(&pidfile).unwrap().trim().parse().unwrap();
    assert_eq!(RawClient::connect(port).get("/").text(), "daemon");
    signal_process(pid, Signal::TERM);
    eventually("it has ended", || RawClient::try_connect(port).is_err());
}

#[test]
fn a_master_reloads_when_told() {
    let port = free_port();
    let telamon = Telamon::start_with(&says(port, "one"), &["-W"]);
    assert_eq!(RawClient::connect(port).get("/").text(), "one");
    for (signal, text) in [(Signal::USR2, "two"), (Signal::HUP, "three"), (Signal::USR2, "four")] {
        telamon.write_config(&says(port, text));
        telamon.signal(signal);
        eventually(text, || {
            if Telamon::is_haproxy() {
                // Its master misses a signal while it executes itself anew.
                telamon.signal(signal);
            }
            RawClient::connect(port).get("/").text() == text
        });
    }
}

#[test]
fn hangup_logs_the_servers_states() {
    let (app, log) = (TestServer::named("app"), SyslogSink::start());
    let telamon = Telamon::listen(&format!("log {} local0\nserver {app}", log.address()));
    telamon.signal(Signal::HUP);
    let line = log.wait_for("Server web/app is ");
    assert!(line.contains("Server web/app is UP"), "{line}");
}

#[test]
fn term_and_int_stop_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let app = TestServer::start("app", Behaviour::Waits);
        let mut telamon = Telamon::listen(&format!("server {app}"));
        let mut client = telamon.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        eventually("a request is in flight", || app.requests() == 1);
        telamon.signal(signal);
        assert_eq!(telamon.wait_exit().signal(), Some(signal.as_raw()));
        assert_eq!(client.read_to_end(), b"");
    }
}

#[test]
fn a_masters_exit_status_tells_an_interrupt() {
    for (signal, status) in [(Signal::TERM, 0), (Signal::INT, 130)] {
        let mut telamon = Telamon::start_with(&says(free_port(), "one"), &["-W"]);
        telamon.signal(signal);
        assert_eq!(telamon.wait_exit().code(), Some(status));
    }
}

#[test]
fn every_port_in_use_is_shown_where_it_stands_and_nothing_is_taken() {
    if Telamon::is_haproxy() {
        return;
    }
    let telamon = Telamon::start(&says(free_port(), "first"));
    let file = telamon.folder().join("telamon.cfg");
    let more = free_port();
    let listener = std::net::TcpListener::bind(("127.0.0.1", more)).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let second = telamon.folder().join("second.cfg");
    fs::write(&second, format!("{text}    bind 127.0.0.1:{more}\n")).unwrap();
    let started = Telamon::command().arg("-db").arg("-f").arg(&second).output().unwrap();
    assert_eq!(started.status.code(), Some(1));
    let said = String::from_utf8_lossy(&started.stderr);
    for port in [telamon.port(), more] {
        let line = 1 + fs::read_to_string(&second)
            .unwrap()
            .lines()
            .position(|line| line.trim() == format!("bind 127.0.0.1:{port}"))
            .unwrap();
        assert!(said.contains(&format!("second.cfg:{line}:")), "{port}:\n{said}");
        assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}: Address")), "{said}");
    }
    // The socket's file is still the first one's.
    assert!(telamon.stats_socket("show info").contains(&format!("Pid: {}\n", telamon.pid())));
    drop(listener);
}

#[test]
fn usr1_finishes_what_is_in_flight() {
    let (app, log) = (TestServer::start("app", Behaviour::Waits), SyslogSink::start());
    let mut telamon = Telamon::listen(&format!("log {} local0\nserver {app}", log.address()));
    let mut client = telamon.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("a request is in flight", || app.requests() == 1);
    telamon.signal(Signal::USR1);
    let line = log.wait_for("Proxy web stopped");
    assert!(line.starts_with("<132>"), "{line}");
    assert!(line.ends_with(": Proxy web stopped (cumulated conns: FE: 1, BE: 1)."), "{line}");
    eventually("nothing listens", || RawClient::try_connect(telamon.port()).is_err());
    app.becomes(Behaviour::Name);
    assert_eq!(client.response().text(), "app");
    drop(client);
    assert!(telamon.wait_exit().success());
}

#[test]
fn a_successor_lets_its_predecessor_finish() {
    let app = TestServer::start("app", Behaviour::Waits);
    let port = free_port();
    // What the old one still accepts while it is told is answered at once, unless it is to wait.
    let config =
        Telamon::listen_on(port, &format!("http-request deny if !{{ path /wait }}\nserver {app}"));
    let mut old = Telamon::start(&config);
    let mut client = old.connect();
    client.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("a request is in flight", || app.requests() == 1);
    let new = Telamon::start_with(&says(port, "new"), &["-sf", &old.pid().to_string()]);
    // Two processes hand over no queue: who knocks while the old one closes its door may be reset.
    eventually("the successor answers", || {
        let mut client = new.connect();
        let sent = client.try_send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        sent.and_then(|()| client.try_response(false)).is_ok_and(|answer| answer.text() == "new")
    });
    app.becomes(Behaviour::Name);
    assert_eq!(client.response().text(), "app");
    drop(client);
    assert!(old.wait_exit().success());
    assert_eq!(new.connect().get("/").text(), "new");
}

#[test]
fn traffic_is_served_without_privileges() {
    if !is_root() {
        return;
    }
    let jail = Scratch::new();
    let privileges = format!("global\nuser nobody\ngroup nogroup\nchroot {}\n", jail.display());
    let telamon = Telamon::start(&(privileges + &says(free_port(), "hello")));
    assert_eq!(telamon.connect().get("/").text(), "hello");
    let ids = telamon.proc_status("Uid");
    assert!(ids.split('\t').all(|id| id == "65534"), "{ids}");
    assert!(telamon.proc_status("Gid").split('\t').all(|id| id == "65534"));
    assert_eq!(telamon.proc_status("CapEff"), "0000000000000000");
    let root = fs::read_link(format!("/proc/{}/root", telamon.serving_pid())).unwrap();
    assert_eq!(root, fs::canonicalize(&*jail).unwrap());
}

/// The new configuration needs what only root may do, and the process that serves is not root.
#[test]
fn a_reload_binds_and_reads_with_the_parents_privileges() {
    if !is_root() || Telamon::is_haproxy() {
        return;
    }
    if std::env::var_os("IN_NAMESPACE").is_none() {
        // Port 81 is to be free: in a network of our own.
        let script = format!(
            "ip link set lo up && exec '{}' --exact a_reload_binds_and_reads_with_the_parents_privileges",
            std::env::current_exe().unwrap().display()
        );
        let ran = Command::new("unshare")
            .args(["-n", "sh", "-c", &script])
            .env("IN_NAMESPACE", "1")
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
        return;
    }
    let folder = Scratch::new();
    let file = folder.join("503.http");
    fs::write(&file, "HTTP/1.1 503 Ours\r\nContent-Length: 2\r\n\r\nno").unwrap();
    let only_root = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&file, only_root).unwrap();
    let privileges = format!("global\nuser nobody\ngroup nogroup\nchroot {}\n", folder.display());
    let port = free_port();
    let telamon = Telamon::start(&format!("{privileges}{}", says(port, "before")));
    let errorfile = format!("bind 127.0.0.1:81\nerrorfile 503 {}", file.display());
    telamon.write_config(&format!("{privileges}{}", Telamon::listen_on(port, &errorfile)));
    telamon.signal(Signal::USR2);
    eventually("port 81 answers", || RawClient::try_connect(81).is_ok());
    let answer = RawClient::connect(81).get("/");
    assert_eq!((answer.status_line.as_str(), answer.text().as_str()), ("HTTP/1.1 503 Ours", "no"));
    assert!(telamon.proc_status("Uid").starts_with("65534"));
}
