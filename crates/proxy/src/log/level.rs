//! Syslog's severities and facilities.

/// Syslog severity (RFC 5424, 6.2.1), the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Level {
    /// The words of a configuration, the gravest first.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("emerg", Self::Emergency),
        ("alert", Self::Alert),
        ("crit", Self::Critical),
        ("err", Self::Error),
        ("warning", Self::Warning),
        ("notice", Self::Notice),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// 0 to 7.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}

/// Syslog facility (RFC 5424, 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// The words of a configuration, by number.
    pub const NAMES: [&'static str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2",
        "ftp", "ntp", "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4",
        "local5", "local6", "local7",
    ];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().position(|known| *known == name).map(|number| Self(number as u8))
    }

    pub fn name(self) -> &'static str {
        Self::NAMES[usize::from(self.0)]
    }

    /// 0 to 23.
    pub(crate) fn number(self) -> u8 {
        self.0
    }
}
