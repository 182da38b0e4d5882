//! The last malformed request and response of each proxy, kept for `show errors`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use telamon_http_proto::ParseError;
use telamon_runtime::Endpoint;

use crate::stream::{Direction, Stream};

/// What could not be parsed, by proxy name and side. One entry each, so the configuration bounds it.
#[derive(Debug, Default)]
pub struct Errors(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    captures: HashMap<(Box<str>, Side), Capture>,
    total: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Request,
    Response,
}

/// A message that could not be parsed.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Counts captures from 0.
    pub number: u32,
    pub at: SystemTime,
    pub direction: Direction,
    /// The proxy that received it, and the other side's name.
    pub proxy: Box<str>,
    pub frontend: Box<str>,
    pub backend: Option<Box<str>>,
    pub server: Option<Box<str>>,
    pub client: Endpoint,
    pub session: u64,
    /// Where the error is in `bytes`, and what it is.
    pub position: usize,
    pub message: String,
    /// The buffer as it was received, at most `tune.bufsize` bytes.
    pub bytes: Box<[u8]>,
}

impl Errors {
    /// Keeps what the stream has received, in place of what the proxy had before.
    pub(crate) fn capture(&self, stream: &Stream, direction: Direction, error: &ParseError) {
        let model = &stream.snapshot;
        let frontend = model.proxy(stream.frontend);
        let backend = model.proxy(stream.backend);
        let (proxy, head, side) = match direction {
            Direction::Request => (frontend, &stream.request, Side::Request),
            Direction::Response => (backend, &stream.response, Side::Response),
        };
        let server = stream
            .server
            .and_then(|id| backend.backend.as_ref()?.servers.get(id.0 as usize))
            .map(|server| Box::from(&*server.name));
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.total;
        state.total = state.total.wrapping_add(1);
        let capture = Capture {
            number,
            at: SystemTime::now(),
            direction,
            proxy: Box::from(&*proxy.name),
            frontend: Box::from(&*frontend.name),
            backend: backend.backend.is_some().then(|| Box::from(&*backend.name)),
            server,
            client: stream.session.src.borrow().clone(),
            session: stream.session.id,
            position: error.offset,
            message: error.to_string(),
            bytes: head.input().into(),
        };
        state.captures.insert((Box::from(&*proxy.name), side), capture);
    }

    /// All captures in the order in which they were made, and how many there ever were.
    pub fn all(&self) -> (Vec<Capture>, u32) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut captures: Vec<Capture> = state.captures.values().cloned().collect();
        captures.sort_by_key(|capture| capture.number);
        (captures, state.total)
    }
}
