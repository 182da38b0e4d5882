//! TLS: from what `global`, `bind` and `server` lines say to acceptors and connectors.
//!
//! Lines only note what is written; files are read when a proxy is built ([`files`]), each once, into the store that
//! the running process replaces them in. `check --offline` reads none.

mod files;
mod global;
mod mistake;
mod stores;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use telamon_config::{Args, Diagnostics, Location, Token};
use telamon_tls::{
    Acceptor, AcceptorSpec, BuildError, Connector, ConnectorSpec, Offer, OfferError, Resumption,
    Source, TicketKeys, Verify, Version,
};

use super::base::Base;
pub(super) use files::Files;
pub(super) use global::KEYWORDS as GLOBAL;
pub(super) use mistake::TlsMistake;
pub(super) use stores::{CrtStores, TABLE as CRT_STORE};

/// What `global` says of TLS.
#[derive(Debug, Default)]
pub(super) struct TlsDefaults {
    pub(super) ca_base: Option<Box<str>>,
    pub(super) crt_base: Option<Box<str>>,
    pub(super) key_base: Option<Box<str>>,
    /// `ssl-default-bind-*`
    pub(super) bind: Offer,
    pub(super) strict_sni: bool,
    /// `ssl-default-server-*`
    pub(super) server: Offer,
    /// `ssl-server-verify none`
    pub(super) no_server_verify: bool,
    pub(super) resumption: Resumption,
    pub(super) extras: Extras,
    /// `ssl-load-extra-del-ext`
    pub(super) drop_extension: bool,
    pub(super) skip_self_issued_ca: bool,
    /// `issuers-chain-path`
    pub(super) issuers: Option<(Box<str>, Location)>,
}

/// The files beside a certificate that are looked for (`ssl-load-extra-files`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Extras {
    pub(super) bundle: bool,
    pub(super) key: bool,
    pub(super) ocsp: bool,
    pub(super) issuer: bool,
    pub(super) sctl: bool,
}

impl Default for Extras {
    fn default() -> Self {
        Self { bundle: true, key: true, ocsp: true, issuer: true, sctl: true }
    }
}

/// What a line says of TLS, `bind` or `server`.
#[derive(Debug, Clone, Default)]
pub(super) struct TlsDraft {
    /// Where `ssl` stands.
    pub(super) ssl: Option<Location>,
    pub(super) offer: Offer,
    /// Where the words stand that name files.
    ca_file_at: Option<Location>,
    ca_verify_file_at: Option<Location>,
    crl_file_at: Option<Location>,
    /// `crt` and `crt-list`, in order.
    certificates: Vec<(Written, Location)>,
    pub(super) strict_sni: bool,
    pub(super) ticket_keys: Option<(Box<str>, Location)>,
    pub(super) verify_host: Option<Box<str>>,
    pub(super) no_resumption: bool,
    /// The first word that only says how TLS is done.
    pub(super) detail: Option<(&'static str, Location)>,
}

/// A word that names certificates.
#[derive(Debug, Clone)]
enum Written {
    Certificate(Box<str>),
    List(Box<str>),
}

impl TlsDraft {
    /// Reads the value of a setting of [`Offer`], if it takes one, and takes it.
    pub(super) fn read(&mut self, args: &mut Args<'_>, word: &'static str, takes_value: bool) {
        self.detail.get_or_insert((word, args.at()));
        let token = match takes_value {
            true => match args.next("a value") {
                Some(token) => token,
                None => return,
            },
            false => args.keyword(),
        };
        match word {
            "ca-file" => self.ca_file_at = Some(token.at),
            "ca-verify-file" => self.ca_verify_file_at = Some(token.at),
            "crl-file" => self.crl_file_at = Some(token.at),
            _ => {}
        }
        set(&mut self.offer, args, word, token, takes_value);
    }

    pub(super) fn certificate(&mut self, args: &mut Args<'_>) {
        self.detail.get_or_insert(("crt", args.at()));
        if let Some(token) = args.next("a file or a directory") {
            self.certificates.push((Written::Certificate(token.text.into()), token.at));
        }
    }

    pub(super) fn list(&mut self, args: &mut Args<'_>) {
        self.detail.get_or_insert(("crt-list", args.at()));
        if let Some(token) = args.next("a file") {
            self.certificates.push((Written::List(token.text.into()), token.at));
        }
    }

    /// The acceptor of a `bind` line; `None` without `ssl`, and where something is wrong, which is reported.
    pub(super) fn acceptor(&self, base: &Base, to: &mut Diagnostics) -> Option<Arc<Acceptor>> {
        let ssl = self.ssl?;
        let defaults = base.tls_defaults();
        let strict_sni = self.strict_sni || defaults.strict_sni;
        if self.certificates.is_empty() && !strict_sni {
            let title = "`ssl` without a certificate".to_owned();
            let help =
                "name one with `crt FILE`, which holds the certificate, its chain and its key";
            to.error(ssl, TlsMistake::language(title, help).into());
            return None;
        }
        let mut offer = self.offer.or(&defaults.bind);
        let before = to.errors();
        if base.options.offline {
            self.judge(&offer, ssl, to);
            return None;
        }
        let files = Files { base, to };
        let mut files = files;
        files.trust(&mut offer, self.places(ssl));
        let mut certificates = Vec::new();
        for (written, at) in &self.certificates {
            match written {
                Written::Certificate(name) => certificates.extend(files.certificates(name, *at)),
                Written::List(name) => certificates.extend(files.list(name, *at).map(Source::List)),
            }
        }
        let mut resumption = defaults.resumption.clone();
        if let Some((name, at)) = &self.ticket_keys {
            resumption.tickets = files.ticket_keys(name, *at);
        }
        if !self.judge(&offer, ssl, to) || to.errors() > before {
            return None;
        }
        let spec = AcceptorSpec { offer, certificates, strict_sni, resumption };
        Acceptor::new(spec, &base.tls)
            .map_err(|error| to.error(ssl, build_error(&error).into()))
            .ok()
    }

    /// The connector of a `server` line; `None` where something is wrong, which is reported. `alpn` takes the place of
    /// the line's own.
    pub(super) fn connector(
        &self,
        base: &Base,
        at: Location,
        alpn: Option<&[Vec<u8>]>,
        to: &mut Diagnostics,
    ) -> Option<Arc<Connector>> {
        let at = self.ssl.unwrap_or(at);
        let defaults = base.tls_defaults();
        let mut offer = self.offer.or(&defaults.server);
        let verify = if defaults.no_server_verify { Verify::None } else { Verify::Required };
        let verify = *offer.verify.get_or_insert(verify);
        if let Some(alpn) = alpn {
            offer.alpn = Some(alpn.to_vec());
        }
        if verify == Verify::Required && offer.ca_file.is_none() {
            let title = "`ssl` to a server whose certificate nobody can verify".to_owned();
            let help = "name whom to believe with `ca-file FILE` (`ca-file @system-ca` for the system's authorities), \
                        or write `verify none` where the way to the server is safe";
            to.error(at, TlsMistake::language(title, help).into());
            return None;
        }
        if !self.judge(&offer, at, to) || base.options.offline {
            return None;
        }
        let before = to.errors();
        let mut files = Files { base, to };
        if verify == Verify::Required {
            files.trust(&mut offer, self.places(at));
        }
        let certificate = match self.certificates.last() {
            Some((Written::Certificate(name), at)) => Some(files.certificate(name, *at)?),
            _ => None,
        };
        if to.errors() > before {
            return None;
        }
        let spec = ConnectorSpec {
            offer,
            certificate,
            verify_host: self.verify_host.clone(),
            no_resumption: self.no_resumption,
        };
        Connector::new(spec, &base.tls)
            .map_err(|error| to.error(at, build_error(&error).into()))
            .ok()
    }

    /// Whether what the line says can be at all; reports where not.
    fn judge(&self, offer: &Offer, at: Location, to: &mut Diagnostics) -> bool {
        let mistake = if offer.versions.list().is_empty() {
            build_error(&BuildError::NoVersion)
        } else if !matches!(offer.verify, None | Some(Verify::None))
            && offer.ca_file.is_none()
            && offer.ca_verify_file.is_none()
        {
            build_error(&BuildError::NoCaFile)
        } else {
            return true;
        };
        to.error(at, mistake.into());
        false
    }

    fn places(&self, at: Location) -> Places {
        Places {
            ca_file: self.ca_file_at.unwrap_or(at),
            ca_verify_file: self.ca_verify_file_at.unwrap_or(at),
            crl_file: self.crl_file_at.unwrap_or(at),
        }
    }
}

/// Where the words stand that name files.
#[derive(Debug, Clone, Copy)]
struct Places {
    ca_file: Location,
    ca_verify_file: Location,
    crl_file: Location,
}

impl Places {
    fn all(at: Location) -> Self {
        Self { ca_file: at, ca_verify_file: at, crl_file: at }
    }
}

/// Takes a setting, or reports what is wrong with it.
fn set(
    offer: &mut Offer,
    args: &mut Args<'_>,
    word: &'static str,
    token: Token<'_>,
    has_value: bool,
) {
    let value = if has_value { token.text } else { "" };
    match offer.set(word, value) {
        Ok(()) => {}
        Err(OfferError::Bad { what, expected }) => args.bad(token, what, expected),
        Err(error) => {
            let kind = TlsMistake::language(error.to_string(), error.help()).into();
            return args.fail(token.at, kind);
        }
    }
    let min = offer.versions.min.filter(|min| word == "ssl-min-ver" && !min.is_spoken());
    if let Some(min) = min {
        let title = format!("{min} is never spoken: clients need {} at least", Version::Tls12);
        let help = "write `ssl-min-ver TLSv1.2`, which says what happens";
        args.warn(token.at, TlsMistake::language(title, help).into());
    }
}

fn build_error(error: &BuildError) -> TlsMistake {
    let help = match error {
        BuildError::NoVersion => {
            "TLS 1.2 and 1.3 are spoken: leave at least one of them in `ssl-min-ver`, `ssl-max-ver`, `no-tlsv12` and `no-tlsv13`"
        }
        BuildError::NoCaFile => "name whom to believe with `ca-file FILE`",
        BuildError::NotLoaded(_) | BuildError::Rustls(_) => {
            "the suites, curves and versions of the line do not go together"
        }
    };
    TlsMistake::language(error.to_string(), help)
}

/// Reads a file of ticket keys.
fn parse_ticket_keys(text: &[u8]) -> Result<Arc<TicketKeys>, TlsMistake> {
    TicketKeys::parse(text).map(Arc::new).map_err(|error| {
        let help = "write three keys or more, each made by `openssl rand -base64 80 | tr -d '\\n'`, one a line";
        TlsMistake::environment(error.to_string(), help)
    })
}
