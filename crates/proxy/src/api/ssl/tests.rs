use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber};
use telamon_runtime::api::{Answer, Invocation, Level, find};
use telamon_tls::{Bundle, CaFile, CrtList, Parts};

use super::super::tests::with_view;
use crate::api::commands;
use crate::view::View;
use std::sync::Arc;

/// A certificate of that name, and its key.
fn pem(name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a host");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(0x1007));
    params.not_before = rcgen::date_time_ymd(2021, 4, 23);
    params.not_after = rcgen::date_time_ymd(2048, 9, 8);
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

/// Runs a command, with what it needs to be told.
#[track_caller]
fn say(view: &View, line: &str, payload: Option<&str>) -> String {
    let commands = commands(view);
    let words: Vec<&str> = line.split(' ').collect();
    let (command, args) = find(&commands, &words).expect("a command");
    match (command.run)(&Invocation { args, payload, level: Level::Admin }) {
        Answer::Text(text) | Answer::Failure(text) => text,
        other => panic!("{line}: {other:?}"),
    }
}

/// A view with one certificate, `a.pem`, alone and in the list `l.lst`, and its authority in `ca.pem`.
fn with_files(run: impl FnOnce(&View, &(String, String))) {
    with_view(|view| {
        let pair = pem("a.test");
        let text = pair.0.clone() + &pair.1;
        let bundle = Bundle::new(&Parts { pem: text.as_bytes(), ..Parts::default() });
        let store = Arc::clone(&view.snapshot().model.tls);
        store.set_certificate("a.pem", Arc::new(bundle.expect("a certificate")));
        store.set_crt_list(
            "l.lst",
            CrtList::parse(b"a.pem\na.pem [alpn h2] b.test\n").expect("a list"),
        );
        let authorities = CaFile::parse([pair.0.as_bytes()]).expect("a certificate");
        store.set_ca_file("ca.pem", Arc::new(authorities)).expect("nobody objects");
        run(view, &pair);
    });
}

#[test]
fn certificates_are_replaced_in_transactions() {
    with_files(|view, _| {
        let say = |line: &str, payload: Option<&str>| say(view, line, payload);
        assert_eq!(say("show ssl cert", None), "# filename\na.pem\n");
        let shown = say("show ssl cert a.pem", None);
        let (head, rest) = shown.split_once("SHA1 FingerPrint: ").expect("a fingerprint");
        assert_eq!(
            head,
            "Filename: a.pem\nStatus: Unused\nSerial: 1007\nnotBefore: Apr 23 00:00:00 2021 GMT\n\
             notAfter: Sep  8 00:00:00 2048 GMT\nSubject Alternative Name: DNS:a.test\nAlgorithm: EC256\n"
        );
        assert_eq!(rest[40..], *"\nSubject: /CN=a.test\nIssuer: /CN=a.test\nOCSP Response Key: \n");
        let not_found =
            "Can't display the certificate: Not found or the certificate is a bundle!\n";
        assert_eq!(say("show ssl cert b.pem", None), not_found);
        assert_eq!(say("show ssl cert *a.pem", None), not_found);

        let (certificate, key) = pem("new.test");
        let (_, other) = pem("other.test");
        assert_eq!(
            say("set ssl cert a.pem", Some("nothing")),
            "unable to load certificate from file 'a.pem'.\nCan't load the payload\nCan't update a.pem!\n"
        );
        assert_eq!(
            say("set ssl cert b.pem", Some(&certificate)),
            "Can't replace a certificate which is not referenced by the configuration!\nCan't update b.pem!\n"
        );
        assert_eq!(
            say("commit ssl cert a.pem", None),
            "No ongoing transaction! !\nCan't commit a.pem!\n"
        );
        assert_eq!(say("abort ssl cert a.pem", None), "No ongoing transaction!\n");
        assert_eq!(
            say("set ssl cert a.pem", Some(&certificate)),
            "Transaction created for certificate a.pem!\n"
        );
        assert_eq!(
            say("commit ssl cert a.pem", None),
            "The transaction must contain at least a certificate and a private key!\nCan't commit a.pem!\n"
        );
        assert_eq!(
            say("set ssl cert a.pem.key", Some(&other)),
            "Transaction updated for certificate a.pem!\n"
        );
        assert_eq!(
            say("commit ssl cert a.pem", None),
            "inconsistencies between private key and certificate loaded 'a.pem'.\nCan't commit a.pem!\n"
        );
        assert_eq!(
            say("set ssl cert a.pem.key", Some(&key)),
            "Transaction updated for certificate a.pem!\n"
        );
        assert_eq!(say("show ssl cert", None), "# transaction\n*a.pem\n# filename\na.pem\n");
        let shown = say("show ssl cert *a.pem", None);
        assert!(shown.starts_with("Filename: *a.pem\nStatus: Unused\nSerial: 1007\n"), "{shown}");
        assert!(shown.contains("DNS:new.test"), "{shown}");
        assert!(say("show ssl cert a.pem", None).contains("DNS:a.test"));
        assert_eq!(
            say("commit ssl cert b.pem", None),
            "The ongoing transaction is about 'a.pem' but you are trying to set 'b.pem'\nCan't commit b.pem!\n"
        );
        assert_eq!(
            say("del ssl cert a.pem", None),
            "Can't remove the certificate: ongoing transaction for the certificate 'a.pem'\n"
        );
        assert_eq!(say("commit ssl cert a.pem", None), "Committing a.pem\nSuccess!\n");
        assert!(say("show ssl cert a.pem", None).contains("DNS:new.test"));

        say("set ssl cert a.pem", Some(&certificate));
        assert_eq!(
            say("abort ssl cert b.pem", None),
            "The ongoing transaction is about 'a.pem' but you are trying to abort a transaction for 'b.pem'\n"
        );
        assert_eq!(
            say("abort ssl cert a.pem", None),
            "Transaction aborted for certificate 'a.pem'!\n"
        );
        assert_eq!(
            say("del ssl cert a.pem", None),
            "Can't remove the certificate: certificate 'a.pem' in use, can't be deleted!\n\n"
        );
    });
}

#[test]
fn certificates_come_and_go() {
    with_files(|view, pair| {
        let say = |line: &str, payload: Option<&str>| say(view, line, payload);
        assert_eq!(say("new ssl cert a.pem", None), "Certificate 'a.pem' already exists!\n");
        assert_eq!(say("new ssl cert n.crt", None), "New empty certificate store 'n.crt'!\n");
        assert_eq!(say("new ssl cert n.crt", None), "Certificate 'n.crt' already exists!\n");
        assert_eq!(say("show ssl cert n.crt", None), "Filename: n.crt\nStatus: Empty\n");
        assert_eq!(
            say("add ssl crt-list l.lst n.crt", None),
            "Can't edit the crt-list: certificate 'n.crt' is empty!\n"
        );
        say("set ssl cert n.crt", Some(&pair.0));
        // The key of `n.crt` may be in `n.key`.
        assert_eq!(
            say("set ssl cert n.key", Some(&pair.1)),
            "Transaction updated for certificate n.crt!\n"
        );
        assert_eq!(say("commit ssl cert n.crt", None), "Committing n.crt\nSuccess!\n");
        assert_eq!(
            say("add ssl crt-list l.lst", Some("n.crt [alpn h2] c.test !d.test\n")),
            "Inserting certificate 'n.crt' in crt-list 'l.lst'\nSuccess!\n"
        );
        assert_eq!(
            say("show ssl crt-list l.lst", None),
            "# l.lst\na.pem\na.pem [alpn h2] b.test\nn.crt [alpn h2] c.test !d.test\n"
        );
        assert!(
            say("show ssl crt-list -n l.lst", None)
                .starts_with("# l.lst\na.pem:1\na.pem:2 [alpn h2] b.test\n")
        );
        assert_eq!(say("show ssl crt-list", None), "l.lst\n");
        assert_eq!(say("show ssl crt-list x.lst", None), "didn't find the specified filename\n");
        assert_eq!(
            say("del ssl crt-list l.lst a.pem", None),
            "Can't delete the entry: found the certificate 'a.pem' in several entries, please specify a line number \
             preceded by colons (1, 2)!\n"
        );
        assert_eq!(
            say("del ssl crt-list l.lst a.pem:3", None),
            "Can't delete the entry: found a certificate 'a.pem' but the line number is incorrect, please specify a \
             correct line number preceded by colons (1, 2)!\n"
        );
        assert_eq!(
            say("del ssl crt-list l.lst a.pem:2", None),
            "Entry 'a.pem' deleted in crtlist 'l.lst'!\n"
        );
        assert_eq!(
            say("del ssl crt-list l.lst n.crt", None),
            "Entry 'n.crt' deleted in crtlist 'l.lst'!\n"
        );
        assert_eq!(say("del ssl cert n.crt", None), "Certificate 'n.crt' deleted!\n");
        assert_eq!(
            say("del ssl cert n.crt", None),
            "Can't remove the certificate: certificate 'n.crt' doesn't exist!\n\n"
        );
        assert_eq!(
            say("add ssl crt-list l.lst n.crt", None),
            "Can't edit the crt-list: certificate 'n.crt' does not exist!\n"
        );
        assert_eq!(
            say("add ssl crt-list l.lst", Some("a.pem\nb.pem\n")),
            "Can't edit the crt-list: only one line of payload is supported!\n"
        );
    });
}

#[test]
fn authorities_are_replaced_in_transactions() {
    with_files(|view, pair| {
        let say = |line: &str, payload: Option<&str>| say(view, line, payload);
        assert_eq!(say("show ssl ca-file", None), "# filename\nca.pem - 1 certificate(s)\n");
        let shown = say("show ssl ca-file ca.pem:1", None);
        assert!(
            shown.starts_with(
                "Filename: ca.pem\nStatus: Unused\n \nCertificate #1:\nSerial: 1007\n"
            ),
            "{shown}"
        );
        assert_eq!(say("show ssl ca-file ca.pem:2", None), "Filename: ca.pem\nStatus: Unused\n");
        assert_eq!(
            say("show ssl ca-file ca.pem:x", None),
            "wrong CA index after colons in 'ca.pem:x'!"
        );
        assert_eq!(say("show ssl ca-file x.pem", None), "Can't display the CA file : Not found!\n");
        assert_eq!(
            say("set ssl ca-file ca.pem", Some("x")),
            "Invalid payload\nCan't update ca.pem!\n"
        );
        assert_eq!(
            say("set ssl ca-file x.pem", Some(&pair.0)),
            "Can't replace a CA file which is not referenced by the configuration!\nCan't update x.pem!\n"
        );
        let two = pair.0.clone() + &pem("b.test").0;
        assert_eq!(
            say("set ssl ca-file ca.pem", Some(&two)),
            "transaction created for CA ca.pem!\n"
        );
        assert_eq!(
            say("set ssl ca-file ca.pem", Some(&two)),
            "transaction updated for CA ca.pem!\n"
        );
        assert_eq!(
            say("show ssl ca-file", None),
            "# transaction\n*ca.pem - 2 certificate(s)\n# filename\nca.pem - 1 certificate(s)\n"
        );
        assert!(say("show ssl ca-file *ca.pem:2", None).contains("Certificate #2:\n"));
        assert_eq!(say("commit ssl ca-file ca.pem", None), "Committing ca.pem\nSuccess!\n");
        assert_eq!(say("show ssl ca-file", None), "# filename\nca.pem - 2 certificate(s)\n");
        assert_eq!(say("new ssl ca-file n.pem", None), "New CA file created 'n.pem'!\n");
        assert_eq!(say("show ssl ca-file n.pem", None), "Filename: n.pem\nStatus: Empty\n");
        assert_eq!(say("del ssl ca-file n.pem", None), "CA file 'n.pem' deleted!\n");
        assert_eq!(
            say("del ssl ca-file n.pem", None),
            "Can't remove the CA file: CA file 'n.pem' doesn't exist!\n\n"
        );
        assert_eq!(say("show ssl crl-file", None), "# filename\n");
        assert_eq!(say("new ssl crl-file c.pem", None), "New CRL file created 'c.pem'!\n");
        assert_eq!(
            say("set ssl crl-file c.pem", Some("x")),
            "Invalid payload\nCan't update c.pem!\n"
        );
    });
}
