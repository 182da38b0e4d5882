//! Telling systemd how far we are (`sd_notify(3)`), under `-Ws`.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The line to the service manager. Without one, every message goes nowhere and succeeds.
#[derive(Debug)]
pub struct Notify(Option<UnixDatagram>);

impl Notify {
    /// Connects to `$NOTIFY_SOCKET`; to be done before a chroot.
    ///
    /// # Errors
    /// The variable names something that is no socket.
    pub fn from_environment() -> io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(Self(None)) };
        Self::to(name.as_bytes())
    }

    fn to(name: &[u8]) -> io::Result<Self> {
        let address = match name {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(Self(Some(socket)))
    }

    /// Start-up or a reload is complete.
    pub fn ready(&self, main_pid: u32) -> io::Result<()> {
        self.send(&format!("READY=1\nMAINPID={main_pid}\nSTATUS=Ready.\n"))
    }

    /// A reload has begun; [`Notify::ready`] ends it.
    pub fn reloading(&self) -> io::Result<()> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let us = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={us}\nSTATUS=Reloading configuration.\n"))
    }

    /// The process is about to end.
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1\n")
    }

    /// A line for `systemctl status`.
    pub fn status(&self, text: &str) -> io::Result<()> {
        self.send(&format!("STATUS={}\n", text.replace('\n', " ")))
    }

    fn send(&self, message: &str) -> io::Result<()> {
        match &self.0 {
            Some(socket) => socket.send(message.as_bytes()).map(drop),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_sd_notify() {
        let name = format!("telamon-notify-{}", std::process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notify = Notify::to(format!("@{name}").as_bytes()).unwrap();
        let receive = || {
            let mut buf = [0; 256];
            let count = manager.recv(&mut buf).unwrap();
            String::from_utf8(buf[..count].to_vec()).unwrap()
        };
        notify.ready(42).unwrap();
        assert_eq!(receive(), "READY=1\nMAINPID=42\nSTATUS=Ready.\n");
        notify.reloading().unwrap();
        assert!(receive().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        notify.status("two\nlines").unwrap();
        assert_eq!(receive(), "STATUS=two lines\n");
        Notify(None).stopping().unwrap();
    }
}
