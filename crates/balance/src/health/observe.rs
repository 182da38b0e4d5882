//! What traffic tells of a member's health: which signs count, and what enough bad ones in a row do.
//!
//! Source: HAProxy configuration manual, `observe`, `error-limit`, `on-error`.

use super::{CheckResult, Checked, Health};

/// What is looked at: `observe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observe {
    /// Whether connections can be made.
    Layer4,
    /// What is answered.
    Layer7,
}

/// What happens after `error-limit` errors in a row: `on-error`. Each of them hurries the next check
/// where `fastinter` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Nothing else.
    FastInter,
    /// A check is taken to have failed.
    #[default]
    FailCheck,
    /// As much, and the next failed check takes it down.
    SuddenDeath,
    /// It goes down.
    MarkDown,
}

/// `observe` of one member with what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// What is looked at.
    pub observe: Observe,
    /// Errors in a row that are enough, from 1; default 10.
    pub limit: u32,
    /// What they do.
    pub on_error: OnError,
}

/// One thing that traffic showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A connection was made, or an idle one used again.
    Connected,
    /// No connection could be made.
    NotConnected,
    /// An answer whose status is no fault of the member's.
    Answered,
    /// An answer with a status from 500 on, other than 501 and 505, which the request brings about.
    WrongStatus,
    /// What came is no answer.
    BadHead,
    /// An answer that could not be passed on, or broke off in its body.
    BadAnswer,
    /// The connection broke before an answer.
    ReadError,
    /// No answer in time.
    Timeout,
    /// The connection was closed before an answer.
    Closed,
}

impl Sign {
    /// The sign that a status is.
    pub fn of_status(status: u16) -> Self {
        match status {
            100..=499 | 501 | 505 => Self::Answered,
            _ => Self::WrongStatus,
        }
    }

    /// As HAProxy's logs say it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Connected => "L4 successful connection",
            Self::NotConnected => "L4 unsuccessful connection",
            Self::Answered => "Correct http response",
            Self::WrongStatus => "Wrong http response",
            Self::BadHead => "Invalid http response (headers)",
            Self::BadAnswer => "Invalid http response",
            Self::ReadError => "Read error (http)",
            Self::Timeout => "Read timeout (http)",
            Self::Closed => "Close from server (http)",
        }
    }

    /// Whether it is good; `None` where it says nothing to one who looks at that layer.
    pub fn is_good(self, observe: Observe) -> Option<bool> {
        match (self, observe) {
            (Self::NotConnected, _) => Some(false),
            (Self::Connected, Observe::Layer4) | (Self::Answered, Observe::Layer7) => Some(true),
            (Self::Connected, Observe::Layer7) | (_, Observe::Layer4) => None,
            (_, Observe::Layer7) => Some(false),
        }
    }
}

impl Health {
    /// Does what [`OnError`] says. `None` where that leaves the count alone.
    pub fn on_errors(&mut self, on_error: OnError, now_ms: u64) -> Option<Checked> {
        if !self.status.admin.in_maintenance()
            && let Some(checks) = &mut self.status.checks
        {
            match on_error {
                OnError::FastInter => return None,
                OnError::FailCheck => {}
                OnError::SuddenDeath => checks.health = checks.health.min(checks.rise + 1),
                OnError::MarkDown => checks.health = checks.rise,
            }
        }
        Some(self.on_result(CheckResult::Failed, now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::CheckConfig;
    use crate::member::Admin;

    #[test]
    fn each_layer_has_its_signs() {
        /// Good, bad or nothing for those who look at layer 4 and at layer 7.
        #[track_caller]
        fn check(sign: Sign, layer4: Option<bool>, layer7: Option<bool>) {
            assert_eq!(
                (sign.is_good(Observe::Layer4), sign.is_good(Observe::Layer7)),
                (layer4, layer7)
            );
        }
        check(Sign::Connected, Some(true), None);
        check(Sign::NotConnected, Some(false), Some(false));
        check(Sign::Answered, None, Some(true));
        for sign in [Sign::WrongStatus, Sign::BadHead, Sign::BadAnswer, Sign::ReadError] {
            check(sign, None, Some(false));
        }
        for sign in [Sign::Timeout, Sign::Closed] {
            check(sign, None, Some(false));
        }
    }

    #[test]
    fn a_status_is_good_or_wrong() {
        #[track_caller]
        fn check(statuses: &[u16], sign: Sign) {
            for status in statuses {
                assert_eq!(Sign::of_status(*status), sign, "{status}");
            }
        }
        check(&[100, 200, 304, 404, 499, 501, 505], Sign::Answered);
        check(&[500, 502, 503, 504, 506, 599, 600, 999], Sign::WrongStatus);
    }

    #[test]
    fn errors_move_the_state_as_in_haproxy() {
        /// `+` and `-` are checks, `f`, `d`, `m` and `i` what `on-error` does.
        #[track_caller]
        fn check(rise: u16, fall: u16, script: &str, expected: &str) {
            let config = CheckConfig { rise, fall, ..CheckConfig::default() };
            let mut health = Health::new(Some(config), Admin::READY, 0);
            let mut states = Vec::new();
            for step in script.chars() {
                let on_error = match step {
                    'i' => OnError::FastInter,
                    'f' => OnError::FailCheck,
                    'd' => OnError::SuddenDeath,
                    'm' => OnError::MarkDown,
                    '+' => {
                        health.on_result(CheckResult::Passed, 0);
                        states.push(health.status().text(None));
                        continue;
                    }
                    _ => {
                        health.on_result(CheckResult::Failed, 0);
                        states.push(health.status().text(None));
                        continue;
                    }
                };
                let counted = health.on_errors(on_error, 0);
                assert_eq!(counted.is_none(), on_error == OnError::FastInter);
                states.push(health.status().text(None));
            }
            assert_eq!(states.join(", "), expected);
        }
        check(2, 3, "+i", "UP, UP");
        check(2, 3, "+fff", "UP, UP 2/3, UP 1/3, DOWN");
        check(2, 9, "+d-", "UP, UP 1/9, DOWN");
        check(2, 9, "+dd", "UP, UP 1/9, DOWN");
        check(2, 9, "+m+", "UP, DOWN, DOWN 1/2");
        check(3, 2, "---+m", "DOWN, DOWN, DOWN, DOWN 1/3, DOWN");
    }

    #[test]
    fn in_maintenance_and_without_checks_nothing_happens() {
        let mut health = Health::new(None, Admin::READY, 0);
        assert_eq!(health.on_errors(OnError::MarkDown, 0).map(|c| c.counted), Some(false));
        let mut health = Health::new(Some(CheckConfig::default()), Admin::MAINT_FORCED, 0);
        assert_eq!(health.on_errors(OnError::MarkDown, 0).map(|c| c.counted), Some(false));
    }
}
