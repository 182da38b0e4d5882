//! The stats socket: what scripts ask and change while it runs.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use telamon_testkit::{
    Behaviour, PATIENCE, Scratch, SyslogSink, Telamon, TestServer, eventually, free_port,
};

/// Servers a and b (of weight 3) behind one port.
#[track_caller]
fn two_servers(lines: &str) -> (TestServer, TestServer, Telamon) {
    let (a, b) = (TestServer::named("a"), TestServer::named("b"));
    let telamon = Telamon::listen(&format!("{lines}\nserver {a}\nserver {b} weight 3"));
    (a, b, telamon)
}

#[track_caller]
fn names(telamon: &Telamon, count: usize) -> String {
    (0..count).map(|_| telamon.connect().get("/").text()).collect()
}

#[test]
fn show_info_has_haproxys_fields_in_order() {
    let (_a, _b, telamon) = two_servers("");
    let info = telamon.stats_socket("show info");
    let names: Vec<&str> = info.lines().filter_map(|line| line.split(": ").next()).collect();
    let expected = [
        "Name",
        "Version",
        "Release_date",
        "Nbthread",
        "Nbproc",
        "Process_num",
        "Pid",
        "Uptime",
        "Uptime_sec",
        "Memmax_MB",
        "PoolAlloc_MB",
        "PoolUsed_MB",
        "PoolFailed",
        "Ulimit-n",
        "Maxsock",
        "Maxconn",
        "Hard_maxconn",
        "CurrConns",
        "CumConns",
        "CumReq",
    ];
    assert_eq!(names[..expected.len()], expected);
    for name in ["ConnRate", "Idle_pct", "Stopping", "Listeners", "TotalBytesOut", "Start_time_sec"]
    {
        assert!(names.contains(&name), "{name} of {info}");
    }
    assert!(info.contains(&format!("\nPid: {}\n", telamon.pid())), "{info}");
}

#[test]
fn show_stat_has_haproxys_columns_and_counts() {
    let (_a, _b, telamon) = two_servers("");
    names(&telamon, 8);
    let table = telamon.stats_socket("show stat");
    let header = table.lines().next().unwrap_or_default();
    assert!(
        header.starts_with(
            "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,\
             wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,\
             lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,"
        ),
        "{header}"
    );
    assert!(table.ends_with("\n\n"));
    for (server, column, value) in [
        ("a", "stot", "2"),
        ("b", "stot", "6"),
        ("b", "weight", "3"),
        ("b", "status", "no check"),
        ("b", "hrsp_2xx", "6"),
        ("FRONTEND", "status", "OPEN"),
        ("FRONTEND", "req_tot", "8"),
        ("BACKEND", "act", "2"),
        ("BACKEND", "hrsp_2xx", "8"),
        ("BACKEND", "algo", "roundrobin"),
    ] {
        // A worker counts a request out after its last byte has left.
        eventually(&format!("{column} of {server} is {value}"), || {
            telamon.stat("web", server, column) == value
        });
    }
}

#[test]
fn show_servers_state_is_what_haproxy_writes() {
    let (a, b, telamon) = two_servers("");
    telamon.stats_socket("disable server web/a");
    let state = telamon.stats_socket("show servers state web");
    let lines: Vec<&str> = state.lines().collect();
    assert_eq!(lines[0], "1");
    assert_eq!(
        lines[1],
        "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
         srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
         srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl \
         srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
    );
    for (line, expected) in [
        (
            lines[2],
            format!("2 web 1 a 127.0.0.1 0 1 1 1 # 1 0 0 0 0 0 0 - {} - 0 0 - - 0", a.port()),
        ),
        (
            lines[3],
            format!("2 web 2 b 127.0.0.1 2 0 3 3 # 1 0 2 0 0 0 0 - {} - 0 0 - - 0", b.port()),
        ),
    ] {
        let mut fields: Vec<&str> = line.split(' ').collect();
        fields[9] = "#"; // seconds since the last change
        assert_eq!(fields.join(" "), expected);
    }
}

#[test]
fn states_of_servers_can_be_set() {
    let (_a, _b, telamon) = two_servers("");
    for (command, status, order) in [
        ("set server web/b state maint", "MAINT", "aaa"),
        ("set server web/b state ready", "no check", "bbb"),
        ("set server web/b state drain", "DRAIN", "aaa"),
        ("set server web/b state ready", "no check", "bbb"),
        ("disable server web/b", "MAINT", "aaa"),
        ("enable server web/b", "no check", "bbb"),
    ] {
        assert_eq!(telamon.stats_socket(command), "\n", "{command}");
        assert_eq!(telamon.stat("web", "b", "status"), status, "{command}");
        let names = names(&telamon, 8);
        if order == "aaa" {
            assert_eq!(names, "a".repeat(8), "{command}");
        } else {
            assert_eq!(names.matches('b').count(), 6, "{command}: {names}");
        }
    }
}

#[test]
fn weights_can_be_set_and_asked() {
    let (_a, _b, telamon) = two_servers("");
    assert_eq!(telamon.stats_socket("get weight web/b"), "3 (initial 3)\n\n");
    assert_eq!(telamon.stats_socket("set weight web/b 1"), "\n");
    assert_eq!(telamon.stats_socket("get weight web/b"), "1 (initial 3)\n\n");
    assert_eq!(names(&telamon, 8).matches('b').count(), 4);
    assert_eq!(telamon.stats_socket("set server web/b weight 0"), "\n");
    assert_eq!(names(&telamon, 8), "a".repeat(8));
    assert_eq!(
        telamon.stats_socket("set weight web/b 300"),
        "Absolute weight can only be between 0 and 256 inclusive.\n\n"
    );
}

#[test]
fn a_server_can_move() {
    let (_a, b, telamon) = two_servers("");
    let answer =
        telamon.stats_socket(&format!("set server web/a addr 127.0.0.1 port {}", b.port()));
    assert!(answer.starts_with("no need to change the addr, port changed from '"), "{answer}");
    assert_eq!(names(&telamon, 8), "b".repeat(8));
}

#[test]
fn mistakes_are_answered_in_haproxys_words() {
    let (_a, _b, telamon) = two_servers("");
    for (command, answer) in [
        (
            "set server web/a state nonsense",
            "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
        ),
        ("set server web/nobody state ready", "No such server.\n\n"),
        ("show acl #77", "Unknown ACL identifier. Please use #<id> or <file>.\n\n"),
        ("show map #77", "Unknown map identifier. Please use #<id> or <file>.\n\n"),
    ] {
        assert_eq!(telamon.stats_socket(command), answer, "{command}");
    }
    assert!(telamon.stats_socket("nonsense").starts_with("Unknown command"));
    let help = telamon.stats_socket("help");
    assert!(help.starts_with("The following commands are valid at this level:\n"), "{help}");
    assert!(help.contains("\n  show stat "), "{help}");
}

#[test]
fn lists_of_acls_can_be_changed() {
    let folder = Scratch::new();
    let file = folder.join("blocked.lst");
    fs::write(&file, "10.0.0.0/8\n").unwrap();
    let file = file.display();
    let (_a, _b, telamon) =
        two_servers(&format!("acl blocked src -f {file}\nhttp-request deny if blocked"));
    let status = || telamon.connect().get("/").status;
    assert_eq!(status(), 200);
    let lists = telamon.stats_socket("show acl");
    assert!(lists.starts_with("# id (file) description\n"), "{lists}");
    let line = lists.lines().find(|line| line.contains(&format!("({file})"))).unwrap_or_default();
    assert!(line.ends_with("curr_ver=0 next_ver=0 entry_cnt=1"), "{lists}");
    let id = line.split(' ').next().unwrap_or_default();
    assert_eq!(telamon.stats_socket(&format!("add acl #{id} 127.0.0.1")), "\n");
    assert_eq!(status(), 403);
    let entries = telamon.stats_socket(&format!("show acl {file}"));
    let entries: Vec<_> =
        entries.lines().filter_map(|line| line.split_once(' ')).map(|e| e.1).collect();
    assert_eq!(entries, ["10.0.0.0/8", "127.0.0.1"]);
    assert_eq!(telamon.stats_socket(&format!("del acl {file} 127.0.0.1")), "\n");
    assert_eq!(status(), 200);
    assert_eq!(telamon.stats_socket(&format!("del acl {file} 127.0.0.1")), "Key not found.\n\n");
    assert_eq!(telamon.stats_socket(&format!("add acl {file} 127.0.0.0/8")), "\n");
    assert_eq!(status(), 403);
    assert_eq!(telamon.stats_socket(&format!("clear acl {file}")), "\n");
    assert_eq!(status(), 200);
}

#[test]
fn maps_can_be_changed() {
    let folder = Scratch::new();
    let file = folder.join("hosts.map");
    fs::write(&file, "x one\n").unwrap();
    let file = file.display();
    let telamon = Telamon::listen(&format!(
        "http-request return status 200 content-type text/plain lf-string %[hdr(host),map({file},none)]"
    ));
    let value = |host: &str| {
        let mut client = telamon.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.response().text()
    };
    assert_eq!((value("x"), value("y")), ("one".into(), "none".into()));
    assert_eq!(telamon.stats_socket(&format!("add map {file} y two")), "\n");
    assert_eq!(telamon.stats_socket(&format!("set map {file} x three")), "\n");
    assert_eq!((value("x"), value("y")), ("three".into(), "two".into()));
    let entries = telamon.stats_socket(&format!("show map {file}"));
    let entries: Vec<_> =
        entries.lines().filter_map(|line| line.split_once(' ')).map(|e| e.1).collect();
    assert_eq!(entries, ["x three", "y two"]);
    assert_eq!(telamon.stats_socket(&format!("del map {file} y")), "\n");
    assert_eq!(value("y"), "none");
    assert_eq!(telamon.stats_socket(&format!("clear map {file}")), "\n");
    assert_eq!(value("x"), "none");
}

#[test]
fn levels_limit_what_may_be_changed() {
    let folder = Scratch::new();
    let socket = folder.join("user.sock");
    let (_a, _b, telamon) =
        two_servers(&format!("global\nstats socket {} level user\nlisten other", socket.display()));
    let ask = |command: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("show stat").starts_with("# pxname"));
    assert_eq!(ask("set server other/a state maint"), "Permission denied\n\n");
    assert_eq!(telamon.stat("other", "a", "status"), "no check");
}

#[test]
fn several_commands_and_the_interactive_mode() {
    let (_a, _b, telamon) = two_servers("");
    let both = telamon.stats_socket("get weight web/a;get weight web/b");
    assert_eq!(both, "1 (initial 1)\n\n3 (initial 3)\n\n");
    let session = telamon.stats_socket("prompt\nget weight web/a\nquit");
    assert_eq!(session, "\n> 1 (initial 1)\n\n> ");
}

#[test]
fn the_masters_socket_reloads_and_reaches_the_worker() {
    let app = TestServer::named("app");
    let folder = Scratch::new();
    let socket = folder.join("master.sock");
    let path = socket.to_str().unwrap();
    let config = Telamon::listen_on(free_port(), &format!("server {app}"));
    let telamon = Telamon::start_with(&config, &["-W", "-S", &format!("{path},level,admin")]);
    let ask = |command: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let rows = |answer: &str| -> Vec<String> {
        let words = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        answer.lines().map(words).collect()
    };
    let processes = rows(&ask("show proc"));
    assert_eq!(processes[1], format!("{} master 0", telamon.pid()));
    assert_eq!(processes[2], "# workers");
    assert_eq!(processes[3], format!("{} worker 0", telamon.serving_pid()));
    assert_eq!(ask("@1 get weight web/app"), "1 (initial 1)\n\n");
    if Telamon::is_haproxy() {
        return; // its master socket is gone for a moment while it reloads
    }
    ask("reload");
    eventually("a reload is counted", || rows(&ask("show proc"))[1].ends_with("master 1"));
    telamon.write_config("nonsense");
    ask("reload");
    eventually("a reload that failed is counted", || ask("show proc").contains("1 [failed: 1]"));
    assert_eq!(telamon.connect().get("/").text(), "app");
}

#[test]
fn show_env_has_the_variables_of_the_configuration() {
    let config = Telamon::listen_on(free_port(), "http-request deny\nglobal\nsetenv COLOR blue");
    let telamon = Telamon::start_with(&config, &["-L", "here"]);
    let file = telamon.folder().join("telamon.cfg");
    let socket = telamon.folder().join("stats.sock");
    for (name, value) in [
        ("COLOR", "blue"),
        ("HAPROXY_LOCALPEER", "here"),
        ("HAPROXY_CFGFILES", file.to_str().unwrap()),
        ("HAPROXY_CLI", &format!("unix@{}", socket.display())),
    ] {
        let asked = telamon.stats_socket(&format!("show env {name}"));
        assert_eq!(asked, format!("{name}={value}\n\n"));
        assert!(telamon.stats_socket("show env").contains(asked.trim_end()));
    }
}

#[test]
fn what_is_done_to_a_frontend_or_a_drained_server_is_logged() {
    let (app, log) = (TestServer::named("app"), SyslogSink::start());
    let lines = format!(
        "log {} local0\nserver {app}\nfrontend front\nlog global\nbind 127.0.0.1:{}\ndefault_backend web\n",
        log.address(),
        free_port()
    );
    let telamon = Telamon::start(&format!(
        "global\nlog {} local0\n{}",
        log.address(),
        Telamon::listen_on(free_port(), &lines)
    ));
    #[track_caller]
    fn check(telamon: &Telamon, log: &SyslogSink, command: &str, expected: &str) {
        let before = log.lines().len();
        telamon.stats_socket(command);
        eventually(expected, || log.lines()[before..].iter().any(|line| line.ends_with(expected)));
    }
    let check = |command, expected| check(&telamon, &log, command, expected);
    check("disable frontend front", ": Paused frontend front.");
    check("enable frontend front", ": Resumed frontend front.");
    check("disable frontend web", ": Paused proxy web.");
    check("enable frontend web", ": Resumed proxy web.");
    check(
        "set server web/app state drain",
        ": Server web/app enters drain state. 0 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.",
    );
    check("set weight web/app 50", ": Server web/app remains in forced drain mode.");
    check("set server web/app state ready", ": Server web/app is UP (leaving forced drain).");
    let before = log.lines().len();
    telamon.stats_socket("set weight web/app 7");
    telamon.stats_socket("set server web/app state maint");
    log.wait_for("is going DOWN for maintenance");
    assert_eq!(log.lines()[before..].iter().filter(|line| line.contains("drain")).count(), 0);
}

#[test]
fn a_session_is_shown_with_haproxys_fields_in_their_places() {
    let app = TestServer::start("app", Behaviour::Waits);
    let telamon = Telamon::listen(&format!("server {app}"));
    let mut client = telamon.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is in flight", || app.requests() == 1);
    let all = telamon.stats_socket("show sess");
    let line = all.lines().find(|line| line.contains(" srv=app ")).expect("the session");
    let name = |word: &str| word.split(['=', '[']).next().unwrap_or_default().to_owned();
    let names: Vec<String> = line.split(' ').skip(1).map(name).collect();
    assert_eq!(
        names.join(" "),
        "proto src fe be srv ts epoch age calls rate cpu lat rq rp scf scb exp rc c_exp"
    );
    let source = client.stream().local_addr().unwrap();
    assert!(line.contains(&format!(": proto=tcpv4 src={source} fe=web be=web srv=app ")), "{line}");
    let id = line.split(':').next().unwrap();
    for command in [format!("show sess {id}"), "show sess all".to_owned()] {
        let whole = telamon.stats_socket(&command);
        let has = |text: &str| assert!(whole.contains(text), "{text}: {whole}");
        has(&format!("{id}: ["));
        has(&format!(" proto=tcpv4 source={source}\n  flags=0x"));
        has(&format!(" listener=? (id=1) addr=127.0.0.1:{}\n", telamon.port()));
        has("  server=app (id=1) addr=127.0.0.1:");
        has("\n  task=0x");
        has(" data=STRM target=LISTENER:");
    }
    telamon.stats_socket(&format!("shutdown session {id}"));
    assert_eq!(client.response().status, 502);
}
