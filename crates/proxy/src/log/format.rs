//! Log formats as the rest of the proxy sees them: parsed with the proxy's scope, rendered from a context.

use std::collections::VecDeque;
use std::ops::Range;

use telamon_config::{Args, ConfigErrorKind, Token};

use super::builtin::Builtin;
use super::template::{Style, Template, TemplateError, TemplateErrorKind};
use super::variable::{Facts, Variable};
use crate::expr::{Expr, ParseScope, Place};
use crate::model::Mode;
use crate::stream::{Context, Direction};

/// Text with variables (`%ci`) and samples (`%[…]`): a log line, a header's value, a name.
#[derive(Debug)]
pub struct LogFormat {
    template: Template<Expr>,
    usage: FormatUse,
}

/// What a format is for, which decides how its text is read and its values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatUse {
    /// `log-format`, `log-format-sd`, `error-log-format`: spaces merge, a missing value is `-`, and samples may come from
    /// the request as well as from the response.
    Log,
    /// `unique-id-format`: spaces merge; samples are encoded as for [`Http`](Self::Http).
    UniqueId,
    /// What becomes part of an HTTP head or its reply: header values, URIs, redirects, `lf-string`, keys of
    /// `set-map`. Bytes that a field value may not hold are written as `%XX` where a sample has them.
    Http,
    /// Anything else: `use_backend`, `use-server`, `set-var-fmt`, checks. Values are written as they are.
    Text,
}

/// What is wrong with a format, and which bytes of its text say so.
#[derive(Debug)]
pub struct FormatError {
    pub at: Range<usize>,
    pub kind: ConfigErrorKind,
}

impl LogFormat {
    /// Reads the next word of a line as a format. What is wrong is reported; `None` then.
    pub fn parse(
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
        usage: FormatUse,
    ) -> Option<Self> {
        let token = args.next("a format string")?;
        Self::parse_token(&token, args, scope, usage)
    }

    /// Reads a word that was taken from the line already. What is wrong is reported; `None` then.
    pub fn parse_token(
        token: &Token<'_>,
        args: &mut Args<'_>,
        scope: &mut ParseScope<'_>,
        usage: FormatUse,
    ) -> Option<Self> {
        let errors = match Self::parse_text(token.bytes, scope, usage) {
            Ok(format) => return Some(format),
            Err(errors) => errors,
        };
        for error in errors {
            args.fail(token.part(error.at), error.kind);
        }
        None
    }

    /// Reads a format.
    ///
    /// The samples of [`FormatUse::Log`] are judged as those of [`Place::Log`] wherever the scope stands.
    ///
    /// # Errors
    /// Every mistake, in order; there is at least one.
    pub fn parse_text(
        text: &[u8],
        scope: &mut ParseScope<'_>,
        usage: FormatUse,
    ) -> Result<Self, Vec<FormatError>> {
        let place = scope.place;
        if usage == FormatUse::Log {
            scope.place = Place::Log;
        }
        let style = usage.style(scope.mode == Mode::Http);
        let mut wrong = VecDeque::new();
        let template = Template::parse(text, style, &mut |begin| {
            let parsed =
                Expr::parse_prefix(&text[begin..], scope).and_then(|(expr, len)| {
                    match expr.misplaced(scope) {
                        None => Ok((expr, begin + len)),
                        Some(kind) => Err(crate::expr::ExprError { at: 0..len, kind }),
                    }
                });
            parsed
                .map_err(|error| {
                    let at = begin + error.at.start..begin + error.at.end;
                    wrong.push_back(FormatError { at, kind: error.kind });
                })
                .ok()
        });
        scope.place = place;
        let told = |error: TemplateError| match error.kind {
            TemplateErrorKind::Sample => wrong.pop_front(),
            kind => {
                let at = error.offset..error.offset + error.len;
                let found = String::from_utf8_lossy(&text[at.clone()]);
                Some(FormatError { kind: kind.for_diagnostics(&found), at })
            }
        };
        template
            .map(|template| Self { template, usage })
            .map_err(|errors| errors.into_iter().filter_map(told).collect())
    }

    /// A format in which nothing varies.
    pub fn constant(text: &[u8]) -> Self {
        let usage = FormatUse::Text;
        Self { template: Template::constant(text, usage.style(false)), usage }
    }

    /// The format that an option names.
    pub fn builtin(builtin: Builtin) -> Self {
        let style = FormatUse::Log.style(true);
        let text = builtin.text().as_bytes();
        let template = Template::parse(text, style, &mut |begin| {
            let (expr, len) = Expr::plain(&text[begin..])?;
            Some((expr, begin + len))
        });
        // A test reads each.
        Self { template: template.expect("a built-in format is right"), usage: FormatUse::Log }
    }

    /// Appends the format, filled in from `cx`, to `out`. Allocates nothing once `out` has room, but for samples that
    /// themselves allocate and the rare value that has to be encoded.
    pub fn render(&self, cx: &Context<'_>, out: &mut Vec<u8>) {
        let facts = if self.template.has_variables { Facts::of(cx) } else { None };
        self.render_with(facts.as_ref(), cx, out);
    }

    pub(super) fn render_with(
        &self,
        facts: Option<&Facts<'_>>,
        cx: &Context<'_>,
        out: &mut Vec<u8>,
    ) {
        self.template.render(facts, |expr, out| self.evaluate(expr, cx, out), out);
    }

    /// The whole text where nothing in it varies.
    pub fn as_constant(&self) -> Option<&[u8]> {
        self.template.as_constant()
    }

    /// Whether it names something that is known only when all is over.
    pub(super) fn waits_for_end(&self) -> bool {
        self.template.waits_for_end
    }

    /// Whether it shows the address from which servers are connected to (`%bi`, `%bp`), which has to be asked for.
    pub fn shows_server_source(&self) -> bool {
        self.template.names(Variable::BackendSource) || self.template.names(Variable::BackendPort)
    }

    /// Whether it shows the address of the connection to the server (`%si`, `%sp`).
    pub fn shows_server_address(&self) -> bool {
        self.template.names(Variable::ServerAddress) || self.template.names(Variable::ServerPort)
    }

    /// The samples in it, in order.
    pub fn samples(&self) -> impl Iterator<Item = &Expr> {
        self.template.samples()
    }

    fn evaluate(&self, expr: &Expr, cx: &Context<'_>, out: &mut Vec<u8>) {
        // A line is written when both halves are known: a sample is looked for in the request first.
        let both = [Direction::Request, Direction::Response];
        let own = [cx.direction];
        let directions = if self.usage == FormatUse::Log { &both[..] } else { &own[..] };
        for &direction in directions {
            if let Some(value) = expr.eval(&Context { direction, ..*cx }) {
                value.write_text(out);
                return;
            }
        }
    }
}

impl FormatUse {
    fn style(self, http_mode: bool) -> Style {
        Style {
            mandatory: self == Self::Log,
            merge_spaces: matches!(self, Self::Log | Self::UniqueId),
            http: matches!(self, Self::UniqueId | Self::Http),
            http_mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_formats_are_right() {
        for builtin in [Builtin::Tcp, Builtin::Http, Builtin::Clf, Builtin::Https] {
            assert_eq!(LogFormat::builtin(builtin).as_constant(), None);
        }
    }
}
