//! The status page on a proxy's own listener: the console makes it, the proxy asks for it and sends it on.

use telamon_http_proto::{Head, Version};
use telamon_runtime::service::{PageRequest, PageResponse};

use crate::rules::{self, Answer};
use crate::stream::Stream;

/// Asks the console for the page that this request wants, as the proxy's `stats` settings allow.
pub(crate) async fn answer(stream: &mut Stream) -> Answer {
    let snapshot = stream.snapshot.clone();
    let proxy = snapshot.proxy(stream.backend);
    stream.log.service = Some("<STATS>");
    let Some(settings) = &proxy.stats else { return rules::error_reply(stream, 503) };
    if !authorized(stream, &settings.auth) {
        let realm = settings.realm.as_deref().unwrap_or("HAProxy Statistics");
        return rules::unauthorized(stream, realm.as_bytes());
    }
    let request = PageRequest {
        proxy: proxy.name.to_string(),
        method: text(stream.request.method()),
        path: text(stream.request.path()),
        query: stream.request.query().map(text),
        headers: stream
            .request
            .headers()
            .map(|header| (text(header.name), header.value.to_vec()))
            .collect(),
        body: stream.request.remaining().to_vec(),
        client: stream.session.src.borrow().ip(),
        admin: settings.admin.iter().any(|condition| stream.holds(condition)),
    };
    let asked = stream.session.worker.shared.page.ask(request, PAGE_TIMEOUT).await;
    match asked {
        Ok(page) => build(page, snapshot.global.tune.bufsize)
            .unwrap_or_else(|| rules::error_reply(stream, 500)),
        Err(_) => rules::error_reply(stream, 503),
    }
}

/// Whether the request names one of the users of `stats auth`, or none is asked for.
fn authorized(stream: &Stream, users: &[(Box<str>, Box<str>)]) -> bool {
    if users.is_empty() {
        return true;
    }
    let Some((user, password)) = crate::expr::basic_credentials(&stream.request) else {
        return false;
    };
    users.iter().any(|(name, secret)| name.as_bytes() == user && secret.as_bytes() == password)
}

fn build(page: PageResponse, bufsize: usize) -> Option<Answer> {
    let mut head = Head::with_capacity(0);
    head.start_response(page.status, Version::Http11, bufsize).ok()?;
    for (name, value) in &page.headers {
        head.add_header(name.as_bytes(), value.as_bytes()).ok()?;
    }
    head.add_header(b"content-length", page.body.len().to_string().as_bytes()).ok()?;
    Some(Answer { head: head.into(), body: page.body, denied: false })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How long the control thread may take to make a page.
const PAGE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
