//! A proxy while its lines are read.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use telamon_balance::RetryBudget;
use telamon_balance::outlier::OutlierConfig;
use telamon_config::{Args, ConfigErrorKind, Location, SectionSpec, Sections};

use super::base::Base;
use super::bind::{BindLine, Owner};
use super::check::CheckDraft;
use super::mistake::ProxyMistake;
use super::server::{ServerLine, ServerSettings, SourceDraft};
use super::state_file::StateFrom;
use crate::expr::{Acls, Condition, LogFormat, ParseScope, Place};
use crate::log::{Builtin, LogTarget};
use crate::model::{
    Balance, Captures, CheckStep, ErrorReplies, Global, HttpReuse, Mode, Options,
    PersistenceCookie, ProxyId, RetryOn, Rules, StatsPage, StickRule, Timeouts,
};
use crate::rules::{ErrorSets, HttpRequestRule, PersistenceRule, UseBackendRule, UseServerRule};
use crate::state::DynamicCookies;

/// What the keywords of the sections `defaults`, `frontend`, `listen` and `backend` fill in.
pub(super) struct ProxyContext {
    pub(super) base: Rc<Base>,
    pub(super) global: Rc<Global>,
    /// What Unix sockets are like unless their line says otherwise.
    pub(super) socket_owner: Rc<Owner>,
    pub(super) errors: Rc<ErrorSets>,
    pub(super) draft: Draft,
    pub(super) own: Own,
    /// `None` in `defaults`.
    pub(super) id: Option<ProxyId>,
    pub(super) sections: Sections,
    /// A `defaults` section without a name: its rules could not be inherited.
    pub(super) nameless_defaults: bool,
}

/// What a section inherits from its `defaults` and may change.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) mode: Mode,
    pub(super) disabled: bool,
    pub(super) options: Options,
    pub(super) timeouts: Timeouts,
    /// Their lines are there, but wrong.
    pub(super) bad_timeouts: Vec<&'static str>,
    /// The waits before contents are judged; part of the rules in HAProxy, and inherited all the same.
    pub(super) inspect_delay: Option<Duration>,
    pub(super) inspect_delay_response: Option<Duration>,
    pub(super) errors: ErrorReplies,
    pub(super) log: Vec<Arc<LogTarget>>,
    pub(super) log_tag: Option<Box<str>>,
    pub(super) format: Option<Format>,
    pub(super) format_sd: Option<Arc<LogFormat>>,
    pub(super) error_format: Option<Format>,
    pub(super) unique_id_format: Option<Arc<LogFormat>>,
    pub(super) unique_id_header: Option<Box<[u8]>>,
    pub(super) stats: Option<StatsPage>,
    pub(super) maxconn: Option<u32>,
    pub(super) backlog: Option<u32>,
    pub(super) rate_limit_sessions: u32,
    pub(super) default_backend: Option<(ProxyId, Location)>,
    pub(super) monitor_uri: Option<Box<[u8]>>,
    pub(super) balance: Balance,
    pub(super) fullconn: Option<u32>,
    pub(super) panic_threshold: u8,
    pub(super) retries: u32,
    pub(super) retry_on: RetryOn,
    pub(super) retry_budget: Option<RetryBudget>,
    pub(super) outlier_ejection: Option<OutlierConfig>,
    pub(super) max_pending: u32,
    pub(super) redispatch: i32,
    pub(super) reuse: HttpReuse,
    pub(super) source: Option<SourceDraft>,
    pub(super) send_name_header: Option<Box<[u8]>>,
    pub(super) max_keep_alive_queue: Option<u32>,
    pub(super) check: CheckDraft,
    pub(super) cookie: Option<PersistenceCookie>,
    /// `cookie ... dynamic` and `dynamic-cookie-key`.
    pub(super) dynamic_cookies: DynamicCookies,
    pub(super) state_from: (StateFrom, Location),
    /// `default-server`.
    pub(super) server: ServerSettings,
    pub(super) client_keepalive: KeepaliveDraft,
    pub(super) server_keepalive: KeepaliveDraft,
    /// Rules that a `defaults` section has for its heirs.
    pub(super) presets: PresetRules,
}

/// Which rules a `defaults` section has, for they decide who may inherit from it.
#[derive(Clone, Copy, Default)]
pub(super) struct PresetRules {
    pub(super) any: bool,
    /// `tcp-request connection` and `session`.
    pub(super) of_connections: bool,
    /// `tcp-response content`.
    pub(super) of_responses: bool,
}

/// What `log-format` or an option asks for.
#[derive(Clone)]
pub(super) enum Format {
    Builtin(Builtin, Location),
    Written(Arc<LogFormat>),
}

/// `clitcpka-*` or `srvtcpka-*`.
#[derive(Clone, Copy, Default)]
pub(super) struct KeepaliveDraft {
    pub(super) idle: Option<Duration>,
    pub(super) interval: Option<Duration>,
    pub(super) count: Option<u32>,
}

/// What a section has for itself.
#[derive(Default)]
pub(super) struct Own {
    pub(super) description: Option<Box<str>>,
    pub(super) binds: Vec<BindLine>,
    pub(super) servers: Vec<ServerLine>,
    pub(super) acls: Acls,
    pub(super) rules: Rules,
    pub(super) captures: Captures,
    pub(super) use_backend: Vec<UseBackendRule>,
    pub(super) use_server: Vec<UseServerRule>,
    pub(super) persist_rules: Vec<PersistenceRule>,
    pub(super) monitor_fail: Vec<Condition>,
    pub(super) stick_request: Vec<StickRule>,
    pub(super) stick_response: Vec<StickRule>,
    pub(super) stats_admin: Vec<Condition>,
    pub(super) stats_rules: Vec<HttpRequestRule>,
    pub(super) stats_at: Option<Location>,
    pub(super) cookie_at: Option<Location>,
    pub(super) dispatch: Option<(telamon_config::Address, Location)>,
    pub(super) state_file_name: Option<Box<str>>,
    pub(super) http_check: Vec<CheckStep>,
    pub(super) tcp_check: Vec<CheckStep>,
    pub(super) http_check_at: Option<Location>,
    pub(super) tcp_check_at: Option<Location>,
    /// How late the rules run that were read so far, and what they are called.
    pub(super) rank: u8,
    pub(super) rank_name: &'static str,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            disabled: false,
            options: Options::default(),
            timeouts: Timeouts::default(),
            bad_timeouts: Vec::new(),
            inspect_delay: None,
            inspect_delay_response: None,
            errors: ErrorReplies::default(),
            log: Vec::new(),
            log_tag: None,
            format: None,
            format_sd: None,
            error_format: None,
            unique_id_format: None,
            unique_id_header: None,
            stats: None,
            maxconn: None,
            backlog: None,
            rate_limit_sessions: 0,
            default_backend: None,
            monitor_uri: None,
            balance: Balance::default(),
            fullconn: None,
            panic_threshold: 0,
            retries: RETRIES_DEFAULT,
            retry_on: RetryOn::default(),
            retry_budget: None,
            outlier_ejection: None,
            max_pending: 0,
            redispatch: 0,
            reuse: HttpReuse::default(),
            source: None,
            send_name_header: None,
            max_keep_alive_queue: None,
            check: CheckDraft::default(),
            cookie: None,
            dynamic_cookies: DynamicCookies::default(),
            state_from: (StateFrom::None, Location::COMMAND_LINE),
            server: ServerSettings::default(),
            client_keepalive: KeepaliveDraft::default(),
            server_keepalive: KeepaliveDraft::default(),
            presets: PresetRules::default(),
        }
    }
}

impl ProxyContext {
    /// Whether the section has the side that the keyword is about. If not, says so; HAProxy warns and goes on.
    pub(super) fn has_side(&self, args: &mut Args<'_>, side: Sections) -> bool {
        self.is_among(args, side.and(Sections::DEFAULTS))
    }

    /// As [`has_side`](Self::has_side), for what `defaults` cannot have.
    pub(super) fn has_named_side(&self, args: &mut Args<'_>, side: Sections) -> bool {
        self.is_among(args, side)
    }

    fn is_among(&self, args: &mut Args<'_>, sections: Sections) -> bool {
        if sections.intersects(self.sections) {
            return true;
        }
        let kind = ConfigErrorKind::WrongSection {
            keyword: args.keyword_text(),
            section: args.line().section().keyword(),
            belongs: sections.names(SectionSpec::HAPROXY).collect(),
        };
        args.warn(args.at(), kind);
        args.skip_rest();
        false
    }

    pub(super) fn accepts(&self) -> bool {
        Sections::FRONTS.intersects(self.sections)
    }

    pub(super) fn serves(&self) -> bool {
        Sections::BACKS.intersects(self.sections)
    }

    /// Reads something that may hold expressions.
    pub(super) fn scoped<R>(
        &mut self,
        args: &mut Args<'_>,
        place: Place,
        read: impl FnOnce(&mut Args<'_>, &mut ParseScope<'_>) -> R,
    ) -> R {
        let base = Rc::clone(&self.base);
        let errors = Rc::clone(&self.errors);
        let mut scope = ParseScope {
            directory: &base.directory,
            lists: &base.lists,
            files: &*base.files,
            errors: &errors,
            environment: args.environment(),
            acls: std::mem::take(&mut self.own.acls),
            place,
            proxy: self.id,
            mode: self.draft.mode,
            frontend: self.accepts(),
            backend: self.serves(),
            request_captures: self.own.captures.request.len(),
            response_captures: self.own.captures.response.len(),
            offline: base.options.offline,
            stick_counters: self.global.tune.stick_counters,
            experimental: base.experimental.get(),
            line: base.line(args.at()),
        };
        let read = read(args, &mut scope);
        self.own.acls = scope.acls;
        read
    }

    /// Notes that a rule was read which runs at `rank`; warns where one above it runs later.
    pub(super) fn rank(&mut self, args: &mut Args<'_>, rank: u8, name: &'static str) {
        if self.own.rank > rank {
            let after = self.own.rank_name;
            args.warn(args.at(), ProxyMistake::Misplaced { rule: name, after }.into());
        } else {
            (self.own.rank, self.own.rank_name) = (rank, name);
        }
    }

    /// Whether rules may stand here; reports where not.
    pub(super) fn takes_rules(&mut self, args: &mut Args<'_>) -> bool {
        if self.nameless_defaults {
            let keyword = args.keyword_text();
            args.fail(args.at(), ProxyMistake::NamelessDefaults { keyword }.into());
            return false;
        }
        if self.sections == Sections::DEFAULTS {
            let keyword = args.keyword_text();
            let presets = &mut self.draft.presets;
            presets.any = true;
            presets.of_connections |=
                matches!(&*keyword, "tcp-request connection" | "tcp-request session");
            presets.of_responses |= keyword == "tcp-response content";
        }
        true
    }

    /// Takes what the section's own lines replace as a whole.
    pub(super) fn finish_section(&mut self) {
        self.draft.check.take(&mut self.own.http_check, &mut self.own.tcp_check);
        if self.id.is_none()
            && let Some(page) = &mut self.draft.stats
            && !self.own.stats_rules.is_empty()
        {
            page.rules = std::mem::take(&mut self.own.stats_rules).into();
        }
    }
}

impl KeepaliveDraft {
    pub(super) fn build(self) -> telamon_runtime::Keepalive {
        telamon_runtime::Keepalive { idle: self.idle, interval: self.interval, count: self.count }
    }
}

/// `retries` where none is written.
const RETRIES_DEFAULT: u32 = 3;
