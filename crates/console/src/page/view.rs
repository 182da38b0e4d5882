//! What the page shows of a row: every text, key to sort by and tip, made once for the HTML and the live numbers.

use telamon_balance::stats::{Column, Kind, Row, Value};

use crate::select::{number, text};

/// A column of the page's tables, after the name.
pub(super) struct Heading {
    pub(super) name: &'static str,
    /// Over the first of a group of columns.
    pub(super) group: &'static str,
    pub(super) about: &'static str,
    /// CSS: `l` left, `g` first of a group, `lo` not on phones, `xl` on wide screens only, `e` marked when it grows.
    pub(super) class: &'static str,
    /// In pixels, the same in every table so that columns stand under one another.
    pub(super) width: u16,
    cell: fn(&Row) -> Cell,
}

const fn heading(
    group: &'static str,
    name: &'static str,
    class: &'static str,
    width: u16,
    about: &'static str,
    cell: fn(&Row) -> Cell,
) -> Heading {
    Heading { name, group, about, class, width, cell }
}

#[rustfmt::skip]
pub(super) const HEADINGS: &[Heading] = &[
    heading("", "State", "l", 172, "State, and since when", |_| Cell::default()),
    heading("", "Last check", "l lo check", 136, "What the last check found and how long it took", check),
    heading("Sessions", "now", "g", 62, "Sessions at this moment", |row| count(row, Column::Scur)),
    heading("", "max", "lo xl", 44, "Most sessions at a time", |row| count(row, Column::Smax)),
    heading("", "limit", "xl", 48, "Sessions allowed at a time", |row| count(row, Column::Slim)),
    heading("", "total", "lo", 70, "Sessions since the start", |row| amount(row, Column::Stot)),
    heading("Rate", "/s", "g", 48, "Requests (mode tcp: sessions) in the last second", rate),
    heading("", "max", "xl", 48, "Most in one second", rate_max),
    heading("Queue", "now", "g lo", 50, "Requests that wait for a server", |row| count(row, Column::Qcur)),
    heading("", "max", "xl", 42, "Most that waited at a time", |row| count(row, Column::Qmax)),
    heading("Time", "ms", "g lo", 50, "From the request to the end of its response, average of the last 1024", |row| time(row, Column::Ttime)),
    heading("", "resp.", "xl", 48, "From the request's end to the response's head, average of the last 1024", |row| time(row, Column::Rtime)),
    heading("Bytes", "in", "g lo", 66, "Bytes from clients", |row| bytes(row, Column::Bin)),
    heading("", "out", "lo", 66, "Bytes to clients", |row| bytes(row, Column::Bout)),
    heading("Responses", "4xx", "g lo", 58, "Responses with a status from 400 to 499", |row| answers(row, Column::Hrsp4xx)),
    heading("", "5xx", "e", 52, "Responses with a status from 500 to 599", |row| answers(row, Column::Hrsp5xx)),
    heading("Errors", "req", "g lo e", 46, "Requests that were faulty or broken off", |row| amount(row, Column::Ereq)),
    heading("", "conn", "lo e", 46, "Connections to servers that failed", |row| amount(row, Column::Econ)),
    heading("", "resp", "lo e", 46, "Responses that were faulty or broken off", responses),
    heading("Retries", "retry", "g lo", 48, "Connections tried again", |row| amount(row, Column::Wretr)),
    heading("", "redisp", "lo", 50, "Requests given to another server", |row| amount(row, Column::Wredis)),
    heading("Denied", "all", "g xl", 52, "Requests and responses that a rule denied", denied),
    heading("Server", "weight", "g lo", 54, "Effective weight", weight),
    heading("", "act/bck", "xl", 58, "Active and backup servers that are used", used),
    heading("", "fails", "lo", 50, "Checks that failed, and times it went down", failures),
    heading("", "down for", "lo xl", 80, "Time spent down since the start", downtime),
];

/// What one row shows.
pub(super) struct RowView {
    /// Unique on the page and the same as long as the configuration is.
    pub(super) key: String,
    /// `fe`, `so`, `sv` or `be`.
    pub(super) kind: &'static str,
    /// CSS class of the state.
    pub(super) class: &'static str,
    pub(super) name: String,
    pub(super) label: String,
    pub(super) state: String,
    /// How long it has been in this state.
    pub(super) since: String,
    /// Address and cookie, when `stats show-legends` allows it.
    pub(super) legend: Option<String>,
    /// Whether actions can name it.
    pub(super) pick: bool,
    /// Those after the state.
    pub(super) cells: Vec<Cell>,
}

#[derive(Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// What it is sorted by, where that is not the text.
    pub(super) sort: Option<u64>,
    pub(super) title: Option<String>,
    pub(super) class: &'static str,
}

impl RowView {
    pub(super) fn of(row: &Row, shows_legends: bool) -> Self {
        let name = text(row, Column::Svname).to_owned();
        let kind = match row.kind {
            Kind::Frontend => "fe",
            Kind::Listener => "so",
            Kind::Server => "sv",
            Kind::Backend => "be",
        };
        Self {
            key: format!("{}/{kind}/{name}", text(row, Column::Pxname)),
            kind,
            class: class_of(row),
            label: match row.kind {
                Kind::Frontend => "Frontend".to_owned(),
                Kind::Backend => "Backend".to_owned(),
                _ => name.clone(),
            },
            name,
            state: state_of(row),
            since: row
                .get(Column::Lastchg)
                .map(|_| duration(number(row, Column::Lastchg)))
                .unwrap_or_default(),
            legend: legend(row).filter(|_| shows_legends),
            pick: row.kind == Kind::Server,
            cells: HEADINGS[1..]
                .iter()
                .map(|heading| Cell { class: heading.class, ..(heading.cell)(row) })
                .collect(),
        }
    }
}

/// CSS class of a row's state: `up`, `open`, `down`, `stop`, `warn`, `full`, `drain`, `maint` or `none`.
pub(super) fn class_of(row: &Row) -> &'static str {
    let status = text(row, Column::Status);
    let begins = |word: &str| status.starts_with(word);
    match () {
        () if begins("MAINT") => "maint",
        () if begins("DRAIN") => "drain",
        () if begins("NOLB") => "drain",
        () if begins("EJECTED") || begins("PROBATION") => "warn",
        () if begins("DOWN") && status.contains('/') && row.kind == Kind::Server => "warn", // on its way up
        () if begins("DOWN") => "down",
        () if begins("STOP") => "stop",
        () if begins("UP") && status.contains('/') && row.kind == Kind::Server => "warn", // on its way down
        () if begins("UP") => "up",
        () if begins("OPEN") => "open",
        () if begins("FULL") => "full",
        () => "none",
    }
}

/// A backend without servers of its own, such as one that only serves this page.
pub(super) fn has_servers(row: &Row) -> bool {
    number(row, Column::Act) + number(row, Column::Bck) > 0
}

fn state_of(row: &Row) -> String {
    let state = status_of(row);
    if row.note.is_empty() { state } else { format!("{state} ({})", row.note) }
}

fn status_of(row: &Row) -> String {
    let status = text(row, Column::Status);
    if row.kind == Kind::Server && !text(row, Column::Tracked).is_empty() {
        return format!("{status} ⇢ {}", text(row, Column::Tracked));
    }
    if row.kind == Kind::Server
        && number(row, Column::Throttle) > 0
        && number(row, Column::Throttle) < 100
    {
        return format!("{status} {}%", number(row, Column::Throttle));
    }
    if let Some(left) = left_of(row) {
        return format!("{status} · {left} left");
    }
    status.to_owned()
}

/// The sessions that a server still has which takes nothing new; `None` for others, and in maintenance where none is left.
pub(super) fn left_of(row: &Row) -> Option<u64> {
    let left = number(row, Column::Scur) + number(row, Column::Qcur);
    match class_of(row) {
        "drain" => Some(left),
        "maint" => Some(left).filter(|left| *left > 0),
        _ => None,
    }
    .filter(|_| row.kind == Kind::Server)
}

/// The last check of a server in a few words; empty where it has none.
pub(super) fn check_of(row: &Row) -> String {
    let status = text(row, Column::CheckStatus);
    if status.is_empty() {
        return String::new();
    }
    let mut shown = status.to_owned();
    if row.get(Column::CheckCode).is_some() {
        shown += &format!(" {}", number(row, Column::CheckCode));
    }
    shown
}

fn check(row: &Row) -> Cell {
    let mut shown = check_of(row);
    if shown.is_empty() {
        return Cell::default();
    }
    if row.get(Column::CheckDuration).is_some() {
        shown += &format!(" · {} ms", number(row, Column::CheckDuration));
    }
    let (about, detail) = (text(row, Column::CheckDesc), text(row, Column::LastChk));
    let between = if about.is_empty() || detail.is_empty() { "" } else { ": " };
    let health = format!(
        "{about}{between}{detail}\nhealth {} (rise {}, fall {})",
        number(row, Column::CheckHealth),
        number(row, Column::CheckRise),
        number(row, Column::CheckFall)
    );
    Cell { text: shown, title: Some(health), ..Cell::default() }
}

/// A number that stays small enough to be written out.
fn count(row: &Row, column: Column) -> Cell {
    if row.get(column).is_none() {
        return Cell::default();
    }
    Cell { text: number(row, column).to_string(), ..Cell::default() }
}

/// A number that may grow large: shortened, the exact one in the tip.
fn amount(row: &Row, column: Column) -> Cell {
    if row.get(column).is_none() {
        return Cell::default();
    }
    let exact = number(row, column);
    let title = (exact >= SHORTENED).then(|| exact.to_string());
    Cell { text: short(exact), sort: Some(exact), title, ..Cell::default() }
}

fn rate(row: &Row) -> Cell {
    if is_http_front(row) { count(row, Column::ReqRate) } else { count(row, Column::Rate) }
}

fn rate_max(row: &Row) -> Cell {
    if is_http_front(row) { count(row, Column::ReqRateMax) } else { count(row, Column::RateMax) }
}

fn is_http_front(row: &Row) -> bool {
    row.kind == Kind::Frontend && row.get(Column::ReqRate).is_some()
}

fn time(row: &Row, column: Column) -> Cell {
    if row.get(column).is_none() {
        return Cell::default();
    }
    let pair =
        |name, average, max| format!("{name} {} / {}", number(row, average), number(row, max));
    let title = [
        "average / longest, ms".to_owned(),
        pair("queue", Column::Qtime, Column::QtimeMax),
        pair("connect", Column::Ctime, Column::CtimeMax),
        pair("response", Column::Rtime, Column::RtimeMax),
        pair("total", Column::Ttime, Column::TtimeMax),
    ];
    Cell { text: number(row, column).to_string(), title: Some(title.join("\n")), ..Cell::default() }
}

fn bytes(row: &Row, column: Column) -> Cell {
    if row.get(column).is_none() {
        return Cell::default();
    }
    let exact = number(row, column);
    Cell {
        text: size(exact),
        sort: Some(exact),
        title: Some(format!("{exact} bytes")),
        ..Cell::default()
    }
}

fn answers(row: &Row, column: Column) -> Cell {
    if row.get(column).is_none() {
        return Cell::default();
    }
    let one = |name, column| format!("{name} {}", number(row, column));
    let title = [
        one("1xx", Column::Hrsp1xx),
        one("2xx", Column::Hrsp2xx),
        one("3xx", Column::Hrsp3xx),
        one("4xx", Column::Hrsp4xx),
        one("5xx", Column::Hrsp5xx),
        one("other", Column::HrspOther),
    ];
    let exact = number(row, column);
    Cell { text: short(exact), sort: Some(exact), title: Some(title.join("\n")), ..Cell::default() }
}

fn responses(row: &Row) -> Cell {
    let mut cell = amount(row, Column::Eresp);
    if row.get(Column::CliAbrt).is_some() {
        cell.title = Some(format!(
            "broken off during transfers: {} by clients, {} by servers",
            number(row, Column::CliAbrt),
            number(row, Column::SrvAbrt)
        ));
    }
    cell
}

fn denied(row: &Row) -> Cell {
    if row.get(Column::Dreq).is_none() && row.get(Column::Dresp).is_none() {
        return Cell::default();
    }
    let (requests, responses) = (number(row, Column::Dreq), number(row, Column::Dresp));
    let exact = requests + responses;
    let title = Some(format!("{requests} requests, {responses} responses"));
    Cell { text: short(exact), sort: Some(exact), title, ..Cell::default() }
}

fn weight(row: &Row) -> Cell {
    let mut cell = count(row, Column::Weight);
    if row.get(Column::Uweight).is_some() && row.get(Column::Uweight) != row.get(Column::Weight) {
        cell.title = Some(format!("configured or set: {}", number(row, Column::Uweight)));
    }
    cell
}

fn used(row: &Row) -> Cell {
    let (active, backup) = (number(row, Column::Act), number(row, Column::Bck));
    let shown = match row.kind {
        Kind::Backend => format!("{active}/{backup}"),
        Kind::Server if backup > 0 => "backup".to_owned(),
        Kind::Server if active > 0 => "active".to_owned(),
        _ => String::new(),
    };
    Cell { text: shown, ..Cell::default() }
}

fn failures(row: &Row) -> Cell {
    if row.get(Column::Chkfail).is_none() {
        return count(row, Column::Chkdown);
    }
    let (failed, down) = (number(row, Column::Chkfail), number(row, Column::Chkdown));
    let shown = if failed + down == 0 { "0".to_owned() } else { format!("{failed}/{down}") };
    Cell { text: shown, sort: Some(failed), ..Cell::default() }
}

fn downtime(row: &Row) -> Cell {
    if row.get(Column::Downtime).is_none() {
        return Cell::default();
    }
    let seconds = number(row, Column::Downtime);
    let shown = if seconds == 0 { "0".to_owned() } else { duration(seconds) };
    Cell { text: shown, sort: Some(seconds), ..Cell::default() }
}

fn legend(row: &Row) -> Option<String> {
    let mut parts = Vec::new();
    for (name, column) in [
        ("", Column::Addr),
        ("balance ", Column::Algo),
        ("cookie ", Column::Cookie),
        ("id ", Column::Sid),
    ] {
        if let Some(value) = row.get(column)
            && *value != Value::Unsigned(0)
        {
            parts.push(format!("{name}{value}"));
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Seconds in the two units that matter: `4s`, `3m 12s`, `2h 5m`, `9d 4h`.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86400 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// `999999`, `1.0M`, `23.4G`.
pub(super) fn short(number: u64) -> String {
    if number < SHORTENED {
        return number.to_string();
    }
    let mut value = number as f64 / 1e6;
    for unit in ["M", "G"] {
        if value < 1000.0 {
            return format!("{value:.1}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1}T")
}

/// `512`, `1.5K`, `3.2M` …, in steps of 1024.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut value = bytes as f64 / 1024.0;
    for unit in ["K", "M", "G", "T"] {
        if value < 1024.0 {
            return format!("{value:.1}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1}P")
}

/// From here on numbers are shortened.
const SHORTENED: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        let durations = [0, 59, 60, 3599, 3600, 86399, 86400, 700_000].map(duration);
        assert_eq!(
            durations.join(" | "),
            "0s | 59s | 1m 0s | 59m 59s | 1h 0m | 23h 59m | 1d 0h | 8d 2h"
        );
        let numbers = [0, 999_999, 1_000_000, 23_400_000_000, u64::MAX].map(short);
        assert_eq!(numbers.join(" "), "0 999999 1.0M 23.4G 18446744.1T");
        let sizes = [0, 1023, 1536, 5 << 20, 7 << 40].map(size);
        assert_eq!(sizes.join(" "), "0 1023 1.5K 5.0M 7.0T");
    }

    #[test]
    fn what_is_left_on_a_server_is_told() {
        #[track_caller]
        fn check(status: &'static str, sessions: u64, expected: &str) {
            let mut row = Row::new(Kind::Server);
            row.set(Column::Status, status).set(Column::Scur, sessions);
            assert_eq!(state_of(&row), expected);
        }
        check("UP", 3, "UP");
        check("DRAIN", 3, "DRAIN · 3 left");
        check("DRAIN (agent)", 0, "DRAIN (agent) · 0 left");
        check("NOLB 1/3", 1, "NOLB 1/3 · 1 left");
        check("MAINT", 1, "MAINT · 1 left");
        check("MAINT", 0, "MAINT");
    }

    #[test]
    fn states_have_a_color() {
        #[track_caller]
        fn check(kind: Kind, status: &'static str, class: &str) {
            let mut row = Row::new(kind);
            row.set(Column::Status, status);
            assert_eq!(class_of(&row), class);
        }
        check(Kind::Server, "UP", "up");
        check(Kind::Server, "UP 2/3", "warn");
        check(Kind::Server, "DOWN", "down");
        check(Kind::Server, "DOWN 1/2", "warn");
        check(Kind::Server, "DOWN (agent)", "down");
        check(Kind::Server, "MAINT (via b/s)", "maint");
        check(Kind::Server, "MAINT (resolution)", "maint");
        check(Kind::Server, "DRAIN (agent)", "drain");
        check(Kind::Server, "NOLB 1/3", "drain");
        check(Kind::Server, "no check", "none");
        check(Kind::Backend, "UP (4/6)", "up");
        check(Kind::Backend, "DOWN", "down");
        check(Kind::Frontend, "OPEN", "open");
        check(Kind::Listener, "FULL", "full");
        check(Kind::Frontend, "STOP", "stop");
    }
}
