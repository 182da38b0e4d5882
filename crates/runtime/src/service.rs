//! Pages that one plane offers on another's listener.
//!
//! The console answers `stats uri` on a proxy's own listener, after the proxy's rules, and neither
//! knows the other: the proxy has a [`ServiceHandle`], the console implements [`Service`], and
//! `bin` connects both with [`channel`]. Pages are built on the control thread, so that they see
//! one consistent picture and no worker waits for them.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// A request for a page, after the proxy's rules let it through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// The proxy whose listener it came to.
    pub proxy: String,
    pub method: String,
    /// The path as it was sent, without the query.
    pub path: String,
    /// What follows `?`, if anything.
    pub query: Option<String>,
    /// The headers in their order; names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body; the proxy limits it.
    pub body: Vec<u8>,
    pub client: Option<IpAddr>,
    /// The rules allow changes (`stats admin if …`).
    pub admin: bool,
}

impl PageRequest {
    /// The first header of that name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_slice())
    }
}

/// A page. The proxy adds what frames it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageResponse {
    pub status: u16,
    /// Without `content-length`, `connection` and `date`.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Answers requests for pages, on the control thread.
pub trait Service {
    /// Builds the answer; must not block.
    fn answer(&self, request: &PageRequest) -> PageResponse;
}

impl<S: Service + ?Sized> Service for Rc<S> {
    fn answer(&self, request: &PageRequest) -> PageResponse {
        (**self).answer(request)
    }
}

/// A worker's way to a [`Service`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServiceHandle(mpsc::Sender<Call>);

/// The control thread's end.
#[derive(Debug)]
pub struct ServiceInbox(mpsc::Receiver<Call>);

/// Why there is no page. Each is a 503 for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceError {
    /// Too many requests wait already.
    Busy,
    /// The service has ended.
    Gone,
    /// It did not answer in time.
    TimedOut,
}

#[derive(Debug)]
struct Call {
    request: PageRequest,
    answer: oneshot::Sender<PageResponse>,
}

/// Connects workers and the control thread.
pub fn channel() -> (ServiceHandle, ServiceInbox) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (ServiceHandle(sender), ServiceInbox(receiver))
}

impl ServiceHandle {
    /// Asks for a page and waits for it no longer than `timeout`.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn ask(
        &self,
        request: PageRequest,
        timeout: Duration,
    ) -> Result<PageResponse, ServiceError> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Call { request, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ServiceError::Busy,
            mpsc::error::TrySendError::Closed(_) => ServiceError::Gone,
        })?;
        match tokio::time::timeout(timeout, answered).await {
            Ok(answer) => answer.map_err(|_| ServiceError::Gone),
            Err(_) => Err(ServiceError::TimedOut),
        }
    }
}

impl ServiceInbox {
    /// Answers requests until every handle is dropped. To be spawned on the control thread.
    pub async fn serve(mut self, service: impl Service) {
        while let Some(Call { request, answer }) = self.0.recv().await {
            // Nobody waits any more for the answer to a client that has gone.
            if !answer.is_closed() {
                let _ = answer.send(service.answer(&request));
            }
            tokio::task::yield_now().await;
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "too many requests for pages wait",
            Self::Gone => "the service has ended",
            Self::TimedOut => "the service did not answer in time",
        })
    }
}

impl std::error::Error for ServiceError {}

/// Requests that wait for the control thread; each holds its head and body.
const WAITING_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::{block_on, block_on_paused};

    struct Echo;

    impl Service for Echo {
        fn answer(&self, request: &PageRequest) -> PageResponse {
            PageResponse { status: 200, headers: Vec::new(), body: request.path.clone().into() }
        }
    }

    fn request() -> PageRequest {
        PageRequest { path: "/stats".into(), ..Default::default() }
    }

    #[test]
    fn a_page_is_built_on_the_other_side() {
        block_on(async {
            let (handle, inbox) = channel();
            tokio::task::spawn_local(inbox.serve(Echo));
            let page = handle.ask(request(), Duration::from_secs(60)).await.unwrap();
            assert_eq!((page.status, page.body.as_slice()), (200, &b"/stats"[..]));
        });
    }

    #[test]
    fn a_service_that_is_slow_full_or_gone_is_an_error() {
        block_on_paused(async {
            let (handle, inbox) = channel();
            let second = Duration::from_secs(1);
            assert_eq!(handle.ask(request(), second).await, Err(ServiceError::TimedOut));
            for _ in 1..WAITING_MAX {
                assert_eq!(
                    handle.ask(request(), Duration::ZERO).await,
                    Err(ServiceError::TimedOut)
                );
            }
            assert_eq!(handle.ask(request(), second).await, Err(ServiceError::Busy));
            drop(inbox);
            assert_eq!(handle.ask(request(), second).await, Err(ServiceError::Gone));
        });
    }
}
