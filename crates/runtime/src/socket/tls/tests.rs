use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::workers::block_on;

struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    client_12: Arc<ClientConfig>,
}

fn configs() -> &'static Configs {
    static CONFIGS: OnceLock<Configs> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = |versions| {
            let config = ClientConfig::builder_with_protocol_versions(versions);
            Arc::new(config.with_root_certificates(roots.clone()).with_no_client_auth())
        };
        Configs {
            server: Arc::new(server),
            client: client(&[&rustls::version::TLS13]),
            client_12: client(&[&rustls::version::TLS12]),
        }
    })
}

fn connection(config: &Arc<ClientConfig>) -> UnbufferedClientConnection {
    let name = ServerName::try_from("a.test").unwrap();
    UnbufferedClientConnection::new(config.clone(), name).unwrap()
}

/// The server's and the client's end of a session.
async fn pair_of(config: &Arc<ClientConfig>) -> (Socket, Socket) {
    let ((a, _), (b, _)) = sessions(config).await;
    (a, b)
}

async fn sessions(config: &Arc<ClientConfig>) -> ((Socket, Tls), (Socket, Tls)) {
    let (mut a, mut b) = Socket::pair().unwrap();
    let choose = |hello: &ClientHello<'_>| {
        assert_eq!(hello.server_name(), Some("a.test"));
        Ok::<_, ()>(configs().server.clone())
    };
    let connecting = async {
        let tls = b.connect_tls(connection(config), || ()).await.unwrap();
        // As one does who waits for the server to speak first.
        let mut none = [0; 1];
        assert_eq!(b.try_read(&mut none).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        tls
    };
    let (accepted, connected) = tokio::join!(a.accept_tls(choose, || ()), connecting);
    ((a, accepted.unwrap()), (b, connected))
}

#[test]
fn bytes_and_the_end_pass_both_ways() {
    for config in [&configs().client, &configs().client_12] {
        block_on(async {
            let ((a, accepted), (b, connected)) = sessions(config).await;
            assert_eq!(accepted.version, connected.version);
            assert_eq!(accepted.server_name.as_deref(), Some("a.test"));
            assert_eq!(accepted.own.unwrap().cert, connected.peer_certificates);
            a.write_all(b"hello").await.unwrap();
            a.shutdown_write().unwrap();
            let mut buf = [0; 3];
            assert_eq!(b.read(&mut buf).await.unwrap(), 3);
            assert_eq!(b.read(&mut buf).await.unwrap(), 2);
            assert_eq!(b.read(&mut buf).await.unwrap(), 0);
            b.write_all(b"half-closed").await.unwrap();
            let mut all = Vec::new();
            while all.len() < 11 {
                std::future::poll_fn(|cx| a.poll_read_append(cx, &mut all)).await.unwrap();
            }
            assert_eq!(all, b"half-closed");
        });
    }
}

#[test]
fn bulk_arrives_whole_however_it_is_cut() {
    let bulk: Vec<u8> = (0..3_000_000_u32).map(|i| (i * 7 / 5) as u8).collect();
    for (write, read) in [(1 << 20, 16 << 10), (16 << 10, 100), (777, 1 << 20), (40_000, 5)] {
        block_on(async {
            let (a, b) = pair_of(&configs().client).await;
            let bulk = &bulk[..if read < 64 { 100_000 } else { bulk.len() }];
            let up = async {
                for part in bulk.chunks(write) {
                    a.write_all(part).await.unwrap();
                }
                a.shutdown_write().unwrap();
            };
            let down = async {
                let mut buf = vec![0; read];
                let mut got = Vec::new();
                loop {
                    match b.read(&mut buf).await.unwrap() {
                        0 => return got,
                        count => got.extend_from_slice(&buf[..count]),
                    }
                }
            };
            let ((), got) = tokio::join!(up, down);
            assert!(got == *bulk, "{write} {read}: {} of {}", got.len(), bulk.len());
        });
    }
}

#[test]
fn what_is_written_is_with_the_kernel() {
    block_on(async {
        let (a, b) = pair_of(&configs().client).await;
        let bulk = vec![7; 4 << 20];
        let mut told = 0;
        while let Ok(count) = a.try_write(&bulk[told..]) {
            told += count;
        }
        assert!(0 < told && told < bulk.len());
        let session = a.session.as_ref().unwrap();
        assert!(session.state.borrow().outgoing.len() <= OUTPUT_MAX + OUTPUT_RESERVE);
        b.readable().await.unwrap();
        let mut got = Vec::new();
        while let Ok(count) = b.try_read_append(&mut got) {
            assert!(count > 0);
        }
        // A record that is not all there cannot be read; it was not told of as written either, or not all of it.
        assert!(got.len() <= told, "{} {told}", got.len());
        assert!(told - got.len() < OUTPUT_MAX, "{told} {}", got.len());
        let reading = async {
            while got.len() < bulk.len() {
                std::future::poll_fn(|cx| b.poll_read_append(cx, &mut got)).await.unwrap();
            }
        };
        tokio::join!(a.write_all(&bulk[told..]), reading).0.unwrap();
        assert!(got == bulk);
    });
}

#[test]
fn an_idle_session_holds_no_buffers_and_tells_what_comes() {
    block_on(async {
        let (a, b) = pair_of(&configs().client).await;
        a.write_all(b"x").await.unwrap();
        let mut buf = [0; 8];
        assert_eq!(b.read(&mut buf).await.unwrap(), 1);
        b.write_all(b"y").await.unwrap();
        assert_eq!(a.read(&mut buf).await.unwrap(), 1);
        for socket in [&a, &b] {
            assert_eq!((socket.peek(), socket.peek_now()), (Idle::Quiet, Idle::Quiet));
            let state = socket.session.as_ref().unwrap().state.borrow();
            let held = [&state.incoming, &state.plain, &state.outgoing].map(Vec::capacity);
            assert_eq!(held, [0; 3]);
        }
        a.write_all(b"more").await.unwrap();
        assert_eq!(b.peek_now(), Idle::Data);
        assert_eq!(b.read(&mut buf).await.unwrap(), 4);
        a.shutdown_write().unwrap();
        assert_eq!(b.peek_now(), Idle::Closed);
        assert_eq!(b.read(&mut buf).await.unwrap(), 0);
    });
}

#[test]
fn a_session_moves_between_reactors() {
    let (a, b) = block_on(async {
        let (a, b) = pair_of(&configs().client).await;
        a.write_all(b"moved").await.unwrap();
        (a.detach(), b.detach())
    });
    std::thread::spawn(|| {
        block_on(async {
            let (a, b) = (a.attach(), b.attach());
            let mut buf = [0; 16];
            assert_eq!(b.read(&mut buf).await.unwrap(), 5);
            b.write_all(b"back").await.unwrap();
            assert_eq!(a.read(&mut buf).await.unwrap(), 4);
        });
    })
    .join()
    .unwrap();
}

#[test]
fn an_end_without_notice_is_an_end() {
    block_on(async {
        let (a, b) = pair_of(&configs().client).await;
        a.write_all(b"x").await.unwrap();
        drop(a);
        let mut buf = [0; 8];
        assert_eq!(b.read(&mut buf).await.unwrap(), 1);
        assert_eq!(b.read(&mut buf).await.unwrap(), 0);
    });
}

#[test]
fn what_is_no_record_ends_the_session_with_an_alert() {
    block_on(async {
        let (a, b) = pair_of(&configs().client).await;
        b.send_now(b"\x17\x03\x03\x00\x20ceci n'est pas chiffre ni scelle", SendFlags::empty())
            .unwrap();
        let mut buf = [0; 64];
        let error = a.read(&mut buf).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(a.read(&mut buf).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(a.peek(), Idle::Closed);
        let error = b.read(&mut buf).await.unwrap_err();
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
    });
}

/// A client that sends the first `count` bytes of a handshake and closes.
fn break_off(config: &Arc<ClientConfig>, count: usize) -> Result<Tls, HandshakeError<()>> {
    block_on(async {
        let (mut a, b) = Socket::pair().unwrap();
        let name = ServerName::try_from("a.test").unwrap();
        let mut client = ClientConnection::new(config.clone(), name).unwrap();
        let talking = async {
            let mut left = count;
            loop {
                let mut out = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut out).unwrap();
                }
                out.truncate(left);
                left -= out.len();
                b.write_all(&out).await.unwrap();
                if left == 0 || !client.is_handshaking() {
                    break;
                }
                let mut input = vec![0; 16384];
                let got = b.read(&mut input).await.unwrap();
                let mut input = &input[..got];
                while !input.is_empty() {
                    client.read_tls(&mut input).unwrap();
                    client.process_new_packets().unwrap();
                }
            }
            b.shutdown_write().unwrap();
        };
        let choose = |_: &ClientHello<'_>| Ok(configs().server.clone());
        tokio::join!(a.accept_tls(choose, || ()), talking).0
    })
}

#[test]
fn a_client_that_breaks_off_is_heard_at_every_byte() {
    for config in [&configs().client, &configs().client_12] {
        let mut count = 0;
        let mut empty = 0;
        while break_off(config, count).is_err_and(|error| {
            match error {
                HandshakeError::Empty => empty += 1,
                HandshakeError::Aborted => {}
                error => panic!("{count}: {error:?}"),
            }
            true
        }) {
            count += 1;
        }
        assert!(150 < empty && empty < count, "{empty} {count}");
    }
}

/// What a client reads that begins with these bytes, and why it got no session.
#[track_caller]
fn refused(bytes: &[u8]) -> (Vec<u8>, HandshakeError<&'static str>) {
    block_on(async {
        let (mut a, b) = Socket::pair().unwrap();
        b.write_all(bytes).await.unwrap();
        let error = a.accept_tls(|_| Err("nothing fits"), || ()).await.unwrap_err();
        let mut alert = Vec::new();
        while std::future::poll_fn(|cx| b.poll_read_append(cx, &mut alert)).await.unwrap() > 0 {}
        (alert, error)
    })
}

#[test]
fn who_gets_no_session_is_told_why() {
    let (alert, error) = refused(b"GET / HTTP/1.1\r\n\r\n");
    assert!(matches!(error, HandshakeError::Failed(_)), "{error:?}");
    assert_eq!(alert[..1], [21]);
    let mut client =
        ClientConnection::new(configs().client.clone(), ServerName::try_from("a.test").unwrap())
            .unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let (alert, error) = refused(&hello);
    assert!(matches!(error, HandshakeError::Unchosen("nothing fits")));
    assert_eq!(alert, UNRECOGNIZED_NAME);
}

#[test]
fn a_handshake_without_end_is_bounded() {
    block_on(async {
        let (mut a, b) = Socket::pair().unwrap();
        let endless = tokio::task::spawn_local(async move {
            // A first message of 16 MiB, in records of one kind.
            let mut record = vec![22, 3, 1, 0x40, 0];
            record.extend_from_slice(&[1, 0xff, 0xff, 0xff]);
            record.resize(5 + 16384, 0);
            while b.write_all(&record).await.is_ok() {
                record[5] = 0;
            }
        });
        let refused = a.accept_tls(|_| Err(()), || ()).await;
        assert!(matches!(refused, Err(HandshakeError::Failed(_))), "{refused:?}");
        drop(a);
        tokio::time::timeout(Duration::from_secs(5), endless).await.unwrap().unwrap();
    });
}

/// A server's end, and a client's that is moved by hand.
async fn by_hand(config: &Arc<ClientConfig>) -> (Socket, Socket, ClientConnection) {
    let (mut a, b) = Socket::pair().unwrap();
    let name = ServerName::try_from("a.test").unwrap();
    let mut client = ClientConnection::new(config.clone(), name).unwrap();
    let shaking = async {
        while client.is_handshaking() || client.wants_write() {
            let mut out = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut out).unwrap();
            }
            b.write_all(&out).await.unwrap();
            if client.is_handshaking() {
                let mut input = vec![0; 16384];
                let got = b.read(&mut input).await.unwrap();
                client.read_tls(&mut &input[..got]).unwrap();
                client.process_new_packets().unwrap();
            }
        }
    };
    let choose = |_: &ClientHello<'_>| Ok::<_, ()>(configs().server.clone());
    tokio::join!(a.accept_tls(choose, || ()), shaking).0.unwrap();
    (a, b, client)
}

#[test]
fn one_who_writes_while_half_a_message_has_come_goes_on() {
    use rustls::crypto::cipher::OutboundPlainMessage;
    use rustls::{ConnectionTrafficSecrets, ContentType, SupportedCipherSuite};
    block_on(async {
        let mut config = ClientConfig::clone(&configs().client);
        config.enable_secret_extraction = true;
        let (a, b, client) = by_hand(&Arc::new(config)).await;
        let suite = client.negotiated_cipher_suite();
        let Some(SupportedCipherSuite::Tls13(suite)) = suite else { panic!("{suite:?}") };
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("a suite") };
        let mut seal = suite.aead_alg.encrypter(key, iv);
        // A key update in two records (RFC 8446, section 5.1), with an answer in between.
        let mut half = |bytes: &[u8], number| {
            let version = ProtocolVersion::TLSv1_2;
            let typ = ContentType::Handshake;
            let message = OutboundPlainMessage { typ, version, payload: bytes.into() };
            seal.encrypt(message, sequence + number).unwrap().encode()
        };
        b.write_all(&half(&[24, 0, 0], 0)).await.unwrap();
        a.readable().await.unwrap();
        let mut buf = [0; 64];
        assert_eq!(a.try_read(&mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for _ in 0..3 {
            a.write_all(b"meanwhile").await.unwrap();
        }
        assert_eq!(a.peek(), Idle::Quiet);
        b.write_all(&half(&[1, 0], 1)).await.unwrap();
        b.shutdown_write().unwrap();
        a.readable().await.unwrap();
        assert_eq!(a.read(&mut buf).await.unwrap(), 0);
        a.write_all(b"and then").await.unwrap();
        a.shutdown_write().unwrap();
        b.write_all(&half(&[24, 0], 2)).await.unwrap_err();
    });
}

#[test]
fn key_updates_without_end_are_bounded() {
    block_on(async {
        let (a, client_side, mut client) = by_hand(&configs().client).await;
        let mut out = Vec::new();
        for _ in 0..100 {
            client.refresh_traffic_keys().unwrap();
            while client.wants_write() {
                client.write_tls(&mut out).unwrap();
            }
        }
        client_side.write_all(&out).await.unwrap();
        let mut buf = [0; 64];
        let error = a.read(&mut buf).await.unwrap_err();
        assert!(error.to_string().contains("KeyUpdate"), "{error}");
    });
}
