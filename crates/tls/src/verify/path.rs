//! What OpenSSL would say of a chain that webpki does not believe.
//!
//! Every certificate is looked at, from the peer's up to an authority, and all flaws are told, so that a line may
//! ignore some of them. Nothing that webpki refuses passes here without a flaw, with two exceptions: certificates of
//! version 1, which webpki cannot read, and authorities that show their own certificate, as everybody does whose
//! `ca-file` is the server's self-signed certificate. They pass where their signatures, times, purposes and revocations
//! are in order and no authority constrains names.

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::X509Version;

use super::errors::{
    CHAIN_TOO_LONG, CRL_EXPIRED, CRL_SIGNATURE_FAILURE, DEPTH_ZERO_SELF_SIGNED, EXPIRED,
    INVALID_CA, INVALID_EXTENSION, INVALID_PURPOSE, NO_ISSUER_LOCALLY, NOT_YET_VALID, PATH_LENGTH,
    PERMITTED_VIOLATION, REVOKED, SELF_SIGNED_IN_CHAIN, SIGNATURE_FAILURE, UNABLE_TO_GET_CRL,
    UNHANDLED_EXTENSION, UNSPECIFIED, UNSUPPORTED_SIGNATURE, UNVERIFIED_LEAF,
};
use super::{Flaw, Trust, out_of_time};

type Certificate<'c> = X509Certificate<'c>;

/// The flaws of a chain; `error` is why webpki has refused it, if it has.
pub(super) fn flaws(
    trust: &Trust,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
    error: Option<&webpki::Error>,
    of_server: bool,
) -> Vec<Flaw> {
    let Some(presented) = parse_all(chain) else {
        return vec![Flaw { depth: 0, number: UNSPECIFIED }];
    };
    let authorities: Vec<_> = trust.authorities.certificates().iter().filter_map(parse).collect();
    let mut flaws = Vec::new();
    let path = climb(&presented, &authorities, &mut flaws);
    extensions(&path, &mut flaws);
    revocations(trust, &path, now, &mut flaws);
    signatures_and_times(&path, now, &mut flaws);
    // A name constraint, a purpose, a form that only webpki knows of.
    if let (true, Some(error)) = (flaws.is_empty(), error)
        && !is_tolerated(&path, error, of_server)
    {
        flaws.push(Flaw { depth: 0, number: number(error) });
    }
    flaws
}

/// Whether webpki refuses a path without flaws for no more than its form.
fn is_tolerated(path: &[Certificate<'_>], error: &webpki::Error, of_server: bool) -> bool {
    let Some(leaf) = path.first() else { return false };
    let form = match error {
        webpki::Error::UnsupportedCertVersion => {
            path.iter().any(|certificate| certificate.version() == X509Version::V1)
        }
        webpki::Error::CaUsedAsEndEntity => leaf.is_ca(),
        _ => false,
    };
    let suits = match leaf.extended_key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => {
            let wanted = if of_server { usage.value.server_auth } else { usage.value.client_auth };
            wanted || usage.value.any
        }
        Err(_) => false,
    };
    form && suits
        && path.iter().all(|certificate| matches!(certificate.name_constraints(), Ok(None)))
}

/// From the peer's certificate to an authority, as far as it goes.
fn climb<'c>(
    presented: &[Certificate<'c>],
    authorities: &[Certificate<'c>],
    flaws: &mut Vec<Flaw>,
) -> Vec<Certificate<'c>> {
    let mut path = vec![presented[0].clone()];
    let is_known = |certificate: &Certificate<'_>| {
        authorities.iter().any(|authority| authority.as_ref() == certificate.as_ref())
    };
    while let Some(last) = path.last() {
        let depth = depth(path.len() - 1);
        if is_known(last) {
            return path;
        }
        if path.len() > PATH_MAX {
            flaws.push(Flaw { depth, number: CHAIN_TOO_LONG });
            return path;
        }
        if is_self_issued(last) {
            let number = if depth == 0 { DEPTH_ZERO_SELF_SIGNED } else { SELF_SIGNED_IN_CHAIN };
            flaws.push(Flaw { depth, number });
            return path;
        }
        // One whose signature fits comes before one that has only the name.
        let issuers =
            || authorities.iter().chain(&presented[1..]).filter(|other| is_issuer(other, last));
        let signs =
            |other: &&Certificate<'c>| last.verify_signature(Some(other.public_key())).is_ok();
        let Some(issuer) = issuers().find(signs).or_else(|| issuers().next()) else {
            flaws.push(Flaw { depth, number: NO_ISSUER_LOCALLY });
            return path;
        };
        path.push(issuer.clone());
    }
    path
}

fn extensions(path: &[Certificate<'_>], flaws: &mut Vec<Flaw>) {
    for (at, certificate) in path.iter().enumerate().skip(1) {
        let basic = certificate.basic_constraints().ok().flatten().map(|found| found.value);
        let is_ca = match basic {
            Some(basic) => basic.ca,
            // Roots of version 1 have no extensions.
            None => certificate.version() == X509Version::V1 && is_self_issued(certificate),
        };
        if !is_ca {
            flaws.push(Flaw { depth: depth(at), number: INVALID_CA });
        }
        let longest = basic.and_then(|basic| basic.path_len_constraint);
        if longest.is_some_and(|longest| at as u64 - 1 > u64::from(longest)) {
            flaws.push(Flaw { depth: depth(at), number: PATH_LENGTH });
        }
    }
}

fn revocations(trust: &Trust, path: &[Certificate<'_>], now: UnixTime, flaws: &mut Vec<Flaw>) {
    let Some(file) = &trust.revocations else { return };
    let lists: Vec<_> = file
        .lists()
        .iter()
        .filter_map(|der| Some(CertificateRevocationList::from_der(der).ok()?.1))
        .collect();
    for (at, certificate) in path.iter().enumerate() {
        let is_anchor = at > 0 && at + 1 == path.len();
        if is_anchor {
            continue;
        }
        let mut add = |number| flaws.push(Flaw { depth: depth(at), number });
        let issuer = path.get(at + 1).unwrap_or(certificate);
        let own =
            lists.iter().filter(|list| list.issuer().as_raw() == certificate.issuer().as_raw());
        let mut none = true;
        for list in own {
            none = false;
            if list.verify_signature(issuer.public_key()).is_err() {
                add(CRL_SIGNATURE_FAILURE);
            }
            let end = list.next_update().map_or(i64::MAX, |end| end.timestamp());
            if out_of_time(list.last_update().timestamp(), end, now).is_some() {
                add(CRL_EXPIRED);
            }
            if list
                .iter_revoked_certificates()
                .any(|revoked| revoked.raw_serial() == certificate.raw_serial())
            {
                add(REVOKED);
            }
        }
        if none {
            add(UNABLE_TO_GET_CRL);
        }
    }
}

/// From the top down, as OpenSSL.
fn signatures_and_times(path: &[Certificate<'_>], now: UnixTime, flaws: &mut Vec<Flaw>) {
    for at in (0..path.len()).rev() {
        let certificate = &path[at];
        let signed = match path.get(at + 1) {
            Some(issuer) => certificate.verify_signature(Some(issuer.public_key())),
            None if is_self_issued(certificate) => certificate.verify_signature(None),
            None => {
                if path.len() == 1 {
                    flaws.push(Flaw { depth: 0, number: UNVERIFIED_LEAF });
                }
                Ok(())
            }
        };
        if signed.is_err() {
            flaws.push(Flaw { depth: depth(at), number: SIGNATURE_FAILURE });
        }
        let validity = certificate.validity();
        let times = (validity.not_before.timestamp(), validity.not_after.timestamp());
        if let Some(number) = out_of_time(times.0, times.1, now) {
            flaws.push(Flaw { depth: depth(at), number });
        }
    }
}

fn number(error: &webpki::Error) -> u8 {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } | Error::InvalidCertValidity => EXPIRED,
        Error::CertNotValidYet { .. } => NOT_YET_VALID,
        Error::CertRevoked => REVOKED,
        Error::CrlExpired { .. } => CRL_EXPIRED,
        Error::UnknownRevocationStatus => UNABLE_TO_GET_CRL,
        Error::UnknownIssuer => NO_ISSUER_LOCALLY,
        Error::CaUsedAsEndEntity | Error::EndEntityUsedAsCa => INVALID_CA,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => INVALID_PURPOSE,
        Error::NameConstraintViolation => PERMITTED_VIOLATION,
        Error::PathLenConstraintViolated => PATH_LENGTH,
        Error::UnsupportedCriticalExtension => UNHANDLED_EXTENSION,
        Error::MalformedExtensions | Error::ExtensionValueInvalid => INVALID_EXTENSION,
        Error::InvalidSignatureForPublicKey => SIGNATURE_FAILURE,
        Error::UnsupportedSignatureAlgorithmContext(_) => UNSUPPORTED_SIGNATURE,
        _ => UNSPECIFIED,
    }
}

fn parse_all<'c>(chain: &'c [CertificateDer<'_>]) -> Option<Vec<Certificate<'c>>> {
    chain.iter().map(|der| Some(Certificate::from_der(der).ok()?.1)).collect()
}

fn parse<'c>(der: &'c CertificateDer<'_>) -> Option<Certificate<'c>> {
    Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

fn is_self_issued(certificate: &Certificate<'_>) -> bool {
    is_issuer(certificate, certificate)
}

fn is_issuer(issuer: &Certificate<'_>, of: &Certificate<'_>) -> bool {
    issuer.subject().as_raw() == of.issuer().as_raw()
}

fn depth(at: usize) -> u8 {
    u8::try_from(at).unwrap_or(u8::MAX)
}

/// The longest chain; HAProxy's is OpenSSL's of 100, which no real chain comes near.
const PATH_MAX: usize = 16;
