//! Servers whose addresses name servers know: who is asked for what, and when.
//!
//! ```text
//! calendar ── due ──> Lookup ── question ──> Exchange ══> name servers
//!    ^                                          │
//!    └── apply (address, port, weight, state) <─┴── Records ── slots: which record goes to which server
//! ```
//!
//! All of it runs on the control thread, in one task. What is on the wire, and the order of tries, is `telamon-dns-proto`'s;
//! [`section`] keeps the calendar, [`slots`] chooses, [`apply`] changes servers and logs, [`exchange`] has the sockets, [`counters`] what `show resolvers`
//! shows. Workers ask for names while traffic waits (`do-resolve`) with [`Names::find`].

mod apply;
mod counters;
mod engine;
mod exchange;
mod section;
mod slots;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use telamon_dns_proto::{Kind, Name};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

pub(crate) use counters::{AllCounters, Counters};

use crate::model::Model;
use crate::snapshot::Snapshot;
use crate::state_change::Place;
use crate::worker::Shared;

/// The look-ups of the running configuration. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Resolving {
    newest: watch::Sender<Arc<Snapshot>>,
    task: AbortHandle,
}

/// The way to [`Resolving`] from other threads, and what it counts.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) counters: AllCounters,
    demands: mpsc::Sender<Demand>,
    /// Until the task takes it.
    inbox: Mutex<Option<mpsc::Receiver<Demand>>>,
}

/// What is asked of the task.
#[derive(Debug)]
enum Demand {
    /// `do-resolve`: an address of a host.
    Find(Find),
    /// Servers have new hosts (`set server … fqdn`).
    Renamed,
    /// A server does not answer: its name may have another address by now.
    Doubted(Place),
}

#[derive(Debug)]
struct Find {
    section: Box<str>,
    host: Name,
    prefer: Kind,
    reply: oneshot::Sender<Option<IpAddr>>,
}

/// How many descriptors the name servers of a configuration may hold.
pub fn descriptors_max(model: &Model) -> usize {
    let nameservers = model.resolvers.iter().flat_map(|section| &section.nameservers);
    nameservers
        .map(|server| server.tcp.unwrap_or(1 + exchange::FALLBACK_CONNECTIONS_MAX))
        .sum::<u32>() as usize
}

impl Resolving {
    /// Begins to ask for the names of a configuration, whose servers have their first state.
    ///
    /// # Panics
    /// Outside a `LocalSet`.
    pub(crate) fn start(snapshot: Arc<Snapshot>, shared: Arc<Shared>) -> Self {
        let (newest, snapshots) = watch::channel(Arc::clone(&snapshot));
        let inbox = shared.names.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Without an inbox nobody could ask; there is one process-wide task, which has taken it.
        let demands = inbox.unwrap_or_else(|| mpsc::channel(1).1);
        let engine = engine::Engine::new(shared, snapshot);
        let task = tokio::task::spawn_local(engine.keep(snapshots, demands)).abort_handle();
        Self { newest, task }
    }

    /// Asks by a new configuration. Servers that stay keep their records.
    pub(crate) fn reload(&self, snapshot: Arc<Snapshot>) {
        self.newest.send_replace(snapshot);
    }
}

impl Drop for Resolving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Default for Names {
    fn default() -> Self {
        let (demands, inbox) = mpsc::channel(DEMANDS_MAX);
        Self { counters: AllCounters::default(), demands, inbox: Mutex::new(Some(inbox)) }
    }
}

impl Names {
    /// An address of a host, of the preferred family if it has one; `None` where name servers know none.
    pub(crate) async fn find(&self, section: &str, host: Name, prefer: Kind) -> Option<IpAddr> {
        let (reply, found) = oneshot::channel();
        let find = Find { section: section.into(), host, prefer, reply };
        self.demands.send(Demand::Find(find)).await.ok()?;
        found.await.ok().flatten()
    }

    /// Servers have new hosts.
    pub(crate) fn renamed(&self) {
        // A full inbox is emptied soon, and whatever is done then sees the new hosts only at the next look; so it waits.
        if let Err(mpsc::error::TrySendError::Full(demand)) = self.demands.try_send(Demand::Renamed)
        {
            let demands = self.demands.clone();
            tokio::task::spawn_local(async move { demands.send(demand).await });
        }
    }

    /// A check of this server found no way to it.
    pub(crate) fn doubt(&self, place: Place) {
        // Under a flood it is asked for soon enough anyway.
        let _ = self.demands.try_send(Demand::Doubted(place));
    }
}

/// Demands that wait; those who have more to ask wait themselves.
const DEMANDS_MAX: usize = 1024;
