//! Handshakes with clients and with servers, and what is told of them.

use std::cell::{Cell, RefCell};
use std::fmt;

use rustls::pki_types::UnixTime;
use telamon_runtime::socket::tls::{HandshakeError, Tls};
use telamon_runtime::{ConnectError, Moment, Socket};
use telamon_tls::{Acceptor, Connector, Handshake, Reason, Verdict, take_verdict};

use crate::connection_error::ConnectionError;
use crate::log;
use crate::model::Mode;
use crate::stream::Session;

/// Lets the client begin TLS; returns whether it has. If not, the reason is logged.
///
/// Source: HAProxy configuration manual, `timeout client`, and in `mode http` `timeout http-request`, which bounds all
/// that comes before a request is there.
pub(crate) async fn accept(session: &Session, socket: &mut Socket, acceptor: &Acceptor) -> bool {
    let worker = &session.worker;
    let proxy = session.snapshot.proxy(session.frontend);
    let timeouts = &proxy.timeouts;
    let of_request = timeouts.http_request.filter(|_| proxy.mode == Mode::Http);
    let spent = Moment::now().since(session.accepted);
    let of_request = of_request.map(|timeout| timeout.saturating_sub(spent));
    let timeout = [timeouts.client, of_request].into_iter().flatten().min();
    let deadline = worker.deadline();
    deadline.arm_optional_from(worker.now(), timeout);
    let server_name = RefCell::new(None);
    let verdict = Cell::new(None);
    let shaken = socket.accept_tls(
        |hello| {
            server_name.replace(hello.server_name().map(Box::from));
            acceptor.choose(hello)
        },
        || note_verdict(&verdict),
    );
    let shaken = deadline.guard(shaken).await;
    worker.touch();
    let error = match shaken {
        Ok(Ok(tls)) => {
            let now = UnixTime::now();
            // Certificates are not looked at again when a session is resumed.
            let again =
                || acceptor.verdict(tls.server_name.as_deref(), &tls.peer_certificates, now);
            let verdict = match verdict.take() {
                None if tls.resumed && !tls.peer_certificates.is_empty() => again(),
                verdict => verdict.unwrap_or_default(),
            };
            _ = session.tls.set(Box::new(handshake(tls, verdict)));
            return true;
        }
        Ok(Err(error)) => Failure::of(&error, verdict.take()),
        Err(_) => Failure { error: ConnectionError::TlsTimeout, reason: None, verdict: None },
    };
    let failed = Handshake { server_name: server_name.take(), ..error.handshake() };
    _ = session.tls.set(Box::new(failed));
    session.error.set(error.error);
    let begun = !matches!(error.error, ConnectionError::TlsEmpty | ConnectionError::TlsAbort);
    log::log_connection_error(session, error.error.text(), begun);
    false
}

/// Begins TLS with a server. Nothing times out here.
///
/// # Errors
/// What `bc_err` says of it.
pub(crate) async fn connect(
    socket: &mut Socket,
    connector: &Connector,
    name: Option<&str>,
    alpn: Option<&[Vec<u8>]>,
) -> Result<Handshake, Failure> {
    let begun = match alpn {
        None => connector.connect(name),
        Some(alpn) => connector.connect_with_alpn(name, alpn.to_vec()),
    };
    let connection = begun.map_err(|error| Failure {
        error: ConnectionError::TlsHandshake,
        reason: Some(Reason::of(&error)),
        verdict: None,
    })?;
    let verdict = Cell::new(None);
    match socket.connect_tls(connection, || note_verdict(&verdict)).await {
        Ok(tls) => {
            let tls = handshake(tls, verdict.take().unwrap_or_default());
            Ok(Handshake { server_name: name.map(Box::from), ..tls })
        }
        Err(error) => Err(Failure::of(&error, verdict.take())),
    }
}

/// Why a server was not reached.
#[derive(Debug)]
pub(crate) enum Unreached {
    /// There is no connection.
    Connect,
    /// It is there, but TLS did not begin.
    Tls(Failure),
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: ConnectionError,
    reason: Option<Reason>,
    verdict: Option<Verdict>,
}

impl Failure {
    fn of<E>(error: &HandshakeError<E>, verdict: Option<Verdict>) -> Self {
        let refused = verdict.and_then(|verdict| verdict.refused);
        let (error, reason) = match error {
            HandshakeError::Empty => (ConnectionError::TlsEmpty, None),
            HandshakeError::Broken(_) => (ConnectionError::TlsAbort, None),
            HandshakeError::Aborted => {
                (ConnectionError::TlsHandshake, Some(Reason::UNEXPECTED_EOF))
            }
            HandshakeError::Unchosen(_) => {
                (ConnectionError::TlsHandshake, Some(Reason::NO_CERTIFICATE))
            }
            HandshakeError::Alert(alert) => {
                (ConnectionError::TlsHandshake, Some(Reason::of_alert(*alert)))
            }
            HandshakeError::Failed(error) => {
                let of = match refused {
                    None => ConnectionError::TlsHandshake,
                    Some((_, 0)) => ConnectionError::TlsCertificate,
                    Some(_) => ConnectionError::TlsAuthority,
                };
                (of, Some(Reason::of(error)))
            }
        };
        Self { error, reason, verdict }
    }

    /// What is known of a handshake that failed so.
    pub(crate) fn handshake(&self) -> Handshake {
        Handshake {
            verdict: self.verdict.unwrap_or_default(),
            error: self.reason,
            ..Handshake::default()
        }
    }
}

impl From<ConnectError> for Unreached {
    fn from(_: ConnectError) -> Self {
        Self::Connect
    }
}

impl From<std::io::Error> for Unreached {
    fn from(_: std::io::Error) -> Self {
        Self::Connect
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error.text())
    }
}

/// What a verifier has left while the session went on.
fn note_verdict(verdict: &Cell<Option<Verdict>>) {
    if let Some(found) = take_verdict() {
        verdict.set(Some(found));
    }
}

fn handshake(tls: Tls, verdict: Verdict) -> Handshake {
    Handshake {
        version: Some(tls.version),
        cipher: Some(tls.cipher_suite),
        alpn: tls.alpn,
        server_name: tls.server_name,
        resumed: tls.resumed,
        peer: tls.peer_certificates,
        own: tls.own,
        verdict,
        error: None,
        hello: None,
    }
}
