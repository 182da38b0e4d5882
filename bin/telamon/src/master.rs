//! What the master's socket (`-S`) tells and starts.
//!
//! In HAProxy the master answers it and passes commands on to its workers. Here the serving process answers, because
//! the parent keeps the privileges and therefore talks to nobody but the serving process.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use telamon_runtime::api::{Answer, Command, Level};
use telamon_runtime::process;
use tokio::sync::Notify;

/// The master as its socket shows it.
#[derive(Debug)]
pub(crate) struct Master {
    pid: u32,
    started: Instant,
    reloads: Cell<u32>,
    /// Reloads that failed since one did not.
    failed: Cell<u32>,
    wanted: Notify,
}

impl Master {
    /// `pid` is the parent's, or that of this process where it has none.
    pub(crate) fn new(pid: u32) -> Rc<Self> {
        Rc::new(Self {
            pid,
            started: Instant::now(),
            reloads: Cell::new(0),
            failed: Cell::new(0),
            wanted: Notify::new(),
        })
    }

    /// Waits until a client asks for a reload.
    pub(crate) async fn reload_wanted(&self) {
        self.wanted.notified().await;
    }

    /// A reload is over.
    pub(crate) fn reloaded(&self, well: bool) {
        if well {
            self.reloads.set(self.reloads.get() + 1);
            self.failed.set(0);
        } else {
            self.failed.set(self.failed.get() + 1);
        }
    }

    /// The commands that are the master's own.
    pub(crate) fn commands(self: &Rc<Self>) -> Vec<Command> {
        let (shown, reloading) = (Rc::clone(self), Rc::clone(self));
        vec![
            Command {
                words: &["show", "proc"],
                level: Level::User,
                usage: "",
                help: "show processes status",
                run: Box::new(move |_| Answer::Text(shown.show())),
            },
            Command {
                words: &["reload"],
                level: Level::Admin,
                usage: "",
                help: "reload haproxy",
                run: Box::new(move |_| {
                    reloading.wanted.notify_one();
                    Answer::Text(String::new())
                }),
            },
        ]
    }

    fn show(&self) -> String {
        let uptime = uptime(self.started.elapsed());
        let version = telamon_proxy::stats::VERSION;
        let reloads = format!("{} [failed: {}]", self.reloads.get(), self.failed.get());
        let row = |pid: &str, kind: &str, reloads: &str, uptime: &str, version: &str| {
            format!("{pid:<15} {kind:<15} {reloads:<15} {uptime:<15} {version:<15}\n")
        };
        let head = row("#<PID>", "<type>", "<reloads>", "<uptime>", "<version>");
        let master = row(&self.pid.to_string(), "master", &reloads, &uptime, version);
        let worker = row(&process::pid().to_string(), "worker", "0", &uptime, version);
        format!("{head}{master}# workers\n{worker}# programs\n")
    }
}

/// `0d00h00m01s`.
fn uptime(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("{days}d{hours:02}h{minutes:02}m{:02}s", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_are_written_as_haproxy_writes_them() {
        #[track_caller]
        fn check(seconds: u64, expected: &str) {
            assert_eq!(uptime(Duration::from_secs(seconds)), expected);
        }
        check(1, "0d00h00m01s");
        check(59 * 60 + 59, "0d00h59m59s");
        check(86400 * 12 + 3600 * 23, "12d23h00m00s");
    }

    #[test]
    fn failures_count_until_a_reload_goes_well() {
        #[track_caller]
        fn check(reloads: &[bool], expected: &str) {
            let master = Master::new(7);
            for well in reloads {
                master.reloaded(*well);
            }
            let row = master.show().lines().nth(1).expect("a master").to_owned();
            assert!(
                row.starts_with(&format!("7               master          {expected} ")),
                "{row}"
            );
        }
        check(&[], "0 [failed: 0]");
        check(&[true, false, false], "1 [failed: 2]");
        check(&[true, false, true], "2 [failed: 0]");
    }
}
