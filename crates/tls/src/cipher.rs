//! Cipher suites, key exchange groups and signature algorithms, by the names that OpenSSL has for them.
//!
//! Lists of live configurations name much that is never spoken here (CBC, RC4, DHE, RSA key exchange): such names
//! are passed over as OpenSSL passes over what it was built without. A list that leaves nothing is an error.

mod p521;

use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;
use rustls::{CipherSuite, NamedGroup, SignatureScheme};

use crate::offer::Offer;
use crate::provider;
use crate::version::Version;

/// Nothing of a list can be spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NothingLeft {
    /// `cipher suite`, `curve` …
    pub what: &'static str,
    /// What there is.
    pub known: &'static str,
}

/// A suite of TLS 1.2, and what OpenSSL's words say of it.
struct Suite {
    suite: CipherSuite,
    name: &'static str,
    standard_name: &'static str,
    words: &'static [&'static str],
}

macro_rules! suite {
    ($suite:ident, $name:literal, $($word:literal),*) => {
        Suite { suite: CipherSuite::$suite, name: $name, standard_name: stringify!($suite), words: &[$($word),*] }
    };
}

/// In the order of OpenSSL's `DEFAULT`.
const TLS12: [Suite; 6] = [
    suite!(
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "aECDSA",
        "ECDSA",
        "AES",
        "AES256",
        "AESGCM",
        "SHA384"
    ),
    suite!(
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384",
        "aRSA",
        "AES",
        "AES256",
        "AESGCM",
        "SHA384"
    ),
    suite!(
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "aECDSA",
        "ECDSA",
        "CHACHA20"
    ),
    suite!(
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
        "aRSA",
        "CHACHA20"
    ),
    suite!(
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "aECDSA",
        "ECDSA",
        "AES",
        "AES128",
        "AESGCM",
        "SHA256"
    ),
    suite!(
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256",
        "aRSA",
        "AES",
        "AES128",
        "AESGCM",
        "SHA256"
    ),
];

/// Words that hold of all of them.
const OF_ALL: [&str; 13] = [
    "ALL",
    "DEFAULT",
    "COMPLEMENTOFDEFAULT",
    "HIGH",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "kEECDH",
    "ECDH",
    "TLSv1.2",
    "SUITEB128",
    "SUITEB192",
    "kECDH",
];

const KNOWN_SUITES: &str = "ECDHE with AES-GCM or CHACHA20-POLY1305";

/// Reads an OpenSSL list of suites of TLS 1.2: `ECDHE+AESGCM:!aNULL:ECDHE-RSA-CHACHA20-POLY1305`.
///
/// # Errors
/// Where no suite is left.
pub(crate) fn suites(list: &str) -> Result<Vec<CipherSuite>, NothingLeft> {
    let mut chosen: Vec<&Suite> = Vec::new();
    let mut killed: Vec<CipherSuite> = Vec::new();
    for word in list.split([':', ',', ' ', ';']).filter(|word| !word.is_empty()) {
        if word.starts_with('@') {
            continue;
        }
        let (sign, text) = match word.as_bytes()[0] {
            sign @ (b'!' | b'-' | b'+') => (sign, &word[1..]),
            _ => (0, word),
        };
        let means = |suite: &Suite| text.split('+').all(|word| is(suite, word));
        match sign {
            b'!' => {
                killed.extend(TLS12.iter().filter(|suite| means(suite)).map(|suite| suite.suite));
                chosen.retain(|suite| !means(suite));
            }
            b'-' => chosen.retain(|suite| !means(suite)),
            b'+' => {
                let (moved, kept): (Vec<_>, Vec<_>) = chosen.iter().partition(|suite| means(suite));
                chosen = [kept, moved].concat();
            }
            _ => {
                for suite in TLS12.iter().filter(|suite| means(suite)) {
                    let known = chosen.iter().any(|other| other.suite == suite.suite);
                    if !known && !killed.contains(&suite.suite) {
                        chosen.push(suite);
                    }
                }
            }
        }
    }
    if chosen.is_empty() {
        return Err(NothingLeft { what: "cipher suite", known: KNOWN_SUITES });
    }
    Ok(chosen.iter().map(|suite| suite.suite).collect())
}

fn is(suite: &Suite, word: &str) -> bool {
    word == suite.name
        || word == suite.standard_name
        || suite.words.contains(&word)
        || OF_ALL.contains(&word)
}

const TLS13: [(&str, CipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
];

/// Reads a list of suites of TLS 1.3.
///
/// # Errors
/// Where no suite is left.
pub(crate) fn suites13(list: &str) -> Result<Vec<CipherSuite>, NothingLeft> {
    let mut chosen = Vec::new();
    for word in list.split([':', ',', ' ']) {
        if let Some((_, suite)) = TLS13.iter().find(|(name, _)| *name == word)
            && !chosen.contains(suite)
        {
            chosen.push(*suite);
        }
    }
    if chosen.is_empty() {
        let known =
            "TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256 and TLS_AES_128_GCM_SHA256";
        return Err(NothingLeft { what: "cipher suite", known });
    }
    Ok(chosen)
}

/// OpenSSL's, NIST's and IANA's names of the groups that there are.
const GROUPS: [(&[&str], NamedGroup); 5] = [
    (&["X25519", "x25519"], NamedGroup::X25519),
    (&["P-256", "prime256v1", "secp256r1"], NamedGroup::secp256r1),
    (&["P-384", "secp384r1"], NamedGroup::secp384r1),
    (&["P-521", "secp521r1"], NamedGroup::secp521r1),
    (&["X25519MLKEM768"], NamedGroup::X25519MLKEM768),
];

/// Reads a list of key exchange groups: `X25519:P-256`.
///
/// # Errors
/// Where none is left.
pub(crate) fn groups(list: &str) -> Result<Vec<NamedGroup>, NothingLeft> {
    let mut chosen = Vec::new();
    for word in list.split([':', ',']) {
        let known = GROUPS.iter().find(|(names, _)| {
            names.iter().any(|name| name.eq_ignore_ascii_case(word.trim_start_matches(['?', '*'])))
        });
        if let Some((_, group)) = known
            && !chosen.contains(group)
        {
            chosen.push(*group);
        }
    }
    if chosen.is_empty() {
        let known =
            "X25519, P-256 (prime256v1), P-384 (secp384r1), P-521 (secp521r1) and X25519MLKEM768";
        return Err(NothingLeft { what: "curve", known });
    }
    Ok(chosen)
}

const SIGNATURES: [(&[&str], SignatureScheme); 10] = [
    (&["RSA+SHA256", "rsa_pkcs1_sha256"], SignatureScheme::RSA_PKCS1_SHA256),
    (&["RSA+SHA384", "rsa_pkcs1_sha384"], SignatureScheme::RSA_PKCS1_SHA384),
    (&["RSA+SHA512", "rsa_pkcs1_sha512"], SignatureScheme::RSA_PKCS1_SHA512),
    (&["RSA-PSS+SHA256", "PSS+SHA256", "rsa_pss_rsae_sha256"], SignatureScheme::RSA_PSS_SHA256),
    (&["RSA-PSS+SHA384", "PSS+SHA384", "rsa_pss_rsae_sha384"], SignatureScheme::RSA_PSS_SHA384),
    (&["RSA-PSS+SHA512", "PSS+SHA512", "rsa_pss_rsae_sha512"], SignatureScheme::RSA_PSS_SHA512),
    (&["ECDSA+SHA256", "ecdsa_secp256r1_sha256"], SignatureScheme::ECDSA_NISTP256_SHA256),
    (&["ECDSA+SHA384", "ecdsa_secp384r1_sha384"], SignatureScheme::ECDSA_NISTP384_SHA384),
    (&["ECDSA+SHA512", "ecdsa_secp521r1_sha512"], SignatureScheme::ECDSA_NISTP521_SHA512),
    (&["ed25519"], SignatureScheme::ED25519),
];

/// Reads a list of signature algorithms: `ECDSA+SHA256:RSA-PSS+SHA256`.
///
/// # Errors
/// Where none is left.
pub(crate) fn signatures(list: &str) -> Result<Vec<SignatureScheme>, NothingLeft> {
    let mut chosen = Vec::new();
    for word in list.split(':') {
        let known = SIGNATURES
            .iter()
            .find(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(word)));
        if let Some((_, scheme)) = known
            && !chosen.contains(scheme)
        {
            chosen.push(*scheme);
        }
    }
    if chosen.is_empty() {
        let known = "RSA, RSA-PSS and ECDSA with SHA256, SHA384 or SHA512, and ed25519";
        return Err(NothingLeft { what: "signature algorithm", known });
    }
    Ok(chosen)
}

/// The suites of an offer, those of TLS 1.3 first. Suites of versions that it does not allow are left out: a hello
/// would name them, and who reads it could take them for an answer.
pub(crate) fn supported(offer: &Offer) -> Vec<SupportedCipherSuite> {
    let pick = |version, wanted: Option<&[CipherSuite]>| -> Vec<SupportedCipherSuite> {
        let all = provider().cipher_suites.iter().copied();
        let mut known = all.filter(|suite| suite.tls13().is_some() == (version == Version::Tls13));
        match wanted {
            _ if !offer.versions.allows(version) => Vec::new(),
            None => known.collect(),
            Some(wanted) => {
                let known: Vec<_> = known.by_ref().collect();
                let find = |name: &CipherSuite| known.iter().find(|suite| suite.suite() == *name);
                wanted.iter().filter_map(find).copied().collect()
            }
        }
    };
    let tls13 = pick(Version::Tls13, offer.ciphersuites.as_deref());
    let tls12 = pick(Version::Tls12, offer.ciphers.as_deref());
    [tls13, tls12].concat()
}

/// The groups themselves; `None` takes the library's.
pub(crate) fn supported_groups(
    wanted: Option<&[NamedGroup]>,
) -> Vec<&'static dyn SupportedKxGroup> {
    use rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
    match wanted {
        None => provider().kx_groups.clone(),
        Some(wanted) => wanted
            .iter()
            .filter_map(|name| match name {
                NamedGroup::secp521r1 => Some(p521::GROUP),
                _ => ALL_KX_GROUPS.iter().copied().find(|group| group.name() == *name),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, expected: &str) {
        let found = match suites(list) {
            Ok(suites) => {
                let name = |suite: &CipherSuite| {
                    TLS12.iter().find(|s| s.suite == *suite).map_or("?", |s| s.name)
                };
                suites.iter().map(name).collect::<Vec<_>>().join(":")
            }
            Err(error) => format!("no {}", error.what),
        };
        assert_eq!(found.replace("-GCM", "").replace("ECDHE-", ""), expected, "{list}");
    }

    #[test]
    fn openssl_lists_are_understood() {
        check("ECDHE-RSA-AES128-GCM-SHA256", "RSA-AES128-SHA256");
        check("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:AES128-SHA", "RSA-AES128-SHA256");
        check("ECDHE+CHACHA20", "ECDSA-CHACHA20-POLY1305:RSA-CHACHA20-POLY1305");
        check("EECDH+aRSA+AES256:kEECDH+aRSA+AES128", "RSA-AES256-SHA384:RSA-AES128-SHA256");
        check("HIGH:!ECDSA:!CHACHA20:+AES256", "RSA-AES128-SHA256:RSA-AES256-SHA384");
        check("ALL:-AES:CHACHA20", "ECDSA-CHACHA20-POLY1305:RSA-CHACHA20-POLY1305");
        check("!aRSA:HIGH:!AES:aRSA", "ECDSA-CHACHA20-POLY1305");
        check("AESGCM+aRSA:@SECLEVEL=2:@STRENGTH", "RSA-AES256-SHA384:RSA-AES128-SHA256");
        check("kRSA+AES:AES128-SHA:RC4-SHA:DHE-RSA-AES256-SHA", "no cipher suite");
        check("", "no cipher suite");
        check("HIGH:!ALL", "no cipher suite");
    }

    #[test]
    fn other_lists_keep_what_there_is() {
        assert_eq!(
            suites13("TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256").map(|s| s.len()),
            Ok(1)
        );
        assert!(suites13("TLS_AES_128_CCM_SHA256").is_err());
        assert_eq!(
            groups("X448:P-521:prime256v1:x25519"),
            Ok(vec![NamedGroup::secp521r1, NamedGroup::secp256r1, NamedGroup::X25519])
        );
        assert!(groups("X448").is_err());
        assert_eq!(
            signatures("ECDSA+SHA256:RSA+SHA1"),
            Ok(vec![SignatureScheme::ECDSA_NISTP256_SHA256])
        );
        assert!(signatures("DSA+SHA1").is_err());
    }

    #[test]
    fn every_name_is_in_the_library() {
        let all: Vec<_> = supported(&Offer::default()).iter().map(|suite| suite.suite()).collect();
        let named = TLS12.iter().map(|suite| suite.suite).chain(TLS13.map(|(_, suite)| suite));
        for suite in named {
            assert!(all.contains(&suite), "{suite:?}");
        }
        for (names, group) in GROUPS {
            assert_eq!(supported_groups(Some(&[group])).len(), 1, "{names:?}");
        }
    }
}
