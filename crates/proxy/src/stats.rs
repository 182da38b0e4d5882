//! The proxy in numbers: a row for every frontend, listener, server and backend, and the fields of `show info`.
//!
//! Which columns a row has, and which stay empty, is HAProxy's choice for the same object in the same state, so that
//! tools find the same CSV. What HAProxy counts and this process has no notion of (TLS, HTTP/2, compression, agents)
//! is 0 or empty as in a HAProxy that does not use it; nothing is estimated. Sessions of HTTP frontends are
//! connections of HTTP/1, so `h1_*` are derived; `h1_open_streams` is not counted and 0.

mod info;
mod row;

use std::sync::Mutex;

use telamon_balance::stats::{self, ActError, Action, Info, Kinds, Source};

use crate::model::Proxy;
use crate::view::View;

pub use info::VERSION;

use info::CpuMeter;
use row::Now;

/// The proxy as a [`Source`] of the console.
#[derive(Debug)]
pub struct Statistics {
    view: View,
    cpu: Mutex<CpuMeter>,
}

impl Statistics {
    pub fn new(view: View) -> Self {
        Self { view, cpu: Mutex::default() }
    }
}

impl Source for Statistics {
    fn proxies(&self) -> usize {
        self.view.snapshot().model.proxies.iter().filter(|proxy| is_shown(proxy)).count()
    }

    fn proxy(&self, at: usize, kinds: Kinds) -> Option<stats::Proxy> {
        let snapshot = self.view.snapshot();
        let proxy = snapshot.model.proxies.iter().filter(|proxy| is_shown(proxy)).nth(at)?;
        let now = Now::of(&self.view.shared);
        let mut rows = Vec::new();
        if let Some(frontend) = &proxy.frontend {
            if kinds.has(Kinds::FRONTEND) {
                rows.push(row::frontend(proxy, frontend, &self.view.shared, now));
            }
            if kinds.has(Kinds::LISTENER) && proxy.options.socket_stats {
                rows.extend(
                    frontend.listeners.iter().map(|listener| row::listener(proxy, listener)),
                );
            }
        }
        if let Some(backend) = &proxy.backend {
            if kinds.has(Kinds::SERVER) {
                let server = |server| row::server(&snapshot.model, proxy, server, now);
                rows.extend(backend.servers.iter().map(server));
            }
            if kinds.has(Kinds::BACKEND) {
                rows.push(row::backend(proxy, backend, now));
            }
        }
        let description = proxy.description.as_deref().map(str::to_owned);
        Some(stats::Proxy { description, rows })
    }

    fn info(&self, info: &mut Info) {
        info::fill(&self.view, &self.cpu, info);
    }

    fn act(&self, backend: &str, server: &str, action: &Action) -> Result<(), ActError> {
        crate::api::act(&self.view, backend, server, action)
    }
}

/// Proxies that are `disabled` are not shown.
fn is_shown(proxy: &Proxy) -> bool {
    !proxy.disabled
}
