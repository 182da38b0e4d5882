//! `clear counters`: the maxima alone, or with `all` everything that only grows.

use telamon_balance::member::Times;
use telamon_balance::{Load, PerWorker, RateCounter};
use telamon_runtime::api::{Answer, Invocation, Level};

use super::{Row, done, row};
use crate::model::Model;
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[row(
    &["clear", "counters"],
    Level::Operator,
    "[all]",
    "clear max statistics counters (or all counters)",
    clear,
)];

fn clear(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let all = call.args.first() == Some(&"all");
    if all && call.level < Level::Admin {
        return Err("Permission denied\n".to_owned());
    }
    let shared = &view.shared;
    clear_rates(&[&shared.connection_rate, &shared.session_rate, &shared.bytes_out_rate]);
    clear_proxies(&view.snapshot().model, all);
    done()
}

fn clear_proxies(model: &Model, all: bool) {
    for proxy in &model.proxies {
        let (front, back) = (&proxy.state.frontend, &proxy.state.backend);
        clear_object(&front.load, &front.counters, all);
        clear_rates(&[&front.connection_rate, &front.session_rate, &front.request_rate]);
        clear_object(&back.load, &back.counters, all);
        clear_rates(&[&back.session_rate]);
        clear_times(&back.times);
        if all {
            back.retries.reset();
        }
        for listener in proxy.frontend.iter().flat_map(|frontend| &frontend.listeners) {
            clear_object(&listener.state.load, &listener.state.counters, all);
        }
        let Some(backend) = &proxy.backend else { continue };
        backend.pool.load().reset_peaks();
        for server in &backend.servers {
            let member = &server.state.member;
            clear_object(&member.load, &member.counters, all);
            clear_rates(&[&member.rate]);
            clear_times(&member.times);
        }
    }
}

fn clear_object(load: &Load, counters: &PerWorker, all: bool) {
    load.reset_peaks();
    if all {
        counters.clear();
    }
}

fn clear_rates(rates: &[&RateCounter]) {
    rates.iter().for_each(|rate| rate.reset_max());
}

fn clear_times(times: &Times) {
    for timing in [&times.queue, &times.connect, &times.response, &times.total] {
        timing.reset_max();
    }
}
