use telamon_balance::stats::Row;

use super::*;
use crate::recorded::Recorded;

fn pages(source: Arc<Recorded>, change: impl FnOnce(&mut Settings)) -> Pages {
    let mut settings = Settings { uri: "/stats".to_owned(), ..Settings::default() };
    change(&mut settings);
    let pages = Pages::new(Arc::new(Console::new(vec![source])));
    pages.set(HashMap::from([("web".to_owned(), settings)]));
    pages
}

fn request(method: &str, target: &str, body: &str) -> PageRequest {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    PageRequest {
        proxy: "web".to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        query,
        body: body.into(),
        admin: true,
        ..PageRequest::default()
    }
}

fn get(target: &str) -> (String, String) {
    let page = pages(Arc::default(), |settings| settings.refresh = Some(Duration::from_secs(5)))
        .answer(&request("GET", target, ""));
    let headers: Vec<String> =
        page.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    (headers.join("\n"), String::from_utf8(page.body).unwrap())
}

#[test]
fn formats_have_haproxys_headers() {
    #[track_caller]
    fn check(target: &str, headers: &str, begins: &str) {
        let (found, body) = get(target);
        assert!(found.starts_with(headers), "{found}");
        assert!(body.starts_with(begins), "{}", &body[..80]);
    }
    let plain = "cache-control: no-cache\ncontent-type: text/plain";
    let json = "cache-control: no-cache\ncontent-type: application/json";
    check("/stats;csv", &format!("{plain}\nrefresh: 5"), "# pxname,svname,qcur");
    check("/stats;csv;norefresh", plain, "# pxname");
    check("/stats?scope=be;csv", plain, "# pxname");
    check("/stats;typed", plain, "F.2.0.0.pxname.1:KNS:str:fe1\n");
    check("/stats;json", json, "[[{\"objType\":\"Frontend\"");
    check("/stats;json-schema", json, "{\"$schema\"");
    check("/stats;live", json, "{\"shape\":");
    check("/stats;history", json, "{\"limit\":600,");
    check("/stats", "cache-control: no-cache\ncontent-type: text/html", "<!DOCTYPE html>");
    check("/stats;app.js", "cache-control: max-age", "//");
    assert!(!get("/stats;csv;norefresh").0.contains("refresh:"));
}

#[test]
fn scope_and_filters_choose_rows() {
    #[track_caller]
    fn check(target: &str, names: &str) {
        let (_, csv) = get(target);
        let shown: Vec<String> = csv
            .lines()
            .skip(1)
            .map(|line| line.split(',').take(2).collect::<Vec<_>>().join("/"))
            .collect();
        assert_eq!(shown.join(" "), names);
    }
    check("/stats;csv", "fe1/FRONTEND be1/s2 be1/BACKEND");
    check("/stats;csv;scope=BE", "be1/s2 be1/BACKEND");
    check("/stats;csv;up", "fe1/FRONTEND be1/BACKEND");
    check("/stats;csv;no-maint", "fe1/FRONTEND be1/s2 be1/BACKEND");
    let scoped = pages(Arc::default(), |settings| settings.scope = vec!["fe1".into()]);
    let csv = String::from_utf8(scoped.answer(&request("GET", "/stats;csv", "")).body).unwrap();
    assert_eq!(csv.lines().count(), 2);
}

#[test]
fn actions_are_carried_out_and_lead_back() {
    #[track_caller]
    fn check(body: &str, location: &str, acts: &[&str]) {
        let source = Arc::new(Recorded::default());
        let page = pages(Arc::clone(&source), |_| ()).answer(&request("POST", "/stats;up", body));
        assert_eq!(page.status, 303);
        assert_eq!(
            page.headers.last().unwrap(),
            &("location".to_owned(), format!("/stats{location};up"))
        );
        assert_eq!(*source.acts.lock().unwrap(), acts);
    }
    check("s=s2&action=drain&b=be1", ";st=DONE", &["be1/s2 Drain"]);
    check("s=s2&action=maint&b=%235", ";st=DONE", &["be1/s2 Maintenance"]);
    check("s=s2&action=weight&weight=50%25&b=be1", ";st=DONE", &["be1/s2 Weight(\"50%\")"]);
    check("s=s2&s=zz&action=ready&b=be1", ";st=PART", &["be1/s2 Ready"]);
    check("s=zz&action=ready&b=be1", ";st=ERRP", &[]);
    check("s=s2&action=foo&b=be1", ";st=ERRP", &[]);
    check("s=s2&action=weight&weight=&b=be1", ";st=ERRP", &[]);
    check("s=s2&action=ready&b=nope", ";st=ERRP", &[]);
    check("s=s2&action=ready", ";st=NONE", &[]);
    check("action=ready&b=be1", ";st=NONE", &[]);
    check("s=%zz&action=ready&b=be1", ";st=ERRP", &[]);
}

#[test]
fn actions_need_permission_and_our_own_page() {
    let source = Arc::new(Recorded::default());
    let pages = pages(Arc::clone(&source), |_| ());
    let mut post = request("POST", "/stats", "s=s2&action=drain&b=be1");
    post.admin = false;
    assert_eq!(pages.answer(&post).headers.last().unwrap().1, "/stats;st=DENY");
    post.admin = true;
    post.headers.push(("sec-fetch-site".to_owned(), b"cross-site".to_vec()));
    assert_eq!(pages.answer(&post).headers.last().unwrap().1, "/stats;st=DENY");
    assert!(source.acts.lock().unwrap().is_empty());
}

#[test]
fn names_are_escaped() {
    let mut row = Row::new(Kind::Server);
    row.set(Column::Pxname, "be1").set(Column::Svname, "<script>'\"&").set(Column::Status, "UP");
    row.set(Column::CheckStatus, "L7OK").set(Column::LastChk, "\"><img>");
    let source = Arc::new(Recorded { more: vec![row], ..Recorded::default() });
    let pages = pages(source, |settings| settings.description = Some("a <b> desc".to_owned()));
    let html =
        String::from_utf8(pages.answer(&request("GET", "/stats?scope=<i>", "")).body).unwrap();
    assert!(!html.contains("<i>\"") && html.contains("<b>&#60;i&#62;</b>"), "{html}");
    let html = String::from_utf8(pages.answer(&request("GET", "/stats", "")).body).unwrap();
    for forbidden in ["<script>'", "<img>", "<b> desc"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(html.contains("Statistics Report for <b>pid 4711</b>"));
    let live = String::from_utf8(pages.answer(&request("GET", "/stats;live", "")).body).unwrap();
    assert!(live.contains(r#""be1/sv/<script>'\"&""#), "{live}");
}

#[test]
fn a_proxy_without_a_page_has_none() {
    let mut request = request("GET", "/stats", "");
    request.proxy = "other".to_owned();
    assert_eq!(pages(Arc::default(), |_| ()).answer(&request).status, 404);
}
