//! The one task: keeps the calendar of look-ups, hears answers and shares them out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use telamon_dns_proto::{
    Answer, AnswerError, Event, Kind, Question, Record, Status, read_answer, write_query,
};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::Demand;
use super::apply::{Target, cause, known_ip};
use super::exchange::{Exchange, Heard};
use super::section::Section;
use super::slots::{Slot, Taker, Turn, Wishes, choose, fill, share_out};
use crate::log::warning;
use crate::model::{ProxyId, Resolution, Resolvers, ServerId};
use crate::snapshot::Snapshot;
use crate::state::ServerState;
use crate::state_change::Place;
use crate::worker::Shared;

/// Everything that is asked for.
pub(super) struct Engine {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    sections: Vec<Section>,
    /// The servers that take part, and where each is in the list.
    servers: Vec<Tracked>,
    by_state: HashMap<*const ServerState, usize>,
    sender: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
    exchanges_made: u64,
}

/// A server that takes part.
struct Tracked {
    place: Place,
    state: Arc<ServerState>,
    resolution: Resolution,
    section: usize,
    /// The address that it took from a record of its host.
    taken: Option<std::net::IpAddr>,
    /// The record of its service that it stands for.
    slot: Slot,
    /// That record came with the address: the host is not asked for.
    addressed: bool,
}

impl Engine {
    pub(super) fn new(shared: Arc<Shared>, snapshot: Arc<Snapshot>) -> Self {
        let (sender, heard) = mpsc::channel(HEARD_MAX);
        let mut engine = Self {
            shared,
            snapshot,
            sections: Vec::new(),
            servers: Vec::new(),
            by_state: HashMap::new(),
            sender,
            heard,
            exchanges_made: 0,
        };
        engine.fill();
        engine
    }

    /// Does what is due, until aborted.
    pub(super) async fn keep(
        mut self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        mut demands: mpsc::Receiver<Demand>,
    ) {
        loop {
            self.run_due();
            let now_ms = self.shared.now_ms();
            let next = self.sections.iter().filter_map(Section::next_ms).min();
            let wait = next.map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)));
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.snapshot = Arc::clone(&snapshots.borrow_and_update());
                    self.fill();
                }
                Some(heard) = self.heard.recv() => self.hear(heard),
                Some(demand) = demands.recv() => self.demand(demand),
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    /// Takes the sections and servers of the configuration. What is known of names and servers that stay is kept.
    fn fill(&mut self) {
        let model = Arc::clone(&self.snapshot);
        let now_ms = self.shared.now_ms();
        let mut old: HashMap<Box<str>, Section> =
            self.sections.drain(..).map(|section| (section.config.name.clone(), section)).collect();
        for config in &model.model.resolvers {
            let known = old.remove(&config.name);
            let section = match known {
                Some(mut known)
                    if known.config.nameservers == config.nameservers
                        && known.config.payload_size == config.payload_size
                        && known.config.schedule == config.schedule =>
                {
                    known.config = Arc::clone(config);
                    known
                }
                known => {
                    let exchange = self.exchange(config);
                    let mut section = Section::new(Arc::clone(config), exchange);
                    if let Some(known) = known {
                        section.take_over(known, now_ms);
                    }
                    section
                }
            };
            self.sections.push(section);
        }
        let mut before: HashMap<*const ServerState, Tracked> =
            self.servers.drain(..).map(|tracked| (Arc::as_ptr(&tracked.state), tracked)).collect();
        self.by_state.clear();
        for section in &mut self.sections {
            section.entries.iter_mut().flatten().for_each(|entry| entry.servers.clear());
        }
        for (proxy, config) in model.model.numbered() {
            let backend = config.backend.as_ref().filter(|_| !config.disabled);
            for server in backend.iter().flat_map(|backend| &backend.servers) {
                let Some(resolution) = &server.resolution else { continue };
                let Some(section) = self
                    .sections
                    .iter()
                    .position(|section| *section.config.name == *resolution.resolvers)
                else {
                    continue;
                };
                let pointer = Arc::as_ptr(&server.state);
                let known = before.remove(&pointer).filter(|known| {
                    known.resolution.from == resolution.from
                        && known.resolution.resolvers == resolution.resolvers
                });
                let (taken, slot, addressed) = known.map_or((None, None, false), |known| {
                    (known.taken, known.slot, known.addressed)
                });
                self.by_state.insert(pointer, self.servers.len());
                self.servers.push(Tracked {
                    place: Place { proxy, server: ServerId(server.index) },
                    state: Arc::clone(&server.state),
                    resolution: resolution.clone(),
                    section,
                    taken,
                    slot,
                    addressed,
                });
            }
        }
        for index in 0..self.servers.len() {
            let tracked = &self.servers[index];
            let section = tracked.section;
            if let Some(service) = tracked.resolution.service().cloned() {
                self.sections[section].entry(&service, Kind::Srv, now_ms).servers.push(index);
            }
            self.follow_host(index);
        }
        for section in &mut self.sections {
            section.drop_unused(now_ms);
        }
    }

    /// Lists a server with the host that it has now, unless a record of its service says where that is.
    fn follow_host(&mut self, index: usize) {
        let now_ms = self.shared.now_ms();
        let tracked = &mut self.servers[index];
        let host = tracked.state.host().filter(|_| !tracked.addressed);
        let (section, prefer) = (&mut self.sections[tracked.section], tracked.resolution.prefer);
        let Some(host) = host else {
            tracked.taken = None;
            return;
        };
        let entry = section.entry(&host, prefer, now_ms);
        if let Err(at) = entry.servers.binary_search(&index) {
            entry.servers.insert(at, index);
        }
    }

    /// Takes a server from the list of its host.
    fn leave_host(&mut self, index: usize) {
        let tracked = &mut self.servers[index];
        tracked.taken = None;
        let Some(host) = tracked.state.host() else { return };
        let section = &mut self.sections[tracked.section];
        let key = (host, tracked.resolution.prefer);
        if let Some(at) = section.by_name.get(&key)
            && let Some(entry) = &mut section.entries[*at]
        {
            entry.servers.retain(|server| *server != index);
        }
    }

    fn exchange(&mut self, config: &Resolvers) -> Exchange {
        self.exchanges_made += 1;
        let counters = |name: &str| self.shared.names.counters.of(&config.name, name);
        Exchange::new(self.exchanges_made, config, counters, self.sender.clone())
    }

    fn run_due(&mut self) {
        let now_ms = self.shared.now_ms();
        for section in 0..self.sections.len() {
            while let Some(index) = self.sections[section].take_due(now_ms) {
                let schedule = self.sections[section].config.schedule;
                let Some(entry) = &mut self.sections[section].entries[index] else { continue };
                let event = entry.lookup.handle_timeout(now_ms, &schedule);
                self.act(section, index, event);
            }
        }
    }

    /// Does what a lookup wants next, and puts it into the calendar.
    fn act(&mut self, section: usize, index: usize, event: Option<Event>) {
        match event {
            Some(Event::Ask(kind)) => self.sections[section].ask(index, kind),
            Some(Event::Failed(status)) => self.failed(section, index, status),
            None => {}
        }
        let now_ms = self.shared.now_ms();
        self.sections[section].plan(index, now_ms);
    }

    fn hear(&mut self, heard: Heard) {
        let number = heard.exchange;
        let Some(section) = self.sections.iter().position(|s| s.exchange.number == number) else {
            return; // of an earlier configuration
        };
        let now_ms = self.shared.now_ms();
        let from = &mut self.sections[section];
        let Some(counters) = from.exchange.counters(heard.nameserver) else { return };
        let too_big = heard.datagram
            && heard.message.as_ref().is_some_and(|m| m.len() > from.config.payload_size.into());
        if too_big {
            counters.too_big.fetch_add(1, Relaxed);
            return;
        }
        let Some((index, kind)) = from.questions.get(&heard.id).copied() else {
            counters.outdated.fetch_add(1, Relaxed);
            return;
        };
        let Some(entry) = from.entries[index].as_mut() else { return };
        let question = Question { id: heard.id, name: &entry.name, kind };
        let read = match &heard.message {
            Some(message) => read_answer(message, &question),
            None => Err(AnswerError::Failed(0)),
        };
        match read {
            Ok(answer) => {
                counters.valid.fetch_add(1, Relaxed);
                let updater =
                    format!("{}/{}", from.config.name, from.exchange.name(heard.nameserver));
                let schedule = from.config.schedule;
                entry.lookup.handle_answer(now_ms, &schedule, Status::Valid);
                self.answered(section, index, answer, &updater, heard.nameserver);
                self.act(section, index, None);
            }
            Err(error) => {
                if heard.message.is_some() {
                    super::counters::count(counters, error);
                }
                if let AnswerError::Malformed { .. } = error
                    && from.exchange.may_complain(heard.nameserver, now_ms)
                {
                    let (name, server) = (&entry.name, from.exchange.name(heard.nameserver));
                    warning(format_args!(
                        "resolvers {}: malformed answer from nameserver {server} about {name}: {error}",
                        from.config.name
                    ));
                }
                if error == AnswerError::Truncated && heard.datagram {
                    let mut message = Vec::new();
                    write_query(&mut message, &question, from.config.payload_size);
                    from.exchange.ask_over_tcp(heard.nameserver, heard.id, message);
                    return;
                }
                // A late answer to an earlier question is good for nothing but a record.
                if entry.ids.last() == Some(&heard.id) {
                    let schedule = from.config.schedule;
                    let event = entry.lookup.handle_answer(now_ms, &schedule, error.into());
                    self.act(section, index, event);
                }
            }
        }
    }

    /// A name has been answered.
    fn answered(
        &mut self,
        section: usize,
        index: usize,
        answer: Answer,
        updater: &str,
        nameserver: usize,
    ) {
        let now_ms = self.shared.now_ms();
        let from = &mut self.sections[section];
        let obsolete_ms = from.config.hold.obsolete_ms;
        let Some(entry) = from.entries[index].as_mut() else { return };
        entry.status = Some(Status::Valid);
        entry.records.merge(answer.records, now_ms, obsolete_ms);
        let servers = entry.servers.clone();
        if entry.kind == Kind::Srv {
            self.share_records(section, index, &servers);
        } else {
            let changed = self.share_addresses(section, index, &servers, updater);
            if changed && let Some(counters) = self.sections[section].exchange.counters(nameserver)
            {
                counters.updates.fetch_add(1, Relaxed);
            }
        }
        self.reply(section, index);
    }

    /// Gives the servers of a host its addresses; returns whether one has moved.
    fn share_addresses(
        &mut self,
        section: usize,
        index: usize,
        servers: &[usize],
        updater: &str,
    ) -> bool {
        let Some(entry) = &self.sections[section].entries[index] else { return false };
        let addresses: Vec<_> = entry.records.addresses().collect();
        let nears: Vec<Box<dyn Fn(std::net::IpAddr) -> bool>> = servers
            .iter()
            .map(|server| {
                let resolution = self.servers[*server].resolution.clone();
                Box::new(move |ip| resolution.prefers(ip)) as Box<dyn Fn(_) -> _>
            })
            .collect();
        let mut takers: Vec<Taker<'_>> = servers
            .iter()
            .zip(&nears)
            .map(|(server, is_near)| {
                let tracked = &self.servers[*server];
                Taker {
                    backend: tracked.place.proxy,
                    port: tracked.slot.as_ref().map(|(_, port)| *port),
                    wishes: Wishes {
                        family: tracked.resolution.prefer,
                        is_near,
                        allow_duplicates: tracked.resolution.allow_duplicates,
                    },
                    taken: tracked.taken,
                    current: known_ip(&tracked.state.address()),
                }
            })
            .collect();
        share_out(&addresses, &mut takers);
        let taken: Vec<_> = takers.iter().map(|taker| taker.taken).collect();
        let (mut changed, mut updater) = (false, updater);
        let mut lost = Vec::new();
        for (server, ip) in servers.iter().zip(taken) {
            self.servers[*server].taken = ip;
            let Some(ip) = ip else {
                lost.push(*server);
                continue;
            };
            changed |= self.servers[*server].state.address().endpoint.ip() != Some(ip);
            let target = self.target(*server);
            target.move_to(ip, None, updater);
            target.found();
            // Who comes later has it from what is known already.
            updater = "DNS cache";
        }
        // Only now, so that there is no moment without servers.
        lost.into_iter().for_each(|server| self.target(server).lost("No IP for server "));
        changed
    }

    /// Gives the servers of a service its records.
    fn share_records(&mut self, section: usize, index: usize, servers: &[usize]) {
        let Some(entry) = &self.sections[section].entries[index] else { return };
        let records: Vec<Record> = entry.records.iter().cloned().collect();
        for group in by_backend(servers, |server| self.servers[server].place.proxy) {
            let mut slots: Vec<Slot> =
                group.iter().map(|server| self.servers[*server].slot.clone()).collect();
            let turns = fill(&mut slots, &records);
            for (at, turn) in turns {
                let server = group[at];
                match turn {
                    Turn::Emptied => self.empty(server),
                    Turn::Filled(record) => self.stand_for(server, slots[at].clone(), &record),
                }
            }
        }
    }

    /// A server's record is gone.
    fn empty(&mut self, server: usize) {
        self.leave_host(server);
        self.target(server).unlisted();
        let tracked = &mut self.servers[server];
        (tracked.slot, tracked.addressed) = (None, false);
    }

    /// A server stands for a record of its service.
    fn stand_for(&mut self, server: usize, slot: Slot, record: &Record) {
        let Some((host, port)) = &slot else { return };
        let before = &self.servers[server].slot;
        if record.address.is_none() && before.is_some() && *before != slot {
            // Its old address is nowhere at the new port.
            self.empty(server);
        }
        if record.address.is_some() || self.servers[server].slot != slot {
            self.leave_host(server);
        }
        let tracked = &mut self.servers[server];
        tracked.addressed = record.address.is_some();
        let (ignore_weight, is_known) =
            (tracked.resolution.ignore_weight, known_ip(&tracked.state.address()).is_some());
        let target = self.target(server);
        match record.address {
            Some(ip) => {
                target.move_to(ip, Some(*port), "DNS additional record");
                target.named(host);
                target.listed();
            }
            None => {
                target.set_port(*port);
                target.named(host);
                if is_known {
                    target.listed();
                }
            }
        }
        if !ignore_weight {
            target.weigh(record.weight);
        }
        self.servers[server].slot = slot;
        self.follow_host(server);
    }

    /// A lookup has ended without an answer.
    fn failed(&mut self, section: usize, index: usize, status: Status) {
        let now_ms = self.shared.now_ms();
        let from = &mut self.sections[section];
        let hold = from.config.hold;
        let Some(entry) = from.entries[index].as_mut() else { return };
        entry.status = Some(status);
        if entry.lookup.has_lapsed(status, &hold, now_ms) {
            entry.records.clear();
            let servers = entry.servers.clone();
            let is_service = entry.kind == Kind::Srv;
            for server in servers {
                if is_service {
                    if self.servers[server].slot.is_some() {
                        self.empty(server);
                    }
                } else {
                    self.servers[server].taken = None;
                    self.target(server).lost(cause(status));
                }
            }
        }
        self.reply(section, index);
    }

    /// Tells those who wait for a name.
    fn reply(&mut self, section: usize, index: usize) {
        let Some(entry) = self.sections[section].entries[index].as_mut() else { return };
        let valid = entry.status == Some(Status::Valid);
        let addresses: Vec<_> = entry.records.addresses().collect();
        for find in entry.finds.drain(..) {
            let found = choose_for(&addresses, find.prefer).filter(|_| valid);
            // Who asked may have gone.
            let _ = find.reply.send(found);
        }
    }

    fn demand(&mut self, demand: Demand) {
        let now_ms = self.shared.now_ms();
        match demand {
            Demand::Renamed => self.fill(),
            Demand::Find(find) => {
                let name = &find.section;
                let Some(at) = self.sections.iter().position(|s| s.config.name == *name) else {
                    return;
                };
                let section = &mut self.sections[at];
                let (key, hold) = ((find.host.clone(), find.prefer), section.config.hold.valid_ms);
                if section.by_name.len() >= NAMES_MAX {
                    section.drop_unused(now_ms);
                }
                if section.by_name.len() >= NAMES_MAX && !section.by_name.contains_key(&key) {
                    return;
                }
                let entry = section.entry(&key.0, key.1, now_ms);
                let fresh = entry.lookup.valid_ms().is_some_and(|at| now_ms - at < hold);
                entry.finds.push(find);
                let index = section.by_name[&key];
                if fresh {
                    self.reply(at, index);
                } else {
                    self.trigger(at, index);
                }
            }
            Demand::Doubted(place) => {
                let Some(server) = self.servers.iter().position(|s| s.place == place) else {
                    return;
                };
                let tracked = &self.servers[server];
                let Some(host) = tracked.state.host() else { return };
                let (at, key) = (tracked.section, (host, tracked.resolution.prefer));
                if let Some(index) = self.sections[at].by_name.get(&key).copied() {
                    self.trigger(at, index);
                }
            }
        }
    }

    /// Asks for a name now.
    fn trigger(&mut self, section: usize, index: usize) {
        let now_ms = self.shared.now_ms();
        if let Some(entry) = self.sections[section].entries[index].as_mut() {
            entry.lookup.trigger(now_ms);
        }
        self.sections[section].plan(index, now_ms);
    }

    fn target(&self, server: usize) -> Target<'_> {
        let place = self.servers[server].place;
        Target { shared: &self.shared, snapshot: &self.snapshot, place }
    }
}

/// The address that a request gets.
fn choose_for(addresses: &[std::net::IpAddr], family: Kind) -> Option<std::net::IpAddr> {
    let wishes = Wishes { family, is_near: &|_| false, allow_duplicates: true };
    choose(addresses, &wishes, None, |_| false)
}

/// Splits servers, which are in the order of the configuration, by their backend.
fn by_backend(servers: &[usize], backend: impl Fn(usize) -> ProxyId) -> Vec<Vec<usize>> {
    servers.chunk_by(|a, b| backend(*a) == backend(*b)).map(<[usize]>::to_vec).collect()
}

/// Answers that wait to be read, each of at most `accepted_payload_size` bytes.
const HEARD_MAX: usize = 256;
/// Names of one section that traffic may have asked for; beyond that it gets no answer.
const NAMES_MAX: usize = 10_000;
