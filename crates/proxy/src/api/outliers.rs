//! `show outliers`, `show breakers` and `show retry-budget`: what is made of failing traffic, and what limits keep from
//! servers. Our own; HAProxy has none of them.

use std::fmt::Write as _;

use telamon_balance::Standing;
use telamon_runtime::api::{Answer, Invocation, Level};

use super::{Row, backends, row, text};
use crate::model::Server;
use crate::state_change::reason_of;
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["show", "outliers"],
        Level::User,
        "[<backend>]",
        "show which servers are ejected, since when and why",
        show_outliers,
    ),
    row(
        &["show", "breakers"],
        Level::User,
        "[<backend>]",
        "show how near servers are to the limits at which requests fail at once",
        show_breakers,
    ),
    row(
        &["show", "retry-budget"],
        Level::User,
        "[<backend>]",
        "show what of the retry budgets is used",
        show_budgets,
    ),
];

fn show_outliers(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let (snapshot, now_ms) = (view.snapshot(), view.shared.now_ms());
    let mut out = String::from("# backend server state since_s left_s ejections reason\n");
    for proxy in backends(&snapshot.model, call.args.first())? {
        let Some(backend) = proxy.backend.as_ref().filter(|b| b.outlier_ejection.is_some()) else {
            continue;
        };
        let outliers = proxy.state.backend.outliers();
        for (at, server) in backend.servers.iter().enumerate() {
            let name = format!("{} {}", proxy.name, server.name);
            let total = outliers.total(at);
            // Writing to a `String` cannot fail.
            _ = match outliers.ejection(at) {
                Some(ejection) => writeln!(
                    out,
                    "{name} ejected {} {} {total} {}",
                    now_ms.saturating_sub(ejection.since_ms) / 1000,
                    ejection.until_ms.saturating_sub(now_ms).div_ceil(1000),
                    reason_of(ejection.reason),
                ),
                None if server.state.notes.tally.on_probation() => {
                    writeln!(out, "{name} probation - - {total} -")
                }
                None => writeln!(out, "{name} in - - {total} -"),
            };
        }
    }
    text(out)
}

fn show_breakers(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let snapshot = view.snapshot();
    let mut out = String::from(
        "# backend server circuit in_flight max_requests queued queue_max turned_away ejections\n",
    );
    for proxy in backends(&snapshot.model, call.args.first())? {
        let Some(backend) = &proxy.backend else { continue };
        let limited = |server: &&Server| {
            let limits = server.member_config.limits;
            limits.max_requests > 0 || limits.maxqueue > 0
        };
        let ejects = backend.outlier_ejection.is_some();
        let queue_max = backend.pool.options().queue_max;
        let servers = || backend.servers.iter().filter(|server| ejects || limited(server));
        if queue_max == 0 && servers().next().is_none() {
            continue;
        }
        let mut ejections = 0;
        for server in servers() {
            let (member, limits) = (&server.state.member, server.state.member.limits());
            let circuit = match member.status().standing {
                Standing::In => "closed",
                Standing::Probation => "half-open",
                Standing::Ejected => "open",
            };
            let times = proxy.state.backend.outliers().total(server.index as usize);
            ejections += times;
            _ = writeln!(
                out,
                "{} {} {circuit} {} {} {} {} {} {times}",
                proxy.name,
                server.name,
                member.load.current(),
                limits.max_requests,
                member.load.queued(),
                limits.maxqueue,
                member.turned_away(),
            );
        }
        _ = writeln!(
            out,
            "{} BACKEND - {} 0 {} {queue_max} {} {ejections}",
            proxy.name,
            backend.pool.load().current(),
            backend.pool.waiting(),
            backend.pool.turned_away(),
        );
    }
    text(out)
}

fn show_budgets(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let (snapshot, now_ms) = (view.snapshot(), view.shared.now_ms());
    let mut out = String::from("# backend percent min_s requests_s allowed_s retries_s refused\n");
    for proxy in backends(&snapshot.model, call.args.first())? {
        let budget = proxy.backend.as_ref().and_then(|backend| backend.retry_budget);
        let Some(budget) = budget else { continue };
        let state = &proxy.state.backend;
        let requests = state.session_rate.rate(now_ms as u32);
        _ = writeln!(
            out,
            "{} {} {} {requests} {} {} {}",
            proxy.name,
            budget.percent,
            budget.min_per_s,
            budget.allowed(requests),
            state.retries.rate(now_ms),
            state.retries.refused(),
        );
    }
    text(out)
}
