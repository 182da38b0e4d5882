//! `telamon simulate`: the strategies of a configuration against servers that exist only in the computer's head.
//!
//! The command line becomes a [`Wanted`], the configuration's backend and that a [`Scenario`]; the run itself is
//! [`telamon_balance::simulate`], which needs neither clock nor network. What comes out is a table for each strategy and
//! one that compares them.

mod table;

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use telamon_balance::health::CheckConfig;
use telamon_balance::simulate::{
    self, Change, Scenario, ServerChange, ServiceTime, SimulatedServer,
};
use telamon_config::{nearest, parse_duration};
use telamon_proxy::model::{
    Backend, Balance, BalanceStrategy, HashMethod, HashType, Model, Proxy, Server,
};
use telamon_runtime::Neighbor;
use telamon_runtime::files::Direct;

use crate::options::Options;
use crate::start;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    help: bool,
    lenient: bool,
    files: Vec<String>,
    backend: Option<String>,
    strategies: Vec<String>,
    rate: f64,
    service: Duration,
    constant: bool,
    duration: Duration,
    seed: u64,
    keys: u64,
    capacity: u32,
    capacities: Vec<(String, u32)>,
    changes: Vec<(String, Duration, Change)>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            help: false,
            lenient: false,
            files: Vec::new(),
            backend: None,
            strategies: Vec::new(),
            rate: 100.0,
            service: Duration::from_millis(20),
            constant: false,
            duration: Duration::from_secs(60),
            seed: 1,
            keys: 10_000,
            capacity: 32,
            capacities: Vec::new(),
            changes: Vec::new(),
        }
    }
}

/// A command line that makes no sense, or does not fit the configuration.
#[derive(Debug, PartialEq)]
enum Mistake {
    Unknown { found: String, nearest: Option<&'static str> },
    Missing { flag: &'static str, value: &'static str },
    Bad { flag: &'static str, found: String, expected: &'static str },
    NoFile,
    NoBackend,
    WhichBackend { names: String },
    UnknownBackend { found: String, nearest: Option<String> },
    NoServers { backend: String },
    UnknownServer { flag: &'static str, found: String, names: String },
    UnknownStrategy { found: String, nearest: Option<&'static str> },
    TooLong { units: f64 },
    AfterTheEnd { flag: &'static str, server: String },
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let near = |f: &mut fmt::Formatter<'_>, near: Option<&str>| match near {
            Some(near) => write!(f, "; did you mean `{near}`?"),
            None => Ok(()),
        };
        match self {
            Self::Unknown { found, nearest } => {
                write!(f, "`{found}` is no option of `telamon simulate`")?;
                near(f, *nearest)
            }
            Self::Missing { flag, value } => write!(f, "`{flag}` needs {value} after it"),
            Self::AfterTheEnd { flag, server } => {
                write!(
                    f,
                    "`{flag} {server}@…` comes after the end; `--duration` makes the run longer"
                )
            }
            Self::Bad { flag, found, expected } => {
                write!(f, "`{flag}` needs {expected}, found `{found}`")
            }
            Self::NoFile => f.write_str("name a configuration: `telamon simulate haproxy.cfg`"),
            Self::NoBackend => f.write_str("the configuration has no backend with servers"),
            Self::WhichBackend { names } => {
                write!(f, "say which backend with `--backend`: {names}")
            }
            Self::UnknownBackend { found, nearest } => {
                write!(f, "there is no backend `{found}`")?;
                near(f, nearest.as_deref())
            }
            Self::NoServers { backend } => write!(f, "backend {backend} has no servers"),
            Self::UnknownServer { flag, found, names } => {
                write!(f, "`{flag}` names a server `{found}`; the backend has {names}")
            }
            Self::UnknownStrategy { found, nearest } => {
                write!(f, "`{found}` is no strategy that can be simulated")?;
                near(f, *nearest)
            }
            Self::TooLong { units } => write!(
                f,
                "{units:.0} requests are too many, at most {UNITS_MAX:.0}: lower `--rate` or `--duration`"
            ),
        }
    }
}

/// One row of the table of options.
struct Flag {
    flag: &'static str,
    value: &'static str,
    help: &'static str,
    take: fn(&mut Wanted, &'static str, &str) -> Result<(), Mistake>,
}

const FLAGS: &[Flag] = &[
    flag("--backend", "NAME", "the backend, where there are several", |w, _, v| {
        w.backend = Some(v.to_owned());
        Ok(())
    }),
    flag(
        "--strategy",
        "NAME",
        "a strategy in place of the configuration's; repeat it to compare",
        |w, _, v| {
            w.strategies.extend(v.split(',').map(str::to_owned));
            Ok(())
        },
    ),
    flag("--rate", "R", "requests per second (default 100)", |w, flag, v| {
        let rate = v.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
        w.rate = rate.ok_or_else(|| bad(flag, v, "a number above 0"))?;
        Ok(())
    }),
    flag(
        "--service-time",
        "T",
        "how long a request keeps a server busy, on average (default 20ms)",
        |w, flag, v| {
            w.service = time(flag, v)?;
            Ok(())
        },
    ),
    flag("--constant", "", "all requests take the same; else exponentially spread", |w, _, _| {
        w.constant = true;
        Ok(())
    }),
    flag("--duration", "T", "how long requests arrive (default 60s)", |w, flag, v| {
        w.duration = time(flag, v)?;
        Ok(())
    }),
    flag(
        "--capacity",
        "[SERVER=]N",
        "requests that a server works on at once (default 32); more wait there",
        |w, flag, v| {
            let (server, number) = match v.rsplit_once('=') {
                Some((server, number)) => (Some(server), number),
                None => (None, v),
            };
            let number = number.parse().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| bad(flag, v, "a number from 1, or SERVER=N"))?;
            match server {
                Some(server) => w.capacities.push((server.to_owned(), number)),
                None => w.capacity = number,
            }
            Ok(())
        },
    ),
    flag(
        "--slow",
        "SERVER@T[xN]",
        "from T on the server takes N times as long (default 10)",
        |w, flag, v| {
            const EXPECTED: &str =
                "SERVER@TIME or SERVER@TIMExFACTOR, such as `web1@10s` or `web1@10sx5`";
            let (server, rest) = v.rsplit_once('@').ok_or_else(|| bad(flag, v, EXPECTED))?;
            let (at, factor) = rest.split_once('x').unwrap_or((rest, "10"));
            let factor =
                factor.parse().ok().filter(|factor: &f64| factor.is_finite() && *factor > 0.0);
            let factor = factor.ok_or_else(|| bad(flag, v, EXPECTED))?;
            let at = moment(at).ok_or_else(|| bad(flag, v, EXPECTED))?;
            w.changes.push((server.to_owned(), at, Change::Slow(factor)));
            Ok(())
        },
    ),
    flag(
        "--fail",
        "SERVER@T",
        "from T on the server refuses requests, and loses those it has",
        |w, flag, v| change(w, flag, v, Change::Fail),
    ),
    flag(
        "--fail-checks",
        "SERVER@T",
        "from T on its checks fail, though it works",
        |w, flag, v| change(w, flag, v, Change::FailChecks),
    ),
    flag("--recover", "SERVER@T", "from T on all is well with it again", |w, flag, v| {
        change(w, flag, v, Change::Recover)
    }),
    flag("--keys", "N", "different keys, for keyed strategies (default 10000)", |w, flag, v| {
        w.keys =
            v.parse().ok().filter(|n| *n > 0).ok_or_else(|| bad(flag, v, "a number from 1"))?;
        Ok(())
    }),
    flag(
        "--seed",
        "N",
        "another run of chance (default 1); the same seed, the same run",
        |w, flag, v| {
            w.seed = v.parse().map_err(|_| bad(flag, v, "a whole number"))?;
            Ok(())
        },
    ),
    flag("--lenient", "", "as for `telamon check`", |w, _, _| {
        w.lenient = true;
        Ok(())
    }),
    flag("--help", "", "show this help", |w, _, _| {
        w.help = true;
        Ok(())
    }),
];

const fn flag(
    flag: &'static str,
    value: &'static str,
    help: &'static str,
    take: fn(&mut Wanted, &'static str, &str) -> Result<(), Mistake>,
) -> Flag {
    Flag { flag, value, help, take }
}

/// The options, for shell completions: name, value, help.
pub(crate) fn flags() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FLAGS.iter().map(|row| (row.flag, row.value, row.help))
}

/// Runs the simulation that the arguments after `simulate` ask for.
pub(crate) fn run(args: &[OsString]) -> ExitCode {
    let wanted = match Wanted::parse(args) {
        Ok(wanted) => wanted,
        Err(mistake) => return fail(&mistake),
    };
    if wanted.help {
        return crate::print(&help());
    }
    // Only the language counts: the machine that simulates need not have the certificates, names and users.
    let options = Options {
        files: wanted.files.iter().map(Into::into).collect(),
        lenient: wanted.lenient,
        offline: true,
        ..Options::default()
    };
    let Some(read) = start::read(Rc::new(Direct::new(Neighbor::Refused)), &options) else {
        return ExitCode::FAILURE;
    };
    match wanted.simulate(&read.model) {
        Ok(text) => crate::print(&text),
        Err(mistake) => fail(&mistake),
    }
}

fn fail(mistake: &Mistake) -> ExitCode {
    eprintln!("telamon: {mistake}\nTry `telamon simulate --help`.");
    ExitCode::FAILURE
}

fn help() -> String {
    let mut text = String::from(
        "Usage: telamon simulate FILE... [OPTIONS]\n\n\
         Runs the strategies of a backend, as they are, against servers that are not there: requests arrive at\n\
         random, wait, are served, in virtual time. Weights, limits, queues, levels, checks and slow starts are the\n\
         configuration's; the servers' speed and their misfortunes are yours. Nothing is sent anywhere.\n\n\
         How does my backend take it when web1 becomes ten times as slow for ten seconds, and how would others?\n\n  \
         telamon simulate haproxy.cfg --backend app --rate 1000 --service-time 10ms \\\n    \
         --slow web1@10s --recover web1@20s --strategy roundrobin,leastconn,least-time\n\nOptions:\n",
    );
    for row in FLAGS {
        text.push_str(&format!("  {:<24} {}\n", format!("{} {}", row.flag, row.value), row.help));
    }
    let names: Vec<_> = STRATEGIES.iter().map(|row| row.0).collect();
    text.push_str(&format!("\nStrategies: {}.\n", names.join(", ")));
    text.push_str(
        "Keyed ones are given random keys, since there are no requests to take keys from. Under `usage` each server\n\
         reports how much of its capacity is busy. Times are from a request's arrival to the end of its service;\n\
         `waiting` is how many wait at a server whose capacity is busy, on average (and at most), or in the backend's\n\
         queue when the servers have `maxconn`; `retried` are refusals that went elsewhere (`option redispatch`).\n",
    );
    text
}

impl Wanted {
    fn parse(args: &[OsString]) -> Result<Self, Mistake> {
        let mut wanted = Self::default();
        let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
        while let Some(arg) = args.next() {
            if !arg.starts_with('-') {
                wanted.files.push(arg);
                continue;
            }
            if arg == "-f" {
                let file = args.next().ok_or(Mistake::Missing { flag: "-f", value: "FILE" })?;
                wanted.files.push(file);
                continue;
            }
            let (name, glued) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (&*arg, None),
            };
            let Some(row) = FLAGS.iter().find(|row| row.flag == name) else {
                let nearest = nearest(name, FLAGS.iter().map(|row| row.flag));
                return Err(Mistake::Unknown { found: name.to_owned(), nearest });
            };
            let value = match (row.value, glued) {
                ("", None) => String::new(),
                ("", Some(found)) => return Err(bad(row.flag, &found, "no value")),
                (_, Some(value)) => value,
                (value, None) => args.next().ok_or(Mistake::Missing { flag: row.flag, value })?,
            };
            (row.take)(&mut wanted, row.flag, &value)?;
        }
        if wanted.files.is_empty() && !wanted.help {
            return Err(Mistake::NoFile);
        }
        if let Some((server, _, change)) =
            wanted.changes.iter().find(|(_, at, _)| *at >= wanted.duration)
        {
            let (flag, server) = (flag_of(*change), server.clone());
            return Err(Mistake::AfterTheEnd { flag, server });
        }
        Ok(wanted)
    }

    /// The tables.
    fn simulate(&self, model: &Model) -> Result<String, Mistake> {
        let (proxy, backend) = self.choose(model)?;
        let units = self.rate * self.duration.as_secs_f64();
        if units > UNITS_MAX {
            return Err(Mistake::TooLong { units });
        }
        let scenario = self.scenario(proxy, backend)?;
        let mut reports = Vec::new();
        if self.strategies.is_empty() {
            reports.push(run_one(&scenario, &backend.balance));
        }
        for name in &self.strategies {
            let balance = strategy(name, &backend.balance)?;
            reports.push(simulate_as(name, &scenario, &balance));
        }
        let mut text = self.heading(proxy, &scenario);
        text.push_str(&table::tables(&reports));
        Ok(text)
    }

    fn choose<'m>(&self, model: &'m Model) -> Result<(&'m Proxy, &'m Backend), Mistake> {
        let backends: Vec<(&Proxy, &Backend)> = model
            .proxies
            .iter()
            .filter_map(|proxy| Some((proxy, proxy.backend.as_ref()?)))
            .collect();
        let names = || backends.iter().map(|(proxy, _)| &*proxy.name);
        if let Some(wanted) = &self.backend {
            let found = backends.iter().find(|(proxy, _)| *proxy.name == **wanted);
            let found = *found.ok_or_else(|| Mistake::UnknownBackend {
                found: wanted.clone(),
                nearest: nearest(wanted, names()).map(str::to_owned),
            })?;
            return match found.1.servers.is_empty() {
                true => Err(Mistake::NoServers { backend: wanted.clone() }),
                false => Ok(found),
            };
        }
        let with_servers: Vec<_> = backends.iter().filter(|(_, b)| !b.servers.is_empty()).collect();
        match with_servers[..] {
            [only] => Ok(*only),
            [] => Err(Mistake::NoBackend),
            _ => {
                let names: Vec<_> = with_servers.iter().map(|(proxy, _)| &*proxy.name).collect();
                Err(Mistake::WhichBackend { names: names.join(", ") })
            }
        }
    }

    fn scenario(&self, proxy: &Proxy, backend: &Backend) -> Result<Scenario, Mistake> {
        let place = |flag: &'static str, name: &str| {
            backend.servers.iter().position(|server| *server.name == *name).ok_or_else(|| {
                let names: Vec<_> = backend.servers.iter().take(20).map(|s| &*s.name).collect();
                let names = names.join(", ");
                Mistake::UnknownServer { flag, found: name.to_owned(), names }
            })
        };
        let mut servers: Vec<SimulatedServer> =
            backend.servers.iter().map(|server| simulated(server, self.capacity)).collect();
        for (name, capacity) in &self.capacities {
            servers[place("--capacity", name)?].capacity = *capacity;
        }
        let mut changes = Vec::new();
        for (name, at, change) in &self.changes {
            let server = place(flag_of(*change), name)?;
            let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
            changes.push(ServerChange { at_ms, server, change: *change });
        }
        changes.sort_by_key(|change| change.at_ms);
        let us = self.service.as_secs_f64() * 1e6;
        let queue = proxy.timeouts.queue.or(proxy.timeouts.connect);
        Ok(Scenario {
            servers,
            options: backend.pool.options(),
            rate: self.rate,
            service: match self.constant {
                true => ServiceTime::Constant { us },
                false => ServiceTime::Exponential { mean_us: us },
            },
            duration_ms: u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            retries: if backend.redispatch == 0 { 0 } else { backend.retries },
            queue_timeout_ms: queue.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            keys: self.keys,
            reports_usage: true,
            changes,
            window_ms: 0,
            seed: self.seed,
        })
    }

    fn heading(&self, proxy: &Proxy, scenario: &Scenario) -> String {
        let (count, spread) =
            (scenario.servers.len(), if self.constant { "each" } else { "on average" });
        let mut text = format!(
            "backend {}: {count} server{}, {} requests/s of {} {spread}, for {}, seed {}\n",
            proxy.name,
            if count == 1 { "" } else { "s" },
            self.rate,
            table::time(self.service.as_micros() as u64),
            table::time(self.duration.as_micros() as u64),
            self.seed,
        );
        for change in &scenario.changes {
            let what = match change.change {
                Change::Slow(factor) => format!("takes {factor} times as long"),
                Change::Fail => "fails".to_owned(),
                Change::FailChecks => "fails its checks".to_owned(),
                Change::Recover => "recovers".to_owned(),
            };
            let name = &scenario.servers[change.server].name;
            text.push_str(&format!("  at {} {name} {what}\n", table::time(change.at_ms * 1000)));
        }
        text
    }
}

fn run_one(scenario: &Scenario, balance: &Balance) -> (String, simulate::Report) {
    let report = simulate::run(scenario, || balance.make());
    (report.strategy.to_owned(), report)
}

fn simulate_as(name: &str, scenario: &Scenario, balance: &Balance) -> (String, simulate::Report) {
    (name.to_owned(), run_one(scenario, balance).1)
}

fn simulated(server: &Server, capacity: u32) -> SimulatedServer {
    let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let check = server.check.as_ref().map(|check| CheckConfig {
        rise: u16::try_from(check.rise).unwrap_or(u16::MAX),
        fall: u16::try_from(check.fall).unwrap_or(u16::MAX),
        inter_ms: ms(check.inter),
        fastinter_ms: check.fastinter.map(ms),
        downinter_ms: check.downinter.map(ms),
    });
    SimulatedServer {
        name: server.name.to_string(),
        config: server.member_config.clone(),
        check,
        slow_start_s: server.slow_start_s,
        disabled: server.disabled,
        capacity,
    }
}

/// Strategies by the names of the configuration, given what the configuration says.
const STRATEGIES: &[(&str, BalanceStrategy)] = &[
    ("roundrobin", BalanceStrategy::RoundRobin),
    ("static-rr", BalanceStrategy::StaticRr),
    ("leastconn", BalanceStrategy::LeastConn),
    ("first", BalanceStrategy::First),
    ("random", BalanceStrategy::Random { draws: 2 }),
    ("p2c", BalanceStrategy::P2c),
    ("least-time", BalanceStrategy::LeastTime),
    ("usage", BalanceStrategy::Usage { expire_ms: 10_000 }),
    ("maglev", BalanceStrategy::Maglev { size: 65_537 }),
    ("ketama", BalanceStrategy::Ketama),
    ("hash", BalanceStrategy::Keyed),
    ("hash-consistent", BalanceStrategy::Keyed),
];

fn strategy(name: &str, own: &Balance) -> Result<Balance, Mistake> {
    let draws = name.strip_prefix("random(").and_then(|rest| rest.strip_suffix(')'));
    if let Some(draws) = draws.and_then(|draws| draws.parse().ok()).filter(|draws| *draws > 0) {
        return Ok(Balance { strategy: BalanceStrategy::Random { draws }, ..own.clone() });
    }
    let Some((_, strategy)) = STRATEGIES.iter().find(|row| row.0 == name) else {
        let nearest = nearest(name, STRATEGIES.iter().map(|row| row.0));
        return Err(Mistake::UnknownStrategy { found: name.to_owned(), nearest });
    };
    let method =
        if name == "hash-consistent" { HashMethod::Consistent } else { HashMethod::MapBased };
    let hash_type = match strategy {
        BalanceStrategy::Keyed => HashType { method, ..own.hash_type },
        _ => own.hash_type,
    };
    Ok(Balance { strategy: *strategy, hash_type, ..own.clone() })
}

fn change(
    wanted: &mut Wanted,
    flag: &'static str,
    text: &str,
    what: Change,
) -> Result<(), Mistake> {
    let expected = "SERVER@TIME, such as `web1@10s`";
    let (server, at) = text.rsplit_once('@').ok_or_else(|| bad(flag, text, expected))?;
    let at = moment(at).ok_or_else(|| bad(flag, text, expected))?;
    wanted.changes.push((server.to_owned(), at, what));
    Ok(())
}

fn flag_of(change: Change) -> &'static str {
    match change {
        Change::Slow(_) => "--slow",
        Change::Fail => "--fail",
        Change::FailChecks => "--fail-checks",
        Change::Recover => "--recover",
    }
}

fn time(flag: &'static str, text: &str) -> Result<Duration, Mistake> {
    let time = moment(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| bad(flag, text, "a time above 0, such as `20ms` or `1m`"))
}

/// A time; without a unit seconds, as one says it.
fn moment(text: &str) -> Option<Duration> {
    parse_duration(text, Duration::from_secs(1)).ok()
}

fn bad(flag: &'static str, found: &str, expected: &'static str) -> Mistake {
    Mistake::Bad { flag, found: found.to_owned(), expected }
}

/// Requests in one run; each costs some 100 bytes.
const UNITS_MAX: f64 = 20_000_000.0;

#[cfg(test)]
mod tests;
