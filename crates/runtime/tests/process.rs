//! What cannot be tested among the threads of a test runner: forking, limits, users, going into
//! the background. This program starts itself once per case.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use telamon_runtime::files::{Direct, Files, Recording, Replay};
use telamon_runtime::listener::Pace;
use telamon_runtime::parent::{self, FromChild, ParentEvent, Role, ToChild};
use telamon_runtime::process::{self, Privileges};
use telamon_runtime::workers::block_on;
use telamon_runtime::{BindAddress, BindSpec, Listener, Neighbor, Signals};

type Case = fn() -> io::Result<()>;

const CASES: &[(&str, Case)] = &[
    ("serving_process_gets_what_the_parent_read_and_bound", serving_process),
    ("parent_learns_how_the_serving_process_ended", ended),
    ("serving_process_learns_that_the_parent_is_gone", parent_gone),
    ("foreground_waits_for_the_background", daemon),
    ("foreground_ends_as_the_background_did", daemon_that_fails),
    ("accepting_rests_without_descriptors", starved),
    ("privileges_are_given_up", privileges),
    ("shortage_of_descriptors_names_both_numbers", shortage),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    if let (Some("case"), Some(name)) = (arguments.next().as_deref(), arguments.next()) {
        let (_, case) = CASES.iter().find(|(known, _)| *known == name).unwrap();
        case().unwrap();
        return;
    }
    // Whatever else is given filters by name, as test runners do; `--list` lists.
    let given: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = given.iter().filter(|word| !word.starts_with('-')).collect();
    if given.iter().any(|word| word == "--list") {
        if !given.iter().any(|word| word == "--ignored") {
            CASES.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return;
    }
    let mut failed = 0;
    for (name, _) in CASES {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let ok = run(name).is_ok_and(|code| code == Some(0));
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        failed += i32::from(!ok);
    }
    std::process::exit(failed);
}

fn run(case: &str) -> io::Result<Option<i32>> {
    Ok(Command::new(std::env::current_exe()?).args(["case", case]).status()?.code())
}

/// A name of this run's own; the processes of a case share it.
fn scratch(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("telamon-{name}-{}", process::pid()))
}

fn serving_process() -> io::Result<()> {
    let signals = Signals::open()?;
    let secret = scratch("secret");
    std::fs::write(&secret, "root's")?;
    let spec = BindSpec::new(BindAddress::Inet("127.0.0.1:0".parse().unwrap()));
    match parent::split()? {
        Role::Parent(mut link) => {
            let recording = Recording::new(Direct::new(Neighbor::Refused));
            recording.read(&secret)?;
            let sockets = recording.bind(&spec, 2)?;
            let address = std::net::TcpListener::from(sockets[0].try_clone()?).local_addr()?;
            drop(sockets);
            std::fs::remove_file(&secret)?;
            link.send(ToChild::Load(recording.into_recorded()))?;
            match link.wait(&signals, None)? {
                ParentEvent::Message(FromChild::Ready) => {}
                other => panic!("{other:?}"),
            }
            TcpStream::connect(address)?;
            link.send(ToChild::Stop)?;
            match link.wait(&signals, None)? {
                ParentEvent::Ended(7) => {}
                other => panic!("{other:?}"),
            }
            // The parent kept no copy that would hold the port open.
            TcpStream::connect(address).unwrap_err();
        }
        Role::Child(mut link) => {
            let Some(ToChild::Load(recorded)) = link.receive()? else { panic!("nothing to load") };
            let files = Replay::new(recorded);
            assert_eq!(files.read(&secret)?, b"root's");
            let sockets = files.bind(&spec, 2)?;
            assert_eq!(sockets.len(), 2);
            link.send(&FromChild::Ready)?;
            assert!(matches!(link.receive()?, Some(ToChild::Stop)));
            std::process::exit(7);
        }
    }
    Ok(())
}

fn ended() -> io::Result<()> {
    let signals = Signals::open()?;
    match parent::split()? {
        Role::Parent(mut link) => {
            let timeout = Some(Duration::from_millis(1));
            assert!(matches!(link.wait(&signals, timeout)?, ParentEvent::TimedOut));
            rustix::process::kill_process(link.child(), rustix::process::Signal::KILL)?;
            assert!(matches!(link.wait(&signals, None)?, ParentEvent::Ended(137)));
            link.send(ToChild::Stop).unwrap_err();
        }
        Role::Child(mut link) => {
            link.receive()?;
        }
    }
    Ok(())
}

fn parent_gone() -> io::Result<()> {
    let (mut reader, writer) = io::pipe()?;
    // A process between, so that this one sees the orphan's pipe.
    if let Role::Parent(mut link) = parent::split()? {
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said)?;
        assert_eq!(said, "gone");
        link.wait(&Signals::open()?, None)?;
        return Ok(());
    }
    // TERM would end the orphan before it reads the end of its channel: keep it blocked.
    let signals = Signals::open()?;
    match parent::split()? {
        Role::Parent(mut link) => {
            // A child that finds no parent at its start ends at once: not what is tested here.
            assert!(matches!(link.wait(&signals, None)?, ParentEvent::Message(FromChild::Ready)));
            std::process::exit(0)
        }
        Role::Child(mut link) => {
            link.send(&FromChild::Ready)?;
            assert!(link.receive()?.is_none());
            io::Write::write_all(&mut &writer, b"gone")?;
            std::process::exit(0);
        }
    }
}

fn daemon() -> io::Result<()> {
    let pid_file = scratch("pid");
    if std::env::var_os("IN_FOREGROUND").is_none() {
        let status = Command::new(std::env::current_exe()?)
            .args(["case", "foreground_waits_for_the_background"])
            .env("IN_FOREGROUND", &pid_file)
            .status()?;
        assert_eq!(status.code(), Some(0));
        let pid: u32 = std::fs::read_to_string(&pid_file)?.trim_end().parse().unwrap();
        assert_ne!(pid, process::pid());
        return std::fs::remove_file(&pid_file);
    }
    let background = process::daemonize()?;
    let pid_file = std::env::var_os("IN_FOREGROUND").unwrap();
    process::write_pid_file(Path::new(&pid_file))?;
    background.ready()
}

fn daemon_that_fails() -> io::Result<()> {
    if std::env::var_os("IN_FOREGROUND").is_none() {
        let status = Command::new(std::env::current_exe()?)
            .args(["case", "foreground_ends_as_the_background_did"])
            .env("IN_FOREGROUND", "1")
            .status()?;
        assert_eq!(status.code(), Some(3));
        return Ok(());
    }
    let _background = process::daemonize()?;
    std::process::exit(3);
}

fn starved() -> io::Result<()> {
    block_on(async {
        let listener = Arc::new(OwnedFd::from(TcpListener::bind("127.0.0.1:0")?));
        rustix::io::ioctl_fionbio(&listener, true)?;
        let listener = Listener::new(listener)?;
        let address: SocketAddr = listener.local().inet().unwrap();
        let clients: Vec<TcpStream> =
            (0..8).map(|_| TcpStream::connect(address)).collect::<io::Result<_>>()?;
        // The lowest free number is one more than what is in use: room for three more.
        let probe = rustix::io::dup(clients[0].as_fd())?;
        let used = std::os::fd::AsRawFd::as_raw_fd(&probe) as u64;
        drop(probe);
        let limit = rustix::process::Rlimit { current: Some(used + 3), maximum: Some(used + 3) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;

        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let reports = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = reports.clone();
        let run = tokio::task::spawn_local(async move {
            let sink = |accepted| drop(sender.send(accepted));
            listener.run(&[], 64, || Pace::Free, sink, |_| counted.set(counted.get() + 1)).await
        });
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(receiver.recv().await.unwrap());
        }
        // Time for several rests: none of them reports again.
        let waited = tokio::time::timeout(Duration::from_millis(350), receiver.recv()).await;
        assert!(waited.is_err());
        assert_eq!(reports.get(), 1);
        open.clear();
        for _ in 0..3 {
            receiver.recv().await.unwrap();
        }
        run.abort();
        Ok(())
    })
}

fn privileges() -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let root = scratch("root");
    std::fs::create_dir(&root)?;
    match parent::split()? {
        Role::Parent(mut link) => {
            assert!(matches!(link.wait(&Signals::open()?, None)?, ParentEvent::Ended(0)));
            std::fs::remove_dir(&root)
        }
        Role::Child(_link) => {
            let target =
                Privileges { uid: Some(65534), gid: Some(65534), chroot: Some(root.clone()) };
            target.drop_to().map_err(io::Error::other)?;
            assert_eq!(rustix::process::getuid().as_raw(), 65534);
            assert_eq!(rustix::process::getgid().as_raw(), 65534);
            assert!(rustix::process::getgroups()?.is_empty());
            assert_eq!(std::fs::read_dir("/")?.count(), 0);
            assert!(target.drop_to().is_err());
            Ok(())
        }
    }
}

fn shortage() -> io::Result<()> {
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(128) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;
    process::raise_descriptor_limit(100).unwrap();
    assert_eq!(process::descriptor_limits(), (100, 128));
    // More than the kernel gives even to the superuser.
    let error = process::raise_descriptor_limit(u64::MAX - 1).unwrap_err();
    assert_eq!((error.wanted, error.allowed), (u64::MAX - 1, 128));
    assert_eq!(process::descriptor_limits(), (128, 128));
    Ok(())
}
