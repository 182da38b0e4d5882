//! Servers that begin with the state they had in a former process (`load-server-state-from-file`).
//!
//! What the configuration says anew goes before what was saved: a weight, a `disabled`.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use telamon_balance::health::Forced;
use telamon_balance::{Admin, Run};
use telamon_runtime::Endpoint;

use super::{Reason, Site};
use crate::model::SavedState;
use crate::state::Address;

impl Site<'_> {
    /// Applies a saved state to a server that has just got its first.
    pub(super) fn restore(&self, saved: &SavedState) {
        let (state, server) = (&self.server.state, self.server);
        const CAUSE: Reason<'static> = Reason::Text("changed from server-state after a reload");
        match saved.run {
            Run::Stopped => self.force(Forced::Down, &CAUSE),
            Run::Stopping if server.check.as_ref().is_some_and(|check| check.fall == 1) => {
                self.force(Forced::Down, &CAUSE);
            }
            Run::Stopping => self.force(Forced::Stopping, &CAUSE),
            Run::Starting | Run::Running => self.force(Forced::Up, &Reason::None),
        }
        let configured = self.admin().has(Admin::MAINT_CONFIGURED);
        let maintain = if saved.maintenance_configured == configured {
            saved.maintenance_forced
        } else {
            // The configuration has changed its mind.
            configured
        };
        if maintain && !configured {
            self.set_flag(Admin::MAINT_FORCED, "");
        } else if !maintain {
            self.clear_flag(Admin::MAINT_FORCED.with(Admin::MAINT_CONFIGURED));
        }
        let drains = saved.drain_forced && !self.admin().has(Admin::MAINT_FORCED);
        // A drain that came of a weight of 0 goes with it.
        if drains && (saved.weight_initial > 0 || server.member_config.weight == 0) {
            self.set_flag(Admin::DRAIN_FORCED, "");
        }
        if saved.checks_disabled && server.check.is_some() {
            state.checks_disabled.store(true, Relaxed);
        }
        state.check_report().status = saved.check_status;
        if saved.weight_initial == server.member_config.weight {
            state.member.set_weight(saved.weight);
            self.settle();
        }
        self.restore_addresses(saved);
    }

    fn restore_addresses(&self, saved: &SavedState) {
        let (state, server) = (&self.server.state, self.server);
        let Address { endpoint, mapped_port } = state.address();
        if let (Some(inet), None) = (endpoint.inet(), mapped_port)
            && inet.port() != saved.port
        {
            let moved = Endpoint::Inet(SocketAddr::new(inet.ip(), saved.port));
            state.set_address(Address { endpoint: moved, mapped_port });
        }
        let of_check = server.check.as_ref().map(|check| (check.address, check.port));
        let of_agent = server.agent.as_ref().map(|agent| (agent.address, Some(agent.port)));
        let check = of_check.is_some_and(|of| {
            (saved.check_address, saved.check_port) != of
                && (saved.check_address.is_some() || saved.check_port.is_some())
        });
        let agent = of_agent.is_some_and(|of| {
            (saved.agent_address, saved.agent_port) != of
                && (saved.agent_address.is_some() || saved.agent_port.is_some())
        });
        if !(check || agent || (saved.agent_disabled && server.agent.is_some())) {
            return;
        }
        {
            let mut set = state.probing();
            if check {
                (set.check_address, set.check_port) = (saved.check_address, saved.check_port);
            }
            if agent {
                (set.agent_address, set.agent_port) = (saved.agent_address, saved.agent_port);
            }
        }
        if saved.agent_disabled && server.agent.is_some() {
            state.probing().agent_disabled = true;
            self.change(|health, _| health.set_agent(false));
        }
    }

    fn admin(&self) -> Admin {
        self.server.state.member.status().admin
    }
}
