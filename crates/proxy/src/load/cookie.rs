//! `cookie` and `dynamic-cookie-key`.

use std::sync::LazyLock;
use std::time::Duration;

use telamon_config::{Args, Keyword, Sections, Table};

use super::draft::ProxyContext;
use super::mistake::ProxyMistake;
use crate::model::{CookieMode, PersistenceCookie};

#[cfg(test)]
mod tests;

type K = Keyword<ProxyContext>;
type C = Keyword<CookieDraft>;

const ANY: Sections = Sections::PROXIES;
const BACK: Sections = Sections::BACKS;

pub(super) const KEYWORDS: &[K] = &[
    K::works(
        "cookie",
        ANY,
        "cookie <name> { insert | rewrite | prefix } [options]",
        "the cookie that keeps a client at its server",
        |proxy, args| {
            if !proxy.has_side(args, BACK) {
                return;
            }
            let Some(name) = args.next("the name of a cookie") else { return };
            if let Some(bad) = name.bytes.iter().find(|&&b| !is_cookie_name(b)) {
                let expected = format!("a name without {:?}", char::from(*bad));
                return args.bad(name, "cookie name", expected);
            }
            let mut draft = CookieDraft::default();
            args.each(&OPTIONS, &mut draft);
            if let Some(why) = draft.conflict() {
                let title = why.to_owned();
                let help = "choose one of `insert`, `rewrite` and `prefix`; `indirect` and `preserve` go with `insert`";
                return args.fail(args.at(), ProxyMistake::Says { title, help }.into());
            }
            if !args.failed() {
                proxy.draft.dynamic_cookies.enabled = draft.dynamic;
                proxy.draft.cookie = Some(draft.build(name.bytes));
                proxy.own.cookie_at = Some(args.at());
            }
        },
    ),
    K::works(
        "dynamic-cookie-key",
        ANY,
        "dynamic-cookie-key <key>",
        "the secret that `cookie ... dynamic` makes values with",
        |proxy, args| {
            if proxy.has_side(args, BACK)
                && let Some(key) = args.next("a key")
            {
                proxy.draft.dynamic_cookies.key = Some(key.bytes.into());
            }
        },
    ),
];

pub(super) static OPTIONS: LazyLock<Table<CookieDraft>> =
    LazyLock::new(|| Table::new("cookie option", &[OPTION_KEYWORDS]));

/// A row for a plain switch.
macro_rules! switch {
    ($name:literal, $field:ident, $doc:literal) => {
        C::works($name, ANY, $name, $doc, |cookie, _| cookie.$field = true)
    };
}

const OPTION_KEYWORDS: &[C] = &[
    switch!("insert", insert, "the proxy sets it"),
    switch!("rewrite", rewrite, "servers set it, and the proxy puts its value in"),
    switch!("prefix", prefix, "servers set it, and the proxy puts its value before theirs"),
    switch!("indirect", indirect, "servers do not see it, and it is set only where it changes"),
    switch!("nocache", nocache, "answers that set it are marked `cache-control: private`"),
    switch!("postonly", postonly, "it is set in answers to POST alone"),
    switch!("preserve", preserve, "what a server sets by itself stays"),
    switch!("httponly", httponly, "scripts in the browser do not see it"),
    switch!("secure", secure, "browsers send it over TLS alone"),
    switch!("dynamic", dynamic, "values are made of `dynamic-cookie-key` and the server's address"),
    C::works(
        "domain",
        ANY,
        "domain <domain>",
        "the domain it is for; may be repeated",
        |cookie, args| {
            const EXPECTED: &str = "letters, digits, `.`, `-` and `_`";
            let Some(domain) = args.next("a domain") else { return };
            let fits = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
            if domain.bytes.is_empty() || !domain.bytes.iter().all(fits) {
                return args.bad(domain, "domain", EXPECTED);
            }
            if !domain.bytes.contains(&b'.') {
                let title = format!("domain `{}` has no dot inside", domain.text);
                let help = "browsers may refuse such a cookie (RFC 6265, section 5.2.3)";
                args.warn(domain.at, ProxyMistake::Says { title, help }.into());
            }
            cookie.domains.push(domain.bytes.into());
        },
    ),
    C::works(
        "maxidle",
        ANY,
        "maxidle <time>",
        "how long it is good without being used",
        |cookie, args| {
            cookie.maxidle = whole_seconds(args);
        },
    ),
    C::works("maxlife", ANY, "maxlife <time>", "how long it is good in all", |cookie, args| {
        cookie.maxlife = whole_seconds(args);
    }),
    C::works("attr", ANY, "attr <text>", "a further attribute; may be repeated", |cookie, args| {
        let Some(text) = args.next("an attribute") else { return };
        if text.bytes.iter().any(|&b| b.is_ascii_control() || b == b';') {
            return args.bad(text, "attribute", "a text without `;` and control characters");
        }
        cookie.attributes.push(text.bytes.into());
    }),
];

/// A `cookie` line while it is read.
#[derive(Default)]
pub(super) struct CookieDraft {
    insert: bool,
    rewrite: bool,
    prefix: bool,
    indirect: bool,
    nocache: bool,
    postonly: bool,
    preserve: bool,
    httponly: bool,
    secure: bool,
    dynamic: bool,
    domains: Vec<Box<[u8]>>,
    attributes: Vec<Box<[u8]>>,
    maxidle: Option<Duration>,
    maxlife: Option<Duration>,
}

impl CookieDraft {
    /// Words that do not go together.
    fn conflict(&self) -> Option<&'static str> {
        let modes = [self.insert, self.rewrite, self.prefix];
        if modes.into_iter().filter(|set| *set).count() > 1 {
            Some("`insert`, `rewrite` and `prefix` exclude one another")
        } else if self.rewrite && self.indirect {
            Some("`rewrite` and `indirect` exclude one another")
        } else if self.preserve && !self.insert && !self.indirect {
            Some("`preserve` without `insert` or `indirect`")
        } else {
            None
        }
    }

    fn build(self, name: &[u8]) -> PersistenceCookie {
        let mut attributes = Vec::new();
        let mut add = |name: &[u8], value: &[u8]| {
            attributes.extend_from_slice(b"; ");
            attributes.extend_from_slice(name);
            attributes.extend_from_slice(value);
        };
        self.domains.iter().for_each(|domain| add(b"domain=", domain));
        if self.httponly {
            add(b"HttpOnly", b"");
        }
        if self.secure {
            add(b"Secure", b"");
        }
        self.attributes.iter().for_each(|attribute| add(attribute, b""));
        let mode = match (self.insert, self.rewrite, self.prefix) {
            (true, ..) => CookieMode::Insert,
            (_, true, _) => CookieMode::Rewrite,
            (.., true) => CookieMode::Prefix,
            _ => CookieMode::Passive,
        };
        PersistenceCookie {
            name: name.into(),
            mode,
            indirect: self.indirect,
            nocache: self.nocache,
            postonly: self.postonly,
            preserve: self.preserve,
            attributes: attributes.into(),
            maxidle: self.maxidle.filter(|time| !time.is_zero()),
            maxlife: self.maxlife.filter(|time| !time.is_zero()),
        }
    }
}

/// A time in seconds unless it has a suffix, rounded up to whole ones.
fn whole_seconds(args: &mut Args<'_>) -> Option<Duration> {
    let token = args.peek();
    let time = args.long_duration_secs()?;
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    if seconds > SECONDS_MAX
        && let Some(token) = token
    {
        args.bad(token, "time", format!("at most {SECONDS_MAX}s"));
        return None;
    }
    Some(Duration::from_secs(seconds))
}

/// What may stand in the name of a cookie: what a `Cookie` line can name.
fn is_cookie_name(b: u8) -> bool {
    b.is_ascii_graphic() && !b"=,;".contains(&b)
}

/// As in HAProxy; some 68 years.
const SECONDS_MAX: u64 = i32::MAX as u64;
