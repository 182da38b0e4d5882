//! What one choice of a server costs, by strategy and number of servers, without sockets.
//!
//! ```text
//! benches/choice                                     # the table: instructions, and two workers together
//! target/release/choice leastconn 10000 1000000      # nanoseconds of CPU time for each choice
//! target/release/choice leastconn 10000 1000000 2 10 # two workers, 10 us of other work between their choices
//! target/release/choice list                         # the strategies
//! ```
//!
//! A choice is what a request costs the pool: a member is assigned, and the slot of a unit that came
//! [`HELD`] choices before is released, with what it taught where the strategy learns. Weights go
//! from 1 to the fourth number after the name, 1 unless it is given.

use std::collections::VecDeque;
use std::env;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::Duration;

use telamon_balance::hash::avalanche;
use telamon_balance::strategy::{
    ByUsage, Consistent, Ending, First, Ketama, LeastConn, LeastTime, Maglev, MapBased, Outcome,
    P2c, Random, RoundRobin, StaticRr, Strategy,
};
use telamon_balance::{
    Assignment, Key, Member, MemberConfig, MemberId, Pool, PoolOptions, Rng, Unit,
};

/// Makes a strategy.
type Make = fn() -> Box<dyn Strategy>;

/// A strategy is a row.
const STRATEGIES: &[(&str, Make)] = &[
    ("roundrobin", || Box::<RoundRobin>::default()),
    ("static-rr", || Box::<StaticRr>::default()),
    ("leastconn", || Box::<LeastConn>::default()),
    ("first", || Box::<First>::default()),
    ("random", || Box::new(Random::new(2))),
    ("map-based", || Box::new(MapBased::new("uri"))),
    ("consistent", || Box::new(Consistent::new("uri", 0))),
    ("bounded", || Box::new(Consistent::new("uri", 150))),
    ("p2c", || Box::<P2c>::default()),
    ("least-time", || Box::<LeastTime>::default()),
    ("maglev", || Box::new(Maglev::new(65_537))),
    ("ketama", || Box::<Ketama>::default()),
    ("usage", || Box::new(ByUsage::new(10_000))),
];

/// Units in flight of each worker.
const HELD: usize = 64;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize, default: u64| -> u64 {
        args.get(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let name = args.first().map_or("list", String::as_str);
    let Some((_, strategy)) = STRATEGIES.iter().find(|(known, _)| *known == name) else {
        for (name, _) in STRATEGIES {
            println!("{name}");
        }
        return if name == "list" { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    let (servers, choices) = (number(1, 10), number(2, 100_000));
    let (workers, work_us) = (number(3, 1).max(1) as usize, number(4, 0));
    let pool = pool(*strategy, servers, number(5, 1).max(1), workers);
    let spent = if workers == 1 {
        run(&pool, 0, choices, work_us)
    } else {
        together(&pool, workers, choices, work_us)
    };
    let choices = choices * workers as u64;
    println!("{:.1}", spent.as_nanos() as f64 / choices as f64);
    ExitCode::SUCCESS
}

fn pool(
    strategy: fn() -> Box<dyn Strategy>,
    servers: u64,
    weights: u64,
    workers: usize,
) -> Pool<()> {
    let member = |n: u64| {
        let config = MemberConfig {
            number: n as u32 + 1,
            weight: (1 + n % weights) as u32,
            place: format!("10.{}.{}.{}:80", n >> 16, n >> 8 & 255, n & 255).into(),
            ..MemberConfig::default()
        };
        Member::new(&format!("s{n}"), &config, workers)
    };
    Pool::new((0..servers).map(member).collect(), strategy, PoolOptions::default())
}

/// All workers at once; the CPU time of all.
fn together(pool: &Pool<()>, workers: usize, choices: u64, work_us: u64) -> Duration {
    let barrier = Barrier::new(workers);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    run(pool, worker, choices, work_us)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    })
}

/// The CPU time that the choices took this thread, with the work in between.
fn run(pool: &Pool<()>, worker: usize, choices: u64, work_us: u64) -> Duration {
    let mut rng = Rng::new(worker as u64 + 1);
    let mut held = VecDeque::with_capacity(HELD + 1);
    let turns = if work_us > 0 { work_us * turns_per_us() } else { 0 };
    let begin = cpu_time();
    for n in 0..choices {
        choose(pool, &mut rng, &mut held, n * 2 + worker as u64);
        if turns > 0 {
            work(turns);
        }
    }
    cpu_time() - begin
}

#[inline(never)]
fn choose(pool: &Pool<()>, rng: &mut Rng, held: &mut VecDeque<MemberId>, nth: u64) {
    let unit = Unit { key: Some(Key(avalanche(nth as u32))), ..Unit::default() };
    if let Assignment::Member(id) = pool.assign(&unit, rng, nth / 1000) {
        held.push_back(id);
    }
    if held.len() > HELD
        && let Some(id) = held.pop_front()
    {
        if pool.learns() {
            let outcome = Outcome { latency_us: 1000 + nth % 512, ending: Ending::Answered };
            pool.learn(id, &outcome, nth / 1000);
        }
        _ = pool.release(id);
    }
}

/// Work that shares nothing, as long as `turns` say.
fn work(turns: u64) {
    let mut hash = 1;
    for turn in 0..turns {
        hash = avalanche(hash ^ turn as u32);
    }
    std::hint::black_box(hash);
}

fn turns_per_us() -> u64 {
    const TURNS: u64 = 20_000_000;
    let begin = cpu_time();
    work(TURNS);
    (TURNS / ((cpu_time() - begin).as_micros() as u64).max(1)).max(1)
}

/// This thread's, to a few milliseconds. Read from a file, since clocks of the vDSO do not survive
/// valgrind.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
    Duration::from_nanos(ns)
}
