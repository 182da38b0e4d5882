use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use super::{Server, ServerId};

/// `cookie NAME …`: the cookie that keeps a client at its server. Source: HAProxy configuration manual, `cookie`.
#[derive(Debug, Clone, Default)]
pub struct PersistenceCookie {
    /// Compared byte for byte.
    pub name: Box<[u8]>,
    pub mode: CookieMode,
    /// The cookie is not shown to servers (`insert`), and a server that was asked for by it does not set it again.
    pub indirect: bool,
    /// An answer that sets it and could be cached is marked `private`.
    pub nocache: bool,
    /// It is inserted into answers to POST alone.
    pub postonly: bool,
    /// What a server sets by itself stays.
    pub preserve: bool,
    /// What follows its value and path: domains, `HttpOnly`, `Secure`, further attributes.
    pub attributes: Box<[u8]>,
    /// How long it is good without being used, and in all; in whole seconds.
    pub maxidle: Option<Duration>,
    pub maxlife: Option<Duration>,
}

/// Who sets the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CookieMode {
    /// The servers do, and its value is theirs.
    #[default]
    Passive,
    /// The proxy does.
    Insert,
    /// The servers do, and the proxy puts its value in.
    Rewrite,
    /// The servers do, and the proxy puts its value and `~` before theirs.
    Prefix,
}

impl PersistenceCookie {
    /// Whether the proxy handles it by itself, which log lines then tell of.
    pub fn is_handled(&self) -> bool {
        self.mode != CookieMode::Passive || self.indirect
    }

    /// Whether its value says when it was set or used.
    pub fn is_dated(&self) -> bool {
        self.maxidle.is_some() || self.maxlife.is_some()
    }
}

/// Which servers each written value of the cookie means, so that a look-up costs the same however many there are.
#[derive(Debug, Default)]
pub struct CookieIndex(OnceLock<HashMap<Box<[u8]>, Vec<ServerId>>>);

impl CookieIndex {
    /// The servers whose line has this value, in their order. `servers` are always the same.
    pub(crate) fn written(&self, servers: &[Server], value: &[u8]) -> &[ServerId] {
        let index = self.0.get_or_init(|| {
            let mut index: HashMap<_, Vec<_>> = HashMap::new();
            for server in servers {
                if let Some(value) = &server.written_cookie {
                    index.entry(value.clone()).or_default().push(ServerId(server.index));
                }
            }
            index
        });
        index.get(value).map_or(&[], Vec::as_slice)
    }
}
