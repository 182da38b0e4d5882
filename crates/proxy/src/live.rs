//! The sessions of a worker, for the socket: what each carries just now, and a way to end it.
//!
//! A session notes what it carries in plain cells of its own; only when somebody asks are they gone through.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use telamon_runtime::Moment;

use crate::model::{ProxyId, ServerId};
use crate::snapshot::SnapshotRef;
use crate::stream::{Cause, Session};
use crate::worker::Worker;

/// The sessions of a worker by their numbers. One entry per connection, so `maxconn` bounds it.
#[derive(Debug, Default)]
pub(crate) struct LiveSessions(RefCell<HashMap<u64, Weak<Session>, BuildHasherDefault<Spread>>>);

/// Hashes the numbers that we give out ourselves: nobody can choose them to collide.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing (Knuth, TAOCP 3, 6.4): neighbors end far apart in the upper bits.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A session's own part.
#[derive(Debug, Default)]
pub(crate) struct Live {
    carried: RefCell<Option<Carried>>,
    /// Why it is to end.
    killed: Cell<Option<Cause>>,
    task: RefCell<Option<Waker>>,
}

/// The request or TCP stream that a session carries.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) snapshot: SnapshotRef,
    pub(crate) frontend: ProxyId,
    pub(crate) backend: Option<ProxyId>,
    pub(crate) server: Option<ServerId>,
    pub(crate) since: Moment,
}

impl LiveSessions {
    pub(crate) fn add(&self, session: &Rc<Session>) {
        self.0.borrow_mut().insert(session.id, Rc::downgrade(session));
    }

    pub(crate) fn remove(&self, id: u64) {
        self.0.borrow_mut().remove(&id);
    }

    pub(crate) fn sessions(&self) -> Vec<Rc<Session>> {
        self.0.borrow().values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn session(&self, id: u64) -> Option<Rc<Session>> {
        self.0.borrow().get(&id)?.upgrade()
    }

    /// Ends every session.
    pub(crate) fn kill_all(&self, cause: Cause) {
        for session in self.sessions() {
            session.live.kill(cause);
        }
    }

    /// Lets every session look again at what concerns all of them.
    pub(crate) fn wake_all(&self) {
        for session in self.sessions() {
            session.live.wake();
        }
    }

    /// Ends every session that is on this server.
    pub(crate) fn kill_on(&self, backend: &str, server: &str, cause: Cause) {
        for session in self.sessions() {
            if session.live.carried().is_some_and(|carried| carried.is_on(backend, server)) {
                session.live.kill(cause);
            }
        }
    }
}

impl Live {
    /// A request or stream begins.
    pub(crate) fn begin(&self, snapshot: &SnapshotRef, frontend: ProxyId, since: Moment) {
        let snapshot = snapshot.clone();
        let carried = Carried { snapshot, frontend, backend: None, server: None, since };
        self.carried.replace(Some(carried));
    }

    /// It has got this far.
    pub(crate) fn reach(&self, backend: ProxyId, server: Option<ServerId>) {
        if let Some(carried) = &mut *self.carried.borrow_mut() {
            carried.backend = Some(backend);
            carried.server = server;
        }
    }

    /// It is over.
    pub(crate) fn end(&self) {
        self.carried.replace(None);
    }

    pub(crate) fn carried(&self) -> Option<Carried> {
        self.carried.borrow().clone()
    }

    /// Ends what the session carries, and with it the session.
    pub(crate) fn kill(&self, cause: Cause) {
        self.killed.set(Some(cause));
        self.wake();
    }

    /// Wakes the task that was noted last.
    pub(crate) fn wake(&self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.get().is_some()
    }

    /// Why it was killed, if it was; what it carries next is not concerned.
    pub(crate) fn take_killed(&self) -> Option<Cause> {
        self.killed.take()
    }

    /// Does `work` unless the session is killed meanwhile: `None` then. Each time that it is woken it finds the clock
    /// looked at ([`Worker::now`]).
    pub(crate) async fn unless_killed<F: Future>(
        &self,
        worker: &Worker,
        mut work: Pin<&mut F>,
    ) -> Option<F::Output> {
        let mut begun = false;
        std::future::poll_fn(|cx| {
            if self.killed.get().is_some() {
                return Poll::Ready(None);
            }
            if std::mem::replace(&mut begun, true) {
                worker.touch();
            }
            self.woken_by(cx);
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Notes the task to be woken when something concerns the session.
    pub(crate) fn woken_by(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }
}

impl Carried {
    fn is_on(&self, backend: &str, server: &str) -> bool {
        self.backend.zip(self.server).is_some_and(|(proxy, id)| {
            *self.snapshot.proxy(proxy).name == *backend
                && self.snapshot.server(proxy, id).is_some_and(|known| *known.name == *server)
        })
    }
}
