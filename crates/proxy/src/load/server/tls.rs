//! What a `server` line says of TLS, which is not there yet.

use telamon_config::Keyword;

use super::{HERE, ServerSettings};

type S = Keyword<ServerSettings>;

/// What only says how TLS is done: nothing without `ssl` or `check-ssl`, which are reported.
macro_rules! tls_flag {
    ($name:literal) => {
        S::idle($name, HERE, $name, "a detail of `ssl`, which is not there yet", |_, _| {})
    };
}
macro_rules! tls_value {
    ($name:literal) => {
        S::idle(
            $name,
            HERE,
            concat!($name, " <value>"),
            "a detail of `ssl`, which is not there yet",
            |_, args| {
                args.next("a value");
            },
        )
    };
}

pub(super) const KEYWORDS: &[S] = &[
    S::not_yet_guard("ssl", HERE),
    S::not_yet("check-ssl", HERE),
    tls_flag!("allow-0rtt"),
    tls_value!("alpn"),
    tls_value!("ca-file"),
    tls_value!("check-alpn"),
    tls_value!("check-sni"),
    tls_value!("ciphers"),
    tls_value!("ciphersuites"),
    tls_value!("crl-file"),
    tls_value!("crt"),
    tls_flag!("force-sslv3"),
    tls_flag!("force-tlsv10"),
    tls_flag!("force-tlsv11"),
    tls_flag!("force-tlsv12"),
    tls_flag!("force-tlsv13"),
    tls_flag!("no-check-ssl"),
    tls_flag!("no-ssl"),
    tls_flag!("no-ssl-reuse"),
    tls_flag!("no-sslv3"),
    tls_flag!("no-tls-tickets"),
    tls_flag!("no-tlsv10"),
    tls_flag!("no-tlsv11"),
    tls_flag!("no-tlsv12"),
    tls_flag!("no-tlsv13"),
    tls_value!("npn"),
    tls_value!("sni"),
    tls_value!("ssl-max-ver"),
    tls_value!("ssl-min-ver"),
    tls_flag!("ssl-reuse"),
    tls_flag!("tls-tickets"),
    tls_value!("verify"),
    tls_value!("verifyhost"),
];
