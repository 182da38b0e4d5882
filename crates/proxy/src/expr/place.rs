//! Where an expression runs, and what exists there.

/// The rule set or line that an expression belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    TcpRequestConnection,
    TcpRequestSession,
    TcpRequestContent,
    HttpRequest,
    UseBackend,
    UseServer,
    /// `balance hash` and its kin.
    Balance,
    /// `stick on`, `stick match`, `stick store-request`.
    StickRequest,
    /// `stick store-response`.
    StickResponse,
    /// `force-persist`, `ignore-persist`.
    PersistRule,
    /// `source … usesrc`, `server … sni`.
    ServerConnect,
    TcpResponseContent,
    HttpResponse,
    Log,
    /// `tcp-check`, `http-check`.
    Check,
    /// `global`.
    Configuration,
    /// The socket.
    Socket,
}

/// What a fetch reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Constant,
    Internal,
    Listener,
    Frontend,
    ClientAddress,
    ClientConnection,
    /// Counters of stick tables.
    Tracked,
    RequestBuffer,
    /// Gone once the request is sent.
    RequestHeaders,
    /// Kept until the end.
    Request,
    RequestBody,
    Backend,
    Server,
    ServerAddress,
    ServerConnection,
    ResponseBuffer,
    ResponseHeaders,
    /// Kept until the end.
    Response,
    ResponseBody,
    /// Request or response headers, whichever is being looked at.
    EitherHeaders,
    /// Request or response buffer, whichever is being looked at.
    EitherBuffer,
}

impl Place {
    /// The points of a stream's life at which the rules of this place run, as bits.
    fn points(self, frontend: bool, backend: bool) -> u32 {
        let (front, back) = match self {
            Self::TcpRequestConnection => (CONNECTION, 0),
            Self::TcpRequestSession => (SESSION, 0),
            Self::TcpRequestContent => (FRONT_CONTENT, BACK_CONTENT),
            Self::HttpRequest => (FRONT_REQUEST, BACK_REQUEST),
            Self::UseBackend => (SET_BACKEND, 0),
            Self::UseServer | Self::Balance | Self::StickRequest | Self::PersistRule => {
                (0, SET_SERVER)
            }
            Self::ServerConnect => (0, CONNECT),
            Self::TcpResponseContent => (FRONT_RES_CONTENT, BACK_RES_CONTENT),
            Self::HttpResponse | Self::StickResponse => (FRONT_RESPONSE, BACK_RESPONSE),
            Self::Log => return LOG,
            Self::Check => return CHECK,
            Self::Configuration => return CONFIGURATION,
            Self::Socket => return SOCKET,
        };
        if !frontend && !backend {
            // `defaults`: whatever will inherit it.
            return front | back;
        }
        (if frontend { front } else { 0 }) | (if backend { back } else { 0 })
    }

    /// The words for it in messages.
    pub(crate) fn describe(self, frontend: bool, backend: bool) -> String {
        let rules = match self {
            Self::TcpRequestConnection => "tcp-request connection rules",
            Self::TcpRequestSession => "tcp-request session rules",
            Self::TcpRequestContent => "tcp-request content rules",
            Self::HttpRequest => "http-request rules",
            Self::UseBackend => "use_backend rules",
            Self::UseServer => "use-server rules",
            Self::PersistRule => "force-persist and ignore-persist rules",
            Self::Balance => return "`balance`".to_owned(),
            Self::StickRequest => return "stick rules of requests".to_owned(),
            Self::StickResponse => return "`stick store-response`".to_owned(),
            Self::ServerConnect => "the choice of a source address",
            Self::TcpResponseContent => "tcp-response content rules",
            Self::HttpResponse => "http-response rules",
            Self::Log => return "logs".to_owned(),
            Self::Check => return "health checks".to_owned(),
            Self::Configuration => return "the global section".to_owned(),
            Self::Socket => return "socket commands".to_owned(),
        };
        match (frontend, backend) {
            (true, false) => format!("{rules} of a frontend"),
            (false, true) => format!("{rules} of a backend"),
            _ => rules.to_owned(),
        }
    }
}

impl Source {
    /// Whether there is something to read at the place.
    pub(crate) fn is_available(self, place: Place, frontend: bool, backend: bool) -> bool {
        place.points(frontend, backend) & self.points() != 0
    }

    /// Whether it is bytes as they came, which a proxy of `mode http` takes apart before anything looks at them.
    pub(crate) fn is_raw(self) -> bool {
        matches!(self, Self::RequestBuffer | Self::ResponseBuffer | Self::EitherBuffer)
    }

    /// Whether it has to be waited for: what the client sends.
    pub(crate) fn is_sent(self) -> bool {
        matches!(
            self,
            Self::RequestBuffer
                | Self::RequestHeaders
                | Self::Request
                | Self::RequestBody
                | Self::EitherHeaders
                | Self::EitherBuffer
        )
    }

    /// The words for it in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Constant => "configuration",
            Self::Internal => "internal state",
            Self::Listener => "listener",
            Self::Frontend => "frontend",
            Self::ClientAddress => "client address",
            Self::ClientConnection => "client-side connection",
            Self::Tracked => "tracked counters",
            Self::RequestBuffer => "request buffer",
            Self::RequestHeaders => "HTTP request headers",
            Self::Request => "HTTP request",
            Self::RequestBody => "HTTP request body",
            Self::Backend => "backend",
            Self::Server => "server",
            Self::ServerAddress => "server address",
            Self::ServerConnection => "server-side connection",
            Self::ResponseBuffer => "response buffer",
            Self::ResponseHeaders => "HTTP response headers",
            Self::Response => "HTTP response",
            Self::ResponseBody => "HTTP response body",
            Self::EitherHeaders => "HTTP headers",
            Self::EitherBuffer => "request or response buffer",
        }
    }

    /// When it is there, as bits. Source: HAProxy configuration manual, 7.3.
    fn points(self) -> u32 {
        const FROM_CONTENT: u32 = FRONT_CONTENT
            | FRONT_REQUEST
            | SET_BACKEND
            | BACK_CONTENT
            | BACK_REQUEST
            | SET_SERVER
            | CONNECT;
        const RESPONSES: u32 =
            FRONT_RES_CONTENT | FRONT_RESPONSE | BACK_RES_CONTENT | BACK_RESPONSE;
        const STREAM: u32 = FROM_CONTENT | RESPONSES | LOG;
        const ALWAYS: u32 = CONNECTION | SESSION | STREAM;
        const BACK: u32 =
            BACK_CONTENT | BACK_REQUEST | SET_SERVER | CONNECT | RESPONSES | LOG | CHECK;
        match self {
            Self::Constant => u32::MAX,
            Self::Internal => ALWAYS | CHECK | SOCKET,
            Self::ClientAddress => ALWAYS | CHECK,
            Self::Listener | Self::Frontend | Self::Tracked => ALWAYS,
            Self::ClientConnection => SESSION | STREAM,
            Self::RequestBuffer | Self::RequestHeaders => FROM_CONTENT,
            Self::Request => STREAM,
            // A body may be waited for in the header rules (`wait-for-body`,
            // `option http-buffer-request`).
            Self::RequestBody => FROM_CONTENT,
            Self::Backend => BACK,
            Self::Server => CONNECT | RESPONSES | LOG | CHECK,
            Self::ServerAddress | Self::ServerConnection => RESPONSES | LOG | CHECK,
            Self::ResponseBuffer | Self::ResponseHeaders | Self::ResponseBody => RESPONSES | CHECK,
            Self::Response => RESPONSES | LOG | CHECK,
            Self::EitherHeaders | Self::EitherBuffer => FROM_CONTENT | RESPONSES | CHECK,
        }
    }
}

const CONNECTION: u32 = 1;
const SESSION: u32 = 1 << 1;
const FRONT_CONTENT: u32 = 1 << 2;
const FRONT_REQUEST: u32 = 1 << 3;
const SET_BACKEND: u32 = 1 << 4;
const BACK_CONTENT: u32 = 1 << 5;
const BACK_REQUEST: u32 = 1 << 6;
const SET_SERVER: u32 = 1 << 7;
const CONNECT: u32 = 1 << 8;
const BACK_RES_CONTENT: u32 = 1 << 9;
const BACK_RESPONSE: u32 = 1 << 10;
const FRONT_RES_CONTENT: u32 = 1 << 11;
const FRONT_RESPONSE: u32 = 1 << 12;
const LOG: u32 = 1 << 13;
const CHECK: u32 = 1 << 14;
const CONFIGURATION: u32 = 1 << 15;
const SOCKET: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_cannot_be_read() {
        let at = |source: Source, place| source.is_available(place, true, false);
        assert!(at(Source::RequestHeaders, Place::HttpRequest));
        assert!(!at(Source::RequestHeaders, Place::HttpResponse));
        assert!(!at(Source::RequestHeaders, Place::TcpRequestConnection));
        assert!(!at(Source::RequestHeaders, Place::Log));
        assert!(at(Source::Request, Place::Log));
        assert!(!at(Source::ResponseHeaders, Place::HttpRequest));
        assert!(at(Source::Response, Place::Log));
        assert!(!at(Source::Backend, Place::HttpRequest));
        assert!(Source::Backend.is_available(Place::HttpRequest, true, true));
        assert!(!at(Source::Internal, Place::Configuration));
        assert!(at(Source::Constant, Place::Configuration));
    }
}
