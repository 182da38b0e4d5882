/// After which failures a request is sent again: `retry-on`. Source: HAProxy configuration manual.
///
/// A set of flags. Whatever is more than [`CONNECTION`](Self::CONNECTION) sends a request again that a server may have
/// seen; HAProxy does so whatever the method is, and so do we.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryOn(u16);

impl RetryOn {
    /// `none`
    pub const NONE: Self = Self(0);
    /// `conn-failure`: there was no connection, so nothing was sent.
    pub const CONNECTION: Self = Self(1);
    /// `empty-response`: the server closed before the end of a head.
    pub const EMPTY: Self = Self(2);
    /// `response-timeout`: `timeout server` passed before there was an answer.
    pub const TIMEOUT: Self = Self(4);
    /// `junk-response`: what came is no answer.
    pub const JUNK: Self = Self(8);
    /// `0rtt-rejected`: the server refused early data of TLS.
    pub const EARLY_DATA: Self = Self(16);

    /// The words of the configuration and what each stands for.
    pub const WORDS: [(&'static str, Self); 17] = [
        ("none", Self::NONE),
        ("conn-failure", Self::CONNECTION),
        ("empty-response", Self::EMPTY),
        ("junk-response", Self::JUNK),
        ("response-timeout", Self::TIMEOUT),
        ("0rtt-rejected", Self::EARLY_DATA),
        ("all-retryable-errors", Self::ALL),
        ("401", Self::of_status(401)),
        ("403", Self::of_status(403)),
        ("404", Self::of_status(404)),
        ("408", Self::of_status(408)),
        ("425", Self::of_status(425)),
        ("500", Self::of_status(500)),
        ("501", Self::of_status(501)),
        ("502", Self::of_status(502)),
        ("503", Self::of_status(503)),
        ("504", Self::of_status(504)),
    ];

    /// `all-retryable-errors`: all but the statuses that blame the request or a lack of ability.
    const ALL: Self = Self::CONNECTION
        .and(Self::EMPTY)
        .and(Self::TIMEOUT)
        .and(Self::JUNK)
        .and(Self::EARLY_DATA)
        .and(Self::of_status(500))
        .and(Self::of_status(502))
        .and(Self::of_status(503))
        .and(Self::of_status(504));

    /// The flag of a status; [`NONE`](Self::NONE) for one that cannot be asked for.
    pub const fn of_status(status: u16) -> Self {
        let shift = match status {
            401 => 5,
            403 => 6,
            404 => 7,
            408 => 8,
            425 => 9,
            500 => 10,
            501 => 11,
            502 => 12,
            503 => 13,
            504 => 14,
            _ => return Self::NONE,
        };
        Self(1 << shift)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `flags` is among them.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// Whether a request may be sent again that a server has seen.
    pub const fn replays(self) -> bool {
        self.0 & !Self::CONNECTION.0 != 0
    }

    /// Whether it covers every way in which a connection may turn out dead: then the first request of a client may
    /// use an idle one even under `http-reuse safe`.
    pub(crate) const fn covers_dead_connections(self) -> bool {
        let all = Self::CONNECTION.and(Self::EMPTY).and(Self::TIMEOUT).0;
        self.0 & all == all
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        Self::CONNECTION
    }
}
