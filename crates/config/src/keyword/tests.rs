//! Lines that find their keyword, and the messages of those that do not.

use std::time::Duration;

use super::*;
use crate::{
    AddressRules, ConfigErrorKind, Section, SectionSpec, Source, Style, environment_keywords,
    markdown, read,
};

type K = Keyword<Proxy>;

/// A small proxy: what a plane would build.
#[derive(Debug, Default)]
struct Proxy {
    told: Vec<String>,
}

impl Proxy {
    fn tell(&mut self, text: impl std::fmt::Debug) {
        self.told.push(format!("{text:?}"));
    }
}

static ENVIRONMENT: [Keyword<Proxy>; 4] = environment_keywords();

const KEYWORDS: &[Keyword<Proxy>] = &[
    K::works("bind", Sections::FRONTS, "bind <address>", "where to listen", |proxy, args| {
        if let Some(addresses) = args.addresses(&AddressRules::BIND) {
            proxy.tell(addresses.len());
        }
    }),
    K::works("maxconn", Sections::FRONTS, "maxconn <n>", "limit", |proxy, args| {
        if let Some(n) = args.integer("maxconn", 0..=1_000_000u32) {
            proxy.tell(n);
        }
    }),
    K::works(
        "timeout client",
        Sections::FRONTS.and(Sections::DEFAULTS),
        "timeout client <time>",
        "how long a client may be silent",
        |proxy, args| {
            if let Some(time) = args.duration() {
                proxy.tell(time);
            }
        },
    ),
    K::works(
        "timeout connect",
        Sections::BACKS.and(Sections::DEFAULTS),
        "timeout connect <time>",
        "how long to wait for a server",
        |proxy, args| {
            if let Some(time) = args.duration() {
                proxy.tell(time);
            }
        },
    ),
    K::works(
        "balance",
        Sections::BACKS,
        "balance <algorithm>",
        "how a server is chosen",
        |proxy, args| {
            let known = [("roundrobin", 1), ("leastconn", 2)];
            if let Some(strategy) = args.one_of("algorithm", &known) {
                proxy.tell(strategy);
            }
        },
    ),
    K::works("option httplog", Sections::FRONTS, "option httplog", "", |proxy, args| {
        proxy.tell(args.modifier());
    })
    .negatable(),
    K::works("option httpchk", Sections::BACKS, "option httpchk", "", |proxy, args| {
        proxy.tell(args.rest().len());
    }),
    K::works(
        "server",
        Sections::BACKS,
        "server <name> <address> [option]*",
        "a server",
        |proxy, args| {
            let (name, address) = (args.name("server"), args.address(&AddressRules::SERVER));
            args.each(&Table::new("server option", &[OPTIONS]), proxy);
            if let (Some(name), Some(_)) = (name, address) {
                proxy.tell(name.text);
            }
        },
    ),
    K::works(
        "http-request",
        Sections::PROXIES,
        "http-request <action>",
        "a rule",
        |proxy, args| {
            if args.one(&Table::new("action", &[ACTIONS]), proxy) {
                args.accept("if");
                proxy.tell(args.rest().len());
            }
        },
    ),
    K::no_effect("tune.listener.multi-queue", Sections::GLOBAL, "workers have own sockets"),
    K::not_yet("compression algo", Sections::PROXIES),
    K::not_yet_guard("tcp-request session", Sections::FRONTS),
    K::obsolete("clitimeout", Sections::PROXIES, "timeout client {1}"),
    K::obsolete_with("reqadd", Sections::PROXIES, |words| {
        let (name, value) = words.first().and_then(|w| w.split_once(": ")).unwrap_or(("", ""));
        format!("http-request add-header {name} \"{value}\"")
    }),
];

const OPTIONS: &[Keyword<Proxy>] = &[
    K::works("check", Sections::BACKS, "check", "", |proxy, _| proxy.tell("check")),
    K::works("inter", Sections::BACKS, "inter <time>", "", |_, args| {
        args.duration();
    }),
    K::works("weight", Sections::BACKS, "weight <n>", "", |_, args| {
        args.integer("weight", 0..=256u32);
    }),
    K::not_yet("crt", Sections::BACKS),
];

const ACTIONS: &[Keyword<Proxy>] = &[
    K::works("deny", Sections::PROXIES, "deny", "", |proxy, _| proxy.tell("deny")),
    K::works("set-var(", Sections::PROXIES, "set-var(<name>)", "", |proxy, args| {
        proxy.tell(args.keyword().text);
        args.next("an expression");
    }),
];

fn run(text: &str, lenient: bool) -> (Proxy, String) {
    let mut source = Source::new();
    source.add("web.cfg", text.as_bytes().to_vec());
    let mut diagnostics = Diagnostics::new().lenient(lenient);
    let mut environment = Environment::new().with_variables([("PORT", "8080")]);
    let sections = read(&source, SectionSpec::HAPROXY, &mut environment, &mut diagnostics);
    let table = Table::new("keyword", &[KEYWORDS, &ENVIRONMENT]);
    let mut proxy = Proxy::default();
    let mut checker = Checker::new(&environment, &mut diagnostics);
    for line in sections.iter().flat_map(Section::lines) {
        checker.dispatch(&table, line, &mut proxy);
    }
    (proxy, diagnostics.render(&source, Style::Plain))
}

/// A line of a `listen` section, and what its keyword told.
#[track_caller]
fn check(line: &str, expected: &str) {
    let (proxy, errors) = run(&format!("listen l\n {line}\n"), false);
    assert_eq!(errors, "", "{line}");
    assert_eq!(proxy.told.join(" "), expected, "{line}");
}

/// A line and the titles and labels of its mistakes.
#[track_caller]
fn check_error(line: &str, expected: &[&str]) {
    let mut source = Source::new();
    source.add("web.cfg", format!("listen l\n {line}\n").into_bytes());
    let mut diagnostics = Diagnostics::new();
    let mut environment = Environment::new();
    let sections = read(&source, SectionSpec::HAPROXY, &mut environment, &mut diagnostics);
    let table = Table::new("keyword", &[KEYWORDS]);
    let mut proxy = Proxy::default();
    for line in sections[0].lines() {
        Checker::new(&environment, &mut diagnostics).dispatch(&table, line, &mut proxy);
    }
    let told: Vec<_> = diagnostics
        .iter()
        .map(|error| {
            let told = error.kind.explain();
            let hint = told.label.or(told.help).unwrap_or_default();
            format!("{}+{} {}: {hint}", error.at.column, error.at.len, told.title)
        })
        .collect();
    assert_eq!(told, expected, "{line}");
}

#[test]
fn lines_find_their_keyword() {
    check("bind :80,:81", "2");
    check("bind :${PORT}", "1");
    check("timeout client 10s", "10s");
    check("timeout client 5", "5ms");
    check("no option httplog", "No");
    check("option httpchk GET /", "2");
    check("server a 10.0.0.1:80 check weight 5 inter 2s", "\"check\" \"a\"");
    check("http-request set-var(txn.x) str(a) if x", "\"set-var(txn.x)\" 1");
    check("http-request deny", "\"deny\" 0");
}

#[test]
fn slips_are_told_with_the_word_that_was_meant() {
    check_error(
        "option httpchek",
        &["2+15 unknown keyword `option httpchek`: did you mean `option httpchk`?"],
    );
    check_error(
        "optoin httplog",
        &["2+14 unknown keyword `optoin httplog`: did you mean `option httplog`?"],
    );
    check_error("bnid :80", &["2+4 unknown keyword `bnid`: did you mean `bind`?"]);
    check_error("frobnicate", &["2+10 unknown keyword `frobnicate`: "]);
    check_error("timeout frob 1s", &["2+12 unknown keyword `timeout frob`: "]);
    check_error(
        "timeout",
        &["2+7 `timeout` lacks `client` or `connect`: expected `client` or `connect` after this"],
    );
    check_error(
        "balance roundrobbin",
        &["10+11 unknown algorithm `roundrobbin`: did you mean `roundrobin`?"],
    );
    check_error("balance x", &["10+1 bad algorithm `x`: expected `roundrobin` or `leastconn`"]);
    check_error("http-request dney", &["15+4 unknown action `dney`: did you mean `deny`?"]);
}

#[test]
fn values_are_whole_words_in_range() {
    check_error("maxconn 508x", &["13+1 bad maxconn `508x`: expected a number, without `x`"]);
    check_error("maxconn many", &["10+4 bad maxconn `many`: expected a number"]);
    check_error("maxconn -1", &["10+2 maxconn -1 is out of range: expected 0 to 1000000"]);
    check_error("maxconn", &["2+7 `maxconn` lacks a number: expected a number after this"]);
    check_error("maxconn 1 2", &["12+1 unexpected `2` after `maxconn`: not expected here"]);
    check_error(
        "timeout client 10q",
        &["19+1 bad time `10q`: expected a time such as `10s`, without `q`"],
    );
    check_error("bind *83", &["7+3 bad address `*83`: expected a port: `*:83`?"]);
    check_error("bind *: 80", &["7+5 bad address `*:`: expected no space: `*:80`"]);
    check_error(
        "bind :80,:x",
        &["11+2 bad address `:x`: expected a port from 1 to 65535, not `x`"],
    );
}

#[test]
fn one_mistake_in_a_list_does_not_hide_or_cause_others() {
    check_error(
        "server a 10.0.0.1 chekc foo inter 5x weight 300 check",
        &[
            "20+5 unknown server option `chekc`: did you mean `check`?",
            "37+1 bad time `5x`: expected a time such as `10s`, without `x`",
            "46+3 weight 300 is out of range: expected 0 to 256",
        ],
    );
    check_error(
        "server a 10.0.0.1 crt foo check",
        &[
            "20+3 `crt` is known to HAProxy, not yet to Telamon: `--lenient` skips such lines with a warning",
        ],
    );
}

#[test]
fn an_empty_word_does_not_hide_the_rest() {
    let empty = "empty word: is a variable empty?";
    check_error("server a :1 \"$NO\" check", &[&format!("14+5 {empty}")]);
    check_error("maxconn 1 \"$NO\" x", &[&format!("12+5 {empty}")]);
    check("maxconn 1 \"$NO\"", "1");
}

#[test]
fn each_class_of_keyword_has_its_answer() {
    check_error("clitimeout 50s", &["2+10 `clitimeout` is obsolete: write `timeout client 50s`"]);
    check_error(
        r"reqadd X-A:\ 1",
        &["2+6 `reqadd` is obsolete: write `http-request add-header X-A \"1\"`"],
    );
    check_error(
        "no maxconn 1",
        &[
            "2+2 `no` cannot stand before `maxconn`: only options, `log` and a few switches of `global` take it",
        ],
    );
    let (_, told) = run("global\n tune.listener.multi-queue on\n setenv A b\n", false);
    assert!(told.starts_with("note: `tune.listener.multi-queue` has no effect here"), "{told}");
    assert!(told.ends_with("1 notice in web.cfg\n"), "{told}");
    let text = "listen l\n compression algo gzip\n tcp-request session reject\n";
    assert!(run(text, false).1.ends_with("\n2 errors in web.cfg\n"));
    assert!(run(text, true).1.ends_with("\n1 error, 1 warning in web.cfg\n"));
}

#[test]
fn a_keyword_in_the_wrong_section_is_told_where_it_belongs() {
    let (_, told) = run("backend b\n bind :80\n", false);
    let expected = "\
error: `bind` does not belong in `backend`
 --> web.cfg:2:2
  |
2 |  bind :80
  |  ^^^^ belongs in `frontend` or `listen`

1 error in web.cfg
";
    assert_eq!(told, expected);
}

#[test]
fn messages_show_the_line_with_the_token_marked() {
    let (_, told) = run("listen l\n\ttimeout client\n\tserver a 1.2.3.4 \x1b[31m\n", false);
    let expected = "\
error: `timeout client` lacks a time such as `10s`
 --> web.cfg:2:10
  |
2 |     timeout client
  |             ^^^^^^ expected a time such as `10s` after this
  |
  = note: usage: timeout client <time>

error: unknown server option `\u{241b}[31m`
 --> web.cfg:3:19
  |
3 |     server a 1.2.3.4 \u{241b}[31m
  |                      ^^^^^

2 errors in web.cfg
";
    assert_eq!(told, expected);
}

#[test]
fn a_duplicate_shows_where_the_first_stands() {
    let mut source = Source::new();
    source.add("web.cfg", b"backend b\n server a :1\n server a :2\n".to_vec());
    let mut diagnostics = Diagnostics::new();
    let mut environment = Environment::new();
    let sections = read(&source, SectionSpec::HAPROXY, &mut environment, &mut diagnostics);
    let at = |line: usize| {
        let line = sections[0].lines().nth(line).expect("a line");
        line.token(1).expect("a name").at
    };
    let kind = ConfigErrorKind::Duplicate { what: "server", name: "a".to_owned(), first: at(0) };
    diagnostics.error(at(1), kind);
    let expected = "\
error: second server `a`
 --> web.cfg:3:9
  |
3 |  server a :2
  |         ^ the name is taken
  |
 ::: web.cfg:2:9
  |
2 |  server a :1
  |         - the first stands here

1 error in web.cfg
";
    assert_eq!(diagnostics.render(&source, Style::Plain), expected);
}

#[test]
fn the_manual_is_made_from_the_tables() {
    let table = Table::new("keyword", &[&KEYWORDS[2..3], &KEYWORDS[9..10]]);
    let expected = "\
| keyword | in | status | |
| --- | --- | --- | --- |
| `timeout client <time>` | defaults, frontend, listen | works | how long a client may be silent |
| `tune.listener.multi-queue` | global | no effect | workers have own sockets |
";
    assert_eq!(markdown(&table, SectionSpec::HAPROXY), expected);
}

#[test]
fn timers_have_a_limit() {
    let limit = "expected at most 2147483647ms (24.8 days)";
    check_error("timeout client 25d", &[&format!("17+3 bad time `25d`: {limit}")]);
    assert!(Duration::from_millis(2_147_483_647) > Duration::from_secs(24 * 86400));
}

proptest::proptest! {
    /// Whatever the words are, each line ends, and one that is not in order says why.
    #[test]
    fn any_words_end(
        words in proptest::collection::vec(
            proptest::sample::select(&[
                "no", "default", "bind", "server", "a", "1.2.3.4:80", "*:", "80", "check", "inter",
                "weight", "crt", "5x", "99999999999999999999", "\"\"", "timeout", "client", "\\xff",
                "http-request", "set-var(", "set-var(x)", "deny", "if", "maxconn", "é", "reqadd",
                "clitimeout", "${A}", ",", "50%", "bind ,", "option", "httplog", "[::]:-1",
            ][..]),
            1..8,
        )
    ) {
        let mut source = Source::new();
        source.add("web.cfg", format!("listen l\n {}\n", words.join(" ")).into_bytes());
        let mut diagnostics = Diagnostics::new();
        let mut environment = Environment::new();
        let sections = read(&source, SectionSpec::HAPROXY, &mut environment, &mut diagnostics);
        let table = Table::new("keyword", &[KEYWORDS]);
        let mut proxy = Proxy::default();
        for line in sections[0].lines() {
            let mut checker = Checker::new(&environment, &mut diagnostics);
            let in_order = checker.dispatch(&table, line, &mut proxy);
            assert_eq!(in_order, !diagnostics.has_errors());
        }
        diagnostics.render(&source, Style::Plain);
    }
}
