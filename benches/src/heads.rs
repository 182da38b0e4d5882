//! What one message head costs, step by step, without sockets.
//!
//! ```text
//! cargo run --release -p telamon-benches --bin heads           # nanoseconds
//! valgrind --tool=callgrind --callgrind-out-file=out target/release/heads 10000
//! callgrind_annotate --inclusive=yes out | grep heads::        # instructions: divide by 10000
//! ```
//!
//! The argument is the number of rounds; with a second one only the messages whose name contains
//! it are run. Each step is a function of its own, never inlined, so that a profile names it.

use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

use telamon_http_proto::{Head, Kind, Limits, Version};

/// A message and the name of what sends it.
struct Message {
    name: &'static str,
    kind: Kind,
    bytes: &'static [u8],
}

/// What the data path does with every head, in this order.
const STEPS: [(&str, Step); 5] =
    [("parse", parse), ("strip", strip), ("add", add), ("write", write), ("next", next)];

type Step = fn(&mut Head, &Message, &mut Vec<u8>);

fn main() {
    let mut args = env::args().skip(1);
    let rounds = args.next().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let wanted = args.next().unwrap_or_default();
    for message in MESSAGES.iter().filter(|message| message.name.contains(&wanted)) {
        let times = run(message, rounds);
        let mut line = format!("{:<20} {:>4} bytes", message.name, message.bytes.len());
        for ((step, _), time) in STEPS.iter().zip(times) {
            let ns = time.as_nanos() as f64 / f64::from(rounds);
            line += &format!("  {step} {ns:>6.1} ns");
        }
        println!("{line}");
    }
}

/// The time that each step took in all rounds. The clock is read once for many rounds, so a step
/// works on many heads before the next step begins.
fn run(message: &Message, rounds: u32) -> [Duration; STEPS.len()] {
    const BATCH: u32 = 16;
    let mut times = [Duration::ZERO; STEPS.len()];
    let mut heads: Vec<Head> = (0..BATCH).map(|_| Head::with_capacity(16384)).collect();
    let mut out = Vec::with_capacity(16384);
    for _ in 0..rounds.div_ceil(BATCH) {
        for head in &mut heads {
            head.input_mut().extend_from_slice(message.bytes);
        }
        for ((_, step), time) in STEPS.iter().zip(&mut times) {
            let begin = Instant::now();
            for head in &mut heads {
                step(head, message, &mut out);
            }
            *time += begin.elapsed();
        }
    }
    times
}

#[inline(never)]
fn parse(head: &mut Head, message: &Message, _: &mut Vec<u8>) {
    let limits = black_box(Limits::default());
    let parsed = match message.kind {
        Kind::Request => head.parse_request(&limits),
        Kind::Response => head.parse_response(&limits),
    };
    assert!(matches!(parsed, Ok(Some(_))), "{parsed:?} for {}", message.name);
}

#[inline(never)]
fn strip(head: &mut Head, _: &Message, _: &mut Vec<u8>) {
    let done = head
        .strip_hop_by_hop()
        .and_then(|()| head.set_connection(true, Version::Http11))
        .and_then(|()| head.restore_framing());
    assert_eq!(done, Ok(()));
}

#[inline(never)]
fn add(head: &mut Head, _: &Message, _: &mut Vec<u8>) {
    assert_eq!(head.add_header(b"x-forwarded-for", b"192.0.2.17"), Ok(()));
}

#[inline(never)]
fn write(head: &mut Head, _: &Message, out: &mut Vec<u8>) {
    out.clear();
    head.write_to(out);
    assert_eq!(black_box(&out).len(), head.len());
}

#[inline(never)]
fn next(head: &mut Head, _: &Message, _: &mut Vec<u8>) {
    head.consume(usize::MAX);
    head.next();
}

const MESSAGES: [Message; 4] = [
    Message {
        name: "wrk-request",
        kind: Kind::Request,
        bytes: b"GET / HTTP/1.1\r\nHost: 127.0.0.1:19000\r\n\r\n",
    },
    Message {
        name: "nginx-response",
        kind: Kind::Response,
        bytes: b"HTTP/1.1 200 OK\r\n\
            Server: nginx/1.22.1\r\n\
            Date: Fri, 20 Nov 2026 15:04:05 GMT\r\n\
            Content-Type: text/plain\r\n\
            Content-Length: 5\r\n\
            Connection: keep-alive\r\n\
            X-Served-By: a1\r\n\r\nhello",
    },
    Message {
        name: "browser-request",
        kind: Kind::Request,
        bytes: b"GET /shop/articles/1234/reviews?page=2&sort=newest&lang=en%2Dgb HTTP/1.1\r\n\
            Host: www.example.com\r\n\
            User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
            Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
            Accept-Language: en-GB,en;q=0.5\r\n\
            Accept-Encoding: gzip, deflate, br, zstd\r\n\
            Referer: https://www.example.com/shop/articles?category=books\r\n\
            Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1\r\n\
            Connection: keep-alive\r\n\
            Upgrade-Insecure-Requests: 1\r\n\
            Sec-Fetch-Dest: document\r\n\
            Sec-Fetch-Mode: navigate\r\n\
            Sec-Fetch-Site: same-origin\r\n\r\n",
    },
    Message {
        name: "application-response",
        kind: Kind::Response,
        bytes: b"HTTP/1.1 200 OK\r\n\
            Date: Fri, 20 Nov 2026 15:04:05 GMT\r\n\
            Content-Type: application/json; charset=utf-8\r\n\
            Transfer-Encoding: chunked\r\n\
            Cache-Control: private, max-age=0, must-revalidate\r\n\
            ETag: W/\"1c7f-0123456789abcdef\"\r\n\
            Vary: Accept-Encoding\r\n\
            Set-Cookie: session=0123456789abcdef; Path=/; HttpOnly; SameSite=Lax\r\n\
            X-Request-Id: 5f3d1c1e-8a4b-4f0e-9a64-3f2d1c0b9a87\r\n\
            Strict-Transport-Security: max-age=31536000\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    },
];
