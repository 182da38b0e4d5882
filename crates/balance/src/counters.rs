//! Monotone counters that cost their writer no atomic read-modify-write.
//!
//! Each worker has its own [`Counters`] and is their only writer, so counting is a load and a
//! store; whoever wants the total adds the workers up ([`PerWorker::total`]). A worker's set is
//! allocated at its first count, so that a hundred thousand idle members cost nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One named counter per line, in no order that matters.
macro_rules! counter_list {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What is counted for a frontend, listener, backend or server. HAProxy's name for the
        /// number in its CSV is given where it differs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

counter_list! {
    /// Connections accepted (`conn_tot`).
    Connections,
    /// Sessions (frontends) or units assigned (backends, servers) (`stot`).
    Sessions,
    /// Requests (`req_tot`).
    Requests,
    /// Bytes from clients (`bin`).
    BytesIn,
    /// Bytes to clients (`bout`).
    BytesOut,
    /// Those of the bytes from clients that were not copied (`h1_spliced_bytes_in` of frontends).
    SplicedIn,
    /// Those of the bytes to clients that were not copied.
    SplicedOut,
    /// Requests denied by a rule (`dreq`).
    DeniedRequests,
    /// Responses denied by a rule (`dresp`).
    DeniedResponses,
    /// Connections denied by a `tcp-request connection` rule (`dcon`).
    DeniedConnections,
    /// Sessions denied by a `tcp-request session` rule (`dses`).
    DeniedSessions,
    /// Requests that could not be understood or were not finished (`ereq`).
    FailedRequests,
    /// Connections to a server that failed (`econ`).
    FailedConnections,
    /// Responses that broke off or could not be understood (`eresp`).
    FailedResponses,
    /// Times that enough errors in a row were seen in its traffic (`hanafail`).
    Observed,
    /// Header rewrites that failed (`wrew`).
    FailedRewrites,
    /// Faults of our own (`eint`).
    InternalErrors,
    /// Connection attempts repeated on the same server (`wretr`).
    Retries,
    /// Units moved to another server (`wredis`).
    Redispatches,
    /// Transfers that the client broke off (`cli_abrt`).
    ClientAborts,
    /// Transfers that the server broke off (`srv_abrt`).
    ServerAborts,
    /// Times that the strategy chose this server or backend (`lbtot`).
    Balanced,
    /// Connections opened to servers (`connect`).
    Connects,
    /// Server connections used again (`reuse`).
    Reuses,
    /// Requests answered by this process itself, such as the statistics page (`intercepted`).
    Intercepted,
    /// Cache lookups.
    CacheLookups,
    /// Cache hits.
    CacheHits,
    /// Bytes that went into compression (`comp_in`).
    CompressedIn,
    /// Bytes that came out of compression (`comp_out`).
    CompressedOut,
    /// Bytes that bypassed compression (`comp_byp`).
    CompressionBypassed,
    /// Responses compressed (`comp_rsp`).
    CompressedResponses,
    /// Responses with status 1xx (`hrsp_1xx`).
    Responses1xx,
    /// Responses with status 2xx (`hrsp_2xx`).
    Responses2xx,
    /// Responses with status 3xx (`hrsp_3xx`).
    Responses3xx,
    /// Responses with status 4xx (`hrsp_4xx`).
    Responses4xx,
    /// Responses with status 5xx (`hrsp_5xx`).
    Responses5xx,
    /// Responses with any other status (`hrsp_other`).
    ResponsesOther,
    /// Milliseconds spent in queues, summed over units.
    QueueTime,
    /// Milliseconds spent connecting, summed over units.
    ConnectTime,
    /// Milliseconds waited for responses to begin, summed over units.
    ResponseTime,
    /// Milliseconds from the first to the last byte, summed over units.
    TotalTime,
}

impl Counter {
    /// The counter of responses for an HTTP status.
    pub fn of_status(status: u16) -> Self {
        match status / 100 {
            1 => Self::Responses1xx,
            2 => Self::Responses2xx,
            3 => Self::Responses3xx,
            4 => Self::Responses4xx,
            5 => Self::Responses5xx,
            _ => Self::ResponsesOther,
        }
    }
}

/// How many counters there are.
pub const COUNTERS: usize = Counter::ALL.len();

/// One worker's set. Only that worker may write it; anyone may read it.
#[derive(Debug)]
#[repr(align(64))] // no two workers write the same cache line
pub struct Counters([AtomicU64; COUNTERS]);

impl Counters {
    /// Adds to a counter. A second writer would lose counts, never memory safety.
    pub fn add(&self, counter: Counter, amount: u64) {
        let cell = &self.0[counter as usize];
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The worker's count so far.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Relaxed)
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// The counters of all workers for one object (384 bytes per worker that has counted).
#[derive(Debug)]
pub struct PerWorker {
    workers: Box<[OnceLock<Box<Counters>>]>,
    /// What had been counted when the counters were cleared last.
    cleared: OnceLock<Box<Counters>>,
}

impl PerWorker {
    /// Room for the counts of `workers` writers.
    pub fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| OnceLock::new()).collect(), cleared: OnceLock::new() }
    }

    /// The set of worker `worker`, which counts from 0; `None` when it is out of range.
    pub fn get(&self, worker: usize) -> Option<&Counters> {
        self.workers.get(worker).map(|slot| &**slot.get_or_init(Box::default))
    }

    /// Adds to a counter on behalf of worker `worker`. Out of range counts nothing.
    pub fn add(&self, worker: usize, counter: Counter, amount: u64) {
        if let Some(counters) = self.get(worker) {
            counters.add(counter, amount);
        }
    }

    /// One counter, summed over the workers.
    pub fn total(&self, counter: Counter) -> u64 {
        let cleared = self.cleared.get().map_or(0, |cleared| cleared.get(counter));
        let counted = self.counting().map(|counters| counters.get(counter));
        counted.fold(0, u64::wrapping_add).wrapping_sub(cleared)
    }

    /// All counters, summed over the workers; index with `Counter as usize`.
    pub fn totals(&self) -> [u64; COUNTERS] {
        let mut sums = [0u64; COUNTERS];
        for counters in self.counting() {
            for (sum, cell) in sums.iter_mut().zip(&counters.0) {
                *sum = sum.wrapping_add(cell.load(Relaxed));
            }
        }
        if let Some(cleared) = self.cleared.get() {
            for (sum, cell) in sums.iter_mut().zip(&cleared.0) {
                *sum = sum.wrapping_sub(cell.load(Relaxed));
            }
        }
        sums
    }

    /// Makes the totals begin at 0 again (`clear counters all`), without touching what the
    /// workers write. One thread at a time.
    pub fn clear(&self) {
        let totals = self.totals();
        let cleared = self.cleared.get_or_init(Box::default);
        for (cell, total) in cleared.0.iter().zip(totals) {
            cell.store(cell.load(Relaxed).wrapping_add(total), Relaxed);
        }
    }

    fn counting(&self) -> impl Iterator<Item = &Counters> {
        self.workers.iter().filter_map(OnceLock::get).map(|counters| &**counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_exact_over_workers() {
        let counters = PerWorker::new(2);
        std::thread::scope(|scope| {
            for worker in 0..2 {
                let counters = &counters;
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        counters.add(worker, Counter::BytesIn, 3);
                    }
                });
            }
        });
        assert_eq!(counters.total(Counter::BytesIn), 60_000);
        assert_eq!(counters.totals()[Counter::BytesIn as usize], 60_000);
        assert_eq!(counters.total(Counter::BytesOut), 0);
        counters.clear();
        counters.add(1, Counter::BytesIn, 5);
        counters.clear();
        counters.add(0, Counter::BytesIn, 7);
        assert_eq!(counters.total(Counter::BytesIn), 7);
        assert_eq!(counters.totals()[Counter::BytesIn as usize], 7);
    }

    #[test]
    fn statuses_fall_into_their_class() {
        assert_eq!(Counter::of_status(204), Counter::Responses2xx);
        assert_eq!(Counter::of_status(503), Counter::Responses5xx);
        assert_eq!(Counter::of_status(999), Counter::ResponsesOther);
    }
}
