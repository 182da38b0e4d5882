//! `send-proxy`, `send-proxy-v2` and their kin.

use telamon_config::{ConfigErrorKind, Keyword};

use super::{HERE, ServerSettings};
use crate::model::SendProxy;

type S = Keyword<ServerSettings>;

/// What a server line has said so far.
#[derive(Debug, Clone, Default)]
pub(in crate::load) struct Draft {
    version_1: bool,
    version_2: bool,
    with_tls: bool,
    with_name: bool,
    options: SendProxy,
    check: bool,
}

impl Draft {
    /// The header of connections that carry traffic.
    pub(in crate::load) fn build(&self) -> Option<SendProxy> {
        let with_tls = self.with_tls || self.with_name;
        let version_2 = self.version_2 || with_tls;
        (self.version_1 || version_2).then_some(SendProxy {
            version_2,
            tls: with_tls || self.options.tls,
            tls_name: self.with_name || self.options.tls_name,
            ..self.options
        })
    }

    /// The header of checks; `own_place` says that they go where the traffic goes.
    pub(in crate::load) fn build_for_checks(&self, own_place: bool) -> Option<SendProxy> {
        let settings = if self.check || own_place { self.build() } else { None };
        settings.or(self.check.then(SendProxy::default))
    }
}

pub(super) const KEYWORDS: &[S] = &[
    S::works(
        "send-proxy",
        HERE,
        "send-proxy",
        "its connections begin with the PROXY protocol's header, which says who the client is",
        |server, _| server.send_proxy.version_1 = true,
    ),
    S::works("no-send-proxy", HERE, "no-send-proxy", "takes back `send-proxy`", |server, _| {
        server.send_proxy.version_1 = false;
    }),
    S::works("send-proxy-v2", HERE, "send-proxy-v2", "the same in version 2", |server, _| {
        server.send_proxy.version_2 = true;
    }),
    S::works(
        "no-send-proxy-v2",
        HERE,
        "no-send-proxy-v2",
        "takes back `send-proxy-v2`",
        |server, _| server.send_proxy.version_2 = false,
    ),
    S::works(
        "send-proxy-v2-ssl",
        HERE,
        "send-proxy-v2-ssl",
        "the same, and whether the client came by TLS",
        |server, _| server.send_proxy.with_tls = true,
    ),
    S::works(
        "no-send-proxy-v2-ssl",
        HERE,
        "no-send-proxy-v2-ssl",
        "takes back `send-proxy-v2-ssl`",
        |server, _| server.send_proxy.with_tls = false,
    ),
    S::works(
        "send-proxy-v2-ssl-cn",
        HERE,
        "send-proxy-v2-ssl-cn",
        "the same, with the name of the client's certificate",
        |server, _| server.send_proxy.with_name = true,
    ),
    S::works(
        "no-send-proxy-v2-ssl-cn",
        HERE,
        "no-send-proxy-v2-ssl-cn",
        "takes back `send-proxy-v2-ssl-cn`",
        |server, _| server.send_proxy.with_name = false,
    ),
    S::works(
        "proxy-v2-options",
        HERE,
        "proxy-v2-options <option>[,<option>]...",
        "what `send-proxy-v2` carries: authority, cert-cn, cert-key, cert-sig, crc32c, ssl, ssl-cipher, unique-id",
        |server, args| {
            let Some(token) = args.next("an option") else { return };
            let options = &mut server.send_proxy.options;
            for word in token.text.split(',') {
                match word {
                    "crc32c" => options.checksum = true,
                    "unique-id" => options.unique_id = true,
                    "ssl" => options.tls = true,
                    "cert-cn" => (options.tls, options.tls_name) = (true, true),
                    "cert-key" => (options.tls, options.tls_key) = (true, true),
                    "cert-sig" => (options.tls, options.tls_signature) = (true, true),
                    "ssl-cipher" => (options.tls, options.tls_cipher) = (true, true),
                    "authority" => options.authority = true,
                    _ => {
                        let known = OPTIONS.into_iter();
                        args.fail(token.at, ConfigErrorKind::unknown("option", word, known));
                        return;
                    }
                }
            }
        },
    ),
    S::works(
        "check-send-proxy",
        HERE,
        "check-send-proxy",
        "checks send the PROXY protocol's header also to a `port` or `addr` of their own",
        |server, _| server.send_proxy.check = true,
    ),
    S::works(
        "no-check-send-proxy",
        HERE,
        "no-check-send-proxy",
        "takes back `check-send-proxy`",
        |server, _| server.send_proxy.check = false,
    ),
];

const OPTIONS: [&str; 8] =
    ["authority", "cert-cn", "cert-key", "cert-sig", "crc32c", "ssl", "ssl-cipher", "unique-id"];
