//! `ssl cert`: certificates with their keys.

use std::sync::Arc;

use telamon_runtime::api::{Answer, Invocation, Level};
use telamon_tls::{Draft, OcspResponse, Store, StoreError, Transactions, decode_base64};

use super::{committed, describe, head, name, other, with_store};
use crate::api::{Row, lossy, row, text};
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["show", "ssl", "cert"],
        Level::Operator,
        "[<certfile>]",
        "display the SSL certificates used in memory, or the details of a file",
        |view, call| with_store(view, |store| show(store, call)),
    ),
    row(
        &["new", "ssl", "cert"],
        Level::Admin,
        "<certfile>",
        "create a new certificate file to be used in a crt-list or a directory",
        |view, call| with_store(view, |store| new(store, call)),
    ),
    row(
        &["set", "ssl", "cert"],
        Level::Admin,
        "<certfile> <payload>",
        "replace a certificate file",
        |view, call| with_store(view, |store| set(store, call)),
    ),
    row(
        &["commit", "ssl", "cert"],
        Level::Admin,
        "<certfile>",
        "commit a certificate file",
        |view, call| with_store(view, |store| commit(store, call)),
    ),
    row(
        &["abort", "ssl", "cert"],
        Level::Admin,
        "<certfile>",
        "abort a transaction for a certificate file",
        |view, call| with_store(view, |store| abort(store, call)),
    ),
    row(
        &["del", "ssl", "cert"],
        Level::Admin,
        "<certfile>",
        "delete an unused certificate file",
        delete,
    ),
];

const NOT_FOUND: &str =
    "Can't display the certificate: Not found or the certificate is a bundle!\n";

fn show(store: &Store, call: &Invocation<'_>) -> Result<Answer, String> {
    let transactions = store.transactions();
    let Some(word) = call.args.first() else { return list(store, &transactions) };
    let (name, only_ocsp) = match word.strip_suffix(".ocsp") {
        Some(name) => (name, true),
        None => (*word, false),
    };
    let (name, draft, is_committed) = match name.strip_prefix('*') {
        Some(name) => match &transactions.certificate {
            Some((path, draft)) if **path == *name => (name, draft.clone(), false),
            _ => return Err(NOT_FOUND.to_owned()),
        },
        None => (name, find(store, &transactions, name).ok_or(NOT_FOUND)?, true),
    };
    let response = draft.ocsp().and_then(OcspResponse::parse);
    if only_ocsp {
        return text(response.map(|response| response.text()).unwrap_or_default());
    }
    let used = store.users(name) > 0 && is_committed;
    let mut out = head(name, is_committed, draft.chain().is_empty(), used).into_bytes();
    if let Some((leaf, chain)) = draft.chain().split_first() {
        describe(leaf, chain, &mut out);
        let key = response.map(|response| super::hex(response.id()).to_ascii_lowercase());
        out.extend(format!("OCSP Response Key: {}\n", key.unwrap_or_default()).into_bytes());
    }
    text(lossy(out))
}

fn list(store: &Store, transactions: &Transactions) -> Result<Answer, String> {
    let mut out = String::new();
    if let Some((path, _)) = &transactions.certificate {
        out.push_str(&format!("# transaction\n*{path}\n"));
    }
    out.push_str("# filename\n");
    let mut names: Vec<_> = store.certificates().into_iter().map(|(name, ..)| name).collect();
    names.extend(transactions.empty_certificates.iter().cloned());
    names.sort_unstable();
    for name in names {
        out.push_str(&name);
        out.push('\n');
    }
    text(out)
}

/// What is there under a name, empty or not.
fn find(store: &Store, transactions: &Transactions, name: &str) -> Option<Draft> {
    match store.certificate(name) {
        Some(bundle) => Some(Draft::of(&bundle)),
        None => transactions.empty_certificates.contains(name).then(Draft::default),
    }
}

fn new(store: &Store, call: &Invocation<'_>) -> Result<Answer, String> {
    let name = name(call.args, "'new ssl cert' expects a filename")?;
    let mut transactions = store.transactions();
    if find(store, &transactions, name).is_some() {
        return Err(format!("Certificate '{name}' already exists!\n"));
    }
    transactions.empty_certificates.insert(name.into());
    text(format!("New empty certificate store '{name}'!\n"))
}

/// Which piece of a certificate a file's ending says that it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    All,
    Key,
    Issuer,
    Ocsp,
}

fn set(store: &Store, call: &Invocation<'_>) -> Result<Answer, String> {
    let (Some(word), Some(payload)) = (call.args.first(), call.payload) else {
        return Err("'set ssl cert expects a filename and a certificate as a payload\n".to_owned());
    };
    let failed = |why: String| format!("{why}Can't update {word}!\n");
    if word.ends_with(".sctl") {
        return Err(failed("Telamon does not send signed certificate timestamps.\n".to_owned()));
    }
    let endings = [(".key", Piece::Key), (".issuer", Piece::Issuer), (".ocsp", Piece::Ocsp)];
    let ending = endings.iter().find_map(|(end, piece)| Some((word.strip_suffix(end)?, *piece)));
    let (stem, piece) = ending.unwrap_or((word, Piece::All));
    // Under `ssl-load-extra-del-ext` the pieces of `name.crt` are `name.key` and so on.
    let with_crt = format!("{stem}.crt");
    let names = if piece == Piece::All { vec![stem] } else { vec![stem, &with_crt] };
    let mut transactions = store.transactions();
    let (name, mut draft, begun) = match &transactions.certificate {
        Some((path, draft)) if names.contains(&&**path) => (path.to_string(), draft.clone(), true),
        Some((path, _)) => return Err(failed(other(path, &format!("set '{stem}'")))),
        None => {
            let found = names
                .iter()
                .find_map(|name| Some(((*name).to_owned(), find(store, &transactions, name)?)));
            let (name, draft) = found.ok_or_else(|| {
                failed(
                    "Can't replace a certificate which is not referenced by the configuration!\n"
                        .to_owned(),
                )
            })?;
            (name, draft, false)
        }
    };
    load(&mut draft, piece, stem, payload)
        .map_err(|why| failed(format!("{why}Can't load the payload\n")))?;
    let done = if begun { "updated" } else { "created" };
    let said = format!("Transaction {done} for certificate {name}!\n");
    transactions.certificate = Some((name.into(), draft));
    text(said)
}

fn load(draft: &mut Draft, piece: Piece, name: &str, payload: &str) -> Result<(), String> {
    let pem = payload.as_bytes();
    match piece {
        Piece::All => draft
            .set_pem(pem)
            .map_err(|_| format!("unable to load certificate from file '{name}'.\n")),
        Piece::Key => draft
            .set_key(pem)
            .map_err(|_| format!("unable to load private key from file '{name}'.\n")),
        Piece::Issuer => {
            draft.set_issuer(pem).map_err(|_| format!("'{name}' cannot be read or parsed'.\n"))
        }
        Piece::Ocsp => {
            let base64: Vec<u8> =
                payload.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let der =
                decode_base64(&base64).ok_or("Error reading OCSP response in base64 format")?;
            if draft.set_ocsp(der) {
                Ok(())
            } else {
                Err("Unable to parse OCSP response".to_owned())
            }
        }
    }
}

fn commit(store: &Store, call: &Invocation<'_>) -> Result<Answer, String> {
    let name = name(call.args, "'commit ssl cert expects a filename")?;
    let failed = |why: String| format!("{why}Can't commit {name}!\n");
    let mut transactions = store.transactions();
    let (path, draft) = transactions
        .certificate
        .as_ref()
        .ok_or_else(|| failed("No ongoing transaction! !\n".to_owned()))?;
    if **path != *name {
        return Err(failed(other(path, &format!("set '{name}'"))));
    }
    if !draft.chain().is_empty() && !draft.has_key() {
        return Err(failed(
            "The transaction must contain at least a certificate and a private key!\n".to_owned(),
        ));
    }
    let bundle = draft.build().map_err(|_| {
        failed(format!("inconsistencies between private key and certificate loaded '{name}'.\n"))
    })?;
    let users = store.users(name);
    store.set_certificate(name, Arc::new(bundle));
    transactions.empty_certificates.remove(name);
    transactions.certificate = None;
    text(committed(name, users, Ok(())))
}

fn abort(store: &Store, call: &Invocation<'_>) -> Result<Answer, String> {
    let name = name(call.args, "'abort ssl cert' expects a filename")?;
    let mut transactions = store.transactions();
    super::aborted(name, transactions.certificate.as_ref().map(|(path, _)| &**path))?;
    transactions.certificate = None;
    text(format!("Transaction aborted for certificate '{name}'!\n"))
}

fn delete(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let name = name(call.args, "'del ssl cert' expects a certificate name")?;
    let failed = |why: String| format!("Can't remove the certificate: {why}\n");
    with_store(view, |store| {
        let mut transactions = store.transactions();
        if transactions.certificate.as_ref().is_some_and(|(path, _)| **path == *name) {
            return Err(failed(format!("ongoing transaction for the certificate '{name}'")));
        }
        if !transactions.empty_certificates.remove(name) {
            store.remove_certificate(name).map_err(|error| {
                failed(match error {
                    StoreError::InUse => {
                        format!("certificate '{name}' in use, can't be deleted!\n")
                    }
                    _ => format!("certificate '{name}' doesn't exist!\n"),
                })
            })?;
        }
        text(format!("Certificate '{name}' deleted!\n"))
    })
}
