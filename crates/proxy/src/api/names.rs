//! Name servers: `show resolvers`.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use telamon_runtime::api::{Answer, Invocation, Level};

use super::{Row, row, text};
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[row(
    &["show", "resolvers"],
    Level::User,
    "[id]",
    "dumps counters from all resolvers section and associated name servers",
    show_resolvers,
)];

/// `cname` and `timeout` are never counted by HAProxy either.
fn show_resolvers(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let snapshot = view.snapshot();
    let model = &snapshot.model;
    let only = call.args.first();
    if only.is_some_and(|name| model.resolvers(name).is_none()) {
        return Err("Can't find that resolvers section\n".to_owned());
    }
    if model.resolvers.is_empty() {
        return text("No resolvers found\n");
    }
    let mut out = String::new();
    for section in &model.resolvers {
        if only.is_some_and(|name| *section.name != **name) {
            continue;
        }
        _ = writeln!(out, "Resolvers section {}", section.name);
        for nameserver in &section.nameservers {
            let counters = view.shared.names.counters.of(&section.name, &nameserver.name);
            _ = writeln!(out, " nameserver {}:", nameserver.name);
            let rows = [
                ("sent:        ", counters.sent.load(Relaxed)),
                ("snd_error:   ", counters.send_errors.load(Relaxed)),
                ("valid:       ", counters.valid.load(Relaxed)),
                ("update:      ", counters.updates.load(Relaxed)),
                ("cname:       ", 0),
                ("cname_error: ", counters.alias_errors.load(Relaxed)),
                ("any_err:     ", counters.empty.load(Relaxed)),
                ("nx:          ", counters.no_name.load(Relaxed)),
                ("timeout:     ", 0),
                ("refused:     ", counters.refused.load(Relaxed)),
                ("other:       ", counters.other.load(Relaxed)),
                ("invalid:     ", counters.malformed.load(Relaxed)),
                ("too_big:     ", counters.too_big.load(Relaxed)),
                ("truncated:   ", counters.truncated.load(Relaxed)),
                ("outdated:    ", counters.outdated.load(Relaxed)),
            ];
            rows.iter().for_each(|(label, count)| _ = writeln!(out, "  {label}{count}"));
        }
    }
    out.push('\n');
    text(out)
}
