//! Clients that use HTTP/2 against us: whatever they send, memory stays bounded, and the others are served
//! meanwhile by the same thread.

use std::time::{Duration, Instant};

use telamon_testkit::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Event, GOAWAY, HEADERS, Http2Client,
    Http2Response, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, code, encode,
    indexed, literal_indexed, request_fields, setting,
};
use telamon_testkit::{Behaviour, Telamon, TestServer, eventually, free_port};

/// How long each of the floods goes on, unless the connection is ended first.
const FLOOD: Duration = Duration::from_secs(2);
/// The longest that another client may wait, on a machine that is busy with other tests.
const WAIT_MOST: Duration = Duration::from_secs(3);
/// What any of them may add to the memory in use, in KiB; what is not held within bounds is several times as much.
const MEMORY_KIB: u64 = 48 << 10;

#[test]
fn requests_that_are_taken_back_at_once() {
    // CVE-2023-44487
    let mut scene = Scene::new("");
    let mut next = 1;
    let codes = scene.survives("resets", |attacker| {
        let bytes = batch(500, |bytes, _| {
            encode(
                bytes,
                HEADERS,
                END_STREAM | END_HEADERS,
                next,
                &block(&request_fields("GET", "/")),
            );
            encode(bytes, RST_STREAM, 0, next, &code::CANCEL.to_be_bytes());
            next += 2;
        });
        attacker.try_send_raw(&bytes).is_ok()
    });
    ended_for_it(&codes);
}

#[test]
fn requests_that_make_us_reset_them() {
    // CVE-2025-8671: each stream is broken off by us, for a window that overflows.
    let mut scene = Scene::new("");
    let mut next = 1;
    let codes = scene.survives("streams that we reset", |attacker| {
        let bytes = batch(200, |bytes, _| {
            encode(bytes, HEADERS, END_HEADERS, next, &block(&request_fields("POST", "/")));
            encode(bytes, WINDOW_UPDATE, 0, next, &0x7fff_ffff_u32.to_be_bytes());
            next += 2;
        });
        attacker.try_send_raw(&bytes).is_ok()
    });
    ended_for_it(&codes);
}

#[test]
fn field_blocks_without_end() {
    for payload in [&b""[..], &[0x00, 0x01, b'x', 0x01, b'y'], &[0x82; 16384]] {
        let mut scene = Scene::new("");
        scene.attacker.send(HEADERS, END_STREAM, 1, &block(&request_fields("GET", "/")));
        let codes = scene.survives("CONTINUATION", |attacker| {
            let bytes = batch(4, |bytes, _| encode(bytes, CONTINUATION, 0, 1, payload));
            attacker.try_send_raw(&bytes).is_ok()
        });
        ended_for_it(&codes);
    }
}

#[test]
fn frames_that_ask_for_answers_which_are_not_read() {
    for (kind, payload) in
        [(PING, &[7; 8][..]), (SETTINGS, &[]), (SETTINGS, &[0, 4, 0, 0, 0xff, 0xff])]
    {
        let mut scene = Scene::new("");
        let bytes = batch(4000, |bytes, _| encode(bytes, kind, 0, 0, payload));
        scene.survives("PING or SETTINGS", |attacker| attacker.try_send_raw(&bytes).is_ok());
    }
}

#[test]
fn frames_that_say_nothing() {
    let priority = [0, 0, 0, 0, 16];
    for (kind, payload) in [(PRIORITY, &priority[..]), (WINDOW_UPDATE, &[0, 0, 0, 1]), (0x16, &[])]
    {
        let mut scene = Scene::new("");
        let stream = |at: u32| if kind == PRIORITY { 2 * at + 1 } else { 0 };
        let mut at = 0;
        scene.survives("frames without effect", |attacker| {
            let bytes = batch(4000, |bytes, _| {
                at = (at + 1) % (1 << 29);
                encode(bytes, kind, 0, stream(at), payload);
            });
            attacker.try_send_raw(&bytes).is_ok()
        });
    }
}

#[test]
fn bodies_of_many_frames_and_few_bytes() {
    for content in [&b""[..], b"x"] {
        // Nobody reads the body, so what is kept of each frame piles up.
        let mut scene = Scene::before(Behaviour::NeverReads, "");
        scene.attacker.send_headers(1, 0, &request_fields("POST", "/sink"));
        let bytes = batch(4000, |bytes, _| encode(bytes, DATA, 0, 1, content));
        scene.survives("small DATA", |attacker| attacker.try_send_raw(&bytes).is_ok());
    }
}

#[test]
fn few_bytes_that_become_many_fields() {
    let mut scene = Scene::new("");
    // One field of 3.9 KB in the dynamic table, then 16,000 bytes that name it: 62 MB a request.
    let bomb = literal_indexed("x-bomb", &"x".repeat(3900));
    scene.attacker.send(
        HEADERS,
        END_STREAM | END_HEADERS,
        1,
        &[block(&request_fields("GET", "/")), bomb].concat(),
    );
    let again: Vec<u8> = std::iter::repeat_n(indexed(62), 16_000).flatten().collect();
    let payload = [block(&request_fields("GET", "/")), again].concat();
    let mut next = 3;
    scene.survives("a bomb of fields", |attacker| {
        let mut bytes = Vec::new();
        encode(&mut bytes, HEADERS, END_STREAM | END_HEADERS, next, &payload);
        next += 2;
        attacker.try_send_raw(&bytes).is_ok()
    });
    assert!(scene.origin.requests() < 100, "it was not passed on: {}", scene.origin.requests());
}

#[test]
fn answers_that_are_not_read() {
    for window in [0, 1] {
        let mut scene = Scene::before(Behaviour::Large(64 << 20), "    timeout client 4s\n");
        let settings = [(setting::INITIAL_WINDOW_SIZE, window)];
        let mut clients: Vec<_> = (0..4).map(|_| scene.client(&settings)).collect();
        for client in &mut clients {
            for at in 0..25 {
                client.send_headers(2 * at + 1, END_STREAM, &request_fields("GET", "/large"));
            }
        }
        eventually("all of them are asked for", || scene.origin.requests() >= 100);
        scene.check("answers that are not read");
        for client in &mut clients {
            given_up(client);
        }
    }
}

#[test]
fn answers_that_are_read_byte_by_byte() {
    let mut scene = Scene::before(Behaviour::Large(64 << 20), "");
    scene.attacker = scene.client(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    scene.attacker.send_headers(1, END_STREAM, &request_fields("GET", "/large"));
    let bytes = batch(500, |bytes, _| encode(bytes, WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()));
    scene.survives("windows of one byte", |attacker| attacker.try_send_raw(&bytes).is_ok());
}

#[test]
fn requests_that_never_end() {
    let mut scene = Scene::new("    timeout http-request 4s\n    timeout client 4s\n");
    let mut clients: Vec<_> = (0..5).map(|_| scene.client(&[])).collect();
    for client in &mut clients {
        let more = client.setting(setting::MAX_CONCURRENT_STREAMS).expect("a limit") + 20;
        for at in 0..more {
            client.send_headers(2 * at + 1, 0, &request_fields("POST", "/"));
        }
        let refused = client.wait_stream(2 * more - 1, |stream| stream.reset.is_some());
        assert_eq!(refused.reset, Some(code::REFUSED_STREAM), "beyond the limit");
    }
    scene.check("streams that stay open");
    for client in &mut clients {
        given_up(client);
    }
}

/// The first stream, or all of the connection, is ended by the program.
#[track_caller]
fn given_up(client: &mut Http2Client) {
    let is_over = |stream: &Http2Response| stream.ended || stream.reset.is_some();
    eventually("the stream is given up", || {
        client.stream(1).is_some_and(is_over) || matches!(client.next_event(), Event::Closed)
    });
}

/// A server, the program with one thread, a client that behaves and one that does not.
struct Scene {
    origin: TestServer,
    telamon: Telamon,
    neighbor: Http2Client,
    attacker: Http2Client,
    memory_kib: u64,
}

impl Scene {
    fn new(lines: &str) -> Self {
        Self::before(Behaviour::Name, lines)
    }

    /// The neighbor's requests go to a server of their own.
    fn before(behaviour: Behaviour, lines: &str) -> Self {
        let (neighbors, origin) = (free_port(), TestServer::start("origin", behaviour));
        let web = Telamon::listen_on(free_port(), &format!("{lines}    server {origin}"));
        let config = format!(
            "global\n    nbthread 1\n{web}\nlisten neighbors\n    bind 127.0.0.1:{neighbors}\n    \
             http-request return status 200 content-type text/plain string hello\n"
        );
        let telamon = Telamon::start(&config);
        let mut neighbor = Http2Client::connect(neighbors);
        for _ in 0..20 {
            assert_eq!(neighbor.get("/").text(), "hello");
        }
        let attacker =
            Http2Client::connect(telamon.port()).send_patience(Duration::from_millis(300));
        let memory_kib = telamon.memory_kib();
        Self { origin, telamon, neighbor, attacker, memory_kib }
    }

    /// A further client that gives no window back.
    fn client(&self, settings: &[(u16, u32)]) -> Http2Client {
        let client =
            Http2Client::connect_with(self.telamon.port(), settings).without_replenishing();
        client.send_patience(Duration::from_millis(300)).patience(Duration::from_secs(5))
    }

    /// Floods until the attacker can send no more or time is up; the neighbor is served all the while. Returns the codes
    /// of GOAWAY when the connection was ended, and nothing when it goes on.
    #[track_caller]
    fn survives(
        &mut self,
        what: &str,
        mut flood: impl FnMut(&mut Http2Client) -> bool + Send,
    ) -> Option<Vec<u32>> {
        let (attacker, neighbor) = (&mut self.attacker, &mut self.neighbor);
        let longest = std::thread::scope(|scope| {
            let flooding = scope.spawn(move || {
                let start = Instant::now();
                while start.elapsed() < FLOOD && flood(attacker) {}
            });
            let mut longest = Duration::ZERO;
            while !flooding.is_finished() {
                let start = Instant::now();
                assert_eq!(neighbor.get("/").status, 200, "{what}");
                longest = longest.max(start.elapsed());
            }
            longest
        });
        assert!(longest < WAIT_MOST, "{what}: another client waited {longest:?}");
        self.check(what);
        let mut codes = Vec::new();
        loop {
            match self.attacker.next_event() {
                Event::Frame(frame) if frame.kind == GOAWAY => codes.push(frame.number()),
                Event::Frame(_) => {}
                Event::Closed => return Some(codes),
                Event::Timeout => return None,
            }
        }
    }

    /// Memory is bounded, and a client that comes now is served.
    #[track_caller]
    fn check(&mut self, what: &str) {
        let added = self.telamon.memory_kib().saturating_sub(self.memory_kib);
        assert!(added < MEMORY_KIB, "{what}: {added} KiB more");
        let start = Instant::now();
        assert_eq!(self.neighbor.get("/").status, 200, "{what}");
        let mut newcomer = Http2Client::connect(self.telamon.port());
        assert!(newcomer.pings(*b"let me i"), "{what}");
        assert!(start.elapsed() < WAIT_MOST, "{what}: {:?}", start.elapsed());
        eprintln!("{what}: {added} KiB more");
    }
}

/// The connection was ended, by a GOAWAY that says why; where the client does not read it, a reset may overtake it.
#[track_caller]
fn ended_for_it(codes: &Option<Vec<u32>>) {
    let codes = codes.as_ref().expect("the connection is ended");
    let for_it = [
        code::ENHANCE_YOUR_CALM,
        code::PROTOCOL_ERROR,
        code::COMPRESSION_ERROR,
        code::REFUSED_STREAM,
    ];
    assert!(codes.iter().all(|code| for_it.contains(code)), "{codes:?}");
    eprintln!("ended: {codes:?}");
}

fn batch(count: u32, mut each: impl FnMut(&mut Vec<u8>, u32)) -> Vec<u8> {
    let mut bytes = Vec::new();
    for at in 0..count {
        each(&mut bytes, at);
    }
    bytes
}
