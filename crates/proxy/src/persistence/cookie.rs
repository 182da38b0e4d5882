//! The cookie that keeps a client at its server: which server a request's names, and what an answer sets.
//!
//! A value is the server's (`cookie VALUE`, or a hash of its address), followed under `maxidle` and `maxlife` by
//! `|LAST` or `|LAST|FIRST`: when it was last set and when first, in units of four seconds, as five digits of base 64.
//! Under `prefix` it is the server's, `~`, and what the server itself has set.

use std::num::NonZeroU64;
use std::time::UNIX_EPOCH;

use telamon_http_proto::cookie::{EditedLine, Fate, edit_cookies, set_cookie_ranges};
use telamon_http_proto::{EditError, Head, Method};

use super::Persistence;
use crate::model::{Backend, CookieMode, PersistenceCookie, Proxy, Server, ServerId};
use crate::stream::Stream;

/// What became of the cookie of one stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CookieState {
    pub(super) request: RequestCookie,
    response: ResponseCookie,
    /// The dates in the request's, in seconds since 1970.
    last: Option<u64>,
    first: Option<u64>,
}

/// The third character of a termination state: what the request's cookie was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum RequestCookie {
    /// `N`: there was none.
    #[default]
    None,
    /// `I`: it names no server.
    Invalid,
    /// `D`: it names a server that is down.
    Down,
    /// `V`: it names a server that is used.
    Valid,
    /// `E`: `maxidle` had passed.
    Expired,
    /// `O`: `maxlife` had passed.
    Old,
    /// `U`: it was not looked at.
    Unused,
}

/// The fourth character of a termination state: what became of the answer's cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ResponseCookie {
    /// `N`: there is none.
    #[default]
    None,
    /// `P`: the server's was passed on.
    Passed,
    /// `D`: the server's was taken out.
    Deleted,
    /// `I`: one was inserted.
    Inserted,
    /// `R`: the server's was rewritten.
    Rewritten,
    /// `U`: the client's was given a new date.
    Updated,
}

impl CookieState {
    /// Third and fourth character of the termination state.
    pub(crate) fn letters(self) -> [u8; 2] {
        let request = match self.request {
            RequestCookie::None => b'N',
            RequestCookie::Invalid => b'I',
            RequestCookie::Down => b'D',
            RequestCookie::Valid => b'V',
            RequestCookie::Expired => b'E',
            RequestCookie::Old => b'O',
            RequestCookie::Unused => b'U',
        };
        let response = match self.response {
            ResponseCookie::None => b'N',
            ResponseCookie::Passed => b'P',
            ResponseCookie::Deleted => b'D',
            ResponseCookie::Inserted => b'I',
            ResponseCookie::Rewritten => b'R',
            ResponseCookie::Updated => b'U',
        };
        [request, response]
    }
}

/// Binds the stream to the server that its cookie names, and makes the request's `Cookie` fields what the server is to
/// see of them.
pub(super) fn request(
    stream: &mut Stream,
    proxy: &Proxy,
    backend: &Backend,
    cookie: &PersistenceCookie,
) {
    let Some(mut index) = stream.request.find(b"cookie", 0) else { return };
    let worker = std::rc::Rc::clone(&stream.session.worker);
    let now = seconds(worker.wall(worker.now()));
    let mut out = worker.lend_buffer();
    loop {
        let persistence = &mut stream.persistence;
        let line = stream.request.value_at(index).unwrap_or_default();
        out.clear();
        let edited = edit_cookies(line, &cookie.name, &mut out, |value| {
            meet(persistence, proxy, backend, cookie, value, now)
        });
        // Cookies only become less here, so that there is always room.
        match edited {
            EditedLine::Same => index += 1,
            EditedLine::Changed if stream.request.replace_value(index, &out).is_ok() => index += 1,
            EditedLine::Changed | EditedLine::Empty => stream.request.remove_header_at(index),
        }
        match stream.request.find(b"cookie", index) {
            Some(next) => index = next,
            None => break,
        }
    }
    worker.return_buffer(out);
}

/// Looks at one cookie of the name, and says what the server is to see of it.
fn meet(
    persistence: &mut Persistence,
    proxy: &Proxy,
    backend: &Backend,
    cookie: &PersistenceCookie,
    value: &[u8],
    now: u64,
) -> Fate {
    let (named, prefixed) = match cookie.mode {
        CookieMode::Prefix => match memchr::memchr(b'~', value) {
            Some(at) => (&value[..at], true),
            None => (value, false),
        },
        _ => (persistence.cookie.read_dates(value), false),
    };
    // HAProxy goes by what the first cookie of the name was, unless a later one says more.
    let was = persistence.cookie.request;
    if let Some(over) = persistence.cookie.overdue(cookie, now) {
        persistence.cookie = CookieState { request: over, ..CookieState::default() };
    } else {
        let bound = persistence.server.is_some();
        let looked_at = !named.is_empty() && !bound && !persistence.is_ignored();
        let found = looked_at.then(|| bind_named(persistence, proxy, backend, named)).flatten();
        persistence.cookie.request = match found {
            Some(found) => found,
            None if was != RequestCookie::None => was,
            None if bound || persistence.is_ignored() => RequestCookie::Unused,
            None => RequestCookie::Invalid,
        };
    }
    match cookie.mode {
        CookieMode::Insert if cookie.indirect => Fate::Remove,
        CookieMode::Prefix if prefixed => Fate::Shorten(named.len() + 1),
        _ => Fate::Keep,
    }
}

/// Binds to the first server of this value that can be used. `None` where no server has it.
fn bind_named(
    persistence: &mut Persistence,
    proxy: &Proxy,
    backend: &Backend,
    named: &[u8],
) -> Option<RequestCookie> {
    let mut found = None;
    let mut tried = |id: ServerId| {
        let server = backend.servers.get(id.0 as usize)?;
        let up = server.state.member.is_reachable();
        found = Some(if up { RequestCookie::Valid } else { RequestCookie::Down });
        persistence.bind(proxy, backend, id).then_some(())
    };
    let written = backend.cookie_index.written(&backend.servers, named);
    if written.iter().find_map(|id| tried(*id)).is_none()
        && let Some(hash) = dynamic_value(named)
    {
        let has_it = |server: &&Server| {
            server.written_cookie.is_none() && server.state.dynamic_cookie() == Some(hash)
        };
        let mut servers = backend.servers.iter().filter(has_it);
        servers.find_map(|server| tried(ServerId(server.index)));
    }
    found
}

/// The hash that a value stands for: 16 digits, as they are written.
fn dynamic_value(value: &[u8]) -> Option<NonZeroU64> {
    let digits = value.len() == 16 && value.iter().all(|b| b"0123456789abcdef".contains(b));
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    u64::from_str_radix(text, 16).ok().and_then(NonZeroU64::new)
}

impl CookieState {
    /// Takes the dates from the end of a value; what is left is the server's.
    fn read_dates<'v>(&mut self, value: &'v [u8]) -> &'v [u8] {
        let Some(bar) = memchr::memchr(b'|', value) else { return value };
        let dates = &value[bar + 1..];
        self.last = read_date(dates).or(self.last);
        if let Some(second) = memchr::memchr(b'|', dates) {
            self.first = read_date(&dates[second + 1..]).or(self.first);
        }
        &value[..bar]
    }

    /// Whether its time is over. A date more than a day ahead is no good either.
    fn overdue(&self, cookie: &PersistenceCookie, now: u64) -> Option<RequestCookie> {
        let over = |date: Option<u64>, limit: Option<std::time::Duration>| match (date, limit) {
            (Some(date), Some(limit)) => {
                now.saturating_sub(date) > limit.as_secs() || date.saturating_sub(now) > DAY
            }
            _ => false,
        };
        if over(self.first, cookie.maxlife) {
            Some(RequestCookie::Old)
        } else if over(self.last, cookie.maxidle) {
            Some(RequestCookie::Expired)
        } else {
            None
        }
    }

    /// Whether the client's cookie lacks a date that it should have, has one that it should not, or has an old one.
    fn needs_dates(&self, cookie: &PersistenceCookie, now: u64) -> bool {
        let dated = cookie.maxidle.is_some() || self.last.is_some();
        dated && self.last.is_none_or(|last| last < now)
            || cookie.maxlife.is_some() != self.first.is_some()
    }
}

/// Does with a server's answer what `cookie` says: what it sets is deleted, rewritten or passed, and the proxy's own
/// cookie inserted.
///
/// # Errors
/// The head has no room left.
pub(crate) fn response(
    stream: &mut Stream,
    server: &Server,
    cookie: &PersistenceCookie,
) -> Result<(), EditError> {
    if stream.persistence.is_ignored() {
        return Ok(());
    }
    let known = stream.server.is_some();
    let server_cookie = server.cookie();
    let worker = std::rc::Rc::clone(&stream.session.worker);
    let mut out = worker.lend_buffer();
    let edited = set_by_server(stream, cookie, known, server_cookie.as_deref(), &mut out);
    let inserted = edited.and_then(|()| {
        let direct = stream.persistence.server.is_some();
        let state = &mut stream.persistence.cookie;
        let now = seconds(worker.wall(worker.now()));
        let wanted = known
            && cookie.mode == CookieMode::Insert
            && !(cookie.preserve && state.response == ResponseCookie::Passed)
            && (!direct || state.needs_dates(cookie, now))
            && (!cookie.postonly || stream.request.method_kind() == Method::Post);
        if !wanted {
            return Ok(());
        }
        let cacheable = cookie.nocache && is_cacheable(&stream.request, &stream.response);
        out.clear();
        write_cookie(cookie, server_cookie.as_deref(), state.first, now, &mut out);
        state.response = match server_cookie {
            Some(_) if direct => ResponseCookie::Updated,
            _ => ResponseCookie::Inserted,
        };
        stream.response.add_header(b"set-cookie", &out)?;
        match cacheable {
            true => stream.response.add_header(b"cache-control", b"private"),
            false => Ok(()),
        }
    });
    worker.return_buffer(out);
    inserted
}

/// Handles what the server has set itself under the cookie's name.
fn set_by_server(
    stream: &mut Stream,
    cookie: &PersistenceCookie,
    known: bool,
    server_cookie: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), EditError> {
    let direct = stream.persistence.server.is_some();
    let mut from = 0;
    while let Some(index) = stream.response.find(b"set-cookie", from) {
        from = index + 1;
        let line = stream.response.value_at(index).unwrap_or_default();
        let Some((name, value)) = set_cookie_ranges(line) else { continue };
        if line[name] != *cookie.name {
            continue;
        }
        let became = match (cookie.mode, server_cookie) {
            _ if cookie.preserve => ResponseCookie::Passed,
            (CookieMode::Insert, _) if known => ResponseCookie::Deleted,
            _ if direct && cookie.indirect => ResponseCookie::Deleted,
            (CookieMode::Rewrite | CookieMode::Prefix, Some(own)) if known => {
                out.clear();
                out.extend_from_slice(&line[..value.start]);
                out.extend_from_slice(own);
                let rest = if cookie.mode == CookieMode::Prefix {
                    out.push(b'~');
                    value.start
                } else {
                    value.end
                };
                out.extend_from_slice(&line[rest..]);
                stream.response.replace_value(index, out)?;
                ResponseCookie::Rewritten
            }
            _ => ResponseCookie::Passed,
        };
        if became == ResponseCookie::Deleted {
            stream.response.remove_header_at(index);
            from = index;
        }
        stream.persistence.cookie.response = became;
    }
    Ok(())
}

/// The value of the `Set-Cookie` field. A server without a value (a backup, say) has the client forget its cookie.
fn write_cookie(
    cookie: &PersistenceCookie,
    server_cookie: Option<&[u8]>,
    first: Option<u64>,
    now: u64,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&cookie.name);
    out.push(b'=');
    match server_cookie {
        None => out.extend_from_slice(b"; Expires=Thu, 01-Jan-1970 00:00:01 GMT"),
        Some(value) => {
            out.extend_from_slice(value);
            // Rounded up, so that a cookie is not old before its time.
            let today = now.div_ceil(4);
            if cookie.is_dated() {
                write_date(today, out);
            }
            if cookie.maxlife.is_some() {
                write_date(first.map_or(today, |first| first / 4), out);
            }
        }
    }
    out.extend_from_slice(b"; path=/");
    out.extend_from_slice(&cookie.attributes);
}

/// Whether a cache could keep the answer, as HAProxy judges it: by method, status and the answer's own words.
fn is_cacheable(request: &Head, response: &Head) -> bool {
    const METHODS: [Method; 4] = [Method::Get, Method::Head, Method::Options, Method::Trace];
    const STATUSES: [u16; 11] = [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501];
    if response.header(b"pragma").is_some_and(|value| value.eq_ignore_ascii_case(b"no-cache")) {
        return false;
    }
    let mut cacheable =
        METHODS.contains(&request.method_kind()) && STATUSES.contains(&response.status());
    let mut dated = false;
    for value in response.header_values(b"cache-control") {
        let is = |word: &[u8]| value.eq_ignore_ascii_case(word);
        let begins = |word: &[u8]| {
            value.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word))
        };
        if is(b"public") {
            cacheable = true;
        } else if is(b"private")
            || is(b"no-cache")
            || is(b"no-store")
            || is(b"max-age=0")
            || is(b"s-maxage=0")
        {
            cacheable = false;
        } else if begins(b"s-maxage") || begins(b"max-age") {
            dated = true;
        }
    }
    let known = [&b"expires"[..], b"etag", b"last-modified"];
    cacheable && (dated || known.into_iter().any(|name| response.has_header(name)))
}

fn seconds(at: std::time::SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Appends a bar and 30 bits, the highest first.
fn write_date(quarters: u64, out: &mut Vec<u8>) {
    out.push(b'|');
    out.extend((0..5).rev().map(|at| DIGITS[(quarters >> (6 * at) & 63) as usize]));
}

/// The date that a text begins with; none where it is shorter, not of these digits, or zero.
fn read_date(text: &[u8]) -> Option<u64> {
    let digits = text.get(..5)?;
    let quarters = digits.iter().try_fold(0, |sum, digit| {
        let at = DIGITS.iter().position(|known| known == digit)?;
        Some(sum << 6 | at as u64)
    });
    quarters.filter(|quarters| *quarters > 0).map(|quarters| quarters * 4)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_five_digits() {
        #[track_caller]
        fn check(date: u64, text: &str) {
            let mut out = Vec::new();
            write_date(date / 4, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
            assert_eq!(read_date(&out[1..]), Some(date));
        }
        check(4, "|AAAAB");
        check(1_795_186_784, "|awBgY");
        assert_eq!(read_date(b"AAAAA"), None);
        assert_eq!(read_date(b"AAAB"), None);
        assert_eq!(read_date(b"AAA*B"), None);
        assert_eq!(read_date(b"AAAABxyz"), Some(4));
    }

    #[test]
    fn dates_follow_the_value() {
        #[track_caller]
        fn check(value: &str, server: &str, last: Option<u64>, first: Option<u64>) {
            let mut state = CookieState::default();
            let named = state.read_dates(value.as_bytes());
            assert_eq!(String::from_utf8_lossy(named), server, "{value}");
            assert_eq!((state.last, state.first), (last, first), "{value}");
        }
        check("s1", "s1", None, None);
        check("s1|AAAAB", "s1", Some(4), None);
        check("s1|AAAAB|AAAAC", "s1", Some(4), Some(8));
        check("s1||AAAAC", "s1", None, Some(8));
        check("s1|sho t|", "s1", None, None);
        check("|AAAAB", "", Some(4), None);
    }
}
