//! The words in which a mistake is told.

use super::{ConfigErrorKind, Severity};
use crate::condition::ConditionErrorKind;
use crate::source::Location;

/// A mistake in words: lower case, no full stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What is wrong.
    pub title: String,
    /// At the marked token: what was expected.
    pub label: Option<String>,
    /// What to write or do instead.
    pub help: Option<String>,
    /// Another place that matters, and why.
    pub related: Vec<(Location, String)>,
}

impl Explanation {
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn related(mut self, at: Location, why: impl Into<String>) -> Self {
        self.related.push((at, why.into()));
        self
    }

    fn did_you_mean(mut self, nearest: Option<&str>) -> Self {
        self.label = nearest.map(|nearest| format!("did you mean `{nearest}`?"));
        self
    }
}

impl ConfigErrorKind {
    pub fn explain(&self) -> Explanation {
        let say = |title: String| Explanation::new(title);
        match self {
            Self::UnclosedQuote { quote: '\'' } => say("single quote without its end".into())
                .label("opened here")
                .help("write `\\'` for the character itself"),
            Self::UnclosedQuote { quote } => say(match quote {
                '"' => "double quote without its end".into(),
                other => format!("quote {other} without its end"),
            })
            .label("opened here")
            .help("write `\\\"` for the character itself"),
            Self::UnclosedBrace => say("variable without its closing brace".into())
                .label("expected `${NAME}`, `${NAME-default}` or `${NAME[*]}`"),
            Self::BadVariableName => say("bad name of a variable".into())
                .label("expected a letter, `_` or `.`")
                .help("write `\\$` for a dollar sign in double quotes"),
            Self::BadHexEscape => say("incomplete hexadecimal escape".into())
                .label("expected two hexadecimal digits after `\\x`")
                .help("write `\\\\x` for a backslash and an x"),
            Self::BadWordExpansion => {
                say("bad expansion into words".into()).label("expected `[*]`")
            }
            Self::TooManyWords { max } => say(format!("more than {max} words on a line"))
                .label(format!("word {} is too many", max + 1)),
            Self::LineTooLong { max } => say(format!("line longer than {max} bytes")),
            Self::ExpansionTooLarge { max } => {
                say(format!("variables add more than {max} bytes to the configuration"))
            }
            Self::FileTooLarge { max } => say(format!("file larger than {max} bytes")),
            Self::StrayNul => say("NUL byte in the configuration".into())
                .help("is this a text file, and is it complete?"),
            Self::StrayCarriageReturn => say("carriage return in the middle of a line".into())
                .label("everything from here on would be ignored"),
            Self::NoFinalNewline => say("last line without line feed".into())
                .label("is the file complete?")
                .help("HAProxy refuses such a file, since it may have been cut"),
            Self::EmptyFirstWord => say("line ignored because its first word is empty".into())
                .help("remove the line, or give the variable a value"),
            Self::EmptyWord => say("empty word".into())
                .label("is a variable empty?")
                .help("HAProxy ignores the rest of such a line"),

            Self::Condition(kind) => condition(kind),
            Self::LoneDirective { directive } => say(format!("`{directive}` without `.if`")),
            Self::AfterElse { directive, first } => say(format!("`{directive}` after `.else`"))
                .related(*first, "the `.else` stands here"),
            Self::NestedTooDeep { max } => {
                say(format!("`.if` blocks nested deeper than {max} levels"))
            }
            Self::UnclosedIf => say("`.if` without `.endif`".into()).label("opened here"),
            Self::Message { text } => say(text.clone()),

            Self::OutOfSection { found } => say(format!("`{found}` before any section"))
                .label("expected a section such as `global`, `defaults`, `frontend`"),
            Self::Unknown { what, found, nearest } => {
                say(format!("unknown {what} `{found}`")).did_you_mean(nearest.as_deref())
            }
            Self::WrongSection { keyword, section, belongs } => {
                say(format!("`{keyword}` does not belong in `{section}`"))
                    .label(format!("belongs in {}", any_of(belongs)))
            }
            Self::NotNegatable { keyword, modifier } => {
                say(format!("`{modifier}` cannot stand before `{keyword}`"))
                    .help("only options, `log` and a few switches of `global` take it")
            }
            Self::NotYet { keyword, guards_access } => {
                let told = say(format!("`{keyword}` is known to HAProxy, not yet to Telamon"));
                if *guards_access {
                    told.help("`--lenient` does not skip it: it decides who may reach what")
                } else {
                    told.help("`--lenient` skips such lines with a warning")
                }
            }
            Self::NoEffect { keyword, why } => {
                say(format!("`{keyword}` has no effect here: {why}"))
            }
            Self::Obsolete { keyword, instead } => {
                say(format!("`{keyword}` is obsolete")).help(format!("write `{instead}`"))
            }

            Self::Missing { what, after } => {
                say(format!("`{after}` lacks {what}")).label(format!("expected {what} after this"))
            }
            Self::Trailing { found, after } => {
                say(format!("unexpected `{found}` after `{after}`")).label("not expected here")
            }
            Self::BadValue { what, found, expected } => {
                say(format!("bad {what} `{found}`")).label(format!("expected {expected}"))
            }
            Self::OutOfRange { what, found, min, max } => {
                say(format!("{what} {found} is out of range"))
                    .label(format!("expected {min} to {max}"))
            }

            Self::BadNameCharacter { what, found } => {
                say(format!("character {found:?} in the name of a {what}"))
                    .label("expected letters, digits, `.`, `:`, `_` and `-`")
            }
            Self::Duplicate { what, name, first } => say(format!("second {what} `{name}`"))
                .label("the name is taken")
                .related(*first, "the first stands here"),
            Self::Undefined { what, name, nearest } => {
                say(format!("there is no {what} `{name}`")).did_you_mean(nearest.as_deref())
            }
            Self::Ambiguous { what, name, first, second } => {
                say(format!("{what} `{name}` is ambiguous"))
                    .related(*first, "this one?")
                    .related(*second, "or this one?")
            }
            Self::MixedDefaults { name, defaults } => say(format!(
                "defaults section `{name}` is used both by name and as the last one before"
            ))
            .label("uses it as the last one before")
            .related(*defaults, "the section")
            .help(format!("write `from {name}` here too, or add another `defaults` in between")),
            Self::Conflict { what, with, first } => {
                let told = say(format!("{what} cannot be combined with {with}"));
                match first {
                    Some(first) => told.related(*first, "stands here"),
                    None => told,
                }
            }
            Self::Requires { what, needs } => say(format!("{what} needs {needs}")),

            Self::Unreadable { path, error } => {
                say(format!("cannot read {}: {}", path.display(), error.text))
            }
            Self::Unresolved { what, name } => say(format!("{what} `{name}` is not known here")),

            Self::Plane(mistake) => mistake.explain(),
        }
    }
}

impl Severity {
    pub(super) fn noun(self, count: usize) -> &'static str {
        match (self, count) {
            (Self::Alert, 1) => "error",
            (Self::Alert, _) => "errors",
            (Self::Warning, 1) => "warning",
            (Self::Warning, _) => "warnings",
            (Self::Notice | Self::Diag, 1) => "notice",
            (Self::Notice | Self::Diag, _) => "notices",
        }
    }
}

fn condition(kind: &ConditionErrorKind) -> Explanation {
    let say = |title: &str| Explanation::new(format!("bad condition: {title}"));
    match kind {
        ConditionErrorKind::ExpectedTerm => say("a term is missing")
            .label("expected a number, a predicate such as `defined(NAME)`, or `(`"),
        ConditionErrorKind::UnknownPredicate { found, nearest } => {
            say(&format!("unknown predicate `{found}`")).did_you_mean(*nearest)
        }
        ConditionErrorKind::Arguments { predicate, expected, found } => {
            say(&format!("`{predicate}` has {found} arguments"))
                .label(format!("expected {expected} in parentheses"))
        }
        ConditionErrorKind::UnclosedParenthesis => {
            say("parenthesis without its end").label("opened here")
        }
        ConditionErrorKind::Trailing => {
            say("something follows its end").label("expected `&&`, `||` or the end of the line")
        }
        ConditionErrorKind::TooDeep => say("parentheses are nested too deeply"),
    }
}

/// "`a`, `b` or `c`".
pub(crate) fn any_of<S: AsRef<str>>(words: &[S]) -> String {
    let mut out = String::new();
    for (n, word) in words.iter().enumerate() {
        out.push_str(match n {
            0 => "",
            n if n + 1 == words.len() => " or ",
            _ => ", ",
        });
        out.push('`');
        out.push_str(word.as_ref());
        out.push('`');
    }
    out
}
