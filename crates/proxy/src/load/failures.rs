//! What is made of failures: `retry-on`, `retry-budget`, `outlier-ejection`, `max-pending`.

use std::time::Duration;

use telamon_balance::RetryBudget;
use telamon_balance::outlier::OutlierConfig;
use telamon_config::{Args, ConfigErrorKind, Keyword, Sections, Token};

use super::draft::ProxyContext;
use super::settings::NUMBER_MAX;
use crate::model::RetryOn;

type K = Keyword<ProxyContext>;

/// A frontend has none of it; HAProxy refuses `retry-on` there too.
const HERE: Sections = Sections::BACKS.and(Sections::DEFAULTS);

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "retry-on",
        HERE,
        "retry-on { none | <failure> | <status> ... }",
        "after which failures a request is sent again",
        |proxy, args| {
            if let Some(retry_on) = retry_on(args) {
                proxy.draft.retry_on = retry_on;
            }
        },
    ),
    K::works(
        "retry-budget",
        HERE,
        "retry-budget { <percent>% [min <retries>/s] | none }",
        "how many of the requests may be sent again; without one, any",
        |proxy, args| {
            if let Some(budget) = retry_budget(args) {
                proxy.draft.retry_budget = budget;
            }
        },
    ),
    K::works(
        "max-pending",
        HERE,
        "max-pending <number>",
        "requests that may wait in the backend's queues; 0 is no limit",
        |proxy, args| {
            proxy.draft.max_pending = args.integer("number", 0..=NUMBER_MAX).unwrap_or(0);
        },
    ),
    K::works(
        "outlier-ejection",
        HERE,
        "outlier-ejection [none] [consecutive <count>] [interval <time>] [base-time <time>] [max-time <time>] \
         [max-ejected <percent>%] [success-rate-stdev <factor>] [latency-factor <factor>] [min-requests <count>]",
        "keeps servers out for a time whose traffic fails more than their peers'",
        |proxy, args| {
            let read = outlier_ejection(args);
            if !args.failed() {
                proxy.draft.outlier_ejection = read;
            }
        },
    ),
];

fn retry_on(args: &mut Args<'_>) -> Option<RetryOn> {
    let mut tokens = vec![args.next("a failure or a status")?];
    tokens.extend(args.rest());
    let mut all = RetryOn::NONE;
    for token in &tokens {
        let token = *token;
        match RetryOn::WORDS.iter().find(|(word, _)| *word == token.text) {
            Some(("none", _)) if tokens.len() > 1 => {
                args.bad(token, "retry-on", "`none` alone");
            }
            Some((_, flag)) => all = all.and(*flag),
            None => {
                let known = RetryOn::WORDS.iter().map(|(word, _)| *word);
                args.fail(token.at, ConfigErrorKind::unknown("failure", token.text, known));
            }
        }
    }
    (!args.failed()).then_some(all)
}

/// `20% [min 10/s]`, or `none`.
fn retry_budget(args: &mut Args<'_>) -> Option<Option<RetryBudget>> {
    if args.accept("none") {
        return Some(None);
    }
    let mut budget =
        RetryBudget { percent: percent(args, "retry-budget")?, ..RetryBudget::default() };
    if args.accept("min") {
        let expected = "a number of retries per second, such as `10/s`";
        let token = args.next(expected)?;
        let number = token.text.strip_suffix("/s").unwrap_or(token.text);
        match number.parse() {
            Ok(min) if number.bytes().all(|byte| byte.is_ascii_digit()) => budget.min_per_s = min,
            _ => {
                args.bad(token, "min", expected);
                return None;
            }
        }
    }
    Some(Some(budget))
}

/// A share from 0% to 100%, with or without its sign.
fn percent(args: &mut Args<'_>, what: &'static str) -> Option<u32> {
    let expected = "a share such as `20%`";
    let token = args.next(expected)?;
    let number = token.text.strip_suffix('%').unwrap_or(token.text);
    match number.parse() {
        Ok(percent @ 0..=100) if number.bytes().all(|byte| byte.is_ascii_digit()) => Some(percent),
        Ok(_) => {
            args.bad(token, what, "0% to 100%");
            None
        }
        Err(_) => {
            args.bad(token, what, expected);
            None
        }
    }
}

/// What follows `outlier-ejection`; `None` takes an inherited one back.
fn outlier_ejection(args: &mut Args<'_>) -> Option<OutlierConfig> {
    if args.accept("none") {
        return None;
    }
    let mut config = OutlierConfig::default();
    let mut before: Vec<&str> = Vec::new();
    while let Some(word) = args.next_if_any() {
        if before.contains(&word.text) {
            args.bad(word, "outlier-ejection", "each setting once");
        }
        before.push(word.text);
        // A value that is wrong is reported, and the default stands in for it until the end of the line.
        match word.text {
            "consecutive" => read(&mut config.consecutive, args.integer("count", 0..=NUMBER_MAX)),
            "interval" => read(&mut config.interval_ms, time(args)),
            "base-time" => read(&mut config.base_ms, time(args)),
            "max-time" => read(&mut config.max_ms, time(args)),
            "max-ejected" => read(&mut config.max_ejected_percent, percent(args, "max-ejected")),
            "success-rate-stdev" => read(&mut config.success_rate_stdev, factor(args, word)),
            "latency-factor" => read(&mut config.latency_factor, factor(args, word)),
            "min-requests" => {
                let count = args.integer("count", 1..=NUMBER_MAX);
                read(&mut config.min_requests, count.map(u64::from));
            }
            other => {
                let kind =
                    ConfigErrorKind::unknown("setting", other, OUTLIER_WORDS.iter().copied());
                args.fail(word.at, kind);
                return None;
            }
        }
    }
    if config.max_ms < config.base_ms {
        args.fail(
            args.at(),
            super::mistake::ProxyMistake::Says {
                title: "`max-time` is shorter than `base-time`".to_owned(),
                help: "the first ejection lasts `base-time`, each further one twice as long, none longer than `max-time`",
            }
            .into(),
        );
    }
    Some(config)
}

fn read<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// A time of at least 100 ms.
fn time(args: &mut Args<'_>) -> Option<u64> {
    let token = args.peek();
    let time = args.duration()?;
    if time < Duration::from_millis(100)
        && let Some(token) = token
    {
        args.bad(token, "time", "at least 100ms");
        return None;
    }
    u64::try_from(time.as_millis()).ok()
}

/// `1.9` as thousandths; 0 is off. Below 1 it would eject those that are better than the rest.
fn factor(args: &mut Args<'_>, word: Token<'_>) -> Option<u32> {
    const EXPECTED: &str = "a factor such as `1.9`, or 0 for no limit";
    let token = args.next(EXPECTED)?;
    let (whole, part) = token.text.split_once('.').unwrap_or((token.text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = (digits(whole) && digits(part) && part.len() <= 3)
        .then(|| format!("{whole}{part:0<3}").parse().ok())
        .flatten();
    if number.is_none_or(|number: u32| number != 0 && !(1000..=FACTOR_MAX * 1000).contains(&number))
    {
        args.bad(token, word.text.to_owned(), format!("{EXPECTED}, from 1 to {FACTOR_MAX}"));
        return None;
    }
    number
}

const OUTLIER_WORDS: [&str; 9] = [
    "none",
    "consecutive",
    "interval",
    "base-time",
    "max-time",
    "max-ejected",
    "success-rate-stdev",
    "latency-factor",
    "min-requests",
];

const FACTOR_MAX: u32 = 1000;
