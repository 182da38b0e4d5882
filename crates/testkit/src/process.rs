//! The program under test as a child process: started with a configuration, asked, killed on drop.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

use crate::{PATIENCE, eventually};

pub use rustix::process::Signal;

/// A running `telamon -db -f CONFIG` in a folder of its own.
///
/// The binary is `$TELAMON_BIN`, else the one Cargo built for the test's package, else the newest
/// under `target/`. Debian's `haproxy` can stand in for it: `TELAMON_BIN=/usr/sbin/haproxy`.
#[derive(Debug)]
pub struct Telamon {
    child: Child,
    folder: PathBuf,
    stderr: Arc<Mutex<String>>,
}

impl Telamon {
    /// Starts it and waits until every `bind` on a TCP port accepts and the stats socket answers.
    ///
    /// A `global` section with a stats socket of level admin is put in front of the configuration.
    ///
    /// # Panics
    /// When it exits or is not ready within [`PATIENCE`]; its messages are shown.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// As [`start`](Self::start), with further arguments.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[track_caller]
    pub fn start_with(config: &str, args: &[&str]) -> Self {
        let folder = scratch_folder();
        let socket = folder.join("stats.sock");
        let text = format!("global\n    stats socket {} level admin\n{config}", socket.display());
        fs::write(folder.join("telamon.cfg"), text).expect("write the configuration");
        let mut child = Command::new(binary())
            .arg("-db")
            .arg("-f")
            .arg(folder.join("telamon.cfg"))
            .args(args)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the program");
        let stderr = Arc::new(Mutex::new(String::new()));
        if let Some(pipe) = child.stderr.take() {
            let kept = Arc::clone(&stderr);
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let mut text = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    let _ = writeln!(text, "{line}");
                }
            });
        }
        let mut telamon = Self { child, folder, stderr };
        let ports = bound_ports(config);
        telamon.wait_ready(&socket, &ports);
        telamon
    }

    /// Runs the program to its end with these arguments and a configuration file after `-f`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn check(config: &str, args: &[&str]) -> Output {
        let folder = scratch_folder();
        let file = folder.join("telamon.cfg");
        fs::write(&file, config).expect("write the configuration");
        let output = Command::new(binary()).args(args).arg("-f").arg(&file).output();
        let _ = fs::remove_dir_all(folder);
        output.expect("start the program")
    }

    /// Replaces the configuration file, which a reload then reads; the stats socket stays.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write_config(&self, config: &str) {
        let socket = self.folder.join("stats.sock");
        let text = format!("global\n    stats socket {} level admin\n{config}", socket.display());
        fs::write(self.folder.join("telamon.cfg"), text).expect("write the configuration");
    }

    /// Sends a signal: `Signal::USR2` reloads, `Signal::USR1` stops softly, `Signal::TERM` at once.
    ///
    /// # Panics
    /// When the process is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the process takes the signal");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program's end", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        status.expect("eventually holds")
    }

    /// Sends one command line to the stats socket and returns the whole answer.
    ///
    /// # Panics
    /// When the socket does not answer.
    #[track_caller]
    pub fn stats_socket(&self, command: &str) -> String {
        ask(&self.folder.join("stats.sock"), command).expect("the stats socket answers")
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its folder, removed with it: for error files, maps and lists that a configuration names.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process id, as `/proc` knows it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    fn wait_ready(&mut self, socket: &Path, ports: &[u16]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let missing = ports.iter().find(|p| TcpStream::connect(("127.0.0.1", **p)).is_err());
            if missing.is_none() && UnixStream::connect(socket).is_ok() {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                thread::sleep(Duration::from_millis(50)); // the last lines of stderr
                panic!("the program ended ({status}):\n{}", self.stderr());
            }
            let seen = self.stderr();
            assert!(Instant::now() < deadline, "not ready, port missing: {missing:?}\n{seen}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Telamon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the program said:\n{}", self.stderr());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn ask(socket: &Path, command: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The TCP ports of `bind` lines on all addresses or 127.0.0.1, for knowing when it is ready.
fn bound_ports(config: &str) -> Vec<u16> {
    let addresses = config.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("bind")).then(|| words.next())?
    });
    addresses
        .filter_map(|address| {
            let (host, port) = address.rsplit_once(':')?;
            matches!(host, "" | "*" | "127.0.0.1").then(|| port.parse().ok())?
        })
        .collect()
}

fn binary() -> PathBuf {
    // Cargo sets CARGO_BIN_EXE_telamon when it compiles and when it runs the tests of `bin/telamon`.
    for name in ["TELAMON_BIN", "CARGO_BIN_EXE_telamon"] {
        if let Some(path) = env::var_os(name) {
            return path.into();
        }
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let built = ["quick", "release", "debug"].map(|profile| target.join(profile).join("telamon"));
    let age = |path: &PathBuf| fs::metadata(path).and_then(|m| m.modified()).ok();
    let newest = built.into_iter().filter(|path| path.exists()).max_by_key(age);
    newest.expect("a telamon binary: cargo build, or set TELAMON_BIN")
}

/// A new folder whose path is short enough for a unix socket in it (107 bytes).
fn scratch_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("telamon-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = env::temp_dir().join(name);
    fs::create_dir_all(&folder).expect("a folder of our own");
    folder
}
