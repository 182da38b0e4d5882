//! How a session ended, as the two letters of a log line. Source: HAProxy configuration manual, 8.5.

/// Who ended a session, the first character of HAProxy's termination state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    /// `-`: both sides in order.
    #[default]
    None,
    /// `C`: the client closed or broke off.
    Client,
    /// `S`: the server closed, refused or broke off.
    Server,
    /// `P`: the proxy, by a rule, a limit or an error in the traffic.
    Proxy,
    /// `L`: answered locally (redirect, statistics, monitor, return).
    Local,
    /// `R`: a resource of the proxy ran out.
    Resource,
    /// `I`: an internal error.
    Internal,
    /// `D`: the server went down (`on-marked-down shutdown-sessions`).
    Down,
    /// `U`: a primary server came back (`on-marked-up shutdown-backup-sessions`).
    Up,
    /// `K`: killed from the socket.
    Killed,
    /// `c`: `timeout client`.
    ClientTimeout,
    /// `s`: `timeout server` or `timeout connect`.
    ServerTimeout,
}

/// What was going on when it ended, the second character of HAProxy's termination state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// `-`: the last byte had gone.
    #[default]
    None,
    /// `R`: waiting for the request.
    Request,
    /// `Q`: in the queue.
    Queue,
    /// `C`: connecting.
    Connect,
    /// `H`: waiting for the response head.
    Headers,
    /// `D`: relaying data.
    Data,
    /// `L`: the last bytes to the client.
    Last,
    /// `T`: tarpit.
    Tarpit,
}

impl Cause {
    pub fn letter(self) -> u8 {
        match self {
            Self::None => b'-',
            Self::Client => b'C',
            Self::Server => b'S',
            Self::Proxy => b'P',
            Self::Local => b'L',
            Self::Resource => b'R',
            Self::Internal => b'I',
            Self::Down => b'D',
            Self::Up => b'U',
            Self::Killed => b'K',
            Self::ClientTimeout => b'c',
            Self::ServerTimeout => b's',
        }
    }
}

impl Phase {
    pub fn letter(self) -> u8 {
        match self {
            Self::None => b'-',
            Self::Request => b'R',
            Self::Queue => b'Q',
            Self::Connect => b'C',
            Self::Headers => b'H',
            Self::Data => b'D',
            Self::Last => b'L',
            Self::Tarpit => b'T',
        }
    }
}
