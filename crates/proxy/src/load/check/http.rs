//! The request of an HTTP check: `option httpchk` and `http-check send`.

use std::sync::Arc;

use telamon_config::{Args, ConfigErrorKind};

use super::rule::{comment, format};
use crate::expr::LogFormat;
use crate::load::draft::ProxyContext;
use crate::load::mistake::ProxyMistake;
use crate::model::{CheckRequest, CheckStep, CheckText};

/// Reads what follows `option httpchk`.
pub(super) fn option(args: &mut Args<'_>) -> CheckRequest {
    let mut request = CheckRequest::default();
    let (Some(first), second) = (args.next_if_any(), args.next_if_any()) else { return request };
    let uri = match second {
        None => first,
        Some(uri) => {
            request.method = first.bytes.into();
            uri
        }
    };
    request.uri = CheckText::Fixed(uri.bytes.into());
    let Some(version) = args.next_if_any() else { return request };
    // Old configurations smuggle headers behind the version: `HTTP/1.1\r\nHost:\ www`.
    let text = String::from_utf8_lossy(version.bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    if text.contains("\r\n") {
        let title = "headers hidden behind the version".to_owned();
        let help = "write them with `http-check send hdr <name> <format>`";
        args.warn(version.at, ProxyMistake::Says { title, help }.into());
    }
    let mut lines = head.split("\r\n");
    request.version = lines.next().unwrap_or_default().as_bytes().into();
    for line in lines.filter(|line| !line.is_empty()) {
        match line.split_once(':') {
            Some((name, value)) => {
                let format = Arc::new(LogFormat::constant(value.trim().as_bytes()));
                request.headers.push((name.trim().as_bytes().into(), format));
            }
            None => args.bad(version, "header", "`name: value`"),
        }
    }
    if !body.is_empty() {
        request.body = Some(CheckText::Fixed(body.as_bytes().into()));
    }
    request
}

/// Reads what follows `http-check send`.
pub(super) fn send(proxy: &mut ProxyContext, args: &mut Args<'_>) -> Option<CheckStep> {
    let mut request = CheckRequest::default();
    while let Some(token) = args.next_if_any() {
        match token.text {
            "meth" => request.method = args.next("a method")?.bytes.into(),
            "uri" => request.uri = CheckText::Fixed(args.next("a URI")?.bytes.into()),
            "uri-lf" => request.uri = CheckText::Format(format(proxy, args)?),
            "ver" => request.version = args.next("a version such as `HTTP/1.1`")?.bytes.into(),
            "hdr" => {
                let name = args.next("a header name")?;
                let value = format(proxy, args)?;
                // The sender's to add.
                if !name.text.eq_ignore_ascii_case("content-length")
                    && !name.text.eq_ignore_ascii_case("transfer-encoding")
                {
                    request.headers.push((name.bytes.into(), value));
                }
            }
            "body" => request.body = Some(CheckText::Fixed(args.next("a body")?.bytes.into())),
            "body-lf" => request.body = Some(CheckText::Format(format(proxy, args)?)),
            "comment" => request.comment = comment(args),
            other => {
                let known = ["meth", "uri", "uri-lf", "ver", "hdr", "body", "body-lf", "comment"];
                args.fail(token.at, ConfigErrorKind::unknown("word", other, known));
                return None;
            }
        }
    }
    Some(CheckStep::Request(Box::new(request)))
}
