//! ACLs: `acl NAME CRITERION [flags] [operator] VALUES…`, named, anonymous and predefined.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use telamon_config::{Args, ConfigErrorKind, Explanation, Location, Mistake, Token, nearest};

use super::args::Arg;
use super::auth::is_in_group;
use super::lists::{ListError, Matcher, Usage};
use super::patterns::{Match, PatternErrorKind, parse_range, parse_version_range};
use super::scope::undefined;
use super::{Expr, ExprError, ParseScope, Place, ValueType, fetches};
use crate::model::{Mode, Userlist};
use crate::stream::Context;

/// The ACLs of a proxy, by name.
#[derive(Debug, Default)]
pub struct Acls {
    list: Vec<Arc<Acl>>,
    by_name: HashMap<Box<str>, usize>,
}

/// Tests of one name; it holds when one of them does.
///
/// A line may add to an ACL that a rule above it has named, so the tests are a list that only grows.
#[derive(Debug)]
pub(crate) struct Acl {
    name: Box<str>,
    first: OnceLock<Box<Node>>,
}

#[derive(Debug)]
struct Node {
    test: Arc<Test>,
    next: OnceLock<Box<Self>>,
}

/// A criterion and what it is compared with.
#[derive(Debug)]
pub(crate) struct Test {
    expr: Expr,
    how: How,
}

#[derive(Debug)]
enum How {
    /// `-m found`.
    Found,
    /// Neither false nor 0.
    Bool,
    /// One of the lists matches.
    Lists(Box<[Arc<Matcher>]>),
    /// The user is in one of the groups.
    Groups(Arc<Userlist>, Box<[Box<str>]>),
}

/// What came of a test. Orders so that `min` is "and" and `max` is "or".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Fail,
    /// More bytes may change it.
    Unknown,
    Pass,
}

/// A mistake in an ACL that is worth a warning.
#[derive(Debug)]
enum Doubt {
    NoPattern,
    NeverMatches {
        acl: String,
        why: String,
    },
    /// Raw contents in `mode http`.
    Raw {
        text: String,
    },
}

/// The doubt about a condition of a proxy of `mode http`; `None` where there is none.
pub(crate) fn raw_in_http(acl: &Acl, scope: &ParseScope<'_>) -> Option<ConfigErrorKind> {
    let live = scope.proxy.is_some() && scope.mode == Mode::Http && scope.place != Place::Check;
    let test = acl.tests().find(|test| live && test.expr.source().is_raw())?;
    let text = test.expr.text().to_owned();
    Some(ConfigErrorKind::Plane(Box::new(Doubt::Raw { text })))
}

impl Acls {
    /// Reads what follows the keyword `acl`. What is wrong is reported.
    pub fn declare(args: &mut Args<'_>, scope: &mut ParseScope<'_>) {
        let Some(name) = args.name("acl") else { return };
        if matches!(name.text, "or" | "||" | "{" | "}" | "!") {
            args.bad(name, "acl name", "a name that is no operator");
            args.skip_rest();
            return;
        }
        let words = args.rest();
        if words.is_empty() {
            args.missing("a criterion");
            return;
        }
        let label = format!("acl '{}'", name.text);
        match Test::parse(&words, &label, args, scope) {
            Some(test) => scope.acls.add(name.text, Arc::new(test)),
            // So that conditions below do not repeat that it is wrong.
            None => _ = scope.acls.named(name.text),
        }
    }

    /// The same ACLs for a proxy that inherits them; what either adds later the other does not see.
    #[must_use]
    pub fn inherited(&self) -> Self {
        let mut copy = Self::default();
        for acl in &self.list {
            for test in acl.tests() {
                copy.add(&acl.name, Arc::clone(test));
            }
        }
        copy
    }

    /// The names, in the order of their first lines.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|acl| &*acl.name)
    }

    /// Finds a declared or predefined ACL.
    pub(crate) fn find(
        token: Token<'_>,
        name: &str,
        at: Location,
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
    ) -> Option<Arc<Acl>> {
        if let Some(&index) = scope.acls.by_name.get(name) {
            return Some(Arc::clone(&scope.acls.list[index]));
        }
        let Some((_, words)) = PREDEFINED.iter().find(|(known, _)| *known == name) else {
            let known = PREDEFINED.iter().map(|(name, _)| *name);
            let kind = undefined("acl", name, scope.acls.names().chain(known));
            args.fail(at, kind);
            return None;
        };
        let words: Vec<Token<'_>> =
            words.iter().map(|text| Token { text, bytes: text.as_bytes(), ..token }).collect();
        let test = Test::parse(&words, &format!("acl '{name}'"), args, scope)?;
        Some(Acl::of(name, Arc::new(test)))
    }

    fn add(&mut self, name: &str, test: Arc<Test>) {
        self.named(name).push(test);
    }

    /// The ACL of that name, made without a test where there is none.
    fn named(&mut self, name: &str) -> &Acl {
        let index = match self.by_name.get(name) {
            Some(&index) => index,
            None => {
                self.by_name.insert(name.into(), self.list.len());
                self.list.push(Arc::new(Acl { name: name.into(), first: OnceLock::new() }));
                self.list.len() - 1
            }
        };
        &self.list[index]
    }
}

impl Acl {
    /// An ACL of one test; anonymous ones have no name.
    pub(crate) fn of(name: &str, test: Arc<Test>) -> Arc<Self> {
        let acl = Self { name: name.into(), first: OnceLock::new() };
        acl.push(test);
        Arc::new(acl)
    }

    pub(crate) fn test(&self, cx: &Context<'_>) -> Outcome {
        let mut outcome = Outcome::Fail;
        for test in self.tests() {
            outcome = outcome.max(test.run(cx));
            if outcome == Outcome::Pass {
                break;
            }
        }
        outcome
    }

    pub(super) fn tests(&self) -> impl Iterator<Item = &Arc<Test>> {
        let mut next = &self.first;
        std::iter::from_fn(move || {
            let node = next.get()?;
            next = &node.next;
            Some(&node.test)
        })
    }

    fn push(&self, test: Arc<Test>) {
        let mut node = Box::new(Node { test, next: OnceLock::new() });
        let mut place = &self.first;
        // Only the thread that reads the configuration adds; should another have been faster, go on
        // behind what it added.
        while let Err(mine) = place.set(node) {
            node = mine;
            match place.get() {
                Some(taken) => place = &taken.next,
                None => return,
            }
        }
    }
}

impl Test {
    /// Reads a criterion, flags, operator and values; `label` names the ACL in messages.
    pub(crate) fn parse(
        words: &[Token<'_>],
        label: &str,
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
    ) -> Option<Self> {
        let (criterion, rest) = words.split_first()?;
        let (expr, keyword_match) = match criterion_of(criterion.bytes, scope) {
            Ok(found) => found,
            Err(ExprError { at, kind }) => {
                args.report(criterion.part(at), kind);
                return None;
            }
        };
        if let Some(ConfigErrorKind::BadValue { expected, .. }) = expr.misplaced(scope) {
            let why = expected.into_owned();
            let doubt = Doubt::NeverMatches { acl: label.to_owned(), why };
            args.warn(criterion.at, ConfigErrorKind::Plane(Box::new(doubt)));
        }
        let keyword = criterion.text.split(['(', ',']).next().unwrap_or_default();
        Reader {
            expr,
            method: keyword_match,
            ignore_case: false,
            as_map: false,
            lists: Vec::new(),
            loaded: Vec::new(),
            description: format!("acl '{keyword}' {}", scope.line),
        }
        .read(*criterion, rest, args, scope)
    }

    /// What it asks for.
    pub(super) fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The lists of which one has to match, if that is what it tests.
    pub(super) fn lists(&self) -> Option<&[Arc<Matcher>]> {
        match &self.how {
            How::Lists(lists) => Some(lists),
            _ => None,
        }
    }

    pub(crate) fn run(&self, cx: &Context<'_>) -> Outcome {
        let waits = std::cell::Cell::new(false);
        let cx = Context { wants_more: &waits, ..*cx };
        let mut outcome = Outcome::Fail;
        self.expr.each(&cx, |value| {
            let holds = match &self.how {
                How::Found => true,
                How::Bool => {
                    value.cast(ValueType::Int).is_some_and(|value| value != super::Value::Int(0))
                }
                How::Lists(lists) => lists.iter().any(|list| list.matches(&value)),
                How::Groups(users, groups) => value
                    .as_bytes()
                    .is_some_and(|user| groups.iter().any(|group| is_in_group(users, user, group))),
            };
            if holds {
                outcome = Outcome::Pass;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        if outcome == Outcome::Fail && waits.get() { Outcome::Unknown } else { outcome }
    }
}

/// What has been read of a test so far.
struct Reader {
    expr: Expr,
    method: Option<Match>,
    ignore_case: bool,
    as_map: bool,
    lists: Vec<Arc<Matcher>>,
    /// Files named by `-f`, with `-i` as it was then.
    loaded: Vec<(Location, Box<str>, bool)>,
    description: String,
}

impl Reader {
    fn read(
        mut self,
        criterion: Token<'_>,
        words: &[Token<'_>],
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
    ) -> Option<Test> {
        let mut at = 0;
        let mut ended = false;
        while let Some(flag) = words.get(at).filter(|word| word.text.starts_with('-')) {
            let value = words.get(at + 1);
            at += match flag.text {
                "-i" => {
                    self.ignore_case = true;
                    1
                }
                "-n" => 1,
                "-M" => {
                    self.as_map = true;
                    1
                }
                "--" => {
                    ended = true;
                    1
                }
                "-f" | "-m" | "-u" => {
                    let Some(value) = value else {
                        let kind = ConfigErrorKind::Missing {
                            what: "a value".into(),
                            after: flag.text.to_owned(),
                        };
                        args.fail(flag.at, kind);
                        return None;
                    };
                    self.flag_value(flag, value, args)?;
                    2
                }
                // Also a value such as -1: HAProxy wants `--` before it.
                _ => {
                    let flags = ["-i", "-f", "-m", "-n", "-u", "-M", "--"];
                    args.fail(flag.at, super::unknown("flag", flag.text, flags.into_iter()));
                    return None;
                }
            };
            if ended {
                break;
            }
        }
        let values = &words[at..];
        if let Some(Arg::Userlist(users)) = self.groups_of() {
            for group in values.iter().filter(|group| !users.groups.iter().any(|g| group.is(g))) {
                let known = users.groups.iter().map(|name| &**name);
                args.fail(group.at, ConfigErrorKind::undefined("group", group.text, known));
            }
            if values.is_empty() {
                let what = "the name of a group".into();
                let after = criterion.text.to_owned();
                args.fail(criterion.at, ConfigErrorKind::Missing { what, after });
            }
            if args.failed() {
                return None;
            }
            let groups = values.iter().map(|token| token.text.into()).collect();
            return Some(Test { expr: self.expr, how: How::Groups(users, groups) });
        }
        let method = self.method_for(criterion, args)?;
        if method.takes_patterns() && values.is_empty() && self.loaded.is_empty() && !ended {
            args.warn(criterion.at, ConfigErrorKind::Plane(Box::new(Doubt::NoPattern)));
        }
        self.load_files(method, args, scope)?;
        self.load_values(method, values, args, scope)?;
        let how = match method {
            Match::Found => How::Found,
            Match::Bool => How::Bool,
            _ => How::Lists(self.lists.into()),
        };
        Some(Test { expr: self.expr, how })
    }

    fn flag_value(
        &mut self,
        flag: &Token<'_>,
        value: &Token<'_>,
        args: &mut Args<'_>,
    ) -> Option<()> {
        match flag.text {
            "-f" => self.loaded.push((value.at, value.text.into(), self.ignore_case)),
            "-m" if !self.loaded.is_empty() => {
                args.bad(*flag, "flag", "`-m` before `-f`");
                return None;
            }
            "-m" => match Match::parse(value.text) {
                Some(method) => self.method = Some(method),
                None => {
                    let words = Match::WORDS.iter().map(|(word, _)| *word);
                    args.fail(value.at, super::unknown("matching method", value.text, words));
                    return None;
                }
            },
            _ => {
                if value.text.parse::<u32>().is_err() {
                    args.bad(*value, "id", "a number");
                    return None;
                }
            }
        }
        Some(())
    }

    /// The user list of `http_auth_group`, which compares groups rather than text.
    fn groups_of(&self) -> Option<Arg> {
        let groups = self.expr.fetch.name == "http_auth_group"
            && self.expr.steps.is_empty()
            && self.method.is_none();
        groups.then(|| self.expr.args.first().cloned()).flatten()
    }

    /// How to compare: `-m`, else what the keyword or the type implies.
    fn method_for(&self, criterion: Token<'_>, args: &mut Args<'_>) -> Option<Match> {
        let output = self.expr.output();
        let method = match (self.method, output) {
            (Some(method), _) => method,
            (None, ValueType::Bool) => Match::Bool,
            (None, ValueType::Int) => Match::Int,
            (None, ValueType::Addr) => Match::Ip,
            (None, ValueType::Str | ValueType::Method) => Match::Str,
            (None, ValueType::Bin | ValueType::Any) => {
                let expected = format!(
                    "`-m` and a matching method, since the sample is of type {}",
                    output.name()
                );
                args.bad(criterion, "criterion", expected);
                return None;
            }
        };
        if !output.casts_to(method.input()) {
            let expected = format!(
                "one whose sample can be used as {} by `-m {}`; this one is {}",
                method.input().name(),
                method.name(),
                output.name()
            );
            args.bad(criterion, "criterion", expected);
            return None;
        }
        Some(method)
    }

    fn load_files(
        &mut self,
        method: Match,
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
    ) -> Option<()> {
        for (at, name, ignore_case) in std::mem::take(&mut self.loaded) {
            if scope.offline {
                continue;
            }
            let usage = Usage { acl: true, map: self.as_map };
            let line = format!("acl at {}", scope.line);
            let built = scope
                .lists
                .file(&name, usage, &line, scope.files)
                .and_then(|list| scope.lists.matcher(&list, method, ignore_case));
            match built {
                Ok(matcher) => self.lists.push(matcher),
                Err(error) => {
                    args.report(at, list_error(&name, error));
                    return None;
                }
            }
        }
        Some(())
    }

    fn load_values(
        &mut self,
        method: Match,
        values: &[Token<'_>],
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
    ) -> Option<()> {
        let mut patterns: Vec<Box<[u8]>> = Vec::new();
        let mut places = Vec::new();
        if matches!(method, Match::Int | Match::Len) {
            let mut operator = Operator::Equal;
            for token in values {
                if let Some(found) = Operator::parse(token.text) {
                    operator = found;
                    continue;
                }
                let is_version = matches!(self.expr.fetch.name, "req.ssl_ver" | "req_ssl_ver")
                    && self.expr.steps.is_empty();
                let read = if is_version { parse_version_range } else { parse_range };
                let Some(range) = read(token.bytes).map(|range| operator.apply(range)) else {
                    let words = ["eq", "ge", "gt", "le", "lt"];
                    let near = nearest(token.text, words);
                    let expected = match near {
                        Some(word) => format!("a number, a range or `{word}`"),
                        None => "a number, or a range such as 1:10".to_owned(),
                    };
                    args.bad(*token, "value", expected);
                    return None;
                };
                patterns.push(range.into_bytes().into());
                places.push(token.at);
            }
        } else if method.takes_patterns() {
            for token in values {
                patterns.push(token.bytes.into());
                places.push(token.at);
            }
        }
        if method == Match::Ip {
            self.resolve_names(&mut patterns, &places, args, scope)?;
        }
        let empty = patterns.is_empty();
        let list = scope.lists.inline(patterns, &self.description);
        if empty && !self.lists.is_empty() || !method.takes_patterns() {
            return Some(());
        }
        match scope.lists.matcher(&list, method, self.ignore_case) {
            Ok(matcher) => self.lists.push(matcher),
            Err(ListError::Pattern { line, kind }) => {
                let at = places.get(line - 1).copied().unwrap_or_else(|| args.at());
                args.fail(at, bad_pattern(&kind));
                return None;
            }
            Err(error) => {
                args.fail(args.at(), list_error("", error));
                return None;
            }
        }
        Some(())
    }

    /// Replaces host names by their first IPv4 address, as HAProxy does when it starts.
    fn resolve_names(
        &self,
        patterns: &mut Vec<Box<[u8]>>,
        places: &[Location],
        args: &mut Args<'_>,
        scope: &ParseScope<'_>,
    ) -> Option<()> {
        let mut kept = Vec::with_capacity(patterns.len());
        for (pattern, at) in std::mem::take(patterns).into_iter().zip(places) {
            let text = String::from_utf8_lossy(&pattern).into_owned();
            let (host, mask) = text.split_once('/').unwrap_or((&text, ""));
            let looks_like_host = super::Network::parse(&pattern).is_none()
                && host.starts_with(|c: char| c.is_ascii_alphabetic())
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
            if !looks_like_host {
                kept.push(pattern);
                continue;
            }
            if scope.offline {
                continue;
            }
            let found = scope.files.resolve(host).unwrap_or_default();
            let Some(address) = found.iter().find(|address| address.is_ipv4()) else {
                let kind = ConfigErrorKind::Unresolved { what: "host", name: host.to_owned() };
                args.report(*at, kind);
                return None;
            };
            let slash = if mask.is_empty() { "" } else { "/" };
            kept.push(format!("{address}{slash}{mask}").into_bytes().into());
        }
        *patterns = kept;
        Some(())
    }
}

/// How a number is compared.
#[derive(Clone, Copy)]
enum Operator {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Operator {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Equal,
            "gt" => Self::Greater,
            "ge" => Self::GreaterOrEqual,
            "lt" => Self::Less,
            "le" => Self::LessOrEqual,
            _ => return None,
        })
    }

    /// The pattern that says the same as a range.
    fn apply(self, (low, high): (i64, i64)) -> String {
        match self {
            Self::Equal if low == high => low.to_string(),
            Self::Equal => format!(
                "{}:{}",
                if low == i64::MIN { String::new() } else { low.to_string() },
                if high == i64::MAX { String::new() } else { high.to_string() },
            ),
            Self::Greater => format!("{}:", high.saturating_add(1)),
            Self::GreaterOrEqual => format!("{low}:"),
            Self::Less => format!(":{}", low.saturating_sub(1)),
            Self::LessOrEqual => format!(":{high}"),
        }
    }
}

/// Reads the criterion: an ACL keyword (`hdr_beg(host)`), or any expression. The second is the
/// matching method that the keyword implies, unless converters follow.
fn criterion_of(
    text: &[u8],
    scope: &mut ParseScope<'_>,
) -> Result<(Expr, Option<Match>), ExprError> {
    let (name, end) = super::word(text, 0);
    let (fetch, method) = match acl_keyword(name) {
        Some((fetch, method)) => (super::find_fetch(fetch, 0..end)?, method),
        None => match fetches::find(name) {
            Some(_) => (super::find_fetch(name, 0..end)?, None),
            None => {
                let suffixed = SUFFIXABLE.iter().flat_map(|(keyword, _)| {
                    SUFFIXES.iter().map(move |(suffix, _)| format!("{keyword}{suffix}"))
                });
                let suffixed: Vec<String> = suffixed.collect();
                let mut names: Vec<&str> = fetches::names().collect();
                names.extend(suffixed.iter().map(String::as_str));
                let kind = super::unknown("fetch", name, names.into_iter());
                return Err(ExprError { at: 0..end, kind });
            }
        },
    };
    let (mut expr, stop) = Expr::parse_after(fetch, text, end, scope)?;
    if stop < text.len() {
        let found = String::from_utf8_lossy(&text[stop..]).into_owned();
        let kind = ConfigErrorKind::Trailing { found, after: expr.text.to_string() };
        return Err(ExprError { at: stop..text.len(), kind });
    }
    expr.text = String::from_utf8_lossy(text).into();
    let method = if expr.steps.is_empty() { method } else { None };
    Ok((expr, method))
}

/// The fetch and method of an ACL keyword that is no fetch by the same name and type.
fn acl_keyword(name: &str) -> Option<(&'static str, Option<Match>)> {
    if let Some((_, fetch)) = SUFFIXABLE.iter().find(|(keyword, _)| *keyword == name) {
        return Some((fetch, None));
    }
    if let "payload" | "payload_lv" = name {
        return Some((
            if name == "payload" { "req.payload" } else { "req.payload_lv" },
            Some(Match::Bin),
        ));
    }
    let (keyword, suffix) = name.rsplit_once('_')?;
    let (_, fetch) = SUFFIXABLE.iter().find(|(known, _)| *known == keyword)?;
    let (_, method) = SUFFIXES.iter().find(|(known, _)| known[1..] == *suffix)?;
    Some((fetch, Some(*method)))
}

/// Keywords that take the suffixes below, and the fetch behind each.
const SUFFIXABLE: [(&str, &str); 9] = [
    ("base", "base"),
    ("cook", "req.cook"),
    ("hdr", "req.hdr"),
    ("path", "path"),
    ("scook", "res.cook"),
    ("shdr", "res.hdr"),
    ("url", "url"),
    ("urlp", "urlp"),
    ("ssl_fc_sni", "ssl_fc_sni"),
];

const SUFFIXES: [(&str, Match); 7] = [
    ("_beg", Match::Beg),
    ("_dir", Match::Dir),
    ("_dom", Match::Dom),
    ("_end", Match::End),
    ("_len", Match::Len),
    ("_reg", Match::Reg),
    ("_sub", Match::Sub),
];

/// Source: HAProxy configuration manual, 7.4.
const PREDEFINED: [(&str, &[&str]); 22] = [
    ("TRUE", &["always_true"]),
    ("FALSE", &["always_false"]),
    ("LOCALHOST", &["src", "127.0.0.1/8", "::1"]),
    ("HTTP", &["req.proto_http"]),
    ("HTTP_1.0", &["req.ver", "1.0"]),
    ("HTTP_1.1", &["req.ver", "1.1"]),
    ("HTTP_2.0", &["req.ver", "2.0"]),
    ("METH_CONNECT", &["method", "CONNECT"]),
    ("METH_DELETE", &["method", "DELETE"]),
    ("METH_GET", &["method", "GET", "HEAD"]),
    ("METH_HEAD", &["method", "HEAD"]),
    ("METH_OPTIONS", &["method", "OPTIONS"]),
    ("METH_POST", &["method", "POST"]),
    ("METH_PUT", &["method", "PUT"]),
    ("METH_TRACE", &["method", "TRACE"]),
    ("HTTP_URL_ABS", &["url_reg", "^[^/:]*://"]),
    ("HTTP_URL_SLASH", &["url_beg", "/"]),
    ("HTTP_URL_STAR", &["url", "*"]),
    ("HTTP_CONTENT", &["req.hdr_val(content-length)", "gt", "0"]),
    ("RDP_COOKIE", &["req.rdp_cookie_cnt", "gt", "0"]),
    ("REQ_CONTENT", &["req.len", "gt", "0"]),
    ("WAIT_END", &["wait_end"]),
];

/// Says what is wrong with a list as a mistake of the configuration.
pub(crate) fn list_error(name: &str, error: ListError) -> ConfigErrorKind {
    match error {
        ListError::Read(error) => {
            ConfigErrorKind::Unreadable { path: name.into(), error: error.into() }
        }
        error => ConfigErrorKind::BadValue {
            what: "list".into(),
            found: name.to_owned(),
            expected: format!("a usable one ({error})").into(),
        },
    }
}

fn bad_pattern(kind: &PatternErrorKind) -> ConfigErrorKind {
    let (what, found, expected) = match kind {
        PatternErrorKind::NotInteger(text) => {
            ("value", text.clone(), "a number or a range".to_owned())
        }
        PatternErrorKind::NotAddress(text) => {
            ("value", text.clone(), "an address or a network".to_owned())
        }
        PatternErrorKind::NotHexadecimal(text) => {
            ("value", text.clone(), "an even number of hexadecimal digits".to_owned())
        }
        PatternErrorKind::Regex(error) => {
            ("regular expression", String::new(), format!("another form: {error}"))
        }
        PatternErrorKind::TooLarge => ("values", String::new(), kind.to_string()),
    };
    ConfigErrorKind::BadValue { what: what.into(), found, expected: expected.into() }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPattern => write!(f, "no value to compare with: this never matches"),
            Self::Raw { text } => write!(f, "`{text}` looks at raw contents in `mode http`"),
            Self::NeverMatches { acl, .. } => write!(f, "{acl} never matches here"),
        }
    }
}

impl Mistake for Doubt {
    fn explain(&self) -> Explanation {
        let explanation = Explanation::new(self.to_string());
        match self {
            Self::NoPattern => explanation.help("add values, or `--` if it is meant so"),
            Self::Raw { .. } => {
                explanation.help("there they are taken apart before: it may find nothing")
            }
            Self::NeverMatches { why, .. } => explanation.label(format!("expected {why}")),
        }
    }
}
