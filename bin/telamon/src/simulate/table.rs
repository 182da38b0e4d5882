//! What a simulation prints.

use std::fmt::Write as _;

use telamon_balance::simulate::{Report, Spread};

/// A table for each strategy and, where there are several, one that compares them.
pub(super) fn tables(reports: &[(String, Report)]) -> String {
    let mut text = String::new();
    for (name, report) in reports {
        text.push('\n');
        let mut rows = vec![heading(name)];
        rows.extend(report.members.iter().take(SERVERS_SHOWN).map(|member| {
            let (mean, most) = member.backlog;
            let mut row = vec![
                member.name.clone(),
                format!("{:.1}%", member.share * 100.0),
                member.assigned.to_string(),
                member.failed.to_string(),
                member.retried.to_string(),
                member.in_flight_max.to_string(),
                length(mean, most),
            ];
            row.extend(times(&member.latency));
            row
        }));
        let (mean, most) = report.queue;
        let assigned: u64 = report.members.iter().map(|member| member.assigned).sum();
        let retried: u64 = report.members.iter().map(|member| member.retried).sum();
        let mut all = vec![
            "all".to_owned(),
            String::new(),
            assigned.to_string(),
            report.failed.to_string(),
            retried.to_string(),
            String::new(),
            format!("queue {}", length(mean, most)),
        ];
        all.extend(times(&report.latency));
        rows.push(all);
        text.push_str(&aligned(&rows));
        if report.members.len() > SERVERS_SHOWN {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "  ({} servers more)", report.members.len() - SERVERS_SHOWN);
        }
    }
    if reports.len() > 1 {
        text.push('\n');
        text.push_str(&comparison(reports));
    }
    text
}

fn heading(name: &str) -> Vec<String> {
    let rest = ["share", "given", "errors", "retried", "in flight", "waiting", "p50", "p99", "max"];
    std::iter::once(name).chain(rest).map(str::to_owned).collect()
}

fn comparison(reports: &[(String, Report)]) -> String {
    let head = ["strategy", "errors", "p50", "p99", "max", "longest line", "largest share"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (name, report) in reports {
        let shares = report.members.iter().map(|member| member.share * 100.0);
        let line = report.members.iter().map(|member| member.backlog.1).max().unwrap_or(0);
        let mut row = vec![name.clone(), report.failed.to_string()];
        row.extend(times(&report.latency));
        row.push(line.max(report.queue.1).to_string());
        row.push(format!("{:.1}%", shares.fold(0.0, f64::max)));
        rows.push(row);
    }
    aligned(&rows)
}

fn times(spread: &Spread) -> [String; 3] {
    [spread.p50_us, spread.p99_us, spread.max_us]
        .map(|us| if us == 0 { "-".to_owned() } else { time(us) })
}

/// A mean length and the longest.
fn length(mean: f64, most: u32) -> String {
    if most == 0 { "0".to_owned() } else { format!("{mean:.1} ({most})") }
}

/// Three digits and a unit: `840us`, `12.3ms`, `1.52s`.
pub(super) fn time(us: u64) -> String {
    let of = |unit: u64, name: &str| {
        let value = us as f64 / unit as f64;
        let digits = if value >= 100.0 {
            0
        } else if value >= 10.0 {
            1
        } else {
            2
        };
        let text = format!("{value:.digits$}");
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        format!("{text}{name}")
    };
    match us {
        0..1000 => format!("{us}us"),
        1000..1_000_000 => of(1000, "ms"),
        _ => of(1_000_000, "s"),
    }
}

/// The first column to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            rows.iter().filter_map(|row| Some(row.get(at)?.chars().count())).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing into a String cannot fail.
            let _ = match at {
                0 => write!(line, "{cell:<width$}", width = (*width).max(FIRST_WIDTH)),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Servers that have a line of their own.
const SERVERS_SHOWN: usize = 50;

const FIRST_WIDTH: usize = 12;
