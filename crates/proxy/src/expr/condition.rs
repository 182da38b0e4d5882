//! What follows `if` and `unless`: ACLs, joined by an implicit and, `or`, and `!`.

use std::sync::Arc;

use telamon_config::{Args, ConfigErrorKind, Token};

use super::acl::{Acl, Acls, Outcome, Test, raw_in_http};
use super::{ParseScope, Source};
use crate::stream::Context;

/// A condition as a small program: alternatives, each of which is a run of tests.
#[derive(Debug)]
pub struct Condition {
    alternatives: Box<[Box<[Term]>]>,
    /// `unless`.
    negated: bool,
}

#[derive(Debug)]
struct Term {
    acl: Arc<Acl>,
    negated: bool,
}

impl Condition {
    /// Reads `if …` or `unless …`. `None` where neither stands (`Ok`), or where what follows is
    /// wrong, which is reported ([`Args::failed`] is set then).
    pub fn parse_if_unless(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Self> {
        if args.accept("unless") {
            return Self::parse(args, scope).map(|condition| Self { negated: true, ..condition });
        }
        args.accept("if").then(|| Self::parse(args, scope)).flatten()
    }

    /// Reads what follows `if`, up to the end of the line. What is wrong is reported.
    pub fn parse(args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Self> {
        let mut alternatives = Vec::new();
        let mut terms: Vec<Term> = Vec::new();
        let mut negated = false;
        let mut ok = true;
        while let Some(token) = args.next_if_any() {
            match token.text {
                "or" | "||" => {
                    if ok && (terms.is_empty() || negated) {
                        args.missing("an acl");
                        return None;
                    }
                    alternatives.push(std::mem::take(&mut terms).into());
                    if args.is_empty() {
                        args.missing("an acl");
                        return None;
                    }
                    continue;
                }
                "!" => {
                    negated = !negated;
                    continue;
                }
                _ => {}
            }
            let bangs = token.text.len() - token.text.trim_start_matches('!').len();
            let name = &token.text[bangs..];
            negated ^= bangs % 2 == 1;
            let acl = if name == "{" {
                anonymous(token, args, scope)
            } else {
                let at = token.part(bangs..token.text.len());
                Acls::find(token, name, at, args, scope)
            };
            if let Some(doubt) = acl.as_ref().and_then(|acl| raw_in_http(acl, scope)) {
                args.warn(token.at, doubt);
            }
            // Go on after a mistake, so that all of them are told in one run.
            match acl {
                Some(acl) => terms.push(Term { acl, negated: std::mem::take(&mut negated) }),
                None => {
                    ok = false;
                    negated = false;
                }
            }
        }
        if ok && (terms.is_empty() || negated) {
            args.missing("an acl");
            return None;
        }
        alternatives.push(terms.into());
        ok.then(|| Self { alternatives: alternatives.into(), negated: false })
    }

    /// Tests of which at least one passes whenever the condition holds, each accepted by `knows`. `None` where there are
    /// no such tests.
    pub(super) fn needs(&self, knows: impl Fn(&Test) -> bool) -> Option<Vec<&Arc<Test>>> {
        let mut needed = Vec::new();
        for terms in &self.alternatives {
            let known = |term: &&Term| !term.negated && term.acl.tests().all(|test| knows(test));
            needed.extend(terms.iter().find(known)?.acl.tests());
        }
        (!self.negated).then_some(needed)
    }

    /// Whether one of its tests reads such a thing.
    pub(crate) fn reads(&self, is_such: impl Fn(Source) -> bool) -> bool {
        let mut tests = self.alternatives.iter().flatten().flat_map(|term| term.acl.tests());
        tests.any(|test| is_such(test.expr().source()))
    }

    /// Whether it holds. Sets `cx.wants_more` when more bytes may change that; it counts as false
    /// (`unless`: true) then.
    pub fn holds(&self, cx: &Context<'_>) -> bool {
        let mut outcome = Outcome::Fail;
        for terms in &self.alternatives {
            let mut all = Outcome::Pass;
            for term in terms {
                let one = term.acl.test(cx);
                all = all.min(match (one, term.negated) {
                    (Outcome::Pass, true) => Outcome::Fail,
                    (Outcome::Fail, true) => Outcome::Pass,
                    (one, _) => one,
                });
                if all == Outcome::Fail {
                    break;
                }
            }
            outcome = outcome.max(all);
            if outcome == Outcome::Pass {
                break;
            }
        }
        if outcome == Outcome::Unknown {
            cx.wants_more.set(true);
        }
        (outcome == Outcome::Pass) != self.negated
    }
}

/// Reads `{ … }` behind its opening brace.
fn anonymous(open: Token<'_>, args: &mut Args<'_>, scope: &mut ParseScope<'_>) -> Option<Arc<Acl>> {
    let mut words = Vec::new();
    loop {
        match args.next_if_any() {
            None => {
                let kind = ConfigErrorKind::Missing { what: "`}`".into(), after: "{".to_owned() };
                args.fail(open.at, kind);
                return None;
            }
            Some(token) if token.text == "}" => break,
            Some(token) => words.push(token),
        }
    }
    if words.is_empty() {
        let kind = ConfigErrorKind::Missing { what: "a criterion".into(), after: "{".to_owned() };
        args.fail(open.at, kind);
        return None;
    }
    let test = Test::parse(&words, "anonymous acl", args, scope)?;
    Some(Acl::of("", Arc::new(test)))
}
