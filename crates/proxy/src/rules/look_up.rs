//! `do-resolve`: asks name servers for a host while the request waits.

use std::cell::Cell;

use telamon_config::{Args, ConfigErrorKind};
use telamon_dns_proto::{Kind, Name};

use super::actions::typed_sample;
use super::variable::VariableName;
use crate::expr::{Expr, ParseScope, SetConditions, Value, ValueType, parse_variable};
use crate::stream::{Context, Direction, Stream};

/// What is asked, of whom, and where the answer goes.
#[derive(Debug)]
pub struct LookUp {
    variable: VariableName,
    /// The name of the `resolvers` section.
    resolvers: Box<str>,
    /// The family that is asked for first; IPv6 unless it says otherwise.
    prefer: Kind,
    host: Expr,
}

/// A look-up of one host; the rules go on when [`PendingLookUp::finish`] is over.
#[derive(Debug, PartialEq, Eq)]
pub struct PendingLookUp {
    variable: VariableName,
    resolvers: Box<str>,
    prefer: Kind,
    host: Name,
}

impl LookUp {
    /// Reads what stands in the parentheses of `do-resolve(VARIABLE,RESOLVERS[,ipv4|ipv6])`, and the sample behind it.
    pub(super) fn read(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Self> {
        let keyword = args.keyword();
        let (inner, begin) = super::in_parentheses(args)?;
        let mut start = begin;
        let mut words = inner.split(',').map(|word| {
            let at = keyword.part(start..start + word.len());
            start += word.len() + 1;
            (word, at)
        });
        let (name, at) = words.next()?;
        let variable = parse_variable(name.as_bytes()).map_err(|kind| args.fail(at, kind)).ok()?;
        let Some((resolvers, at)) = words.next() else {
            args.bad(keyword, "action", "`do-resolve(<var>,<resolvers>[,ipv4|ipv6])`");
            return None;
        };
        let known = scope.directory.resolvers.get().map(Vec::as_slice).unwrap_or_default();
        if !scope.offline && !known.iter().any(|name| **name == *resolvers) {
            let known = known.iter().map(|name| &**name);
            args.fail(at, ConfigErrorKind::undefined("resolvers", resolvers, known));
            return None;
        }
        let mut prefer = Kind::Aaaa;
        for (word, at) in words {
            prefer = match word {
                "ipv4" => Kind::A,
                "ipv6" => Kind::Aaaa,
                _ => {
                    let words = ["ipv4", "ipv6"];
                    args.fail(at, ConfigErrorKind::unknown("family", word, words));
                    return None;
                }
            };
        }
        let host = typed_sample(args, scope, ValueType::Str)?;
        Some(Self { variable, resolvers: resolvers.into(), prefer, host })
    }

    /// What is to be asked; `None` where the sample is absent or no name of a host, which leaves the variable as it is.
    pub(super) fn begin(
        &self,
        stream: &Stream,
        direction: Direction,
    ) -> Option<Box<PendingLookUp>> {
        let wants_more = Cell::new(false);
        let cx = Context::for_stream(stream, direction, &wants_more);
        let host = match self.host.eval_as(&cx, ValueType::Str)? {
            Value::Str(text) => Name::parse(std::str::from_utf8(&text).ok()?).ok()?,
            _ => return None,
        };
        Some(Box::new(PendingLookUp {
            variable: self.variable.clone(),
            resolvers: self.resolvers.clone(),
            prefer: self.prefer,
            host,
        }))
    }
}

impl PendingLookUp {
    /// Waits for the answer and sets the variable; without an answer that stays as it is. The wait ends with the tries
    /// that the `resolvers` section allows.
    pub(crate) async fn finish(self, stream: &Stream) {
        let worker = &stream.session.worker;
        let found = worker.shared.names.find(&self.resolvers, self.host, self.prefer).await;
        worker.touch();
        if let Some(ip) = found {
            let wants_more = Cell::new(false);
            let cx = Context::for_stream(stream, Direction::Request, &wants_more);
            self.variable.set(&cx, Value::Addr(ip), SetConditions::default());
        }
    }
}
