//! The program under test as a child process: started with a configuration, asked, killed on drop.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Deref;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

use crate::{PATIENCE, RawClient, eventually, free_port};

pub use rustix::process::Signal;

/// A running `telamon -db -f CONFIG` in a folder of its own.
///
/// The binary is `$TELAMON_BIN`, else the one Cargo built for the test's package, else the newest
/// under `target/`. Debian's `haproxy` can stand in for it: `TELAMON_BIN=/usr/sbin/haproxy`.
#[derive(Debug)]
pub struct Telamon {
    child: Child,
    folder: Scratch,
    port: u16,
    stderr: Arc<Mutex<String>>,
}

impl Telamon {
    /// A section `listen web` with these lines on a free port ([`port`](Self::port)), in HTTP mode
    /// with time-outs of 1 s to connect and 10 s else, unless the lines say otherwise. Further
    /// sections may follow in them.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[track_caller]
    pub fn listen(lines: &str) -> Self {
        Self::start(&Self::listen_on(free_port(), lines))
    }

    /// The configuration that [`listen`](Self::listen) starts, for a given port.
    pub fn listen_on(port: u16, lines: &str) -> String {
        format!(
            "defaults\n    mode http\n    timeout connect 1s\n    timeout client 10s\n    \
             timeout server 10s\nlisten web\n    bind 127.0.0.1:{port}\n{lines}\n"
        )
    }

    /// Starts it and waits until the stats socket answers; everything is bound by then.
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
        Self::start_as(Self::command().args(args), config)
    }

    /// As [`start`](Self::start), by a [`command`](Self::command) that has arguments and variables of its own.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[track_caller]
    pub fn start_as(command: &mut Command, config: &str) -> Self {
        let folder = Scratch::new();
        write_config(&folder, config);
        let mut child = command
            .arg("-db")
            .arg("-f")
            .arg(folder.join("telamon.cfg"))
            .current_dir(&*folder)
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
        let port = bound_port(config).unwrap_or_default();
        let mut telamon = Self { child, folder, port, stderr };
        telamon.wait_ready();
        telamon
    }

    /// The program, for a command line of one's own.
    pub fn command() -> Command {
        Command::new(binary())
    }

    /// Whether Debian's `haproxy` stands in for Telamon, as when a test is itself being tested.
    pub fn is_haproxy() -> bool {
        binary().file_name().is_some_and(|name| name == "haproxy")
    }

    /// Runs the program to its end with these arguments and a configuration file after `-f`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn check(config: &str, args: &[&str]) -> Output {
        let folder = Scratch::new();
        let file = folder.join("telamon.cfg");
        fs::write(&file, config).expect("write the configuration");
        let output = Self::command().args(args).arg("-f").arg(&file).output();
        output.expect("start the program")
    }

    /// Replaces the configuration file, which a reload then reads; the stats socket stays.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write_config(&self, config: &str) {
        write_config(&self.folder, config);
    }

    /// Sends a signal: `Signal::USR2` reloads, `Signal::USR1` stops softly, `Signal::TERM` at once.
    ///
    /// # Panics
    /// When the process is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        signal_process(self.child.id(), signal);
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

    /// The process that serves, which a parent with privileges or a master may have started.
    ///
    /// # Panics
    /// As [`stats_socket`](Self::stats_socket).
    #[track_caller]
    pub fn serving_pid(&self) -> u32 {
        let info = self.stats_socket("show info");
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid: ")?.parse().ok());
        pid.unwrap_or_else(|| panic!("no Pid in {info}"))
    }

    /// A line of `/proc/PID/status` of the process that serves, by its name, as `VmRSS` or `Uid`.
    ///
    /// # Panics
    /// When there is no such line.
    #[track_caller]
    pub fn proc_status(&self, name: &str) -> String {
        let path = format!("/proc/{}/status", self.serving_pid());
        let status = fs::read_to_string(path).expect("the process lives");
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.expect("a line of that name").trim().to_owned()
    }

    /// Memory in use by the process that serves, in KiB.
    ///
    /// # Panics
    /// When the process is gone.
    #[track_caller]
    pub fn memory_kib(&self) -> u64 {
        let value = self.proc_status("VmRSS");
        value.trim_end_matches(" kB").parse().expect("a number of kB")
    }

    /// As [`stats_socket`](Self::stats_socket), when the process may be gone.
    ///
    /// # Errors
    /// When nothing listens there, or the answer does not end.
    pub fn try_stats_socket(&self, command: &str) -> std::io::Result<String> {
        ask(&self.folder.join("stats.sock"), command)
    }

    /// A field of `show stat` for a proxy and a server (or `FRONTEND`, `BACKEND`), by its column's name.
    ///
    /// # Panics
    /// When there is no such row or column.
    #[track_caller]
    pub fn stat(&self, proxy: &str, server: &str, column: &str) -> String {
        let table = self.stats_socket("show stat");
        let mut lines = table.lines();
        let names = lines.next().unwrap_or_default().trim_start_matches("# ");
        let at = names.split(',').position(|name| name == column);
        let start = format!("{proxy},{server},");
        let value = lines
            .find(|line| line.starts_with(&start))
            .and_then(|line| Some(line.split(',').nth(at?)?.to_owned()));
        value.unwrap_or_else(|| panic!("no {column} of {proxy}/{server} in\n{table}"))
    }

    /// A connection to the first port of the configuration.
    ///
    /// # Panics
    /// As [`RawClient::connect`].
    #[track_caller]
    pub fn connect(&self) -> RawClient {
        RawClient::connect(self.port)
    }

    /// The first TCP port of the configuration's `bind` lines, 0 when there is none.
    pub fn port(&self) -> u16 {
        self.port
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
    fn wait_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.try_stats_socket("show info").is_ok_and(|answer| answer.contains("Pid:")) {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                thread::sleep(Duration::from_millis(50)); // the last lines of stderr
                panic!("the program ended ({status}):\n{}", self.stderr());
            }
            let seen = self.stderr();
            assert!(Instant::now() < deadline, "the stats socket does not answer\n{seen}");
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
    }
}

/// Sends a signal to a process that the test knows to be its own.
///
/// # Panics
/// When the process is gone.
#[track_caller]
pub fn signal_process(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("the process takes the signal");
}

/// A folder of one's own with a short path (a unix socket's has at most 107 bytes), removed on drop.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// # Panics
    /// When the machine's folder for temporary files cannot be written.
    #[expect(clippy::new_without_default, reason = "makes a folder")]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("telamon-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder of our own");
        Self(folder)
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write_config(folder: &Path, config: &str) {
    let socket = folder.join("stats.sock");
    let text = format!("global\n    stats socket {} level admin\n{config}", socket.display());
    fs::write(folder.join("telamon.cfg"), text).expect("write the configuration");
}

fn ask(socket: &Path, command: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The port of the first `bind` line on 127.0.0.1.
fn bound_port(config: &str) -> Option<u16> {
    let address = config.lines().find_map(|line| line.trim().strip_prefix("bind 127.0.0.1:"))?;
    address.split_whitespace().next()?.parse().ok()
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
