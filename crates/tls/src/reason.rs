//! Why TLS failed, in OpenSSL's numbers and words, which logs are read by (`ssl_fc_err`, `ssl_fc_err_str`).

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// A reason of OpenSSL's TLS library (`SSL_R_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    number: u32,
    text: &'static str,
}

impl Reason {
    /// The name that the client asked for has no certificate (`strict-sni`), so the first message was refused.
    pub const NO_CERTIFICATE: Self = Self::new(234, "callback failed");
    /// The peer closed in the middle of it.
    pub const UNEXPECTED_EOF: Self = Self::new(294, "unexpected eof while reading");
    /// What came is a request of HTTP.
    pub const HTTP_REQUEST: Self = Self::new(156, "http request");

    const fn new(number: u32, text: &'static str) -> Self {
        Self { number, text }
    }

    /// The error code of OpenSSL 3: the library and the reason.
    pub fn code(self) -> u32 {
        LIBRARY << 23 | self.number
    }

    /// What the peer said that it did not like.
    pub fn of_alert(alert: AlertDescription) -> Self {
        let number = u8::from(alert);
        let known = ALERTS.iter().find(|(of, _)| *of == number);
        Self::new(1000 + u32::from(number), known.map_or("reason(1000)", |(_, text)| *text))
    }

    /// What this end did not like.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::InvalidCertificate(CertificateError::BadSignature) => {
                Self::new(123, "bad signature")
            }
            Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => {
                Self::new(134, "certificate verify failed")
            }
            Error::NoCertificatesPresented => Self::new(199, "peer did not return a certificate"),
            Error::PeerIncompatible(what) => Self::of_incompatible(what),
            Error::NoApplicationProtocol => Self::new(235, "no application protocol"),
            Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
                Self::new(267, "wrong version number")
            }
            // Text where a record should be: most often plain HTTP.
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                Self::new(267, "wrong version number")
            }
            Error::InvalidMessage(
                InvalidMessage::MessageTooLarge | InvalidMessage::HandshakePayloadTooLarge,
            ) => Self::new(152, "excessive message size"),
            Error::InvalidMessage(_) => Self::new(159, "length mismatch"),
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
                Self::new(244, "unexpected message")
            }
            Error::PeerSentOversizedRecord => Self::new(150, "data length too long"),
            Error::DecryptError => Self::new(281, "decryption failed or bad record mac"),
            Error::PeerMisbehaved(_) => Self::new(110, "bad extension"),
            _ => Self::new(0xc0103, "internal error"),
        }
    }

    fn of_incompatible(what: &PeerIncompatible) -> Self {
        match what {
            PeerIncompatible::NoCipherSuitesInCommon => Self::new(193, "no shared cipher"),
            PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::KeyShareExtensionRequired
            | PeerIncompatible::NamedGroupsExtensionRequired => {
                Self::new(101, "no suitable key share")
            }
            PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
                Self::new(118, "no suitable signature algorithm")
            }
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => Self::new(258, "unsupported protocol"),
            _ => Self::new(110, "bad extension"),
        }
    }
}

/// `error:0A000086:SSL routines::certificate verify failed`, as OpenSSL 3 writes it.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error:{:08X}:SSL routines::{}", self.code(), self.text)
    }
}

/// OpenSSL's number for its TLS library.
const LIBRARY: u32 = 20;

/// Its words for what a peer says.
const ALERTS: &[(u8, &str)] = &[
    (0, "application data after close notify"),
    (10, "sslv3 alert unexpected message"),
    (20, "sslv3 alert bad record mac"),
    (21, "tlsv1 alert decryption failed"),
    (22, "tlsv1 alert record overflow"),
    (30, "sslv3 alert decompression failure"),
    (40, "sslv3 alert handshake failure"),
    (41, "sslv3 alert no certificate"),
    (42, "sslv3 alert bad certificate"),
    (43, "sslv3 alert unsupported certificate"),
    (44, "sslv3 alert certificate revoked"),
    (45, "sslv3 alert certificate expired"),
    (46, "sslv3 alert certificate unknown"),
    (47, "sslv3 alert illegal parameter"),
    (48, "tlsv1 alert unknown ca"),
    (49, "tlsv1 alert access denied"),
    (50, "tlsv1 alert decode error"),
    (51, "tlsv1 alert decrypt error"),
    (60, "tlsv1 alert export restriction"),
    (70, "tlsv1 alert protocol version"),
    (71, "tlsv1 alert insufficient security"),
    (80, "tlsv1 alert internal error"),
    (86, "tlsv1 alert inappropriate fallback"),
    (90, "tlsv1 alert user cancelled"),
    (100, "tlsv1 alert no renegotiation"),
    (109, "tlsv13 alert missing extension"),
    (110, "tlsv1 unsupported extension"),
    (111, "tlsv1 certificate unobtainable"),
    (112, "tlsv1 unrecognized name"),
    (113, "tlsv1 bad certificate status response"),
    (114, "tlsv1 bad certificate hash value"),
    (115, "tlsv1 alert unknown psk identity"),
    (116, "tlsv13 alert certificate required"),
    (120, "tlsv1 alert no application protocol"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_those_of_openssl() {
        #[track_caller]
        fn check(error: Error, number: u32, text: &str) {
            let reason = Reason::of(&error);
            assert_eq!(reason.code() & 0x7f_ffff, number);
            assert_eq!(reason.to_string(), text);
        }
        check(
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            134,
            "error:0A000086:SSL routines::certificate verify failed",
        );
        check(
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            193,
            "error:0A0000C1:SSL routines::no shared cipher",
        );
        check(
            Error::AlertReceived(AlertDescription::UnknownCA),
            1048,
            "error:0A000418:SSL routines::tlsv1 alert unknown ca",
        );
        check(
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            1040,
            "error:0A000410:SSL routines::sslv3 alert handshake failure",
        );
    }
}
