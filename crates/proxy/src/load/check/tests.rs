//! What lines about checks come to, and what slips in them are told.

use crate::load::LoadOptions;
use crate::load::tests::{model, told};
use crate::model::{CheckMethod, CheckStep, CheckText, Expected};

/// How the last backend is checked, step by step.
fn script_of(config: &str) -> String {
    let model = model(config);
    let backends = model.proxies.iter().filter_map(|proxy| proxy.backend.as_ref());
    match &backends.last().expect("serves").check {
        CheckMethod::Connect => "connect".to_owned(),
        CheckMethod::Script(script) => script.steps.iter().map(step).collect::<Vec<_>>().join("; "),
    }
}

fn step(step: &CheckStep) -> String {
    let text = |text: &CheckText| match text {
        CheckText::Fixed(bytes) => bytes.escape_ascii().to_string(),
        other => format!("{other:?}"),
    };
    match step {
        CheckStep::Connect(connect) if connect.implicit => "(connect)".into(),
        CheckStep::Connect(_) => "connect".into(),
        CheckStep::Request(r) => format!(
            "{} {} {} {}",
            String::from_utf8_lossy(&r.method),
            text(&r.uri),
            String::from_utf8_lossy(&r.version),
            r.headers.len()
        ),
        CheckStep::Expect(expect) => {
            let not = if expect.negated { "!" } else { "" };
            match &expect.what {
                Expected::Status(ranges) => format!("{not}status {ranges:?}"),
                Expected::Contains(what) => format!("{not}contains {}", text(what)),
                Expected::Regex(regex) => format!("{not}regex {}", regex.as_str()),
                Expected::HexRegex(regex) => format!("{not}hex {}", regex.as_str()),
                Expected::Packet(packet) => format!("{not}{packet:?}"),
                other => format!("{not}{other:?}"),
            }
        }
        CheckStep::Send { data, .. } => format!("send {}", text(data)),
        other => format!("{other:?}"),
    }
}

#[test]
fn checks_become_scripts() {
    #[track_caller]
    fn check(lines: &str, expected: &str) {
        let config = format!(
            "backend b\n{lines} server s 127.0.0.1:1 check\n timeout connect 1s\n timeout server 1s\n"
        );
        assert_eq!(script_of(&config), expected);
    }
    check("", "connect");
    check(" option tcp-check\n", "(connect)");
    check(" option httpchk\n", "(connect); OPTIONS / HTTP/1.0 0; status [(200, 399)]");
    check(
        " option httpchk GET /status HTTP/1.1\\r\\nHost:\\ www\n http-check expect status 200\n",
        "(connect); GET /status HTTP/1.1 1; status [(200, 200)]",
    );
    check(
        " option httpchk\n http-check send meth HEAD uri /x hdr host a\n http-check expect string ok\n",
        "(connect); HEAD /x HTTP/1.0 1; contains ok",
    );
    check(
        " option tcp-check\n tcp-check send PING\n tcp-check expect string +PONG\n",
        "(connect); send PING; contains +PONG",
    );
}

#[test]
fn presets_are_whole_scripts() {
    #[track_caller]
    fn check(option: &str, expected: &str) {
        let config = format!("backend b\n option {option}\n server s 127.0.0.1:1 check\n");
        assert_eq!(script_of(&config), expected);
    }
    check("redis-check", r"(connect); send *1\r\n$4\r\nPING\r\n; contains +PONG\r\n");
    let mail = |hello: &str| {
        format!(
            "connect; regex ^[0-9]{{3}}[ \\r]; regex ^2[0-9]{{2}}[ \\r]; send {hello}\\r\\n; \
             regex ^(2[0-9]{{2}}-[^\\r]*\\r\\n)*2[0-9]{{2}}[ \\r]; send QUIT\\r\\n; \
             regex ^2[0-9]{{2}}[- \\r]"
        )
    };
    check("smtpchk", &mail("HELO localhost"));
    check("smtpchk EHLO example.com", &mail("EHLO example.com"));
    check(
        "ldap-check",
        r"(connect); send 0\x0c\x02\x01\x01`\x07\x02\x01\x03\x04\x00\x80\x00; LdapBindResponse",
    );
    check("mysql-check", "connect; MysqlGreeting");
    check(
        "mysql-check user user pre-41",
        r"connect; send \x0b\x00\x00\x01\x00\x80\x00\x00\x01user\x00\x00\x01\x00\x00\x00\x01; MysqlGreeting; MysqlLogin",
    );
    let login41 = format!(
        r"connect; send &\x00\x00\x01\x00\x82\x00\x00\x00\x80\x00\x01!{}user\x00\x00\x01\x00\x00\x00\x01; MysqlGreeting; MysqlLogin",
        r"\x00".repeat(23)
    );
    check("mysql-check user user", &login41);
    check("mysql-check user user post-41", &login41);
    check(
        "pgsql-check user postgres",
        r"connect; send \x00\x00\x00\x17\x00\x03\x00\x00user\x00postgres\x00\x00; !regex ^E; hex ^52000000[A-Z0-9]{2}000000(00|02|03|04|05|06|07|09|0A)",
    );
    let hello = script_of("backend b\n option ssl-hello-chk\n server s 127.0.0.1:1 check\n");
    assert!(
        hello.starts_with(r"(connect); send \x16\x03\x00\x00O\x01\x00\x00K\x03\x00"),
        "{hello}"
    );
    assert!(hello.ends_with("; hex ^1[56]"), "{hello}");
}

#[test]
fn checks_need_a_port() {
    let told = |server: &str| {
        let timeouts = "timeout connect 1s\n timeout server 1s\n";
        let config = format!("backend b\n server s {server}\n {timeouts}");
        told(&config, &LoadOptions::default()).join("; ")
    };
    assert_eq!(told("127.0.0.1 check"), "2:9 alert server s has no port to check");
    assert_eq!(told("127.0.0.1 check port 80"), "");
    // Without an address either there is nothing to check until the socket sets both.
    assert_eq!(told(": check"), "");
}

#[test]
fn slips_in_presets_are_told() {
    let told = |option: &str| {
        told(&format!("backend b\n option {option}\n"), &LoadOptions::default()).join("; ")
    };
    assert_eq!(
        told("grpc-check servce x"),
        "2:20 alert unknown word `servce` (did you mean `service`?)"
    );
    assert_eq!(told("mysql-check usr x"), "2:21 alert unknown word `usr` (did you mean `user`?)");
    assert_eq!(
        told("mysql-check user x pst-41"),
        "2:28 alert unknown word `pst-41` (did you mean `post-41`?)"
    );
    let missing =
        "2:9 alert `option pgsql-check` lacks `user <name>` (expected `user <name>` after this)";
    assert_eq!(told("pgsql-check"), missing);
}

#[test]
fn own_lines_of_checks_replace_those_of_defaults() {
    #[track_caller]
    fn check(lines: &str, expected: &str) {
        let config = format!(
            "defaults\n timeout connect 1s\n timeout server 1s\n mode http\n \
             option httpchk GET /status HTTP/1.1\n http-check send hdr Host a hdr X b body c\n\
             backend b\n{lines} server s 127.0.0.1:1 check\n"
        );
        assert_eq!(script_of(&config), expected);
    }
    check("", "(connect); GET /status HTTP/1.1 2; status [(200, 399)]");
    check(" http-check connect\n", "connect; GET /status HTTP/1.1 0; status [(200, 399)]");
    check(
        " option httpchk PUT /x\n http-check connect\n http-check send hdr a b\n",
        "connect; PUT /x HTTP/1.0 1; status [(200, 399)]",
    );
    check(
        " http-check connect\n http-check send uri /a\n http-check expect status 200\n \
         http-check connect\n http-check send uri /b\n",
        "connect; OPTIONS /a HTTP/1.0 0; status [(200, 200)]; connect; OPTIONS /b HTTP/1.0 0; status [(200, 399)]",
    );
    check(" option httpchk\n", "(connect); OPTIONS / HTTP/1.0 0; status [(200, 399)]");
    check(" http-check send hdr Host z\n", "(connect); OPTIONS / HTTP/1.0 1; status [(200, 399)]");
    check(
        " http-check send hdr Host z\n option httpchk PUT /x HTTP/1.1\n",
        "(connect); PUT /x HTTP/1.1 1; status [(200, 399)]",
    );
    // HAProxy sends nothing here and waits in vain.
    check(
        " http-check expect status 200\n",
        "(connect); GET /status HTTP/1.1 0; status [(200, 200)]",
    );
}

/// What is said of a backend with these lines behind its first, each on a line of its own.
#[track_caller]
fn slip(lines: &str, expected: &str) {
    let config = format!("backend b\n{lines}\n timeout connect 1s\n timeout server 1s\n");
    assert_eq!(told(&config, &LoadOptions::default()).join("; "), expected, "{lines}");
}

#[test]
fn slips_in_rules_are_told() {
    let tcp = |rule: &str, expected: &str| {
        slip(&format!(" option tcp-check\n tcp-check {rule}"), expected);
    };
    tcp("snd x", "3:12 alert unknown tcp-check rule `snd` (did you mean `send`?)");
    tcp("connect prt 1", "3:20 alert unknown word `prt` (did you mean `port`?)");
    tcp(
        "expect strng x",
        "3:19 alert unknown kind of expectation `strng` (did you mean `string`?)",
    );
    tcp("expect status 200", "3:19 alert unknown kind of expectation `status`");
    tcp("send-binary 4z", "3:24 alert bad bytes `4z` (expected pairs of hexadecimal digits)");
    tcp("expect binary 123", "3:26 alert bad bytes `123` (expected pairs of hexadecimal digits)");
    tcp(
        "expect rstring [",
        "3:27 alert bad regular expression `[`: invalid regular expression: a class without its closing bracket",
    );
    tcp(
        "expect min-recv -2 string x",
        "3:28 alert number of bytes -2 is out of range (expected -1 to 2147483647)",
    );
    tcp(
        "expect ok-status L7OKK string x",
        "3:29 alert unknown status of a check `L7OKK` (did you mean `L7OK`?)",
    );
    tcp(
        "set-var(check) int(1)",
        "3:12 alert bad variable `set-var(check)` (expected a scope and a name such as `check.name`)",
    );
    let http = |rule: &str, expected: &str| {
        slip(&format!(" option httpchk\n http-check {rule}"), expected);
    };
    http("send mth GET", "3:18 alert unknown word `mth` (did you mean `meth`?)");
    http(
        "expect status 200-",
        "3:27 alert bad status `200-` (expected statuses such as `200-399,401`)",
    );
    http(
        "expect status 300-200",
        "3:27 alert bad status `300-200` (expected statuses such as `200-399,401`)",
    );
    http(
        "expect hdr nam x",
        "3:20 alert `expect` lacks `name <text>` (expected `name <text>` after this)",
    );
    http(
        "expect fhdr name -m bag x",
        "3:33 alert unknown match method `bag` (did you mean `beg`?)",
    );
    http(
        "disable-on-403",
        "3:13 alert unknown http-check rule `disable-on-403` (did you mean `disable-on-404`?)",
    );
}

#[test]
fn steps_stand_in_order() {
    #[track_caller]
    fn check(protocol: &str, option: &str, steps: &[&str], expected: &str) {
        let lines: Vec<_> = steps.iter().map(|step| format!(" {protocol} {step}\n")).collect();
        let lines = format!(" option {option}\n{}", lines.concat());
        slip(&lines, expected);
    }
    let http =
        |steps: &[&str], expected: &str| check("http-check", "httpchk GET /", steps, expected);
    let tcp = |steps: &[&str], expected: &str| check("tcp-check", "tcp-check", steps, expected);
    let (send, expect, connect) = ("send uri /", "expect status 200", "connect");
    let without = |place: &str, step: &str, lacks: &str| {
        format!("{place} alert `http-check {step}` without an `http-check {lacks}` before it")
    };
    let behind = |place: &str| format!("{place} alert `connect` behind other steps");
    http(&[send, expect], "");
    http(&[expect, "expect string x"], "");
    http(&[connect], "");
    http(&["set-var(check.a) int(1)", connect, send], "");
    http(&[connect, send, expect, connect, send], "");
    http(&[expect, send], &without("4:13", "send", "connect"));
    http(&[send, "comment x", send], &without("5:13", "send", "connect"));
    http(&[connect, send, send], &without("5:13", "send", "connect"));
    http(&[connect, expect], &without("4:13", "expect", "send"));
    http(&[connect, connect], &without("4:13", "connect", "expect"));
    http(&[connect, send, connect], &without("5:13", "connect", "expect"));
    http(&[expect, connect], &behind("4:13"));
    http(&[send, expect, connect], &behind("5:13"));
    tcp(&["send x", "send y", "expect string z", "expect string z"], "");
    tcp(&["comment c", connect, "send x", "connect port 7", "connect"], "");
    tcp(&["send x", connect], &behind("4:12"));
    tcp(&["expect string x", connect], &behind("4:12"));
    tcp(&["set-var(check.a) int(1)", "send x", connect], &behind("5:12"));
}

#[test]
fn options_of_checks_take_no_more_words() {
    let extra = |option: &str, expected: &str| slip(&format!(" option {option}"), expected);
    extra("httpchk GET / HTTP/1.0", "");
    extra(
        "httpchk GET / HTTP/1.0 extra",
        "2:32 alert unexpected `extra` after `option httpchk` (not expected here)",
    );
    extra("smtpchk HELO x", "");
    extra(
        "smtpchk HELO x y",
        "2:24 alert unexpected `y` after `option smtpchk` (not expected here)",
    );
}

#[test]
fn a_connection_of_a_rule_takes_words_of_tls() {
    for protocol in ["http-check", "tcp-check"] {
        let option = if protocol == "http-check" { "httpchk" } else { "tcp-check" };
        let line =
            |words: &str| format!("backend b\n option {option}\n {protocol} connect {words}\n");
        let said = told(&line("proto h2"), &LoadOptions::default());
        assert!(said[0].contains("alert `connect proto`"), "{said:?}");
        let said = told(&line("ssl alpn h2,,x"), &LoadOptions::default());
        assert!(said[0].contains("list of protocols"), "{said:?}");
        slip(&format!(" option {option}\n {protocol} connect ssl sni b.test alpn h2,http/1.1"), "");
    }
    slip(" option httpchk\n http-check connect send-proxy", "");
    slip(" option tcp-check\n tcp-check connect send-proxy default", "");
}

#[test]
fn servers_are_tracked_where_404_means_the_same() {
    let told = |first: &str, second: &str| {
        let config = format!(
            "defaults\n mode http\n timeout connect 1s\n timeout server 1s\n\
             backend a\n{first} server s 127.0.0.1:1 check\n\
             backend b\n{second} server t 127.0.0.1:1 track a/s\n"
        );
        told(&config, &LoadOptions::default()).join("; ")
    };
    let disables = " option httpchk\n http-check disable-on-404\n";
    assert_eq!(told("", ""), "");
    assert_eq!(told(disables, disables), "");
    let otherwise = "alert server t cannot track one that a 404 means something else for";
    assert_eq!(told(disables, ""), format!("10:9 {otherwise}"));
    assert_eq!(told("", disables), format!("10:9 {otherwise}"));
}

#[test]
fn agents_reach_the_model() {
    let model = model(
        "defaults\n timeout connect 1s\n timeout server 1s\n default-server agent-check agent-port 8700 agent-inter 1s\n\
         backend b\n server a 127.0.0.1:1\n server b 127.0.0.1:1 agent-addr ::1 agent-port 7 agent-send a\\n\n\
         \x20server c 127.0.0.1:1 no-agent-check\n server d 127.0.0.1:1 addr 127.0.0.8\n",
    );
    let servers = &model.proxies[0].backend.as_ref().expect("a backend").servers;
    let shown: Vec<_> = servers
        .iter()
        .map(|server| match &server.agent {
            None => "none".to_owned(),
            Some(agent) => format!(
                "{:?} {:?} {} {:?}",
                agent.inter,
                agent.address.map(|ip| ip.to_string()).unwrap_or_default(),
                agent.port,
                agent.send.escape_ascii().to_string()
            ),
        })
        .collect();
    assert_eq!(
        shown,
        [r#"1s "" 8700 """#, r#"1s "::1" 7 "a\\n""#, "none", r#"1s "127.0.0.8" 8700 """#]
    );
}

#[test]
fn slips_in_agents_are_told() {
    let server = |options: &str, expected: &str| {
        slip(&format!(" server s 127.0.0.1:1 {options}"), expected);
    };
    server("agent-check", "2:9 alert server s has no port for its agent");
    server("agent-port 9", "");
    server("agent-check agent-port 0", "2:46 alert port 0 is out of range (expected 1 to 65535)");
    server(
        "agent-check agent-port 9 agent-inter 0",
        "2:60 alert bad time `0` (expected at least 1ms)",
    );
    server(
        "agent-check agent-port 9 agent-inter soon",
        "2:60 alert bad time `soon` (expected a time such as `10s`)",
    );
    server(
        "agent-check agent-port 9 agent-addr",
        "2:48 alert `agent-addr` lacks an address (expected an address after this)",
    );
    server(
        "agent-chek agent-port 9",
        "2:23 alert unknown server option `agent-chek` (did you mean `agent-check`?)",
    );
    server("agent-send", "2:23 alert `agent-send` lacks a text (expected a text after this)");
    slip(
        " server a 127.0.0.1:1 track b\n server b 127.0.0.1:1 track a",
        "2:9 alert `track` of server a leads nowhere; 3:9 alert `track` of server b leads nowhere",
    );
    slip(" server a 127.0.0.1:1 track a", "2:9 alert `track` of server a leads nowhere");
    slip(
        " server a 127.0.0.1:1 track b check\n server b 127.0.0.1:1 check",
        "2:9 alert track cannot be combined with check",
    );
    slip(
        " server a 127.0.0.1:1 track b\n server b 127.0.0.1:1",
        "2:9 alert `track` of server a leads nowhere",
    );
    slip(" server a 127.0.0.1:1 track x/b", "2:29 alert there is no backend `x`");
    slip(" server a 127.0.0.1:1 track b\n server b 127.0.0.1:1 agent-check agent-port 7", "");
}
