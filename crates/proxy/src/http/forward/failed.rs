//! What becomes of an attempt that has brought no answer, or none that can be used.

use telamon_balance::Counter;
use telamon_balance::health::Sign;
use telamon_http_proto::BodyLength;

use super::Attempt;
use super::head::{Lost, Unsendable, Upload};
use crate::dial::Dial;
use crate::http::After;
use crate::model::{Proxy, RetryOn, Server};
use crate::relay::Broken;
use crate::stream::{Cause, Direction, Phase, Stream};
use crate::{account, learn, tracking};

/// An attempt, as far as it matters for what follows.
#[derive(Clone, Copy)]
pub(super) struct Tried<'p> {
    pub(super) proxy: &'p Proxy,
    pub(super) server: &'p Server,
    /// The connection had carried requests before.
    pub(super) reused: bool,
    /// `retry-on` covers more than the connection, and the request can be sent again as it was.
    pub(super) replays: bool,
    /// The client has had an answer on its connection.
    pub(super) served: bool,
}

/// The request cannot be sent.
#[cold]
pub(super) fn unsendable(why: &Unsendable) -> Attempt {
    let phase = match why {
        Unsendable::Head => Phase::Request,
        Unsendable::Body => Phase::Data,
        Unsendable::Version => {
            let (cause, phase) = (Cause::Proxy, Phase::Headers);
            return Attempt::Failed { status: 502, cause, phase };
        }
    };
    Attempt::Failed { status: 400, cause: Cause::Proxy, phase }
}

/// There is no response head.
#[cold]
pub(super) fn no_head(
    stream: &mut Stream,
    dial: &mut Dial<'_>,
    tried: Tried<'_>,
    upload: &Upload<'_>,
    lost: Lost,
) -> Attempt {
    let Tried { proxy, server, reused, replays, served } = tried;
    upload.note(stream);
    match lost {
        Lost::Server { reset, untouched } => {
            let unseen = stream.response.input().is_empty();
            let replayable = upload.read() == 0
                && (untouched
                    || stream.request.method_kind().is_idempotent()
                    || upload.written() < upload.head_len);
            if reused && unseen && replayable {
                return Attempt::Again;
            }
            if untouched && replayable && dial.replay(stream, server) {
                return Attempt::Retry;
            }
            // HAProxy takes a head that breaks off for none.
            let again = replays && retry(stream, dial, server, RetryOn::EMPTY);
            let sign = match (unseen, reset) {
                (false, _) => Sign::BadHead,
                (true, true) => Sign::ReadError,
                (true, false) => Sign::Closed,
            };
            // As HAProxy has it, a client that has had an answer on its connection is told nothing: it sees the close and
            // asks again by itself. Neither the log nor `observe` hears of it.
            learn::note(stream, server, sign, !again && !served);
            if again {
                return Attempt::Retry;
            }
            if served {
                stream.log.logged.set(true);
                return Attempt::Done(After::Close);
            }
            account::response_failed(stream, proxy, server, Counter::ServerAborts);
            Attempt::Failed { status: 502, cause: Cause::Server, phase: Phase::Headers }
        }
        Lost::ServerTimeout => {
            let again = replays && retry(stream, dial, server, RetryOn::TIMEOUT);
            learn::note(stream, server, Sign::Timeout, !again);
            if again {
                return Attempt::Retry;
            }
            account::response_failed(stream, proxy, server, Counter::FailedResponses);
            Attempt::Failed { status: 504, cause: Cause::ServerTimeout, phase: Phase::Headers }
        }
        Lost::Malformed(error) => {
            stream.session.worker.shared.errors.capture(stream, Direction::Response, &error);
            junk(stream, dial, tried)
        }
        Lost::Client(broken) => request_broken(stream, proxy, server, broken),
    }
}

/// The head of the answer makes no sense.
#[cold]
pub(super) fn junk(stream: &mut Stream, dial: &mut Dial<'_>, tried: Tried<'_>) -> Attempt {
    let Tried { proxy, server, replays, .. } = tried;
    account::response_failed(stream, proxy, server, Counter::FailedResponses);
    learn::note(stream, server, Sign::BadHead, true);
    if replays && retry(stream, dial, server, RetryOn::JUNK) {
        return Attempt::Retry;
    }
    Attempt::Failed { status: 502, cause: Cause::Proxy, phase: Phase::Headers }
}

/// Whether the status that has come is one to send the request again for.
#[cold]
pub(super) fn retried(stream: &mut Stream, dial: &mut Dial<'_>, server: &Server) -> bool {
    let status = stream.response.status();
    let again = retry(stream, dial, server, RetryOn::of_status(status));
    if again {
        learn::note(stream, server, Sign::of_status(status), false);
    }
    again
}

/// Plans to send the request again after this failure, if `retry-on` has it and nothing was told to the client yet.
fn retry(stream: &mut Stream, dial: &mut Dial<'_>, server: &Server, failure: RetryOn) -> bool {
    dial.backend.retry_on.has(failure) && stream.log.bytes_out == 0 && dial.replay(stream, server)
}

/// The answer broke off on its way to the client.
#[cold]
pub(super) fn download_broken(
    stream: &mut Stream,
    proxy: &Proxy,
    server: &Server,
    broken: Broken,
) -> Attempt {
    if let Broken::Malformed | Broken::Source | Broken::SourceTimeout = broken {
        learn::note(stream, server, Sign::BadAnswer, broken == Broken::Malformed);
        tracking::failure(stream);
    }
    (stream.log.cause, stream.log.phase) = (broken.cause_down(), Phase::Data);
    account::stream_broken(stream, proxy, server);
    Attempt::Done(After::Drop)
}

/// The answer cannot be used.
#[cold]
pub(super) fn response_failed(
    stream: &Stream,
    proxy: &Proxy,
    server: &Server,
    phase: Phase,
) -> Attempt {
    account::response_failed(stream, proxy, server, Counter::FailedResponses);
    Attempt::Failed { status: 502, cause: Cause::Proxy, phase }
}

/// The request could not be brought to the server because of the client.
#[cold]
fn request_broken(stream: &mut Stream, proxy: &Proxy, server: &Server, broken: Broken) -> Attempt {
    let (status, cause) = match broken {
        Broken::SourceTimeout => (408, Cause::ClientTimeout),
        Broken::Malformed => (400, Cause::Proxy),
        Broken::SinkTimeout => (504, Cause::ServerTimeout),
        Broken::Source | Broken::Sink => (400, Cause::Client),
    };
    let waiting = stream.request.request_body() == BodyLength::None;
    let phase = if waiting { Phase::Headers } else { Phase::Data };
    if cause == Cause::Client {
        (stream.log.cause, stream.log.phase) = (cause, phase);
        account::stream_broken(stream, proxy, server);
        return Attempt::Done(After::Drop);
    }
    Attempt::Failed { status, cause, phase }
}
