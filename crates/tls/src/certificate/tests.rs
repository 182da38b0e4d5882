use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SerialNumber};

use super::*;

fn certificate(edit: impl FnOnce(&mut CertificateParams), key: &KeyPair) -> Vec<u8> {
    let mut params =
        CertificateParams::new(vec!["a.test".into(), "*.b.test".into()]).expect("names of hosts");
    params.distinguished_name = DistinguishedName::new();
    params.not_before = rcgen::date_time_ymd(2020, 4, 8);
    params.not_after = rcgen::date_time_ymd(2050, 12, 21);
    edit(&mut params);
    params.self_signed(key).expect("a certificate").der().to_vec()
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// A certificate whose subject has these attributes.
fn named(attributes: &[(DnType, DnValue)]) -> Vec<u8> {
    let name = |params: &mut CertificateParams| {
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
    };
    certificate(name, &key())
}

fn utf8(text: &str) -> DnValue {
    DnValue::Utf8String(text.into())
}

#[test]
fn names_are_written_as_openssl_does() {
    #[track_caller]
    fn check(attributes: &[(DnType, DnValue)], oneline: &str, rfc2253: &str) {
        let der = named(attributes);
        let certificate = Certificate::parse(&der).expect("a certificate");
        assert_eq!(String::from_utf8_lossy(&certificate.subject().oneline()), oneline);
        assert_eq!(String::from_utf8_lossy(&certificate.subject().rfc2253()), rfc2253);
        assert_eq!(certificate.issuer().oneline(), certificate.subject().oneline());
    }
    check(&[], "", "");
    check(
        &[
            (DnType::CountryName, DnValue::PrintableString("FR".try_into().expect("printable"))),
            (DnType::OrganizationName, utf8("Some Company")),
            (DnType::CommonName, utf8("host")),
        ],
        "/C=FR/O=Some Company/CN=host",
        "CN=host,O=Some Company,C=FR",
    );
    check(
        &[(DnType::CommonName, utf8(" a,b+\"c\"\\<d>;/#= ")), (DnType::LocalityName, utf8("#1"))],
        "/CN= a,b+\"c\"\\<d>;/#= /L=#1",
        "L=\\#1,CN=\\ a\\,b\\+\\\"c\\\"\\\\\\<d\\>\\;/#=\\ ",
    );
    check(&[(DnType::StateOrProvinceName, utf8("Île\n"))], "/ST=Île\n", "ST=\\C3\\8Ele\\0A");
    // Latin 1, and an attribute that nobody knows.
    check(
        &[
            (DnType::CommonName, DnValue::TeletexString("ab".try_into().expect("teletex"))),
            (DnType::CustomDnType(vec![1, 2, 3, 4]), utf8("x")),
        ],
        "/CN=ab/1.2.3.4=x",
        "1.2.3.4=#0C0178,CN=ab",
    );
    check(
        &[(DnType::CommonName, DnValue::BmpString("é".try_into().expect("wide")))],
        "/CN=\0\u{fffd}",
        "CN=\\C3\\A9",
    );
}

#[test]
fn entries_are_counted_from_either_end() {
    // rcgen writes each kind once, so the kinds here are three.
    let der = named(&[
        (DnType::CustomDnType(vec![2, 5, 4, 11]), utf8("first")),
        (DnType::CommonName, utf8("host")),
    ]);
    let certificate = Certificate::parse(&der).expect("a certificate");
    let subject = certificate.subject();
    let check = |name: &str, occurrence, expected: Option<&str>| {
        assert_eq!(
            subject.entry(name.as_bytes(), occurrence),
            expected.map(str::as_bytes),
            "{name} {occurrence}"
        );
    };
    check("CN", 1, Some("host"));
    check("cn", -1, Some("host"));
    check("OU", 1, Some("first"));
    check("OU", 2, None);
    check("OU", -2, None);
    check("OU", 0, None);
    check("2.5.4.11", 1, None);
    check("O", 1, None);
    check("OU", i64::MIN, None);
}

#[test]
fn the_rest_is_as_openssl_says_it() {
    let der = certificate(
        |params| params.serial_number = Some(SerialNumber::from_slice(&[0x80, 0, 7])),
        &key(),
    );
    let certificate = Certificate::parse(&der).expect("a certificate");
    assert_eq!(certificate.version(), 3);
    assert_eq!(certificate.serial(), [0x80, 0, 7]);
    assert_eq!(certificate.not_before().compact().as_deref(), Some("200408000000Z"));
    assert_eq!(certificate.not_after().compact().as_deref(), Some("501221000000Z"));
    assert_eq!(certificate.not_before().to_string(), "Apr  8 00:00:00 2020 GMT");
    assert_eq!(certificate.not_after().to_string(), "Dec 21 00:00:00 2050 GMT");
    assert_eq!(certificate.key_algorithm(), "id-ecPublicKey");
    assert_eq!(certificate.key().as_deref(), Some("EC256"));
    assert_eq!(certificate.signature_algorithm(), "ecdsa-with-SHA256");
    assert_eq!(certificate.alternative_names(), [Some("a.test"), Some("*.b.test")]);
    assert_eq!(certificate.host_names(), ["a.test", "*.b.test"]);
    assert_eq!(certificate.der(), der);
    assert_eq!(Certificate::parse(&der[1..]).err(), Some(NotACertificate));
}

#[test]
fn times_outside_of_this_century_have_no_short_form() {
    let der = certificate(|params| params.not_before = rcgen::date_time_ymd(1999, 1, 1), &key());
    let certificate = Certificate::parse(&der).expect("a certificate");
    assert_eq!(certificate.not_before().compact(), None);
    assert_eq!(certificate.not_before().to_string(), "Jan  1 00:00:00 1999 GMT");
}

#[test]
fn keys_have_their_sizes() {
    #[track_caller]
    fn check(algorithm: &'static rcgen::SignatureAlgorithm, key: [&str; 2], signature: &str) {
        let pair = KeyPair::generate_for(algorithm).expect("a key");
        let der = certificate(|_| {}, &pair);
        let certificate = Certificate::parse(&der).expect("a certificate");
        assert_eq!(certificate.key_algorithm(), key[0]);
        assert_eq!(certificate.key().unwrap_or_default(), key[1]);
        assert_eq!(certificate.signature_algorithm(), signature);
    }
    check(&rcgen::PKCS_ECDSA_P384_SHA384, ["id-ecPublicKey", "EC384"], "ecdsa-with-SHA384");
    check(&rcgen::PKCS_RSA_SHA256, ["rsaEncryption", "RSA2048"], "RSA-SHA256");
    check(&rcgen::PKCS_ED25519, ["ED25519", ""], "ED25519");
}

#[test]
fn leading_zeros_are_not_counted() {
    for (number, expected) in
        [(&[][..], 0), (&[0, 0], 0), (&[0, 1], 1), (&[0x80, 0], 16), (&[0, 0xff], 8)]
    {
        assert_eq!(bits(number), expected, "{number:?}");
    }
}
