use std::sync::Arc;

use telamon_tls::Connector;

use crate::expr::Expr;

/// How a server is spoken to by TLS (`ssl` of a `server` line).
#[derive(Debug)]
pub struct ServerTls {
    pub connector: Arc<Connector>,
    /// `sni`: the name that is sent, evaluated for each connection; none sends no name.
    pub sni: Option<Arc<Expr>>,
}

/// How a server's checks use TLS (`check-ssl`, or `ssl` where checks go where the traffic goes).
#[derive(Debug)]
pub struct CheckTls {
    /// With the protocols of `check-alpn`.
    pub connector: Arc<Connector>,
    /// `check-sni`
    pub sni: Option<Box<str>>,
    /// Else only where a script's `connect … ssl` asks for it.
    pub always: bool,
}

/// A version of HTTP that a line names (`proto`, `ws`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    Http1,
    Http2,
}
