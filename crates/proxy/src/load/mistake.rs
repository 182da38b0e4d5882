//! Mistakes that only a proxy can make.

use telamon_config::{ConfigErrorKind, Explanation, Location, Mistake};

/// What is wrong, or doubtful, with a proxy.
#[derive(Debug)]
pub(super) enum ProxyMistake {
    /// A rule in a `defaults` section that has no name.
    NamelessDefaults {
        keyword: String,
    },
    /// A rule that runs before those that stand above it.
    Misplaced {
        rule: &'static str,
        after: &'static str,
    },
    /// `frontend` or `listen` that listens nowhere.
    NoBind {
        proxy: String,
    },
    MissingTimeouts {
        proxy: String,
        missing: Vec<&'static str>,
    },
    /// Needs `mode http`; has no effect.
    NeedsHttp {
        what: String,
        proxy: String,
    },
    WrongMode {
        from: String,
        to: String,
        to_at: Location,
    },
    /// A server with the cookie of one above it.
    SharedCookie {
        value: String,
        first: Location,
    },
    /// `backup` and `priority` on one server.
    PriorityOfBackup {
        server: String,
    },
    /// `check` without any port.
    NoCheckPort {
        server: String,
    },
    /// `agent-check` without `agent-port`.
    NoAgentPort {
        server: String,
    },
    /// A frontend that chooses itself.
    Loop {
        proxy: String,
    },
    /// `http-check` without `option httpchk` and the like.
    IgnoredRules {
        rules: &'static str,
        needs: &'static str,
        proxy: String,
    },
    /// A format without a target.
    NoLogTarget {
        proxy: String,
    },
    /// `track` of a server that itself tracks nothing and is not checked, or that ends in a circle.
    BadTrack {
        server: String,
        why: &'static str,
    },
    /// Not a message that could be sent.
    BadErrorFile {
        path: String,
        why: String,
    },
    /// A section that its `defaults` section has rules for that it cannot have.
    CannotInherit {
        title: String,
        defaults: Location,
    },
    /// A free text for where one word is all there is to say.
    Says {
        title: String,
        help: &'static str,
    },
}

impl Mistake for ProxyMistake {
    fn explain(&self) -> Explanation {
        match self {
            Self::NamelessDefaults { keyword } => Explanation::new(format!(
                "`{keyword}` in a `defaults` section without a name"
            ))
            .help("name the section (`defaults NAME`); rules are inherited from named ones only"),
            Self::Misplaced { rule, after } => {
                Explanation::new(format!("`{rule}` after `{after}` will still be processed before"))
                    .help("write the rules in the order in which they run")
            }
            Self::NoBind { proxy } => Explanation::new(format!("{proxy} has no `bind`"))
                .help("declare it as a backend if this was intended"),
            Self::MissingTimeouts { proxy, missing } => {
                Explanation::new(format!("missing timeouts for {proxy}"))
                    .label(format!("without {}", missing.join(", ")))
                    .help("connections that neither end forgets stay for ever")
            }
            Self::NeedsHttp { what, proxy } => {
                Explanation::new(format!("{what} ignored for {proxy}"))
                    .help("it requires `mode http`")
            }
            Self::WrongMode { from, to, to_at } => {
                Explanation::new(format!("{from} cannot pass its traffic to {to}"))
                    .help("give both the same `mode`")
                    .related(*to_at, "declared here")
            }
            Self::SharedCookie { value, first } => {
                Explanation::new(format!("a second server with the cookie `{value}`"))
                    .help("a client comes back to the first of them; give each its own")
                    .related(*first, "the first")
            }
            Self::PriorityOfBackup { server } => {
                Explanation::new(format!("server {server} has both `backup` and `priority`"))
                    .help("a backup comes after every priority; take out one of the two")
            }
            Self::NoCheckPort { server } => {
                Explanation::new(format!("server {server} has no port to check"))
                    .help("give it a port, `port`, or a `tcp-check connect port`")
            }
            Self::NoAgentPort { server } => {
                Explanation::new(format!("server {server} has no port for its agent"))
                    .help("give it `agent-port <port>`")
            }
            Self::Loop { proxy } => {
                Explanation::new(format!("{proxy} would pass its traffic to itself"))
            }
            Self::IgnoredRules { rules, needs, proxy } => {
                Explanation::new(format!("{rules} rules of {proxy} are ignored")).help(match *needs
                {
                    "option httpchk" => "they require `option httpchk`",
                    _ => "they require `option tcp-check`",
                })
            }
            Self::NoLogTarget { proxy } => {
                Explanation::new(format!("log format ignored for {proxy}"))
                    .help("it has no `log` target")
            }
            Self::BadTrack { server, why } => {
                Explanation::new(format!("`track` of server {server} leads nowhere")).help(*why)
            }
            Self::BadErrorFile { path, why } => {
                Explanation::new(format!("`{path}` is not an HTTP response: {why}"))
                    .help("the whole file is sent as it stands, head and body")
            }
            Self::CannotInherit { title, defaults } => {
                Explanation::new(title.clone()).related(*defaults, "the defaults section")
            }
            Self::Says { title, help } => Explanation::new(title.clone()).help(*help),
        }
    }
}

impl From<ProxyMistake> for ConfigErrorKind {
    fn from(mistake: ProxyMistake) -> Self {
        Self::Plane(Box::new(mistake))
    }
}
