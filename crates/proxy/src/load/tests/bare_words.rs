//! Every keyword of every table as the last word of its line: what its usage asks for and is not there is an error.

use telamon_config::{Keyword, SectionSpec, Sections, Status, Table};

use super::told;
use crate::load::{
    LoadOptions, balance, bind, check, cookie, errors, global, resolvers, server, settings, table,
    userlist,
};

/// What a usage asks for behind its keyword: whether something has to be there, and else the words that have
/// something behind them where they are there.
fn asks(usage: &str, name: &str) -> (bool, Vec<String>) {
    let behind = usage.find(name).map_or("", |at| &usage[at + name.len()..]);
    let behind = match name.ends_with('(') {
        true => behind.split_once(')').map_or("", |(_, behind)| behind),
        false => behind,
    };
    let (mut depth, mut required, mut group, mut groups) =
        (0, String::new(), String::new(), vec![]);
    for char in behind.chars() {
        match char {
            '[' => depth += 1,
            ']' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    groups.push(std::mem::take(&mut group));
                }
                continue;
            }
            _ => {}
        }
        match depth {
            0 => required.push(char),
            1 if char == '[' => {}
            _ => group.push(char),
        }
    }
    let has_value = |group: &String| {
        let mut words = group.split(' ');
        words.next().is_some_and(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
            && words.next().is_some_and(|word| word.starts_with('<'))
    };
    let optional = groups.iter().filter(|group| has_value(group));
    let words = optional.filter_map(|group| group.split(' ').next()).map(str::to_owned);
    (required.contains(['<', '{']), words.collect())
}

/// The keywords whose bare line is taken, of a table whose lines begin with `before` (by keyword).
fn taken<C>(table: &Table<C>, before: impl Fn(&Keyword<C>) -> String) -> Vec<String> {
    let works =
        |keyword: &&Keyword<C>| matches!(keyword.status, Status::Works(_) | Status::Idle(_));
    let keywords = table.keywords().filter(works);
    keywords.flat_map(|keyword| taken_of(keyword.name, keyword.usage, &before(keyword))).collect()
}

fn taken_of(name: &str, usage: &str, before: &str) -> Vec<String> {
    let (required, words) = asks(usage, name);
    let name = match name.strip_suffix('(') {
        Some(name) => format!("{name}(txn.name)"),
        None => name.to_owned(),
    };
    let mut lines = match required {
        true => vec![name],
        false => words.into_iter().map(|word| format!("{name} {word}")).collect(),
    };
    lines.retain(|line| {
        let config = format!("{before}{line}\n");
        let place = format!("{}:", config.lines().count());
        let said = told(&config, &LoadOptions::default());
        !said.iter().any(|said| said.starts_with(&place) && said.contains(" alert "))
    });
    lines
}

#[test]
fn a_keyword_without_its_value_is_an_error() {
    let section = |sections: Sections| {
        let kinds = ["listen", "backend", "frontend", "defaults"];
        let specs = || SectionSpec::HAPROXY.iter();
        let fits = |kind: &&str| {
            specs().any(|spec| spec.keyword == *kind && spec.bit.intersects(sections))
        };
        match kinds.into_iter().find(fits) {
            Some("defaults") => "defaults\n ".to_owned(),
            kind => format!("{} x\n ", kind.unwrap_or("listen")),
        }
    };
    let mut all = Vec::new();
    all.extend(taken(&global::KEYWORDS, |_| "global\n ".to_owned()));
    all.extend(taken(&settings::KEYWORDS, |keyword| section(keyword.sections)));
    all.extend(taken(&bind::OPTIONS, |_| "frontend f\n bind 127.0.0.1:1 ".to_owned()));
    all.extend(taken(&server::OPTIONS, |_| "backend b\n server s 127.0.0.1:1 ".to_owned()));
    all.extend(taken(&cookie::OPTIONS, |_| "backend b\n mode http\n cookie c ".to_owned()));
    all.extend(taken(&balance::STRATEGIES, |_| "backend b\n mode http\n balance ".to_owned()));
    let sticks = "backend b\n stick-table type ip size 1k ";
    all.extend(taken(&table::OPTIONS, |_| sticks.to_owned()));
    let checks = |rule: &str, option: &str| format!("backend b\n option {option}\n {rule} ");
    all.extend(taken(&check::rule::HTTP, |_| checks("http-check", "httpchk")));
    all.extend(taken(&check::rule::TCP, |_| checks("tcp-check", "tcp-check")));
    all.extend(taken(&userlist::TABLE, |_| "userlist u\n ".to_owned()));
    all.extend(taken(&resolvers::TABLE, |_| "resolvers r\n ".to_owned()));
    all.extend(taken(&errors::SECTION, |_| "http-errors e\n ".to_owned()));
    for (rules, name, usage) in crate::rules::usages() {
        all.extend(taken_of(name, usage, &format!("listen l\n mode http\n {rules} ")));
    }
    assert_eq!(all, [""; 0]);
}

#[test]
fn usages_are_understood() {
    assert_eq!(asks("inter <time>", "inter"), (true, vec![]));
    assert_eq!(asks("x connect [linger] [port <port>]", "connect"), (false, vec!["port".into()]));
    assert_eq!(asks("set-var(<name>) <value>", "set-var("), (true, vec![]));
    assert_eq!(asks("option httpchk [[<method>] <uri>]", "option httpchk"), (false, vec![]));
}
