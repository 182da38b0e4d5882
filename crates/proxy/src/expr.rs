//! Sample expressions: one typed engine for ACLs, rules, log formats and `%[…]`.
//!
//! An [`Expr`] is a fetch (`req.hdr(host)`) and converters (`,lower,field(1,:)`), type-checked when the configuration
//! is loaded; [`Expr::eval`] reads a [`Context`](crate::stream::Context) and gives a [`Value`] that borrows from it
//! where it can. Tables in `expr/fetches/` and `expr/converters/` say what exists; each row has its name, its
//! arguments, its type, where it may be used, and the function that does it.
//!
//! A [`Condition`] is what follows `if` and `unless`: named ACLs and anonymous ones in braces, each a criterion and
//! patterns. Patterns are compiled ([`patterns`]) and shared by name ([`Lists`]), so that the socket can change them.
//!
//! Everything that can be known is checked here when the configuration is read: names, arguments, types, and whether
//! what is fetched exists at all where the rule runs ([`Place`]).

use std::fmt;
use std::ops::{ControlFlow, Range};

use telamon_config::{Args, ConfigErrorKind, Explanation, Mistake, Token, nearest};

use crate::stream::Context;

mod acl;
mod args;
mod auth;
mod condition;
pub(crate) mod converters;
pub(crate) mod fetches;
mod index;
mod lists;
mod network;
pub mod patterns;
mod place;
pub mod regex;
mod scope;
mod value;
mod variables;

pub use crate::log::{FormatUse, LogFormat};
pub use acl::Acls;
pub use args::Arg;
pub(crate) use args::variable as parse_variable;
pub(crate) use auth::basic as basic_credentials;
pub use auth::unsupported_crypt;
pub use condition::Condition;
pub(crate) use index::ConditionIndex;
pub use lists::{Entry, Found, List, ListError, Lists, Matcher, Usage};
pub use network::Network;
pub use place::{Place, Source};
pub use scope::{Directory, ParseScope, ProxyEntry};
pub(crate) use value::AddrText;
pub use value::{Value, ValueType, parse_int_lenient, parse_ip};
pub use variables::{NameError, ProcessVariables, SetConditions, Variables};

use args::Param;

/// A fetch and the converters that its sample passes through.
pub struct Expr {
    fetch: &'static Fetch,
    args: Box<[Arg]>,
    steps: Box<[Step]>,
    output: ValueType,
    text: Box<str>,
}

struct Step {
    converter: &'static Converter,
    args: Box<[Arg]>,
}

/// A row of the fetch tables.
pub(crate) struct Fetch {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Param],
    /// How many of the parameters must be given.
    pub(crate) required: usize,
    pub(crate) output: ValueType,
    pub(crate) source: Source,
    pub(crate) run: Run,
    /// Checks and prepares the arguments.
    pub(crate) check: Option<args::Check>,
}

/// How a fetch finds its sample.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    One(for<'a> fn(&Context<'a>, &'a [Arg]) -> Option<Value<'a>>),
    /// There may be several; an ACL looks at each, anything else takes the one that `Pick` says.
    Each(EachFn, Pick),
    /// HAProxy has it; this is what it needs and is not there yet.
    NotYet(&'static str),
    /// HAProxy has it, and this is why it is not to be had here.
    Never(&'static str),
}

pub(crate) type EachFn =
    for<'a> fn(&Context<'a>, &'a [Arg], &mut Found1<'_, 'a>) -> ControlFlow<()>;

/// Takes one of several samples; `Break` wants no more.
pub(crate) type Found1<'f, 'a> = dyn FnMut(Value<'a>) -> ControlFlow<()> + 'f;

/// Which of several samples is taken where one is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    First,
    Last,
    /// The last of a name, the first where none is given.
    LastIfNamed,
}

/// A row of the converter tables.
pub(crate) struct Converter {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Param],
    pub(crate) required: usize,
    pub(crate) input: ValueType,
    pub(crate) output: ValueType,
    pub(crate) run: Convert,
    pub(crate) check: Option<args::Check>,
}

#[derive(Clone, Copy)]
pub(crate) enum Convert {
    With(for<'a> fn(&Context<'a>, &'a [Arg], Value<'a>) -> Option<Value<'a>>),
    NotYet(&'static str),
}

/// What is wrong with an expression, and which bytes of its text say so.
#[derive(Debug)]
pub struct ExprError {
    pub at: Range<usize>,
    pub kind: ConfigErrorKind,
}

impl Expr {
    /// Reads an expression from the words of a line: one word, and words after it that are
    /// converters. What is wrong is reported; `None` then.
    pub fn parse(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Self> {
        let token = args.next("a sample expression")?;
        let mut expr = match Self::parse_text(token.bytes, scope) {
            Ok(expr) => expr,
            Err(error) => {
                args.report(token.part(error.at), error.kind);
                return None;
            }
        };
        // Older configurations separate converters by blanks.
        while let Some(token) = args.peek()
            && converter_word(&token)
        {
            _ = args.next_if_any();
            if let Err(error) = expr.parse_steps(token.bytes, 0, scope, true) {
                args.report(token.part(error.at), error.kind);
                return None;
            }
        }
        if let Some(kind) = expr.misplaced(scope) {
            args.fail(token.at, kind);
            return None;
        }
        Some(expr)
    }

    /// Reads an expression that is the whole text.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse_text(text: &[u8], scope: &mut ParseScope<'_>) -> Result<Self, ExprError> {
        let (expr, end) = Self::parse_prefix(text, scope)?;
        if end < text.len() {
            let found = String::from_utf8_lossy(&text[end..]).into_owned();
            let kind = ConfigErrorKind::Trailing { found, after: expr.text.to_string() };
            return Err(ExprError { at: end..text.len(), kind });
        }
        Ok(expr)
    }

    /// Reads an expression at the start of the text, up to what cannot belong to it (the `]` of
    /// `%[…]`); also returns where that is. Whether it may be used in the rule set is not checked:
    /// see [`Self::misplaced`].
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse_prefix(
        text: &[u8],
        scope: &mut ParseScope<'_>,
    ) -> Result<(Self, usize), ExprError> {
        let (name, end) = word(text, 0);
        let fetch = find_fetch(name, 0..end)?;
        Self::parse_after(fetch, text, end, scope)
    }

    /// Reads an expression of ours that stands at the start of a text, where nothing has arguments; returns also where it
    /// ends.
    pub(crate) fn plain(text: &[u8]) -> Option<(Self, usize)> {
        let (name, mut end) = word(text, 0);
        let fetch = fetches::find(name)?;
        let args = |count: usize| vec![Arg::Absent; count].into();
        let mut output = fetch.output;
        let mut steps = Vec::new();
        while text.get(end) == Some(&b',') {
            let (name, after) = word(text, end + 1);
            let converter = converters::find(name)?;
            output = converter.output;
            steps.push(Step { converter, args: args(converter.params.len()) });
            end = after;
        }
        let text = String::from_utf8_lossy(&text[..end]).into();
        let expr =
            Self { fetch, args: args(fetch.params.len()), steps: steps.into(), output, text };
        Some((expr, end))
    }

    /// Continues behind the name of a fetch, at `end`.
    pub(crate) fn parse_after(
        fetch: &'static Fetch,
        text: &[u8],
        end: usize,
        scope: &mut ParseScope<'_>,
    ) -> Result<(Self, usize), ExprError> {
        let spec = args::Spec {
            name: fetch.name,
            params: fetch.params,
            required: fetch.required,
            check: fetch.check,
        };
        let (args, end) = args::parse(&spec, text, end, scope)?;
        let mut expr =
            Self { fetch, args, steps: Box::default(), output: fetch.output, text: Box::default() };
        let end = expr.parse_steps(text, end, scope, false)?;
        Ok((expr, end))
    }

    /// Reads `,converter(…)…` from `at`; the first may stand without its comma in a word of its
    /// own.
    fn parse_steps(
        &mut self,
        text: &[u8],
        mut at: usize,
        scope: &mut ParseScope<'_>,
        own_word: bool,
    ) -> Result<usize, ExprError> {
        let mut steps = std::mem::take(&mut self.steps).into_vec();
        let mut first = own_word;
        while first || text.get(at) == Some(&b',') {
            if !std::mem::take(&mut first) {
                at += 1;
            }
            let (name, end) = word(text, at);
            let converter = converters::find(name).ok_or_else(|| ExprError {
                at: at..end,
                kind: unknown("converter", name, converters::names()),
            })?;
            if let Convert::NotYet(needs) = converter.run {
                return Err(ExprError { at: at..end, kind: not_yet(name, needs) });
            }
            if !self.output.casts_to(converter.input) {
                let kind = ConfigErrorKind::BadValue {
                    what: "converter".into(),
                    found: name.to_owned(),
                    expected: format!(
                        "one that takes {} ({} takes {})",
                        self.output.name(),
                        name,
                        converter.input.name()
                    )
                    .into(),
                };
                return Err(ExprError { at: at..end, kind });
            }
            let spec = args::Spec {
                name: converter.name,
                params: converter.params,
                required: converter.required,
                check: converter.check,
            };
            let (args, end) = args::parse(&spec, text, end, scope)?;
            // A converter of any type passes it on.
            if converter.output != ValueType::Any || converter.input != ValueType::Any {
                self.output = converter.output;
            }
            steps.push(Step { converter, args });
            at = end;
        }
        self.steps = steps.into();
        let read = String::from_utf8_lossy(&text[..at]);
        self.text =
            if self.text.is_empty() { read.into() } else { format!("{},{read}", self.text).into() };
        Ok(at)
    }

    /// Why the expression cannot give anything in the rule set of the scope; `None` when it can.
    pub fn misplaced(&self, scope: &ParseScope<'_>) -> Option<ConfigErrorKind> {
        if self.fetch.source.is_available(scope.place, scope.frontend, scope.backend) {
            return None;
        }
        Some(ConfigErrorKind::BadValue {
            what: "fetch".into(),
            found: self.fetch.name.to_owned(),
            expected: format!(
                "one that can be used in {}; this one reads the {}, which is not there",
                scope.place.describe(scope.frontend, scope.backend),
                self.fetch.source.name(),
            )
            .into(),
        })
    }

    /// The sample; `None` when it is absent. Sets `cx.wants_more` when more bytes may change it.
    pub fn eval<'a>(&'a self, cx: &Context<'a>) -> Option<Value<'a>> {
        let value = match self.fetch.run {
            Run::One(run) => run(cx, &self.args)?,
            Run::Each(each, pick) => {
                let named = matches!(self.args.first(), Some(Arg::Str(_)));
                let first = pick == Pick::First || pick == Pick::LastIfNamed && !named;
                let mut found = None;
                _ = each(cx, &self.args, &mut |value| {
                    found = Some(value);
                    if first { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                found?
            }
            Run::NotYet(_) | Run::Never(_) => return None,
        };
        self.convert(cx, value)
    }

    /// The sample as a value of that type.
    pub fn eval_as<'a>(&'a self, cx: &Context<'a>, to: ValueType) -> Option<Value<'a>> {
        self.eval(cx)?.cast(to)
    }

    /// Hands over every sample that there is, until `found` breaks.
    pub(crate) fn each<'a>(
        &'a self,
        cx: &Context<'a>,
        mut found: impl FnMut(Value<'a>) -> ControlFlow<()>,
    ) {
        match self.fetch.run {
            Run::Each(each, _) => {
                _ = each(cx, &self.args, &mut |value| match self.convert(cx, value) {
                    Some(value) => found(value),
                    None => ControlFlow::Continue(()),
                });
            }
            _ => {
                if let Some(value) = self.eval(cx) {
                    _ = found(value);
                }
            }
        }
    }

    /// The type of what [`Self::eval`] gives.
    pub fn output(&self) -> ValueType {
        self.output
    }

    /// What its fetch reads.
    pub(crate) fn source(&self) -> Source {
        self.fetch.source
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is known before there is any traffic.
    pub fn is_constant(&self) -> bool {
        self.fetch.source == Source::Constant
    }

    fn convert<'a>(&'a self, cx: &Context<'a>, mut value: Value<'a>) -> Option<Value<'a>> {
        for step in &self.steps {
            let Convert::With(run) = step.converter.run else { return None };
            value = run(cx, &step.args, value.cast(step.converter.input)?)?;
        }
        Some(value)
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({})", self.text)
    }
}

/// Finds a fetch that can be used.
fn find_fetch(name: &str, at: Range<usize>) -> Result<&'static Fetch, ExprError> {
    let Some(fetch) = fetches::find(name) else {
        return Err(ExprError { at, kind: unknown("fetch", name, fetches::names()) });
    };
    match fetch.run {
        Run::NotYet(needs) => Err(ExprError { at, kind: not_yet(name, needs) }),
        Run::Never(why) => {
            let kind = ConfigErrorKind::Plane(Box::new(Untold { name: fetch.name, why }));
            Err(ExprError { at, kind })
        }
        _ => Ok(fetch),
    }
}

/// A fetch of what the TLS library keeps to itself.
#[derive(Debug)]
struct Untold {
    name: &'static str,
    why: &'static str,
}

impl Mistake for Untold {
    fn explain(&self) -> Explanation {
        Explanation::new(format!("`{}` is not to be had here", self.name)).help(self.why)
    }
}

/// The word at `at` and its end: letters, digits and `-._+`.
fn word(text: &[u8], at: usize) -> (&str, usize) {
    let len = text[at..]
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'+'))
        .count();
    (std::str::from_utf8(&text[at..at + len]).unwrap_or_default(), at + len)
}

/// Whether the word begins with the name of a converter.
fn converter_word(token: &Token<'_>) -> bool {
    let (name, end) = word(token.bytes, 0);
    matches!(token.bytes.get(end), None | Some(b'(' | b',')) && converters::find(name).is_some()
}

fn unknown<'n>(
    what: &'static str,
    found: &str,
    names: impl Iterator<Item = &'n str>,
) -> ConfigErrorKind {
    ConfigErrorKind::Unknown {
        what,
        found: found.to_owned(),
        nearest: nearest(found, names).map(str::to_owned),
    }
}

fn not_yet(name: &str, needs: &str) -> ConfigErrorKind {
    ConfigErrorKind::NotYet { keyword: format!("{name} ({needs})"), guards_access: true }
}

#[cfg(test)]
mod tests;
