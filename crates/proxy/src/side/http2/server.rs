//! The server's side of an exchange: the request's head goes first, the answer's is waited for.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Uri};
use telamon_http_proto::{BodyLength, Head, Limits, Method, ParseError};

use super::{Framing, Http2, Reader, Stage, Writer, fields, gone, invalid};

/// Why there is no head of an answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    Malformed(ParseError),
    /// The stream or its connection is gone. `unseen` where the server is known to have done nothing with the request.
    Gone {
        unseen: bool,
    },
}

impl Http2 {
    /// A stream that is to begin on a server's connection.
    pub(crate) fn of_server(sender: SendRequest<Bytes>) -> Self {
        let reader = Reader {
            answer: None,
            body: None,
            held: Bytes::new(),
            chunked: false,
            stage: Stage::Content,
        };
        let writer = RefCell::new(Writer::Request(sender));
        Self { reader: RefCell::new(reader), writer, unheard: std::sync::Arc::default() }
    }

    /// Sends the head of the request; `length` says how the bytes of its body are framed when they are written.
    ///
    /// # Errors
    /// `InvalidData` for a head that cannot be said in HTTP/2, or asks for a protocol that the server does not switch to.
    /// Whatever else is wrong shows when the answer is waited for.
    pub(crate) fn send_request(&self, head: &Head, length: BodyLength) -> io::Result<()> {
        let mut writer = self.writer.borrow_mut();
        let Writer::Request(sender) = &mut *writer else { return Err(gone()) };
        let request = request(head)?;
        let Ok((answer, body)) = sender.send_request(request, length == BodyLength::None) else {
            *writer = Writer::Over(None);
            return Ok(());
        };
        self.reader.borrow_mut().answer = Some(answer);
        *writer = match Framing::of(length) {
            Some(framing) => Writer::Body(body, framing),
            None => Writer::Over(Some(body)),
        };
        Ok(())
    }

    /// Reads the next head of the answer to `request` into `head`: an interim one or the last, behind which the body is
    /// read as the head frames it.
    pub(crate) fn poll_answer(
        &self,
        cx: &mut Context<'_>,
        request: &Head,
        head: &mut Head,
        limits: &Limits,
    ) -> Poll<Result<(), Unanswered>> {
        let mut reader = self.reader.borrow_mut();
        // It could not even begin.
        let Some(answer) = &mut reader.answer else {
            return Poll::Ready(Err(Unanswered::Gone { unseen: true }));
        };
        let lost = |error: h2::Error| {
            // GOAWAY without a fault leaves those streams out that the server has not looked at.
            let left_out = error.is_go_away() && error.reason() == Some(Reason::NO_ERROR);
            let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
            Unanswered::Gone { unseen: error.is_remote() && (left_out || refused) }
        };
        if let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
            let interim = interim.map_err(lost)?.into_parts().0;
            let done = read(head, &interim, false, request, limits);
            return Poll::Ready(done.map_err(Unanswered::Malformed));
        }
        let Poll::Ready(answer) = Pin::new(answer).poll(cx) else { return Poll::Pending };
        let (parts, body) = answer.map_err(lost)?.into_parts();
        let done = read(head, &parts, body.is_end_stream(), request, limits);
        if done.is_ok() {
            reader.take(body, head, request);
        }
        Poll::Ready(done.map_err(Unanswered::Malformed))
    }
}

impl Reader {
    fn take(&mut self, body: RecvStream, head: &Head, request: &Head) {
        let length = head.response_body(request.method_kind(), request.wants_upgrade());
        self.chunked = length == Ok(BodyLength::Chunked);
        self.body = Some(body);
        self.answer = None;
    }
}

fn read(
    head: &mut Head,
    parts: &http::response::Parts,
    ends: bool,
    request: &Head,
    limits: &Limits,
) -> Result<(), ParseError> {
    let status = (&b":status"[..], parts.status.as_str().as_bytes());
    let fields =
        parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    head.read_http2_response(std::iter::once(status).chain(fields), ends, request, limits)
}

/// A head of a request as HTTP/2 says it.
fn request(head: &Head) -> io::Result<Request<()>> {
    // HAProxy's default where nothing tells the scheme: it is what browsers say.
    let pseudo = head.http2_request(true);
    let mut request = Request::new(());
    *request.uri_mut() = match (pseudo.scheme, pseudo.authority, pseudo.path) {
        (Some(scheme), Some(authority), Some(path)) => {
            Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build()
        }
        (_, Some(authority), None) => Uri::builder().authority(authority).build(),
        // A request of HTTP/1.0 may name no host.
        (_, _, path) => Uri::builder().path_and_query(path.unwrap_or_default()).build(),
    }
    .map_err(|_| invalid())?;
    if pseudo.authority.is_some() {
        // Else the crate takes it for one of HTTP/1, which need not say where it goes.
        *request.version_mut() = http::Version::HTTP_2;
    }
    *request.method_mut() = http::Method::from_bytes(pseudo.method).map_err(|_| invalid())?;
    if let Some(protocol) = pseudo.protocol {
        let protocol = std::str::from_utf8(protocol).map_err(|_| invalid())?;
        request.extensions_mut().insert(Protocol::from(protocol));
    }
    let mut map = HeaderMap::with_capacity(head.header_count());
    fields(head, &mut map)?;
    *request.headers_mut() = map;
    Ok(request)
}

/// How the body of a request is framed when it is written: a tunnel stays open from the start.
pub(crate) fn request_length(head: &Head) -> BodyLength {
    if head.method_kind() == Method::Connect || head.wants_upgrade() {
        return BodyLength::Tunnel;
    }
    head.request_body()
}
