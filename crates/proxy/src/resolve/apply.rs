//! What is found changes servers: their addresses, ports and weights, maintenance, and HAProxy's lines about all that.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use telamon_balance::Admin;
use telamon_dns_proto::{Name, Status};
use telamon_runtime::Endpoint;

use crate::log::{Level, notice, send};
use crate::model::{Proxy, Server};
use crate::snapshot::Snapshot;
use crate::state::{Address, ServerState};
use crate::state_change::{self, Order, Place};
use crate::worker::Shared;

/// A server that records are applied to.
pub(super) struct Target<'a> {
    pub(super) shared: &'a Shared,
    pub(super) snapshot: &'a Snapshot,
    pub(super) place: Place,
}

impl Target<'_> {
    /// It is at this address, says `updater`.
    pub(super) fn move_to(&self, ip: IpAddr, port: Option<u16>, updater: &str) {
        let Some((proxy, server)) = self.parts() else { return };
        let state = &server.state;
        let before = state.address();
        let mut now = before.clone().with_ip(Some(ip));
        if let (Endpoint::Inet(inet), Some(port)) = (&mut now.endpoint, port) {
            inet.set_port(port);
            now.mapped_port = None;
        }
        if now == before {
            return;
        }
        let old = known_ip(&before);
        state.set_address(now);
        if old != Some(ip) {
            let old = old.map_or_else(|| "(none)".to_owned(), |ip| ip.to_string());
            let name = &server.name;
            let line =
                format!("{}/{name} changed its IP from {old} to {ip} by {updater}.", proxy.name);
            notice::warning(format_args!("{line}"));
            send(Level::Notice, proxy, &line);
        }
    }

    /// It is at this port, says a record of its service.
    pub(super) fn set_port(&self, port: u16) {
        let Some((_, server)) = self.parts() else { return };
        let mut address = server.state.address();
        if let Endpoint::Inet(inet) = &mut address.endpoint
            && (inet.port() != port || address.mapped_port.is_some())
        {
            inet.set_port(port);
            address.mapped_port = None;
            server.state.set_address(address);
        }
    }

    /// It has an address again, because its host's name was answered.
    pub(super) fn found(&self) {
        let Some((proxy, server)) = self.parts() else { return };
        if !is_lost(&server.state) {
            return;
        }
        self.order(Order::Resolved, "");
        let line = format!(
            "Server {}/{} administratively READY thanks to valid DNS answer.",
            proxy.name, server.name
        );
        notice::warning(format_args!("{line}"));
        send(Level::Notice, proxy, &line);
    }

    /// It has an address again, because a record of its service came with one.
    pub(super) fn listed(&self) {
        self.order(Order::Resolved, "");
    }

    /// It has no address any more; does nothing where that is known.
    pub(super) fn lost(&self, cause: &str) {
        let Some((_, server)) = self.parts() else { return };
        if is_lost(&server.state) {
            return;
        }
        self.order(Order::Unresolved, cause);
        clear(&server.state, None);
    }

    /// Its service's record is gone.
    pub(super) fn unlisted(&self) {
        let Some((_, server)) = self.parts() else { return };
        self.order(Order::Unresolved, "entry removed from SRV record");
        clear(&server.state, Some(0));
        server.state.set_host(None);
    }

    /// It stands for this host of its service from now on.
    pub(super) fn named(&self, host: &Name) {
        let Some((proxy, server)) = self.parts() else { return };
        if server.state.host().as_ref() == Some(host) {
            return;
        }
        let before =
            server.state.host().map_or_else(|| "(null)".to_owned(), |host| host.to_string());
        server.state.set_host(Some(host.clone()));
        server.state.renamed.store(true, Relaxed);
        let line = format!(
            "{}/{} changed its FQDN from {before} to {host} by 'SRV record'",
            proxy.name, server.name
        );
        send(Level::Notice, proxy, &line);
    }

    /// An SRV record's weight, 0 to 65535, becomes one of 0 to 256.
    pub(super) fn weigh(&self, weight: u16) {
        let Some((proxy, server)) = self.parts() else { return };
        let Some(backend) = &proxy.backend else { return };
        let weight = u32::from(weight).div_ceil(256);
        let member = &server.state.member;
        let allowed =
            backend.pool.follows_weights() || weight == 0 || weight == member.weight_initial();
        if member.weight() != weight && allowed {
            member.set_weight(weight);
            state_change::rebalance(self.shared, self.snapshot, self.place);
        }
    }

    fn order(&self, order: Order, cause: &str) {
        state_change::order(self.shared, self.snapshot, self.place, order, cause);
    }

    fn parts(&self) -> Option<(&Proxy, &Server)> {
        let Place { proxy, server } = self.place;
        let model = &self.snapshot.model;
        Some((model.proxies.get(proxy.0 as usize)?, model.server(proxy, server)?))
    }
}

/// Where the server is, if that is known.
pub(super) fn known_ip(address: &Address) -> Option<IpAddr> {
    address.endpoint.ip().filter(|ip| !ip.is_unspecified())
}

/// Why a server is taken out of service.
pub(super) fn cause(status: Status) -> &'static str {
    match status {
        Status::NoName => "DNS NX status",
        Status::Timeout => "DNS timeout status",
        Status::Refused => "DNS refused status",
        Status::Valid | Status::Other => "unspecified DNS error",
    }
}

fn is_lost(state: &ServerState) -> bool {
    state.member.status().admin.has(Admin::MAINT_RESOLUTION)
}

/// Takes the address away, and sets the port.
fn clear(state: &ServerState, port: Option<u16>) {
    let mut address = state.address().with_ip(Some(std::net::Ipv4Addr::UNSPECIFIED.into()));
    if let (Endpoint::Inet(inet), Some(port)) = (&mut address.endpoint, port) {
        inet.set_port(port);
    }
    state.set_address(address);
}
