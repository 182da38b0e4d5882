//! HAProxy's choices for keys and for units without one, while members come, go and change their
//! weights. `choices.txt` says how it was recorded.

use std::str::SplitWhitespace;

use super::*;
use crate::hash::{HashFunction, KeyHash};

#[test]
fn keyed_choices_are_haproxys() {
    let mut pools = 0;
    for text in include_str!("choices.txt").split("\n\n").filter(|text| text.starts_with("pool")) {
        Farm::parse(text).play(text);
        pools += 1;
    }
    assert!(pools > 20, "{pools}");
}

struct Farm {
    pool: Pool<()>,
    key: KeyHash,
}

impl Farm {
    fn parse(text: &str) -> Self {
        let mut head = text.lines().next().unwrap_or_default().split(' ').skip(1).peekable();
        let all_backups = head.next_if_eq(&"all").is_some();
        let consistent = head.next() == Some("consistent");
        let key = match head.next() {
            None => KeyHash { avalanche: consistent, ..KeyHash::default() },
            Some(function) => KeyHash {
                function: match function {
                    "sdbm" => HashFunction::Sdbm,
                    "djb2" => HashFunction::Djb2,
                    "wt6" => HashFunction::Wt6,
                    "crc32" => HashFunction::Crc32,
                    other => panic!("{other}"),
                },
                avalanche: head.next().is_some(),
            },
        };
        let members = text.lines().filter_map(|line| line.strip_prefix("server ")).zip(1..);
        let members = members.map(|(line, number)| member(line.split_whitespace(), number));
        let strategy = move || -> Box<dyn Strategy> {
            if consistent {
                Box::new(Consistent::new("hdr", 0))
            } else {
                Box::new(MapBased::new("hdr"))
            }
        };
        let options = PoolOptions { all_backups, ..PoolOptions::default() };
        Self { pool: Pool::new(members.collect(), strategy, options), key }
    }

    #[track_caller]
    fn play(&self, text: &str) {
        let (pool, mut rng) = (&self.pool, Rng::new(1));
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let word = words.next().unwrap_or_default();
            if word == "keys" || word == "turns" {
                let expected = words.nth(1).unwrap_or_default();
                let key = |nth: usize| {
                    (word == "keys").then(|| self.key.of_bytes(format!("key-{nth}").as_bytes()))
                };
                let found: String = (0..expected.len()).map(|n| serve(pool, key(n), 1)).collect();
                assert_eq!(found, expected, "{line} in\n{text}");
                continue;
            }
            let name = words.next().unwrap_or_default();
            let Some(at) = pool.members().iter().position(|member| member.name() == name) else {
                continue;
            };
            let member = &pool.members()[at];
            let maintenance = Status { admin: Admin::MAINT_FORCED, ..Status::default() };
            match (word, words.next()) {
                ("down", None) => member.set_status(maintenance, 0),
                ("up", None) => member.set_status(Status::default(), 0),
                ("weight", Some(weight)) => member.set_weight(match weight.strip_suffix('%') {
                    Some("0") => 0,
                    Some(_) => member.weight_initial(),
                    None => weight.parse().expect("a weight"),
                }),
                ("server", _) => continue,
                _ => panic!("{line}"),
            }
            _ = pool.member_changed(MemberId(at as u32), &mut rng, 0);
        }
    }
}

fn member(mut words: SplitWhitespace<'_>, number: u32) -> Arc<Member> {
    let mut next = || words.next();
    let name = next().unwrap_or_default();
    let weight = next().and_then(|weight| weight.parse().ok()).expect("a weight");
    let mut config = MemberConfig { number, weight, ..MemberConfig::default() };
    while let Some(word) = next() {
        match word {
            "backup" => config.backup = true,
            _ => config.number = next().and_then(|id| id.parse().ok()).expect("an id"),
        }
    }
    Member::new(name, &config, 1)
}
