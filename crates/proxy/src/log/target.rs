//! Where lines go: one `log` line of the configuration, and the header that its format puts before each message.

use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::date::Stamp;
use super::escape::unsigned;
use super::{Facility, Level};

/// One destination of log lines. Source: HAProxy configuration manual, `log`.
///
/// The proxies that take the targets of `global` by `log global` each have a [clone](Clone) of their own, so that each
/// samples its own lines.
#[derive(Debug)]
pub struct LogTarget {
    pub destination: Destination,
    /// Bytes of a line without its final line feed; more are cut off. 80 to 65535, default 1024.
    pub len_max: usize,
    /// `format`; `None` is `local`, or `rfc3164` with `log-send-hostname`.
    pub format: Option<HeaderFormat>,
    /// `sample`: which of the lines are sent.
    pub sample: Option<Sample>,
    pub facility: Facility,
    /// Lines less severe than this are not sent; default `debug`.
    pub level_max: Level,
    /// Lines more severe than this are sent with this level; default `emerg`.
    pub level_min: Level,
    /// Lines met so far, for `sample`.
    met: AtomicU64,
    /// The descriptor of [`Destination::Descriptor`], from the first line on; `None` if it is not open.
    pub(super) descriptor: OnceLock<Option<OwnedFd>>,
    /// A failure to send has been reported.
    pub(super) reported: AtomicBool,
}

/// Where a line is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A datagram over UDP.
    Udp(SocketAddr),
    /// A datagram to a socket in the file system, as the process sees it (in its chroot) when the line is sent.
    Unix(PathBuf),
    /// A datagram to a socket in the abstract namespace.
    Abstract(Box<[u8]>),
    /// One write on a descriptor that was open at the start: `stdout` (1), `stderr` (2), `fd@N`.
    Descriptor(RawFd),
}

/// What stands before the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFormat {
    /// `<134>Nov 20 14:59:45 haproxy[1234]: `
    Local,
    /// `<134>Nov 20 14:59:45 host haproxy[1234]: `
    Rfc3164,
    /// `<134>1 2026-11-20T14:59:45.821000+00:00 host haproxy 1234 - - `
    Rfc5424,
    /// `<134>`: facility and level.
    Priority,
    /// `<6>`: the level.
    Short,
    /// `<6>2026-11-20T14:59:45.821000+00:00 `
    Timed,
    /// `2026-11-20T14:59:45.821000+00:00 `
    Iso,
    /// Nothing.
    Raw,
}

/// `sample RANGES:SIZE`: of every `size` lines those whose number, from 1, is in one of the ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// First and last, not overlapping, in order.
    pub ranges: Box<[(u32, u32)]>,
    /// At least 1, and no less than the end of any range.
    pub size: u32,
}

/// What the headers of all lines of a proxy say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// `log-tag`.
    pub(crate) tag: &'a str,
    /// `log-send-hostname`.
    pub(crate) hostname: Option<&'a str>,
    pub(crate) pid: u32,
    /// `log-format-sd`, filled in; empty where there is none.
    pub(crate) structured_data: &'a [u8],
}

impl LogTarget {
    /// A target with the defaults of everything that a `log` line may leave out.
    pub fn new(destination: Destination, facility: Facility) -> Self {
        Self {
            destination,
            len_max: LEN_DEFAULT,
            format: None,
            sample: None,
            facility,
            level_max: Level::Debug,
            level_min: Level::Emergency,
            met: AtomicU64::new(0),
            descriptor: OnceLock::new(),
            reported: AtomicBool::new(false),
        }
    }

    /// Whether a line of this level is to be sent; counts it for `sample`.
    pub(crate) fn takes(&self, level: Level) -> bool {
        if level > self.level_max {
            return false;
        }
        let Some(sample) = &self.sample else { return true };
        let number = self.met.fetch_add(1, Ordering::Relaxed) % u64::from(sample.size) + 1;
        let within = |&(first, last): &(u32, u32)| (first.into()..=last.into()).contains(&number);
        sample.ranges.iter().any(within)
    }

    /// Writes header, message and line feed to `out`, which is cleared before.
    pub(crate) fn write_line(
        &self,
        level: Level,
        origin: &Origin<'_>,
        now: Stamp,
        message: &[u8],
        out: &mut Vec<u8>,
    ) {
        out.clear();
        self.write_header(level.max(self.level_min), origin, now, out);
        out.extend_from_slice(message);
        out.truncate(self.len_max);
        out.push(b'\n');
    }

    fn write_header(&self, level: Level, origin: &Origin<'_>, now: Stamp, out: &mut Vec<u8>) {
        use HeaderFormat as F;
        let default = if origin.hostname.is_some() { F::Rfc3164 } else { F::Local };
        let format = self.format.unwrap_or(default);
        let severity = match format {
            F::Local | F::Rfc3164 | F::Rfc5424 | F::Priority => {
                Some(self.facility.number() * 8 + level.number())
            }
            F::Short | F::Timed => Some(level.number()),
            F::Iso | F::Raw => None,
        };
        if let Some(severity) = severity {
            out.push(b'<');
            unsigned(u64::from(severity), out);
            out.push(b'>');
        }
        match format {
            F::Local | F::Rfc3164 => {
                now.write_rfc3164(out);
                out.push(b' ');
                if format == F::Rfc3164 {
                    out.extend_from_slice(origin.hostname.unwrap_or("localhost").as_bytes());
                    out.push(b' ');
                }
                if !origin.tag.is_empty() {
                    out.extend_from_slice(origin.tag.as_bytes());
                    out.push(b'[');
                    unsigned(u64::from(origin.pid), out);
                    out.extend_from_slice(b"]: ");
                }
            }
            F::Rfc5424 => {
                out.extend_from_slice(b"1 ");
                now.write_iso(out);
                out.push(b' ');
                field(origin.hostname.unwrap_or_default().as_bytes(), out);
                field(origin.tag.as_bytes(), out);
                unsigned(u64::from(origin.pid), out);
                out.extend_from_slice(b" - ");
                field(origin.structured_data.trim_ascii_end(), out);
            }
            F::Timed | F::Iso => {
                now.write_iso(out);
                out.push(b' ');
            }
            F::Priority | F::Short | F::Raw => {}
        }
    }
}

impl Clone for LogTarget {
    /// The same destination with a count of lines of its own.
    fn clone(&self) -> Self {
        Self {
            len_max: self.len_max,
            format: self.format,
            sample: self.sample.clone(),
            level_max: self.level_max,
            level_min: self.level_min,
            ..Self::new(self.destination.clone(), self.facility)
        }
    }
}

/// A field of an RFC 5424 header and the space after it; `-` where it is empty.
fn field(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(if text.is_empty() { b"-" } else { text });
    out.push(b' ');
}

impl HeaderFormat {
    /// The words of `format`.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("local", Self::Local),
        ("rfc3164", Self::Rfc3164),
        ("rfc5424", Self::Rfc5424),
        ("priority", Self::Priority),
        ("short", Self::Short),
        ("timed", Self::Timed),
        ("iso", Self::Iso),
        ("raw", Self::Raw),
    ];
}

/// Bytes of a line unless `len` says otherwise.
pub const LEN_DEFAULT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "hello - 123456789 123456789 123456789 123456789 123456789 123456789 \
                           123456789 123456789 123456789";

    fn target(facility: &str) -> LogTarget {
        let at = Destination::Udp(SocketAddr::from(([127, 0, 0, 1], 514)));
        LogTarget::new(at, Facility::from_name(facility).expect("a facility"))
    }

    /// The lines are those of HAProxy 2.6.12 for a frontend with one `log` line per format, `log-tag mytag` and
    /// `log-format-sd`, received on a UDP socket in UTC; host and process were filled in here.
    #[test]
    fn headers() {
        #[track_caller]
        fn check(target: LogTarget, hostname: Option<&str>, expected: &str) {
            let origin = Origin {
                tag: "mytag",
                hostname,
                pid: 30642,
                structured_data: b"[ex@1 h=\"127.0.0.1\"] ",
            };
            let now = Stamp { seconds: 1_795_186_804, micros: 15_883 };
            let mut out = Vec::new();
            target.write_line(Level::Info, &origin, now, MESSAGE.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected.replace("MSG", MESSAGE) + "\n");
        }
        let with = |facility, format| LogTarget { format: Some(format), ..target(facility) };
        check(target("local0"), None, "<134>Nov 20 15:00:04 mytag[30642]: MSG");
        check(target("local0"), Some("vm"), "<134>Nov 20 15:00:04 vm mytag[30642]: MSG");
        check(
            with("local1", HeaderFormat::Rfc3164),
            None,
            "<142>Nov 20 15:00:04 localhost mytag[30642]: MSG",
        );
        check(
            with("local2", HeaderFormat::Rfc5424),
            None,
            "<150>1 2026-11-20T15:00:04.015883+00:00 - mytag 30642 - [ex@1 h=\"127.0.0.1\"] MSG",
        );
        check(with("local2", HeaderFormat::Short), None, "<6>MSG");
        check(with("local2", HeaderFormat::Timed), None, "<6>2026-11-20T15:00:04.015883+00:00 MSG");
        check(with("local2", HeaderFormat::Iso), None, "2026-11-20T15:00:04.015883+00:00 MSG");
        check(with("local2", HeaderFormat::Raw), None, "MSG");
        check(with("local2", HeaderFormat::Priority), None, "<150>MSG");
        check(
            LogTarget { len_max: 80, ..target("local2") },
            None,
            "<150>Nov 20 15:00:04 mytag[30642]: hello - 123456789 123456789 123456789 1234567",
        );
        check(
            LogTarget { len_max: 80, ..with("local2", HeaderFormat::Raw) },
            None,
            "hello - 123456789 123456789 123456789 123456789 123456789 123456789 123456789 12",
        );
        let raised = LogTarget { level_min: Level::Debug, ..target("kern") };
        check(raised, None, "<7>Nov 20 15:00:04 mytag[30642]: MSG");
    }

    #[test]
    fn levels_and_samples_choose_lines() {
        #[track_caller]
        fn check(target: &LogTarget, level: Level, expected: &str) {
            let taken: String =
                (0..8).map(|_| if target.takes(level) { 'x' } else { '.' }).collect();
            assert_eq!(taken, expected);
        }
        let notice = LogTarget { level_max: Level::Notice, ..target("local0") };
        check(&notice, Level::Info, "........");
        check(&notice, Level::Notice, "xxxxxxxx");
        check(&notice, Level::Alert, "xxxxxxxx");
        let some = Sample { ranges: [(1, 1), (3, 3)].into(), size: 4 };
        check(&LogTarget { sample: Some(some), ..target("local0") }, Level::Info, "x.x.x.x.");
        let last = Sample { ranges: [(2, 3)].into(), size: 3 };
        check(&LogTarget { sample: Some(last), ..target("local0") }, Level::Info, ".xx.xx.x");
    }
}
