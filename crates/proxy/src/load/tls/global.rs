//! What `global` says of TLS.

use telamon_config::{Args, ConfigErrorKind, Keyword, Sections};
use telamon_tls::{Offer, Verify};

use super::super::global::GlobalContext;
use super::{Extras, TlsDefaults, set};

type K = Keyword<GlobalContext>;

const G: Sections = Sections::GLOBAL;

/// A row for a setting of [`Offer`] that lines without one take.
macro_rules! preset {
    ($name:literal, $side:ident, $word:literal, $doc:literal) => {
        K::works($name, G, concat!($name, " <list>"), $doc, |global, args| {
            if let Some(token) = args.next("a list") {
                set(&mut global.tls.$side, args, $word, token, true);
            }
        })
    };
}

/// A row for a directory that relative names of files begin from.
macro_rules! base {
    ($name:literal, $field:ident, $doc:literal) => {
        K::works($name, G, concat!($name, " <directory>"), $doc, |global, args| {
            global.tls.$field = args.next("a directory").map(|token| token.text.into());
        })
    };
}

macro_rules! never {
    ($name:literal, $why:literal) => {
        K::no_effect($name, G, $why)
    };
}

pub(in crate::load) const KEYWORDS: &[K] = &[
    base!("ca-base", ca_base, "where `ca-file`, `ca-verify-file` and `crl-file` are"),
    base!("crt-base", crt_base, "where certificates are"),
    base!("key-base", key_base, "where keys are that a `crt-store` names").since("3.0"),
    preset!("ssl-default-bind-ciphers", bind, "ciphers", "cipher suites of TLS 1.2 for clients"),
    preset!(
        "ssl-default-bind-ciphersuites",
        bind,
        "ciphersuites",
        "cipher suites of TLS 1.3 for clients"
    ),
    preset!("ssl-default-bind-curves", bind, "curves", "key exchange groups for clients"),
    preset!("ssl-default-bind-sigalgs", bind, "sigalgs", "how clients are signed to").since("2.8"),
    preset!("ssl-default-bind-client-sigalgs", bind, "client-sigalgs", "how clients may sign")
        .since("2.8"),
    preset!(
        "ssl-default-server-ciphers",
        server,
        "ciphers",
        "cipher suites of TLS 1.2 for servers"
    ),
    preset!(
        "ssl-default-server-ciphersuites",
        server,
        "ciphersuites",
        "cipher suites of TLS 1.3 for servers"
    ),
    preset!("ssl-default-server-curves", server, "curves", "key exchange groups for servers")
        .since("2.9"),
    preset!("ssl-default-server-sigalgs", server, "sigalgs", "how servers are signed to")
        .since("2.9"),
    preset!("ssl-default-server-client-sigalgs", server, "client-sigalgs", "how servers may sign")
        .since("2.9"),
    K::works(
        "ssl-default-bind-options",
        G,
        "ssl-default-bind-options <option>...",
        "options of `bind ... ssl`",
        |global, args| {
            let TlsDefaults { bind, strict_sni, .. } = &mut global.tls;
            options(bind, args, &["strict-sni"], &mut |word| *strict_sni |= word == "strict-sni");
        },
    ),
    K::works(
        "ssl-default-server-options",
        G,
        "ssl-default-server-options <option>...",
        "options of `server ... ssl`",
        |global, args| {
            options(&mut global.tls.server, args, &["ssl-reuse", "tls-tickets"], &mut |_| {});
        },
    ),
    K::works(
        "ssl-server-verify",
        G,
        "ssl-server-verify { none | required }",
        "whether servers' certificates are verified where their lines do not say",
        |global, args| {
            let words = [("none", Verify::None), ("required", Verify::Required)];
            if let Some(verify) = args.one_of("mode", &words) {
                global.tls.no_server_verify = verify == Verify::None;
            }
        },
    ),
    K::works(
        "ssl-load-extra-files",
        G,
        "ssl-load-extra-files { none | all | bundle | sctl | ocsp | issuer | key }...",
        "the files beside a certificate that are looked for; all by default",
        |global, args| {
            if args.is_empty() {
                return args.missing("a kind of file");
            }
            global.tls.extras = Extras::NONE;
            while let Some(token) = args.next_if_any() {
                let extras = &mut global.tls.extras;
                match token.text {
                    "none" => *extras = Extras::NONE,
                    "all" => *extras = Extras::default(),
                    "bundle" => extras.bundle = true,
                    "key" => extras.key = true,
                    "ocsp" => extras.ocsp = true,
                    "issuer" => extras.issuer = true,
                    "sctl" => extras.sctl = true,
                    other => {
                        let known = ["none", "all", "bundle", "sctl", "ocsp", "issuer", "key"];
                        let kind = ConfigErrorKind::unknown("kind of file", other, known);
                        return args.fail(token.at, kind);
                    }
                }
            }
        },
    ),
    K::works(
        "ssl-load-extra-del-ext",
        G,
        "ssl-load-extra-del-ext",
        "looks for NAME.key beside NAME.crt, not for NAME.crt.key",
        |global, _| global.tls.drop_extension = true,
    ),
    K::works(
        "ssl-skip-self-issued-ca",
        G,
        "ssl-skip-self-issued-ca",
        "does not send the root that a certificate's file ends with",
        |global, _| global.tls.skip_self_issued_ca = true,
    ),
    K::works(
        "issuers-chain-path",
        G,
        "issuers-chain-path <directory>",
        "chains for certificates whose files have none",
        |global, args| {
            global.tls.issuers =
                args.next("a directory").map(|token| (token.text.into(), token.at));
        },
    ),
    K::works(
        "tune.ssl.lifetime",
        G,
        "tune.ssl.lifetime <seconds>",
        "how long a session of TLS may be taken up again; 300 by default",
        |global, args| {
            if let Some(time) = args.long_duration_secs() {
                let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
                // RFC 8446, section 4.6.1: a week at most.
                global.tls.resumption.lifetime_s = seconds.min(7 * 86400);
            }
        },
    ),
    K::works(
        "tune.ssl.cachesize",
        G,
        "tune.ssl.cachesize <number>",
        "sessions kept for clients that take no tickets; 20000 by default, 0 keeps none",
        |global, args| {
            if let Some(number) = args.integer("number of sessions", 0..=SESSIONS_MAX) {
                global.tls.resumption.sessions_max = number as usize;
            }
        },
    ),
    never!("maxsslconn", "connections of TLS count as all others: `maxconn` bounds them"),
    never!("maxsslrate", "handshakes are bounded by `maxconnrate` and by `rate-limit sessions`"),
    never!("ssl-dh-param-file", "no key exchange uses DH parameters: ECDHE takes its place"),
    never!(
        "tune.ssl.default-dh-param",
        "no key exchange uses DH parameters: ECDHE takes its place"
    ),
    never!("ssl-engine", "the cryptography is aws-lc, built in"),
    never!("ssl-mode-async", "the cryptography is aws-lc, built in"),
    never!("ssl-propquery", "the cryptography is aws-lc, built in"),
    never!("ssl-provider", "the cryptography is aws-lc, built in"),
    never!("ssl-provider-path", "the cryptography is aws-lc, built in"),
    never!("tune.ssl.force-private-cache", "there is one process, whose workers share sessions"),
    never!("tune.ssl.maxrecord", "records grow with what there is to send"),
    never!("tune.ssl.hard-maxrecord", "records grow with what there is to send"),
    never!("tune.ssl.ssl-ctx-cache-size", "no certificate is ever generated"),
    never!("tune.ssl.capture-buffer-size", "clients' lists of ciphers are not kept"),
    never!("tune.ssl.capture-cipherlist-size", "clients' lists of ciphers are not kept"),
    never!("tune.ssl.keylog", "keys of sessions never leave the process"),
    never!("httpclient.ssl.ca-file", "nothing makes requests by itself yet"),
    never!("httpclient.ssl.verify", "nothing makes requests by itself yet"),
];

impl Extras {
    const NONE: Self = Self { bundle: false, key: false, ocsp: false, issuer: false, sctl: false };
}

/// Reads the words of `ssl-default-bind-options` and its kin; `more` are those that are no settings of [`Offer`].
fn options(
    offer: &mut Offer,
    args: &mut Args<'_>,
    more: &[&'static str],
    other: &mut dyn FnMut(&str),
) {
    const NONE: [&str; 12] = [
        "alpn",
        "ca-file",
        "ca-ignore-err",
        "ca-verify-file",
        "ciphers",
        "ciphersuites",
        "client-sigalgs",
        "crl-file",
        "crt-ignore-err",
        "curves",
        "ecdhe",
        "sigalgs",
    ];
    if args.is_empty() {
        return args.missing("an option of TLS");
    }
    while let Some(token) = args.next_if_any() {
        if more.contains(&token.text) {
            other(token.text);
            continue;
        }
        let known = Offer::WORDS.iter().filter(|(word, _)| !NONE.contains(word));
        match known.clone().find(|(word, _)| *word == token.text) {
            Some((word, true)) => {
                let Some(value) = args.next("a value") else { return };
                set(offer, args, word, value, true);
            }
            Some((word, false)) => set(offer, args, word, token, false),
            None => {
                let words = known.map(|(word, _)| *word).chain(more.iter().copied());
                let kind = ConfigErrorKind::unknown("option of TLS", token.text, words);
                args.fail(token.at, kind);
            }
        }
    }
}

/// About 200 bytes each.
const SESSIONS_MAX: u32 = 10_000_000;
