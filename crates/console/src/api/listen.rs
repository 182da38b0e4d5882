//! Clients of the runtime API's sockets: accepted, bounded in number, each served by a task of its own.

use std::io;
use std::rc::Rc;

use telamon_runtime::listener::{AcceptFailure, Pace};
use telamon_runtime::{Accepted, Limit, Listener};

use super::{SessionOptions, Table, serve};

/// Serves all who come to a socket, for ever. To be spawned on the control thread, inside its `LocalSet`.
///
/// `limits` are that of all sockets (`stats maxconn`, default 10) and the socket's own, if it has one; while one is
/// reached clients wait in the kernel's queue. What goes wrong with one client ends that client alone. `starved` hears
/// when there are no descriptors or memory left to accept with, `count` of each who comes.
///
/// # Errors
/// The listening socket is broken or was shut down.
pub async fn listen(
    listener: &Listener,
    limits: &[Limit],
    table: Rc<Table>,
    options: SessionOptions,
    starved: impl FnMut(AcceptFailure),
    count: impl Fn(),
) -> io::Result<()> {
    let accept = |accepted: Accepted| {
        count();
        let table = Rc::clone(&table);
        tokio::task::spawn_local(async move {
            let (socket, _, permits) = accepted.into_socket();
            // It timed out, broke off or is done: in any case nobody is left to tell.
            let _ = serve(&socket, &table, options).await;
            drop(permits);
        });
    };
    listener.run(limits, ACCEPTS_A_TURN, || Pace::Free, accept, starved).await
}

/// Clients accepted before other tasks of the control thread get their turn.
const ACCEPTS_A_TURN: usize = 4;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn clients_beyond_the_limit_wait_their_turn() {
        let bound = TcpListener::bind("127.0.0.1:0").unwrap();
        bound.set_nonblocking(true).unwrap();
        let address = bound.local_addr().unwrap();
        let asking = std::thread::spawn(move || {
            let ask = |input: &str| {
                let mut client = TcpStream::connect(address).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                client.write_all(input.as_bytes()).unwrap();
                client
            };
            let mut first = ask("prompt\n");
            let mut prompt = [0; 3];
            first.read_exact(&mut prompt).unwrap();
            let mut second = ask("user;show cli level\n");
            first.write_all(b"show cli level;quit\n").unwrap();
            let mut answers = [String::new(), String::new()];
            first.read_to_string(&mut answers[0]).unwrap();
            drop(first);
            second.shutdown(Shutdown::Write).unwrap();
            second.read_to_string(&mut answers[1]).unwrap();
            (prompt, answers)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.spawn_local(async move {
            let listener = Listener::new(Arc::new(bound.into())).unwrap();
            let options = SessionOptions::default();
            listen(&listener, &[Limit::new(1)], Rc::new(Table::default()), options, |_| (), || ())
                .await
                .unwrap();
        });
        runtime.block_on(local.run_until(async {
            while !asking.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
        let (prompt, answers) = asking.join().unwrap();
        assert_eq!(&prompt, b"\n> ");
        assert_eq!(answers, ["operator\n\n> ", "\nuser\n\n"]);
    }
}
