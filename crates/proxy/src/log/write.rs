//! When a line is written, and with which level.

use std::cell::{Cell, RefCell};
use std::io::Write as _;

use super::facts::pid;
use super::send::to_all;
use super::target::Origin;
use super::termination::Cause;
use super::variable::{Facts, Peer, write_ip};
use super::{Level, LogFormat, LogTarget};
use crate::model::{Global, LogSettings, Mode, Options, Proxy};
use crate::stream::{Context, Direction, LogState, Session, Stream};

/// Writes the short line of a frontend that has targets and no format, `Connect from …`. To be called for each request
/// and each TCP session when it begins; it does nothing where there is a format.
pub fn log_accept(session: &Session) {
    let frontend = session.snapshot.proxy(session.frontend);
    if frontend.log.targets.is_empty() || frontend.log.format.is_some() {
        return;
    }
    let facts = Facts::of_session(
        &session.snapshot,
        session,
        &LogState::new(session.accepted, session.accepted_at),
    );
    with_buffers(|text, _| {
        write_accept(&facts, frontend.mode, text);
        emit(&frontend.log, Level::Info, text, b"");
    });
}

/// Writes the line of a request or TCP session to the targets of its frontend, if it deserves one and has none yet
/// ([`log_early`]): to be called when it has ended.
///
/// A request that was not understood or never came whole has no `request_line`; its line says `<BADREQ>`, in
/// `error-log-format` if there is one.
pub fn log_stream(stream: &Stream) {
    let frontend = stream.snapshot.proxy(stream.frontend);
    let settings = &frontend.log;
    if settings.targets.is_empty() || stream.log.logged.get() {
        return;
    }
    let bad = frontend.mode == Mode::Http && stream.request_line.is_empty();
    let (format, level) = if bad {
        // Nothing came at all: a probe.
        let wanted = !frontend.options.dontlognull || !stream.request.remaining().is_empty();
        (settings.for_errors(), wanted.then(|| error_level(&frontend.options)))
    } else {
        let level = level_of(&stream.log, &frontend.options, frontend.mode);
        (settings.format.as_deref(), level)
    };
    let (Some(format), Some(level)) = (format, level) else { return };
    if !bad {
        unique_id(stream);
    }
    stream.log.logged.set(true);
    let wants_more = Cell::new(false);
    let cx = Context::for_stream(stream, Direction::Request, &wants_more);
    write_formatted(settings, format, level, &Facts::of_stream(&stream.session, stream), &cx);
}

/// Writes the line of a frontend with `option logasap`, or with a format that names nothing that comes later, while the
/// stream goes on: to be called once its response head of `head_len` bytes is there, in `mode tcp` once its server is
/// connected (`head_len` 0). Does nothing for others.
pub fn log_early(stream: &mut Stream, head_len: u64) {
    let snapshot = stream.snapshot.clone();
    let frontend = snapshot.proxy(stream.frontend);
    let waits = frontend.log.format.as_ref().is_none_or(|format| format.waits_for_end());
    if waits && !frontend.options.logasap {
        return;
    }
    let log = &mut stream.log;
    let final_values = (log.total_ms, log.bytes_out);
    (log.total_ms, log.bytes_out) = (log.response_ms.or(log.connect_ms), head_len);
    log_stream(stream);
    (stream.log.total_ms, stream.log.bytes_out) = final_values;
}

/// Writes the line of a connection that failed before its first request could be read, such as one without the PROXY
/// protocol's header: in `error-log-format` if there is one, else in HAProxy's short form with `message`.
pub fn log_connection_error(session: &Session, message: &str, received: bool) {
    let frontend = session.snapshot.proxy(session.frontend);
    let mut log = LogState::new(session.accepted, session.accepted_at);
    log.end(session.worker.touch());
    log.cause = Cause::Proxy;
    log.phase = super::Phase::Request;
    let settings = &frontend.log;
    // HAProxy writes nothing where lines of traffic have no format, although it does not use it here.
    if settings.targets.is_empty()
        || settings.for_errors().is_none()
        || frontend.options.dontlognull && !received
    {
        return;
    }
    let level = error_level(&frontend.options);
    let facts = Facts::of_session(&session.snapshot, session, &log);
    if let Some(format) = settings.error_format.as_deref() {
        let wants_more = Cell::new(false);
        let cx = Context::for_session(session, &wants_more);
        return write_formatted(settings, format, level, &facts, &cx);
    }
    with_buffers(|text, _| {
        write_connection_error(&facts, &session.listener.name, message, text);
        emit(settings, level, text, b"");
    });
}

/// Writes a message about a proxy to its own targets: `Server b/s1 is DOWN, …`.
pub fn send(level: Level, proxy: &Proxy, text: &str) {
    emit(&proxy.log, level, text.as_bytes(), b"");
}

/// Writes a message about the process to the targets of `global`.
pub fn send_global(level: Level, global: &Global, text: &str) {
    let hostname = global.log_send_hostname.as_deref();
    let tag = global.log_tag.as_deref().unwrap_or(TAG_DEFAULT);
    let origin = Origin { tag, hostname, pid: pid(), structured_data: b"" };
    to_all(global.log.iter().map(|target| &**target), level, &origin, text.as_bytes());
}

/// The id of a request by `unique-id-format`, made when it is first asked for; empty without a format.
pub fn unique_id(stream: &Stream) -> &[u8] {
    if let Some(id) = stream.unique_id.get() {
        return id;
    }
    let proxy = stream.snapshot.proxy(stream.frontend);
    let Some(format) = &proxy.unique_id_format else { return b"" };
    let wants_more = Cell::new(false);
    let mut id = Vec::new();
    // Not within `get_or_init`: the format may name `%ID`, which is then empty.
    format.render(&Context::for_stream(stream, Direction::Request, &wants_more), &mut id);
    stream.unique_id.get_or_init(|| id.into())
}

impl LogSettings {
    /// The format of lines about what was no request.
    fn for_errors(&self) -> Option<&LogFormat> {
        self.error_format.as_deref().or(self.format.as_deref())
    }
}

/// The level of a line, or `None` where no line is wanted.
fn level_of(log: &LogState, options: &Options, mode: Mode) -> Option<Level> {
    let failed = !matches!(log.cause, Cause::None | Cause::Local)
        || log.redispatched
        || log.cause == Cause::None && log.retries > 0
        || mode == Mode::Http && log.status >= 500;
    // A request has bytes; a TCP session may have been a probe.
    let probe = mode == Mode::Tcp && log.bytes_in == 0;
    if !failed && options.dontlog_normal || probe && options.dontlognull {
        return None;
    }
    match log.level {
        Some(level) => level,
        None if failed => Some(error_level(options)),
        None => Some(Level::Info),
    }
}

fn error_level(options: &Options) -> Level {
    if options.log_separate_errors { Level::Error } else { Level::Info }
}

fn write_accept(facts: &Facts<'_>, mode: Mode, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Connect ");
    match (facts.client, facts.local) {
        (Some(Peer::Ip(from)), local) => {
            out.extend_from_slice(b"from ");
            write_ip(from.ip(), out);
            _ = write!(out, ":{} to ", from.port());
            match local {
                Some(Peer::Ip(to)) => {
                    write_ip(to.ip(), out);
                    _ = write!(out, ":{}", to.port());
                }
                _ => out.extend_from_slice(b"undetermined address:0"),
            }
        }
        (Some(Peer::Unix), _) => _ = write!(out, "to unix:{}", facts.listener),
        (None, _) => _ = write!(out, "from unknown source to listener {}", facts.listener),
    }
    let mode = if mode == Mode::Http { "HTTP" } else { "TCP" };
    _ = write!(out, " ({}/{mode})", facts.frontend);
}

fn write_connection_error(facts: &Facts<'_>, listener: &str, message: &str, out: &mut Vec<u8>) {
    match facts.client {
        Some(Peer::Ip(from)) => {
            write_ip(from.ip(), out);
            _ = write!(out, ":{} [", from.port());
        }
        Some(Peer::Unix) => _ = write!(out, "unix:{} [", facts.listener),
        None => out.extend_from_slice(b"unknown ["),
    }
    facts.started.write_log(out);
    // A listener without a name of its own is its number here and `sock-N` in the statistics.
    let listener = listener.strip_prefix("sock-").unwrap_or(listener);
    _ = write!(out, "] {}/{listener}: {message}", facts.frontend);
}

fn write_formatted(
    settings: &LogSettings,
    format: &LogFormat,
    level: Level,
    facts: &Facts<'_>,
    cx: &Context<'_>,
) {
    with_buffers(|text, structured| {
        if let Some(format) = settings.format_sd.as_deref() {
            format.render_with(Some(facts), cx, structured);
        }
        format.render_with(Some(facts), cx, text);
        settings.lines.count();
        emit(settings, level, text, structured);
    });
}

fn emit(settings: &LogSettings, level: Level, text: &[u8], structured_data: &[u8]) {
    let origin = Origin {
        tag: settings.tag.as_deref().unwrap_or(TAG_DEFAULT),
        hostname: settings.send_hostname.as_deref(),
        pid: pid(),
        structured_data,
    };
    to_all(settings.targets.iter().map(|target| -> &LogTarget { target }), level, &origin, text);
}

/// Lends this thread's two buffers, empty.
fn with_buffers(write: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) {
    thread_local! {
        static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::default();
    }
    BUFFERS.with_borrow_mut(|(text, structured)| {
        text.clear();
        structured.clear();
        write(text, structured);
    });
}

/// `log-tag` unless set. HAProxy's own name, since the filters of syslog daemons look for it (Debian's does).
const TAG_DEFAULT: &str = "haproxy";

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::tests::answered;
    use super::*;

    /// Lines from HAProxy 2.6.12, as those of `log/tests.rs`.
    #[test]
    fn short_lines() {
        #[track_caller]
        fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
            let mut out = Vec::new();
            write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        let tcp = Facts { frontend: "short", ..answered(&[], &[]) };
        check(
            |out| write_accept(&tcp, Mode::Http, out),
            "Connect from 127.0.0.1:41830 to 127.0.0.1:15101 (short/HTTP)",
        );
        check(
            |out| write_accept(&tcp, Mode::Tcp, out),
            "Connect from 127.0.0.1:41830 to 127.0.0.1:15101 (short/TCP)",
        );
        let message = "Received something which does not look like a PROXY protocol header";
        check(
            |out| write_connection_error(&tcp, "sock-1", message, out),
            "127.0.0.1:41830 [20/Nov/2026:14:59:45.821] short/1: Received something which does \
             not look like a PROXY protocol header",
        );
        let unix = Facts { client: Some(Peer::Unix), local: Some(Peer::Unix), ..tcp };
        check(|out| write_accept(&unix, Mode::Http, out), "Connect to unix:1 (short/HTTP)");
        check(
            |out| write_connection_error(&unix, "web", "x", out),
            "unix:1 [20/Nov/2026:14:59:45.821] short/web: x",
        );
    }

    #[test]
    fn options_choose_lines_and_levels() {
        #[track_caller]
        fn check(
            mode: Mode,
            change: impl FnOnce(&mut LogState, &mut Options),
            expected: Option<Level>,
        ) {
            let mut log = LogState::new(telamon_runtime::Moment::now(), SystemTime::now());
            log.bytes_in = 100;
            let mut options = Options::default();
            change(&mut log, &mut options);
            assert_eq!(level_of(&log, &options, mode), expected);
        }
        let (info, error) = (Some(Level::Info), Some(Level::Error));
        check(Mode::Http, |_, _| {}, info);
        check(Mode::Http, |_, options| options.log_separate_errors = true, info);
        check(Mode::Http, |_, options| options.dontlog_normal = true, None);
        check(Mode::Tcp, |log, _| log.bytes_in = 0, info);
        let null = |log: &mut LogState, options: &mut Options| {
            log.bytes_in = 0;
            options.dontlognull = true;
        };
        check(Mode::Tcp, null, None);
        check(Mode::Http, null, info);

        fn both(log: &mut LogState, options: &mut Options, change: impl FnOnce(&mut LogState)) {
            options.dontlog_normal = true;
            options.log_separate_errors = true;
            change(log);
        }
        check(Mode::Http, |l, o| both(l, o, |log| log.status = 503), error);
        check(Mode::Tcp, |l, o| both(l, o, |log| log.status = 503), None);
        check(Mode::Http, |l, o| both(l, o, |log| log.status = 404), None);
        check(Mode::Http, |l, o| both(l, o, |log| log.retries = 1), error);
        check(Mode::Http, |l, o| both(l, o, |log| log.redispatched = true), error);
        check(Mode::Http, |l, o| both(l, o, |log| log.cause = Cause::Local), None);
        check(Mode::Http, |l, o| both(l, o, |log| log.cause = Cause::Proxy), error);
        check(Mode::Http, |l, o| both(l, o, |log| log.cause = Cause::ClientTimeout), error);

        check(Mode::Http, |log, _| log.level = Some(Some(Level::Debug)), Some(Level::Debug));
        check(Mode::Http, |log, _| log.level = Some(None), None);
    }
}
