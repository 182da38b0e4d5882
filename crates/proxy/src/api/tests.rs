use std::rc::Rc;

use telamon_balance::stats::{Column, Kinds, Source as _};
use telamon_config::{Diagnostics, Environment, Source};
use telamon_runtime::api::find;
use telamon_runtime::bind::Neighbor;
use telamon_runtime::files::Direct;
use telamon_runtime::workers::{WorkerOptions, Workers};

use super::*;
use crate::load::{LoadOptions, load_source};
use crate::stats::Statistics;
use crate::worker::{Shared, Worker};

const CONFIGURATION: &str = "\
global
    maxconn 500
    set-var proc.five int(5)
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend fe
    bind 127.0.0.1:13080
    default_backend be1
backend be1
    server s1 127.0.0.1:13091 weight 5 maxconn 10 check inter 1h
    server s2 127.0.0.1:13092 backup
    server s3 127.0.0.1:13093 disabled
    server s4 127.0.0.1:13094 track be1/s1
    server s5 /run/s5.sock
backend be2
    balance static-rr
    server t1 [::1]:13091
";

/// Runs commands one after the other, and gives what the last one says.
#[track_caller]
fn check(lines: &[&str], expected: &str) {
    assert_eq!(with_view(|view| answers(view, lines)), expected, "{lines:?}");
}

fn answers(view: &View, lines: &[&str]) -> String {
    let commands = commands(view);
    let mut said = String::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let (command, args) = find(&commands, &words).expect("a command");
        said = match (command.run)(&Invocation { args, payload: None, level: Level::Admin }) {
            Answer::Text(text) | Answer::Failure(text) => text,
            Answer::Sockets(offers) => format!("{} sockets", offers.len()),
            Answer::Later(answer) => telamon_runtime::workers::block_on(answer),
            Answer::Parts(_) => panic!("no command of the proxy answers in parts"),
        };
    }
    said
}

pub(super) fn with_view<R>(run: impl FnOnce(&View) -> R) -> R {
    let mut source = Source::new();
    source.add("test.cfg", CONFIGURATION.as_bytes().to_vec());
    let files = Rc::new(Direct::new(Neighbor::Refused));
    let (options, environment) = (LoadOptions::default(), Environment::new());
    let loaded = load_source(&options, environment, files, source, Diagnostics::new());
    let told: Vec<_> = loaded.diagnostics.iter().map(|told| told.kind.explain().title).collect();
    let mut model = loaded.model.unwrap_or_else(|| panic!("{told:?}"));
    model.link_trackers();
    let shared = Arc::new(Shared::new(1, 500, telamon_runtime::service::channel().0));
    let snapshot = Arc::new(Snapshot { model, generation: 0 });
    state_change::begin(&shared, &snapshot);
    let options = WorkerOptions { count: 1, ..WorkerOptions::default() };
    let workers = Workers::start(&options, {
        let (shared, snapshot) = (Arc::clone(&shared), Arc::clone(&snapshot));
        move |thread| Worker::new(thread, Arc::clone(&shared), Arc::clone(&snapshot), 1)
    })
    .expect("a worker");
    let result = run(&View::new(snapshot, shared, workers.peers().clone()));
    workers.stop();
    workers.join();
    result
}

#[test]
fn servers_are_told_apart_from_what_does_not_exist() {
    check(&["disable server be1"], "Require 'backend/server'.\n");
    check(&["disable server x/y"], "No such backend.\n");
    check(&["disable server be1/nope"], "No such server.\n");
    check(&["show servers state nope"], "Can't find backend.\n");
    check(&["show backend"], "# name\nbe1\nbe2\n");
}

#[test]
fn orders_show_in_the_state() {
    #[track_caller]
    fn state(lines: &[&str], server: &str, expected: &str) {
        let dump = with_view(|view| {
            answers(view, lines);
            answers(view, &["show servers state"])
        });
        let line = dump.lines().find(|line| line.contains(&format!(" {server} ")));
        let words: Vec<&str> = line.expect("a line").split(' ').collect();
        // address, operational and administrative state, weights, health, state of checks, port
        let shown = [4, 5, 6, 7, 8, 12, 13, 18].map(|at| words[at]).join(" ");
        assert_eq!(shown, expected, "{lines:?}");
    }
    state(&["show backend"], "s1", "127.0.0.1 2 0 5 5 2 6 13091");
    state(&["show backend"], "s3", "127.0.0.1 0 5 1 1 0 8 13093");
    state(&["enable server be1/s3"], "s3", "127.0.0.1 2 4 1 1 2 8 13093");
    state(&["show backend"], "s5", "- 2 0 1 1 2 0 0");
    state(&["show backend"], "t1", "::1 2 0 1 1 2 0 13091");
    state(&["disable server be1/s1"], "s1", "127.0.0.1 0 1 5 5 0 14 13091");
    state(&["disable server be1/s1"], "s4", "127.0.0.1 0 2 1 1 0 0 13094");
    state(&["set server be1/s1 state drain"], "s1", "127.0.0.1 2 8 5 5 2 6 13091");
    state(&["set server be1/s1 state drain"], "s4", "127.0.0.1 2 16 1 1 2 0 13094");
    state(&["set server be1/s1 health down"], "s1", "127.0.0.1 0 0 5 5 0 6 13091");
    state(&["set server be1/s1 weight 50%"], "s1", "127.0.0.1 2 0 2 5 2 6 13091");
    state(&["set server be1/s1 addr ::1 port 7"], "s1", "::1 2 0 5 5 2 6 7");
}

#[test]
fn settings_of_servers_are_checked() {
    check(&["get weight be1/s1"], "5 (initial 5)\n");
    check(&["set weight be1/s1 3", "get weight be1/s1"], "3 (initial 5)\n");
    check(
        &["set weight be2/t1 3"],
        "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n",
    );
    check(&["set weight be2/t1 0%"], "");
    check(&["set server be1/s4 health up"], "cannot change health on a tracking server.\n");
    check(
        &["set server be1/s1 state x"],
        "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n",
    );
    check(&["set server be1/s1 addr x"], "Invalid addr 'x' by 'stats socket command'\n");
    check(
        &["set server be1/s1 addr 127.0.0.2 port 13092"],
        "IP changed from '127.0.0.1' to '127.0.0.2', port changed from '13091' to '13092' by \
         'stats socket command'\n",
    );
    check(
        &["enable health be1/s2"],
        "Health check was not configured on this server, cannot enable.\n",
    );
    check(&["set maxconn server be1/s1 12x"], "Trailing garbage in maxconn string");
}

#[test]
fn frontends_rest_and_stop() {
    check(&["disable frontend be1"], "No such frontend.\n");
    check(&["disable frontend fe"], "");
    check(&["disable frontend fe", "disable frontend fe"], "All sockets are already disabled.\n");
    check(&["enable frontend fe"], "All sockets are already enabled.\n");
    check(&["disable frontend fe", "enable frontend fe"], "");
    check(
        &["shutdown frontend fe", "enable frontend fe"],
        "Frontend was previously shut down, cannot enable.\n",
    );
    check(&["set maxconn global 501"], "Value out of range.\n");
    check(&["set rate-limit connections global 10"], "");
    check(&["set rate-limit sessions global"], "Expects an integer value.\n");
    check(&["set rate-limit sessions global ten"], "Expects an integer value.\n");
    check(&["set rate-limit ssl-sessions global -1"], "Value out of range.\n");
    check(&["set rate-limit http-compression global 4194304"], "Value out of range.\n");
    check(&["set maxconn frontend fe x"], "Integer value expected.\n");
}

#[test]
fn sessions_and_variables_are_looked_up() {
    check(&["show sess"], "");
    check(&["show sess 0x1"], "Session not found.\n");
    check(&["shutdown session 0x1"], "No such session (use 'show sess').\n");
    check(&["get var proc.none"], "Variable not found.\n");
    check(&["set var proc.x expr int(7)", "get var proc.x"], "proc.x: type=sint value=<7>");
    check(&["set var proc.x fmt a%[int(3)]", "get var proc.x"], "proc.x: type=str value=<a3>");
    check(
        &["set var txn.x expr int(7)"],
        "'set var': cannot set variable 'txn.x', only scope 'proc' is permitted here.",
    );
    check(&["show table"], "");
    check(&["clear counters all"], "");
}

#[test]
fn rows_say_what_orders_did() {
    #[track_caller]
    fn status(lines: &[&str], expected: &str) {
        let shown = with_view(|view| {
            answers(view, lines);
            let rows = Statistics::new(view.clone()).proxy(1, Kinds::ALL).expect("be1").rows;
            let status = |row: &telamon_balance::stats::Row| {
                row.get(Column::Status).map(ToString::to_string).unwrap_or_default()
            };
            rows.iter().map(status).collect::<Vec<_>>().join(",")
        });
        assert_eq!(shown, expected, "{lines:?}");
    }
    status(&["show backend"], "UP 1/3,no check,MAINT,UP 1/3,no check,UP");
    status(&["disable server be1/s1"], "MAINT,no check,MAINT,MAINT (via be1/s1),no check,UP");
    status(&["set server be1/s1 state drain"], "DRAIN 1/3,no check,MAINT,DRAIN 1/3,no check,UP");
    status(&["set server be1/s1 health down"], "DOWN,no check,MAINT,DOWN,no check,UP");
}
