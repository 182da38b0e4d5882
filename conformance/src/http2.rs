//! Runs the cases of HTTP/2 against one port of 127.0.0.1, behind which a GET and a POST of `/` are
//! answered with 200 and a body of five bytes or more. `conformance/http2` starts the programs and
//! calls it.
//!
//! ```sh
//! http2-cases --list                      every case: what is sent, what must come
//! http2-cases --port 8080 [--tls]         a line a case: id, verdict, what was seen; separated by tabs
//! http2-cases --port 8080 --only 6.9      the cases whose id or section contains this
//! http2-cases --origin 8081               serves as the origin until it is killed
//! ```

use std::process::ExitCode;

use telamon_conformance::cases;
use telamon_testkit::{Behaviour, TestServer};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("http2-cases: {mistake}; see the head of src/http2.rs");
            return ExitCode::from(2);
        }
    };
    if let Some(port) = options.origin {
        let _origin =
            TestServer::start_on(port, "origin", Behaviour::Body(b"Hello, HTTP/2!".to_vec()));
        loop {
            std::thread::park();
        }
    }
    for case in cases() {
        let (id, rfc) = (case.id(), case.rfc());
        if options.only.as_ref().is_some_and(|only| !id.contains(only) && !rfc.contains(only)) {
            continue;
        }
        let (what, must) = (case.what(), case.must());
        match options.port {
            None => println!("{id}\t{rfc}\t{what}\t{must}"),
            Some(port) => {
                let (verdict, seen) = case.run(port, options.tls);
                println!("{id}\t{rfc}\t{what}\t{verdict}\t{must}\t{seen}");
            }
        }
    }
    ExitCode::SUCCESS
}

#[derive(Debug, Default)]
struct Options {
    port: Option<u16>,
    origin: Option<u16>,
    tls: bool,
    only: Option<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            let port = |text: String| text.parse().map_err(|_| format!("{text}: not a port"));
            match &*arg {
                "--list" => options.port = None,
                "--tls" => options.tls = true,
                "--only" => options.only = Some(value()?),
                "--port" => options.port = Some(port(value()?)?),
                "--origin" => options.origin = Some(port(value()?)?),
                _ => return Err(format!("unknown argument {arg}")),
            }
        }
        Ok(options)
    }
}
