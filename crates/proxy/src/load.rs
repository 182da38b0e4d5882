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
    Checker, Diagnostics, Environment, FileId, Section, SectionSpec, Sections, Source, Style,
    check_condition, read, resolve_defaults,
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
mod draft;
mod errors;
mod global;
mod logs;
mod mistake;
mod names;
mod obsolete;
mod options;
mod rules;
mod server;
mod settings;
mod stats;
mod tune;
mod userlist;
mod whole;

#[cfg(test)]
mod tests;

use base::Base;
use draft::{Draft, Own, ProxyContext};
use global::GlobalContext;

/// How a configuration is to be loaded: what the command line says.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// `-f`: files and directories, in order.
    pub paths: Vec<PathBuf>,
    /// `check --offline`: files, host names, users and groups are not looked up.
    pub offline: bool,
    /// `--lenient`: what is not there yet is a warning where leaving it out is harmless.
    pub lenient: bool,
    /// `-dD`: hints too.
    pub diagnostic_mode: bool,
    /// `-N`: the `maxconn` of frontends that set none.
    pub proxy_maxconn: Option<u32>,
    /// `-L`; the machine's name unless given.
    pub local_peer: Option<String>,
    /// `-dr`: servers whose names do not resolve begin in maintenance.
    pub ignore_resolve_failures: bool,
    /// `-dS`: as `nosplice`.
    pub no_splice: bool,
    /// `-W`: as `master-worker`.
    pub master_worker: bool,
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
}

/// Loads a configuration, which sees the variables of the process.
pub fn load(files: Rc<dyn Files>, options: &LoadOptions) -> Loaded {
    let mut diagnostics = diagnostics(options);
    let source = Source::load(&Texts(&*files), &options.paths, &mut diagnostics);
    load_source(files, options, environment(options), source, diagnostics)
}

/// As [`load`], of texts that were read already and an environment of the caller's.
pub fn load_source(
    files: Rc<dyn Files>,
    options: &LoadOptions,
    mut environment: Environment,
    source: Source,
    mut diagnostics: Diagnostics,
) -> Loaded {
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
    Loaded { model, diagnostics, source }
}

/// Evaluates `-cc EXPRESSION`.
///
/// # Errors
/// What is wrong with it, as it is shown.
pub fn condition(expression: &str, options: &LoadOptions) -> Result<bool, String> {
    let mut diagnostics = diagnostics(options);
    let mut source = Source::new();
    let file = source.add("-cc", expression.as_bytes().to_vec());
    check_condition(&source, file, &environment(options), &mut diagnostics)
        .ok_or_else(|| diagnostics.render(&source, Style::Plain))
}

/// The worker threads of a configuration: `nbthread`, else one per usable core.
pub fn worker_count(model: &Model) -> usize {
    model.global.nbthread.unwrap_or_else(cores)
}

/// The address of a socket as a `bind` line writes it.
pub fn describe(spec: &BindSpec) -> String {
    match &spec.address {
        BindAddress::Inet(address) => address.to_string(),
        BindAddress::Unix(path) => format!("unix@{}", path.display()),
        BindAddress::Abstract(name) => format!("abns@{}", String::from_utf8_lossy(name)),
        BindAddress::Fd(number) => format!("fd@{number}"),
    }
}

/// The first setting that differs and cannot be changed by a reload.
pub fn needs_restart(old: &Model, new: &Model) -> Option<&'static str> {
    let (old_workers, new_workers) = (worker_count(old), worker_count(new));
    let (old, new) = (&old.global, &new.global);
    let settings = [
        ("nbthread", old_workers == new_workers),
        ("cpu-map", old.cpu_map == new.cpu_map),
        ("user", (&old.user, old.uid) == (&new.user, new.uid)),
        ("group", (&old.group, old.gid) == (&new.group, new.gid)),
        ("chroot", old.chroot == new.chroot),
        ("daemon", old.daemon == new.daemon),
        ("pidfile", old.pidfile == new.pidfile),
        ("master-worker", old.master_worker == new.master_worker),
        ("maxconn", old.maxconn == new.maxconn),
        ("ulimit-n", old.ulimit_n == new.ulimit_n),
    ];
    settings.into_iter().find_map(|(name, same)| (!same).then_some(name))
}

fn diagnostics(options: &LoadOptions) -> Diagnostics {
    Diagnostics::new().lenient(options.lenient).diagnostic_mode(options.diagnostic_mode)
}

/// What configurations may ask about.
fn environment(options: &LoadOptions) -> Environment {
    use std::os::unix::ffi::OsStringExt;
    let variables = std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec()));
    let mut environment = Environment::new().with_variables(variables).with_features(FEATURES);
    match &options.local_peer {
        Some(name) => environment = environment.with_local_peer(name),
        None => environment.set("HAPROXY_LOCALPEER", &*host_name()),
    }
    environment
}

fn host_name() -> Box<str> {
    rustix::system::uname().nodename().to_string_lossy().into()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What `feature(NAME)` answers to.
const FEATURES: &[(&str, bool)] = &[
    ("EPOLL", true),
    ("GETADDRINFO", true),
    ("LINUX_SPLICE", true),
    ("LINUX_TPROXY", true),
    ("NETFILTER", true),
    ("THREAD", true),
    ("TFO", true),
    ("OPENSSL", false),
    ("LUA", false),
    ("ZLIB", false),
    ("SLZ", false),
    ("QUIC", false),
];

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
        let names = names::collect(self.sections, &self.presets, userlists, self.diagnostics);
        let base = Rc::new(Base {
            files,
            directory: names.directory,
            lists: Arc::new(Lists::default()),
            options: self.options.clone(),
            paths: source.files().map(|file| (file, path_of(source, file))).collect(),
            workers: Cell::new(1),
            resolved: Default::default(),
            builtin_formats: Default::default(),
        });
        let mut global = GlobalContext::new(Rc::clone(&base));
        for section in self.sections_of(Sections::GLOBAL) {
            let mut checker = Checker::new(self.environment, self.diagnostics);
            for line in section.lines() {
                checker.dispatch(&global::KEYWORDS, line, &mut global);
            }
        }
        let (global, socket_owner) = global.finish(self.options, self.diagnostics);
        base.workers.set(global.nbthread.unwrap_or_else(cores));
        let (global, socket_owner) = (Rc::new(global), Rc::new(socket_owner));
        let errors =
            Rc::new(errors::sections(self.sections, &base, self.environment, self.diagnostics));
        absent::sections(self.sections, self.diagnostics);

        let mut drafts: HashMap<usize, Rc<Draft>> = HashMap::new();
        let mut proxies = Vec::new();
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
                draft: Draft { mode: names.modes[index], has_rules: false, ..draft },
                own: Own::default(),
                id,
                sections: section.spec.bit,
                nameless_defaults: id.is_none() && section.name().is_none(),
            };
            if let Some(preset) = preset.filter(|preset| preset.has_rules) {
                context.draft.has_rules = preset.has_rules && id.is_none();
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
            lists: Arc::clone(&base.lists),
            variables: Arc::new(ProcessVariables::default()),
            ..Model::default()
        };
        whole::check(&mut model, self.diagnostics);
        model
    }

    /// Reads the rules of a `defaults` section once more, for an heir. Their mistakes were told before.
    fn inherit_rules(&self, preset: Option<usize>, context: &mut ProxyContext) {
        let Some(preset) = preset else { return };
        if self.sections[preset].spec.bit != Sections::DEFAULTS {
            return;
        }
        self.inherit_rules(self.presets[preset], context);
        let mut told = Diagnostics::new().lenient(self.options.lenient);
        let mut checker = Checker::new(self.environment, &mut told);
        for line in self.sections[preset].lines() {
            if rules::is_inherited(line.keyword().text) {
                checker.dispatch(&settings::KEYWORDS, line, context);
            }
        }
        context.own.rank = 0;
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
