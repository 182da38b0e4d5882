//! What follows from an agent's line: first what it asks for, then weight and limit, then its server's health.
//!
//! What it does not say stays as it is; so does everything when it cannot be reached, since whether the server works is
//! for checks to find out. A line that is not understood is logged once, until it says something else.

use std::time::Duration;

use telamon_balance::agent::{AgentHealth, AgentLine, AgentOrder};
use telamon_balance::member::Progress;

use super::{Level, Order, Place, Site, lines, order, set_maxconn, set_weight};
use crate::check::{Answer, CheckStatus, Finding};
use crate::snapshot::Snapshot;
use crate::worker::Shared;

/// Takes in what an agent answered.
pub(crate) fn agent_answered(
    shared: &Shared,
    snapshot: &Snapshot,
    place: Place,
    answer: Answer,
    took: Duration,
) {
    let Some(site) = Site::new(shared, snapshot, place) else { return };
    let line = match &answer {
        Answer::Line(bytes) => AgentLine::parse(bytes),
        Answer::Failed(_) => None,
    };
    let Some(line) = line else {
        let Answer::Failed(finding) = answer else { return };
        let broken_off = finding.status == CheckStatus::Checked;
        let complaint = broken_off.then_some("it breaks off within its line");
        let status = if broken_off { site.agent_status() } else { finding.status };
        return site.agent_said(Finding { status, ..finding }, None, complaint, took);
    };
    match line.admin {
        Some(AgentOrder::Ready) => _ = order(shared, snapshot, place, Order::Ready, ""),
        Some(AgentOrder::Drain) => _ = order(shared, snapshot, place, Order::Drain, ""),
        Some(AgentOrder::Maintenance) => _ = order(shared, snapshot, place, Order::Maintenance, ""),
        None => {}
    }
    if !line.usage.is_empty() {
        site.server.state.member.report_usage(&line.usage, shared.now_ms());
    }
    let weight = line.weight.map(|word| set_weight(shared, snapshot, place, word));
    let limit = line.maxconn.map(|word| set_maxconn(shared, snapshot, place, word));
    let warning = [weight, limit].into_iter().flatten().find_map(Result::err).map(str::trim_end);
    let finding = match (line.health, line.unknown, warning) {
        (Some(health), ..) => of_health(health, &line, warning),
        (None, Some(word), _) => neutral(&format!("agent reports an error : {word}")),
        (None, None, Some(warning)) => neutral(&format!("agent warns : {warning}")),
        (None, None, None) => neutral(""),
    };
    let unknown = line.unknown.map(|word| format!("unknown word '{word}'"));
    let complaint = unknown.as_deref().or(warning);
    site.agent_said(finding, line.health, complaint, took);
}

/// What is reported of a line that speaks of health. A reason for being down is never covered by a complaint.
fn of_health(health: AgentHealth, line: &AgentLine<'_>, warning: Option<&str>) -> Finding {
    let complaint = line.unknown.or(warning);
    let text = match complaint {
        Some(complaint) if health.is_up() || line.description.is_empty() => complaint,
        _ => line.description,
    };
    let text = match text {
        "" => format!("via agent : {}", line.health_word),
        text => format!("via agent : {} ({text})", line.health_word),
    };
    Finding::new(if health.is_up() { CheckStatus::L7Ok } else { CheckStatus::L7Status }, text)
}

fn neutral(text: &str) -> Finding {
    Finding::new(CheckStatus::Checked, text)
}

impl Site<'_> {
    fn agent_status(&self) -> CheckStatus {
        self.server.state.probing().agent_report.status
    }

    /// Reports what an agent said, and lets the server go where it says.
    fn agent_said(
        &self,
        finding: Finding,
        health: Option<AgentHealth>,
        complaint: Option<&str>,
        took: Duration,
    ) {
        let (same, repeated, report) = {
            let report = &mut self.server.state.probing().agent_report;
            let same = report.status == finding.status;
            let repeated = same && report.text == finding.text;
            report.take(finding, Some(took));
            (same, repeated, report.clone())
        };
        if let Some(complaint) = complaint.filter(|_| !repeated) {
            let (proxy, server) = (&self.proxy.name, &self.server.name);
            let complaint = complaint.trim_end_matches('.').replace(char::is_control, " ");
            self.say(
                Level::Notice,
                &format!("Agent of server {proxy}/{server} is not understood: {complaint}."),
            );
        }
        let counts = !self.server.state.checks_disabled.load(super::Relaxed);
        let change = self.change(|status, now_ms| {
            if let Some(health) = health {
                _ = status.on_agent(health.is_up(), counts, now_ms);
            }
            if let (true, false, Some(result)) = (self.logs_checks(), same, report.status.result())
            {
                let up = status.status().agent != telamon_balance::AgentState::Down;
                let progress = Progress { health: u16::from(up), rise: 1, fall: 1 };
                let line = lines::check(self, "Agent", &report, result, Some(progress));
                self.say(Level::Notice, &line);
            }
        });
        self.changed(change, &self.reason(&report));
    }
}
