use telamon_balance::stick::{DataType, KeyType, Stored};

use crate::load::tests::{check, model};
use crate::model::ServerKey;

/// What is said of a `stick-table` line.
#[track_caller]
fn check_table(words: &str, expected: &[&str]) {
    let text = format!("backend b\n timeout server 1s\n stick-table {words}\n");
    check(&text, expected);
}

/// What is said of a line in a backend that has a table of type `ip`, beside one of type `string`.
#[track_caller]
fn check_rule(line: &str, expected: &[&str]) {
    let text = format!(
        "backend b\n mode http\n {line}\n stick-table type ip size 10 store gpc0\n\
         backend text\n mode http\n stick-table type string size 10\n"
    );
    check(&text, expected);
}

#[test]
fn a_table_has_what_its_line_says() {
    let text = "backend b\n stick-table type string len 5 size 2k expire 1m nopurge srvkey addr \
                store gpc(2),http_req_rate(10s) store conn_cur\n\
                backend c\n stick on src\n stick-table type ip size 1m\n\
                backend d\n stick match req.len table e if TRUE\n\
                backend e\n stick-table type integer size 1\n";
    let model = model(text);
    let [b, c, e] = &model.tables[..] else { panic!("{:?}", model.tables) };
    assert_eq!((&*b.name, b.config.key), ("b", KeyType::String { len: 5 }));
    assert_eq!((b.config.size, b.config.expire_ms, b.config.no_purge), (2048, 60_000, true));
    assert_eq!(b.server_key, ServerKey::Address);
    let stored: Vec<_> = b.entries.stored().collect();
    let gpc = Stored { data: DataType::Gpc, count: 2, period_ms: 0 };
    let rate = Stored::rate(DataType::HttpReqRate, 10_000);
    assert_eq!(stored, [Stored::count(DataType::ConnCur), rate, gpc]);
    // Rules that stick have their tables remember servers.
    for (table, name) in [(c, "c"), (e, "e")] {
        assert_eq!(&*table.name, name);
        let servers = [DataType::ServerId, DataType::ServerKey].map(Stored::count);
        assert_eq!(table.entries.stored().collect::<Vec<_>>(), servers);
    }
}

#[test]
fn mistakes_in_tables_are_marked() {
    check_table("type ip size 1m expire 30s store http_req_rate(10s),gpc0 nopurge", &[]);
    check_table("size 1k", &["3:19 alert `stick-table` lacks `type` (expected `type` after this)"]);
    check_table("type ip", &["3:19 alert `stick-table` lacks `size` (expected `size` after this)"]);
    check_table("type ipv size 1", &["3:19 alert unknown key type `ipv` (did you mean `ip`?)"]);
    check_table("type ip size 0", &["3:27 alert bad size `0` (expected at least 1 entry)"]);
    check_table(
        "type ip size 1x",
        &["3:28 alert bad size `1x` (expected a size such as `16k`, without `x`)"],
    );
    check_table(
        "type ip size 1 expire 5y",
        &["3:37 alert bad time `5y` (expected a time such as `10s`, without `y`)"],
    );
    check_table(
        "type ip size 1 srvkey nam",
        &["3:36 alert unknown server key `nam` (did you mean `name`?)"],
    );
    check_table("type ip sise 1", &["3:22 alert unknown argument `sise` (did you mean `size`?)"]);
    check_table("type ip size 1 len 4", &["3:29 alert unknown argument `len`"]);
    check_table(
        "type string len 0 size 1",
        &["3:30 alert length 0 is out of range (expected 1 to 65535)"],
    );
    check_table(
        "type ip size 1 peers p",
        &["3:29 alert `peers` is known to HAProxy, not yet to Telamon"],
    );
}

#[test]
fn mistakes_in_what_is_stored_are_marked() {
    #[track_caller]
    fn check_store(word: &str, expected: &[&str]) {
        check_table(&format!("type ip size 1 store {word}"), expected);
    }
    check_store("gpc0,conn_cnt,server_name", &[]);
    check_store("gpc(4),gpc_rate(4,1m),gpt(100)", &[]);
    check_store(
        "gpc0,http_req_rat(5s)",
        &["3:40 alert unknown data type `http_req_rat` (did you mean `http_req_rate`?)"],
    );
    check_store(
        "http_req_rate",
        &[
            "3:35 alert bad data type `http_req_rate` (expected `http_req_rate(<period>)`, as in `http_req_rate(10s)`)",
        ],
    );
    check_store(
        "gpc0(5)",
        &["3:35 alert bad data type `gpc0(5)` (expected `gpc0` without parentheses)"],
    );
    check_store(
        "gpc_rate(5)",
        &["3:35 alert bad data type `gpc_rate(5)` (expected `gpc_rate(<elements>,<period>)`)"],
    );
    check_store(
        "gpt(101)",
        &["3:35 alert bad data type `gpt(101)` (expected from 1 to 100 elements)"],
    );
    check_store(
        "conn_rate(0)",
        &[
            "3:35 alert bad data type `conn_rate(0)` (expected a period from 1ms to 24d: `conn_rate(<period>)`, as in `conn_rate(10s)`)",
        ],
    );
    check_store(
        "conn_rate(1s",
        &[
            "3:35 alert bad data type `conn_rate(1s` (expected a closing parenthesis: `conn_rate(1s)`)",
        ],
    );
    check_store("gpc(2),gpc1", &["3:35 alert gpc cannot be combined with gpc1"]);
    check_store("gpt0,gpt0", &["3:40 warning data type `gpt0` is there already"]);
}

#[test]
fn mistakes_in_rules_are_marked() {
    check_rule("stick on src", &[]);
    check_rule("stick on req.cook(a) table text if { path /a }", &[]);
    check_rule("stick store-response res.cook(a) table text", &[]);
    check_rule("tcp-request content track-sc0 src", &[]);
    check_rule("http-response track-sc2 src table b if { sc2_tracked }", &[]);
    check_rule("http-request sc-set-gpt0(1) path,length", &[]);
    check_rule("http-request sc-inc-gpc1", &[]);
    check_rule("http-request deny if { src_http_req_rate(b) gt 5 } { src,in_table(text) }", &[]);
    check_rule(
        "stick on src table txt",
        &["3:21 alert there is no stick table `txt` (did you mean `text`?)"],
    );
    check_rule(
        "stick on always_true",
        &[
            "3:11 alert bad key `always_true` (expected a sample that gives addr: stick table b is of type ip; this one gives bool)",
        ],
    );
    check_rule(
        "stick on src table",
        &[
            "3:15 alert `stick on` lacks the name of a stick table (expected the name of a stick table after this)",
        ],
    );
    check_rule(
        "stick of src",
        &["3:2 alert unknown keyword `stick of` (did you mean `stick on`?)"],
    );
    check_rule(
        "ignore-persist if { status 200 }",
        &[
            "3:22 warning anonymous acl never matches here (expected one that can be used in force-persist and ignore-persist rules of a backend; this one reads the HTTP response, which is not there)",
        ],
    );
    check_rule(
        "stick on res.hdr(a) table text",
        &[
            "3:11 alert bad fetch `res.hdr` (expected one that can be used in stick rules of requests; this one reads the HTTP response headers, which is not there)",
        ],
    );
    check_rule(
        "http-request track-sc0 always_true",
        &[
            "3:25 alert bad key `always_true` (expected a sample that gives addr: stick table b is of type ip; this one gives bool)",
        ],
    );
    check_rule(
        "http-request track-sc3 src",
        &["3:23 alert bad counter `3` (expected from 0 to 2 (`tune.stick-counters`))"],
    );
    check_rule(
        "http-request deny if { src,table_gpc(0) gt 5 }",
        &["3:38 alert bad arguments `1` (expected at least 2 for table_gpc)"],
    );
    check_rule(
        "http-request deny if { src_get_gpc(0) gt 5 }",
        &["3:36 alert bad arguments `1` (expected at least 2 for src_get_gpc)"],
    );
    check_rule(
        "http-request deny if { src,table_gpc0(txt) gt 5 }",
        &["3:40 alert there is no stick table `txt` (did you mean `text`?)"],
    );
    check(
        "frontend f\n mode http\n bind :1\n timeout client 1s\n http-request deny if { src_conn_cur gt 5 }\n",
        &[
            "5:25 alert `src_conn_cur` lacks a `stick-table` in its own section, or the name of one (expected a `stick-table` in its own section, or the name of one after this)",
        ],
    );
    check(
        "frontend f\n bind :1\n timeout client 1s\n stick on src\n",
        &[
            "4:2 warning `stick on` does not belong in `frontend` (belongs in `listen` or `backend`)",
        ],
    );
    // The table of whoever inherits is not meant: HAProxy wants it named.
    check(
        "defaults d\n mode http\n http-request track-sc0 src\nbackend b from d\n stick-table type ip size 1\n",
        &[
            "3:15 alert `track-sc0` lacks a `stick-table` in its own section, or the name of one (expected a `stick-table` in its own section, or the name of one after this)",
        ],
    );
    check(
        "defaults d\n mode http\n http-request track-sc0 src table b\nbackend b from d\n stick-table type ip size 1\n",
        &[],
    );
    check(
        "global\n tune.stick-counters 5\nbackend b\n mode http\n http-request track-sc4 src\n stick-table type ip size 1\n",
        &[],
    );
    check(
        "frontend a\n bind :1\n timeout client 1s\n stick-table type ip size 1\nbackend a\n stick-table type ip size 1\n",
        &["6:2 alert second stick table `a` (the name is taken)"],
    );
}
