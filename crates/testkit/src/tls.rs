//! TLS around the clients and servers of the kit: a [`TlsPort`] takes connections of one kind and passes them on as
//! the other, so that whoever speaks plain text to it is tested with TLS.
//!
//! Here alone the kit shares a library with the program it judges; what moves the records is its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, HandshakeKind,
    ServerConfig, ServerConnection, SignatureScheme,
};

/// A key, and a certificate for it that it has signed itself.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    pem: String,
}

/// A port of 127.0.0.1 that puts TLS on, or takes it off, what goes through it.
#[derive(Debug)]
pub struct TlsPort {
    port: u16,
    log: Arc<Log>,
}

/// What a client of TLS asks for.
#[derive(Debug, Clone, Default)]
pub struct TlsClient<'a> {
    /// The name that is sent; none if empty.
    pub name: &'a str,
    pub alpn: &'a [&'a str],
    /// What it shows to a server that asks.
    pub identity: Option<&'a Identity>,
    /// TLS 1.2 alone.
    pub old: bool,
}

/// What the handshakes through a port came to.
#[derive(Debug, Default)]
struct Log {
    done: Mutex<Vec<Shaken>>,
}

/// One handshake, in the order in which they ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shaken {
    Full,
    Resumed,
    /// What the library says of a failure, or of an end in the middle.
    Failed(String),
}

impl Identity {
    /// For these names, `localhost` and the like.
    ///
    /// # Panics
    /// When there is no randomness.
    pub fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        Self {
            certificate: made.cert.der().clone(),
            key: made.signing_key.serialize_der(),
            pem: format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem()),
        }
    }

    /// The certificate and its key, as `crt` takes them.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).expect("a key of PKCS #8")
    }
}

impl TlsPort {
    /// Passes plain connections on to a port that speaks TLS; certificates are not verified.
    ///
    /// # Panics
    /// When a port cannot be had.
    pub fn to(port: u16, client: &TlsClient<'_>) -> Self {
        let config = Arc::new(client.config());
        let name = if client.name.is_empty() { "127.0.0.1" } else { client.name };
        let name = ServerName::try_from(name.to_owned()).expect("a host name");
        Self::start(move |plain| {
            let session = ClientConnection::new(config.clone(), name.clone());
            let tls = TcpStream::connect(("127.0.0.1", port))?;
            Ok((plain, tls, session.map_err(io::Error::other)?.into()))
        })
    }

    /// Passes connections with TLS on to a port that does not speak it.
    ///
    /// # Panics
    /// As [`to`](Self::to).
    pub fn before(port: u16, identity: &Identity) -> Self {
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(|config| {
                    let certificates = vec![identity.certificate.clone()];
                    config.with_no_client_auth().with_single_cert(certificates, identity.key())
                })
                .expect("a configuration");
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(64);
        let config = Arc::new(config);
        Self::start(move |tls| {
            let session = ServerConnection::new(config.clone());
            let plain = TcpStream::connect(("127.0.0.1", port))?;
            Ok((plain, tls, session.map_err(io::Error::other)?.into()))
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The handshakes that have ended.
    pub fn handshakes(&self) -> Vec<Shaken> {
        self.log.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn start(
        open: impl Fn(TcpStream) -> io::Result<(TcpStream, TcpStream, Connection)> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let log = Arc::<Log>::default();
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for accepted in listener.incoming() {
                let Ok((plain, tls, session)) = accepted.and_then(&open) else { continue };
                let log = Arc::clone(&kept);
                // An end of either kind is seen by whoever is connected.
                thread::spawn(move || drop(Relay::new(plain, tls, session, log).run()));
            }
        });
        Self { port, log }
    }
}

impl TlsClient<'_> {
    fn config(&self) -> ClientConfig {
        let versions: &[&rustls::SupportedProtocolVersion] = match self.old {
            true => &[&rustls::version::TLS12],
            false => &[&rustls::version::TLS13, &rustls::version::TLS12],
        };
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("a configuration")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = match self.identity {
            None => config.with_no_client_auth(),
            Some(identity) => config
                .with_client_auth_cert(vec![identity.certificate.clone()], identity.key())
                .expect("a key that matches"),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// One connection through a port.
struct Relay {
    plain: TcpStream,
    tls: TcpStream,
    session: Connection,
    log: Arc<Log>,
    /// Not yet written to `plain`.
    held: Vec<u8>,
    plain_ended: bool,
    tls_ended: bool,
}

impl Relay {
    fn new(plain: TcpStream, tls: TcpStream, session: Connection, log: Arc<Log>) -> Self {
        let (held, plain_ended, tls_ended) = (Vec::new(), false, false);
        Self { plain, tls, session, log, held, plain_ended, tls_ended }
    }

    fn run(mut self) -> io::Result<()> {
        self.plain.set_nonblocking(true)?;
        self.tls.set_nonblocking(true)?;
        self.tls.set_nodelay(true)?;
        let mut shaking = true;
        loop {
            let turned = self.turn();
            if shaking && (turned.is_err() || !self.session.is_handshaking()) {
                shaking = false;
                self.note(turned.as_ref().err());
            }
            if turned? {
                return Ok(());
            }
        }
    }

    fn note(&self, error: Option<&io::Error>) {
        let shaken = match (error, self.session.handshake_kind()) {
            (Some(error), _) => Shaken::Failed(error.to_string()),
            (None, Some(HandshakeKind::Resumed)) => Shaken::Resumed,
            (None, _) => Shaken::Full,
        };
        self.log.done.lock().unwrap_or_else(PoisonError::into_inner).push(shaken);
    }

    /// Moves what can be moved, once something can; true at the end.
    fn turn(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.tls) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                done => _ = done?,
            }
        }
        while !self.held.is_empty() {
            match self.plain.write(&self.held) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                done => drop(self.held.drain(..done?)),
            }
        }
        if self.tls_ended && self.held.is_empty() {
            let _ = self.plain.shutdown(Shutdown::Write);
        }
        if self.plain_ended && !self.session.wants_write() {
            let _ = self.tls.shutdown(Shutdown::Write);
            if self.tls_ended && self.held.is_empty() {
                return Ok(true);
            }
        }
        self.wait()?;
        if !self.tls_ended && self.held.is_empty() {
            self.read_tls()?;
        }
        if !self.plain_ended && !self.session.is_handshaking() && !self.session.wants_write() {
            let mut buffer = [0; 16384];
            match self.plain.read(&mut buffer) {
                Ok(0) => {
                    self.plain_ended = true;
                    self.session.send_close_notify();
                }
                Ok(count) => self.session.writer().write_all(&buffer[..count])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn read_tls(&mut self) -> io::Result<()> {
        match self.session.read_tls(&mut self.tls) {
            Ok(0) if self.session.is_handshaking() => {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            Ok(0) => self.tls_ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        if let Err(error) = self.session.process_new_packets() {
            let _ = self.session.write_tls(&mut self.tls);
            return Err(io::Error::other(error));
        }
        match self.session.reader().read_to_end(&mut self.held) {
            Ok(_) => self.tls_ended = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.tls_ended = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits for what can be done next.
    fn wait(&self) -> io::Result<()> {
        let wants = |read: bool, write: bool| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, read);
            flags.set(PollFlags::OUT, write);
            flags
        };
        let writes = self.session.wants_write();
        let plain_read = !self.plain_ended && !self.session.is_handshaking() && !writes;
        let tls = wants(!self.tls_ended && self.held.is_empty(), writes);
        let plain = wants(plain_read, !self.held.is_empty());
        let mut fds = [PollFd::new(&self.tls, tls), PollFd::new(&self.plain, plain)];
        // A side that is only watched for its end would wake this up for ever.
        let pause = Duration::from_millis(if tls.is_empty() || plain.is_empty() { 2 } else { 0 });
        let most = Timespec { tv_sec: 10, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&most))?;
        if !fds.iter().any(|fd| fd.revents().intersects(PollFlags::IN | PollFlags::OUT)) {
            thread::sleep(pause);
        }
        Ok(())
    }
}

/// Believes any certificate.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
