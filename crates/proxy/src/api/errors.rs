//! `show errors`: the last malformed request and response of each proxy.

use std::io::Write as _;

use telamon_runtime::api::{Answer, Invocation, Level};

use super::{Row, lossy, row};
use crate::capture::Capture;
use crate::log::Stamp;
use crate::model::Model;
use crate::stream::Direction;
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[row(
    &["show", "errors"],
    Level::Operator,
    "[<px>] [request|response]",
    "report last request and/or response errors for each proxy",
    show,
)];

fn show(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let snapshot = view.snapshot();
    let model = &snapshot.model;
    let mut args = call.args;
    let mut direction = None;
    if let [rest @ .., last @ ("request" | "response")] = args {
        direction = Some(if *last == "request" { Direction::Request } else { Direction::Response });
        args = rest;
    }
    // `-1` is every proxy, as in old scripts.
    let only = match args.first().filter(|word| **word != "-1") {
        None => None,
        Some(word) => Some(find(model, word).ok_or("No such proxy.\n")?),
    };
    let (captures, total) = view.shared.errors.all();
    let mut out = Vec::new();
    out.extend_from_slice(b"Total events captured on [");
    Stamp::now().write_log(&mut out);
    _ = writeln!(out, "] : {total}");
    let wanted = captures.iter().filter(|capture| {
        direction.is_none_or(|direction| direction == capture.direction)
            && only.is_none_or(|name| name == &*capture.proxy)
    });
    for capture in wanted {
        dump(model, capture, &mut out);
    }
    Ok(Answer::Text(lossy(out)))
}

/// The name of the proxy that a name or a numeric id stands for.
fn find<'m>(model: &'m Model, word: &str) -> Option<&'m str> {
    let number = word.parse().ok();
    let mut proxies = model.proxies.iter();
    let proxy = proxies.find(|proxy| &*proxy.name == word || Some(proxy.number) == number)?;
    Some(&proxy.name)
}

fn dump(model: &Model, capture: &Capture, out: &mut Vec<u8>) {
    let frontend = model.frontend(&capture.frontend);
    let backend = capture.backend.as_deref().and_then(|name| model.backend(name));
    let number =
        |id: Option<crate::model::ProxyId>| id.map_or(-1, |id| i64::from(model.proxy(id).number));
    let server_number = backend.zip(capture.server.as_deref()).and_then(|(backend, name)| {
        let mut servers = model.proxy(backend).backend.iter().flat_map(|b| &b.servers);
        servers.find(|known| *known.name == *name).map(|known| i64::from(known.number))
    });
    let backend_name = capture.backend.as_deref().unwrap_or("<NONE>");
    let (frontend, backend) = (number(frontend), number(backend));
    out.extend_from_slice(b" \n[");
    Stamp::from(capture.at).write_log(out);
    let name = &capture.frontend;
    _ = match capture.direction {
        Direction::Request => write!(
            out,
            "] frontend {name} (#{frontend}): invalid request\n  backend {backend_name} (#{backend})"
        ),
        Direction::Response => write!(
            out,
            "] backend {backend_name} (#{backend}): invalid response\n  frontend {name} (#{frontend})"
        ),
    };
    let source = match capture.client.ip().zip(capture.client.port()) {
        Some((ip, port)) => format!("{ip}:{port}"),
        None => "unix:1".to_owned(),
    };
    let size = model.global.tune.bufsize;
    let len = capture.bytes.len();
    _ = write!(
        out,
        ", server {} (#{}), event #{}, src {source}\n  \
         buffer starts at 0 (including 0 out), {} free,\n  \
         len {len}, wraps at {size}, error at position {}\n  {} :\n  \n",
        capture.server.as_deref().unwrap_or("<NONE>"),
        server_number.unwrap_or(-1),
        capture.number,
        size.saturating_sub(len),
        capture.position,
        capture.message,
    );
    dump_text(&capture.bytes, out);
}

/// The bytes as text with escapes, a line of the dump for each of theirs; long ones go on behind `+`.
fn dump_text(bytes: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    let mut mark = ' ';
    while at < bytes.len() {
        let mut line = format!("  {at:05}{mark} ");
        mark = '+';
        while let Some(&byte) = bytes.get(at) {
            let escaped = match byte {
                b'\n' => "\\n".to_owned(),
                b'\r' => "\\r".to_owned(),
                b'\t' => "\\t".to_owned(),
                0x1b => "\\e".to_owned(),
                b'\\' => "\\\\".to_owned(),
                0x20..0x7f => char::from(byte).to_string(),
                _ => format!("\\x{byte:02X}"),
            };
            if line.len() + escaped.len() > WIDTH {
                break;
            }
            line.push_str(&escaped);
            at += 1;
            if byte == b'\n' {
                mark = ' ';
                break;
            }
        }
        line.push('\n');
        out.extend_from_slice(line.as_bytes());
    }
}

/// Columns of a line of the dump.
const WIDTH: usize = 79;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_dumped_like_haproxys() {
        #[track_caller]
        fn check(bytes: &[u8], expected: &str) {
            let mut out = Vec::new();
            dump_text(bytes, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        check(b"", "");
        check(
            b"GET /x\x01y HTTP/1.1\r\nhost: a\r\n\r\nmore",
            "  00000  GET /x\\x01y HTTP/1.1\\r\\n\n  00019  host: a\\r\\n\n  00028  \\r\\n\n  00030  more\n",
        );
        let a = |count| "a".repeat(count);
        let mut long = format!("GET /{}", a(150)).into_bytes();
        long.extend_from_slice(b"\x7f\x80\t\"\\ HTTP/1.1\r\n");
        let expected = format!(
            "  00000  GET /{}\n  00070+ {}\n  00140+ {}\\x7F\\x80\\t\"\\\\ HTTP/1.1\\r\\n\n",
            a(65),
            a(70),
            a(15)
        );
        check(&long, &expected);
    }
}
