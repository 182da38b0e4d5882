//! Telamon's command line, its start-up, and the wiring of its planes.
//!
//! [`options`] says what was asked for. [`start`] loads the configuration, binds, and becomes one process or two (a
//! privileged parent and the one that serves); [`serve`] is the control thread of the serving process, [`sockets`] what
//! it listens on. [`simulate`] runs a configuration's strategies without any traffic. [`demo`] is the same with a configuration of its own.

mod demo;
mod master;
mod options;
mod serve;
mod simulate;
mod sockets;
mod start;
mod version;

use std::process::ExitCode;

use options::{Options, Verb};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("telamon: {error}\nTry `telamon --help`.");
            return ExitCode::FAILURE;
        }
    };
    if let Some(directory) = &options.directory
        && let Err(error) = std::env::set_current_dir(directory)
    {
        eprintln!("telamon: -C {}: {error}", directory.display());
        return ExitCode::FAILURE;
    }
    match &options.verb {
        Verb::Help => print(&options::help()),
        Verb::Version => print(&version::version()),
        Verb::BuildInfo => print(&version::build_info()),
        Verb::Completions(shell) => print(&options::completions(*shell)),
        Verb::Keywords => print(&telamon_proxy::load::manual()),
        Verb::Simulate(args) => simulate::run(args),
        Verb::Condition(expression) => start::condition(&options, expression),
        Verb::Check => start::check(&options),
        Verb::Demo => start::demo(),
        Verb::Run => start::run(&options),
    }
}

/// Writes to standard output; a reader that has gone is no failure.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
