//! What went wrong on a connection before it carried anything, in HAProxy's numbers and words (`fc_err`, `bc_err`).

/// Why a connection is of no use. The numbers and texts are what logs are read by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ConnectionError {
    #[default]
    None = 0,
    ProxyEmpty = 11,
    ProxyAbort = 12,
    ProxyTimeout = 13,
    ProxyTruncated = 14,
    ProxyNotHeader = 15,
    ProxyBadHeader = 16,
    ProxyBadProtocol = 17,
    /// The peer closed before it said a word of TLS.
    TlsEmpty = 24,
    /// It broke before it said a word of TLS.
    TlsAbort = 25,
    TlsTimeout = 26,
    /// The rate or number of TLS connections is at its limit.
    TlsTooMany = 27,
    /// One of those that signed the client's certificate is not trusted.
    TlsAuthority = 30,
    /// The client's certificate itself is not trusted.
    TlsCertificate = 31,
    /// The server's certificate is not for the name that `verifyhost` says.
    TlsMismatch = 32,
    /// It is not for the name that it was asked for.
    TlsMismatchName = 33,
    TlsHandshake = 34,
    /// TLS failed once it had begun to carry something.
    TlsFatal = 43,
}

impl ConnectionError {
    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::None => "Success",
            Self::ProxyEmpty => "Connection closed while waiting for PROXY protocol header",
            Self::ProxyAbort => "Connection error while waiting for PROXY protocol header",
            Self::ProxyTimeout => "Timeout while waiting for PROXY protocol header",
            Self::ProxyTruncated => "Truncated PROXY protocol header received",
            Self::ProxyNotHeader => {
                "Received something which does not look like a PROXY protocol header"
            }
            Self::ProxyBadHeader => "Received an invalid PROXY protocol header",
            Self::ProxyBadProtocol => "Received an unhandled protocol in the PROXY protocol header",
            Self::TlsEmpty => "Connection closed during SSL handshake",
            Self::TlsAbort => "Connection error during SSL handshake",
            Self::TlsTimeout => "Timeout during SSL handshake",
            Self::TlsTooMany => "Too many SSL connections",
            Self::TlsAuthority => "SSL client CA chain cannot be verified",
            Self::TlsCertificate => "SSL client certificate not trusted",
            Self::TlsMismatch => {
                "Server presented an SSL certificate different from the configured one"
            }
            Self::TlsMismatchName => {
                "Server presented an SSL certificate different from the expected one"
            }
            Self::TlsHandshake => "SSL handshake failure",
            Self::TlsFatal => "SSL fatal error",
        }
    }
}
