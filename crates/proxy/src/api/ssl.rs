//! `… ssl …` and `tls-keys`: certificates, authorities, revocations, lists of certificates, OCSP responses and ticket keys
//! are looked at and replaced while they are in use.
//!
//! What is replaced goes through a transaction: `set` collects, `commit` puts it in force for the handshakes that begin
//! from then on, `abort` forgets it. There is one transaction of a kind at a time, and a reload ends it, for it reads all
//! files again. Source: HAProxy management guide, 9.3.

mod certificates;
mod lists;
mod ocsp;
mod trust;

use telamon_tls::{Certificate, Store};

use super::Row;
use crate::view::View;

pub(super) const COMMANDS: [&[Row]; 4] =
    [certificates::COMMANDS, trust::COMMANDS, lists::COMMANDS, ocsp::COMMANDS];

/// Runs something on the files of the configuration in force.
fn with_store<R>(view: &View, run: impl FnOnce(&Store) -> R) -> R {
    run(&view.snapshot().model.tls)
}

/// The file that a command is about.
fn name<'a>(args: &[&'a str], expected: &str) -> Result<&'a str, String> {
    match args.first() {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(format!("{expected}\n")),
    }
}

/// What is said of a transaction that is about another file, or of none.
fn other(path: &str, what: &str) -> String {
    format!("The ongoing transaction is about '{path}' but you are trying to {what}\n")
}

/// Whether there is a transaction about this file, to be forgotten.
fn aborted(name: &str, path: Option<&str>) -> Result<(), String> {
    match path {
        None => Err("No ongoing transaction!\n".to_owned()),
        Some(path) if path != name => {
            Err(other(path, &format!("abort a transaction for '{name}'")))
        }
        Some(_) => Ok(()),
    }
}

/// The beginning of what `show` says of a file.
fn head(name: &str, committed: bool, empty: bool, used: bool) -> String {
    let mark = if committed { "" } else { "*" };
    let status = match (empty, used) {
        (true, _) => "Empty",
        (false, true) => "Used",
        (false, false) => "Unused",
    };
    format!("Filename: {mark}{name}\nStatus: {status}\n")
}

/// The facts of a certificate, and of those above it.
fn describe(der: &[u8], chain: &[impl AsRef<[u8]>], out: &mut Vec<u8>) {
    let Ok(certificate) = Certificate::parse(der) else { return };
    let mut line = |title: &str, value: &[u8]| {
        out.extend_from_slice(title.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.push(b'\n');
    };
    let hosts: Vec<String> = certificate
        .alternative_names()
        .iter()
        .map(|name| name.map_or_else(String::new, |name| format!("DNS:{name}")))
        .collect();
    line("Serial", hex(certificate.serial()).as_bytes());
    line("notBefore", certificate.not_before().to_string().as_bytes());
    line("notAfter", certificate.not_after().to_string().as_bytes());
    line("Subject Alternative Name", hosts.join(", ").as_bytes());
    line("Algorithm", certificate.key().unwrap_or_default().as_bytes());
    line("SHA1 FingerPrint", hex(&certificate.sha1()).as_bytes());
    line("Subject", &certificate.subject().oneline());
    line("Issuer", &certificate.issuer().oneline());
    for above in chain.iter().filter_map(|der| Certificate::parse(der.as_ref()).ok()) {
        line("Chain Subject", &above.subject().oneline());
        line("Chain Issuer", &above.issuer().oneline());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The progress that `commit` shows: a dot for each user.
fn committed(name: &str, users: usize, result: Result<(), String>) -> String {
    let dots = ".".repeat(users);
    match result {
        Ok(()) => format!("Committing {name}{dots}\nSuccess!\n"),
        Err(why) => format!("Committing {name}{dots}\n{why}\nFailed!\n"),
    }
}

/// `file:3`, the place of one entry in a file, counted from 1; `None` without a place.
fn indexed<'a>(word: &'a str, what: &str) -> Result<(&'a str, Option<usize>), String> {
    let Some((name, index)) = word.split_once(':') else { return Ok((word, None)) };
    match index.parse::<usize>() {
        Ok(index) if index > 0 => Ok((name, Some(index))),
        _ => Err(format!("wrong {what} index after colons in '{word}'!")),
    }
}

#[cfg(test)]
mod tests;
