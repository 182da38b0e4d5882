use std::net::SocketAddr;
use std::time::Duration;

/// How the servers of a backend are checked: the method is the backend's, the rhythm each server's.
#[derive(Debug, Clone, Default)]
pub enum CheckMethod {
    /// A connection that opens is healthy.
    #[default]
    Connect,
    /// `option httpchk` with its `http-check` rules, or `option tcp-check` with its `tcp-check` rules.
    Script(std::sync::Arc<crate::check::Script>),
}

/// `check` and its settings on a server line.
#[derive(Debug, Clone)]
pub struct ServerCheck {
    /// Between checks of a server in a settled state; default 2 s.
    pub inter: Duration,
    /// Between checks while a server is going up or down; default `inter`.
    pub fastinter: Option<Duration>,
    /// Between checks of a server that is down; default `inter`.
    pub downinter: Option<Duration>,
    /// Successes that bring a server up; default 2.
    pub rise: u32,
    /// Failures that take a server down; default 3.
    pub fall: u32,
    /// `addr` and `port` where they differ from the server's own.
    pub address: Option<std::net::IpAddr>,
    pub port: Option<u16>,
}

impl ServerCheck {
    /// The address that is checked, given where the server is now.
    pub fn target(&self, server: SocketAddr) -> SocketAddr {
        SocketAddr::new(
            self.address.unwrap_or(server.ip()),
            self.port.unwrap_or(server.port()),
        )
    }
}
