use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use telamon_config::Location;
use telamon_dns_proto::{Hold, Kind, Name, Schedule};

use crate::expr::Network;

/// One `resolvers` section: name servers, and how they are asked.
#[derive(Debug)]
pub struct Resolvers {
    pub name: Box<str>,
    pub at: Location,
    pub nameservers: Vec<Nameserver>,
    /// `accepted_payload_size`: bytes of an answer over UDP, at most; 512 unless set.
    pub payload_size: u16,
    /// `resolve_retries`, `timeout resolve`, `timeout retry`; 3 tries, a second each unless set.
    pub schedule: Schedule,
    /// `hold …`; 30 s, for `valid` 10 s and for `obsolete` 0 unless set.
    pub hold: Hold,
}

/// One `nameserver`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nameserver {
    pub name: Box<str>,
    pub address: SocketAddr,
    /// `tcp@`: asked over TCP, on at most so many connections at a time; `None` is UDP.
    pub tcp: Option<u32>,
}

/// How a server's address is found while traffic flows.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    /// The name of the `resolvers` section.
    pub resolvers: Arc<str>,
    pub from: ResolvedFrom,
    /// `resolve-prefer`; IPv6 unless set.
    pub prefer: Kind,
    /// `resolve-net`: addresses that are taken before others.
    pub networks: Vec<Network>,
    /// `resolve-opts allow-dup-ip`: another server of the backend may have the same address.
    pub allow_duplicates: bool,
    /// `resolve-opts ignore-weight`: an SRV record says nothing of the weight.
    pub ignore_weight: bool,
}

/// What name servers are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolvedFrom {
    /// The addresses of a host.
    Host(Name),
    /// A service's hosts and ports (SRV), one for each server.
    Service(Name),
}

impl Resolution {
    /// Whether an address is in one of the preferred networks.
    pub(crate) fn prefers(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip))
    }

    /// The SRV name.
    pub fn service(&self) -> Option<&Name> {
        match &self.from {
            ResolvedFrom::Service(name) => Some(name),
            ResolvedFrom::Host(_) => None,
        }
    }
}
