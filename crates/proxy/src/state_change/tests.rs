//! Orders and what they say, as Debian's HAProxy 2.6.12 said it of the same servers under the same orders.

use std::sync::Arc;

use telamon_balance::MemberConfig;

use super::scene::{LogEar, backend, server, shared};
use super::*;
use crate::model::Model;

/// Gives orders to servers and compares what is logged. The backend `a` has `s1`, `s2` and the backup `b1`; in `t`,
/// `t1` tracks `a/s1` and `t2` tracks `t/t1`; `d/d1` is `disabled`.
#[track_caller]
fn check(orders: &[(&str, Order)], expected: &[&str]) {
    let ear = LogEar::new();
    let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut backup = server("b1", at(3));
    backup.member_config = MemberConfig { backup: true, ..MemberConfig::default() };
    let (mut t1, mut t2, mut d1) = (server("t1", at(4)), server("t2", at(5)), server("d1", at(6)));
    t1.tracks = Some((ProxyId(0), ServerId(0)));
    t2.tracks = Some((ProxyId(1), ServerId(0)));
    d1.disabled = true;
    let mut model = Model {
        proxies: vec![
            backend("a", vec![server("s1", at(1)), server("s2", at(2)), backup], &ear),
            backend("t", vec![t1, t2], &ear),
            backend("d", vec![d1, server("d2", at(7))], &ear),
        ],
        ..Model::default()
    };
    model.link_trackers();
    let snapshot = Arc::new(Snapshot { model, generation: 0 });
    let shared = shared();
    begin(&shared, &snapshot);
    for (name, what) in orders {
        let (proxy, server) = name.split_once('/').expect("backend/server");
        let proxy = snapshot.model.backend(proxy).expect("a backend");
        let servers = &snapshot.model.proxy(proxy).backend.as_ref().expect("a backend").servers;
        let server = servers.iter().find(|s| &*s.name == server).expect("a server").index;
        let cause = if matches!(what, Order::Health(_)) { "changed from CLI" } else { "" };
        order(&shared, &snapshot, Place { proxy, server: ServerId(server) }, *what, cause);
    }
    let said: Vec<String> = std::iter::from_fn(|| ear.line()).collect();
    assert_eq!(said, expected);
}

const LEFT: &str = "0 sessions active, 0 requeued, 0 remaining in queue.";
const ONLINE: &str = "0 sessions requeued, 0 total in queue.";

#[test]
fn maintenance_reaches_those_who_track() {
    check(
        &[("a/s1", Order::Maintenance), ("a/s1", Order::Ready)],
        &[
            &format!(
                "<129>Server a/s1 is going DOWN for maintenance. 1 active and 1 backup servers left. {LEFT}"
            ),
            &format!(
                "<129>Server t/t1 is going DOWN for maintenance via a/s1. 1 active and 0 backup servers left. {LEFT}"
            ),
            &format!(
                "<129>Server t/t2 is going DOWN for maintenance via t/t1. 0 active and 0 backup servers left. {LEFT}"
            ),
            "<128>backend t has no server available!",
            "<133>Server a/s1 is UP/READY (leaving forced maintenance).",
            "<133>Server t/t1 is UP/READY (leaving maintenance).",
            "<133>Server t/t2 is UP/READY (leaving maintenance).",
        ],
    );
    check(
        &[("t/t1", Order::Maintenance), ("a/s1", Order::Maintenance), ("t/t1", Order::Ready)],
        &[
            &format!(
                "<129>Server t/t1 is going DOWN for maintenance. 1 active and 0 backup servers left. {LEFT}"
            ),
            &format!(
                "<129>Server t/t2 is going DOWN for maintenance via t/t1. 0 active and 0 backup servers left. {LEFT}"
            ),
            "<128>backend t has no server available!",
            &format!(
                "<129>Server a/s1 is going DOWN for maintenance. 1 active and 1 backup servers left. {LEFT}"
            ),
            "<133>Server t/t1 is leaving forced maintenance but remains in maintenance via a/s1.",
        ],
    );
}

#[test]
fn drain_is_left_by_way_of_ready() {
    check(
        &[("a/s1", Order::Maintenance), ("a/s1", Order::Drain), ("a/s1", Order::Ready)],
        &[
            &format!(
                "<129>Server a/s1 is going DOWN for maintenance. 1 active and 1 backup servers left. {LEFT}"
            ),
            &format!(
                "<129>Server t/t1 is going DOWN for maintenance via a/s1. 1 active and 0 backup servers left. {LEFT}"
            ),
            &format!(
                "<129>Server t/t2 is going DOWN for maintenance via t/t1. 0 active and 0 backup servers left. {LEFT}"
            ),
            "<128>backend t has no server available!",
            "<133>Server a/s1 is UP/DRAIN (leaving forced maintenance).",
            "<133>Server a/s1 remains in forced drain mode.",
            "<133>Server t/t1 is UP/DRAIN (leaving maintenance).",
            "<133>Server t/t1 is leaving forced drain but remains in drain mode via a/s1.",
            "<133>Server t/t2 is UP/DRAIN (leaving maintenance).",
            "<133>Server t/t2 is leaving forced drain but remains in drain mode via t/t1.",
            "<133>Server a/s1 is UP (leaving forced drain).",
            "<133>Server t/t1 is UP (leaving forced drain).",
            "<133>Server t/t2 is UP (leaving forced drain).",
        ],
    );
    check(
        &[("a/s1", Order::Drain), ("a/s1", Order::Maintenance)],
        &[
            &format!(
                "<133>Server a/s1 enters drain state. 1 active and 1 backup servers online. {ONLINE}"
            ),
            &format!(
                "<133>Server t/t1 enters drain state via a/s1. 1 active and 0 backup servers online. {ONLINE}"
            ),
            &format!(
                "<133>Server t/t2 enters drain state via t/t1. 0 active and 0 backup servers online. {ONLINE}"
            ),
            "<128>backend t has no server available!",
            &format!(
                "<133>Server a/s1 is going DOWN for maintenance. 1 active and 1 backup servers left. {LEFT}"
            ),
            &format!(
                "<133>Server t/t1 is going DOWN for maintenance via a/s1. 0 active and 0 backup servers left. {LEFT}"
            ),
            &format!(
                "<133>Server t/t2 is going DOWN for maintenance via t/t1. 0 active and 0 backup servers left. {LEFT}"
            ),
        ],
    );
}

#[test]
fn health_can_be_ordered() {
    check(
        &[
            ("a/s1", Order::Health(Forced::Down)),
            ("a/s2", Order::Health(Forced::Stopping)),
            ("a/s2", Order::Health(Forced::Up)),
        ],
        &[
            &format!(
                "<129>Server a/s1 is DOWN, changed from CLI. 1 active and 1 backup servers left. {LEFT}"
            ),
            &format!(
                "<129>Server t/t1 is DOWN via a/s1. 1 active and 0 backup servers left. {LEFT}"
            ),
            &format!(
                "<129>Server t/t2 is DOWN via t/t1. 0 active and 0 backup servers left. {LEFT}"
            ),
            "<128>backend t has no server available!",
            &format!(
                "<133>Server a/s2 is stopping, changed from CLI. 0 active and 1 backup servers online. Running on backup. {ONLINE}"
            ),
            &format!(
                "<133>Server a/s2 is UP, changed from CLI. 1 active and 1 backup servers online. {ONLINE}"
            ),
        ],
    );
}

#[test]
fn disabled_servers_wait_for_an_order() {
    check(
        &[
            ("d/d1", Order::Ready),
            ("d/d2", Order::Health(Forced::Down)),
            ("d/d2", Order::Maintenance),
            ("d/d2", Order::Ready),
        ],
        &[
            "<133>Server d/d1 is UP/READY (leaving forced maintenance).",
            &format!(
                "<129>Server d/d2 is DOWN, changed from CLI. 1 active and 0 backup servers left. {LEFT}"
            ),
            "<133>Server d/d2 was DOWN and now enters maintenance.",
            "<133>Server d/d2 is UP/READY (leaving forced maintenance).",
        ],
    );
}

#[test]
fn a_panic_is_told_when_it_begins_and_when_it_ends() {
    use telamon_balance::{InUse, PoolOptions};
    let ear = LogEar::new();
    let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let servers = (1..=4).map(|n| server(&format!("s{n}"), at(n))).collect();
    let mut proxy = backend("a", servers, &ear);
    let own = proxy.backend.as_mut().expect("a backend");
    let options = PoolOptions { panic_threshold: 50, ..PoolOptions::default() };
    own.pool = own.pool.renew(own.pool.members().to_vec(), || own.balance.make(), options);
    let model = Model { proxies: vec![proxy], ..Model::default() };
    let snapshot = Arc::new(Snapshot { model, generation: 0 });
    let shared = shared();
    begin(&shared, &snapshot);
    let pool = &snapshot.model.proxies[0].backend.as_ref().expect("a backend").pool;
    let mut said = Vec::new();
    for (server, forced) in [0, 1, 2, 3]
        .map(|n| (n, Forced::Down))
        .into_iter()
        .chain([(2, Forced::Up), (3, Forced::Up)])
    {
        let place = Place { proxy: ProxyId(0), server: ServerId(server) };
        order(&shared, &snapshot, place, Order::Health(forced), "");
        let lines = std::iter::from_fn(|| ear.line());
        said.extend(lines.filter(|line| !line.contains("Server a/s")));
        said.push(format!("{:?}", pool.in_use()));
    }
    assert_eq!(
        said,
        [
            &*format!("{:?}", InUse::Level(0)),
            "Level(0)",
            "<129>backend a has 1 of 4 servers usable, less than 50%: panic, health is ignored and all servers are used.",
            "Panic",
            "Panic", // nobody is usable, and all are used: it is not told that nobody is available
            "Panic",
            "<133>backend a has 2 of 4 servers usable: panic is over, health counts again.",
            "Level(0)",
        ]
    );
}
