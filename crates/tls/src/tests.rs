//! Handshakes in memory: what a listener's and a server's line come to.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RevokedCertParams, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::UnixTime;
use rustls::server::Accepted;
use rustls::{ClientConnection, HandshakeKind, ServerConnection};

use crate::*;

/// An authority, and the PEMs that it signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = params(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, params: &CertificateParams, algorithm: &'static SignatureAlgorithm) -> String {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        certificate.pem() + &key.serialize_pem()
    }

    fn leaf(&self, names: &[&str]) -> String {
        self.sign(&params(names, names.first().unwrap_or(&"nobody")), &PKCS_ECDSA_P256_SHA256)
    }

    fn revocations(&self, serial: u64) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("signed").pem().expect("PEM")
    }
}

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn bundle(pem: &str) -> Arc<Bundle> {
    Arc::new(Bundle::new(&Parts { pem: pem.as_bytes(), ..Parts::default() }).expect("a bundle"))
}

fn spec(certificates: &[&str]) -> AcceptorSpec {
    AcceptorSpec {
        offer: Offer::default(),
        certificates: certificates.iter().map(|name| Source::Certificate((*name).into())).collect(),
        strict_sni: false,
        resumption: Resumption::default(),
    }
}

fn offer(settings: &[(&str, &str)]) -> Offer {
    let mut offer = Offer::default();
    for (word, value) in settings {
        offer.set(word, value).expect("a setting");
    }
    offer
}

fn connector(
    store: &Store,
    settings: &[(&str, &str)],
    certificate: Option<&str>,
) -> Arc<Connector> {
    let spec = ConnectorSpec {
        offer: offer(settings),
        certificate: certificate.map(Into::into),
        verify_host: None,
        no_resumption: false,
    };
    Connector::new(spec, store).expect("a connector")
}

/// As [`Connector::connect`], with buffers.
fn begin(connector: &Connector, name: Option<&str>) -> ClientConnection {
    ClientConnection::new(connector.config(), crate::connector::server_name(name)).expect("begun")
}

/// What a handshake came to.
struct Done {
    client: ClientConnection,
    server: ServerConnection,
}

impl Done {
    /// The common name that the server has shown.
    fn shown(&self) -> String {
        let der = &self.client.peer_certificates().expect("certificates")[0];
        let certificate = Certificate::parse(der.as_ref()).expect("a certificate");
        let name = certificate.subject().entry(b"CN", 1).map(<[u8]>::to_vec);
        String::from_utf8(name.unwrap_or_default()).expect("text")
    }
}

/// Runs a handshake; an error is the client's view if it refuses, else the server's.
fn shake(acceptor: &Acceptor, mut client: ClientConnection) -> Result<Done, String> {
    let mut accepting = rustls::server::Acceptor::default();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).expect("written");
    accepting.read_tls(&mut wire.as_slice()).expect("read");
    let accepted: Accepted = match accepting.accept() {
        Ok(Some(accepted)) => accepted,
        Ok(None) => return Err("half a hello".to_owned()),
        Err((error, _)) => return Err(error.to_string()),
    };
    let config = acceptor.choose(&accepted.client_hello()).map_err(|error| error.to_string())?;
    let mut server = accepted.into_connection(config).map_err(|(error, _)| error.to_string())?;
    for _ in 0..8 {
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("written");
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).expect("read");
            client.process_new_packets().map_err(|error| format!("client: {error}"))?;
        }
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("written");
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).expect("read");
            server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Done { client, server })
}

#[test]
fn a_name_chooses_its_certificate() {
    let authority = Authority::new("root");
    let store = Store::default();
    for (name, names) in [
        ("first", &["a.example"][..]),
        ("wild", &["*.example"]),
        ("b", &["b.example"]),
        ("lists", &["z.test"]),
    ] {
        let params = params(names, name);
        store.set_certificate(name, bundle(&authority.sign(&params, &PKCS_ECDSA_P256_SHA256)));
    }
    let rsa = authority.sign(&params(&["both.test"], "rsa"), &PKCS_RSA_SHA256);
    store.set_certificate("both.rsa", bundle(&rsa));
    let ecdsa = authority.sign(&params(&["both.test"], "ecdsa"), &PKCS_ECDSA_P256_SHA256);
    store.set_certificate("both.ecdsa", bundle(&ecdsa));
    let list = "lists *.list !not.list\nb [ssl-max-ver TLSv1.2 alpn x] only12.test\n";
    store.set_crt_list("list", CrtList::parse(list.as_bytes()).expect("a list"));
    let mut line = spec(&["first", "wild", "b", "both.rsa", "both.ecdsa"]);
    line.certificates.push(Source::List("list".into()));
    let acceptor = Acceptor::new(line.clone(), &store).expect("an acceptor");
    let strict =
        Acceptor::new(AcceptorSpec { strict_sni: true, ..line }, &store).expect("an acceptor");
    let check = |name: Option<&str>, settings: &[(&str, &str)], expected: &str, strictly: &str| {
        let connect = || begin(&connector(&store, settings, None), name);
        let told =
            |result: Result<Done, String>| result.map_or_else(|error| error, |done| done.shown());
        assert_eq!(told(shake(&acceptor, connect())), expected, "{name:?}");
        assert_eq!(told(shake(&strict, connect())), strictly, "{name:?}");
    };
    let none = "no certificate for the name that the client asks for";
    let rsa = ("ciphers", "ECDHE+aRSA");
    let old = ("ssl-max-ver", "TLSv1.2");
    check(Some("a.example"), &[], "first", "first");
    check(Some("B.Example"), &[], "b", "b");
    check(Some("c.example"), &[], "wild", "wild");
    check(Some("c.d.example"), &[], "first", none);
    check(Some("example"), &[], "first", none);
    check(None, &[], "first", none);
    check(Some("both.test"), &[], "ecdsa", "ecdsa");
    check(Some("both.test"), &[old, rsa], "rsa", "rsa");
    check(Some("x.list"), &[], "lists", "lists");
    check(Some("not.list"), &[], "first", none);
    check(Some("only12.test"), &[], "b", "b");
    let done =
        shake(&acceptor, begin(&connector(&store, &[("alpn", "y,x")], None), Some("only12.test")))
            .expect("a handshake");
    assert_eq!(done.server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
    assert_eq!(done.server.alpn_protocol(), Some(&b"x"[..]));
}

#[test]
fn certificates_are_replaced_wherever_they_are_offered() {
    let authority = Authority::new("root");
    let store = Store::default();
    store.set_certificate("a", bundle(&authority.leaf(&["old.test"])));
    store.set_crt_list("list", CrtList::parse(b"a\n").expect("a list"));
    let mut line = spec(&["a"]);
    line.certificates.push(Source::List("list".into()));
    let acceptor =
        Acceptor::new(AcceptorSpec { strict_sni: true, ..line }, &store).expect("an acceptor");
    let shown = |name: &str| {
        let begun = begin(&connector(&store, &[], None), Some(name));
        shake(&acceptor, begun).map(|done| done.shown()).ok()
    };
    assert_eq!(shown("old.test").as_deref(), Some("old.test"));
    store.set_certificate("a", bundle(&authority.leaf(&["new.test"])));
    assert_eq!(shown("old.test"), None);
    assert_eq!(shown("new.test").as_deref(), Some("new.test"));
    store.set_certificate("b", bundle(&authority.leaf(&["b.test"])));
    assert_eq!(shown("b.test"), None);
    let line = |text| CrtLine::parse(text).expect("a line").expect("a line");
    store.add_to_crt_list("list", line("b [alpn h2] b.test more.test")).expect("added");
    assert_eq!(shown("more.test").as_deref(), Some("b.test"));
    assert_eq!(store.add_to_crt_list("list", line("nothing")), Err(StoreError::Unknown));
    assert!(matches!(
        store.add_to_crt_list("list", line("b [verify required]")),
        Err(StoreError::Rejected(_))
    ));
    assert_eq!(store.remove_certificate("b"), Err(StoreError::InUse));
    store.remove_from_crt_list("list", "b", None).expect("removed");
    assert_eq!(shown("more.test"), None);
    assert_eq!(store.remove_certificate("b"), Ok(()));
    // The line itself still offers it.
    store.remove_from_crt_list("list", "a", None).expect("removed");
    assert_eq!(shown("new.test").as_deref(), Some("new.test"));
}

#[test]
fn clients_are_verified_with_openssls_numbers() {
    let (authority, other) = (Authority::new("root"), Authority::new("other"));
    let store = Store::default();
    store.set_certificate("server", bundle(&authority.leaf(&["a.test"])));
    let ca = |pem: &str| Arc::new(CaFile::parse([pem.as_bytes()]).expect("authorities"));
    store.set_ca_file("ca", ca(&authority.pem)).expect("set");
    store.set_ca_file("both", ca(&(authority.pem.clone() + &other.pem))).expect("set");
    let crl = |pem: &str| Arc::new(CrlFile::parse(pem.as_bytes()).expect("revocations"));
    store.set_crl_file("crl", crl(&authority.revocations(77))).expect("set");
    let mut expired = params(&[], "expired");
    (expired.not_before, expired.not_after) =
        (date_time_ymd(2018, 1, 1), date_time_ymd(2019, 1, 1));
    let mut early = params(&[], "early");
    (early.not_before, early.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
    let mut revoked = params(&[], "revoked");
    revoked.serial_number = Some(SerialNumber::from(77u64));
    let own_key = KeyPair::generate().expect("a key");
    let own = params(&["self"], "self").self_signed(&own_key).expect("signed").pem()
        + &own_key.serialize_pem();
    for (name, pem) in [
        ("good", authority.leaf(&[])),
        ("strange", other.leaf(&[])),
        ("expired", authority.sign(&expired, &PKCS_ECDSA_P256_SHA256)),
        ("early", authority.sign(&early, &PKCS_ECDSA_P256_SHA256)),
        ("revoked", authority.sign(&revoked, &PKCS_ECDSA_P256_SHA256)),
        ("self", own),
        ("chained", other.leaf(&[]) + &other.pem),
    ] {
        store.set_certificate(name, bundle(&pem));
    }
    // The result, `ssl_c_err`, `ssl_c_ca_err` with its depth, and whether the handshake came about.
    let check =
        |settings: &[(&str, &str)], shows: Option<&str>, expected: (u8, u8, u8, u8, bool)| {
            let line = AcceptorSpec { offer: offer(settings), ..spec(&["server"]) };
            let acceptor = Acceptor::new(line, &store).expect("an acceptor");
            for version in ["TLSv1.2", "TLSv1.3"] {
                take_verdict();
                let client = connector(&store, &[("ssl-max-ver", version)], shows);
                let result = shake(&acceptor, begin(&client, Some("a.test")));
                let Verdict { result: number, err, ca_err, ca_err_depth, refused } =
                    take_verdict().unwrap_or_default();
                let found = (number, err, ca_err, ca_err_depth, result.is_ok());
                assert_eq!(found, expected, "{settings:?} {shows:?} {version}");
                assert_eq!(refused.is_none(), result.is_ok() || shows.is_none());
                if let Ok(done) = result {
                    let chain = done.server.peer_certificates().unwrap_or_default();
                    let again = acceptor.verdict(Some("a.test"), chain, UnixTime::now());
                    assert_eq!((again.result, again.err), (number, err));
                }
            }
        };
    let required = [("verify", "required"), ("ca-file", "ca")];
    let with = |more: &[(&'static str, &'static str)]| [&required[..], more].concat();
    check(&required, Some("good"), (0, 0, 0, 0, true));
    check(&required, None, (0, 0, 0, 0, false));
    check(&[("verify", "optional"), ("ca-file", "ca")], None, (0, 0, 0, 0, true));
    check(&[("verify", "optional"), ("ca-file", "ca")], Some("expired"), (10, 10, 0, 0, false));
    check(&required, Some("strange"), (20, 20, 0, 0, false));
    check(&with(&[("crt-ignore-err", "20,21")]), Some("strange"), (21, 20, 0, 0, true));
    check(&with(&[("crt-ignore-err", "all")]), Some("strange"), (21, 20, 0, 0, true));
    check(&with(&[("ca-ignore-err", "all")]), Some("strange"), (20, 20, 0, 0, false));
    check(&required, Some("self"), (18, 18, 0, 0, false));
    check(&with(&[("crt-ignore-err", "18")]), Some("self"), (18, 18, 0, 0, true));
    check(&required, Some("chained"), (19, 0, 19, 1, false));
    check(
        &with(&[("ca-ignore-err", "X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN")]),
        Some("chained"),
        (19, 0, 19, 1, true),
    );
    check(&required, Some("expired"), (10, 10, 0, 0, false));
    check(&with(&[("crt-ignore-err", "10")]), Some("expired"), (10, 10, 0, 0, true));
    check(&required, Some("early"), (9, 9, 0, 0, false));
    check(&required, Some("revoked"), (0, 0, 0, 0, true));
    check(&with(&[("crl-file", "crl")]), Some("revoked"), (23, 23, 0, 0, false));
    check(&with(&[("crl-file", "crl")]), Some("good"), (0, 0, 0, 0, true));
    check(
        &with(&[("crl-file", "crl"), ("crt-ignore-err", "23")]),
        Some("revoked"),
        (23, 23, 0, 0, true),
    );
    check(
        &[("verify", "required"), ("ca-file", "both"), ("crl-file", "crl")],
        Some("strange"),
        (3, 3, 0, 0, false),
    );
    check(&[("verify", "required"), ("ca-verify-file", "ca")], Some("good"), (0, 0, 0, 0, true));
}

#[test]
fn servers_are_verified_by_the_name_that_is_sent() {
    let (authority, other) = (Authority::new("root"), Authority::new("other"));
    let store = Store::default();
    store.set_certificate("server", bundle(&authority.leaf(&["a.test", "*.b.test"])));
    for (name, pem) in [("ca", &authority.pem), ("other", &other.pem)] {
        store
            .set_ca_file(name, Arc::new(CaFile::parse([pem.as_bytes()]).expect("authorities")))
            .expect("set");
    }
    let acceptor = Acceptor::new(spec(&["server"]), &store).expect("an acceptor");
    let check = |ca: &str, host: Option<&str>, sni: Option<&str>, expected: Option<u8>| {
        let spec = ConnectorSpec {
            offer: offer(&[("verify", "required"), ("ca-file", ca)]),
            certificate: None,
            verify_host: host.map(Into::into),
            no_resumption: false,
        };
        let client = begin(&Connector::new(spec, &store).expect("a connector"), sni);
        take_verdict();
        let result = shake(&acceptor, client);
        assert_eq!(result.is_ok(), expected.is_none());
        assert_eq!(
            take_verdict().and_then(|verdict| verdict.refused).map(|(number, _)| number),
            expected
        );
    };
    check("ca", None, None, None);
    check("ca", None, Some("a.test"), None);
    check("ca", None, Some("x.b.test"), None);
    check("ca", None, Some("b.test"), Some(62));
    check("ca", Some("b.test"), Some("a.test"), None); // the name that is sent counts
    check("ca", Some("b.test"), None, Some(62));
    check("ca", Some("y.b.test"), None, None);
    check("other", None, Some("a.test"), Some(20));
    // A self-signed certificate that is its own authority, as `openssl req -x509` makes it.
    for usage in
        [None, Some(ExtendedKeyUsagePurpose::ServerAuth), Some(ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let mut own = params(&["own.test"], "own.test");
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.extended_key_usages = usage.iter().cloned().collect();
        let key = KeyPair::generate().expect("a key");
        let pem = own.self_signed(&key).expect("signed").pem();
        store.set_certificate("own", bundle(&(pem.clone() + &key.serialize_pem())));
        store
            .set_ca_file("own", Arc::new(CaFile::parse([pem.as_bytes()]).expect("authorities")))
            .expect("set");
        let acceptor = Acceptor::new(spec(&["own"]), &store).expect("an acceptor");
        let client = |ca| connector(&store, &[("verify", "required"), ("ca-file", ca)], None);
        let suits = usage != Some(ExtendedKeyUsagePurpose::ClientAuth);
        assert_eq!(shake(&acceptor, begin(&client("own"), Some("own.test"))).is_ok(), suits);
        assert!(shake(&acceptor, begin(&client("own"), Some("a.test"))).is_err());
        assert!(shake(&acceptor, begin(&client("ca"), Some("own.test"))).is_err());
    }
    // New authorities hold for lines that stand.
    let line = connector(&store, &[("verify", "required"), ("ca-file", "other")], None);
    let connect = || begin(&line, Some("a.test"));
    assert!(shake(&acceptor, connect()).is_err());
    let file = Arc::new(CaFile::parse([authority.pem.as_bytes()]).expect("authorities"));
    store.set_ca_file("other", file).expect("set");
    assert!(shake(&acceptor, connect()).is_ok());
}

#[test]
fn sessions_resume_only_where_the_same_clients_are_let_in() {
    let authority = Authority::new("root");
    let store = Store::default();
    store.set_certificate("server", bundle(&authority.leaf(&["a.test"])));
    store.set_certificate("client", bundle(&authority.leaf(&[])));
    store
        .set_ca_file(
            "ca",
            Arc::new(CaFile::parse([authority.pem.as_bytes()]).expect("authorities")),
        )
        .expect("set");
    let open = || Acceptor::new(spec(&["server"]), &store).expect("an acceptor");
    let closed = |settings: &[(&str, &str)]| {
        Acceptor::new(AcceptorSpec { offer: offer(settings), ..spec(&["server"]) }, &store)
            .expect("an acceptor")
    };
    let resumes = |acceptor: &Acceptor, client: &Connector| {
        let done = shake(acceptor, begin(client, Some("a.test"))).expect("a handshake");
        done.server.handshake_kind() == Some(HandshakeKind::Resumed)
    };
    for version in ["TLSv1.2", "TLSv1.3"] {
        let client = || connector(&store, &[("ssl-max-ver", version)], Some("client"));
        let same = client();
        // Another listener, as after a reload.
        assert!(!resumes(&open(), &same));
        assert!(resumes(&open(), &same), "{version}");
        let optional = [("verify", "optional"), ("ca-file", "ca")];
        assert!(!resumes(&closed(&optional), &same), "{version}");
        assert!(resumes(&closed(&optional), &same), "{version}");
        assert!(
            !resumes(&closed(&[("verify", "required"), ("ca-file", "ca")]), &same),
            "{version}"
        );
        let own = client();
        let without = || closed(&[("no-tls-tickets", "")]);
        assert!(!resumes(&without(), &own));
        assert!(resumes(&without(), &own), "{version}: kept by the process");
    }
    let mut never = spec(&["server"]);
    never.resumption.lifetime_s = 0;
    let never = Acceptor::new(never, &store).expect("an acceptor");
    let client = connector(&store, &[], None);
    assert!(!resumes(&never, &client));
    assert!(!resumes(&never, &client));
}

#[test]
fn bundles_say_what_is_wrong_with_them() {
    let authority = Authority::new("root");
    let good = authority.leaf(&["A.test", "*.b.test"]);
    let other = authority.leaf(&["x"]);
    let end = "-----END CERTIFICATE-----\n";
    let cut = good.find(end).expect("an end") + end.len();
    let (certificate, key) = good.split_at(cut);
    let other_key = other.split_at(other.find(end).expect("an end") + end.len()).1;
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let check = |pem: &str, key: Option<&str>, expected: &str| {
        let parts = Parts { pem: pem.as_bytes(), key: key.map(str::as_bytes), ..Parts::default() };
        let found = match Bundle::new(&parts) {
            Ok(bundle) => format!("{} {}", bundle.chain().len(), bundle.names.join(",")),
            Err(error) => {
                assert!(!error.help().is_empty());
                format!("{:?}: {error}", error.part())
            }
        };
        assert_eq!(found, expected);
    };
    check(&good, None, "1 a.test,*.b.test");
    check(&format!("{key}{certificate}{}", authority.pem), None, "2 a.test,*.b.test");
    check(certificate, Some(key), "1 a.test,*.b.test");
    check(certificate, None, "Pem: the certificate's private key is missing");
    check(key, None, "Pem: it holds no certificate");
    check("", None, "Pem: it holds no certificate");
    check(certificate, Some(other_key), "Key: the private key is not the certificate's");
    check(certificate, Some(&encrypted), "Key: line 1: the private key is encrypted");
    let line = good.lines().count() + 1;
    let broken = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    check(
        &format!("{good}{broken}"),
        None,
        &format!("Pem: line {line}: the certificate that begins here cannot be read"),
    );
    let dsa = "-----BEGIN DSA PRIVATE KEY-----\nAQID\n-----END DSA PRIVATE KEY-----\n";
    check(certificate, Some(dsa), "Key: line 1: the dsa private key cannot be used");
    check("-----BEGIN X-----\n", None, "Pem: line 1: a block begins here and never ends");
}

#[test]
fn every_curve_comes_to_a_handshake() {
    let authority = Authority::new("root");
    let store = Store::default();
    store.set_certificate("server", bundle(&authority.leaf(&["a.test"])));
    for curve in ["X25519", "P-256", "P-384", "P-521", "X25519MLKEM768"] {
        let line = AcceptorSpec { offer: offer(&[("ecdhe", curve)]), ..spec(&["server"]) };
        let acceptor = Acceptor::new(line, &store).expect("an acceptor");
        for version in ["TLSv1.2", "TLSv1.3"] {
            let settings = [("curves", curve), ("ssl-max-ver", version)];
            let result =
                shake(&acceptor, begin(&connector(&store, &settings, None), Some("a.test")));
            // Hybrids are of TLS 1.3.
            let can = curve != "X25519MLKEM768" || version == "TLSv1.3";
            assert_eq!(result.is_ok(), can, "{curve} {version}");
        }
        let other = if curve == "P-256" { "X25519" } else { "P-256" };
        let client = connector(&store, &[("curves", other)], None);
        assert!(shake(&acceptor, begin(&client, Some("a.test"))).is_err());
    }
}

/// `cargo test --release -p telamon-tls -- --ignored --nocapture` shows how long 10,000 certificates take.
#[test]
#[ignore = "a measurement"]
fn ten_thousand_certificates() {
    let authority = Authority::new("root");
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256] {
        // One key for all: making keys is not what is measured, reading them is.
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let pem = |index: u32| {
            let params = params(&[&format!("host-{index}.test")], "x");
            params.signed_by(&key, &authority.issuer).expect("signed").pem() + &key.serialize_pem()
        };
        let pems: Vec<_> = (0..10_000).map(pem).collect();
        let store = Store::default();
        let start = std::time::Instant::now();
        let names: Vec<_> = (0..10_000u32).map(|index| index.to_string()).collect();
        for (name, pem) in names.iter().zip(&pems) {
            store.set_certificate(name, bundle(pem));
        }
        let read = start.elapsed();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let acceptor = Acceptor::new(spec(&names), &store).expect("an acceptor");
        let built = start.elapsed() - read;
        let client = connector(&store, &[], None);
        let start = std::time::Instant::now();
        for index in (0..10_000).step_by(100) {
            shake(&acceptor, begin(&client, Some(&format!("HOST-{index}.test"))))
                .expect("a handshake");
        }
        println!("read {read:?}, built {built:?}, a handshake {:?}", start.elapsed() / 100);
    }
}
