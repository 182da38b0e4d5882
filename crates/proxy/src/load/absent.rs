//! What HAProxy knows and Telamon does not yet: keywords of proxies, and sections.

use telamon_config::{ConfigErrorKind, Diagnostics, Keyword, Section, Sections};

use super::draft::ProxyContext;

type K = Keyword<ProxyContext>;

const ANY: Sections = Sections::PROXIES;
const BACKS: Sections = Sections::BACKS;
const NAMED: Sections = Sections::PROXIES.without(Sections::DEFAULTS);

pub(super) const KEYWORDS: &[K] = &[
    K::not_yet("compression algo", ANY),
    K::not_yet("compression algo-req", ANY).since("2.8"),
    K::not_yet("compression algo-res", ANY).since("2.8"),
    K::not_yet("compression direction", ANY).since("2.8"),
    K::not_yet("compression minsize-req", ANY).since("3.2"),
    K::not_yet("compression minsize-res", ANY).since("3.2"),
    K::not_yet("compression offload", ANY),
    K::not_yet("compression type", ANY),
    K::not_yet("compression type-req", ANY).since("2.8"),
    K::not_yet("compression type-res", ANY).since("2.8"),
    K::not_yet("email-alert from", ANY),
    K::not_yet("email-alert level", ANY),
    K::not_yet("email-alert mailers", ANY),
    K::not_yet("email-alert myhostname", ANY),
    K::not_yet("email-alert to", ANY),
    K::not_yet_guard("filter", NAMED),
    K::not_yet("persist rdp-cookie", BACKS.and(Sections::DEFAULTS)),
    K::not_yet("persist rdp-cookie(", BACKS.and(Sections::DEFAULTS)),
    K::not_yet_guard("use-fcgi-app", BACKS),
    K::not_yet("log-steps", ANY).since("3.1"),
    K::not_yet_guard("force-be-switch", NAMED).since("3.3"),
    K::not_yet("hash-preserve-affinity", ANY).since("3.0"),
];

/// Says what sections that are not there yet come to.
pub(super) fn sections(sections: &[Section], diagnostics: &mut Diagnostics) {
    for section in sections {
        let why = match section.spec.bit {
            Sections::MAILERS => "nothing sends mail yet: `email-alert` would",
            Sections::RING => "nothing writes to it yet: `log ring@` would",
            Sections::CACHE => "nothing uses it yet: `http-request cache-use` would",
            Sections::FCGI_APP => "nothing uses it yet: `use-fcgi-app` would",
            Sections::NAMESPACE_LIST => "nothing uses it yet: `namespace` would",
            Sections::PROGRAM | Sections::LOG_FORWARD | Sections::PEERS => {
                let keyword = section.keyword().to_owned();
                let kind = ConfigErrorKind::NotYet { keyword, guards_access: false };
                diagnostics.report(section.header().keyword().at, kind);
                continue;
            }
            _ => continue,
        };
        let kind = ConfigErrorKind::NoEffect { keyword: section.keyword().to_owned(), why };
        diagnostics.report(section.header().keyword().at, kind);
    }
}
