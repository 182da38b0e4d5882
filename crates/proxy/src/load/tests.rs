//! Lines and what the model has of them; mistakes and what is said.

mod bare_words;
mod own_strategies;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use telamon_balance::health::{Observe, OnError};
use telamon_balance::outlier::OutlierConfig;
use telamon_config::{Diagnostics, Environment, Source, Style};
use telamon_runtime::Neighbor;
use telamon_runtime::files::Direct;

use super::{LoadOptions, Loaded, load_source};
use crate::model::{BalanceStrategy, ConnectionMode, HttpReuse, Mode, Model, RetryOn, ServerPort};

fn load_text(text: &str, options: &LoadOptions) -> Loaded {
    let mut source = Source::new();
    source.add("test.cfg", text.as_bytes().to_vec());
    let environment = Environment::new().with_variables([("HOME", "/root")]);
    let files = Rc::new(Direct::new(Neighbor::Refused));
    let diagnostics = Diagnostics::new().lenient(options.lenient);
    load_source(options, environment, files, source, diagnostics)
}

#[track_caller]
pub(super) fn model(text: &str) -> Model {
    let Loaded { model, mut diagnostics, source, .. } = load_text(text, &LoadOptions::default());
    match model {
        Some(model) => model,
        None => panic!("{}", diagnostics.render(&source, Style::Plain)),
    }
}

/// The lines of everything that is said, as `line:column severity title`.
pub(super) fn told(text: &str, options: &LoadOptions) -> Vec<String> {
    let Loaded { diagnostics, .. } = load_text(text, options);
    let one = |error: &telamon_config::ConfigError| {
        let word = error.severity.word().to_lowercase();
        let explained = error.kind.explain();
        let label = explained.label.map_or(String::new(), |label| format!(" ({label})"));
        format!("{}:{} {word} {}{label}", error.at.line, error.at.column, explained.title)
    };
    diagnostics.iter().map(one).collect()
}

#[track_caller]
pub(super) fn check(text: &str, expected: &[&str]) {
    assert_eq!(told(text, &LoadOptions::default()), expected, "{text}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A rule of a `defaults` section is read once more for each heir; what only then is wrong is told.
#[test]
fn rules_that_do_not_suit_an_heir_are_mistakes() {
    let times = " timeout client 1s\n timeout connect 1s\n timeout server 1s\n";
    let config = |rule: &str| {
        format!(
            "defaults d\n mode http\n{times} log stdout local0\n log-format %[fe_conn]/%[be_conn]\n http-request {rule}\nfrontend f from d\n bind :1\n"
        )
    };
    check(&config("set-header X %[fe_conn]"), &[]);
    check(
        &config("set-header X %[be_conn]"),
        &[
            "8:30 alert `be_conn` lacks the name of a backend (expected the name of a backend after this)",
        ],
    );
}

#[test]
fn the_examples_load() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("examples")).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "cfg") {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(&path).expect("a file");
        let options = LoadOptions { offline: true, ..LoadOptions::default() };
        let Loaded { model, mut diagnostics, source, .. } = load_text(&text, &options);
        let shown = diagnostics.render(&source, Style::Plain);
        assert!(model.is_some() && diagnostics.warnings() == 0, "{}: {shown}", path.display());
    }
    assert!(seen > 5);
}

#[test]
fn slips_about_the_choice_of_a_server_are_told() {
    #[track_caller]
    fn slip(line: &str, expected: &str) {
        let text = format!(
            "listen l\n bind :1\n mode http\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n {line}\n"
        );
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        check(&text, expected);
    }
    slip(
        "hash-type consistant",
        "7:12 alert unknown hash type `consistant` (did you mean `consistent`?)",
    );
    slip(
        "hash-type",
        "7:2 alert `hash-type` lacks `map-based` or `consistent` (expected `map-based` or `consistent` after this)",
    );
    slip("hash-type avalanche", "7:12 alert `hash-type avalanche` is obsolete");
    slip(
        "hash-type consistent md5",
        "7:23 alert bad hash function `md5` (expected `sdbm`, `djb2`, `wt6`, `crc32` or `none`)",
    );
    slip(
        "hash-type map-based sdbm avalance",
        "7:27 alert unknown hash modifier `avalance` (did you mean `avalanche`?)",
    );
    slip("hash-type map-based wt6 avalanche", "");
    slip(
        "hash-balance-factor 50",
        "7:22 alert bad balance factor `50` (expected 0 for no bound, or a percentage above 100)",
    );
    slip("hash-balance-factor x", "7:22 alert bad balance factor `x` (expected a number)");
    slip(
        "hash-balance-factor",
        "7:2 alert `hash-balance-factor` lacks a percentage above 100, or 0 for no bound (expected a percentage above 100, or 0 for no bound after this)",
    );
    slip("hash-balance-factor 150", "");
    slip("balance", "");
    slip("balance uri depth x", "7:20 alert bad depth `x` (expected a number)");
    slip("balance uri depth", "7:14 alert `uri` lacks a number (expected a number after this)");
    slip("balance uri len 0", "7:18 alert length 0 is out of range (expected 1 to 2147483647)");
    slip(
        "balance uri hole",
        "7:14 alert unknown option of `balance uri` `hole` (did you mean `whole`?)",
    );
    slip("balance uri whole path-only len 12 depth 3", "");
    slip(
        "balance url_param",
        "7:10 alert `url_param` lacks the name of a parameter (expected the name of a parameter after this)",
    );
    slip(
        "balance url_param id check",
        "7:23 alert bad modifier of `balance url_param` `check` (expected `check_post`)",
    );
    slip("balance url_param id check_post 64", "");
    slip(
        "balance url_param id check_post x",
        "7:34 alert bad number of bytes `x` (expected a number)",
    );
    slip(
        "balance hdr()",
        "7:10 alert bad balance strategy `hdr()` (expected the name of a header, as in `hdr(host)`)",
    );
    slip(
        "balance hdr(host",
        "7:10 alert bad balance strategy `hdr(host` (expected the name of a header, as in `hdr(host)`)",
    );
    slip("balance hdr", "7:10 alert unknown balance strategy `hdr` (did you mean `hdr(…)`?)");
    slip(
        "balance hdr(host) use_domain",
        "7:20 alert bad modifier of `balance hdr(…)` `use_domain` (expected `use_domain_only`)",
    );
    slip("balance hdr(host) use_domain_only", "");
    slip(
        "balance rdp-cookie()",
        "7:10 alert bad balance strategy `rdp-cookie()` (expected the name of a cookie, as in `rdp-cookie(mstshash)`)",
    );
    slip("balance rdp-cookie(msts)", "");
    slip(
        "balance random(0)",
        "7:10 alert bad balance strategy `random(0)` (expected a number of draws from 1, as in `random(2)`)",
    );
    slip("balance random()", "");
    slip(
        "balance hash",
        "7:10 alert `hash` lacks a sample expression (expected a sample expression after this)",
    );
    slip("balance hash req.hrd(x)", "7:15 alert unknown fetch `req.hrd` (did you mean `req.hdr`?)");
    slip(
        "balance hash res.hdr(x)",
        "7:15 alert bad fetch `res.hdr` (expected one that can be used in `balance`; this one reads the HTTP response headers, which is not there)",
    );
    slip(
        "balance hash req.hdr(x),lower extra",
        "7:32 alert unexpected `extra` after `balance` (not expected here)",
    );
    slip(
        "balance source extra",
        "7:17 alert unexpected `extra` after `balance` (not expected here)",
    );
    slip(
        "server s 127.0.0.1:1 slowstart x",
        "7:33 alert bad time `x` (expected a time such as `10s`)",
    );
    check(
        "defaults\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n balance uri\nlisten l\n mode tcp\n bind :1\n server s 127.0.0.1:1\n",
        &["6:8 warning the key of `balance` ignored for listen l"],
    );
}

#[test]
fn all_slips_are_told_in_one_run() {
    let path = root().join("examples/mistakes/two-apps-by-path-with-slips.cfg");
    let text = std::fs::read_to_string(path).expect("a file");
    check(
        &text,
        &[
            "6:16 alert bad maxconn `508x` (expected a number, without `x`)",
            "13:10 alert bad address `*:` (expected no space: `*:80`)",
            "14:23 alert unknown flag `-1` (did you mean `-i`?)",
            "17:17 alert there is no backend `odd_application_node` (did you mean `odd_application_nodes`?)",
            "19:10 alert bad address `*83` (expected a port: `*:83`?)",
            "23:13 alert unknown balance strategy `roundrobbin` (did you mean `roundrobin`?)",
            "26:12 alert second server `server01` (the name is taken)",
            "26:36 alert unknown server option `chekc` (did you mean `check`?)",
            "29:5 alert unknown keyword `option httpchek` (did you mean `option httpchk`?)",
        ],
    );
}

#[test]
fn settings_reach_the_model() {
    let mut model = model(
        "global\n maxconn 500\n nbthread 2\n tune.bufsize 32k\n\
         defaults\n mode http\n timeout connect 10s\n timeout client 50s\n timeout server 50000\n retries 5\n\
         \x20option httpclose\n option forwardfor except 127.0.0.0/8 header X-Client\n default-server inter 5s weight 3\n\
         frontend web\n bind :8001-8002 name a\n bind 127.0.0.1:8003,[::1]:8004 maxconn 7\n no option httpclose\n\
         \x20acl static path_beg /static\n use_backend files if static\n default_backend apps\n\
         backend apps\n balance random(3)\n http-reuse always\n option redispatch\n\
         \x20server a 127.0.0.1:1 check port 9\n server b 127.0.0.2 weight 7 backup id 9\n server c 127.0.0.3:+10 disabled\n\
         backend files\n fullconn 9\n server-template s 2-4 127.0.0.1:80\n",
    );
    model.share_fullconn(500);
    assert_eq!((model.global.maxconn, model.global.nbthread), (Some(500), Some(2)));
    assert_eq!(model.global.tune.bufsize, 32 * 1024);
    let [web, apps, files] = &model.proxies[..] else { panic!("{}", model.proxies.len()) };
    assert_eq!((web.number, apps.number, files.number), (1, 2, 3));
    assert_eq!((web.mode, apps.timeouts.server.map(|t| t.as_secs())), (Mode::Http, Some(50)));
    assert_eq!(web.options.connection, ConnectionMode::KeepAlive);
    assert_eq!(apps.options.connection, ConnectionMode::Close);
    assert_eq!(&*apps.options.forwardfor.as_ref().expect("set").header, b"x-client");
    let front = web.frontend.as_ref().expect("accepts");
    let listeners: Vec<_> = front
        .listeners
        .iter()
        .map(|l| format!("{} {} {}", l.name, super::describe(&l.bind), l.maxconn))
        .collect();
    assert_eq!(
        listeners,
        ["a 0.0.0.0:8001 0", "a 0.0.0.0:8002 0", "sock-3 127.0.0.1:8003 7", "sock-4 [::1]:8004 7"]
    );
    assert_eq!(front.use_backend.iter().len(), 1);
    assert_eq!(front.default_backend.map(|id| id.0), Some(1));
    let back = apps.backend.as_ref().expect("serves");
    assert_eq!(back.balance.strategy, BalanceStrategy::Random { draws: 3 });
    assert_eq!((back.reuse, back.retries, back.redispatch), (HttpReuse::Always, 5, -1));
    assert_eq!(
        (back.pool.fullconn(), files.backend.as_ref().map(|b| b.pool.fullconn())),
        (50, Some(9))
    );
    let servers: Vec<_> = back
        .servers
        .iter()
        .map(|s| {
            format!("{} {} {} {}", s.name, s.number, s.member_config.weight, s.check.is_some())
        })
        .collect();
    assert_eq!(servers, ["a 1 3 true", "b 9 7 false", "c 3 3 false"]);
    assert_eq!(
        back.servers[0].check.as_ref().map(|c| (c.inter.as_secs(), c.port)),
        Some((5, Some(9)))
    );
    let crate::model::ServerAddress::Ip { port, .. } = back.servers[2].address else { panic!() };
    assert_eq!((port, back.servers[2].disabled), (ServerPort::Mapped(10), true));
    let names: Vec<_> =
        files.backend.iter().flat_map(|b| &b.servers).map(|s| s.name.to_string()).collect();
    assert_eq!(names, ["s2", "s3", "s4"]);
}

#[test]
fn the_master_listens_where_the_command_line_says() {
    #[track_caller]
    fn check(argument: &str, expected: Result<(&str, &str), &str>) {
        let options =
            LoadOptions { master_socket: Some(argument.to_owned()), ..LoadOptions::default() };
        let Loaded { model, diagnostics, .. } = load_text("global\n stats socket /a\n", &options);
        let found = match &model {
            Some(model) => {
                let [plain, master] = &model.global.stats_sockets[..] else { panic!() };
                assert!(!plain.master && master.master);
                Ok((super::describe(&master.bind), master.level.name()))
            }
            None => Err(diagnostics.iter().map(|error| error.kind.explain().title).collect()),
        };
        let expected = expected.map(|(address, level)| (address.to_owned(), level));
        assert_eq!(found, expected.map_err(str::to_owned), "{argument}");
    }
    check("/run/m sock", Ok(("unix@/run/m sock", "admin")));
    check("127.0.0.1:9000,level,user", Ok(("127.0.0.1:9000", "user")));
    check("fd@7", Ok(("fd@7", "admin")));
    check("127.0.0.1:9000,levle", Err("unknown bind option `levle`"));
}

#[test]
fn connections_may_go_somewhere_without_a_choice() {
    #[track_caller]
    fn check(lines: &str, expected: Option<(&str, bool)>) {
        let model = model(&format!("defaults\n timeout connect 1s\nbackend b\n {lines}\n"));
        let backend = model.proxies[0].backend.as_ref().expect("serves");
        let direct = backend.direct.as_ref().map(|direct| {
            let follows = direct.state.follows_client.load(std::sync::atomic::Ordering::Relaxed);
            (direct.state.address().endpoint.to_string(), follows)
        });
        let direct = direct.as_ref().map(|(address, follows)| (&**address, *follows));
        assert_eq!(direct, expected, "{lines}");
    }
    check("server s 127.0.0.1:1", None);
    check("dispatch 127.0.0.1:1", Some(("127.0.0.1:1", false)));
    check("option transparent", Some(("0.0.0.0:0", true)));
    check("transparent", Some(("0.0.0.0:0", true)));
    check("option transparent\n dispatch 127.0.0.1:1", Some(("127.0.0.1:1", false)));
}

#[test]
fn what_haproxy_dropped_is_told_with_the_line_to_write() {
    let help = |line: &str| {
        let text = format!("backend b\n {line}\n");
        let Loaded { diagnostics, .. } = load_text(&text, &LoadOptions::default());
        let mut told = diagnostics.iter().filter_map(|error| error.kind.explain().help);
        told.next().unwrap_or_default()
    };
    for (line, instead) in [
        ("contimeout 5s", "timeout connect 5s"),
        (
            "reqadd X-Proto:\\ https if { ssl_fc }",
            "http-request add-header X-Proto https if { ssl_fc }",
        ),
        ("rspidel ^Server:.*", "http-response del-header Server"),
        (
            "reqirep ^Host:\\ (.*) Host:\\ www.\\1",
            "http-request replace-header Host (.*) 'www.\\1'",
        ),
        ("block if { src 10.0.0.1 }", "http-request deny if { src 10.0.0.1 }"),
    ] {
        let help = help(line);
        assert!(help.contains(instead), "{line}: {help}");
    }
}

#[test]
fn a_keyword_is_never_silently_ignored() {
    let lenient = LoadOptions { lenient: true, ..LoadOptions::default() };
    let text = "listen l\n bind :1 namespace x\n stick-table type ip size 1k peers p\n\
                \x20server a 127.0.0.1:1 namespace x\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n";
    assert_eq!(
        told(text, &lenient),
        [
            "2:10 alert `namespace` is known to HAProxy, not yet to Telamon",
            "3:30 warning `peers` is known to HAProxy, not yet to Telamon",
            "4:23 alert `namespace` is known to HAProxy, not yet to Telamon",
        ]
    );
    check(
        "global\n tune.listener.multi-queue on\n ssl-mode-async\n",
        &[
            "2:2 notice `tune.listener.multi-queue` has no effect here: each worker is one thread with one reactor",
            "3:2 notice `ssl-mode-async` has no effect here: the cryptography is aws-lc, built in",
        ],
    );
}

#[test]
fn what_stands_twice_or_nowhere_is_told() {
    const TIMES: &str = "defaults\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n";
    let text = |lines: &str| format!("{TIMES}{lines}");
    check(
        &text(
            "frontend a\n bind :1\nlisten a\n bind :1\n server s 127.0.0.1:1 id 3\n server t 127.0.0.1:2 id 3\n",
        ),
        &[
            "7:8 alert second proxy `a` (the name is taken)",
            "8:7 alert second address `0.0.0.0:1` (the name is taken)",
            "10:26 alert second server id `3` (the name is taken)",
        ],
    );
    check(
        &text("frontend a\n mode http\n bind :1\n default_backend b\nbackend b\n"),
        &["5:10 alert frontend a (mode http) cannot pass its traffic to backend b (mode tcp)"],
    );
    check(
        "frontend a\n",
        &[
            "1:10 warning frontend a has no `bind`",
            "1:10 warning missing timeouts for frontend a (without timeout client)",
        ],
    );
}

#[test]
fn fetches_of_load_are_about_their_own_proxy() {
    const TIMES: &str = "defaults\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n";
    let rule = |section: &str, fetch: &str| {
        let bind = if section == "backend" { "" } else { " bind :1\n" };
        format!("{TIMES}{section} a\n{bind} tcp-request content reject if {{ {fetch} ge 10 }}\n")
    };
    for fetch in ["fe_conn", "fe_req_rate", "fe_sess_rate", "fe_conn()"] {
        check(&rule("frontend", fetch), &[]);
        check(&rule("listen", fetch), &[]);
    }
    for fetch in [
        "avg_queue",
        "be_conn",
        "be_conn_free",
        "be_sess_rate",
        "connslots",
        "nbsrv",
        "nbsrv,add(1)",
        "queue",
    ] {
        check(&rule("backend", fetch), &[]);
        check(&rule("listen", fetch), &[]);
    }
    check(
        &rule("backend", "fe_conn"),
        &[
            "6:34 alert `fe_conn` lacks the name of a frontend (expected the name of a frontend after this)",
        ],
    );
    check(
        &rule("frontend", "nbsrv"),
        &[
            "7:34 alert `nbsrv` lacks the name of a backend (expected the name of a backend after this)",
        ],
    );
    check(
        &rule("frontend", "srv_conn"),
        &["7:34 alert bad arguments `0` (expected at least 1 for srv_conn)"],
    );
}

#[test]
fn what_haproxy_refuses_is_refused() {
    const BEGIN: &str = "userlist ul\n group g users u\n user u insecure-password x\n\
                         defaults\n mode http\n timeout client 1s\nfrontend a\n bind :1\n";
    let line = |line: &str| format!("{BEGIN} {line}\n");
    check(&line("http-request deny if { http_auth_group(ul) g }"), &[]);
    check(
        &line("http-request deny if { http_auth_group(ul) h }"),
        &["9:45 alert there is no group `h`"],
    );
    check(
        &line("http-request deny if { http_auth_group(ul) }"),
        &[
            "9:25 alert `http_auth_group(ul)` lacks the name of a group (expected the name of a group after this)",
        ],
    );
    check(
        &line("http-request capture path id 0"),
        &["9:31 alert bad slot `0` (expected that of a `declare capture request` line above it)"],
    );
    check(
        &line("http-response capture res.hdr(a) id 0"),
        &["9:38 alert bad slot `0` (expected that of a `declare capture response` line above it)"],
    );
    check(&line("declare capture request len 9\n http-request capture path id 0"), &[]);
    check(
        &line("http-request normalize-uri path-merge-slashes"),
        &[
            "9:15 alert http-request normalize-uri needs `expose-experimental-directives` in `global`",
        ],
    );
    check(
        &line(
            "http-request normalize-uri path-merge-slashes\nglobal\n expose-experimental-directives",
        ),
        &[],
    );
    check(
        &line("log stdout local0\n log-format \"%ci %zz %[nosuch] %[req.nix,lower] %1\""),
        &[
            "10:19 alert unknown log-format variable `zz`",
            "10:24 alert unknown fetch `nosuch`",
            "10:34 alert unknown fetch `req.nix`",
            "10:49 alert bad log-format variable `%1` (expected a name, or `%%` for a percent sign)",
        ],
    );
    check(
        "defaults\n timeout client 5x\n timeout connect 1s\nfrontend a\n bind :1\n",
        &["2:18 alert bad time `5x` (expected a time such as `10s`, without `x`)"],
    );
    check(
        "backend a\n persist rdp-cookie\n persist rdp-cookie(x)\n",
        &[
            "2:2 alert `persist rdp-cookie` is known to HAProxy, not yet to Telamon",
            "3:2 alert `persist rdp-cookie` is known to HAProxy, not yet to Telamon",
        ],
    );
}

#[test]
fn what_haproxy_warns_of_is_warned_of() {
    const BEGIN: &str = "defaults\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n";
    let listen =
        |lines: &str| format!("{BEGIN}listen a\n bind :1\n server s 127.0.0.1:1\n {lines}\n");
    check(&listen("bind :2 process 1"), &["8:10 warning `process` of `bind` lines is deprecated"]);
    let crt = listen("bind :2 alpn h2,http/1.1 crt a.pem");
    check(&crt, &["8:10 warning `alpn` without `ssl`: clients are spoken to in plain text here"]);
    check(&listen("bind-process odd"), &["8:2 warning `bind-process` is deprecated"]);
    let l6 = "mode http\n acl x req.len 0\n http-request deny if { src 1.1.1.1 } !x";
    check(&listen(l6), &["10:39 warning `req.len` looks at raw contents in `mode http`"]);
    check(&listen("tcp-request content reject if { req.len 0 }"), &[]);
    check(
        &listen("tcp-request content capture req.payload(0,3) len 9"),
        &["8:22 warning a capture of contents without `tcp-request inspect-delay`"],
    );
    check(&listen("tcp-request content capture src len 9"), &[]);
    check(&listen("tcp-request inspect-delay 1s\n tcp-request content capture req.len len 9"), &[]);
    let tracks = |lines: &str| listen(&format!("stick-table type ip size 9\n {lines}"));
    const CHANCE: &str = "warning `track-sc` of contents without `tcp-request inspect-delay`";
    const SESSION: &str =
        "warning a `track-sc` that looks at no contents runs once for each request";
    let check_track = |lines: &str, expected: &[&str]| check(&tracks(lines), expected);
    check_track(
        "tcp-request content track-sc0 hdr_ip(x)\n mode http",
        &[&format!("9:22 {CHANCE}")],
    );
    check_track("tcp-request content track-sc0 src\n mode http", &[&format!("9:22 {SESSION}")]);
    check_track("tcp-request content track-sc0 src if { path /a }\n mode http", &[]);
    check_track("tcp-request content track-sc0 src", &[]);
    check_track("tcp-request inspect-delay 1s\n tcp-request content track-sc0 hdr_ip(x)", &[]);
    check_track("mode http\n tcp-request session track-sc0 src", &[]);
    check(
        &listen("default-server id 5\n server t 127.0.0.1:2\n server u 127.0.0.1:3"),
        &["8:20 warning `id` has no effect in `default-server`"],
    );
    let shares = |lines: &str| listen(&format!("mode http\n cookie c insert\n {lines}"));
    check(
        &shares("server t 127.0.0.1:2 cookie x\n server u 127.0.0.1:3 cookie x"),
        &["11:9 warning a second server with the cookie `x`"],
    );
    check(&shares("server t 127.0.0.1:2 cookie x\n server u 127.0.0.1:3 cookie x backup"), &[]);
    check(
        &listen("server t 127.0.0.1:2 tfo"),
        &["8:9 warning server t has `tfo` and cannot send its first packet again"],
    );
}

#[test]
fn rules_are_inherited_from_named_defaults_only() {
    let model = model(
        "defaults base\n mode http\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n\
         \x20acl local src 127.0.0.1\n http-request deny unless local\n\
         frontend a from base\n bind :1\n http-request set-header X Y\n\
         frontend b from base\n bind :2\n http-request deny if local\n",
    );
    let counts: Vec<_> = model.proxies.iter().map(|proxy| proxy.rules.http_request.len()).collect();
    assert_eq!(counts, [2, 2]);
    check(
        "defaults d\n tcp-request connection accept\n timeout connect 1s\n timeout server 1s\nbackend b from d\n",
        &[
            "5:1 alert a backend section cannot inherit from a defaults section with `tcp-request connection` or `session` rules",
        ],
    );
    check(
        "defaults\n mode http\n http-request deny\n",
        &["3:2 alert `http-request` in a `defaults` section without a name"],
    );
}

#[test]
fn what_follows_from_failures_is_read() {
    let loaded = model(
        "defaults\n mode http\n retry-on all-retryable-errors\n retry-budget 25\n\
         \x20default-server observe layer7 error-limit 3 on-error mark-down\n\
         backend a\n outlier-ejection\n max-pending 7\n server s 127.0.0.1:1 check on-marked-down shutdown-sessions max-requests 9\n server t 127.0.0.1:1 backup\n\
         backend b\n retry-on 503 408\n retry-budget none\n server s 127.0.0.1:1 observe none on-marked-up shutdown-backup-sessions\n\
         backend c\n retry-on none\n retry-budget 0% min 3/s\n server s 127.0.0.1:1 check observe layer4 error-limit 1 on-error fastinter\n\
         \x20outlier-ejection consecutive 0 interval 1s base-time 2s max-time 1m max-ejected 100% success-rate-stdev 0 latency-factor 2.25 min-requests 5\n",
    );
    let [a, b, c] = &loaded.proxies[..] else { panic!("{}", loaded.proxies.len()) };
    let back = |proxy: &crate::model::Proxy| {
        let back = proxy.backend.as_ref().expect("serves");
        (back.retry_on, back.retry_budget, back.outlier_ejection)
    };
    let budget = |percent, min_per_s| Some(telamon_balance::RetryBudget { percent, min_per_s });
    let all = [
        "conn-failure",
        "empty-response",
        "junk-response",
        "response-timeout",
        "0rtt-rejected",
        "500",
        "502",
        "503",
        "504",
    ];
    let flags = |words: &[&str]| {
        let of =
            |word: &&str| RetryOn::WORDS.iter().find(|(known, _)| known == word).expect("known").1;
        words.iter().map(of).fold(RetryOn::NONE, RetryOn::and)
    };
    assert_eq!(back(a), (flags(&all), budget(25, 10), Some(OutlierConfig::default())));
    assert_eq!(back(b), (flags(&["503", "408"]), None, None));
    let pending = a.backend.as_ref().expect("serves").pool.options().queue_max;
    assert_eq!(pending, 7);
    let limits = |proxy: &crate::model::Proxy| {
        proxy.backend.as_ref().expect("serves").servers[0].state.member.limits().max_requests
    };
    assert_eq!((limits(a), limits(b)), (9, 0));
    let outliers = OutlierConfig {
        consecutive: 0,
        interval_ms: 1_000,
        base_ms: 2_000,
        max_ms: 60_000,
        max_ejected_percent: 100,
        success_rate_stdev: 0,
        latency_factor: 2_250,
        min_requests: 5,
    };
    assert_eq!(back(c), (RetryOn::NONE, budget(0, 3), Some(outliers)));
    let server = |proxy: &crate::model::Proxy, index: usize| {
        let server = &proxy.backend.as_ref().expect("serves").servers[index];
        let learning = server.learning.map(|learning| {
            let observation = learning.observation.map(|o| (o.observe, o.limit, o.on_error));
            (observation, learning.outliers)
        });
        (learning, server.shuts_down, server.takes_back)
    };
    let observation = (Observe::Layer7, 3, OnError::MarkDown);
    assert_eq!(server(a, 0), (Some((Some(observation), Some(5))), true, false));
    assert_eq!(server(a, 1), (None, false, false)); // not checked, and a backup
    assert_eq!(server(b, 0), (None, false, true));
    let observation = (Observe::Layer4, 1, OnError::FastInter);
    assert_eq!(server(c, 0), (Some((Some(observation), Some(0))), false, false));
}

#[test]
fn mistakes_in_what_follows_from_failures() {
    #[track_caller]
    fn line(line: &str, expected: &str) {
        let text =
            format!("backend b\n timeout connect 1s\n timeout server 1s\n mode http\n {line}\n");
        check(&text, &[expected]);
    }
    line(
        "retry-on",
        "5:2 alert `retry-on` lacks a failure or a status (expected a failure or a status after this)",
    );
    line("retry-on 404 505", "5:15 alert unknown failure `505` (did you mean `500`?)");
    line(
        "retry-on empty-respose",
        "5:11 alert unknown failure `empty-respose` (did you mean `empty-response`?)",
    );
    line("retry-on none 503", "5:11 alert bad retry-on `none` (expected `none` alone)");
    line(
        "retry-budget",
        "5:2 alert `retry-budget` lacks a share such as `20%` (expected a share such as `20%` after this)",
    );
    line("retry-budget 101%", "5:15 alert bad retry-budget `101%` (expected 0% to 100%)");
    line("retry-budget a%", "5:15 alert bad retry-budget `a%` (expected a share such as `20%`)");
    line(
        "retry-budget 5% min 1/m",
        "5:22 alert bad min `1/m` (expected a number of retries per second, such as `10/s`)",
    );
    line(
        "retry-budget 5% max 1",
        "5:18 alert unexpected `max` after `retry-budget` (not expected here)",
    );
    line(
        "server s 127.0.0.1:1 max-requests many",
        "5:36 alert bad max-requests `many` (expected a number)",
    );
    line(
        "default-server max-requests",
        "5:17 alert `max-requests` lacks a number (expected a number after this)",
    );
    line("max-pending -1", "5:14 alert number -1 is out of range (expected 0 to 2147483647)");
    line(
        "outlier-ejection consective 3",
        "5:19 alert unknown setting `consective` (did you mean `consecutive`?)",
    );
    line("outlier-ejection interval 10ms", "5:28 alert bad time `10ms` (expected at least 100ms)");
    line(
        "outlier-ejection latency-factor 1.2345",
        "5:34 alert bad latency-factor `1.2345` (expected a factor such as `1.9`, or 0 for no limit, from 1 to 1000)",
    );
    line(
        "outlier-ejection success-rate-stdev 0.5",
        "5:38 alert bad success-rate-stdev `0.5` (expected a factor such as `1.9`, or 0 for no limit, from 1 to 1000)",
    );
    line(
        "outlier-ejection interval 1s consecutive 3 interval 2s",
        "5:45 alert bad outlier-ejection `interval` (expected each setting once)",
    );
    line("outlier-ejection base-time 10m", "5:2 alert `max-time` is shorter than `base-time`");
    line(
        "outlier-ejection max-ejected 200%",
        "5:31 alert bad max-ejected `200%` (expected 0% to 100%)",
    );
    line(
        "server s 127.0.0.1:1 observe layer8",
        "5:31 alert unknown layer `layer8` (did you mean `layer4`?)",
    );
    line(
        "server s 127.0.0.1:1 observe layer4",
        "5:31 warning server s has `observe` and is not checked",
    );
    line(
        "server s 127.0.0.1:1 error-limit 0",
        "5:35 alert count 0 is out of range (expected 1 to 2147483647)",
    );
    line(
        "server s 127.0.0.1:1 on-error mark-up",
        "5:32 alert bad action `mark-up` (expected `fastinter`, `fail-check`, `sudden-death` or `mark-down`)",
    );
    line(
        "server s 127.0.0.1:1 on-marked-up shutdown-sessions",
        "5:36 alert bad action `shutdown-sessions` (expected `shutdown-backup-sessions`)",
    );
    line(
        "server s 127.0.0.1:1 on-marked-down",
        "5:23 alert `on-marked-down` lacks `shutdown-sessions` (expected `shutdown-sessions` after this)",
    );
    check(
        "backend b\n timeout connect 1s\n timeout server 1s\n server s 127.0.0.1:1 check observe layer7\n",
        &["4:37 warning `observe layer7` needs `mode http` and has no effect"],
    );
    check(
        "frontend f\n bind :1\n timeout client 1s\n retry-budget 5%\n",
        &[
            "4:2 alert `retry-budget` does not belong in `frontend` (belongs in `defaults`, `listen` or `backend`)",
        ],
    );
}
