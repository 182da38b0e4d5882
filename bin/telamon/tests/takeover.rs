//! One process takes over from another: its listening sockets (`-x`), or the addresses that only one can have (`-sf`).

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use telamon_testkit::{Scratch, Telamon, eventually, free_port};

/// Requests without pause over unix sockets; each must be answered.
struct UnixLoad {
    stopped: Arc<AtomicBool>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl UnixLoad {
    fn start(addresses: Vec<SocketAddr>) -> Self {
        let (stopped, failures) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
        let client = |address: SocketAddr| {
            let (stopped, failures) = (Arc::clone(&stopped), Arc::clone(&failures));
            thread::spawn(move || {
                while !stopped.load(Ordering::SeqCst) {
                    if let Err(error) = ask(&address) {
                        let mut all = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        all.push(format!("{address:?}: {error}"));
                    }
                }
            })
        };
        let threads = addresses.into_iter().map(client).collect();
        Self { stopped, failures, threads }
    }

    fn stop(self) -> Vec<String> {
        self.stopped.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the one that answers there calls itself.
fn ask(address: &SocketAddr) -> std::io::Result<String> {
    let mut stream = UnixStream::connect_addr(address)?;
    stream.set_read_timeout(Some(telamon_testkit::PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned();
    if body.is_empty() { Err(std::io::Error::other(answer)) } else { Ok(body) }
}

/// As HAProxy has abstract names: filled up with zeroes.
fn abstract_address(name: &str) -> SocketAddr {
    let mut padded = [0; 107];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    SocketAddr::from_abstract_name(padded).unwrap()
}

fn says(text: &str, binds: &[String]) -> String {
    let binds: String = binds.iter().map(|bind| format!("bind {bind}\n")).collect();
    format!(
        "defaults\nmode http\ntimeout client 10s\nfrontend web\n{binds}\
         http-request return status 200 content-type text/plain string {text}\n"
    )
}

#[test]
fn listening_sockets_are_taken_over_without_turning_anyone_away() {
    if Telamon::is_haproxy() {
        return;
    }
    let folder = Scratch::new();
    let path = folder.join("web.sock");
    let name = format!("telamon-test-takeover-{}", std::process::id());
    let socket = folder.join("old.sock");
    let binds =
        [format!("127.0.0.1:{}", free_port()), path.display().to_string(), format!("abns@{name}")];
    let expose = format!("global\nstats socket {} expose-fd listeners\n", socket.display());
    let mut old = Telamon::start(&format!("{expose}{}", says("old", &binds)));
    let addresses = [SocketAddr::from_pathname(&path).unwrap(), abstract_address(&name)];
    let load = UnixLoad::start(addresses.to_vec());
    let pid = old.pid().to_string();
    let new =
        Telamon::start_with(&says("new", &binds), &["-x", socket.to_str().unwrap(), "-sf", &pid]);
    old.wait_exit();
    for address in &addresses {
        assert_eq!(ask(address).unwrap(), "new");
    }
    assert_eq!(new.connect().get("/").text(), "new");
    // There is no moment without a socket. A client that the old process had let in already may still be reset.
    let turned_away =
        |failure: &String| !failure.contains("reset") && !failure.contains("Broken pipe");
    let failures: Vec<String> = load.stop().into_iter().filter(turned_away).collect();
    assert_eq!(failures, Vec::<String>::new());
}

#[test]
fn sockets_are_handed_over_only_where_the_configuration_says_so() {
    if Telamon::is_haproxy() {
        return;
    }
    let old = Telamon::start(&says("old", &[format!("127.0.0.1:{}", free_port())]));
    assert!(old.stats_socket("_getsocks").starts_with("Unknown command"));
    assert!(!old.stats_socket("help").contains("_getsocks"));
    let socket = old.folder().join("stats.sock");
    let failed = Telamon::check(
        &says("new", &[format!("127.0.0.1:{}", free_port())]),
        &["-db", "-x", socket.to_str().unwrap()],
    );
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("no sockets from the old process"), "{said}");
}

#[test]
fn an_address_that_only_one_can_have_is_let_go_of() {
    if Telamon::is_haproxy() {
        return;
    }
    let name = format!("telamon-test-room-{}", std::process::id());
    let binds = [format!("127.0.0.1:{}", free_port()), format!("abns@{name}")];
    let config = |text: &str| format!("global\nnoreuseport\n{}", says(text, &binds));
    let mut old = Telamon::start(&config("old"));
    let new = Telamon::start_with(&config("new"), &["-sf", &old.pid().to_string()]);
    old.wait_exit();
    assert_eq!(new.connect().get("/").text(), "new");
    assert_eq!(ask(&abstract_address(&name)).unwrap(), "new");
}

#[test]
fn a_pause_ends_when_the_successor_gives_up() {
    if Telamon::is_haproxy() {
        return;
    }
    let port = free_port();
    let config = format!("global\nnoreuseport\n{}", says("old", &[format!("127.0.0.1:{port}")]));
    let old = Telamon::start(&config);
    old.signal(telamon_testkit::Signal::TTOU);
    eventually("it listens no more", || telamon_testkit::RawClient::try_connect(port).is_err());
    assert!(old.stderr().contains("Paused frontend web."), "{}", old.stderr());
    old.signal(telamon_testkit::Signal::TTIN);
    eventually("it listens again", || telamon_testkit::RawClient::try_connect(port).is_ok());
    assert_eq!(old.connect().get("/").text(), "old");
}
