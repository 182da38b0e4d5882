use std::sync::Arc;

use telamon_config::Location;
use telamon_runtime::BindSpec;

use super::ProxyId;
use crate::state::ListenerState;

/// One address that a frontend accepts on: a `bind` line makes one for each address and port.
#[derive(Debug)]
pub struct Listener {
    pub frontend: ProxyId,
    /// The frontend's name, by which it is found again after a reload.
    pub proxy_name: Arc<str>,
    /// `name`, else the address as the statistics show it (`sock-N`).
    pub name: Box<str>,
    /// HAProxy's numeric id (`id`, else counted from 1).
    pub number: u32,
    pub at: Location,
    pub bind: BindSpec,
    /// `maxconn` of this listener; 0 is no limit of its own.
    pub maxconn: u32,
    /// Connections begin with the header of the PROXY protocol.
    pub accept_proxy: bool,
    /// `ssl` and what belongs to it: what is offered; `None` speaks plain text.
    pub tls: Option<Arc<telamon_tls::Acceptor>>,
    /// `proto`: the protocol where ALPN does not say; `None` finds out.
    pub protocol: Option<super::HttpVersion>,
    pub state: Arc<ListenerState>,
}

/// `stats socket ADDRESS [level …] [mode …] …`.
#[derive(Debug)]
pub struct StatsSocket {
    pub bind: BindSpec,
    pub level: telamon_runtime::api::Level,
    /// `maxconn` of this socket; `None` is no limit besides `stats maxconn`.
    pub maxconn: Option<u32>,
    /// `expose-fd listeners`: the listening sockets can be fetched here.
    pub exposes: bool,
    /// It is the master's (`-S`): it also speaks of processes.
    pub master: bool,
    pub at: Location,
}
