//! The lines that HAProxy logs of servers.

use std::fmt::Write as _;

use telamon_balance::health::CheckResult;
use telamon_balance::member::Progress;
use telamon_balance::outlier::{self, Ejection};
use telamon_balance::{Admin, InUse, Run, Status};

use super::{Change, Site};
use crate::model::{Proxy, ServerAddress};
use crate::state::CheckReport;

/// Why a server went where it went.
pub(super) enum Reason<'r> {
    /// Nothing is said, or whom it tracks.
    None,
    Report(&'r CheckReport),
    Text(&'r str),
}

/// What a change did to units that wait.
pub(super) struct Moved {
    /// Waited for this server, and now for any.
    pub(super) requeued: u32,
    /// Got a slot.
    pub(super) granted: u32,
    /// The servers in use since, regular and backup.
    pub(super) usable: (u32, u32),
    /// Which servers took the requests before and since.
    pub(super) in_use: (InUse, InUse),
}

/// `Health check for server b/s failed, reason: …, status: 0/1 DOWN.`; `kind` is `Health` or `Agent`.
pub(super) fn check(
    site: &Site<'_>,
    kind: &str,
    report: &CheckReport,
    result: CheckResult,
    progress: Option<Progress>,
) -> String {
    let Site { proxy, server, .. } = site;
    let member = &server.state.member;
    let backup = if member.is_backup() { "backup " } else { "" };
    let outcome = match result {
        CheckResult::Passed => "succeeded",
        CheckResult::PassedConditionally => "conditionally succeeded",
        CheckResult::Failed => "failed",
    };
    let mut line =
        format!("{kind} check for {backup}server {}/{} {outcome}", proxy.name, server.name);
    append_report(report, &mut line);
    if let Some(checks) = progress {
        let up = checks.health >= checks.rise;
        let (have, need) = if up {
            (checks.health - checks.rise + 1, checks.fall)
        } else {
            (checks.health, checks.rise)
        };
        let word = match up {
            true if member.weight() == 0 => "DRAIN",
            true => "UP",
            false => "DOWN",
        };
        append(&mut line, format_args!(", status: {have}/{need} {word}"));
    }
    line.push('.');
    line
}

/// Too few servers are usable: health is ignored from here on.
pub(super) fn panic_begins(site: &Site<'_>, change: &Change) -> String {
    let threshold = site.backend.pool.options().panic_threshold;
    let counts = usable_of_all(site, change);
    format!("{counts}, less than {threshold}%: panic, health is ignored and all servers are used.")
}

/// Enough are usable again, or there are backups to go to.
pub(super) fn panic_ends(site: &Site<'_>, change: &Change) -> String {
    format!("{}: panic is over, health counts again.", usable_of_all(site, change))
}

/// `backend b has 1 of 4 servers usable`
fn usable_of_all(site: &Site<'_>, change: &Change) -> String {
    let regular = site.backend.servers.iter().filter(|s| !s.state.member.is_backup()).count();
    let (kind, name) = (kind(site.proxy), &site.proxy.name);
    format!("{kind} {name} has {} of {regular} servers usable", change.moved.usable.0)
}

/// `Server b/s is DOWN, reason: …. 0 active and 0 backup servers left. …`
pub(super) fn run(site: &Site<'_>, change: &Change, reason: &Reason<'_>) -> String {
    let mut line = begin(site);
    line.push_str(match change.to.run {
        Run::Stopped => " is DOWN",
        Run::Stopping => " is stopping",
        Run::Starting | Run::Running => " is UP",
    });
    match reason {
        Reason::Report(report) => append_report(report, &mut line),
        Reason::Text(text) => append(&mut line, format_args!(", {text}")),
        Reason::None => append_tracked(site, &mut line),
    }
    append_counts(site, change, &mut line);
    line
}

/// A server that goes into maintenance, or was down and now is in it.
pub(super) fn enters_maintenance(
    site: &Site<'_>,
    change: &Change,
    cause: &str,
    forced: bool,
) -> String {
    let was_down = change.from.run == Run::Stopped;
    let mut line = begin(site);
    line.push_str(if was_down {
        " was DOWN and now enters maintenance"
    } else {
        " is going DOWN for maintenance"
    });
    append_cause(site, cause, forced, &mut line);
    if was_down {
        line.push('.');
    } else {
        append_counts(site, change, &mut line);
    }
    line
}

pub(super) fn enters_drain(site: &Site<'_>, change: &Change, cause: &str, forced: bool) -> String {
    let mut line = begin(site);
    line.push_str(" enters drain state");
    append_cause(site, cause, forced, &mut line);
    append_counts(site, change, &mut line);
    line
}

/// `Server b/s is UP/READY (leaving forced maintenance).`
pub(super) fn leaves_maintenance(site: &Site<'_>, change: &Change, flags: Admin) -> String {
    let mode = if change.to.admin.is_drained() { "DRAIN" } else { "READY" };
    if flags.has(Admin::MAINT_RESOLUTION) && !flags.has(Admin::MAINT_FORCED) {
        let (state, host) = (up_or_down(change.to), host(site));
        return format!("{} ('{host}') is {state}/{mode} (resolves again).", begin(site));
    }
    let how = if flags.has(Admin::MAINT_FORCED) {
        "leaving forced maintenance"
    } else {
        "leaving maintenance"
    };
    format!("{} is {}/{mode} ({how}).", begin(site), up_or_down(change.to))
}

/// One reason for maintenance has gone, another stays.
pub(super) fn remains_in_maintenance(site: &Site<'_>, cleared: Admin) -> String {
    let mut line = begin(site);
    if cleared.has(Admin::MAINT_FORCED) {
        line.push_str(" is leaving forced maintenance but remains in maintenance");
        append_tracked(site, &mut line);
    } else if cleared.has(Admin::MAINT_RESOLUTION) {
        append(
            &mut line,
            format_args!(" ('{}') resolves again but remains in maintenance", host(site)),
        );
        append_tracked(site, &mut line);
    } else {
        line.push_str(" remains in forced maintenance");
    }
    line.push('.');
    line
}

pub(super) fn leaves_drain(site: &Site<'_>, change: &Change) -> String {
    format!("{} is {} (leaving forced drain).", begin(site), up_or_down(change.to))
}

/// One reason for the drain has come or gone, another stays.
pub(super) fn remains_drained(site: &Site<'_>, admin: Admin) -> String {
    let mut line = begin(site);
    if admin.has(Admin::DRAIN_FORCED) {
        line.push_str(" remains in forced drain mode");
    } else {
        line.push_str(" is leaving forced drain but remains in drain mode");
        append_tracked(site, &mut line);
    }
    line.push('.');
    line
}

/// `Server b/s is ejected for 30s, reason: 5 failures in a row. 1 active …`
pub(super) fn ejected(site: &Site<'_>, change: &Change, ejection: &Ejection) -> String {
    let time_ms = ejection.until_ms - ejection.since_ms;
    let mut line = begin(site);
    append(&mut line, format_args!(" is ejected for {}, reason: ", seconds(time_ms)));
    line.push_str(&reason_of(ejection.reason));
    append_left(site, change, &mut line);
    line
}

/// `Server b/s is back from ejection after 30s. 2 active …`
pub(super) fn readmitted(site: &Site<'_>, change: &Change, lasted_ms: Option<u64>) -> String {
    let mut line = begin(site);
    line.push_str(" is back from ejection");
    if let Some(lasted_ms) = lasted_ms {
        append(&mut line, format_args!(" after {}", seconds(lasted_ms)));
    }
    append_counts(site, change, &mut line);
    line
}

/// `Server b/s has passed its probation.`
pub(super) fn proved(site: &Site<'_>) -> String {
    let mut line = begin(site);
    line.push_str(" has passed its probation.");
    line
}

/// Why a server is ejected, for people.
pub(crate) fn reason_of(reason: outlier::Reason) -> String {
    match reason {
        outlier::Reason::Failures(row) => format!("{row} failures in a row"),
        outlier::Reason::Probation => "a failure on probation".to_owned(),
        outlier::Reason::SuccessRate { percent, peers } => {
            format!("{percent}% of its requests succeed, {peers}% of its peers'")
        }
        outlier::Reason::Latency { ms, peers } => {
            format!("it takes {ms}ms to answer, its peers {peers}ms")
        }
    }
}

/// `30s`, or `1500ms`.
fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

/// What a proxy is called in these lines.
pub(super) fn kind(proxy: &Proxy) -> &'static str {
    match (proxy.frontend.is_some(), proxy.backend.is_some()) {
        (true, true) => "proxy",
        (true, false) => "frontend",
        _ => "backend",
    }
}

/// `Server b/s`
fn begin(site: &Site<'_>) -> String {
    let kind = if site.server.state.member.is_backup() { "Backup Server" } else { "Server" };
    format!("{kind} {}/{}", site.proxy.name, site.server.name)
}

/// The host whose addresses the server takes.
fn host(site: &Site<'_>) -> String {
    let written = || match &site.server.address {
        ServerAddress::Ip { host: Some(host), .. } => host.to_string(),
        _ => "(null)".to_owned(),
    };
    site.server.state.host().map_or_else(written, |host| host.to_string())
}

fn up_or_down(status: Status) -> &'static str {
    if status.run == Run::Stopped { "DOWN" } else { "UP" }
}

fn append_cause(site: &Site<'_>, cause: &str, forced: bool, line: &mut String) {
    if !cause.is_empty() {
        append(line, format_args!(" ({cause})"));
    }
    if !forced {
        append_tracked(site, line);
    }
}

fn append_tracked(site: &Site<'_>, line: &mut String) {
    if let Some((proxy, server)) = site.tracked() {
        append(line, format_args!(" via {}/{}", proxy.name, server.name));
    }
}

/// `, reason: Layer7 wrong status, code: 404, info: "Not Found", check duration: 1ms`
fn append_report(report: &CheckReport, line: &mut String) {
    append(line, format_args!(", reason: {}", report.status.description()));
    if report.status.has_code() {
        append(line, format_args!(", code: {}", report.code));
    }
    if !report.text.is_empty() {
        line.push_str(", info: \"");
        for byte in report.text.bytes() {
            match byte {
                b'<' | b'>' | b'"' => append(line, format_args!("<{byte:02X}>")),
                b' '..=b'~' => line.push(char::from(byte)),
                _ => append(line, format_args!("<{byte:02X}>")),
            }
        }
        line.push('"');
    }
    if let Some(duration) = report.duration_ms {
        append(line, format_args!(", check duration: {duration}ms"));
    }
}

/// `. 1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.`
fn append_counts(site: &Site<'_>, change: &Change, line: &mut String) {
    let (active, backup) = change.moved.usable;
    let on_backup = if backup > 0 && active == 0 { " Running on backup." } else { "" };
    if change.to.run == Run::Stopped {
        append_left(site, change, line);
    } else {
        let queued = site.server.state.member.load.queued();
        let up =
            matches!(change.to.run, Run::Running | Run::Starting) && !change.to.admin.is_drained();
        let requeued = if up { change.moved.granted } else { change.moved.requeued };
        append(
            line,
            format_args!(
                ". {active} active and {backup} backup servers online.{on_backup} {requeued} sessions requeued, {queued} total in queue."
            ),
        );
    }
}

/// The same where the server is out.
fn append_left(site: &Site<'_>, change: &Change, line: &mut String) {
    let (active, backup) = change.moved.usable;
    let load = &site.server.state.member.load;
    let on_backup = if backup > 0 && active == 0 { " Running on backup." } else { "" };
    append(
        line,
        format_args!(
            ". {active} active and {backup} backup servers left.{on_backup} {} sessions active, {} requeued, {} remaining in queue.",
            load.current(),
            change.moved.requeued,
            load.queued(),
        ),
    );
}

fn append(line: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = line.write_fmt(text);
}
