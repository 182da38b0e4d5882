//! HTTP/1 heads and chunked bodies from arbitrary bytes.
//!
//! The first byte holds options, the second says where the rest is cut. Whatever comes: no
//! panic; the result does not depend on the cut; a head that is accepted is written to bytes
//! that are accepted, strictly, and written the same again; edits keep the count of bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use telamon_http_proto::{
    BodyLength, ChunkedDecoder, Head, Kind, Limits, Method, ParseError, Version,
};

fuzz_target!(|data: &[u8]| {
    let [options, cut, input @ ..] = data else { return };
    let kind = if options & 1 == 0 { Kind::Request } else { Kind::Response };
    let limits = Limits {
        accept_invalid: options & 2 != 0,
        keep_case: options & 4 != 0,
        headers_max: if options & 8 != 0 { 4 } else { 101 },
        ..Limits::default()
    };
    let (a, b) = input.split_at(input.len() * usize::from(*cut) / 255);

    let whole = parse(kind, &[input], &limits);
    let cut = parse(kind, &[a, b], &limits);
    match (&whole, &cut) {
        (Ok(Some(whole)), Ok(Some(cut))) => {
            assert_eq!(written(whole), written(cut));
            assert_eq!(whole.remaining(), cut.remaining());
        }
        (Ok(None), Ok(None)) => {}
        (Err(whole), Err(cut)) => assert_eq!(whole, cut),
        _ => panic!("{whole:?} in one piece, {cut:?} in two"),
    }
    if let Ok(Some(mut head)) = whole {
        let text = written(&head);
        let again = parse(kind, &[&text], &limits).expect("accepted once").expect("complete");
        assert_eq!(written(&again), text);
        let body = match kind {
            Kind::Request => Ok(head.request_body()),
            Kind::Response => head.response_body(Method::Get, false),
        };
        if body == Ok(BodyLength::Chunked) {
            chunked(head.remaining(), cut_at(head.remaining(), options));
        }
        edit(&mut head, b);
    }
    chunked(input, a.len());
});

fn parse(kind: Kind, pieces: &[&[u8]], limits: &Limits) -> Result<Option<Head>, ParseError> {
    let mut head = Head::default();
    for piece in pieces {
        head.input_mut().extend_from_slice(piece);
        match kind {
            Kind::Request => head.parse_request(limits)?,
            Kind::Response => head.parse_response(limits)?,
        };
    }
    Ok(head.is_complete().then_some(head))
}

fn written(head: &Head) -> Vec<u8> {
    let mut out = Vec::new();
    head.write_to(&mut out);
    assert_eq!(out.len(), head.len());
    out
}

/// What rules do, with whatever bytes come; the strictest reader must accept the result if it
/// accepted the original.
fn edit(head: &mut Head, text: &[u8]) {
    let strict = parse(head.kind(), &[&written(head)], &Limits::default()).is_ok();
    let _ = head.strip_hop_by_hop();
    let _ = head.set_header(b"X-Added", b"1");
    let _ = head.replace_value(1, b"replaced");
    let _ = head.set_header(b"content-length", text);
    let _ = head.restore_framing();
    let _ = head.set_connection(text.len() % 2 == 0, Version::Http10);
    let _ = head.set_query(b"a=b c");
    let out = written(head);
    let replaced_host = head.value_at(1) == Some(b"replaced");
    if strict && !replaced_host {
        parse(head.kind(), &[&out], &Limits::default()).expect("still a head");
    }
    let _ = head.set_path(text);
    let _ = head.add_header(b"x", text);
    written(head);
}

fn cut_at(input: &[u8], options: &u8) -> usize {
    input.len() * usize::from(options >> 4) / 15
}

fn chunked(input: &[u8], cut: usize) {
    let mut whole = ChunkedDecoder::new();
    let expected = whole.relay(input);
    let mut parts = ChunkedDecoder::new();
    let (a, b) = input.split_at(cut);
    let got = parts.relay(a).and_then(|n| {
        if n < a.len() {
            Ok(n)
        } else {
            parts.relay(b).map(|m| n + m).map_err(|e| ParseError { offset: e.offset + n, ..e })
        }
    });
    assert_eq!(got, expected);
    assert_eq!(
        parts.content_len(),
        if got.is_ok() { whole.content_len() } else { parts.content_len() }
    );
}
