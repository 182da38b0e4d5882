//! The status page, its CSV and JSON, and the actions it offers.

use telamon_testkit::{Response, Telamon, TestServer, eventually, free_port};

/// A page on a port of its own about two servers, with these settings.
struct Page {
    _servers: [TestServer; 2],
    telamon: Telamon,
    port: u16,
}

impl Page {
    #[track_caller]
    fn new(settings: &str) -> Self {
        let servers = [TestServer::named("app1"), TestServer::named("app2")];
        let [a, b] = &servers;
        let port = free_port();
        let telamon = Telamon::listen(&format!(
            "server {a}\nserver {b}\nlisten page\nbind 127.0.0.1:{port}\nstats enable\nstats uri /stats\n{settings}"
        ));
        Self { _servers: servers, telamon, port }
    }

    #[track_caller]
    fn ask(&self, request: &str) -> Response {
        let mut client = telamon_testkit::RawClient::connect(self.port);
        client.send(request);
        client.response()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Response {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{GUEST}\r\n"))
    }

    #[track_caller]
    fn post(&self, form: &str) -> Response {
        self.ask(&format!(
            "POST /stats HTTP/1.1\r\nHost: x\r\n{GUEST}Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{form}",
            form.len()
        ))
    }
}

/// guest:secret
const GUEST: &str = "Authorization: Basic Z3Vlc3Q6c2VjcmV0\r\n";

#[test]
fn the_page_names_every_proxy_and_server() {
    let page = Page::new("");
    let answer = page.get("/stats");
    assert_eq!(answer.status, 200);
    assert!(
        answer.header("content-type").is_some_and(|t| t.starts_with("text/html")),
        "{answer:?}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let text = answer.text();
    for name in ["web", "app1", "app2", "page"] {
        assert!(text.contains(name), "{name}");
    }
    assert_eq!(page.get("/elsewhere").status, 503);
}

#[test]
fn csv_and_json_are_the_sockets() {
    let page = Page::new("");
    let csv = page.get("/stats;csv");
    assert_eq!(csv.header("content-type"), Some("text/plain"));
    let rows = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(',').take(2).collect::<Vec<_>>().join(",")).collect()
    };
    let socket = page.telamon.stats_socket("show stat");
    assert_eq!(csv.text().lines().next(), socket.lines().next());
    assert_eq!(
        rows(csv.text().trim_end()),
        [
            "# pxname,svname",
            "web,FRONTEND",
            "web,app1",
            "web,app2",
            "web,BACKEND",
            "page,FRONTEND",
            "page,BACKEND"
        ]
    );
    let json = page.get("/stats;json");
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert!(
        json.text().starts_with(
            "[[{\"objType\":\"Frontend\",\"proxyId\":2,\"id\":0,\"field\":{\"pos\":0,\"name\":\"pxname\"},\
             \"processNum\":1,\"tags\":{\"origin\":\"Key\",\"nature\":\"Name\",\"scope\":\"Service\"},\
             \"value\":{\"type\":\"str\",\"value\":\"web\"}}"
        ),
        "{json:?}"
    );
}

#[test]
fn who_is_not_known_gets_401() {
    let page = Page::new("stats auth guest:secret\nstats realm My\\ Realm");
    assert_eq!(page.get("/stats").status, 200);
    let refused = page.ask("GET /stats HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"My Realm\""));
    assert_eq!(
        refused.text(),
        "<html><body><h1>401 Unauthorized</h1>\nYou need a valid user and password to access this \
         content.\n</body></html>\n"
    );
    let wrong = "GET /stats HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Z3Vlc3Q6d3Jvbmc=\r\n\r\n";
    assert_eq!(page.ask(wrong).status, 401);
}

#[test]
fn an_admin_changes_servers_by_forms() {
    let page = Page::new("stats admin if TRUE");
    for (form, status, location) in [
        ("s=app1&action=maint&b=web", "MAINT", "/stats;st=DONE"),
        ("s=app1&action=ready&b=web", "no check", "/stats;st=DONE"),
        ("s=app1&s=app2&action=drain&b=%232", "DRAIN", "/stats;st=DONE"),
        ("s=app1&action=ready&b=web", "no check", "/stats;st=DONE"),
        ("s=app1&action=nonsense&b=web", "no check", "/stats;st=ERRP"),
        ("s=app1&action=maint&b=nobody", "no check", "/stats;st=ERRP"),
    ] {
        let answer = page.post(form);
        assert_eq!((answer.status, answer.header("location")), (303, Some(location)), "{form}");
        eventually(form, || page.telamon.stat("web", "app1", "status") == status);
    }
}

#[test]
fn without_admin_a_form_changes_nothing() {
    let page = Page::new("");
    let answer = page.post("s=app1&action=maint&b=web");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/stats;st=DENY")));
    assert_eq!(page.telamon.stat("web", "app1", "status"), "no check");
}

#[test]
fn a_page_inside_a_proxy_is_asked_after_its_rules() {
    let app = TestServer::named("app");
    let telamon = Telamon::listen(&format!(
        "http-request deny if {{ path_beg /stats }} {{ hdr(x-no) -m found }}\nstats uri /stats\nserver {app}"
    ));
    let mut client = telamon.connect();
    assert_eq!(client.get("/").text(), "app");
    assert!(client.get("/stats;csv").text().starts_with("# pxname"));
    client.send("GET /stats HTTP/1.1\r\nHost: x\r\nX-No: 1\r\n\r\n");
    assert_eq!(client.response().status, 403);
    assert_eq!(app.requests(), 1);
}
