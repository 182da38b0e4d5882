//! Answers that the balancer gives itself: HAProxy's error pages to the byte, and others built
//! on the spot.

use crate::bytes::push_u64;

/// The answer with which HAProxy denies or fails a request that it has understood, to the byte:
/// header names in lower case, and `connection: close` only where the page itself says so (400,
/// 408). `None` for a status without a page.
///
/// To add fields to it, put the bytes in a [`Head`](crate::Head) and parse them. With
/// `connection: close` at its end it is [`closing_error_response`].
#[must_use]
pub fn error_response(status: u16) -> Option<&'static [u8]> {
    page(status).map(|page| page.usual.as_bytes())
}

/// As [`error_response`], with `connection: close` as the last field.
#[must_use]
pub fn closing_error_response(status: u16) -> Option<&'static [u8]> {
    page(status).map(|page| page.closing.as_bytes())
}

/// The answer HAProxy sends from its parser, for a request that it could not read or that did
/// not come in time, to the byte: the same page with other spelling and order of its fields.
#[must_use]
pub fn refusal(status: u16) -> Option<&'static [u8]> {
    page(status).map(|page| page.refusal.as_bytes())
}

/// The body of an error page alone.
#[must_use]
pub fn error_body(status: u16) -> Option<&'static [u8]> {
    let page = error_response(status)?;
    memchr::memmem::find(page, b"\r\n\r\n").map(|at| &page[at + 4..])
}

/// The statuses that have an error page, in order.
pub fn error_statuses() -> impl Iterator<Item = u16> {
    PAGES.iter().map(|page| page.status)
}

/// The reason phrase HAProxy gives a status when it is set by a rule; for those it has none for,
/// that of the class. Its own redirects and error pages say otherwise in places ("Found").
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    match REASONS.binary_search_by_key(&status, |reason| reason.0) {
        Ok(at) => REASONS[at].1,
        Err(_) => match status / 100 {
            1 => "Informational",
            2 => "Success",
            3 => "Redirection",
            4 => "Client Error",
            5 => "Server Error",
            _ => "Other",
        },
    }
}

/// Builds an answer: status line, `content-length`, then the fields in the order given.
///
/// ```
/// # use telamon_http_proto::ResponseBuilder;
/// let mut out = Vec::new();
/// ResponseBuilder::new(302).reason("Found").header("location", b"/login").write_to(&mut out);
/// assert_eq!(out, b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: /login\r\n\r\n");
/// ```
#[derive(Clone, Debug)]
pub struct ResponseBuilder<'b> {
    status: u16,
    reason: &'static str,
    fields: Vec<u8>,
    body: &'b [u8],
    body_sent: bool,
}

impl<'b> ResponseBuilder<'b> {
    /// An answer with that status, no further fields and no body. A status outside 100 to 999
    /// becomes 500.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let status = if (100..=999).contains(&status) { status } else { 500 };
        Self {
            status,
            reason: reason_phrase(status),
            fields: Vec::new(),
            body: b"",
            body_sent: true,
        }
    }

    /// Sets the reason phrase; without it, [`reason_phrase`] gives one.
    #[must_use]
    pub fn reason(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }

    /// Adds a field. CR, LF and NUL in the value become spaces.
    #[must_use]
    pub fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.fields.extend_from_slice(name.as_bytes());
        self.fields.extend_from_slice(b": ");
        self.fields
            .extend(value.iter().map(|&b| if matches!(b, b'\r' | b'\n' | 0) { b' ' } else { b }));
        self.fields.extend_from_slice(b"\r\n");
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: &'b [u8]) -> Self {
        self.body = body;
        self
    }

    /// For the answer to HEAD: the length of the body is told, the body is not sent.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.body_sent = false;
        self
    }

    /// Appends the answer as HTTP/1.1. With 1xx, 204 and 304 neither length nor body is sent.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let bodyless = matches!(self.status, 100..=199 | 204 | 304);
        out.extend_from_slice(b"HTTP/1.1 ");
        push_u64(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(self.reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        if !bodyless {
            out.extend_from_slice(b"content-length: ");
            push_u64(out, self.body.len() as u64);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(&self.fields);
        out.extend_from_slice(b"\r\n");
        if self.body_sent && !bodyless {
            out.extend_from_slice(self.body);
        }
    }
}

struct Page {
    status: u16,
    usual: &'static str,
    closing: &'static str,
    refusal: &'static str,
}

fn page(status: u16) -> Option<&'static Page> {
    PAGES.binary_search_by_key(&status, |page| page.status).ok().map(|at| &PAGES[at])
}

macro_rules! page {
    (@start $status:literal $reason:literal) => {
        concat!("HTTP/1.1 ", $status, " ", $reason, "\r\n")
    };
    (@body $status:literal $reason:literal $text:literal) => {
        concat!("\r\n<html><body><h1>", $status, " ", $reason, "</h1>\n", $text, "\n</body></html>\n")
    };
    (@usual $status:literal $reason:literal $len:literal $text:literal $connection:literal) => {
        concat!(
            page!(@start $status $reason),
            "content-length: ", $len, "\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n", $connection,
            page!(@body $status $reason $text)
        )
    };
    (@refusal $status:literal $reason:literal $len:literal $text:literal $connection:literal) => {
        concat!(
            page!(@start $status $reason),
            "Content-length: ", $len, "\r\nCache-Control: no-cache\r\n", $connection, "Content-Type: text/html\r\n",
            page!(@body $status $reason $text)
        )
    };
    ($status:literal, $reason:literal, $len:literal, closing, $text:literal) => {
        Page {
            status: $status,
            usual: page!(@usual $status $reason $len $text "connection: close\r\n"),
            closing: page!(@usual $status $reason $len $text "connection: close\r\n"),
            refusal: page!(@refusal $status $reason $len $text "Connection: close\r\n"),
        }
    };
    ($status:literal, $reason:literal, $len:literal, staying, $text:literal) => {
        Page {
            status: $status,
            usual: page!(@usual $status $reason $len $text ""),
            closing: page!(@usual $status $reason $len $text "connection: close\r\n"),
            refusal: page!(@refusal $status $reason $len $text ""),
        }
    };
}

/// Texts and lengths as Debian's HAProxy 2.6 sends them, captured with `http-request deny
/// deny_status N`; sorted by status. 407 says "Unauthorized" and 501 begins with a full stop there.
static PAGES: &[Page] = &[
    page!(200, "OK", "58", staying, "Service ready."),
    page!(400, "Bad request", "90", closing, "Your browser sent an invalid request."),
    page!(
        401,
        "Unauthorized",
        "112",
        staying,
        "You need a valid user and password to access this content."
    ),
    page!(403, "Forbidden", "93", staying, "Request forbidden by administrative rules."),
    page!(404, "Not Found", "83", staying, "The resource could not be found."),
    page!(
        405,
        "Method Not Allowed",
        "146",
        staying,
        "A request was made of a resource using a request method not supported by that resource"
    ),
    page!(
        407,
        "Unauthorized",
        "112",
        staying,
        "You need a valid user and password to access this content."
    ),
    page!(
        408,
        "Request Time-out",
        "110",
        closing,
        "Your browser didn't send a complete request in time."
    ),
    page!(
        410,
        "Gone",
        "114",
        staying,
        "The resource is no longer available and will not be available again."
    ),
    page!(
        413,
        "Payload Too Large",
        "106",
        staying,
        "The request entity exceeds the maximum allowed."
    ),
    page!(
        421,
        "Misdirected Request",
        "104",
        staying,
        "Request sent to a non-authoritative server."
    ),
    page!(
        422,
        "Unprocessable Content",
        "116",
        staying,
        "The server cannot process the contained instructions."
    ),
    page!(425, "Too Early", "80", staying, "Your browser sent early data."),
    page!(
        429,
        "Too Many Requests",
        "117",
        staying,
        "You have sent too many requests in a given amount of time."
    ),
    page!(500, "Internal Server Error", "97", staying, "An internal server error occurred."),
    page!(
        501,
        "Not Implemented",
        "136",
        staying,
        ".The server does not support the functionality required to fulfill the request."
    ),
    page!(
        502,
        "Bad Gateway",
        "107",
        staying,
        "The server returned an invalid or incomplete response."
    ),
    page!(
        503,
        "Service Unavailable",
        "107",
        staying,
        "No server is available to handle this request."
    ),
    page!(504, "Gateway Time-out", "92", staying, "The server didn't respond in time."),
    // HAProxy has no 505: it takes any version. Ours has the same shape.
    page!(
        505,
        "HTTP Version Not Supported",
        "113",
        closing,
        "The server speaks HTTP/1.0 and HTTP/1.1 here."
    ),
];

/// Sorted by status.
static REASONS: &[(u16, &str)] = &[
    (100, "Continue"),
    (101, "Switching Protocols"),
    (102, "Processing"),
    (200, "OK"),
    (201, "Created"),
    (202, "Accepted"),
    (203, "Non-Authoritative Information"),
    (204, "No Content"),
    (205, "Reset Content"),
    (206, "Partial Content"),
    (207, "Multi-Status"),
    (226, "IM Used"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Moved Temporarily"),
    (303, "See Other"),
    (304, "Not Modified"),
    (305, "Use Proxy"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Time-out"),
    (409, "Conflict"),
    (410, "Gone"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Requested range unsatisfiable"),
    (417, "Expectation failed"),
    (418, "I'm a teapot"),
    (421, "Misdirected Request"),
    (422, "Unprocessable Content"),
    (423, "Locked"),
    (424, "Method failure"),
    (425, "Too Early"),
    (426, "Upgrade Required"),
    (428, "Precondition Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (451, "Unavailable For Legal Reasons"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway or Proxy Error"),
    (503, "Service Unavailable"),
    (504, "Gateway Time-out"),
    (505, "HTTP Version not supported"),
    (506, "Variant also negotiate"),
    (507, "Insufficient storage"),
    (508, "Loop detected"),
    (510, "Not extended"),
    (511, "Network authentication required"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BodyLength, Head, Limits, Method};

    #[test]
    fn every_page_is_a_response_of_the_length_it_tells() {
        for status in error_statuses() {
            for bytes in [error_response(status), closing_error_response(status), refusal(status)] {
                let mut head = Head::default();
                head.input_mut().extend_from_slice(bytes.unwrap());
                head.parse_response(&Limits::default()).unwrap().unwrap();
                assert_eq!(head.status(), status);
                let len = head.remaining().len() as u64;
                assert_eq!(
                    head.response_body(Method::Get, false),
                    Ok(BodyLength::Length(len)),
                    "{status}"
                );
                assert_eq!(Some(head.remaining()), error_body(status));
            }
        }
        assert_eq!(error_statuses().count(), 20);
        assert_eq!(error_response(418), None);
    }

    #[test]
    fn pages_are_spelled_as_haproxy_does() {
        assert_eq!(
            error_response(503),
            Some(
                &b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 107\r\ncache-control: no-cache\r\n\
                content-type: text/html\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\n\
                No server is available to handle this request.\n</body></html>\n"[..]
            )
        );
        assert_eq!(
            refusal(400),
            Some(
                &b"HTTP/1.1 400 Bad request\r\nContent-length: 90\r\nCache-Control: no-cache\r\n\
                Connection: close\r\nContent-Type: text/html\r\n\r\n<html><body><h1>400 Bad request</h1>\n\
                Your browser sent an invalid request.\n</body></html>\n"[..]
            )
        );
    }

    #[test]
    fn built_answers() {
        let mut out = Vec::new();
        ResponseBuilder::new(200).header("a", b"b\r\nc").body(b"xyz").write_to(&mut out);
        assert_eq!(out, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\na: b  c\r\n\r\nxyz");
        out.clear();
        ResponseBuilder::new(200).body(b"xyz").without_body().write_to(&mut out);
        assert_eq!(out, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n");
        out.clear();
        ResponseBuilder::new(204).body(b"xyz").write_to(&mut out);
        assert_eq!(out, b"HTTP/1.1 204 No Content\r\n\r\n");
    }
}
