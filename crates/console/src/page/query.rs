//! What a request to the page asks for: the options that follow its URI, and the form that its actions post.

use std::fmt::Write as _;

/// The options after the page's URI, as HAProxy writes them: `;csv`, `;up`, `?scope=NAME` …, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) format: Format,
    /// `;up`: no servers that are down.
    pub(super) hide_down: bool,
    /// `;no-maint`: no servers in maintenance.
    pub(super) hide_maint: bool,
    /// `;norefresh`.
    pub(super) no_refresh: bool,
    /// `scope=`: proxies whose names hold this text.
    pub(super) scope: Option<String>,
    /// `;st=`: how the action ended that led here.
    pub(super) outcome: Option<Outcome>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Html,
    Csv,
    Typed,
    Json,
    JsonSchema,
    /// The page's own: numbers for the page that is open.
    Live,
    /// The page's own: the curves.
    History,
    Stylesheet,
    Script,
}

/// How an action ended, as `;st=` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// No server was chosen, or no action.
    Nothing,
    Partly,
    BadParameters,
    TooLong,
    Denied,
    Unknown,
}

/// An action that was posted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) backend: Option<String>,
    pub(super) action: Option<String>,
    pub(super) weight: Option<String>,
    pub(super) servers: Vec<String>,
}

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for option in text.split([';', '?', '&']) {
            match option {
                "csv" => query.format = Format::Csv,
                "typed" => query.format = Format::Typed,
                "json" => query.format = Format::Json,
                "json-schema" => query.format = Format::JsonSchema,
                "live" => query.format = Format::Live,
                "history" => query.format = Format::History,
                "app.css" => query.format = Format::Stylesheet,
                "app.js" => query.format = Format::Script,
                "up" => query.hide_down = true,
                "no-maint" => query.hide_maint = true,
                "norefresh" => query.no_refresh = true,
                _ => {
                    if let Some(code) = option.strip_prefix("st=") {
                        query.outcome = Some(Outcome::from_code(code));
                    } else if let Some(scope) = option.strip_prefix("scope=") {
                        let scope = decode(scope)
                            .filter(|scope| !scope.is_empty() && scope.len() <= SCOPE_MAX);
                        query.scope = scope;
                    }
                }
            }
        }
        query
    }

    /// The options that a link on the page keeps.
    pub(super) fn kept(&self) -> String {
        let mut text = String::new();
        for (set, option) in [
            (self.hide_down, ";up"),
            (self.hide_maint, ";no-maint"),
            (self.no_refresh, ";norefresh"),
        ] {
            if set {
                text.push_str(option);
            }
        }
        if let Some(scope) = &self.scope {
            text.push_str("?scope=");
            for byte in scope.bytes() {
                if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                    text.push(char::from(byte));
                } else {
                    // Writing into a String cannot fail.
                    let _ = write!(text, "%{byte:02X}");
                }
            }
        }
        text
    }
}

impl Outcome {
    const CODES: [(Self, &str); 7] = [
        (Self::Done, "DONE"),
        (Self::Nothing, "NONE"),
        (Self::Partly, "PART"),
        (Self::BadParameters, "ERRP"),
        (Self::TooLong, "EXCD"),
        (Self::Denied, "DENY"),
        (Self::Unknown, "UNKN"),
    ];

    pub(super) fn code(self) -> &'static str {
        Self::CODES.iter().find(|(outcome, _)| *outcome == self).map_or("UNKN", |(_, code)| code)
    }

    fn from_code(text: &str) -> Self {
        Self::CODES
            .iter()
            .find(|(_, code)| text.starts_with(code))
            .map_or(Self::Unknown, |(outcome, _)| *outcome)
    }

    /// Style and words of the message on the page.
    pub(super) fn notice(self) -> (&'static str, &'static str) {
        match self {
            Self::Done => ("", "Action processed successfully."),
            Self::Nothing => ("warn", "Nothing has changed."),
            Self::Partly => ("warn", "Action partially processed: some server names are unknown."),
            Self::BadParameters => (
                "bad",
                "Action not processed: the action, the backend, a server or the weight is unknown.",
            ),
            Self::TooLong => ("bad", "Action not processed: the form is longer than tune.bufsize."),
            Self::Denied => ("bad", "Action denied: “stats admin” does not allow it here."),
            Self::Unknown => ("bad", "Unexpected result."),
        }
    }
}

impl Form {
    /// Reads `application/x-www-form-urlencoded`; `None` where an escape is broken. The last value of a field
    /// counts, except that every `s` names a server.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut form = Self::default();
        for field in std::str::from_utf8(body).ok()?.split('&') {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let value = decode(value)?;
            match decode(name)?.as_str() {
                "b" => form.backend = Some(value),
                "action" => form.action = Some(value),
                "weight" => form.weight = Some(value),
                "s" => form.servers.push(value),
                _ => {}
            }
        }
        Some(form)
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Bytes of a scope; longer ones are not looked for.
const SCOPE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_the_uri() {
        #[track_caller]
        fn check(text: &str, format: Format, kept: &str) {
            let query = Query::parse(text);
            assert_eq!((query.format, query.kept().as_str()), (format, kept));
        }
        check("", Format::Html, "");
        check(";csv", Format::Csv, "");
        check(";csv;norefresh", Format::Csv, ";norefresh");
        check("?scope=be%2f1;csv", Format::Csv, "?scope=be%2F1");
        check(";up;no-maint;json", Format::Json, ";up;no-maint");
        check(";json-schema", Format::JsonSchema, "");
        check(";st=DONE", Format::Html, "");
        check("?scope=<script>", Format::Html, "?scope=%3Cscript%3E");
        check("?scope=%zz", Format::Html, "");
        check("/else", Format::Html, "");
        assert_eq!(Query::parse(";st=PART").outcome, Some(Outcome::Partly));
        assert_eq!(Query::parse(";st=").outcome, Some(Outcome::Unknown));
    }

    #[test]
    fn forms_name_servers_and_one_action() {
        #[track_caller]
        fn check(body: &str, expected: Option<(&str, &str, &[&str])>) {
            let form = Form::parse(body.as_bytes());
            let form = form.as_ref().map(|form| {
                let text = |field: &Option<String>| field.clone().unwrap_or_default();
                (text(&form.backend), text(&form.action), form.servers.clone())
            });
            let expected = expected.map(|(backend, action, servers)| {
                let servers = servers.iter().map(|server| (*server).to_owned()).collect();
                (backend.to_owned(), action.to_owned(), servers)
            });
            assert_eq!(form, expected);
        }
        check("s=s1&s=s2&action=drain&b=%235", Some(("#5", "drain", &["s1", "s2"])));
        check("s=a+b&action=ready&action=maint&b=x", Some(("x", "maint", &["a b"])));
        check("", Some(("", "", &[])));
        check("s=%4", None);
        check("s=%ff", None);
    }
}
