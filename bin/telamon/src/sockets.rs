//! The sockets that a configuration listens on, and what is said when one cannot be had.

use telamon_config::{Class, ConfigErrorKind, Diagnostics, Explanation, Location, Mistake, Source};
use telamon_proxy::log::notice;
use telamon_proxy::model::Model;
use telamon_runtime::files::Files;
use telamon_runtime::registry::{BindFailure, Bound, Registry};
use telamon_runtime::{BindAddress, BindSpec};

use crate::start::{Failure, show};

/// Binds what a configuration listens on beside what is bound already, and lets go of what it does not.
///
/// What cannot be bound is shown where it stands in `source`, all of it.
pub(crate) fn bind(
    registry: &mut Registry,
    model: &Model,
    source: &Source,
    workers: usize,
    files: &dyn Files,
) -> Result<Vec<Bound>, Failure> {
    let places = places(model);
    let specs: Vec<BindSpec> = places.iter().map(|place| place.spec.clone()).collect();
    let failures = match registry.prepare(&specs, workers, files) {
        Ok(prepared) => return Ok(registry.commit(prepared)),
        Err(failures) => failures,
    };
    Err(tell(&places, &failures, source))
}

/// Looks whether the descriptors that a configuration names (`fd@N`) are there to listen on; a check of the
/// configuration binds nothing else.
pub(crate) fn check_inherited(model: &Model, source: &Source) -> Result<(), Failure> {
    let places = places(model);
    let inherited = places.iter().enumerate().filter_map(|(index, place)| {
        let BindAddress::Fd(number) = place.spec.address else { return None };
        let error = telamon_runtime::bind::check_inherited(number).err()?;
        Some(BindFailure { index, error })
    });
    let failures: Vec<BindFailure> = inherited.collect();
    if failures.is_empty() { Ok(()) } else { Err(tell(&places, &failures, source)) }
}

/// Shows each address that cannot be listened on where it stands.
fn tell(places: &[Place<'_>], failures: &[BindFailure], source: &Source) -> Failure {
    let mut diagnostics = Diagnostics::new();
    for failure in failures {
        let place = &places[failure.index];
        let mistake = CannotListen {
            address: describe(place.spec),
            owner: place.owner.map(str::to_owned),
            why: notice::text_of(&failure.error),
            taken: (failure.error.kind() == std::io::ErrorKind::AddrInUse)
                .then_some(place.spec.is_per_worker()),
        };
        diagnostics.error(place.at, ConfigErrorKind::Plane(Box::new(mistake)));
    }
    show(&mut diagnostics, source);
    Failure(match failures.len() {
        1 => "an address of the configuration cannot be listened on".into(),
        count => format!("{count} addresses of the configuration cannot be listened on"),
    })
}

/// Those that only one process can have.
pub(crate) fn exclusive(model: &Model) -> Vec<&BindSpec> {
    places(model).iter().map(|place| place.spec).filter(|spec| spec.is_exclusive()).collect()
}

/// Binds again what a configuration in force has let go of.
pub(crate) fn bind_again(
    registry: &mut Registry,
    model: &Model,
    workers: usize,
    files: &dyn Files,
) -> Result<(), String> {
    let specs: Vec<BindSpec> = places(model).iter().map(|place| place.spec.clone()).collect();
    match registry.prepare(&specs, workers, files) {
        Ok(prepared) => {
            registry.commit(prepared);
            Ok(())
        }
        Err(failures) => Err(failures
            .iter()
            .map(|failure| {
                let why = notice::text_of(&failure.error);
                format!("cannot listen on {} again: {why}", describe(&specs[failure.index]))
            })
            .collect::<Vec<_>>()
            .join("; ")),
    }
}

/// How many sockets a configuration listens on, for clients and for the runtime API.
pub(crate) fn count(model: &Model) -> usize {
    places(model).len()
}

/// An address as a `bind` line has it.
pub(crate) fn describe(spec: &BindSpec) -> String {
    match &spec.address {
        BindAddress::Fd(fd) => format!("fd@{fd}"),
        _ => spec.address.endpoint().map_or_else(String::new, |endpoint| endpoint.to_string()),
    }
}

/// A socket, whose it is, and where the configuration asks for it.
struct Place<'m> {
    spec: &'m BindSpec,
    /// The proxy; `None` for the runtime API.
    owner: Option<&'m str>,
    at: Location,
}

fn places(model: &Model) -> Vec<Place<'_>> {
    let proxies = model.proxies.iter().filter(|proxy| !proxy.disabled);
    let listeners = proxies
        .flat_map(|proxy| proxy.frontend.iter().flat_map(|frontend| &frontend.listeners))
        .map(|listener| Place {
            spec: &listener.bind,
            owner: Some(&*listener.proxy_name),
            at: listener.at,
        });
    let sockets = model.global.stats_sockets.iter();
    let sockets = sockets.map(|socket| Place { spec: &socket.bind, owner: None, at: socket.at });
    listeners.chain(sockets).collect()
}

/// The system refuses the address of a `bind` line.
#[derive(Debug)]
struct CannotListen {
    address: String,
    owner: Option<String>,
    why: String,
    /// Somebody has it; whether a successor may share it.
    taken: Option<bool>,
}

impl Mistake for CannotListen {
    fn explain(&self) -> Explanation {
        let owner = match &self.owner {
            Some(proxy) => format!("proxy {proxy}"),
            None => "the runtime API".to_owned(),
        };
        let explanation =
            Explanation::new(format!("{owner} cannot listen on {}: {}", self.address, self.why));
        match self.taken {
            Some(true) => explanation
                .help("`ss -lntp` shows who has it; `-sf PID` takes it over from Telamon"),
            Some(false) => explanation.help(
                "`ss -lxntp` shows who has it; two processes cannot share it, so that one has to end first",
            ),
            None => explanation,
        }
    }

    fn class(&self) -> Class {
        Class::Environment
    }
}
