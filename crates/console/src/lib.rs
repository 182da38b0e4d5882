//! Shows what every plane does and lets operators change it: the status page with its CSV and JSON, and the runtime
//! API's sockets.
//!
//! A plane is known by its [`Source`] of rows alone. [`Console`] holds the sources and the curves of the last
//! minutes; [`page`] answers requests for the status page on a plane's own listener; [`api`] serves the sockets. All
//! of it runs on the control thread. Metrics in Prometheus' format will be one more [`format`]ter of the same rows.

pub mod api;
mod describe;
mod dump;
mod format;
mod history;
pub mod page;
#[cfg(test)]
mod recorded;
mod select;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use telamon_balance::stats::{Column, Info, Kind, Kinds, Row, Source};

use self::dump::Dump;
use self::history::{CURVES_MAX, History, Reading};

/// The planes of this process as operators see them.
pub struct Console {
    sources: Vec<Arc<dyn Source>>,
    history: Mutex<History>,
}

impl Console {
    pub fn new(sources: Vec<Arc<dyn Source>>) -> Self {
        Self { sources, history: Mutex::default() }
    }

    /// Takes a sample of every proxy for the curves; call it once a second on the control thread. `now_ms` is any
    /// monotone clock.
    pub fn sample(&self, now_ms: u64) {
        let mut total = Reading::default();
        let mut readings: Vec<(String, Reading)> = Vec::new();
        let (mut latency, mut weight) = (0.0, 0.0);
        for source in &self.sources {
            for at in 0..source.proxies() {
                // Past the last curve only the frontends' sum is needed: most of many proxies are backends.
                let has_curve = readings.len() < CURVES_MAX;
                let kinds = if has_curve { BOTH_SIDES } else { Kinds::FRONTEND };
                let Some(proxy) = source.proxy(at, kinds) else { break };
                for row in proxy.rows.iter().filter(|row| row.kind == Kind::Frontend) {
                    let reading = reading_of(row);
                    total.units += reading.units;
                    total.errors += reading.errors;
                }
                // A listen section has both sides; its backend also knows how long requests take.
                let Some(row) = proxy.rows.last() else { continue };
                let reading = reading_of(row);
                if let Some(milliseconds) = reading.latency_ms {
                    let rate = select::number(row, Column::Rate) as f32;
                    latency += milliseconds * rate;
                    weight += rate;
                }
                if has_curve {
                    readings.push((curve_of(row), reading));
                }
            }
        }
        total.latency_ms = (weight > 0.0).then(|| latency / weight);
        let readings = readings.iter().map(|(name, reading)| (name.as_str(), *reading));
        self.history().sample(readings, total, now_ms);
    }

    fn sources(&self) -> &[Arc<dyn Source>] {
        &self.sources
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `show info` tells, from all planes together.
fn info_of(sources: &[Arc<dyn Source>]) -> Info {
    let mut info = Info::default();
    for source in sources {
        source.info(&mut info);
    }
    info
}

fn reading_of(row: &Row) -> Reading {
    let number = |column| select::number(row, column);
    let is_http = select::text(row, Column::Mode) == "http";
    Reading {
        units: if is_http { number(Column::ReqTot) } else { number(Column::Stot) },
        errors: if is_http {
            number(Column::Hrsp5xx)
        } else {
            number(Column::Ereq) + number(Column::Econ) + number(Column::Eresp)
        },
        latency_ms: row.get(Column::Ttime).map(|_| number(Column::Ttime) as f32),
    }
}

/// What the curve of a proxy is known by: a frontend and a backend may share a name.
fn curve_of(row: &Row) -> String {
    format!("{}{}", row.kind.letter(), select::text(row, Column::Pxname))
}

/// The rows of a proxy itself.
const BOTH_SIDES: Kinds = Kinds(Kinds::FRONTEND.0 | Kinds::BACKEND.0);
