//! Cookie lines and what the model has of them.

use crate::load::tests::{check, model};
use crate::model::CookieMode;

#[test]
fn cookies_keep_clients_at_servers() {
    let cookie = |line: &str| {
        let model = model(&format!("backend b\n mode http\n {line}\n"));
        model.proxies[0].backend.as_ref().and_then(|backend| backend.cookie.clone())
    };
    let full = cookie(
        "cookie S insert indirect nocache postonly preserve httponly secure domain .a.b domain c.d \
         maxidle 30m maxlife 1500ms attr SameSite=Lax attr X",
    );
    let full = full.expect("a cookie");
    assert_eq!((&*full.name, full.mode), (&b"S"[..], CookieMode::Insert));
    assert!(full.indirect && full.nocache && full.postonly && full.preserve);
    let attributes = b"; domain=.a.b; domain=c.d; HttpOnly; Secure; SameSite=Lax; X";
    assert_eq!(String::from_utf8_lossy(&full.attributes), String::from_utf8_lossy(attributes));
    let seconds = |time: Option<std::time::Duration>| time.map(|time| time.as_secs());
    assert_eq!((seconds(full.maxidle), seconds(full.maxlife)), (Some(1800), Some(2)));
    let mode = |line| cookie(line).map(|cookie| (cookie.mode, cookie.is_handled()));
    assert_eq!(mode("cookie S"), Some((CookieMode::Passive, false)));
    assert_eq!(mode("cookie S indirect"), Some((CookieMode::Passive, true)));
    assert_eq!(mode("cookie S prefix maxidle 0"), Some((CookieMode::Prefix, true)));
    assert_eq!(
        mode("cookie A insert httponly\n cookie S rewrite"),
        Some((CookieMode::Rewrite, true))
    );

    let wrong = |line: &str, expected: &[&str]| {
        check(&format!("backend b\n mode http\n {line}\n"), expected);
    };
    wrong(
        "cookie",
        &[
            "3:2 alert `cookie` lacks the name of a cookie (expected the name of a cookie after this)",
        ],
    );
    wrong("cookie a;b insert", &["3:9 alert bad cookie name `a;b` (expected a name without ';')"]);
    wrong("cookie S inser", &["3:11 alert unknown cookie option `inser` (did you mean `insert`?)"]);
    wrong(
        "cookie S insert rewrite",
        &["3:2 alert `insert`, `rewrite` and `prefix` exclude one another"],
    );
    wrong("cookie S rewrite indirect", &["3:2 alert `rewrite` and `indirect` exclude one another"]);
    wrong("cookie S preserve", &["3:2 alert `preserve` without `insert` or `indirect`"]);
    wrong(
        "cookie S insert domain",
        &["3:18 alert `domain` lacks a domain (expected a domain after this)"],
    );
    wrong(
        "cookie S insert domain a!b",
        &["3:25 alert bad domain `a!b` (expected letters, digits, `.`, `-` and `_`)"],
    );
    wrong("cookie S insert domain ab", &["3:25 warning domain `ab` has no dot inside"]);
    wrong(
        "cookie S insert attr a;b",
        &["3:23 alert bad attribute `a;b` (expected a text without `;` and control characters)"],
    );
    wrong(
        "cookie S insert maxidle x",
        &["3:26 alert bad time `x` (expected a time such as `10s`)"],
    );
    wrong(
        "cookie S insert maxlife 70000d",
        &["3:26 alert bad time `70000d` (expected at most 2147483647s)"],
    );
    wrong(
        "dynamic-cookie-key",
        &["3:2 alert `dynamic-cookie-key` lacks a key (expected a key after this)"],
    );
    wrong(
        "force-persist",
        &[
            "3:2 alert `force-persist` lacks `if` or `unless` (expected `if` or `unless` after this)",
        ],
    );
    wrong(
        "ignore-persist on",
        &[
            "3:2 alert `ignore-persist` lacks `if` or `unless` (expected `if` or `unless` after this)",
        ],
    );
    wrong(
        "mode tcp\n cookie S insert\n timeout connect 1s\n timeout server 1s\n server a 127.0.0.1:1 cookie a",
        &[
            "4:2 warning `cookie` ignored for backend b",
            "7:9 warning `cookie` of servers ignored for backend b",
        ],
    );
    check(
        "frontend f\n bind :1\n mode http\n timeout client 1s\n cookie S insert\n",
        &[
            "5:2 warning `cookie` does not belong in `frontend` (belongs in `defaults`, `listen` or `backend`)",
        ],
    );
}

#[test]
fn dynamic_cookies_are_haproxys() {
    #[track_caller]
    fn check(address: &str, key: &str, expected: &str) {
        let line = format!("dynamic-cookie-key {key}\n cookie S insert dynamic");
        let text = format!(
            "backend b\n mode http\n timeout connect 1s\n timeout server 1s\n {line}\n server a {address}\n"
        );
        let model = model(&text);
        let server = &model.proxies[0].backend.as_ref().expect("serves").servers[0];
        let cookie = server.cookie().map(|cookie| String::from_utf8_lossy(&cookie).into_owned());
        assert_eq!(cookie.as_deref().unwrap_or("-"), expected, "{address} {key}");
    }
    // Made by HAProxy 2.6.12 (`show stat`, column `cookie`).
    check("127.0.0.1:80", "secret", "83fb1331509c7322");
    check("192.0.2.1:8080", "secret", "3721204ef7360007");
    check("192.0.2.1:8080", "k", "d6cb5a1dbbab1924");
    check("[2001:db8::1]:443", "secret", "840fd81651c5d48b");
    check("192.0.2.1", "secret", "f54e59345dc6b2aa");
    check("192.0.2.1:+10", "secret", "2589e874ffee2258");
    check("192.0.2.1:-10", "secret", "3479947166703ed9");
    check("unix@/tmp/s", "secret", "-");
    check("192.0.2.1:80 cookie own", "secret", "own");
}
