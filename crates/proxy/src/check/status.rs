//! The words of check results, as HAProxy's logs and statistics have them.

use telamon_balance::health::CheckResult;

/// What a check found, by layer. Source: HAProxy management guide, `check_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckStatus {
    /// Never checked.
    #[default]
    Unknown,
    /// Will be checked.
    Initializing,
    /// An agent has answered, and nothing follows from it.
    Checked,
    /// Not a check: enough errors in a row were seen in its traffic (`observe`).
    Analyzed,
    SocketError,
    L4Ok,
    L4Timeout,
    L4Connection,
    L6Ok,
    L6Timeout,
    L6Response,
    L7Timeout,
    L7Response,
    L7Ok,
    L7OkConditional,
    L7Status,
    /// A program that checks: it failed, took too long, or was content.
    ProcessError,
    ProcessTimeout,
    ProcessOk,
}

impl CheckStatus {
    /// All of them, with their short names (`L7STS`) and descriptions (`Layer7 wrong status`).
    pub const ALL: [(Self, &'static str, &'static str); 19] = [
        (Self::Unknown, "UNK", "Unknown"),
        (Self::Initializing, "INI", "Initializing"),
        (Self::Checked, "CHECKED", "No status change"),
        (Self::Analyzed, "HANA", "Health analyze"),
        (Self::SocketError, "SOCKERR", "Socket error"),
        (Self::L4Ok, "L4OK", "Layer4 check passed"),
        (Self::L4Timeout, "L4TOUT", "Layer4 timeout"),
        (Self::L4Connection, "L4CON", "Layer4 connection problem"),
        (Self::L6Ok, "L6OK", "Layer6 check passed"),
        (Self::L6Timeout, "L6TOUT", "Layer6 timeout"),
        (Self::L6Response, "L6RSP", "Layer6 invalid response"),
        (Self::L7Timeout, "L7TOUT", "Layer7 timeout"),
        (Self::L7Response, "L7RSP", "Layer7 invalid response"),
        (Self::L7Ok, "L7OK", "Layer7 check passed"),
        (Self::L7OkConditional, "L7OKC", "Layer7 check conditionally passed"),
        (Self::L7Status, "L7STS", "Layer7 wrong status"),
        (Self::ProcessError, "PROCERR", "External check error"),
        (Self::ProcessTimeout, "PROCTOUT", "External check timeout"),
        (Self::ProcessOk, "PROCOK", "External check passed"),
    ];

    /// HAProxy's number of it, in dumps and files of states.
    pub fn number(self) -> u32 {
        match self {
            // One that is not checked counts as not yet checked.
            Self::Unknown | Self::Initializing => 1,
            Self::Checked => 3,
            Self::Analyzed => 4,
            Self::SocketError => 5,
            Self::L4Ok => 6,
            Self::L4Timeout => 7,
            Self::L4Connection => 8,
            Self::L6Ok => 9,
            Self::L6Timeout => 10,
            Self::L6Response => 11,
            Self::L7Timeout => 12,
            Self::L7Response => 13,
            Self::L7Ok => 15,
            Self::L7OkConditional => 16,
            Self::L7Status => 17,
            Self::ProcessError => 18,
            Self::ProcessTimeout => 19,
            Self::ProcessOk => 20,
        }
    }

    /// The status of that number; one that there is not is [`CheckStatus::Initializing`].
    pub fn from_number(number: u32) -> Self {
        let known = Self::ALL.iter().rev().find(|(status, ..)| status.number() == number);
        known.map_or(Self::Initializing, |(status, ..)| *status)
    }

    /// Finds a status by its short name, as `ok-status` and the like have it.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| known.as_bytes() == name).map(|(status, ..)| *status)
    }

    /// `L7STS`
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// `Layer7 wrong status`
    pub fn description(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    /// Whether the application itself was heard, so that its code is shown.
    pub fn has_code(self) -> bool {
        matches!(
            self,
            Self::L7Ok
                | Self::L7OkConditional
                | Self::L7Status
                | Self::ProcessError
                | Self::ProcessTimeout
                | Self::ProcessOk
        )
    }

    /// What it means for the server; `None` before the first check.
    pub fn result(self) -> Option<CheckResult> {
        match self {
            Self::Unknown | Self::Initializing | Self::Checked => None,
            Self::L4Ok | Self::L6Ok | Self::L7Ok | Self::ProcessOk => Some(CheckResult::Passed),
            Self::L7OkConditional => Some(CheckResult::PassedConditionally),
            _ => Some(CheckResult::Failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_finds_its_own_words() {
        for (status, name, description) in CheckStatus::ALL {
            assert_eq!((status.name(), status.description()), (name, description));
            assert_eq!(CheckStatus::from_name(name.as_bytes()), Some(status));
        }
    }
}
