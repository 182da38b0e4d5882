//! What a `server` line says of TLS.

use telamon_config::Keyword;

use super::super::bind::no_effect;
use super::super::tls::TlsDraft;
use super::{HERE, ServerSettings};

type S = Keyword<ServerSettings>;

/// A row for a setting that `bind` lines have too.
macro_rules! setting {
    ($name:literal, $doc:literal) => {
        S::works($name, HERE, $name, $doc, |server, args| server.tls.read(args, $name, false))
    };
    ($name:literal, $usage:literal, $doc:literal) => {
        S::works($name, HERE, concat!($name, " ", $usage), $doc, |server, args| {
            server.tls.read(args, $name, true);
        })
    };
}

/// A row for a word that there is nothing to do for.
macro_rules! old {
    ($name:literal) => {
        S::idle($name, HERE, $name, "versions before TLS 1.2 are never spoken", |server, args| {
            server.tls.read(args, $name, false);
        })
    };
}

pub(super) const KEYWORDS: &[S] = &[
    S::works("ssl", HERE, "ssl", "speaks TLS to the server", |server, args| {
        server.tls.ssl = Some(args.at());
    }),
    S::works("no-ssl", HERE, "no-ssl", "takes back `ssl`", |server, _| server.tls.ssl = None),
    S::works(
        "check-ssl",
        HERE,
        "check-ssl",
        "checks by TLS, also where the traffic does not or goes elsewhere",
        |server, args| {
            server.check_tls.said = Some(true);
            server.check_tls.at = Some(args.at());
        },
    ),
    S::works(
        "no-check-ssl",
        HERE,
        "no-check-ssl",
        "checks without TLS, also where the traffic has it",
        |server, _| {
            server.check_tls.said = Some(false);
        },
    ),
    S::works(
        "check-sni",
        HERE,
        "check-sni <name>",
        "the host name that checks send",
        |server, args| {
            server.check_tls.sni = args.next("a host name").map(|token| token.text.into());
        },
    ),
    S::works(
        "check-alpn",
        HERE,
        "check-alpn <protocols>",
        "protocols that checks offer; without, those of `alpn`",
        |server, args| {
            let Some(token) = args.next("names such as `h2,http/1.1`") else { return };
            match telamon_tls::protocols(token.text) {
                Ok(protocols) => server.check_tls.alpn = Some(protocols.into()),
                Err(_) => args.bad(token, "list of protocols", "names such as `h2,http/1.1`"),
            }
        },
    ),
    S::works(
        "sni",
        HERE,
        "sni <expression>",
        "the host name that the server is sent, and that its certificate must have",
        |server, args| {
            // It is read once the line is, for it may ask for what only a proxy knows.
            server.sni_text =
                args.next("a sample expression").map(|token| (token.bytes.into(), token.at));
        },
    ),
    S::works("no-sni", HERE, "no-sni", "takes back `sni`", |server, _| {
        server.sni_text = None;
        server.sni = None;
    }),
    S::works(
        "crt",
        HERE,
        "crt <file>",
        "the certificate that the server is shown",
        |server, args| {
            server.tls.certificate(args);
        },
    ),
    setting!("alpn", "<protocols>", "protocols that the server may choose, such as `h2,http/1.1`"),
    setting!("no-alpn", "negotiates no protocol").since("2.8"),
    setting!("ca-file", "<file>", "authorities that vouch for the server"),
    setting!("crl-file", "<file>", "certificates that are revoked"),
    S::works(
        "verify",
        HERE,
        "verify { none | required }",
        "whether the server's certificate is verified; required by default",
        |server, args| {
            let words =
                [("none", telamon_tls::Verify::None), ("required", telamon_tls::Verify::Required)];
            server.tls.detail.get_or_insert(("verify", args.at()));
            server.tls.offer.verify = args.one_of("verification", &words);
        },
    ),
    S::works(
        "verifyhost",
        HERE,
        "verifyhost <name>",
        "the name that the certificate must have where none is sent",
        |server, args| {
            server.tls.verify_host = args.next("a host name").map(|token| token.text.into());
        },
    ),
    S::works("no-verifyhost", HERE, "no-verifyhost", "takes back `verifyhost`", |server, _| {
        server.tls.verify_host = None;
    }),
    setting!("ciphers", "<list>", "cipher suites of TLS 1.2"),
    setting!("ciphersuites", "<list>", "cipher suites of TLS 1.3"),
    setting!("curves", "<list>", "key exchange groups").since("2.9"),
    setting!("client-sigalgs", "<list>", "how the server may sign").since("2.9"),
    setting!("ssl-min-ver", "<version>", "the oldest version: `TLSv1.2` or `TLSv1.3`"),
    setting!("ssl-max-ver", "<version>", "the newest version: `TLSv1.2` or `TLSv1.3`"),
    setting!("force-tlsv12", "TLS 1.2 only"),
    setting!("force-tlsv13", "TLS 1.3 only"),
    setting!("no-tlsv12", "not TLS 1.2"),
    setting!("no-tlsv13", "not TLS 1.3"),
    setting!("force-sslv3", "an error: it is never spoken"),
    setting!("force-tlsv10", "an error: it is never spoken"),
    setting!("force-tlsv11", "an error: it is never spoken"),
    old!("no-sslv3"),
    old!("no-tlsv10"),
    old!("no-tlsv11"),
    S::works("no-ssl-reuse", HERE, "no-ssl-reuse", "every handshake is a full one", |server, _| {
        server.tls.no_resumption = true;
    }),
    S::works("ssl-reuse", HERE, "ssl-reuse", "takes back `no-ssl-reuse`", |server, _| {
        server.tls.no_resumption = false;
    }),
    S::works(
        "no-tls-tickets",
        HERE,
        "no-tls-tickets",
        "takes no tickets from servers that speak TLS 1.2",
        |server, _| server.tls.offer.no_tickets = true,
    ),
    S::works("tls-tickets", HERE, "tls-tickets", "takes back `no-tls-tickets`", |server, _| {
        server.tls.offer.no_tickets = false;
    }),
    S::idle("allow-0rtt", HERE, "allow-0rtt", "early data is never sent", |_, args| {
        no_effect(args, "early data is never sent")
    }),
    S::obsolete("npn", HERE, "alpn {1}"),
];

/// How a server's checks use TLS.
#[derive(Debug, Clone, Default)]
pub(in crate::load) struct CheckDraft {
    /// `check-ssl`, or `no-check-ssl`.
    pub(in crate::load) said: Option<bool>,
    /// Where `check-ssl` stands.
    pub(in crate::load) at: Option<telamon_config::Location>,
    pub(in crate::load) sni: Option<Box<str>>,
    pub(in crate::load) alpn: Option<std::sync::Arc<[Vec<u8>]>>,
}

impl CheckDraft {
    /// Whether checks use TLS: where it is forced, or where they go where encrypted traffic goes.
    pub(in crate::load) fn applies(&self, tls: &TlsDraft, elsewhere: bool) -> bool {
        self.said.unwrap_or(tls.ssl.is_some() && !elsewhere)
    }
}
