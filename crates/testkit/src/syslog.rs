//! A syslog server that keeps every datagram.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::eventually;

/// Receives log lines over UDP on 127.0.0.1 until the test ends.
#[derive(Debug)]
pub struct SyslogSink {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl SyslogSink {
    /// # Panics
    /// When no UDP port is free.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free UDP port");
        let port = socket.local_addr().expect("a bound address").port();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        // Ends with the process: a test cannot wake a thread that waits for a datagram.
        thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count) = socket.recv(&mut buffer) {
                let line = String::from_utf8_lossy(&buffer[..count]).trim_end().to_owned();
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { port, lines }
    }

    /// What stands behind `log` in a configuration.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// All lines so far, each with its priority, as they came.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line that contains the text and returns it.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        let mut found = None;
        eventually(&format!("a log line with {text:?}"), || {
            found = self.lines().into_iter().find(|line| line.contains(text));
            found.is_some()
        });
        found.unwrap_or_default()
    }
}
