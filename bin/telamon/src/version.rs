//! What `-v` and `-vv` say.

/// One line, as scripts read it.
pub(crate) fn version() -> String {
    format!(
        "Telamon version {} - runs the configuration language of HAProxy {}\n",
        env!("CARGO_PKG_VERSION"),
        telamon_config::VERSION
    )
}

/// The version and how this program was built.
pub(crate) fn build_info() -> String {
    let kind = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "{}\nBuild: {kind}, {} on {}\n\
         Event loop: tokio, one current-thread runtime per worker, epoll\n\
         Features: EPOLL THREAD SPLICE SYSTEMD\n\
         Not built in: OPENSSL LUA PCRE ZLIB\n",
        version(),
        std::env::consts::ARCH,
        std::env::consts::OS,
    )
}
