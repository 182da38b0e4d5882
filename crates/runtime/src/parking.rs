//! Idle connections without a task.
//!
//! A connection that waits for its next request is [parked](Parking::park): its descriptor, a small
//! payload of the caller's and a deadline stay in a table, and the descriptor is watched by one
//! epoll of the worker that is itself watched by the reactor. When bytes or the end come, or the
//! deadline passes, the caller gets the descriptor back and makes a task again. An entry with a
//! payload of 8 bytes costs 64 bytes, and no buffer.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll;
use tokio::io::unix::AsyncFd;

use crate::clock::Moment;
use crate::socket::Socket;
use crate::socket::tls::Detached;
use crate::sys;
use crate::wheel::core::{Core, Key, NEVER};
use crate::wheel::{Deadline, Wheel};

/// The parked connections of one worker. Clones share it.
#[derive(Debug)]
pub struct Parking<P: 'static>(Rc<Inner<P>>);

#[derive(Debug)]
struct Inner<P> {
    epoll: Arc<OwnedFd>,
    wheel: Wheel,
    /// Wakes the driver at the first of the entries' deadlines.
    alarm: Deadline,
    entries: RefCell<Core<Parked<P>>>,
}

#[derive(Debug)]
struct Parked<P> {
    socket: Detached,
    payload: P,
}

/// A connection that leaves the parking.
#[derive(Debug)]
pub struct Unparked<P> {
    pub socket: Detached,
    pub payload: P,
    /// Its deadline passed; else something came, which may be the end.
    pub expired: bool,
}

impl<P: 'static> Parking<P> {
    /// Starts the parking of this worker; `unparked` gets what leaves it.
    ///
    /// # Errors
    /// No descriptor or memory for an epoll.
    ///
    /// # Panics
    /// Outside a `LocalSet`.
    pub fn start(wheel: &Wheel, unparked: impl Fn(Unparked<P>) + 'static) -> io::Result<Self> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let watch = sys::watch(epoll.clone())?;
        let inner = Rc::new(Inner {
            epoll,
            wheel: wheel.clone(),
            alarm: wheel.deadline(),
            entries: RefCell::new(Core::new()),
        });
        let driven = inner.clone();
        tokio::task::spawn_local(async move { driven.drive(&watch, unparked).await });
        Ok(Self(inner))
    }

    /// Takes the connection off the reactor and watches it here, until `after` has passed.
    ///
    /// # Errors
    /// Those of `epoll_ctl`; the connection is closed then.
    pub fn park(&self, socket: Socket, payload: P, after: Option<Duration>) -> io::Result<()> {
        let socket = socket.detach();
        let key = self.0.entries.borrow_mut().insert(Parked { socket, payload });
        let watched = {
            let entries = self.0.entries.borrow();
            let data = epoll::EventData::new_u64(key.to_bits());
            let interest = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
            entries
                .get(key)
                .map_or(Ok(()), |parked| epoll::add(&self.0.epoll, &parked.socket, data, interest))
        };
        if let Err(error) = watched {
            let parked = self.0.entries.borrow_mut().remove(key);
            drop(parked);
            return Err(error.into());
        }
        if let Some(after) = after {
            let tick = self.0.wheel.tick_after(Moment::now(), after);
            self.0.entries.borrow_mut().set_deadline(key, tick);
            self.0.arm();
        }
        Ok(())
    }

    /// Takes out every connection that is wanted, for a shutdown.
    pub fn take(&self, wanted: impl Fn(&P) -> bool) -> Vec<Unparked<P>> {
        let keys = self.0.entries.borrow().keys();
        let wanted = |key: &Key| {
            let entries = self.0.entries.borrow();
            entries.get(*key).is_some_and(|parked| wanted(&parked.payload))
        };
        keys.into_iter().filter(wanted).filter_map(|key| self.0.take(key, false)).collect()
    }

    pub fn len(&self) -> usize {
        self.0.entries.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<P> Inner<P> {
    async fn drive(&self, watch: &AsyncFd<Arc<OwnedFd>>, unparked: impl Fn(Unparked<P>)) {
        let mut due = Vec::new();
        loop {
            tokio::select! {
                biased;
                ready = watch.readable() => {
                    let Ok(mut ready) = ready else { return };
                    let mut events = [MaybeUninit::uninit(); EVENTS];
                    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
                    let found = match epoll::wait(&self.epoll, &mut events, Some(&now)) {
                        Ok((found, _)) => found,
                        Err(rustix::io::Errno::INTR) => continue,
                        Err(_) => return,
                    };
                    let more = found.len() == EVENTS;
                    if !more {
                        // What comes from now on is a new edge for the reactor.
                        ready.clear_ready();
                    }
                    for event in found {
                        let key = Key::from_bits(event.data.u64());
                        self.take(key, false).into_iter().for_each(&unparked);
                    }
                    if more {
                        tokio::task::yield_now().await;
                    }
                }
                _ = self.alarm.expired() => {
                    self.alarm.disarm();
                    self.entries.borrow_mut().advance(self.wheel.tick_now(), &mut due);
                    for key in due.drain(..) {
                        self.take(key, true).into_iter().for_each(&unparked);
                    }
                    self.arm();
                }
            }
        }
    }

    fn take(&self, key: Key, expired: bool) -> Option<Unparked<P>> {
        let Parked { socket, payload } = self.entries.borrow_mut().remove(key)?;
        // It was added, and nobody else has the descriptor: this cannot fail.
        let _ = epoll::delete(&self.epoll, &socket);
        Some(Unparked { socket, payload, expired })
    }

    fn arm(&self) {
        let next = self.entries.borrow().next_tick();
        self.alarm.arm_at_tick(next.unwrap_or(NEVER));
    }
}

impl<P> Unparked<P> {
    /// The connection as a socket again.
    pub fn into_socket(self) -> (Socket, P) {
        (self.socket.attach(), self.payload)
    }
}

impl<P> Clone for Parking<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Connections taken out before other tasks get their turn.
const EVENTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::{block_on, block_on_paused};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn parking() -> (Parking<u32>, UnboundedReceiver<Unparked<u32>>) {
        let (sender, receiver) = unbounded_channel();
        let wheel = Wheel::start();
        let parking = Parking::start(&wheel, move |unparked| sender.send(unparked).unwrap());
        (parking.unwrap(), receiver)
    }

    #[test]
    fn bytes_and_the_end_bring_a_connection_back() {
        block_on(async {
            let (parking, mut unparked) = parking();
            let pairs: Vec<_> = (0..200).map(|_| Socket::pair().unwrap()).collect();
            let mut clients = Vec::new();
            for (number, (client, server)) in (0..).zip(pairs) {
                parking.park(server, number, Some(Duration::from_secs(3600))).unwrap();
                clients.push(client);
            }
            assert_eq!(parking.len(), 200);
            clients[7].write_all(b"GET").await.unwrap();
            let back = unparked.recv().await.unwrap();
            assert_eq!((back.payload, back.expired), (7, false));
            let (socket, _) = back.into_socket();
            let mut buf = [0; 8];
            assert_eq!(socket.read(&mut buf).await.unwrap(), 3);
            parking.park(socket, 7, None).unwrap();
            clients.clear();
            let mut seen = Vec::new();
            while seen.len() < 200 {
                seen.push(unparked.recv().await.unwrap().payload);
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..200).collect::<Vec<_>>());
            assert!(parking.is_empty());
        });
    }

    #[test]
    fn deadlines_bring_connections_back_in_order() {
        block_on_paused(async {
            let (parking, mut unparked) = parking();
            let mut clients = Vec::new();
            // `park` reads the real clock, which stands still beside the paused one.
            for ms in [5000, 20, 700] {
                let (client, server) = Socket::pair().unwrap();
                parking.park(server, ms, Some(Duration::from_millis(u64::from(ms)))).unwrap();
                clients.push(client);
            }
            for ms in [20, 700, 5000] {
                let back = unparked.recv().await.unwrap();
                assert_eq!((back.payload, back.expired), (ms, true));
            }
        });
    }

    #[test]
    fn a_shutdown_takes_all() {
        block_on(async {
            let (parking, _unparked) = parking();
            let (_a, a) = Socket::pair().unwrap();
            let (_b, b) = Socket::pair().unwrap();
            parking.park(a, 1, None).unwrap();
            parking.park(b, 2, Some(Duration::from_secs(1))).unwrap();
            assert_eq!(parking.take(|_| true).len(), 2);
            assert!(parking.is_empty());
        });
    }

    #[test]
    fn an_entry_is_small() {
        let mut core = Core::<Parked<u64>>::new();
        core.insert(Parked { socket: Socket::pair().unwrap().0.detach(), payload: 0 });
        assert!(core.entry_size() <= 64, "{}", core.entry_size());
    }
}
