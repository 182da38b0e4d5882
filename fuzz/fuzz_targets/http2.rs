//! Heads and trailers of HTTP/2 from arbitrary fields.
//!
//! The first byte holds options; then fields follow, each a byte of its name's length, a byte of its value's, and both.
//! Whatever comes: no panic; what is accepted is written as HTTP/1 that the strictest reader of that accepts too, and given
//! to HTTP/2 as fields that are accepted again and give the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use telamon_http_proto::{
    ChunkedDecoder, Head, Kind, Limits, Version, trailer_fields, write_http2_trailers,
};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fuzz_target!(|data: &[u8]| {
    let [options, rest @ ..] = data else { return };
    let limits = Limits { accept_invalid: options & 1 != 0, ..Limits::default() };
    let strict = options & 1 == 0;
    let ends = options & 2 != 0;
    let fields = fields_of(rest, options & 8 != 0, options & 4 != 0);
    if options & 4 == 0 {
        let mut head = Head::default();
        if head.read_http2_request(pairs(&fields), ends, &limits).is_ok() {
            check(&mut head, ends, strict, None);
        }
    } else {
        let mut request = Head::default();
        let asks: &[u8] = if options & 16 == 0 { b"GET" } else { b"HEAD" };
        request.start_request(asks, b"/", Version::Http11, 1024).expect("a request");
        let mut head = Head::default();
        if head.read_http2_response(pairs(&fields), ends, &request, &limits).is_ok() {
            let _ = head.response_body(request.method_kind(), false);
            check(&mut head, ends, strict, Some(&request));
        }
    }
    let mut section = Vec::new();
    if write_http2_trailers(pairs(&fields), &limits, &mut section).is_ok() {
        let mut decoder = ChunkedDecoder::new();
        assert_eq!(decoder.relay(&section), Ok(section.len()));
        assert!(decoder.is_done());
        let again: Pairs =
            trailer_fields(&section[3..]).map(|h| (h.name.to_vec(), h.value.to_vec())).collect();
        assert_eq!(again.len(), fields.len());
    }
});

/// The fields that the bytes stand for; with `usual` behind those that a head must have.
fn fields_of(mut bytes: &[u8], usual: bool, response: bool) -> Pairs {
    let mut fields: Pairs = match (usual, response) {
        (false, _) => Vec::new(),
        (true, true) => vec![(b":status".to_vec(), b"200".to_vec())],
        (true, false) => [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/p?q"),
        ]
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .to_vec(),
    };
    while let [name_len, value_len, rest @ ..] = bytes {
        let name_len = usize::from(*name_len).min(rest.len());
        let (name, rest) = rest.split_at(name_len);
        let (value, rest) = rest.split_at(usize::from(*value_len).min(rest.len()));
        fields.push((name.to_vec(), value.to_vec()));
        bytes = rest;
    }
    fields
}

fn pairs(fields: &Pairs) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.iter().map(|(name, value)| (&name[..], &value[..]))
}

fn check(head: &mut Head, ends: bool, strict: bool, request: Option<&Head>) {
    let text = written(head);
    let given = given(head);
    if strict {
        let mut over = Head::default();
        over.input_mut().extend_from_slice(&text);
        let parsed = match head.kind() {
            Kind::Request => over.parse_request(&Limits::default()),
            Kind::Response => over.parse_response(&Limits::default()),
        };
        // HTTP/1 has rules of its own for Host, for WebSocket's keys, and for HTTP/2's own limits.
        let exempt = head.kind() == Kind::Request
            && (!head.has_header(b"host") || head.wants_upgrade() || head.len() > 15000);
        if !exempt {
            assert_eq!(parsed, Ok(Some(text.len())), "{:?}", String::from_utf8_lossy(&text));
        }
    }
    let mut again = Head::default();
    let limits = Limits { accept_invalid: !strict, ..Limits::default() };
    let read = match request {
        None => again.read_http2_request(pairs(&given), ends, &limits),
        Some(request) => again.read_http2_response(pairs(&given), ends, request, &limits),
    };
    // A lenient reader takes a Host that no authority may be.
    if strict || read.is_ok() {
        read.expect("accepted once");
        // A Host that stood alone keeps its port; as an authority it loses that of the scheme.
        if head.kind() == Kind::Response || head.authority().is_some() {
            assert_eq!(self::given(&again), given);
        }
    }
    let _ = head.strip_hop_by_hop();
    let _ = head.set_connection(false, Version::Http11);
    let _ = head.set_path(b"/x y");
    let _ = head.set_query(b"z");
    let _ = head.say_no_content();
    let _ = head.restore_framing();
    written(head);
    let _ = head.set_target(b"/t");
    written(head);
}

fn written(head: &Head) -> Vec<u8> {
    let mut out = Vec::new();
    head.write_to(&mut out);
    assert_eq!(out.len(), head.len());
    out
}

fn given(head: &Head) -> Pairs {
    let mut out = Pairs::new();
    let mut add = |name: &[u8], value: &[u8]| out.push((name.to_vec(), value.to_vec()));
    if head.kind() == Kind::Request {
        let pseudo = head.http2_request(true);
        add(b":method", pseudo.method);
        let rest: [(&[u8], _); 4] = [
            (b":scheme", pseudo.scheme),
            (b":authority", pseudo.authority),
            (b":path", pseudo.path),
            (b":protocol", pseudo.protocol),
        ];
        for (name, value) in rest {
            if let Some(value) = value {
                add(name, value);
            }
        }
    } else {
        add(b":status", head.http2_status().to_string().as_bytes());
    }
    head.http2_fields(add);
    out
}
