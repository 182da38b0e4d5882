//! Sessions: `show sess` and how to end them.
//!
//! A session is shown while it carries a request or a TCP stream; clients that are idle between two requests are not,
//! as in HAProxy. Its number is shown the way HAProxy shows a pointer. What HAProxy tells beyond that of its own
//! buffers, tasks and flags is left out.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::SystemTime;

use telamon_runtime::Endpoint;
use telamon_runtime::api::{Answer, Invocation, Level};
use telamon_runtime::workers::Peers;
use tokio::sync::oneshot;

use super::{Row, Target, row};
use crate::log::Stamp;
use crate::model::Mode;
use crate::stream::{Cause, Session};
use crate::view::View;
use crate::worker::Worker;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["show", "sess"],
        Level::Operator,
        "[id]",
        "report the list of current sessions or dump this exact session",
        show,
    ),
    row(&["shutdown", "session"], Level::Admin, "[id]", "kill a specific session", shutdown),
    row(
        &["shutdown", "sessions", "server"],
        Level::Admin,
        "<bk>/<srv>",
        "kill sessions on a server",
        shutdown_on_server,
    ),
];

/// What a worker tells of a session.
#[derive(Debug)]
struct Shown {
    id: u64,
    source: Endpoint,
    accepted_at: SystemTime,
    age_s: u64,
    frontend: Part,
    listener: (String, u32, Endpoint),
    backend: Option<Part>,
    server: Option<(String, u32, Option<Endpoint>)>,
}

/// A frontend or backend: name, number, mode.
type Part = (String, u32, &'static str);

fn show(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let wanted = match call.args.first().copied() {
        None => None,
        Some("all") => Some(None),
        Some(word) => match id_of(word) {
            Some(id) => Some(Some(id)),
            None => return Err("Session not found.\n".to_owned()),
        },
    };
    let peers = view.peers.clone();
    Ok(Answer::Later(Box::pin(async move {
        let mut sessions = collect(&peers).await;
        sessions.sort_by_key(|session| (session.accepted_at, session.id));
        let mut out = String::new();
        for session in &sessions {
            match wanted {
                None => write_line(session, &mut out),
                Some(only) if only.is_none_or(|id| id == session.id) => {
                    write_whole(session, &mut out);
                }
                Some(_) => {}
            }
        }
        if out.is_empty() && matches!(wanted, Some(Some(_))) {
            out.push_str("Session not found.\n");
        }
        out
    })))
}

async fn collect(peers: &Peers<Worker>) -> Vec<Shown> {
    let mut all = Vec::new();
    for index in 0..peers.len() {
        let (send, receive) = oneshot::channel();
        let mail = move |worker: &Rc<Worker>| {
            let sessions = worker.live.sessions();
            // The one who asked may have gone.
            _ = send.send(sessions.iter().filter_map(|session| shown(session)).collect::<Vec<_>>());
        };
        // A worker that has ended has no sessions.
        if peers.send_wait(index, mail).await.is_ok()
            && let Ok(sessions) = receive.await
        {
            all.extend(sessions);
        }
    }
    all
}

fn shown(session: &Session) -> Option<Shown> {
    let carried = session.live.carried()?;
    let part = |id| {
        let proxy = carried.snapshot.proxy(id);
        let mode = if proxy.mode == Mode::Http { "http" } else { "tcp" };
        (proxy.name.to_string(), proxy.number, mode)
    };
    let server = carried.backend.zip(carried.server).and_then(|(backend, server)| {
        let server = carried.snapshot.server(backend, server)?;
        let address = server.state.address().endpoint;
        Some((server.name.to_string(), server.number, Some(address)))
    });
    Some(Shown {
        id: session.id,
        source: session.src.borrow().clone(),
        accepted_at: session.accepted_at,
        age_s: carried.since.elapsed().as_secs(),
        frontend: part(carried.frontend),
        listener: (
            session.listener.name.to_string(),
            session.listener.number,
            session.dst.borrow().clone(),
        ),
        backend: carried.backend.map(part),
        server,
    })
}

fn write_line(session: &Shown, out: &mut String) {
    let backend = session.backend.as_ref().map_or("<NONE>", |(name, ..)| name);
    let server = session.server.as_ref().map_or("<none>", |(name, ..)| name);
    _ = writeln!(
        out,
        "{:#x}: proto={} src={} fe={} be={backend} srv={server} age={}",
        session.id,
        protocol(&session.source),
        session.source,
        session.frontend.0,
        age(session.age_s),
    );
}

fn write_whole(session: &Shown, out: &mut String) {
    let mut date = Vec::new();
    Stamp::from(session.accepted_at).write_log_micros(&mut date);
    let (name, number, mode) = &session.frontend;
    let (listener, listener_number, local) = &session.listener;
    _ = write!(
        out,
        "{:#x}: [{}] id={} proto={} source={}\n  \
         frontend={name} (id={number} mode={mode}), listener={listener} (id={listener_number}) \
         addr={local}\n",
        session.id,
        String::from_utf8_lossy(&date),
        session.id,
        protocol(&session.source),
        session.source,
    );
    match &session.backend {
        Some((name, number, mode)) => {
            _ = writeln!(out, "  backend={name} (id={number} mode={mode})");
        }
        None => out.push_str("  backend=<NONE> (id=-1 mode=-)\n"),
    }
    match &session.server {
        Some((name, number, address)) => {
            _ = write!(out, "  server={name} (id={number})");
            if let Some(address) = address {
                _ = write!(out, " addr={address}");
            }
            out.push('\n');
        }
        None => out.push_str("  server=<NONE> (id=-1)\n"),
    }
    _ = writeln!(out, "  age={}", age(session.age_s));
}

fn protocol(source: &Endpoint) -> &'static str {
    match source.ip() {
        Some(IpAddr::V4(_)) => "tcpv4",
        Some(IpAddr::V6(_)) => "tcpv6",
        None => "unix_stream",
    }
}

/// Two units at most, as HAProxy writes ages: `5s`, `3m20s`, `2h5m`, `1d2h`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86400, seconds / 3600 % 24),
    }
}

fn shutdown(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let word = call.args.first().ok_or("Session pointer expected (use 'show sess').\n")?;
    const NONE: &str = "No such session (use 'show sess').\n";
    let id = id_of(word).ok_or(NONE)?;
    // The number says which worker has it.
    let index = usize::try_from(id % view.shared.workers as u64).unwrap_or(usize::MAX);
    let peers = view.peers.clone();
    Ok(Answer::Later(Box::pin(async move {
        let (send, receive) = oneshot::channel();
        let mail = move |worker: &Rc<Worker>| {
            let session = worker.live.session(id);
            let session = session.filter(|session| session.live.carried().is_some());
            if let Some(session) = &session {
                session.live.kill(Cause::Killed);
            }
            _ = send.send(session.is_some());
        };
        let killed = peers.send_wait(index, mail).await.is_ok() && receive.await == Ok(true);
        if killed { String::new() } else { NONE.to_owned() }
    })))
}

fn shutdown_on_server(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let target = Target::parse(view, call.args.first())?;
    let (backend, server) = (target.proxy().name.to_string(), target.server().name.to_string());
    let peers = view.peers.clone();
    Ok(Answer::Later(Box::pin(async move {
        peers.broadcast(move |worker| worker.live.kill_on(&backend, &server, Cause::Killed)).await;
        String::new()
    })))
}

/// Ends the sessions of a server without waiting for the workers.
pub(super) fn kill_on(view: &View, backend: &str, server: &str) {
    for index in 0..view.peers.len() {
        let (backend, server) = (backend.to_owned(), server.to_owned());
        // A worker whose mailbox is full keeps its sessions; the page shows them still.
        _ = view
            .peers
            .send(index, move |worker| worker.live.kill_on(&backend, &server, Cause::Killed));
    }
}

/// The number of a session, written in hexadecimal with or without `0x`.
fn id_of(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Shown {
        Shown {
            id: 30,
            source: Endpoint::Inet("127.0.0.1:47400".parse().unwrap()),
            accepted_at: SystemTime::UNIX_EPOCH,
            age_s: 125,
            frontend: ("fe".into(), 2, "http"),
            listener: ("sock-1".into(), 1, Endpoint::Inet("127.0.0.1:80".parse().unwrap())),
            backend: Some(("be1".into(), 3, "http")),
            server: None,
        }
    }

    #[test]
    fn sessions_are_shown_with_haproxys_words() {
        let mut line = String::new();
        write_line(&session(), &mut line);
        assert_eq!(
            line,
            "0x1e: proto=tcpv4 src=127.0.0.1:47400 fe=fe be=be1 srv=<none> age=2m5s\n"
        );
        let mut whole = String::new();
        write_whole(&session(), &mut whole);
        let (_, lines) = whole.split_once('\n').unwrap();
        assert_eq!(
            lines,
            "  frontend=fe (id=2 mode=http), listener=sock-1 (id=1) addr=127.0.0.1:80\n  \
             backend=be1 (id=3 mode=http)\n  server=<NONE> (id=-1)\n  age=2m5s\n"
        );
    }

    #[test]
    fn numbers_of_sessions_are_hexadecimal() {
        assert_eq!(id_of("0x1e"), Some(30));
        assert_eq!(id_of("1e"), Some(30));
        assert_eq!(id_of("x"), None);
    }
}
