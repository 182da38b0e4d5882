use std::cell::Cell;
use std::collections::HashMap;

use proptest::prelude::*;
use telamon_config::Environment;

use super::*;
use crate::fixture::Memory;
use crate::model::{Mode, Model};

mod traffic;

/// Reads an expression and hands it over, or what is wrong with it and where.
fn with_expr<R>(text: &[u8], then: impl FnOnce(Result<Expr, ExprError>, &Context<'_>) -> R) -> R {
    let files = Memory(HashMap::from([
        ("hosts.map", "a.test one\nb.test two\n# c.test three\n"),
        ("ports.map", "a 80\nb 443\n"),
        ("nets.map", "10.0.0.0/8 wide\n10.1.0.0/16 narrow\n"),
        ("groups.map", "^(a)(b) \\2-\\1\n"),
    ]));
    let directory = Directory::default();
    let lists = Lists::default();
    let environment = Environment::new().with_variables([("HOME", "/root")]);
    let mut scope = ParseScope {
        directory: &directory,
        lists: &lists,
        files: &files,
        environment: &environment,
        errors: &HashMap::new(),
        acls: Acls::default(),
        place: Place::Configuration,
        proxy: None,
        mode: Mode::Http,
        frontend: false,
        backend: false,
        request_captures: 0,
        response_captures: 0,
        offline: false,
        stick_counters: 3,
        experimental: true,
        line: "file 'test' line 1".to_owned(),
    };
    let model = Model::default();
    model.variables.set(b"five", Value::Int(5));
    model.variables.set(b"text", Value::Str(b"some text".to_vec().into()));
    let waits = Cell::new(false);
    let cx = Context::for_process(&model, &waits);
    then(Expr::parse_text(text, &mut scope), &cx)
}

/// Evaluates an expression of constants; `None` is an absent sample.
#[track_caller]
fn check<'e>(text: &str, expected: impl Into<Option<&'e str>>) {
    let got = with_expr(text.as_bytes(), |expr, cx| {
        let expr = expr.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        expr.eval(cx).map(|value| {
            let mut out = Vec::new();
            value.write_text(&mut out);
            String::from_utf8_lossy(&out).into_owned()
        })
    });
    assert_eq!(got.as_deref(), expected.into(), "{text}");
}

/// Expects a mistake at the marked bytes: `str(a),[lowr]`.
#[track_caller]
fn check_error(marked: &str) {
    let start = marked.find('[').expect("a mark");
    let end = marked.find(']').expect("the end of the mark") - 1;
    let text = marked.replace(['[', ']'], "");
    with_expr(text.as_bytes(), |expr, _| {
        let error = expr.expect_err(&text);
        assert_eq!(error.at, start..end, "{text}: {:?}", error.kind);
    });
}

#[test]
fn constants_and_variables() {
    check("str(a b)", "a b");
    check("str('a,b)')", "a,b)");
    check(r#"str("a \"b\"")"#, "a \"b\"");
    check(r"str(a\ b\d)", r"a b\d");
    check("int(-5)", "-5");
    check("bool(true)", "1");
    check("ipv4(127.0.0.1)", "127.0.0.1");
    check("ipv6(::1)", "::1");
    check("bin(6869)", "hi");
    check("env(HOME)", "/root");
    check("env(NOTHING)", None);
    check("var(proc.five)", "5");
    check("var(proc.none)", None);
    check("var(proc.none,60),div(proc.five)", "12");
    check("always_true,iif(yes,no)", "yes");
    check("var(proc.five),set-var(proc.six),add(1)", "6");
}

#[test]
fn arithmetic() {
    check("int(7),add(5)", "12");
    check("int(7),sub(proc.five)", "2");
    check("int(9223372036854775807),add(1)", "9223372036854775807");
    check("int(7),mul(-3)", "-21");
    check("int(7),div(2)", "3");
    check("int(7),div(0)", "9223372036854775807");
    check("int(7),mod(0)", "0");
    check("int(-7),mod(4)", "-3");
    check("int(7),neg", "-7");
    check("int(5),and(3)", "1");
    check("int(5),or(3)", "7");
    check("int(5),xor(3)", "6");
    check("int(5),cpl", "-6");
    check("int(5),odd", "1");
    check("int(5),even", "0");
    check("int(5),not", "0");
    check("str(12abc),add(1)", "13");
    check("str(),add(1)", None);
}

#[test]
fn parts_of_texts() {
    check("str(f1_f2_f3__f5),field(5,_)", "f5");
    check("str(f1_f2_f3__f5),field(2,_,0)", "f2_f3__f5");
    check("str(f1_f2_f3__f5),field(2,_,2)", "f2_f3");
    check("str(f1_f2_f3__f5),field(-2,_,3)", "f2_f3_");
    check("str(f1_f2_f3__f5),field(-3,_,0)", "f1_f2_f3");
    check("str(f1_f2_f3__f5),field(4,_)", "");
    check("str(/foo),field(3,/)", None);
    check("str(w1_w2_w3___w4),word(4,_)", "w4");
    check("str(w1_w2_w3___w4),word(2,_,0)", "w2_w3___w4");
    check("str(w1_w2_w3___w4),word(3,_,2)", "w3___w4");
    check("str(w1_w2_w3___w4),word(-2,_,3)", "w1_w2_w3");
    check("str(w1_w2_w3___w4),word(-3,_,0)", "w1_w2");
    check("str(/a/b),word(9,/)", "");
    check("str(Hello),lower", "hello");
    check("str(Hello),upper", "HELLO");
    check("str(hello),bytes(1,3)", "ell");
    check("str(hello),bytes(9)", "");
    check("str(hello),length", "5");
    check("str(xxhixx),ltrim(x),rtrim(x)", "hi");
    check("str(a.Test:80),host_only", "a.test");
    check("str([::1]:80),host_only", "[::1]");
    check("str([::1]:80),port_only", "80");
    check("str(a.test),port_only", "0");
    check("str(a),concat(-,proc.text,-)", "a-some text-");
    check("str(a),concat(-)", "a-");
    check("str(),add_item(',',proc.text,_s)", "some text_s");
    check("str(i),add_item(',',proc.text,_s)", "i,some text_s");
    check("str(i),add_item(',',,_s)", "i,_s");
    check("str(a=1&b=2),param(b)", "2");
    check("str(a=1&b=2),param(c)", None);
    check("str('a\nb'),cut_crlf", "a");
    check("str(some text),strcmp(proc.text)", "0");
    check("str(some),strcmp(proc.text)", "-1");
    check("str('de;q=0.5, en-us'),language(de;en)", "en");
    check("str('de;q=0.5, en'),language(de;en)", "en");
    check("str(fr),language(de;en,de)", "de");
}

#[test]
fn expressions_in_expressions() {
    check("str(aXbXc),regsub(X,-)", "a-bXc");
    check("str(aXbXc),regsub(x,-,gi)", "a-b-c");
    check(r"str(/a/b),regsub('^/(a)/(.*)','\2/\1')", "b/a");
    check("str(xabc),regsub(x*,-,g)", "--a-b-c-");
}

#[test]
fn encodings() {
    check("str(foo=bar+42 42 ),url_enc", "foo%3Dbar%2B42%2042%20");
    check("str(/bla+%20?foo%3Dbar%2B42+42%20),url_dec", "/bla+ ?foo=bar+42 42 ");
    check("str(/bla+%20?foo%3Dbar%2B42+42%20),url_dec(1)", "/bla  ?foo=bar+42 42 ");
    check("str(%zz),url_dec", None);
    check("str(hi),hex", "6869");
    check("str(ff),hex2i", "255");
    check("str(fx),hex2i", None);
    check("str(fooba),base64", "Zm9vYmE=");
    check("str(Zm9vYmE=),b64dec", "fooba");
    check("str(Zm9vYm),b64dec", None);
    check("bin(14fb9c03d97f12d97e),ub64enc", "FPucA9l_Etl-");
    check("str(FPucA9l_Etl-),ub64dec,hex,lower", "14fb9c03d97f12d97e");
    check("str(0123456789),be2dec(-,3)", "3158322-3355701-3553080-57");
    check("str(0123456789),be2dec(::,3,1)", "3158322::3355701::3553080");
    check("str(0123456789),be2hex(--,3)", "303132--333435--363738--39");
    check("int(1),htonl,hex", "00000001");
    check("str(foo 1/2),json", r"foo 1\/2");
    check("bin(e0),json(utf8)", None);
    check("bin(2de02d),json(utf8s)", "--");
    check(r#"str('{"a":{"b":[1,"x",true]},"c.d":4.5,"e":-4}'),json_query('$.a.b[1]')"#, "x");
    check(r#"str('{"a":{"b":[1,"x",true]}}'),json_query('$.a.b[2]')"#, "1");
    check(r#"str('{"c.d":4.5}'),json_query($.c\\.d)"#, "4.5");
    check(r#"str('{"x":[{},"]"],"e":-4}'),json_query('$.e',"int"),add(1)"#, "-3");
    check(r#"str('{"e":1e10}'),json_query('$.e')"#, "1e+10");
    check(r#"str('{"e":"\u00e9\ud83d\ude00"}'),json_query('$.e')"#, "é😀");
    check(r#"str('{"e":null}'),json_query('$.e')"#, None);
}

#[test]
fn hashes_are_those_of_haproxy() {
    check("str(1),sha1,hex,lower", "356a192b7913b04c54574d18c28d46e6395428ab");
    check(
        "str(1),digest(sha224),hex,lower",
        "e25388fde8290dc286a6164fa2d97e551b53498dcbf7bc378eb1f178",
    );
    check(
        "str(1),sha2,hex,lower",
        "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
    );
    check("str(1),hmac(sha1,a2V5),hex,lower", "e23feb105f9622241bf23db1638cd2b4208b1f53");
    let all: String = (0..=255u8).map(|byte| format!("{byte:02x}")).collect();
    for (converter, expected) in [
        ("crc32", "688229491"),
        ("crc32(1)", "4230317029"),
        ("crc32c", "2621708363"),
        ("crc32c(1)", "2242979626"),
        ("djb2", "2589693061"),
        ("djb2(1)", "600622701"),
        ("sdbm", "905707648"),
        ("sdbm(1)", "3103804144"),
        ("wt6", "4090277559"),
        ("wt6(1)", "1192658767"),
        ("xxh3", "-7779787747613135503"),
        ("xxh3(1)", "5930632130106562027"),
        ("xxh32", "1497633363"),
        ("xxh32(1)", "1070421674"),
        ("xxh64", "2282408585429094475"),
        ("xxh64(1)", "-4689339368900765961"),
    ] {
        check(&format!("bin({all}),{converter}"), expected);
    }
}

#[test]
fn addresses_and_times() {
    check("ipv4(10.1.2.3),ipmask(24)", "10.1.2.0");
    check("ipv4(10.1.2.3),ipmask(255.255.0.0)", "10.1.0.0");
    check("ipv6(2001:db8::1),ipmask(24)", None);
    check("ipv6(2001:db8:1::1),ipmask(24,32)", "2001:db8::");
    check("ipv6(::ffff:10.1.2.3),ipmask(24)", "10.1.2.0");
    check("ipv6(2002:a00:9::1),ipmask(24,64)", "2002:a00:9::");
    check("ipv6(::a01:203),ipmask(24)", None);
    check("ipv4(10.1.2.3),add(0)", "167838211");
    check("int(0),http_date", "Thu, 01 Jan 1970 00:00:00 GMT");
    check("int(784111777),http_date", "Sun, 06 Nov 1994 08:49:37 GMT");
    check("int(784111777123),http_date(0,ms)", "Sun, 06 Nov 1994 08:49:37.123 GMT");
    check(
        "int(951782400),utime(%Y-%m-%d %j %a %H:%M:%S %p %y%%)",
        "2000-02-29 060 Tue 00:00:00 AM 00%",
    );
    check("int(1704067199),utime(%F %T)", "2023-12-31 23:59:59");
}

#[test]
fn maps() {
    check("str(b.test),map(hosts.map)", "two");
    check("str(c.test),map_str(hosts.map,none)", "none");
    check("str(c.test),map(hosts.map)", None);
    check("str(a.test/x),map_beg(hosts.map)", "one");
    check("str(www.a.test),map_end(hosts.map)", "one");
    check("str(b),map_str_int(ports.map),add(1)", "444");
    check("ipv4(10.1.0.1),map_ip(nets.map)", "narrow");
    check("str(10.2.0.1),map_ip(nets.map)", "wide");
    check("str(abc),map_regm(groups.map)", "b-a");
    check_error("str(a),map([none.map])");
    check_error("str(a),map_str_int([hosts.map])");
    check_error("str(a),map_str_int(ports.map,[x])");
}

/// Values that HAProxy 2.6.12 gave for the same expressions.
#[test]
fn values_are_those_of_haproxy() {
    check("str(a:b:c),field(-1,:)", "c");
    check("str(),field(1,:)", "");
    check("str(),length", "0");
    check("str(a),word(1,:)", "a");
    check("str(:a:),field(1,:)", "");
    check("str(:a:),word(-1,:)", "a");
    check("str(ab),bytes(0,1)", "a");
    check("int(5),length", "1");
    check("str(abc),regsub(b,)", "ac");
    check("str(abc),regsub(^,x,g)", "xabc");
    check("str(aaa),regsub(a,b)", "baa");
    check("str('de;q=0.5, fr;q=0.7'),language(de;fr)", "fr");
    check("str('fr-CH'),language(fr;de)", "fr");
    check("str('*'),language(fr;de)", None);
    check("str(12.5),add(1)", "13");
    check("str(-3),neg", "3");
    check("str(+3),add(1)", "4");
    check("str( 3),add(1)", "1");
    check("ipv6(::ffff:1.2.3.4)", "::ffff:1.2.3.4");
    check("ipv6(::1.2.3.4)", "::1.2.3.4");
    check("ipv6(2001:db8::)", "2001:db8::");
    check("int(1),ipmask(24)", "0.0.0.0");
    check("str(1.2.3.4),ipmask(16)", "1.2.0.0");
    check("bool(true),add(1)", "2");
    check("bin(610062),length", "1");
    check("bin(610062)", "a");
    check("bin(610062),hex", "610062");
    check("str(x),iif(a,b)", "b");
    check("int(2),iif(a,b)", "a");
    check("str(%41%4),url_dec", None);
    check("str(a/b?c=d&e),url_enc", "a%2Fb%3Fc%3Dd%26e");
    check("int(3),mod(-2)", "1");
    check("int(-3),div(2)", "-1");
    check("int(300),htonl,hex", "0000012C");
    check("str(a),strcmp(proc.text)", "-18");
    check("str(z),strcmp(proc.text)", "7");
    check("str(zz),concat(,proc.five)", "zz5");
    check(r#"str('{"a":1.50}'),json_query('$.a')"#, "1.5");
    check(r#"str('{"a":1234567}'),json_query('$.a')"#, "1.23457e+06");
    check(r#"str('{"a":0.00001}'),json_query('$.a')"#, "1e-05");
    check(r#"str('{"a":"x\\u0041"}'),json_query('$.a')"#, r#"x\u0041"#);
    check("str('[1,2,3]'),json_query('$[1]')", "2");
    check(r#"str('{"a":[{"b":2}]}'),json_query('$.a[0].b')"#, "2");
    check("str(é),json(utf8)", r#"\u00e9"#);
    check("str(é),json", r#"\u00c3\u00a9"#);
    check(r#"str('a"b'),json"#, r#"a\"b"#);
    check("str(Host:80),port_only", "80");
    check("str(1.2.3.4:),port_only", "0");
    check("str(::1),host_only", ":");
    check("int(1000),ltime(%Y)", "1970");
    check("int(1000),utime(%c)", "Thu Jan  1 00:16:40 1970");
    check(
        "int(1000),utime(%D-%e-%I-%k-%u-%w-%C-%R-%r-%x-%X)",
        "01/01/70- 1-12- 0-4-4-19-00:16-12:16:40 AM-01/01/70-00:16:40",
    );
    check("str(abc),map_beg(hosts.map,def)", "def");
    check("str(10.9.9.9),map_ip(nets.map)", "wide");
    check("str(A.TEST),map(hosts.map)", None);
    check("str(foo),crc32", "2356372769");
    check("str(foo),djb2", "193491849");
    check("str(foo),sdbm(1)", "2735148936");
    check("str(),sha1,hex", "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709");
    check("str(abc),ub64enc", "YWJj");
    check("str(YWJj),b64dec", "abc");
    check("str(YWI=),b64dec", "ab");
    check("str(YW==),b64dec", "a");
    check("str(a b),word(2,' ')", "b");
    check(r#"str(aXbXc),regsub([A-Z],<\0>,g)"#, "a<X>b<X>c");
    check("str(foo),bool", "0");
    check("str(abc),even", "1");
    check("int(5),lower", "5");
    check("ipv4(1.2.3.4),lower", "1.2.3.4");
    check("str(f),hex2i,add(1)", "16");
    check("int(-1),hex", "FFFFFFFFFFFFFFFF");
    check("bool(true),hex", "0000000000000001");
    check("meth(GET),lower", "get");
    check("str(GET),strcmp(proc.none)", None);
    check("int(9223372036854775807),mul(2)", "9223372036854775807");
    check("int(-9223372036854775808),neg", "9223372036854775807");
    check("int(-9223372036854775808),sub(1)", "-9223372036854775808");
    check("str(fr),language(fr-CH)", None);
    check("str(FR),language(fr)", None);
    check("str('fr-CH, en'),language(fr-BE;en)", "en");
    check("str('fr-CH'),language(fr-CH-x)", None);
    check("str('xx, de;q=0.2'),language(de,en)", "de");
    check("str(abc),regsub($,x,g)", "abcxx");
    check("str(abab),regsub(b,<>,g)", "a<>a<>");
    check("str(abc),regsub(x*,-)", "-abc");
    check(r#"str(a.b.c),regsub('\.','\\.',g)"#, r#"a\.b\.c"#);
    check(r#"str(abc),regsub('(b)','[\1]')"#, "a[b]c");
    check(r#"str(abc),regsub(b,\x41)"#, "aAc");
}

#[test]
fn mistakes_are_marked() {
    check_error("[strr](a)");
    check_error("str(a),[lowr]");
    check_error("str(a),field([x],_)");
    check_error("str(a),field(1,[])");
    check_error("str(a),lower([x])");
    check_error("str[(a]");
    check_error("bool([maybe])");
    check_error("var([host])");
    check_error("var([txn.a-b])");
    check_error("str(a),regsub(['a(?=b)'],x)");
    check_error("sc0_http_req_rate([none])");
    check_error("src_conn_cur([none])");
    check_error("[src_conn_cur]");
    check_error("sc_get_gpc[(1)]");
    check_error("src,in_table([none])");
    check_error("src,[in_table]");
    check_error("[ssl_fc_session_key]");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_it_panic(text in "[a-z_]{0,6}[(]?['\",()\\\\ a-z0-9.:/%$-]{0,20}(,[a-z0-9]{2,6}([(][a-z0-9,%]{0,6}[)])?){0,3}") {
        with_expr(text.as_bytes(), |expr, cx| {
            if let Ok(expr) = expr {
                expr.eval(cx);
            }
        });
    }

    #[test]
    fn no_value_makes_a_converter_panic(value in prop::collection::vec(any::<u8>(), 0..60), number: i64, which: prop::sample::Index) {
        let names: Vec<&str> = converters::names().collect();
        let name = names[which.index(names.len())];
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        for source in [format!("bin({hex})"), format!("int({number})"), "ipv6(2002:a00:1::)".to_owned()] {
            for args in ["", "(1)", "(-1,x)", "(1,.)", "(-2,.,0)", "(connect,flags)", "(8)", "(%c%Z)", "(x,y)", "(proc.text)", "(24,64)", "(sha256,proc.text)", "($.a)"] {
                with_expr(format!("{source},{name}{args}").as_bytes(), |expr, cx| {
                    if let Ok(expr) = expr {
                        expr.eval(cx);
                    }
                });
            }
        }
    }
}
