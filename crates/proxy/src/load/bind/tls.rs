//! What a `bind` line says of TLS.

use telamon_config::Keyword;

use super::{BindSettings, HERE, no_effect};

type B = Keyword<BindSettings>;

/// A row for a setting that a line of a crt-list may have too.
macro_rules! setting {
    ($name:literal, $doc:literal) => {
        B::works($name, HERE, $name, $doc, |bind, args| bind.tls.read(args, $name, false))
    };
    ($name:literal, $usage:literal, $doc:literal) => {
        B::works($name, HERE, concat!($name, " ", $usage), $doc, |bind, args| {
            bind.tls.read(args, $name, true);
        })
    };
}

const OLD: &str = "versions before TLS 1.2 are never spoken";

pub(super) const KEYWORDS: &[B] = &[
    B::works("ssl", HERE, "ssl", "speaks TLS", |bind, args| bind.tls.ssl = Some(args.at())),
    B::works(
        "crt",
        HERE,
        "crt <file> | <directory> | @<store>/<name>",
        "a certificate with its chain and key, or a directory of them",
        |bind, args| bind.tls.certificate(args),
    ),
    B::works("crt-list", HERE, "crt-list <file>", "a list of certificates", |bind, args| {
        bind.tls.list(args);
    }),
    setting!("alpn", "<protocols>", "protocols that clients may choose, such as `h2,http/1.1`"),
    setting!("no-alpn", "negotiates no protocol").since("2.8"),
    setting!("ca-file", "<file>", "authorities that vouch for clients"),
    setting!("ca-verify-file", "<file>", "authorities whose names clients are not told"),
    setting!("ca-ignore-err", "{ all | <error>,... }", "errors of authorities that do not matter"),
    setting!(
        "crt-ignore-err",
        "{ all | <error>,... }",
        "errors of clients' certificates that do not matter"
    ),
    setting!("crl-file", "<file>", "certificates that are revoked"),
    setting!("verify", "{ none | optional | required }", "whether clients show a certificate"),
    setting!("no-ca-names", "does not tell clients the names of authorities"),
    setting!("ciphers", "<list>", "cipher suites of TLS 1.2"),
    setting!("ciphersuites", "<list>", "cipher suites of TLS 1.3"),
    setting!("curves", "<list>", "key exchange groups"),
    setting!("ecdhe", "<curve>", "the key exchange group"),
    setting!("sigalgs", "<list>", "how clients are signed to").since("2.8"),
    setting!("client-sigalgs", "<list>", "how clients may sign").since("2.8"),
    setting!("prefer-client-ciphers", "the client's order of cipher suites decides"),
    setting!("ssl-min-ver", "<version>", "the oldest version: `TLSv1.2` or `TLSv1.3`"),
    setting!("ssl-max-ver", "<version>", "the newest version: `TLSv1.2` or `TLSv1.3`"),
    setting!("force-tlsv12", "TLS 1.2 only"),
    setting!("force-tlsv13", "TLS 1.3 only"),
    setting!("no-tlsv12", "not TLS 1.2"),
    setting!("no-tlsv13", "not TLS 1.3"),
    setting!("force-sslv3", "an error: it is never spoken"),
    setting!("force-tlsv10", "an error: it is never spoken"),
    setting!("force-tlsv11", "an error: it is never spoken"),
    B::idle("no-sslv3", HERE, "no-sslv3", OLD, |bind, args| bind.tls.read(args, "no-sslv3", false)),
    B::idle("no-tlsv10", HERE, "no-tlsv10", OLD, |bind, args| {
        bind.tls.read(args, "no-tlsv10", false)
    }),
    B::idle("no-tlsv11", HERE, "no-tlsv11", OLD, |bind, args| {
        bind.tls.read(args, "no-tlsv11", false)
    }),
    setting!("no-tls-tickets", "sessions are kept here, not by clients"),
    B::works(
        "tls-ticket-keys",
        HERE,
        "tls-ticket-keys <file>",
        "the keys of tickets that other machines have too",
        |bind, args| {
            bind.tls.detail.get_or_insert(("tls-ticket-keys", args.at()));
            bind.tls.ticket_keys = args.next("a file").map(|token| (token.text.into(), token.at));
        },
    ),
    B::works(
        "strict-sni",
        HERE,
        "strict-sni",
        "no certificate for names that none has",
        |bind, args| {
            bind.tls.detail.get_or_insert(("strict-sni", args.at()));
            bind.tls.strict_sni = true;
        },
    ),
    B::idle(
        "allow-0rtt",
        HERE,
        "allow-0rtt",
        "early data is never accepted; clients send it again",
        |_, args| no_effect(args, "early data is never accepted; clients send it again"),
    ),
    B::obsolete("npn", HERE, "alpn {1}"),
    B::obsolete(
        "generate-certificates",
        HERE,
        "take it out: certificates are never made; name one for each host with `crt` or `crt-list`",
    ),
    B::idle("ca-sign-file", HERE, "ca-sign-file <file>", NEVER_MADE, |_, args| {
        args.next("a file");
        no_effect(args, NEVER_MADE);
    }),
    B::idle("ca-sign-pass", HERE, "ca-sign-pass <password>", NEVER_MADE, |_, args| {
        args.next("a password");
        no_effect(args, NEVER_MADE);
    }),
];

const NEVER_MADE: &str = "certificates are never made out of another";
