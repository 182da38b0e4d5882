//! Whether a certificate is a host's (`verifyhost`, and the name that `sni` sends).

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Whether one of the names in a certificate means `host`: its alternative names, then those of its subject.
pub(super) fn matches(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|names| &names.value.general_names);
    let mut dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    let mut common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    dns.any(|name| means(name, host)) || common.any(|name| means(name, host))
}

/// RFC 6125, section 6.4.3: a `*` stands for a part of the first label.
fn means(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some((first, rest)), Some((host_first, host_rest))) =
        (pattern.split_once('.'), host.split_once('.'))
    else {
        return false;
    };
    let Some((front, back)) = first.split_once('*') else { return false };
    let starts = host_first.get(..front.len()).is_some_and(|part| part.eq_ignore_ascii_case(front));
    let end = host_first.len().checked_sub(back.len());
    let ends = end
        .and_then(|end| host_first.get(end..))
        .is_some_and(|part| part.eq_ignore_ascii_case(back));
    rest.eq_ignore_ascii_case(host_rest)
        && host_first.len() >= front.len() + back.len()
        && starts
        && ends
}

#[cfg(test)]
mod tests {
    use super::means;

    #[track_caller]
    fn check(pattern: &str, host: &str, expected: bool) {
        assert_eq!(means(pattern, host), expected, "{pattern} {host}");
    }

    #[test]
    fn wildcards_stand_in_the_first_label_only() {
        check("a.example", "A.EXAMPLE", true);
        check("*.example", "a.example", true);
        check("*.example", "a.b.example", false);
        check("*.example", "example", false);
        check("w*w.example", "www.example", true);
        check("w*w.example", "w.example", false);
        check("a.*.example", "a.b.example", false);
        check("*", "example", false);
        check("", "", true);
    }
}
