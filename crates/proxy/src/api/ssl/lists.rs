//! `ssl crt-list`: lists, and directories, of certificates.

use telamon_runtime::api::{Answer, Invocation, Level};
use telamon_tls::{CrtLine, Offer, Store, StoreError};

use super::with_store;
use crate::api::{Row, row, text};
use crate::model::Model;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["show", "ssl", "crt-list"],
        Level::Admin,
        "[-n] [<list>]",
        "show the list of crt-lists or the content of a crt-list file <list>",
        |view, call| with_store(view, |store| show(store, call)),
    ),
    row(
        &["add", "ssl", "crt-list"],
        Level::Admin,
        "<list> <cert> [opts]*",
        "add to crt-list file <list> a line <cert> or a payload",
        |view, call| with_store(view, |store| add(store, call)),
    ),
    row(
        &["del", "ssl", "crt-list"],
        Level::Admin,
        "<list> <cert[:line]>",
        "delete a line <cert> from crt-list file <list>",
        |view, call| delete(&view.snapshot().model, call),
    ),
];

fn show(store: &Store, call: &Invocation<'_>) -> Result<Answer, String> {
    let (numbered, name) = match call.args {
        ["-n"] => {
            return Err("'show ssl crt-list -n' expects a filename or a directory\n".to_owned());
        }
        ["-n", name, ..] => (true, *name),
        [name, ..] => (false, *name),
        [] => {
            let names = store.crt_lists();
            return text(names.iter().map(|name| format!("{name}\n")).collect::<String>());
        }
    };
    let name = name.trim_end_matches('/');
    let list = store.crt_list(name).ok_or("didn't find the specified filename\n")?;
    let mut out = format!("# {name}\n");
    for line in &list.lines {
        out.push_str(&line.certificate);
        if numbered {
            out.push_str(&format!(":{}", line.number));
        }
        if !line.settings.is_empty() {
            out.push_str(&format!(" [{}]", line.settings));
        }
        for filter in &line.filters {
            out.push(' ');
            out.push_str(filter);
        }
        out.push('\n');
    }
    text(out)
}

fn add(store: &Store, call: &Invocation<'_>) -> Result<Answer, String> {
    let failed = |why: String| format!("Can't edit the crt-list: {why}\n");
    let (name, words) = match (call.args, call.payload) {
        ([name, ..], Some(payload)) => (*name, payload.trim_end_matches('\n')),
        ([name, certificate, ..], None) => (*name, *certificate),
        _ => {
            return Err("'add ssl crtlist' expects a filename and a certificate name\n".to_owned());
        }
    };
    let name = name.trim_end_matches('/');
    let list =
        store.crt_list(name).ok_or_else(|| failed(format!("crt-list '{name}' does not exist!")))?;
    if words.contains('\n') {
        return Err(failed("only one line of payload is supported!".to_owned()));
    }
    let line = match call.payload {
        None => CrtLine { certificate: words.into(), ..CrtLine::default() },
        Some(_) => CrtLine::parse(words)
            .map_err(|(word, kind)| {
                let error = telamon_tls::CrtListError { line: 1, word: word.into(), kind };
                failed(error.to_string())
            })?
            .ok_or_else(|| {
                failed(
                    "'add ssl crtlist' should contain the certificate name in the payload"
                        .to_owned(),
                )
            })?,
    };
    if let Some(missing) = missing(store, &line.offer) {
        return Err(failed(missing));
    }
    let certificate = line.certificate.clone();
    if list.is_directory {
        let inside = certificate.rsplit_once('/').is_some_and(|(directory, _)| directory == name);
        if !inside {
            return Err(failed(format!(
                "'{name}' is a directory, certificate path '{certificate}' must contain the directory path"
            )));
        }
        if list.lines.iter().any(|line| line.certificate == certificate) {
            return Err(failed("file already exists in this directory!".to_owned()));
        }
        if !line.settings.is_empty() || !line.filters.is_empty() {
            return Err(failed(
                "this is a directory, SSL configuration and filters are not allowed".to_owned(),
            ));
        }
    }
    if store.transactions().empty_certificates.contains(&certificate) {
        return Err(failed(format!("certificate '{certificate}' is empty!")));
    }
    match store.add_to_crt_list(name, line) {
        Ok(()) => text(format!(
            "Inserting certificate '{certificate}' in crt-list '{name}'{}\nSuccess!\n",
            ".".repeat(store.list_users(name))
        )),
        Err(StoreError::Rejected(why)) => text(format!(
            "Inserting certificate '{certificate}' in crt-list '{name}'\n{why}\nFailed!\n"
        )),
        Err(_) => Err(failed(format!("certificate '{certificate}' does not exist!"))),
    }
}

/// A file that the settings of a line name and that is not in memory; nothing is read at run time.
fn missing(store: &Store, offer: &Offer) -> Option<String> {
    let authorities = [("ca-file", &offer.ca_file), ("ca-verify-file", &offer.ca_verify_file)];
    let authorities = authorities
        .into_iter()
        .filter(|(_, name)| name.as_ref().is_some_and(|name| store.ca_file(name).is_none()));
    let revocations = [("crl-file", &offer.crl_file)];
    let revocations = revocations
        .into_iter()
        .filter(|(_, name)| name.as_ref().is_some_and(|name| store.crl_file(name).is_none()));
    let (word, name) = authorities.chain(revocations).next()?;
    Some(format!("'{word}' : unable to load {}", name.as_deref().unwrap_or_default()))
}

fn delete(model: &Model, call: &Invocation<'_>) -> Result<Answer, String> {
    let store = &*model.tls;
    let [name, word, ..] = call.args else {
        return Err("'del ssl crtlist' expects a filename and a certificate name\n".to_owned());
    };
    let failed = |why: String| format!("Can't delete the entry: {why}\n");
    let (certificate, number) = match word.split_once(':') {
        None => (*word, None),
        Some((certificate, number)) => match number.parse::<u32>() {
            Ok(number) => (certificate, Some(number)),
            Err(_) => {
                return Err(failed(format!("wrong line number after colons in '{word}'!")));
            }
        },
    };
    let name = name.trim_end_matches('/');
    let list =
        store.crt_list(name).ok_or_else(|| failed(format!("crt-list '{name}' does not exist!")))?;
    if store.transactions().empty_certificates.contains(certificate) {
        return Err(failed(format!("certificate '{certificate}' is empty!")));
    }
    if store.certificate(certificate).is_none() {
        return Err(failed(format!("certificate '{certificate}' does not exist!")));
    }
    let lines = list.lines.iter().filter(|line| *line.certificate == *certificate);
    let numbers: Vec<u32> = lines.map(|line| line.number).collect();
    let shown: Vec<String> = numbers.iter().map(u32::to_string).collect();
    let shown = shown.join(", ");
    match number {
        _ if numbers.is_empty() => {
            return Err(failed(format!(
                "certificate '{certificate}' can't be found in crt-list '{name}'!"
            )));
        }
        Some(number) if number > 0 && !numbers.contains(&number) => {
            return Err(failed(format!(
                "found a certificate '{certificate}' but the line number is incorrect, please specify a correct \
                 line number preceded by colons ({shown})!"
            )));
        }
        None | Some(0) if numbers.len() > 1 => {
            return Err(failed(format!(
                "found the certificate '{certificate}' in several entries, please specify a line number preceded by \
                 colons ({shown})!"
            )));
        }
        _ => {}
    }
    let number = number.filter(|number| *number > 0);
    let listeners = model.proxies.iter().filter_map(|proxy| proxy.frontend.as_ref());
    let users: String = listeners
        .flat_map(|frontend| &frontend.listeners)
        .filter(|listener| {
            listener.tls.as_ref().is_some_and(|tls| tls.falls_back_on(name, certificate))
        })
        .map(|listener| {
            let path = model.files.get(&listener.at.file).map_or("", |path| path);
            format!("\t- {path}:{}\n", listener.at.line)
        })
        .collect();
    if !users.is_empty() {
        return Err(failed(format!(
            "certificate '{certificate}' cannot be deleted, it is used as default certificate by the following \
             frontends:\n{users}"
        )));
    }
    store
        .remove_from_crt_list(name, certificate, number)
        .map_err(|error| failed(error.to_string()))?;
    text(format!("Entry '{certificate}' deleted in crtlist '{name}'!\n"))
}
