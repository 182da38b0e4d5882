//! What is told of TLS, passed on of it, and replaced while it is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber};
use telamon_testkit::{
    Behaviour, RawClient, Scratch, SyslogSink, Telamon, TestServer, eventually, free_port,
};

const DEFAULTS: &str =
    "defaults\nmode http\ntimeout client 10s\ntimeout server 10s\ntimeout connect 5s\n";

/// A certificate of that name and its key, as one file has them.
fn pem(name: &str, serial: u64) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Some Company");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.self_signed(&key).unwrap().pem() + &key.serialize_pem()
}

fn write(files: &Scratch, name: &str, text: &str) -> String {
    let path = files.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn facts_of_both_certificates_reach_headers_and_the_log() {
    let (files, log, app) = (Scratch::new(), SyslogSink::start(), TestServer::named("app"));
    let own = write(&files, "own.pem", &pem("own.test", 0x1007));
    let client = write(&files, "client.pem", &pem("client.test", 0x2008));
    let port = free_port();
    let telamon = Telamon::start(&format!(
        "{DEFAULTS}frontend plain\nbind 127.0.0.1:{}\n\
         http-response set-header x-server %[ssl_s_s_dn(CN)],%[ssl_bc_protocol],%[ssl_bc_cipher],%[ssl_s_serial,hex]\n\
         default_backend tls\nbackend tls\n\
         server s 127.0.0.1:{port} ssl verify none crt {client} sni str(www.own.test)\n\
         listen front\nlog {} local0\noption httpslog\n\
         bind 127.0.0.1:{port} ssl crt {own} ca-file {own} verify optional crt-ignore-err all ca-ignore-err all\n\
         http-response set-header x-client %[ssl_c_s_dn],%[ssl_c_serial,hex],%[ssl_c_verify],%[ssl_c_used]\n\
         http-response set-header x-front %[ssl_fc],%[ssl_fc_sni],%[ssl_f_serial,hex],%[ssl_fc_has_crt],%[fc_err]\n\
         server {app}\n",
        free_port(),
        log.address()
    ));
    let response = telamon.connect().get("/");
    let header = |name: &str| response.header(name).unwrap_or_default().to_owned();
    assert_eq!(header("x-server"), "own.test,TLSv1.3,TLS_AES_256_GCM_SHA384,1007");
    assert_eq!(header("x-client"), "/O=Some Company/CN=client.test,2008,18,1");
    assert_eq!(header("x-front"), "1,www.own.test,1007,1,0");
    let line = log.wait_for("\"GET / HTTP/1.1\"");
    assert!(line.contains(" front~ front/app "), "{line}");
    assert!(
        line.ends_with(" 0/0000000000000000/18/0/0 www.own.test/TLSv1.3/TLS_AES_256_GCM_SHA384"),
        "{line}"
    );
}

#[test]
fn the_proxy_protocol_tells_of_tls() {
    let (files, echo) = (Scratch::new(), TestServer::start("echo", Behaviour::Echo));
    let own = write(&files, "own.pem", &pem("own.test", 1));
    let client = write(&files, "client.pem", &pem("client.test", 2));
    let port = free_port();
    let telamon = Telamon::start(&format!(
        "{DEFAULTS}listen plain\nmode tcp\nbind 127.0.0.1:{}\n\
         server s 127.0.0.1:{port} ssl verify none crt {client} sni str(www.own.test)\n\
         listen front\nmode tcp\n\
         bind 127.0.0.1:{port} ssl crt {own} ca-file {client} verify required\n\
         server {echo} send-proxy-v2-ssl-cn proxy-v2-options cert-key,cert-sig,ssl-cipher,authority\n",
        free_port(),
    ));
    let mut client = telamon.connect();
    client.send("hi");
    let head = client.read_exactly(16);
    assert_eq!(head[..14], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
    let rest = client.read_exactly(usize::from(u16::from_be_bytes([head[14], head[15]])));
    let tlvs = &rest[12..];
    let (authority, ssl) = tlvs.split_at(3 + 12);
    assert_eq!(authority, b"\x02\0\x0cwww.own.test");
    // TLS, with a certificate now and in this session, which was verified.
    assert_eq!((ssl[0], &ssl[3..8]), (0x20, b"\x07\0\0\0\0".as_slice()));
    let mut values = &ssl[8..];
    let mut seen = Vec::new();
    while let [kind, high, low, after @ ..] = values {
        let (value, next) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        seen.push((*kind, String::from_utf8_lossy(value).into_owned()));
        values = next;
    }
    let expected = [
        (0x21, "TLSv1.3"),
        (0x22, "client.test"),
        (0x25, "EC256"),
        (0x24, "ecdsa-with-SHA256"),
        (0x23, "TLS_AES_256_GCM_SHA384"),
    ];
    assert_eq!(seen, expected.map(|(kind, value)| (kind, value.to_owned())));
    assert_eq!(client.read_exactly(2), b"hi");
}

/// The first message of a TLS client that asks for a host.
fn hello(host: &str) -> Vec<u8> {
    let sized = |bytes: Vec<u8>| [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
    let name = sized([&[0][..], &sized(host.as_bytes().to_vec())].concat());
    let extensions = sized([&[0, 0][..], &sized(name)].concat());
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &extensions].concat();
    let message = [&[1, 0][..], &sized(body)].concat();
    [&[0x16, 3, 1][..], &sized(message)].concat()
}

#[test]
fn tls_passes_through_by_the_name_that_is_asked_for() {
    let [a, b, other] = ["a", "b", "other"].map(|name| {
        TestServer::start(name, Behaviour::SpeaksThenHalfCloses(name.as_bytes().to_vec()))
    });
    let telamon = Telamon::start(&format!(
        "{DEFAULTS}frontend tls\nmode tcp\nbind 127.0.0.1:{}\ntcp-request inspect-delay 5s\n\
         tcp-request content reject if !{{ req.ssl_hello_type 1 }}\n\
         use_backend a if {{ req.ssl_sni -i a.test }}\nuse_backend b if {{ req_ssl_sni -m end .b.test }}\n\
         default_backend other\nbackend a\nmode tcp\nserver {a}\nbackend b\nmode tcp\nserver {b}\n\
         backend other\nmode tcp\nserver {other}\n",
        free_port()
    ));
    for (host, expected) in [("A.test", "a"), ("www.b.test", "b"), ("c.test", "other")] {
        let mut client = telamon.connect();
        client.send(hello(host));
        assert_eq!(client.read_to_end(), expected.as_bytes(), "{host}");
        // In as many segments as there are bytes.
        let mut client = telamon.connect();
        client.stream().set_nodelay(true).unwrap();
        for byte in hello(host) {
            client.send([byte]);
        }
        assert_eq!(client.read_to_end(), expected.as_bytes(), "{host}");
    }
    let mut client = telamon.connect();
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn certificates_are_replaced_without_a_lost_handshake() {
    let (files, app) = (Scratch::new(), TestServer::named("app"));
    let site = write(&files, "site.pem", &pem("site.test", 1));
    let port = free_port();
    let plain = free_port();
    let telamon = Arc::new(Telamon::start(&format!(
        "{DEFAULTS}listen plain\nbind 127.0.0.1:{plain}\nhttp-reuse never\noption httpclose\n\
         http-response set-header x-serial %[ssl_s_serial,hex]\n\
         server s 127.0.0.1:{port} ssl verify none no-ssl-reuse\n\
         listen front\nbind 127.0.0.1:{port} ssl crt {site}\nserver {app}\n",
    )));
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(RawClient::connect(plain).get("/").text(), "app");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for serial in 2..12 {
        let before = answered.load(Ordering::Relaxed);
        let text = pem("site.test", serial);
        let said = telamon.stats_socket(&format!("set ssl cert {site} <<\n{text}"));
        assert_eq!(said, format!("Transaction created for certificate {site}!\n\n"));
        let said = telamon.stats_socket(&format!("commit ssl cert {site}"));
        assert_eq!(said, format!("Committing {site}.\nSuccess!\n\n"));
        let response = RawClient::connect(plain).get("/");
        assert_eq!(response.header("x-serial"), Some(format!("{serial:02X}").as_str()));
        eventually("the others go on", || answered.load(Ordering::Relaxed) > before + 4);
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
}
