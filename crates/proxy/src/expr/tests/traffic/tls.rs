//! What expressions and log lines say of TLS.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CipherSuite, ProtocolVersion};
use telamon_tls::{Handshake, Reason, Verdict};

use super::*;
use crate::connection_error::ConnectionError;
use crate::log::Builtin;

/// A certificate of that name with the serial number 0x1007, and its key.
fn certificate(name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Some Company");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(0x1007));
    params.not_before = rcgen::date_time_ymd(2021, 4, 23);
    params.not_after = rcgen::date_time_ymd(2048, 9, 8);
    (params.self_signed(&key).expect("a certificate"), key)
}

/// A client with a certificate, signed by somebody whom we do not trust, which is ignored.
fn of_client() -> Handshake {
    let (client, _) = certificate("client");
    let (signer, _) = certificate("signer");
    let (own, key) = certificate("own");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let own = CertifiedKey::from_der(vec![own.der().clone()], key, telamon_tls::provider());
    Handshake {
        version: Some(ProtocolVersion::TLSv1_2),
        cipher: Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
        alpn: Some(b"h2".as_slice().into()),
        server_name: Some("www.a.test".into()),
        resumed: false,
        peer: vec![client.der().clone(), signer.der().clone()],
        own: Some(Arc::new(own.expect("a certificate and its key"))),
        verdict: Verdict { result: 21, err: 21, ca_err: 20, ca_err_depth: 1, refused: None },
        error: None,
        hello: Some(hello().into()),
    }
}

/// Two ciphers, of which one is made up, and the extensions for curves, point formats, and one made up.
fn hello() -> Vec<u8> {
    let extensions =
        b"\0\x0a\0\x08\0\x06\x1a\x1a\0\x1d\0\x17\0\x0b\0\x02\x01\0\xda\xda\0\x01\0\0\x2b\0\x03\x02\x03\x04";
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0x0a, 0x0a, 0xc0, 0x30, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut out = vec![1, 0];
    out.extend((body.len() as u16).to_be_bytes());
    out.extend(body);
    out
}

type Facts = fn() -> Handshake;

/// Compares expressions with what they give for a connection with (or without) TLS on either side.
#[track_caller]
fn check(sides: [Option<Facts>; 2], rows: &'static [(&'static str, Option<&'static str>)]) {
    let sides = sides.map(|side| side.map(|facts| facts()));
    let got = fixture::with_stream(fixture::model(), REQUEST, RESPONSE, move |stream| {
        let [front, back] = sides;
        if let Some(front) = front {
            stream.session.tls.set(Box::new(front)).expect("set once");
        }
        stream.log.server_tls = back.map(Arc::new);
        let configuration = Configuration::new();
        let evaluate =
            |text: &&str| evaluate(text, &configuration, Place::Log, stream, Direction::Request);
        rows.iter().map(|(text, _)| evaluate(text)).collect::<Vec<_>>()
    });
    for ((text, expected), got) in rows.iter().zip(got) {
        assert_eq!(got.as_deref(), *expected, "{text}");
    }
}

#[test]
fn certificates_and_handshakes() {
    check(
        [Some(of_client), Some(of_client)],
        &[
            ("ssl_fc", Some("1")),
            ("ssl_fc_sni", Some("www.a.test")),
            ("ssl_fc_has_sni", Some("1")),
            ("ssl_fc_has_crt", Some("1")),
            ("ssl_fc_has_early", Some("0")),
            ("ssl_fc_is_resumed", Some("0")),
            ("ssl_fc_alpn", Some("h2")),
            ("ssl_fc_protocol", Some("TLSv1.2")),
            ("ssl_fc_cipher", Some("ECDHE-RSA-AES256-GCM-SHA384")),
            ("ssl_fc_alg_keysize", Some("256")),
            ("ssl_fc_use_keysize", Some("256")),
            ("ssl_fc_err", Some("0")),
            ("ssl_fc_err_str", None),
            ("ssl_c_used", Some("1")),
            ("ssl_c_verify", Some("21")),
            ("ssl_c_err", Some("21")),
            ("ssl_c_ca_err", Some("20")),
            ("ssl_c_ca_err_depth", Some("1")),
            ("ssl_c_s_dn", Some("/O=Some Company/CN=client")),
            ("ssl_c_i_dn(CN)", Some("client")),
            ("ssl_c_s_dn(cn,-1)", Some("client")),
            ("ssl_c_s_dn(CN,2)", None),
            ("ssl_c_s_dn(,0,rfc2253)", Some("CN=client,O=Some Company")),
            ("ssl_c_serial,hex", Some("1007")),
            ("ssl_c_notbefore", Some("210423000000Z")),
            ("ssl_c_notafter", Some("480908000000Z")),
            ("ssl_c_version", Some("3")),
            ("ssl_c_key_alg", Some("id-ecPublicKey")),
            ("ssl_c_sig_alg", Some("ecdsa-with-SHA256")),
            ("ssl_c_der,hex,bytes(0,4)", Some("3082")),
            ("ssl_c_sha1,hex,length", Some("40")),
            ("ssl_f_s_dn(CN)", Some("own")),
            ("ssl_s_s_dn(CN)", Some("client")),
            ("ssl_bc", Some("1")),
            ("ssl_bc_protocol", Some("TLSv1.2")),
            ("ssl_fc_protocol_hello_id", Some("771")),
            ("ssl_fc_cipherlist_hex", Some("0A0AC030")),
            ("ssl_fc_cipherlist_hex(1)", Some("C030")),
            ("ssl_fc_cipherlist_bin(1),be2dec(-,2)", Some("49200")),
            ("ssl_fc_cipherlist_str", Some("UNKNOWN(0a0a),ECDHE-RSA-AES256-GCM-SHA384")),
            ("ssl_fc_extlist_bin(1),be2dec(-,2)", Some("10-11-43")),
            ("ssl_fc_eclist_bin,be2dec(-,2)", Some("6682-29-23")),
            ("ssl_fc_eclist_bin(1),be2dec(-,2)", Some("29-23")),
            ("ssl_fc_ecformats_bin,be2dec(-,1)", Some("0")),
        ],
    );
    // The chain is without the client's own certificate, and with the server's.
    check(
        [
            Some(of_client),
            Some(|| Handshake { peer: of_client().peer[..1].to_vec(), ..Default::default() }),
        ],
        &[
            ("ssl_s_chain_der,hex,bytes(0,4)", Some("3082")),
            ("ssl_c_chain_der,hex,bytes(0,4)", Some("3082")),
        ],
    );
    check(
        [
            Some(|| Handshake {
                peer: of_client().peer[..1].to_vec(),
                resumed: true,
                ..Default::default()
            }),
            None,
        ],
        &[
            ("ssl_c_chain_der", None),
            ("ssl_c_used", Some("1")),
            ("ssl_fc_has_crt", Some("0")),
            ("ssl_fc_is_resumed", Some("1")),
            ("ssl_fc_sni", None),
            ("ssl_fc_has_sni", Some("0")),
            ("ssl_fc_cipherlist_bin", None),
        ],
    );
}

#[test]
fn nothing_is_said_of_connections_without_tls() {
    check(
        [None, None],
        &[
            ("ssl_fc", Some("0")),
            ("ssl_bc", Some("0")),
            ("ssl_fc_is_resumed", Some("0")),
            ("ssl_bc_is_resumed", Some("0")),
            ("ssl_fc_has_sni", Some("0")),
            ("ssl_fc_has_crt", None),
            ("ssl_fc_err", None),
            ("ssl_c_used", None),
            ("ssl_c_verify", None),
            ("ssl_c_s_dn", None),
            ("ssl_f_sha1", None),
            ("ssl_fc_cipher", None),
            ("fc_err", Some("0")),
            ("fc_err_str", Some("Success")),
            ("bc_err", Some("0")),
            ("bc_err_str", Some("Success")),
        ],
    );
}

#[test]
fn handshakes_that_fail_are_told() {
    check(
        [
            Some(|| Handshake {
                error: Some(Reason::of_alert(AlertDescription::UnknownCA)),
                ..Default::default()
            }),
            None,
        ],
        &[
            ("ssl_fc", Some("1")),
            ("ssl_fc_cipher", Some("(NONE)")),
            ("ssl_fc_err,hex", Some("000000000A000418")),
            ("ssl_fc_err_str", Some("error:0A000418:SSL routines::tlsv1 alert unknown ca")),
        ],
    );
}

#[test]
fn the_built_in_format_of_tls() {
    #[track_caller]
    fn check(tls: Option<Handshake>, error: ConnectionError, expected: &str) {
        let line = fixture::with_stream(fixture::model(), REQUEST, RESPONSE, move |stream| {
            if let Some(tls) = tls {
                stream.session.tls.set(Box::new(tls)).expect("set once");
            }
            stream.session.error.set(error);
            let mut line = Vec::new();
            LogFormat::builtin(Builtin::Https).render(
                &Context::for_stream(stream, Direction::Request, &Cell::new(false)),
                &mut line,
            );
            String::from_utf8_lossy(&line).into_owned()
        });
        assert!(line.ends_with(expected), "{line}");
    }
    check(None, ConnectionError::None, "HTTP/1.1\" 0/-/-/-/0 -/-/-");
    check(
        Some(of_client()),
        ConnectionError::None,
        "HTTP/1.1\" 0/0000000000000000/21/20/0 www.a.test/TLSv1.2/ECDHE-RSA-AES256-GCM-SHA384",
    );
    let failed = Handshake {
        error: Some(Reason::of(&rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer,
        ))),
        version: Some(ProtocolVersion::TLSv1_2),
        server_name: Some("foo.com".into()),
        ..Default::default()
    };
    check(
        Some(failed),
        ConnectionError::TlsAuthority,
        "HTTP/1.1\" 30/000000000A000086/0/0/0 foo.com/TLSv1.2/(NONE)",
    );
}

#[test]
fn mistakes() {
    let configuration = Configuration::new();
    let check = |text: &str, expected: &str| {
        let mut scope = configuration.scope(Place::Log);
        let error = Expr::parse_text(text.as_bytes(), &mut scope).expect_err(text);
        assert!(
            format!("{:?}", error.kind.explain()).contains(expected),
            "{:?}",
            error.kind.explain()
        );
    };
    check("ssl_c_s_dn(CN,1,rfc1779)", "rfc2253");
    check("ssl_c_s_dn(CN,x)", "x");
    check("ssl_fc_npn", "ssl_fc_alpn");
    check("ssl_fc_unique_id", "not to be had here");
}
