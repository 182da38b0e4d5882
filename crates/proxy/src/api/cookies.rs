//! Dynamic cookies of a backend: whether there are any, and the key that they are made with.

use telamon_runtime::api::{Answer, Invocation, Level};

use super::{Row, done, row};
use crate::state::DynamicCookies;
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["set", "dynamic-cookie-key", "backend"],
        Level::Admin,
        "<bk> <k>",
        "change a backend secret key for dynamic cookies",
        |view, call| {
            let key = call.args.get(1).map(|key| Box::from(key.as_bytes()));
            change(view, call, |cookies| {
                cookies.key = Some(key.ok_or("String value expected.\n")?);
                Ok(())
            })
        },
    ),
    row(
        &["enable", "dynamic-cookie", "backend"],
        Level::Admin,
        "<bk>",
        "enable dynamic cookies on a specific backend",
        |view, call| switch(view, call, true),
    ),
    row(
        &["disable", "dynamic-cookie", "backend"],
        Level::Admin,
        "<bk>",
        "disable dynamic cookies on a specific backend",
        |view, call| switch(view, call, false),
    ),
];

fn switch(view: &View, call: &Invocation<'_>, enabled: bool) -> Result<Answer, String> {
    change(view, call, |cookies| {
        cookies.enabled = enabled;
        Ok(())
    })
}

/// Changes what the cookies are made with, and makes them anew.
fn change(
    view: &View,
    call: &Invocation<'_>,
    change: impl FnOnce(&mut DynamicCookies) -> Result<(), &'static str>,
) -> Result<Answer, String> {
    let name = call.args.first().ok_or("A backend name is expected.\n")?;
    let snapshot = view.snapshot();
    let proxy = snapshot.model.backend(name).ok_or("No such backend.\n")?;
    let proxy = snapshot.model.proxy(proxy);
    let mut cookies = proxy.state.backend.dynamic_cookies();
    change(&mut cookies.now)?;
    let key = cookies.now.key_in_use();
    let servers = proxy.backend.iter().flat_map(|backend| &backend.servers);
    servers.for_each(|server| server.state.set_cookie_key(key));
    done()
}
