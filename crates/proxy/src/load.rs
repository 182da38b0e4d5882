//! From the words of a configuration to a checked [`Model`].
//!
//! ```text
//! Source::load -> read -> names -> global -> defaults -> each proxy -> whole -> Model
//! ```
//!
//! `telamon-config` reads the text into sections and finds the keyword of each line in the tables that stand in the
//! files of `load/`, one file for each subject. [`names`] comes first, so that every line can refer to proxies, servers
//! and user lists that stand below it. A `defaults` section becomes a [`Draft`](draft::Draft) that its heirs begin as a
//! copy of; its rules are read again for each heir. [`whole`] then looks at what only the finished parts show.
//!
//! No step stops at the first mistake. Nothing is bound here, and nothing outside the text is touched but through
//! [`Files`].

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use telamon_config::{
    Checker, ConfigError, Diagnostics, Environment, FileId, Section, SectionSpec, Sections, Source,
    markdown, read, resolve_defaults,
};
use telamon_runtime::files::PathKind;
use telamon_runtime::{BindAddress, BindSpec, Files};

use crate::expr::{Lists, ProcessVariables};
use crate::model::Model;

mod absent;
mod balance;
mod base;
mod bind;
mod build;
mod check;
mod cookie;
mod draft;
mod errors;
mod failures;
mod global;
mod logs;
mod mistake;
mod names;
mod obsolete;
mod options;
mod place;
mod resolvers;
mod rules;
mod server;
mod settings;
mod state_file;
mod stats;
pub(crate) mod table;
mod tls;
mod tune;
mod userlist;
mod whole;

#[cfg(test)]
mod tests;

use base::Base;
use draft::{Draft, Own, PresetRules, ProxyContext};
use global::GlobalContext;

/// How a configuration is to be loaded: what the command line says.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// `-f`: files and directories, in order.
    pub paths: Vec<PathBuf>,
    /// `check --offline`: files, host names, users and groups are not looked up.
    pub offline: bool,
    /// `--lenient`: what is not there yet is a warning where leaving it out is harmless.
    pub lenient: bool,
    /// `-dD`: hints too.
    pub diagnostic: bool,
    /// `-n`: takes precedence over `maxconn` in `global`.
    pub maxconn: Option<u32>,
    /// `-N`: the `maxconn` of frontends that set none.
    pub proxy_maxconn: Option<u32>,
    /// `-L`: takes precedence over `localpeer`.
    pub local_peer: Option<String>,
    /// `-S`: an address, and options as on a `bind` line after commas.
    pub master_socket: Option<String>,
    /// `-dr`: servers whose names do not resolve begin in maintenance.
    pub ignore_resolve_failures: bool,
    /// Worker threads where `nbthread` does not say, at least 1.
    pub workers: usize,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            offline: false,
            lenient: false,
            diagnostic: false,
            maxconn: None,
            proxy_maxconn: None,
            local_peer: None,
            master_socket: None,
            ignore_resolve_failures: false,
            workers: 1,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Loaded {
    /// Absent if anything is wrong.
    pub model: Option<Model>,
    /// Everything found, in one run, by place.
    pub diagnostics: Diagnostics,
    /// The texts, to show the mistakes in.
    pub source: Source,
    /// The variables as the texts have left them.
    pub environment: Environment,
}

/// Loads a configuration. `environment` has the variables and features that it may ask about.
pub fn load(options: &LoadOptions, environment: Environment, files: Rc<dyn Files>) -> Loaded {
    let mut diagnostics =
        Diagnostics::new().lenient(options.lenient).diagnostic_mode(options.diagnostic);
    let source = Source::load(&Texts(&*files), &options.paths, &mut diagnostics);
    load_source(options, environment, files, source, diagnostics)
}

/// As [`load`], of texts that were read already.
pub fn load_source(
    options: &LoadOptions,
    mut environment: Environment,
    files: Rc<dyn Files>,
    mut source: Source,
    mut diagnostics: Diagnostics,
) -> Loaded {
    if let Some(text) = &options.master_socket {
        source.add(MASTER_SOCKET, master_socket(text).into_bytes());
    }
    if let Some(name) = &options.local_peer {
        environment = environment.with_local_peer(name);
    }
    let sections = read(&source, SectionSpec::HAPROXY, &mut environment, &mut diagnostics);
    let presets = resolve_defaults(&sections, &mut diagnostics);
    let mut loader = Loader {
        options,
        environment: &environment,
        diagnostics: &mut diagnostics,
        sections: &sections,
        presets,
    };
    let model = loader.model(files, &source);
    let model = (!diagnostics.has_errors()).then_some(model);
    diagnostics.sort();
    Loaded { model, diagnostics, source, environment }
}

/// The line that says the same as the argument of `-S`: one grammar and one way of telling mistakes serve both.
fn master_socket(argument: &str) -> String {
    let mut line = String::from("global\n    stats socket");
    for (index, word) in argument.split(',').enumerate() {
        line.push(' ');
        for character in word.chars() {
            if !(character.is_alphanumeric() || "@./:-_[]".contains(character)) {
                line.push('\\');
            }
            line.push(character);
        }
        if index == 0 {
            // What follows may say otherwise.
            line.push_str(" level admin");
        }
    }
    line.push('\n');
    line
}

/// The name of the text that `-S` stands in.
const MASTER_SOCKET: &str = "-S";

/// The manual's tables of keywords, in Markdown.
pub fn manual() -> String {
    let specs = SectionSpec::HAPROXY;
    let chapters = [
        ("`global`", markdown(&global::KEYWORDS, specs)),
        ("`defaults`, `frontend`, `listen`, `backend`", markdown(&settings::KEYWORDS, specs)),
        ("`bind`, `stats socket`", markdown(&bind::OPTIONS, specs)),
        ("`server`, `default-server`", markdown(&server::OPTIONS, specs)),
        ("`cookie`", markdown(&cookie::OPTIONS, specs)),
        ("`balance`", markdown(&balance::STRATEGIES, specs)),
        ("`stick-table`", markdown(&table::OPTIONS, specs)),
        ("`http-check`", markdown(&check::rule::HTTP, specs)),
        ("`tcp-check`", markdown(&check::rule::TCP, specs)),
        ("`userlist`", markdown(&userlist::TABLE, specs)),
        ("`resolvers`", markdown(&resolvers::TABLE, specs)),
        ("`crt-store`", markdown(&tls::CRT_STORE, specs)),
        ("`http-errors`", markdown(&errors::SECTION, specs)),
    ];
    let chapters = chapters.map(|(title, table)| format!("## {title}\n\n{table}"));
    chapters.join("\n")
}

fn host_name() -> Box<str> {
    rustix::system::uname().nodename().to_string_lossy().into()
}

/// A socket's address as a `bind` line writes it.
fn describe(spec: &BindSpec) -> String {
    match &spec.address {
        BindAddress::Inet(address) => address.to_string(),
        BindAddress::Unix(path) => format!("unix@{}", path.display()),
        BindAddress::Abstract(name) => format!("abns@{}", String::from_utf8_lossy(name)),
        BindAddress::Fd(number) => format!("fd@{number}"),
    }
}

/// One run.
struct Loader<'l> {
    options: &'l LoadOptions,
    environment: &'l Environment,
    diagnostics: &'l mut Diagnostics,
    sections: &'l [Section],
    /// By section, the `defaults` section that presets it.
    presets: Vec<Option<usize>>,
}

impl<'l> Loader<'l> {
    fn model(&mut self, files: Rc<dyn Files>, source: &Source) -> Model {
        let userlists = userlist::read(self.sections, self.environment, self.diagnostics);
        let names = names::collect(
            self.sections,
            &self.presets,
            userlists,
            self.environment,
            self.diagnostics,
        );
        let base = Rc::new(Base {
            files,
            directory: names.directory,
            lists: Arc::new(Lists::default()),
            options: self.options.clone(),
            paths: source.files().map(|file| (file, path_of(source, file))).collect(),
            workers: Cell::new(1),
            experimental: Cell::new(false),
            resolved: Default::default(),
            states: Default::default(),
            builtin_formats: Default::default(),
            tls: Default::default(),
            tls_defaults: Default::default(),
            crt_stores: Default::default(),
            tls_issuers: Default::default(),
            tls_tickets: Default::default(),
        });
        let mut global = GlobalContext::new(Rc::clone(&base));
        for section in self.sections_of(Sections::GLOBAL) {
            let mut checker = Checker::new(self.environment, self.diagnostics);
            for line in section.lines() {
                checker.dispatch(&global::KEYWORDS, line, &mut global);
            }
        }
        let (global, socket_owner) = global.finish(self.options, self.diagnostics);
        base.workers.set(global.nbthread.unwrap_or(self.options.workers).max(1));
        let (global, socket_owner) = (Rc::new(global), Rc::new(socket_owner));
        let errors =
            Rc::new(errors::sections(self.sections, &base, self.environment, self.diagnostics));
        absent::sections(self.sections, self.diagnostics);
        let defaults = base.tls_defaults();
        let bases = (defaults.crt_base.as_deref(), defaults.key_base.as_deref());
        _ = base.crt_stores.set(tls::CrtStores::read(
            self.sections,
            bases,
            self.environment,
            self.diagnostics,
        ));
        let resolvers = resolvers::read(self.sections, &base, self.environment, self.diagnostics);
        let known = resolvers.iter().map(|section| section.name.clone()).collect();
        _ = base.directory.resolvers.set(known);

        let mut drafts: HashMap<usize, Rc<Draft>> = HashMap::new();
        let mut proxies = Vec::new();
        let mut heirs = HashMap::new();
        for (index, section) in self.sections.iter().enumerate() {
            if !section.spec.bit.intersects(Sections::PROXIES) {
                continue;
            }
            let preset = self.presets[index].and_then(|preset| drafts.get(&preset)).cloned();
            let draft = preset.as_deref().cloned().unwrap_or_default();
            let id = names.ids.get(&index).copied();
            let mut context = ProxyContext {
                base: Rc::clone(&base),
                global: Rc::clone(&global),
                socket_owner: Rc::clone(&socket_owner),
                errors: Rc::clone(&errors),
                draft: Draft { mode: names.modes[index], presets: PresetRules::default(), ..draft },
                own: Own::default(),
                id,
                sections: section.spec.bit,
                nameless_defaults: id.is_none() && section.name().is_none(),
            };
            if let Some(draft) = preset.filter(|draft| draft.presets.any) {
                self.may_inherit(section, self.presets[index], draft.presets, &mut heirs);
                self.inherit_rules(self.presets[index], &mut context);
            }
            let mut checker = Checker::new(self.environment, self.diagnostics);
            for line in section.lines() {
                checker.dispatch(&settings::KEYWORDS, line, &mut context);
            }
            context.finish_section();
            match id {
                None => {
                    drafts.insert(index, Rc::new(context.draft));
                }
                Some(id) => {
                    whole::section(&context, section, self.diagnostics);
                    let number = names.numbers[id.0 as usize];
                    proxies.push(build::proxy(context, id, section, number, self.diagnostics));
                }
            }
        }
        let mut model = Model {
            // Nothing else holds it now that no context is left.
            global: Rc::into_inner(global).unwrap_or_default(),
            proxies,
            resolvers,
            tables: table::build(&base.directory),
            lists: Arc::clone(&base.lists),
            files: base.paths.clone(),
            tls: Arc::clone(&base.tls),
            variables: Arc::new(ProcessVariables::default()),
            ..Model::default()
        };
        whole::check(&mut model, self.diagnostics);
        model
    }

    /// Reports an heir whose kind cannot have the rules of its `defaults` section, or that shares it with another
    /// kind. `heirs` has the kind of each such section's first heir.
    fn may_inherit(
        &mut self,
        section: &Section,
        preset: Option<usize>,
        rules: PresetRules,
        heirs: &mut HashMap<usize, Sections>,
    ) {
        let Some(preset) = preset else { return };
        let first = *heirs.entry(preset).or_insert(section.spec.bit);
        let why = match section.spec.bit {
            Sections::DEFAULTS | Sections::LISTEN => "rules",
            Sections::BACKEND if rules.of_connections => {
                "`tcp-request connection` or `session` rules"
            }
            Sections::FRONTEND if rules.of_responses => "`tcp-response content` rules",
            kind if kind != first => "rules for another kind of section",
            _ => return,
        };
        let kind = section.keyword();
        let title = format!("a {kind} section cannot inherit from a defaults section with {why}");
        let defaults = self.sections[preset].at();
        let mistake = mistake::ProxyMistake::CannotInherit { title, defaults };
        self.diagnostics.error(section.at(), mistake.into());
    }

    /// Reads the rules of a `defaults` section once more, for an heir. What was wrong with a line was told before, where
    /// anything was.
    fn inherit_rules(&mut self, preset: Option<usize>, context: &mut ProxyContext) {
        let Some(preset) = preset else { return };
        let mut told = Diagnostics::new().lenient(self.options.lenient);
        let mut checker = Checker::new(self.environment, &mut told);
        for line in self.sections[preset].lines() {
            if rules::is_inherited(line.keyword().text) {
                checker.dispatch(&settings::KEYWORDS, line, context);
            }
        }
        context.own.rank = 0;
        for mistake in told.into_errors() {
            let same_line = |known: &ConfigError| {
                (known.at.file, known.at.line) == (mistake.at.file, mistake.at.line)
            };
            if !self.diagnostics.iter().any(same_line) {
                self.diagnostics.push(mistake);
            }
        }
    }

    fn sections_of(&self, kind: Sections) -> impl Iterator<Item = &'l Section> + use<'l> {
        self.sections.iter().filter(move |section| section.spec.bit == kind)
    }
}

/// What the reader of texts needs of the system.
struct Texts<'f>(&'f dyn Files);

impl telamon_config::Files for Texts<'_> {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.0.read(path)
    }

    fn is_directory(&self, path: &Path) -> std::io::Result<bool> {
        Ok(self.0.kind(path)? == PathKind::Directory)
    }

    fn list(&self, directory: &Path) -> std::io::Result<Vec<PathBuf>> {
        self.0.list(directory)
    }
}

fn path_of(source: &Source, file: FileId) -> String {
    source.path(file).map_or_else(String::new, |path| path.display().to_string())
}
