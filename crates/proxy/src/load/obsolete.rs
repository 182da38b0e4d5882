//! Forms that live configurations still hold and HAProxy has dropped, each with the line to write instead.

use telamon_config::{Keyword, Sections};

use super::draft::ProxyContext;

type K = Keyword<ProxyContext>;

const ANY: Sections = Sections::PROXIES;

pub(super) const KEYWORDS: &[K] = &[
    K::obsolete("contimeout", ANY, "timeout connect {1}"),
    K::obsolete("clitimeout", ANY, "timeout client {1}"),
    K::obsolete("srvtimeout", ANY, "timeout server {1}"),
    K::obsolete("timeout clitimeout", ANY, "timeout client {1}"),
    K::obsolete("timeout contimeout", ANY, "timeout connect {1}"),
    K::obsolete("timeout srvtimeout", ANY, "timeout server {1}"),
    K::obsolete("redispatch", ANY, "option redispatch"),
    K::obsolete("redisp", ANY, "option redispatch"),
    K::obsolete("cliexp", ANY, "http-response replace-header {*}"),
    K::obsolete("srvexp", ANY, "http-response replace-header {*}"),
    K::obsolete("appsession", ANY, "stick on cookie({1}), with a `stick-table`"),
    K::obsolete("block", ANY, "http-request deny {*}"),
    K::obsolete("grace", ANY, "remove it; `grace` in `global` delays the stop"),
    K::obsolete("monitor-net", ANY, "http-request return status 200 if { src {1} }"),
    K::obsolete_with("reqadd", ANY, |words| add("http-request", words)),
    K::obsolete_with("rspadd", ANY, |words| add("http-response", words)),
    K::obsolete_with("reqdel", ANY, |words| del("http-request", words)),
    K::obsolete_with("reqidel", ANY, |words| del("http-request", words)),
    K::obsolete_with("rspdel", ANY, |words| del("http-response", words)),
    K::obsolete_with("rspidel", ANY, |words| del("http-response", words)),
    K::obsolete_with("reqrep", ANY, |words| replace("http-request", words)),
    K::obsolete_with("reqirep", ANY, |words| replace("http-request", words)),
    K::obsolete_with("rsprep", ANY, |words| replace("http-response", words)),
    K::obsolete_with("rspirep", ANY, |words| replace("http-response", words)),
    K::obsolete_with("reqallow", ANY, |words| judge("http-request allow", words)),
    K::obsolete_with("reqiallow", ANY, |words| judge("http-request allow", words)),
    K::obsolete_with("reqpass", ANY, |words| judge("http-request allow", words)),
    K::obsolete_with("reqipass", ANY, |words| judge("http-request allow", words)),
    K::obsolete_with("reqdeny", ANY, |words| judge("http-request deny", words)),
    K::obsolete_with("reqideny", ANY, |words| judge("http-request deny", words)),
    K::obsolete_with("reqtarpit", ANY, |words| judge("http-request tarpit", words)),
    K::obsolete_with("reqitarpit", ANY, |words| judge("http-request tarpit", words)),
    K::obsolete_with("rspdeny", ANY, judge_response),
    K::obsolete_with("rspideny", ANY, judge_response),
];

/// `X-Forwarded-Proto:\ https if ssl` is the header, its value, and what may stand behind.
fn add(rules: &str, words: &[&str]) -> String {
    let (header, rest) = words.split_first().map_or(("", words), |(first, rest)| (*first, rest));
    let (name, value) = header.split_once(':').unwrap_or((header, "…"));
    spaced(&[rules, "add-header", name.trim(), &quoted(value.trim()), &rest.join(" ")])
}

/// `^X-Secret:.*` is a header to delete.
fn del(rules: &str, words: &[&str]) -> String {
    let (pattern, rest) = words.split_first().map_or(("", words), |(first, rest)| (*first, rest));
    match header_of(pattern) {
        Some(name) => spaced(&[rules, "del-header", name, &rest.join(" ")]),
        None => format!("{rules} del-header …"),
    }
}

/// What replaces a line of the head: its target, its status or one of its headers.
fn replace(rules: &str, words: &[&str]) -> String {
    let (Some(pattern), Some(by)) = (words.first(), words.get(1)) else {
        return format!("{rules} replace-header …");
    };
    let rest = words.get(2..).unwrap_or_default().join(" ");
    if let Some(name) = header_of(pattern) {
        let pattern = pattern.split_once(':').map_or("", |(_, value)| value);
        let by = by.split_once(':').map_or(*by, |(_, value)| value);
        let (pattern, by) = (quoted(unspaced(pattern)), quoted(unspaced(by)));
        return spaced(&[rules, "replace-header", name, &pattern, &by, &rest]);
    }
    if rules == "http-response" {
        return "http-response set-status …, or http-response replace-header …".into();
    }
    // `^([^\ ]*)\ /old/(.*)` by `\1\ /new/\2` is about the path; groups count anew.
    "http-request replace-path <regex> <format>".into()
}

fn judge(action: &str, words: &[&str]) -> String {
    let pattern = words.first().copied().unwrap_or_default();
    match header_of(pattern) {
        Some(name) => {
            let value = pattern.split_once(':').map_or("", |(_, value)| unspaced(value));
            format!("{action} if {{ req.hdr({name}) -m reg {} }}", quoted(value))
        }
        None => format!("{action} if {{ path -m reg … }}"),
    }
}

fn judge_response(words: &[&str]) -> String {
    let pattern = words.first().copied().unwrap_or_default();
    match header_of(pattern) {
        Some(name) => {
            let value = pattern.split_once(':').map_or("", |(_, value)| unspaced(value));
            format!("http-response deny if {{ res.hdr({name}) -m reg {} }}", quoted(value))
        }
        None => "http-response deny if { status … }".into(),
    }
}

/// The header that a pattern such as `^Server:.*` is about.
fn header_of(pattern: &str) -> Option<&str> {
    let (name, _) = pattern.strip_prefix('^').unwrap_or(pattern).split_once(':')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

/// Without what stands for the blank behind the colon.
fn unspaced(text: &str) -> &str {
    text.trim_start_matches(['\\', ' ']).trim_start()
}

fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && !text.contains([' ', '\\', '"', '\'', '#', '$']);
    if plain { text.into() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn spaced(words: &[&str]) -> String {
    words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}
