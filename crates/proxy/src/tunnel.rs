//! Bytes both ways until both sides have closed: `mode tcp`, and HTTP after an upgrade.

use std::task::Poll;
use std::time::Duration;

use telamon_runtime::Moment;

use crate::model::Proxy;
use crate::relay::{Broken, Pump};
use crate::stream::{Cause, Phase, Stream};

/// How long each side may be silent, before and after the other has closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    client: Option<Duration>,
    server: Option<Duration>,
    /// The server side has closed; only the client is waited for. Without it nothing changes.
    client_fin: Option<Duration>,
    /// The client side has closed; only the server is waited for. Without it nothing changes.
    server_fin: Option<Duration>,
    /// Since when the client has been silent, if that was before the bytes began to flow.
    client_since: Option<Moment>,
    /// `option independent-streams` of each side.
    client_independent: bool,
    server_independent: bool,
}

/// How a tunnel ended: the first thing that broke it, if anything.
#[derive(Debug)]
pub(crate) struct Ended(Option<Cause>);

impl Timeouts {
    /// `timeout tunnel` replaces both sides' timeouts where it is set.
    pub(crate) fn of(frontend: &Proxy, backend: &Proxy, tunnel: Option<Duration>) -> Self {
        let tunnel = tunnel.or(backend.timeouts.tunnel);
        let client = tunnel.or(frontend.timeouts.client);
        let server = tunnel.or(backend.timeouts.server);
        Self {
            client,
            server,
            client_fin: frontend.timeouts.client_fin,
            server_fin: backend.timeouts.server_fin,
            client_since: None,
            client_independent: frontend.options.independent_streams,
            server_independent: backend.options.independent_streams,
        }
    }
}

impl Timeouts {
    /// The client has been silent since then.
    pub(crate) fn silent_since(self, since: Moment) -> Self {
        Self { client_since: Some(since), ..self }
    }
}

/// Runs both directions to their ends. A side that closes is passed on as a half-close, and so is a client that has been
/// silent for too long: the server may still answer.
///
/// `count` is told how many bytes have gone up and down so far, at each turn.
pub(crate) async fn run(
    up: &mut Pump<'_>,
    down: &mut Pump<'_>,
    timeouts: &Timeouts,
    mut count: impl FnMut(u64, u64),
) -> Ended {
    up.set_independent(timeouts.server_independent);
    down.set_independent(timeouts.client_independent);
    up.set_timeouts(timeouts.client, timeouts.server);
    down.set_timeouts(timeouts.server, timeouts.client);
    if let Some(since) = timeouts.client_since {
        up.wait_for_source_since(since);
    }
    let (mut up_open, mut down_open) = (true, true);
    let mut silent = None;
    let broken = std::future::poll_fn(|cx| {
        if up_open && let Poll::Ready(ended) = up.poll(cx) {
            match ended {
                Ok(()) => {}
                Err(broken @ Broken::SourceTimeout) => silent = Some(broken.cause_up()),
                Err(broken) => return Poll::Ready(Some(broken.cause_up())),
            }
            up_open = false;
            // A server that is gone shows when its own direction is read.
            let _ = up.sink().shutdown_write();
            if timeouts.server_fin.is_some() {
                down.set_timeouts(timeouts.server_fin, timeouts.client);
            }
        }
        if down_open && let Poll::Ready(ended) = down.poll(cx) {
            if let Err(broken) = ended {
                return Poll::Ready(Some(broken.cause_down()));
            }
            down_open = false;
            let _ = down.sink().shutdown_write();
            if up_open && timeouts.client_fin.is_some() {
                up.set_timeouts(timeouts.client_fin, timeouts.server);
                // The new timeout has to be armed by a poll.
                cx.waker().wake_by_ref();
            }
        }
        count(up.written, down.written);
        if up_open || down_open { Poll::Pending } else { Poll::Ready(None) }
    })
    .await;
    Ended(silent.or(broken))
}

impl Ended {
    /// Writes into the log state how it ended.
    pub(crate) fn note(&self, stream: &mut Stream) {
        if let Some(cause) = self.0 {
            (stream.log.cause, stream.log.phase) = (cause, Phase::Data);
        }
    }
}
