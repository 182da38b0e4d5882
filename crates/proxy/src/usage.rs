//! What a server says of its own load in its answers, for `balance usage header NAME`.

use std::sync::atomic::Ordering::Relaxed;

use telamon_balance::Usage;

use crate::log::{Level, notice, send};
use crate::model::{Backend, Proxy, Server};
use crate::stream::Stream;

/// Takes in the report in the answer that has come, if its backend looks for one.
///
/// What cannot be read changes nothing, and is logged once until the server makes sense again.
pub(crate) fn note(stream: &Stream, proxy: &Proxy, backend: &Backend, server: &Server) {
    let Some(name) = &backend.balance.usage_header else { return };
    let Some(value) = stream.response.header_lines(name).next() else { return };
    let text = String::from_utf8_lossy(value);
    let unreadable = &server.state.usage_unreadable;
    match Usage::parse(&text) {
        Ok(usage) => {
            server.state.member.report_usage(&usage, stream.session.worker.now_ms());
            if unreadable.load(Relaxed) {
                unreadable.store(false, Relaxed);
            }
        }
        Err(error) if !unreadable.swap(true, Relaxed) => {
            let header = String::from_utf8_lossy(name);
            let line = format!(
                "Server {}/{} reports a load that cannot be read in {header}: {error}.",
                proxy.name, server.name
            );
            notice::warning(format_args!("{line}"));
            send(Level::Warning, proxy, &line);
        }
        Err(_) => {}
    }
}
