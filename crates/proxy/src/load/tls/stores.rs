//! `crt-store` sections: names for certificates (HAProxy 3.0).

use std::collections::HashMap;
use std::sync::LazyLock;

use telamon_config::{
    Args, Checker, ConfigErrorKind, Diagnostics, Environment, Keyword, Location, Section, Sections,
    Table,
};

use super::files::under;

/// All sections.
#[derive(Debug, Default)]
pub(in crate::load) struct CrtStores {
    /// By `STORE/NAME`, or `NAME` of the section without a name.
    entries: HashMap<Box<str>, Entry>,
}

/// One `load` line. Paths are whole.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) certificate: Box<str>,
    pub(super) key: Option<Box<str>>,
    pub(super) ocsp: Option<Box<str>>,
    pub(super) issuer: Option<Box<str>>,
    at: Location,
}

/// One section while it is read.
#[derive(Default)]
pub(in crate::load) struct Draft {
    name: Box<str>,
    crt_base: Option<Box<str>>,
    key_base: Option<Box<str>>,
    lines: Vec<Line>,
}

#[derive(Default)]
struct Line {
    certificate: Option<(Box<str>, Location)>,
    key: Option<Box<str>>,
    ocsp: Option<Box<str>>,
    issuer: Option<Box<str>>,
    alias: Option<Box<str>>,
}

type K = Keyword<Draft>;
type L = Keyword<Line>;

const HERE: Sections = Sections::CRT_STORE;

pub(in crate::load) static TABLE: LazyLock<Table<Draft>> =
    LazyLock::new(|| Table::new("keyword", &[KEYWORDS]));

static OPTIONS: LazyLock<Table<Line>> = LazyLock::new(|| Table::new("option", &[LOAD]));

const KEYWORDS: &[K] = &[
    K::works(
        "crt-base",
        HERE,
        "crt-base <directory>",
        "where its certificates are",
        |store, args| {
            store.crt_base = args.next("a directory").map(|token| token.text.into());
        },
    )
    .since("3.0"),
    K::works("key-base", HERE, "key-base <directory>", "where its keys are", |store, args| {
        store.key_base = args.next("a directory").map(|token| token.text.into());
    })
    .since("3.0"),
    K::works(
        "load",
        HERE,
        "load crt <file> [alias <name>] [key <file>] [ocsp <file>] [issuer <file>]",
        "a certificate, found as `@STORE/NAME`",
        |store, args| {
            let mut line = Line::default();
            args.each(&OPTIONS, &mut line);
            if line.certificate.is_none() && !args.failed() {
                args.missing("`crt FILE`");
            }
            store.lines.push(line);
        },
    )
    .since("3.0"),
];

const LOAD: &[L] = &[
    L::works("crt", HERE, "crt <file>", "the certificate and its chain", |line, args| {
        line.certificate = args.next("a file").map(|token| (token.text.into(), token.at));
    }),
    L::works("alias", HERE, "alias <name>", "its name; without, that of the file", |line, args| {
        line.alias = value(args);
    }),
    L::works("key", HERE, "key <file>", "its private key", |line, args| line.key = value(args)),
    L::works("ocsp", HERE, "ocsp <file>", "an OCSP response in DER", |line, args| {
        line.ocsp = value(args);
    }),
    L::works("issuer", HERE, "issuer <file>", "who has signed it", |line, args| {
        line.issuer = value(args);
    }),
    L::idle("sctl", HERE, "sctl <file>", "timestamps of a log; never sent", |_, args| {
        args.next("a file");
        super::super::bind::no_effect(args, "timestamps of certificate logs are never sent");
    }),
    L::not_yet("ocsp-update", HERE),
    L::not_yet("acme", HERE),
    L::not_yet("domains", HERE),
];

fn value(args: &mut Args<'_>) -> Option<Box<str>> {
    args.next("a value").map(|token| token.text.into())
}

impl CrtStores {
    pub(in crate::load) fn read(
        sections: &[Section],
        (crt_base, key_base): (Option<&str>, Option<&str>),
        environment: &Environment,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut stores = Self::default();
        for section in sections.iter().filter(|section| section.spec.bit == HERE) {
            let name = section.name().map_or("", |name| name.text);
            let mut draft = Draft { name: name.into(), ..Draft::default() };
            let mut checker = Checker::new(environment, diagnostics);
            for line in section.lines() {
                checker.dispatch(&TABLE, line, &mut draft);
            }
            stores.take(draft, crt_base, key_base, diagnostics);
        }
        stores
    }

    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(super) fn names(&self) -> Vec<Box<str>> {
        self.entries.keys().cloned().collect()
    }

    fn take(
        &mut self,
        draft: Draft,
        crt_base: Option<&str>,
        key_base: Option<&str>,
        diagnostics: &mut Diagnostics,
    ) {
        let crt_base = draft.crt_base.as_deref().or(crt_base);
        // Keys are with the certificates where nothing else is said.
        let key_base = draft.key_base.as_deref().or(key_base).or(crt_base);
        for line in draft.lines {
            let Some((file, at)) = line.certificate else { continue };
            let whole = |base: Option<&str>, path: &str| -> Box<str> { under(base, path).into() };
            let beside =
                |path: &Option<Box<str>>| path.as_deref().map(|path| whole(crt_base, path));
            let entry = Entry {
                certificate: whole(crt_base, &file),
                key: line.key.as_deref().map(|path| whole(key_base, path)),
                ocsp: beside(&line.ocsp),
                issuer: beside(&line.issuer),
                at,
            };
            let own = line.alias.unwrap_or(file);
            let name: Box<str> = match &*draft.name {
                "" => own,
                store => format!("{store}/{own}").into(),
            };
            if let Some(first) = self.entries.get(&name) {
                let kind = ConfigErrorKind::Duplicate {
                    what: "certificate",
                    name: name.into(),
                    first: first.at,
                };
                diagnostics.error(at, kind);
                continue;
            }
            self.entries.insert(name, entry);
        }
    }
}
