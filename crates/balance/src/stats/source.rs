use super::{Info, Row};

/// What a plane shows of itself and lets an operator change.
///
/// Status pages, sockets and exporters know a plane by this alone. It is asked on the control thread and answers from
/// counters and the running configuration, without waiting for anything.
pub trait Source: Send + Sync {
    /// How many proxies there are. A reload may change it between two calls.
    fn proxies(&self) -> usize;

    /// The proxy at a place, counted from 0 in the order of the configuration, with the rows that `kinds` selects:
    /// its frontend, its listeners, its servers, its backend, in this order. `None` past the last.
    ///
    /// One proxy at a time, so that a dump of many needs no more memory than the largest of them.
    fn proxy(&self, at: usize, kinds: Kinds) -> Option<Proxy>;

    /// Sets the fields of `show info` that it knows.
    fn info(&self, info: &mut Info);

    /// Carries out what an operator asked for.
    ///
    /// # Errors
    /// Nothing has changed, for the reason given.
    fn act(&self, backend: &str, server: &str, action: &Action) -> Result<(), ActError>;
}

/// A proxy as it is shown.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// `description`.
    pub description: Option<String>,
    pub rows: Vec<Row>,
}

/// Which rows are wanted: a sum of the numbers that `show stat` takes as its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(pub u8);

impl Kinds {
    pub const FRONTEND: Self = Self(1);
    pub const BACKEND: Self = Self(2);
    pub const SERVER: Self = Self(4);
    pub const LISTENER: Self = Self(8);
    pub const ALL: Self = Self(15);

    /// Whether rows of that kind are wanted.
    pub fn has(self, kind: Self) -> bool {
        self.0 & kind.0 != 0
    }
}

/// What an operator may ask of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Out of maintenance and draining.
    Ready,
    /// No new units except by persistence.
    Drain,
    /// Taken out.
    Maintenance,
    /// A new weight, absolute (`5`) or relative to the configured one (`50%`).
    Weight(String),
    DisableChecks,
    EnableChecks,
    /// What the checks have found is replaced; the next check may change it again.
    ForceUp,
    /// Up, but stopping: no new units except by persistence.
    ForceStopping,
    ForceDown,
    DisableAgent,
    EnableAgent,
    AgentUp,
    AgentDown,
    /// Ends its sessions.
    KillSessions,
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActError {
    UnknownBackend,
    UnknownServer,
    /// The weight is no number from 0 to 256 and no percentage.
    BadWeight,
    /// The server is in no state for it: it has no check or agent, or follows another server.
    NotPossible,
}
