use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const RATE: DataType = DataType::HttpReqRate;
const COUNT: DataType = DataType::HttpReqCnt;

fn config(size: u32) -> TableConfig {
    let store = vec![Stored::count(COUNT), Stored::rate(RATE, 1_000)];
    TableConfig { store, ..TableConfig::new(KeyType::Integer, size) }
}

fn count(table: &Table, key: u32, now_ms: u32) -> Option<i64> {
    table.update(&Key::integer(key), now_ms, |entry| entry.add(COUNT, 1))?
}

#[test]
fn rates_are_those_of_two_periods() {
    /// `events` at milliseconds, each one event, of a rate over a second; then what is read at `now`.
    #[track_caller]
    fn check(events: &[u32], now: u32, expected: u32) {
        let mut rate = rate::Rate::default();
        for at in events {
            rate.add(1, 1_000, *at);
        }
        assert_eq!(rate.read(1_000, now), expected, "{events:?} at {now}");
    }
    check(&[], 5, 0);
    check(&[5], 5, 1);
    check(&[5, 6, 7], 900, 3);
    check(&[4, 6, 7, 8], 1_504, 2); // half of the period before
    check(&[4, 6, 7, 8], 2_004, 0);
    check(&[5], 1_900, 1); // a slow steady rate does not flap
    check(&[5], 2_100, 0);
    check(&[4, 5, 1_004], 1_004, 3);
    check(&[4, 5, 1_004], 1_504, 2);
    check(&[4, 5, 9_000], 9_000, 1);
    check(&[u32::MAX - 99, u32::MAX - 98, 50], 50, 3); // time wraps
}

#[test]
fn keys_are_cut_and_compared_by_their_type() {
    #[track_caller]
    fn check(key: KeyType, one: &[u8], other: &[u8], same: bool) {
        let table = Table::new(&TableConfig::new(key, 10), 1);
        table.update(&Key::from(one), 0, |_| ());
        assert_eq!(table.read(&Key::from(other), 0, |_| ()).is_some(), same, "{one:?} {other:?}");
    }
    let text = KeyType::String { len: 4 };
    check(text, b"abc", b"abc", true);
    check(text, b"abc", b"ab", false);
    check(text, b"abcdef", b"abcdxx", true);
    check(text, b"ab\0x", b"ab\0y", true);
    check(text, b"", b"", true);
    let block = KeyType::Binary { len: 4 };
    check(block, b"ab\0x", b"ab\0y", false);
    check(block, b"ab", b"ab\0\0", true);
    check(block, b"abcdef", b"abcd", true);
}

#[test]
fn a_full_table_gives_up_the_oldest() {
    let table = Table::new(&config(3), 1);
    (1..=3).for_each(|key| _ = count(&table, key, 0));
    count(&table, 1, 1); // 2 is the oldest now
    assert_eq!(count(&table, 4, 2), Some(1));
    assert_eq!(table.used(), 3);
    assert_eq!(count(&table, 1, 3), Some(3));
    assert_eq!(count(&table, 2, 3), Some(1), "it was given up");
}

#[test]
fn a_full_table_that_does_not_purge_refuses() {
    let no_purge = TableConfig { no_purge: true, expire_ms: 100, ..config(1) };
    let table = Table::new(&no_purge, 1);
    assert_eq!(count(&table, 1, 0), Some(1));
    assert_eq!(count(&table, 2, 50), None);
    assert_eq!(count(&table, 1, 60), Some(2));
    assert_eq!(count(&table, 2, 160), Some(1), "its time is over: that is no purge");
}

#[test]
fn what_is_held_stays() {
    let table = Arc::new(Table::new(&TableConfig { expire_ms: 10, ..config(2) }, 1));
    let key = |number| Key::integer(number);
    let held = table.track(&key(1), 0, |entry| _ = entry.add(COUNT, 5)).expect("there is room");
    let other = table.track(&key(1), 0, |_| ()).expect("it is there");
    (2..9).for_each(|key| _ = count(&table, key, 1));
    assert_eq!(
        table.read(&key(1), 500, |entry| (entry.get(COUNT), entry.refs())),
        Some((Some(5), 2))
    );
    assert_eq!(table.remove(&key(1), 500), Some(false));
    other.release(500, |_| ());
    held.release(500, |entry| entry.touch());
    assert_eq!(table.read(&key(1), 509, |entry| entry.remaining_ms()), Some(1));
    assert_eq!(table.read(&key(1), 510, |_| ()), None);
    table.sweep(600);
    assert_eq!(table.used(), 0);
    // All are held: nobody can go.
    let both = [1, 2].map(|number| table.track(&key(number), 700, |_| ()).expect("there is room"));
    assert_eq!(count(&table, 3, 700), None);
    both.into_iter().for_each(|held| held.release(700, |_| ()));
    assert_eq!(count(&table, 3, 700), Some(1));
}

#[test]
fn a_table_keeps_its_entries_under_a_configuration_that_fits() {
    let table = Table::new(&config(5), 1);
    (0..5).for_each(|key| _ = count(&table, key, 0));
    assert!(!table.reconfigure(&TableConfig::new(KeyType::Integer, 5)), "other data");
    assert!(!table.reconfigure(&TableConfig { key: KeyType::Ip, ..config(5) }));
    assert!(table.reconfigure(&config(2)));
    table.sweep(0);
    assert_eq!(table.keys(0).len(), 2);
    assert_eq!(count(&table, 4, 0), Some(2));
}

#[test]
fn arrays_have_their_elements_and_no_more() {
    let gpc = Stored { data: DataType::Gpc, count: 2, period_ms: 0 };
    let config = TableConfig { store: vec![gpc], ..TableConfig::new(KeyType::Ip, 1) };
    let table = Table::new(&config, 1);
    let cell = |index| Cell { data: DataType::Gpc, index };
    table.update(&Key::from([1; 4]), 0, |entry| {
        assert_eq!(entry.add(cell(1), 7), Some(7));
        assert_eq!(entry.get(cell(0)), Some(0));
        assert_eq!(entry.add(cell(2), 7), None);
        assert!(!entry.set(DataType::Gpt, 1));
    });
}

#[test]
fn servers_are_numbered_once() {
    let table = Table::new(&config(1), 1);
    assert_eq!((table.server_number("a"), table.server_number("b")), (1, 2));
    assert_eq!(table.server_number("a"), 1);
    assert_eq!(table.server_name(2).as_deref(), Some("b"));
    assert_eq!(table.server_name(0), None);
}

#[test]
fn counts_are_exact_over_threads() {
    let table = Table::new(&config(40_000), 1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..100_000u32).for_each(|n| _ = count(&table, n % 1_000, 7)));
        }
    });
    for key in 0..1_000 {
        let read = table.read(&Key::integer(key), 7, |entry| (entry.get(COUNT), entry.get(RATE)));
        assert_eq!(read, Some((Some(200), Some(0))));
    }
}

#[test]
fn a_flood_of_keys_stays_within_the_size() {
    let table = Table::new(&config(40_000), 1);
    (0..400_000).for_each(|key| _ = count(&table, key, 0));
    assert_eq!(table.used(), 40_000);
    assert_eq!(table.keys(0).len(), 40_000);
}

/// What a table is meant to be, said as simply as possible.
#[derive(Debug, Default)]
struct Naive {
    entries: BTreeMap<u32, NaiveEntry>,
    clock: u64,
}

#[derive(Debug, Default)]
struct NaiveEntry {
    count: i64,
    touched: u64,
    /// When its time is over.
    over: u32,
    held: u32,
    /// When each event happened.
    events: Vec<u32>,
}

const EXPIRE: u32 = 5_000;
const PERIOD: u32 = 1_000;

impl Naive {
    fn expire(&mut self, now: u32) {
        self.entries.retain(|_, entry| entry.held > 0 || entry.over > now);
    }

    fn touch(&mut self, key: u32, now: u32, size: usize) -> Option<&mut NaiveEntry> {
        self.expire(now);
        if !self.entries.contains_key(&key) && self.entries.len() >= size {
            let free = self.entries.iter().filter(|(_, entry)| entry.held == 0);
            let oldest = *free.min_by_key(|(_, entry)| entry.touched)?.0;
            self.entries.remove(&oldest);
        }
        self.clock += 1;
        let entry = self.entries.entry(key).or_default();
        (entry.touched, entry.over) = (self.clock, now + EXPIRE);
        Some(entry)
    }

    /// Events per period as two periods tell: the first begins with the first event.
    fn rate(events: &[u32], now: u32) -> u32 {
        let Some(first) = events.first() else { return 0 };
        let mut start = first & !1;
        let (mut running, mut before) = (0u32, 0u32);
        for at in events {
            if at - start >= PERIOD {
                let next = start + PERIOD;
                let rests = at - next >= PERIOD;
                (before, start) = if rests { (0, at & !1) } else { (running, next) };
                running = 0;
            }
            running += 1;
        }
        let mut left = i64::from(start + PERIOD) - i64::from(now);
        if left < 0 {
            left += i64::from(PERIOD);
            (before, running) = (if left >= 0 { running } else { 0 }, 0);
        }
        if running == 0 && before <= 1 {
            return before;
        }
        ((i64::from(before) * left + i64::from(running) * i64::from(PERIOD)) / i64::from(PERIOD))
            as u32
    }
}

#[derive(Debug, Clone)]
enum Step {
    Count(u32),
    Read(u32),
    Track(u32),
    Release(usize),
    Remove(u32),
    Sweep,
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0u32..12;
    let step = prop_oneof![
        6 => key.clone().prop_map(Step::Count),
        3 => key.clone().prop_map(Step::Read),
        2 => key.clone().prop_map(Step::Track),
        2 => (0usize..8).prop_map(Step::Release),
        1 => key.prop_map(Step::Remove),
        1 => Just(Step::Sweep),
        3 => prop_oneof![0u32..400, 900u32..1_100, 1_900u32..6_000].prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn a_table_is_what_a_naive_one_is(steps in steps(), size in 1u32..10, seed: u64) {
        let table = Arc::new(Table::new(&TableConfig { expire_ms: EXPIRE, ..config(size) }, seed));
        let mut naive = Naive::default();
        let mut held: Vec<(u32, Tracked)> = Vec::new();
        let mut now = 10;
        for step in steps {
            match step {
                Step::Count(key) => {
                    let got = table.update(&Key::integer(key), now, |entry| {
                        entry.add(RATE, 1);
                        (entry.add(COUNT, 1), entry.get(RATE))
                    });
                    let expected = naive.touch(key, now, size as usize).map(|entry| {
                        entry.count += 1;
                        entry.events.push(now);
                        (Some(entry.count), Some(i64::from(Naive::rate(&entry.events, now))))
                    });
                    prop_assert_eq!(got, expected);
                }
                Step::Read(key) => {
                    naive.expire(now);
                    let got = table.read(&Key::integer(key), now, |entry| {
                        (entry.get(COUNT), entry.get(RATE), entry.refs())
                    });
                    let expected = naive.entries.get(&key).map(|entry| {
                        let rate = Naive::rate(&entry.events, now);
                        (Some(entry.count), Some(i64::from(rate)), entry.held)
                    });
                    prop_assert_eq!(got, expected);
                }
                Step::Track(key) => {
                    let got = table.track(&Key::integer(key), now, |_| ());
                    let expected = naive.touch(key, now, size as usize);
                    prop_assert_eq!(got.is_some(), expected.is_some());
                    if let (Some(got), Some(expected)) = (got, expected) {
                        expected.held += 1;
                        held.push((key, got));
                    }
                }
                Step::Release(which) if which < held.len() => {
                    let (key, tracked) = held.swap_remove(which);
                    tracked.release(now, |entry| entry.touch());
                    let entry = naive.touch(key, now, usize::MAX).expect("it is held");
                    entry.held -= 1;
                }
                Step::Release(_) => {}
                Step::Remove(key) => {
                    naive.expire(now);
                    let expected = naive.entries.get(&key).map(|entry| entry.held == 0);
                    prop_assert_eq!(table.remove(&Key::integer(key), now), expected);
                    if expected == Some(true) {
                        naive.entries.remove(&key);
                    }
                }
                Step::Sweep => {
                    table.sweep(now);
                    naive.expire(now);
                    prop_assert_eq!(table.used() as usize, naive.entries.len());
                }
                Step::Wait(time) => now += time,
            }
            naive.expire(now);
            let keys: Vec<u32> = naive.entries.keys().copied().collect();
            let mut got: Vec<u32> = table
                .keys(now)
                .iter()
                .map(|key| u32::from_ne_bytes(key[..].try_into().expect("four bytes")))
                .collect();
            got.sort_unstable();
            prop_assert_eq!(got, keys);
            prop_assert!(table.used() <= size);
        }
        held.into_iter().for_each(|(_, tracked)| tracked.release(now, |_| ()));
    }
}
