//! Sessions: `show sess` and how to end them.
//!
//! A session is shown while it carries a request or a TCP stream; clients that are idle between two requests are not,
//! as in HAProxy. Its number is shown the way HAProxy shows a pointer. Fields of HAProxy's whose notion does not exist
//! here (flags, calls of a task, analyzers) stand in their places as zeros, `(nil)` or nothing, as HAProxy has them for
//! what is not set; the lines of its buffers (`txn`, `req`, `res`) are left out.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::fd::RawFd;
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
    /// The worker's number, from 0.
    worker: u32,
    /// The client's descriptor.
    client: RawFd,
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
        worker: u32::try_from(session.worker.index()).unwrap_or(u32::MAX),
        client: session.client,
        source: session.src.borrow().clone(),
        accepted_at: session.accepted_at,
        age_s: carried.since.elapsed().as_secs(),
        frontend: part(carried.frontend),
        listener: (
            shown_name(&session.listener.name, session.listener.number),
            session.listener.number,
            session.dst.borrow().clone(),
        ),
        backend: carried.backend.map(part),
        server,
    })
}

/// One without a name of its own has none here.
fn shown_name(name: &str, number: u32) -> String {
    if name.strip_prefix("sock-").is_some_and(|rest| rest.parse() == Ok(number)) {
        return "?".to_owned();
    }
    name.to_owned()
}

fn write_line(session: &Shown, out: &mut String) {
    let backend = session.backend.as_ref().map_or("<NONE>", |(name, ..)| name);
    let server = session.server.as_ref().map_or("<none>", |(name, ..)| name);
    _ = writeln!(
        out,
        "{:#x}: proto={} src={} fe={} be={backend} srv={server} ts=00 epoch=0 age={} calls=0 rate=0 cpu=0 lat=0 \
         rq[{CHANNEL}] rp[{CHANNEL}] scf=[{ESTABLISHED},0h,fd={}] scb=[{},0h,fd=-1] exp= rc=0 c_exp=",
        session.id,
        protocol(&session.source),
        address(&session.source),
        session.frontend.0,
        age(session.age_s),
        session.client,
        session.server_side().0,
    );
}

fn write_whole(session: &Shown, out: &mut String) {
    let mut date = Vec::new();
    Stamp::from(session.accepted_at).write_log_micros(&mut date);
    let (name, number, mode) = &session.frontend;
    let (listener, listener_number, local) = &session.listener;
    let protocol = protocol(&session.source);
    _ = write!(
        out,
        "{:#x}: [{}] id={} proto={protocol} source={}\n  \
         flags=0x0, conn_retries=0, conn_exp=<NEVER> conn_et=0x000 srv_conn=(nil), pend_pos=(nil) waiting=0 epoch=0\n  \
         frontend={name} (id={number} mode={mode}), listener={listener} (id={listener_number}) addr={}\n",
        session.id,
        String::from_utf8_lossy(&date),
        session.id,
        address(&session.source),
        address(local),
    );
    match &session.backend {
        Some((name, number, mode)) => {
            _ = writeln!(out, "  backend={name} (id={number} mode={mode})");
        }
        None => out.push_str("  backend=<NONE> (id=-1 mode=-)\n"),
    }
    match &session.server {
        Some((name, number, reached)) => {
            _ = write!(out, "  server={name} (id={number})");
            if let Some(reached) = reached {
                _ = write!(out, " addr={}", address(reached));
            }
            out.push('\n');
        }
        None => out.push_str("  server=<NONE> (id=-1)\n"),
    }
    let thread = 1_u128.checked_shl(session.worker).unwrap_or(0);
    let mux = if *mode == "http" { "H1" } else { "PASS" };
    _ = write!(
        out,
        "  task={:#x} (state=0x00 nice=0 calls=0 rate=0 exp=<NEVER> tmask={thread:#x} age={})\n  \
         scf=(nil) flags=0x00000000 state=EST endp=CONN,(nil),0x00000000 sub=0\n      \
         co0=(nil) ctrl={protocol} xprt=RAW mux={mux} data=STRM target=LISTENER:(nil)\n      \
         flags=0x00000000 fd={} fd.state=00 updt=0 fd.tmask={thread:#x}\n  \
         scb=(nil) flags=0x00000000 state={} endp=NONE,(nil),0x00000000 sub=0\n",
        session.id,
        age(session.age_s),
        session.client,
        session.server_side().1,
    );
}

/// Flags, bytes and deadlines of one direction, which are not kept where others could see them.
const CHANNEL: &str = "f=000000h,i=0,an=00h,rx=,wx=,ax=";
/// HAProxy's number of a side that is connected.
const ESTABLISHED: u32 = 8;

impl Shown {
    /// How far the way to the server is, as HAProxy numbers and names it.
    fn server_side(&self) -> (u32, &'static str) {
        match (&self.backend, &self.server) {
            (None, _) => (0, "INI"),
            // It waits for its turn or for the connection.
            (Some(_), None) => (2, "QUE"),
            (Some(_), Some(_)) => (ESTABLISHED, "EST"),
        }
    }
}

/// An address as HAProxy writes it here: without brackets, and unix sockets by a number.
fn address(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Inet(address) => format!("{}:{}", address.ip(), address.port()),
        _ => "unix:1".to_owned(),
    }
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
            worker: 1,
            client: 12,
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
            "0x1e: proto=tcpv4 src=127.0.0.1:47400 fe=fe be=be1 srv=<none> ts=00 epoch=0 age=2m5s calls=0 rate=0 \
             cpu=0 lat=0 rq[f=000000h,i=0,an=00h,rx=,wx=,ax=] rp[f=000000h,i=0,an=00h,rx=,wx=,ax=] scf=[8,0h,fd=12] \
             scb=[2,0h,fd=-1] exp= rc=0 c_exp=\n"
        );
        let mut whole = String::new();
        write_whole(&session(), &mut whole);
        let (_, lines) = whole.split_once('\n').unwrap();
        assert_eq!(
            lines,
            "  flags=0x0, conn_retries=0, conn_exp=<NEVER> conn_et=0x000 srv_conn=(nil), pend_pos=(nil) waiting=0 epoch=0\n  \
             frontend=fe (id=2 mode=http), listener=sock-1 (id=1) addr=127.0.0.1:80\n  \
             backend=be1 (id=3 mode=http)\n  server=<NONE> (id=-1)\n  \
             task=0x1e (state=0x00 nice=0 calls=0 rate=0 exp=<NEVER> tmask=0x2 age=2m5s)\n  \
             scf=(nil) flags=0x00000000 state=EST endp=CONN,(nil),0x00000000 sub=0\n      \
             co0=(nil) ctrl=tcpv4 xprt=RAW mux=H1 data=STRM target=LISTENER:(nil)\n      \
             flags=0x00000000 fd=12 fd.state=00 updt=0 fd.tmask=0x2\n  \
             scb=(nil) flags=0x00000000 state=QUE endp=NONE,(nil),0x00000000 sub=0\n"
        );
    }

    #[test]
    fn addresses_and_listeners_are_named_as_haproxy_names_them() {
        assert_eq!(address(&Endpoint::Inet("[::1]:80".parse().unwrap())), "::1:80");
        assert_eq!(address(&Endpoint::Unix("/a".into())), "unix:1");
        assert_eq!(shown_name("sock-3", 3), "?");
        assert_eq!(shown_name("web", 3), "web");
    }

    #[test]
    fn numbers_of_sessions_are_hexadecimal() {
        assert_eq!(id_of("0x1e"), Some(30));
        assert_eq!(id_of("1e"), Some(30));
        assert_eq!(id_of("x"), None);
    }
}
