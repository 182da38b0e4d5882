//! What is wrong, in the order in which an operator wants to know it.

use telamon_balance::stats::{Column, Kind, Proxy};

use super::view::{check_of, class_of, duration, has_servers, left_of};
use crate::select::{number, text};

/// How bad a thing is; ordered, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Clients are refused.
    Bad,
    /// Something failed or is about to.
    Warn,
    /// As an operator wanted it.
    Note,
}

impl Level {
    /// The CSS class.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Note => "note",
        }
    }
}

/// One thing that is not as it should be.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) level: Level,
    pub(super) who: String,
    pub(super) what: String,
    /// The `id` on the page that it is about.
    pub(super) anchor: String,
}

/// The state of everything in one sentence.
pub(super) struct Verdict {
    /// `good`, `warn` or `bad`.
    pub(super) level: &'static str,
    pub(super) text: String,
}

/// Counts and finds what is wrong, proxy by proxy.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// At most [`PROBLEMS_MAX`] of each level.
    problems: Vec<Problem>,
    left_out: usize,
    counts: [usize; 3],
    backends_down: usize,
    servers_down: usize,
    pub(super) servers: usize,
    pub(super) servers_up: usize,
    pub(super) waiting: u64,
}

impl Summary {
    pub(super) fn add(&mut self, proxy: &Proxy) {
        for row in &proxy.rows {
            let name = text(row, Column::Pxname);
            let member = text(row, Column::Svname);
            let class = class_of(row);
            let since = || duration(number(row, Column::Lastchg));
            match row.kind {
                Kind::Backend => {
                    self.waiting += number(row, Column::Qcur);
                    let anchor = || format!("{name}/be/{member}");
                    if class == "down" {
                        self.backends_down += 1;
                        self.problem(
                            Level::Bad,
                            name.to_owned(),
                            format!("has no server left, for {}", since()),
                            anchor(),
                        );
                    } else if has_servers(row) && number(row, Column::Act) == 0 {
                        self.problem(
                            Level::Warn,
                            name.to_owned(),
                            "runs on its backup servers".to_owned(),
                            anchor(),
                        );
                    }
                    if number(row, Column::Qcur) > 0 {
                        let what =
                            format!("{} requests wait for a server", number(row, Column::Qcur));
                        self.problem(Level::Warn, name.to_owned(), what, anchor());
                    }
                }
                Kind::Server => {
                    self.servers += 1;
                    let who = format!("{name}/{member}");
                    let anchor = format!("{name}/sv/{member}");
                    match class {
                        "down" => {
                            self.servers_down += 1;
                            let mut what = format!("is down for {}", since());
                            let reason = reason(row);
                            if !reason.is_empty() {
                                what += &format!(": {reason}");
                            }
                            self.problem(Level::Warn, who, what, anchor);
                        }
                        "warn" => {
                            self.servers_up +=
                                usize::from(text(row, Column::Status).starts_with("UP"));
                            let what = format!("is {}, {}", text(row, Column::Status), reason(row));
                            self.problem(Level::Warn, who, what, anchor);
                        }
                        "maint" | "drain" => {
                            let status = text(row, Column::Status);
                            let mut what = format!("is in {status} for {}", since());
                            if let Some(left) = left_of(row) {
                                let plural = if left == 1 { "" } else { "s" };
                                what += &format!(": {left} session{plural} left");
                            }
                            self.problem(Level::Note, who, what, anchor);
                        }
                        _ => self.servers_up += 1,
                    }
                }
                Kind::Frontend | Kind::Listener => {
                    let anchor = || {
                        format!(
                            "{name}/{}/{member}",
                            if row.kind == Kind::Frontend { "fe" } else { "so" }
                        )
                    };
                    let (now, limit) = (number(row, Column::Scur), number(row, Column::Slim));
                    match class {
                        "stop" => self.problem(
                            Level::Bad,
                            name.to_owned(),
                            "is stopped".to_owned(),
                            anchor(),
                        ),
                        "full" => {
                            let what = format!("is full: {now} of {limit} sessions");
                            self.problem(Level::Bad, name.to_owned(), what, anchor());
                        }
                        _ if row.kind == Kind::Frontend && limit > 0 && now * 10 >= limit * 9 => {
                            let what = format!("is almost full: {now} of {limit} sessions");
                            self.problem(Level::Warn, name.to_owned(), what, anchor());
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let (level, text) = if self.backends_down > 0 {
            (
                "bad",
                format!("{} no server", plural(self.backends_down, "backend has", "backends have")),
            )
        } else if self.counts[Level::Bad as usize] > 0 {
            (
                "bad",
                plural(
                    self.counts[Level::Bad as usize],
                    "frontend refuses clients",
                    "frontends refuse clients",
                ),
            )
        } else if self.servers_down > 0 {
            ("warn", plural(self.servers_down, "server is down", "servers are down"))
        } else if self.counts[Level::Warn as usize] > 0 {
            (
                "warn",
                plural(self.counts[Level::Warn as usize], "thing to look at", "things to look at"),
            )
        } else {
            ("good", "Everything is in order".to_owned())
        };
        Verdict { level, text }
    }

    /// The worst first.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.level);
        if self.left_out > 0 {
            let what = "more of the same: filter the tables for “Not in order”".to_owned();
            let who = format!("and {}", self.left_out);
            self.problems.push(Problem { level: Level::Note, who, what, anchor: String::new() });
        }
        self.problems
    }

    fn problem(&mut self, level: Level, who: String, what: String, anchor: String) {
        let count = &mut self.counts[level as usize];
        *count += 1;
        if *count > PROBLEMS_MAX {
            self.left_out += 1;
        } else {
            self.problems.push(Problem { level, who, what, anchor });
        }
    }
}

/// Why a check has failed, as far as it is known.
fn reason(row: &telamon_balance::stats::Row) -> String {
    let detail = [Column::LastChk, Column::CheckDesc].map(|column| text(row, column));
    let detail = detail.into_iter().find(|text| !text.is_empty());
    [Some(check_of(row)).filter(|text| !text.is_empty()), detail.map(str::to_owned)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Problems of one level that are listed.
const PROBLEMS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use telamon_balance::stats::Row;

    fn row(kind: Kind, name: &'static str, status: &'static str) -> Row {
        let mut row = Row::new(kind);
        row.set(Column::Pxname, "web").set(Column::Svname, name).set(Column::Status, status);
        row.set(Column::Lastchg, 75_u64);
        row
    }

    #[track_caller]
    fn check(rows: Vec<Row>, verdict: &str, problems: &[&str]) {
        let mut summary = Summary::default();
        summary.add(&Proxy { description: None, rows });
        let found = summary.verdict();
        assert_eq!(format!("{}: {}", found.level, found.text), verdict);
        let shown: Vec<String> = summary
            .into_problems()
            .iter()
            .map(|problem| format!("{} {} {}", problem.level.class(), problem.who, problem.what))
            .collect();
        assert_eq!(shown, problems);
    }

    #[test]
    fn the_worst_comes_first() {
        let mut full = row(Kind::Frontend, "FRONTEND", "OPEN");
        full.set(Column::Scur, 95_u64).set(Column::Slim, 100_u64);
        let mut down = row(Kind::Server, "a", "DOWN");
        down.set(Column::CheckStatus, "L4CON").set(Column::LastChk, "Connection refused");
        check(
            vec![
                full,
                down,
                row(Kind::Server, "b", "MAINT"),
                row(Kind::Backend, "BACKEND", "DOWN"),
            ],
            "bad: 1 backend has no server",
            &[
                "bad web has no server left, for 1m 15s",
                "warn web is almost full: 95 of 100 sessions",
                "warn web/a is down for 1m 15s: L4CON, Connection refused",
                "note web/b is in MAINT for 1m 15s",
            ],
        );
    }

    #[test]
    fn quiet_when_all_is_well() {
        let mut backend = row(Kind::Backend, "BACKEND", "UP");
        backend.set(Column::Act, 1_u64);
        check(
            vec![
                row(Kind::Frontend, "FRONTEND", "OPEN"),
                row(Kind::Server, "a", "no check"),
                backend,
            ],
            "good: Everything is in order",
            &[],
        );
        // A listen section that only shows this page has no servers to miss.
        check(vec![row(Kind::Backend, "BACKEND", "UP")], "good: Everything is in order", &[]);
    }

    #[test]
    fn a_thousand_problems_stay_a_short_list() {
        let rows = vec![row(Kind::Server, "a", "DOWN"); 1000];
        let mut summary = Summary::default();
        summary.add(&Proxy { description: None, rows });
        assert_eq!(summary.verdict().text, "1000 servers are down");
        let problems = summary.into_problems();
        assert_eq!((problems.len(), problems[20].who.as_str()), (21, "and 980"));
    }
}
