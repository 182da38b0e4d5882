use std::cell::Cell;
use std::net::TcpStream;
use std::rc::Rc;

use super::*;
use crate::bind::{BindAddress, BindSpec, Neighbor, bind};
use crate::workers::block_on;

fn group(copies: usize) -> Vec<Arc<OwnedFd>> {
    let spec = BindSpec::new(BindAddress::Inet("127.0.0.1:0".parse().unwrap()));
    bind(&spec, copies, Neighbor::Refused).unwrap().into_iter().map(Arc::new).collect()
}

#[test]
fn connections_are_accepted_with_their_peer() {
    block_on(async {
        let listener = Listener::new(group(1).remove(0)).unwrap();
        let client = TcpStream::connect(listener.local().inet().unwrap()).unwrap();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut sender = Some(sender);
        let sink = |accepted| drop(sender.take().unwrap().send(accepted));
        tokio::select! {
            result = listener.run(&[], 8, || Pace::Free, sink, |_| {}) => panic!("ended: {result:?}"),
            accepted = receiver => {
                let (socket, peer, _) = accepted.unwrap().into_socket();
                assert_eq!(peer, Endpoint::from(client.local_addr().unwrap()));
                assert_eq!(socket.local().unwrap(), *listener.local());
                assert!(rustix::net::sockopt::tcp_nodelay(&socket).unwrap());
            }
        }
    });
}

#[test]
fn a_full_limit_stops_accepting_until_a_place_is_free() {
    block_on(async {
        let listener = Listener::new(group(1).remove(0)).unwrap();
        let address = listener.local().inet().unwrap();
        let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
        let limit = Limit::new(2);
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let run_limit = limit.clone();
        let run = tokio::task::spawn_local(async move {
            listener
                .run(&[run_limit], 8, || Pace::Free, |accepted| drop(sender.send(accepted)), |_| {})
                .await
        });
        let mut open = Vec::new();
        for _ in 0..clients.len() {
            open.push(receiver.recv().await.unwrap());
            assert!(limit.used() <= 2);
            if open.len() == 2 {
                assert!(receiver.try_recv().is_err());
                open.remove(0);
            }
        }
        run.abort();
    });
}

#[test]
fn only_a_shortage_makes_accepting_rest() {
    assert_eq!(AcceptFailure::of(Errno::MFILE), Some(AcceptFailure::ProcessDescriptors));
    assert_eq!(AcceptFailure::of(Errno::NOBUFS), Some(AcceptFailure::Memory));
    assert_eq!(AcceptFailure::of(Errno::INVAL), None);
}

#[test]
fn clients_that_connect_while_a_socket_closes_are_all_served() {
    block_on(async {
        let sockets = group(3);
        let mut listeners: Vec<_> =
            sockets.iter().map(|fd| Listener::new(fd.clone()).unwrap()).collect();
        drop(sockets);
        let address = listeners[0].local().inet().unwrap();
        let clients = std::thread::spawn(move || {
            let mut served = 0;
            for _ in 0..300 {
                let mut client = TcpStream::connect(address).unwrap();
                let mut answer = Vec::new();
                served += u32::from(std::io::Read::read_to_end(&mut client, &mut answer).is_ok());
            }
            served
        });
        let served = Cell::new(0);
        let serve = |_: Accepted| served.set(served.get() + 1);
        let patience = std::time::Instant::now() + Duration::from_secs(60);
        while served.get() < 100 {
            assert!(std::time::Instant::now() < patience, "{} served", served.get());
            for open in &listeners {
                open.drain(serve).unwrap();
            }
            std::thread::yield_now();
        }
        Steering::towards(&listeners[0].fd, 0..1).unwrap();
        for closing in listeners.drain(1..) {
            closing.drain(serve).unwrap();
        }
        while served.get() < 300 {
            assert!(std::time::Instant::now() < patience, "{} served", served.get());
            listeners[0].drain(serve).unwrap();
            std::thread::yield_now();
        }
        assert_eq!(clients.join().unwrap(), 300);
    });
}

#[test]
fn steering_away_and_draining_loses_no_queued_connection() {
    block_on(async {
        let sockets = group(4);
        let listeners: Vec<_> =
            sockets.iter().map(|fd| Listener::new(fd.clone()).unwrap()).collect();
        drop(sockets);
        let address = listeners[0].local().inet().unwrap();
        let connect = |count| -> Vec<TcpStream> {
            (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
        };
        // Queued over all four by the kernel's hash; none is accepted yet.
        let mut clients = connect(64);
        Steering::towards(&listeners[0].fd, 0..2).unwrap();
        clients.extend(connect(64));

        let served = Rc::new(Cell::new(0));
        let serve = |accepted: Accepted| {
            rustix::net::send(&accepted.fd, b"ok", rustix::net::SendFlags::empty()).unwrap();
            served.set(served.get() + 1);
        };
        let mut listeners = listeners;
        for closing in listeners.drain(2..) {
            closing.drain(serve).unwrap();
            drop(closing);
        }
        Steering::release(&listeners[0].fd).unwrap();
        clients.extend(connect(64));
        for open in &listeners {
            open.drain(serve).unwrap();
        }
        assert_eq!(served.get(), clients.len());
        for mut client in clients {
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut client, &mut answer).unwrap();
            assert_eq!(answer, "ok");
        }
    });
}

#[test]
fn a_pace_is_asked_before_each_connection() {
    block_on(async {
        let spec = BindSpec::new(BindAddress::Inet("127.0.0.1:0".parse().unwrap()));
        let fd = Arc::new(bind(&spec, 1, Neighbor::Refused).unwrap().remove(0));
        let listener = Listener::new(fd).unwrap();
        let address = listener.local().inet().unwrap();
        let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let taken = Cell::new(0);
        let pace = || match taken.get() {
            0 => Pace::One,
            1 => Pace::Rest(Duration::from_millis(5)),
            _ => unreachable!("the second was not let in"),
        };
        let sink = |_| taken.set(taken.get() + 1);
        let run = listener.run(&[], 8, pace, sink, |_| {});
        let _ = tokio::time::timeout(Duration::from_millis(50), run).await;
        assert_eq!(taken.get(), 1);
        drop(clients);
    });
}
