use std::sync::Arc;

use super::*;
use crate::hash::{HashFunction, KeyHash};
use crate::{Admin, Assignment, Member, MemberConfig, Pool, PoolOptions, Status, Unit};

/// Servers by address and weight; those marked are down.
fn pool(servers: &[(&str, u32, bool)]) -> Pool<()> {
    let member = |(at, (place, weight, down)): (usize, &(&str, u32, bool))| {
        let place = Arc::from(*place);
        let config = MemberConfig { weight: *weight, place, ..MemberConfig::default() };
        let member = Member::new(&format!("s{at}"), &config, 1);
        if *down {
            let status = Status { admin: Admin::MAINT_FORCED, ..Status::default() };
            member.set_status(status, 0);
        }
        member
    };
    let members = servers.iter().enumerate().map(member).collect();
    Pool::new(members, || Box::<Ketama>::default(), PoolOptions::default())
}

fn owner(pool: &Pool<()>, key: &str, tried: &[MemberId]) -> u8 {
    let key = KeyHash { function: HashFunction::Crc32, avalanche: false }.of_bytes(key.as_bytes());
    let unit = Unit { key: Some(key), tried, ..Unit::default() };
    match pool.assign(&unit, &mut Rng::new(1), 0) {
        Assignment::Member(id) => {
            assert!(pool.release(id).is_none());
            b'a' + id.0 as u8
        }
        other => panic!("{other:?}"),
    }
}

fn owners(pool: &Pool<()>, keys: usize) -> String {
    (0..keys).map(|key| owner(pool, &format!("key{key}"), &[]) as char).collect()
}

#[test]
fn keys_belong_to_nginxs_servers() {
    let lines: Vec<&str> =
        include_str!("nginx.txt").lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 8);
    for set in lines.chunks(2) {
        let servers: Vec<(&str, u32, bool)> = set[0]
            .split(' ')
            .map(|server| {
                let (place, weight) = server.rsplit_once('=').unwrap();
                let down = weight.ends_with('!');
                (place, weight.trim_end_matches('!').parse().unwrap(), down)
            })
            .collect();
        assert_eq!(owners(&pool(&servers), set[1].len()), set[1], "{}", set[0]);
    }
}

#[test]
fn the_order_in_which_members_go_and_come_leaves_no_trace() {
    let servers = [("10.0.0.1:80", 1, false), ("10.0.0.2:80", 2, false), ("10.0.0.3:80", 1, false)];
    let all = owners(&pool(&servers), 2000);
    let changing = pool(&servers);
    let set = |id: u32, admin| {
        changing.members()[id as usize].set_status(Status { admin, ..Status::default() }, 0);
        _ = changing.member_changed(MemberId(id), &mut Rng::new(1), 0);
    };
    set(1, Admin::MAINT_FORCED);
    let mut without = servers;
    without[1].2 = true;
    assert_eq!(owners(&changing, 2000), owners(&pool(&without), 2000));
    set(0, Admin::MAINT_FORCED);
    assert_eq!(owners(&changing, 2000), "c".repeat(2000));
    set(1, Admin::READY);
    set(0, Admin::READY);
    assert_eq!(owners(&changing, 2000), all);
}

#[test]
fn only_the_keys_of_the_member_that_goes_move() {
    let places: Vec<String> = (0..20).map(|at| format!("10.0.0.{at}:80")).collect();
    let mut servers: Vec<(&str, u32, bool)> = places.iter().map(|p| (&**p, 1, false)).collect();
    let before = owners(&pool(&servers), 10_000);
    servers[7].2 = true;
    let after = owners(&pool(&servers), 10_000);
    let moved: Vec<char> =
        before.chars().zip(after.chars()).filter(|(b, a)| b != a).map(|(b, _)| b).collect();
    assert!(moved.iter().all(|from| *from == 'h'));
    assert!((300..800).contains(&moved.len()), "{}", moved.len()); // about a twentieth
}

#[test]
fn a_member_that_failed_is_passed_over_and_namesakes_have_points_of_their_own() {
    let servers = [("web:80", 1, false), ("web:80", 1, false), ("web:80", 1, false)];
    let pool = pool(&servers);
    for key in 0..300 {
        let key = format!("key{key}");
        let first = MemberId(u32::from(owner(&pool, &key, &[]) - b'a'));
        assert_ne!(owner(&pool, &key, &[first]), b'a' + first.0 as u8);
    }
    let owners = owners(&pool, 3000);
    assert!("abc".chars().all(|name| owners.matches(name).count() > 600));
}

#[test]
fn places_are_read_as_nginx_reads_them() {
    #[track_caller]
    fn check(place: &str, expected: &str) {
        assert_eq!(base_of(place), expected.as_bytes());
    }
    check("10.0.0.1:80", "10.0.0.1\u{0}80");
    check("www.example.com", "www.example.com\u{0}");
    check("[::1]:80", "[::1]\u{0}80");
    check("unix:/run/app.sock", "/run/app.sock\u{0}");
    check("unix@/run/app.sock", "/run/app.sock\u{0}");
    check("/run/app:1.sock", "/run/app:1.sock\u{0}");
    check("ipv4@10.0.0.1:80", "10.0.0.1\u{0}80");
}
