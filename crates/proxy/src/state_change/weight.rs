//! Weights and limits as sockets, pages and agents write them.

use telamon_balance::Limits;
use telamon_balance::member::WEIGHT_MAX;

use super::{Place, Site, rebalance};
use crate::snapshot::Snapshot;
use crate::worker::Shared;

/// Sets a weight that is written absolute (`5`) or as a part of the configured one (`50%`).
///
/// # Errors
/// What HAProxy says of a wrong one.
pub(crate) fn set_weight(
    shared: &Shared,
    snapshot: &Snapshot,
    place: Place,
    word: &str,
) -> Result<(), &'static str> {
    let Some(site) = Site::new(shared, snapshot, place) else { return Ok(()) };
    let member = &site.server.state.member;
    let initial = member.weight_initial();
    let weight = parse_weight(word, initial)?;
    if !site.backend.pool.follows_weights() && weight != 0 && weight != initial {
        return Err("Backend is using a static LB algorithm and only accepts weights '0%' and \
                    '100%'.\n");
    }
    // Agents say the same again and again.
    if member.weight() != weight {
        member.set_weight(weight);
        rebalance(shared, snapshot, place);
        site.tell_drained();
    }
    Ok(())
}

/// Sets the most connections at a time; 0 is no limit.
///
/// # Errors
/// What HAProxy says of a wrong number.
pub(crate) fn set_maxconn(
    shared: &Shared,
    snapshot: &Snapshot,
    place: Place,
    word: &str,
) -> Result<(), &'static str> {
    if word.is_empty() {
        return Err("Require <maxconn>.\n");
    }
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("maxconn string empty or preceded by garbage");
    }
    let maxconn = word.parse().map_err(|_| "Trailing garbage in maxconn string")?;
    let Some(site) = Site::new(shared, snapshot, place) else { return Ok(()) };
    let member = &site.server.state.member;
    if member.limits().maxconn != maxconn {
        member.set_limits(Limits { maxconn, ..member.limits() });
        rebalance(shared, snapshot, place);
    }
    Ok(())
}

fn parse_weight(word: &str, initial: u32) -> Result<u32, &'static str> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() {
        return Err("Empty weight string empty or preceded by garbage");
    }
    // A number with more digits than fit is out of any range.
    let number: u64 = digits.parse().unwrap_or(u64::MAX);
    let negative = word.starts_with('-') && number > 0;
    match rest {
        "%" if negative => Err("Relative weight must be positive.\n"),
        "%" => {
            let weight = u64::from(initial).saturating_mul(number) / 100;
            Ok(u32::try_from(weight).unwrap_or(WEIGHT_MAX).min(WEIGHT_MAX))
        }
        _ if negative || number > WEIGHT_MAX.into() => {
            Err("Absolute weight can only be between 0 and 256 inclusive.\n")
        }
        "" => Ok(number as u32),
        _ => Err("Trailing garbage in weight string"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_as_haproxy_reads_them() {
        #[track_caller]
        fn check(word: &str, expected: Result<u32, &str>) {
            assert_eq!(parse_weight(word, 5), expected);
        }
        const RANGE: &str = "Absolute weight can only be between 0 and 256 inclusive.\n";
        check("0", Ok(0));
        check("256", Ok(256));
        check("257", Err(RANGE));
        check("-1", Err(RANGE));
        check("50%", Ok(2));
        check("6000%", Ok(256));
        check("99999999999999999999%", Ok(256));
        check("-5%", Err("Relative weight must be positive.\n"));
        check("abc", Err("Empty weight string empty or preceded by garbage"));
        check("500%x", Err(RANGE));
        check("12x", Err("Trailing garbage in weight string"));
    }
}
