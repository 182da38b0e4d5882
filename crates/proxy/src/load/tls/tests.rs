//! Lines about TLS: what they come to, and what is said where they are wrong.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::super::LoadOptions;
use super::super::tests::{check, model, told};
use crate::model::HttpVersion;

/// A directory of its own, gone at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("telamon-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
        self
    }

    /// `global` with both bases here, and times.
    fn begin(&self) -> String {
        let path = self.0.display();
        format!(
            "global\n crt-base {path}\n ca-base {path}\ndefaults\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n"
        )
    }

    /// What is said of the options of a `bind` line and of a `server` line, without the directory's name.
    fn told(&self, bind: &str, server: &str) -> Vec<String> {
        let text =
            format!("{}listen l\n bind :1 {bind}\n server s 127.0.0.1:1 {server}\n", self.begin());
        let options = LoadOptions::default();
        let path = format!("{}/", self.0.display());
        told(&text, &options).iter().map(|line| line.replace(&path, "")).collect()
    }

    #[track_caller]
    fn bind(&self, options: &str, expected: &[&str]) {
        assert_eq!(self.told(options, ""), expected, "{options}");
    }

    #[track_caller]
    fn server(&self, options: &str, expected: &[&str]) {
        assert_eq!(self.told("", options), expected, "{options}");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate for a name, and its key.
fn pair(name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("signed").pem(), key.serialize_pem())
}

fn pem(name: &str) -> String {
    let (certificate, key) = pair(name, |_| {});
    certificate + &key
}

#[test]
fn certificates_are_found_as_haproxy_finds_them() {
    let files = Directory::new();
    let (certificate, key) = pair("split.test", |_| {});
    files
        .write("a.pem", pem("a.test"))
        .write("split.crt", &certificate)
        .write("split.crt.key", &key)
        .write("both.rsa", pem("both.test"))
        .write("both.ecdsa", pem("both.test"))
        .write("dir/one.pem", pem("one.test"))
        .write("dir/two.crt", &certificate)
        .write("dir/two.crt.key", &key)
        .write("dir/.hidden", "no certificate")
        .write("dir/sub/three.pem", "no certificate")
        .write("list", "a.pem [alpn h2 ssl-min-ver TLSv1.3] x.test !y.test\nboth\n");
    let offered = |bind: &str| {
        let model = model(&format!("{}frontend f\n bind :1 ssl {bind}\n", files.begin()));
        assert!(model.proxies[0].frontend.as_ref().expect("a frontend").listeners[0].tls.is_some());
        let prefix = format!("{}/", files.0.display());
        let names = model.tls.certificates().into_iter().map(|(name, _, used)| {
            assert!(used, "{name}");
            name.replace(&prefix, "")
        });
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(offered("crt a.pem"), "a.pem");
    assert_eq!(offered("crt split.crt"), "split.crt");
    assert_eq!(offered("crt both"), "both.ecdsa both.rsa");
    assert_eq!(offered("crt dir crt a.pem"), "a.pem dir/one.pem dir/two.crt");
    let list = format!("crt-list {}/list", files.0.display());
    assert_eq!(offered(&list), "a.pem both.ecdsa both.rsa");
    let (certificate, key) = pair("drop.test", |_| {});
    files.write("drop.crt", certificate).write("drop.key", key);
    let text = files.begin().replacen("global\n", "global\n ssl-load-extra-del-ext\n", 1);
    model(&format!("{text}frontend f\n bind :1 ssl crt drop.crt\n"));
}

#[test]
fn stores_name_certificates() {
    let files = Directory::new();
    let (certificate, key) = pair("a.test", |_| {});
    files
        .write("certs/a.pem", certificate)
        .write("keys/a.key", key)
        .write("list", "@web/main a.test\n");
    let path = files.0.display();
    let config = |lines: &str, bind: &str| {
        format!(
            "{}crt-store web\n crt-base {path}/certs\n key-base {path}/keys\n {lines}\nfrontend f\n bind :1 ssl {bind}\n",
            files.begin()
        )
    };
    let load = "load crt a.pem key a.key alias main";
    model(&config(load, "crt @web/main"));
    model(&config("load crt a.pem key a.key", "crt @web/a.pem"));
    model(&config(load, &format!("crt-list {path}/list")));
    check(
        &config(load, "crt @web/mian"),
        &["13:18 alert there is no certificate `web/mian` (did you mean `web/main`?)"],
    );
    check(
        &config("load key a.key", "crt @web/main")[..],
        &[
            "11:11 alert `load` lacks `crt FILE` (expected `crt FILE` after this)",
            "13:18 alert there is no certificate `web/main`",
        ],
    );
}

#[test]
fn files_that_are_wrong_are_told_at_the_word_that_names_them() {
    let files = Directory::new();
    let (certificate, key) = pair("a.test", |_| {});
    let (_, other) = pair("b.test", |_| {});
    let (old, old_key) = pair("old.test", |params| {
        (params.not_before, params.not_after) =
            (date_time_ymd(2017, 1, 1), date_time_ymd(2018, 1, 16));
    });
    files
        .write("a.pem", pem("a.test"))
        .write("lone.pem", &certificate)
        .write("wrong.pem", certificate.clone() + &other)
        .write(
            "locked.pem",
            certificate.clone() + &key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        )
        .write("old.pem", old + &old_key)
        .write("text.pem", "hello")
        .write("list", "a.pem [alpm h2]\n")
        .write("keys", "AAAA\n");
    let path = files.0.display();
    files.bind("ssl crt a.pem", &[]);
    files.bind(
        "ssl crt none.pem",
        &["9:18 alert cannot read none.pem: No such file or directory (os error 2)"],
    );
    files.bind(
        "ssl crt lone.pem",
        &["9:18 alert `lone.pem`: the certificate's private key is missing"],
    );
    files.bind(
        "ssl crt wrong.pem",
        &["9:18 alert `wrong.pem`: the private key is not the certificate's"],
    );
    let line = certificate.lines().count() + 1;
    files.bind(
        "ssl crt locked.pem",
        &[&format!("9:18 alert `locked.pem`: line {line}: the private key is encrypted")],
    );
    files.bind("ssl crt text.pem", &["9:18 alert `text.pem`: it holds no certificate"]);
    files.bind(
        "ssl crt old.pem",
        &["9:18 warning `old.pem`: the certificate has expired on 2018-01-16"],
    );
    files.bind(
        "ssl crt a.pem verify required ca-file text.pem",
        &["9:48 alert `text.pem`: it holds no certificate"],
    );
    files.bind(
        "ssl crt a.pem ca-file a.pem crl-file a.pem verify required",
        &["9:47 alert `a.pem`: it holds no list of revocations"],
    );
    files.bind(
        &format!("ssl crt-list {path}/list"),
        &["9:23 alert `list`: line 1: `alpm` is no setting of a list of certificates"],
    );
    files.bind(
        &format!("ssl crt a.pem tls-ticket-keys {path}/keys"),
        &["9:40 alert `keys`: line 1 is not a key of 48 or 80 bytes in base64"],
    );
    files.server(
        "ssl verify required ca-file none.pem",
        &["10:51 alert cannot read none.pem: No such file or directory (os error 2)"],
    );
    files.server(
        "ssl verify none crt lone.pem",
        &["10:43 alert `lone.pem`: the certificate's private key is missing"],
    );
}

#[test]
fn words_that_are_wrong_are_told() {
    let files = Directory::new();
    files.write("a.pem", pem("a.test"));
    let with = |more: &str| format!("ssl crt a.pem {more}");
    let bind = |more: &str, expected: &[&str]| files.bind(&with(more), expected);
    files.bind("ssl", &["9:10 alert `ssl` without a certificate"]);
    files.bind("ssl strict-sni", &[]);
    files.bind(
        "alpn h2",
        &["9:10 warning `alpn` without `ssl`: clients are spoken to in plain text here"],
    );
    bind(
        "ssl-min-ver TLSv1.0",
        &["9:36 warning TLSv1.0 is never spoken: clients need TLSv1.2 at least"],
    );
    bind("ssl-max-ver TLSv1.1", &["9:36 alert TLSv1.1 is never spoken"]);
    bind(
        "ssl-min-ver TLS1.2",
        &["9:36 alert bad version of TLS `TLS1.2` (expected `TLSv1.2` or `TLSv1.3`)"],
    );
    bind("force-sslv3", &["9:24 alert SSLv3 is never spoken"]);
    bind("no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12", &[]);
    bind("no-tlsv12 no-tlsv13", &["9:10 alert no version of TLS is left"]);
    bind("ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.2", &["9:10 alert no version of TLS is left"]);
    bind("ciphers RC4-SHA:AES128-SHA", &["9:32 alert no cipher suite of this list can be spoken"]);
    bind(
        "ciphersuites TLS_AES_128_CCM_SHA256",
        &["9:37 alert no cipher suite of this list can be spoken"],
    );
    bind("curves X448", &["9:31 alert no curve of this list can be spoken"]);
    bind("sigalgs DSA+SHA1", &["9:32 alert no signature algorithm of this list can be spoken"]);
    bind(
        "verify yes",
        &["9:31 alert bad verification `yes` (expected `none`, `optional` or `required`)"],
    );
    bind(
        "verify required",
        &["9:10 alert certificates are to be verified, and there is no authority to believe"],
    );
    bind(
        "ca-ignore-err 10,x",
        &[
            "9:38 alert bad list of errors `10,x` (expected `all`, numbers such as `10,18`, or names such as `X509_V_ERR_CERT_HAS_EXPIRED`)",
        ],
    );
    bind(
        "alpn h2,",
        &["9:29 alert bad list of protocols `h2,` (expected names such as `h2,http/1.1`)"],
    );
    bind("npn http/1.1", &["9:24 alert `npn` is obsolete"]);
    bind("generate-certificates", &["9:24 alert `generate-certificates` is obsolete"]);
    bind(
        "allow-0rtt",
        &[
            "9:24 notice `allow-0rtt` has no effect here: early data is never accepted; clients send it again",
        ],
    );
    bind("proto h3", &["9:30 alert unknown protocol `h3` (did you mean `h1`?)"]);
    files.server("ssl", &["10:23 alert `ssl` to a server whose certificate nobody can verify"]);
    files.server(
        "check check-ssl",
        &["10:29 alert `ssl` to a server whose certificate nobody can verify"],
    );
    files.server("ssl verify none sni nothing", &["10:43 alert unknown fetch `nothing`"]);
    files.server(
        "ssl verify optional",
        &["10:34 alert bad verification `optional` (expected `none` or `required`)"],
    );
    files.server(
        "ssl verify none check-alpn ,",
        &["10:50 alert bad list of protocols `,` (expected names such as `h2,http/1.1`)"],
    );
    check(
        "global\n ssl-default-bind-options no-tlsv9\n",
        &["2:27 alert unknown option of TLS `no-tlsv9` (did you mean `no-tlsv10`?)"],
    );
    check(
        "global\n ssl-default-bind-ciphers RC4\n",
        &["2:27 alert no cipher suite of this list can be spoken"],
    );
    check(
        "global\n ssl-load-extra-files keys\n",
        &["2:23 alert unknown kind of file `keys` (did you mean `key`?)"],
    );
    check(
        "global\n stats socket /x ssl\n",
        &["2:18 alert `stats socket ... ssl` is known to HAProxy, not yet to Telamon"],
    );
}

#[test]
fn lines_take_what_global_presets() {
    let files = Directory::new();
    files.write("a.pem", pem("a.test"));
    let text = files.begin().replacen(
        "global\n",
        "global\n ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets no-sslv3\n ssl-default-bind-curves X25519\n\
         \x20ssl-server-verify none\n ssl-default-server-options ssl-min-ver TLSv1.3\n tune.ssl.lifetime 60\n",
        1,
    );
    let model = model(&format!(
        "{text}listen l\n mode http\n bind :1 ssl crt a.pem alpn h2 proto h2\n bind :2\n default-server ssl sni str(a.test)\n\
         \x20server a 127.0.0.1:1 check ws h1 proto h2 check-sni b.test check-alpn http/1.1\n server b 127.0.0.1:1 no-ssl check\n\
         \x20server c 127.0.0.1:1 check port 2\n server d 127.0.0.1:1 check port 2 check-ssl no-sni\n"
    ));
    let proxy = &model.proxies[0];
    let listeners = &proxy.frontend.as_ref().expect("a frontend").listeners;
    let spec = listeners[0].tls.as_ref().expect("TLS").spec();
    assert!(
        spec.offer.no_tickets && spec.offer.curves.as_ref().is_some_and(|curves| curves.len() == 1)
    );
    assert_eq!(spec.offer.alpn, Some(vec![b"h2".to_vec()]));
    assert_eq!(spec.resumption.lifetime_s, 60);
    assert_eq!((listeners[0].protocol, listeners[1].protocol), (Some(HttpVersion::Http2), None));
    assert!(listeners[1].tls.is_none());
    let servers = &proxy.backend.as_ref().expect("a backend").servers;
    let has = |at: usize| (servers[at].tls.is_some(), servers[at].check_tls.is_some());
    assert_eq!(
        [has(0), has(1), has(2), has(3)],
        [(true, true), (false, false), (true, false), (true, true)]
    );
    let tls = servers[0].tls.as_ref().expect("TLS");
    assert!(tls.sni.is_some() && servers[3].tls.as_ref().is_some_and(|tls| tls.sni.is_none()));
    assert!(!tls.connector.spec().offer.versions.allows(telamon_tls::Version::Tls12));
    let checks = servers[0].check_tls.as_ref().expect("TLS");
    assert_eq!(checks.sni.as_deref(), Some("b.test"));
    assert_eq!(checks.connector.spec().offer.alpn, Some(vec![b"http/1.1".to_vec()]));
    assert_eq!(
        (servers[0].websocket, servers[0].protocol),
        (Some(HttpVersion::Http1), Some(HttpVersion::Http2))
    );
}

#[test]
fn nothing_is_read_offline() {
    let options = LoadOptions { offline: true, ..LoadOptions::default() };
    let text = "defaults\n timeout client 1s\n timeout connect 1s\n timeout server 1s\nlisten l\n\
                \x20bind :1 ssl crt none.pem crt-list none ca-file none verify optional tls-ticket-keys none\n\
                \x20server s 127.0.0.1:1 ssl ca-file none crt none\n";
    assert_eq!(told(text, &options), [""; 0]);
    let text = text.replace("ca-file none verify", "verify");
    assert_eq!(
        told(&text, &options),
        ["6:10 alert certificates are to be verified, and there is no authority to believe"]
    );
}
