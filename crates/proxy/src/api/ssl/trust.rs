//! `ssl ca-file` and `ssl crl-file`: whom certificates are believed from, and which are revoked.

use std::collections::BTreeSet;
use std::sync::Arc;

use telamon_runtime::api::{Answer, Invocation, Level};
use telamon_tls::{CaFile, CrlFile, RevocationList, Store, StoreError, Transactions};

use super::{committed, describe, head, indexed, name, other, with_store};
use crate::api::{Row, lossy, row, text};
use crate::view::View;

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["show", "ssl", "ca-file"],
        Level::Operator,
        "[<cafile>[:<index>]]",
        "display the SSL CA files used in memory, or the details of a <cafile>, or a single certificate of index \
         <index> of a CA file <cafile>",
        show::<Authorities>,
    ),
    row(
        &["new", "ssl", "ca-file"],
        Level::Admin,
        "<cafile>",
        "create a new CA file to be used in a crt-list",
        new::<Authorities>,
    ),
    row(
        &["set", "ssl", "ca-file"],
        Level::Admin,
        "<cafile> <payload>",
        "replace a CA file",
        set::<Authorities>,
    ),
    row(
        &["commit", "ssl", "ca-file"],
        Level::Admin,
        "<cafile>",
        "commit a CA file",
        commit::<Authorities>,
    ),
    row(
        &["abort", "ssl", "ca-file"],
        Level::Admin,
        "<cafile>",
        "abort a transaction for a CA file",
        abort::<Authorities>,
    ),
    row(
        &["del", "ssl", "ca-file"],
        Level::Admin,
        "<cafile>",
        "delete an unused CA file",
        delete::<Authorities>,
    ),
    row(
        &["show", "ssl", "crl-file"],
        Level::Operator,
        "[<crlfile[:<index>>]]",
        "display the SSL CRL files used in memory, or the details of a <crlfile>, or a single CRL of index <index> of \
         CRL file <crlfile>",
        show::<Revocations>,
    ),
    row(
        &["new", "ssl", "crl-file"],
        Level::Admin,
        "<crlfile>",
        "create a new CRL file to be used in a crt-list",
        new::<Revocations>,
    ),
    row(
        &["set", "ssl", "crl-file"],
        Level::Admin,
        "<crlfile> <payload>",
        "replace a CRL file",
        set::<Revocations>,
    ),
    row(
        &["commit", "ssl", "crl-file"],
        Level::Admin,
        "<crlfile>",
        "commit a CRL file",
        commit::<Revocations>,
    ),
    row(
        &["abort", "ssl", "crl-file"],
        Level::Admin,
        "<crlfile>",
        "abort a transaction for a CRL file",
        abort::<Revocations>,
    ),
    row(
        &["del", "ssl", "crl-file"],
        Level::Admin,
        "<crlfile>",
        "delete an unused CRL file",
        delete::<Revocations>,
    ),
];

/// One of the two kinds of file; all else is the same for both.
trait Kind {
    type File: Default;
    /// In commands, and in answers.
    const WORD: &'static str;
    const TITLE: &'static str;

    fn find(store: &Store, name: &str) -> Option<Arc<Self::File>>;
    fn all(store: &Store) -> Vec<(Box<str>, Arc<Self::File>)>;
    fn put(store: &Store, name: &str, file: Arc<Self::File>) -> Result<(), StoreError>;
    fn remove(store: &Store, name: &str) -> Result<(), StoreError>;
    fn read(payload: &str) -> Option<Self::File>;
    fn begun(transactions: &mut Transactions) -> &mut Option<(Box<str>, Arc<Self::File>)>;
    fn empty(transactions: &mut Transactions) -> &mut BTreeSet<Box<str>>;
    /// What stands behind its name in a list.
    fn count(file: &Self::File) -> String;
    /// Shows all that it holds, or the one at that place.
    fn details(file: &Self::File, index: Option<usize>, out: &mut Vec<u8>);
}

struct Authorities;
struct Revocations;

impl Kind for Authorities {
    type File = CaFile;
    const WORD: &'static str = "ca-file";
    const TITLE: &'static str = "CA";

    fn find(store: &Store, name: &str) -> Option<Arc<CaFile>> {
        store.ca_file(name)
    }

    fn all(store: &Store) -> Vec<(Box<str>, Arc<CaFile>)> {
        store.ca_files().into_iter().map(|(name, file, _)| (name, file)).collect()
    }

    fn put(store: &Store, name: &str, file: Arc<CaFile>) -> Result<(), StoreError> {
        store.set_ca_file(name, file)
    }

    fn remove(store: &Store, name: &str) -> Result<(), StoreError> {
        store.remove_ca_file(name)
    }

    fn read(payload: &str) -> Option<CaFile> {
        CaFile::parse([payload.as_bytes()]).ok()
    }

    fn begun(transactions: &mut Transactions) -> &mut Option<(Box<str>, Arc<CaFile>)> {
        &mut transactions.ca_file
    }

    fn empty(transactions: &mut Transactions) -> &mut BTreeSet<Box<str>> {
        &mut transactions.empty_ca_files
    }

    fn count(file: &CaFile) -> String {
        format!(" - {} certificate(s)", file.certificates().len())
    }

    fn details(file: &CaFile, index: Option<usize>, out: &mut Vec<u8>) {
        for (number, der) in (1..).zip(file.certificates()) {
            if index.is_none_or(|index| index == number) {
                out.extend(format!(" \nCertificate #{number}:\n").into_bytes());
                describe(der, &[] as &[&[u8]], out);
            }
        }
    }
}

impl Kind for Revocations {
    type File = CrlFile;
    const WORD: &'static str = "crl-file";
    const TITLE: &'static str = "CRL";

    fn find(store: &Store, name: &str) -> Option<Arc<CrlFile>> {
        store.crl_file(name)
    }

    fn all(store: &Store) -> Vec<(Box<str>, Arc<CrlFile>)> {
        store.crl_files().into_iter().map(|(name, file, _)| (name, file)).collect()
    }

    fn put(store: &Store, name: &str, file: Arc<CrlFile>) -> Result<(), StoreError> {
        store.set_crl_file(name, file)
    }

    fn remove(store: &Store, name: &str) -> Result<(), StoreError> {
        store.remove_crl_file(name)
    }

    fn read(payload: &str) -> Option<CrlFile> {
        CrlFile::parse(payload.as_bytes()).ok()
    }

    fn begun(transactions: &mut Transactions) -> &mut Option<(Box<str>, Arc<CrlFile>)> {
        &mut transactions.crl_file
    }

    fn empty(transactions: &mut Transactions) -> &mut BTreeSet<Box<str>> {
        &mut transactions.empty_crl_files
    }

    fn count(_: &CrlFile) -> String {
        String::new()
    }

    fn details(file: &CrlFile, index: Option<usize>, out: &mut Vec<u8>) {
        for (number, der) in (1..).zip(file.lists()) {
            if index.is_none_or(|index| index == number) {
                out.extend(format!(" \nCertificate Revocation List #{number}:\n").into_bytes());
                describe_list(der, out);
            }
        }
    }
}

/// The facts of a revocation list, as `openssl crl -text` has them.
fn describe_list(der: &[u8], out: &mut Vec<u8>) {
    let Ok(list) = RevocationList::parse(der) else { return };
    let mut add = |text: String| out.extend(text.into_bytes());
    add(format!("Version {}\n", list.version()));
    add(format!("Signature Algorithm: {}\nIssuer: ", list.signature_algorithm()));
    out.extend(list.issuer().oneline());
    let mut add = |text: String| out.extend(text.into_bytes());
    add(format!("\nLast Update: {}\nNext Update: ", list.last_update()));
    let Some(next) = list.next_update() else { return };
    add(format!("{next}\n"));
    let mut revoked = list.revoked().peekable();
    add(match revoked.peek() {
        Some(_) => "Revoked Certificates:\n".to_owned(),
        None => "No Revoked Certificates.\n".to_owned(),
    });
    for (serial, since) in revoked {
        let serial = super::hex(serial);
        add(format!("    Serial Number: {serial}\n        Revocation Date: {since}\n"));
    }
}

fn show<K: Kind>(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    with_store(view, |store| {
        let mut transactions = store.transactions();
        let Some(word) = call.args.first() else {
            return text(list::<K>(store, &mut transactions));
        };
        let not_found = || format!("Can't display the {} file : Not found!\n", K::TITLE);
        let (name, index) = indexed(word, K::TITLE)?;
        let (name, file, is_committed) = match name.strip_prefix('*') {
            Some(name) => match K::begun(&mut transactions) {
                Some((path, file)) if **path == *name => (name, Some(Arc::clone(file)), false),
                _ => return Err(not_found()),
            },
            None if K::empty(&mut transactions).contains(name) => (name, None, true),
            None => (name, Some(K::find(store, name).ok_or_else(not_found)?), true),
        };
        let used = is_committed && store.users(name) > 0;
        let mut out = head(name, is_committed, file.is_none(), used).into_bytes();
        if let Some(file) = file {
            K::details(&file, index, &mut out);
        }
        text(lossy(out))
    })
}

fn list<K: Kind>(store: &Store, transactions: &mut Transactions) -> String {
    let mut out = String::new();
    if let Some((path, file)) = K::begun(transactions) {
        out.push_str(&format!("# transaction\n*{path}{}\n", K::count(file)));
    }
    out.push_str("# filename\n");
    let mut files = K::all(store);
    let empty = Arc::new(K::File::default());
    let new = K::empty(transactions).iter();
    files.extend(new.map(|name| (name.clone(), Arc::clone(&empty))));
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, file) in files {
        out.push_str(&format!("{name}{}\n", K::count(&file)));
    }
    out
}

fn new<K: Kind>(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let name = name(call.args, &format!("'new ssl {}' expects a filename", K::WORD))?;
    with_store(view, |store| {
        let mut transactions = store.transactions();
        let empty = K::empty(&mut transactions);
        if K::find(store, name).is_some() || empty.contains(name) {
            return Err(format!("{} file '{name}' already exists!\n", K::TITLE));
        }
        empty.insert(name.into());
        text(format!("New {} file created '{name}'!\n", K::TITLE))
    })
}

fn set<K: Kind>(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let (Some(name), Some(payload)) = (call.args.first(), call.payload) else {
        let (word, title) = (K::WORD, K::TITLE);
        return Err(format!("'set ssl {word} expects a filename and {title}s as a payload\n"));
    };
    let failed = |why: String| format!("{why}Can't update {name}!\n");
    with_store(view, |store| {
        let mut transactions = store.transactions();
        let is_new = K::empty(&mut transactions).contains(*name);
        let begun = K::begun(&mut transactions);
        let done = match begun {
            Some((path, _)) if **path == **name => "updated",
            Some((path, _)) => return Err(failed(other(path, &format!("set '{name}'")))),
            None if K::find(store, name).is_none() && !is_new => {
                return Err(failed(format!(
                    "Can't replace a {} file which is not referenced by the configuration!\n",
                    K::TITLE
                )));
            }
            None => "created",
        };
        let file = K::read(payload).ok_or_else(|| failed("Invalid payload\n".to_owned()))?;
        *begun = Some(((*name).into(), Arc::new(file)));
        text(format!("transaction {done} for {} {name}!\n", K::TITLE))
    })
}

fn commit<K: Kind>(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    // HAProxy says the same for both kinds.
    let name = name(call.args, "'commit ssl ca-file expects a filename")?;
    let failed = |why: String| format!("{why}Can't commit {name}!\n");
    with_store(view, |store| {
        let mut transactions = store.transactions();
        let begun = K::begun(&mut transactions);
        let file = match begun {
            None => return Err(failed("No ongoing transaction! !\n".to_owned())),
            Some((path, _)) if **path != *name => {
                return Err(failed(other(path, &format!("set '{name}'"))));
            }
            Some((_, file)) => Arc::clone(file),
        };
        *begun = None;
        let users = store.users(name);
        let result = K::put(store, name, file).map_err(|error| error.to_string());
        if result.is_ok() {
            K::empty(&mut transactions).remove(name);
        }
        text(committed(name, users, result))
    })
}

fn abort<K: Kind>(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let name = name(call.args, &format!("'abort ssl {}' expects a filename", K::WORD))?;
    with_store(view, |store| {
        let mut transactions = store.transactions();
        let begun = K::begun(&mut transactions);
        super::aborted(name, begun.as_ref().map(|(path, _)| &**path))?;
        *begun = None;
        text(format!("Transaction aborted for certificate '{name}'!\n"))
    })
}

fn delete<K: Kind>(view: &View, call: &Invocation<'_>) -> Result<Answer, String> {
    let (word, title) = (K::WORD, K::TITLE);
    let name = name(call.args, &format!("'del ssl {word}' expects a {title} file name"))?;
    let failed = |why: String| format!("Can't remove the {title} file: {why}\n");
    with_store(view, |store| {
        let mut transactions = store.transactions();
        if K::begun(&mut transactions).as_ref().is_some_and(|(path, _)| **path == *name) {
            return Err(failed(format!("ongoing transaction for the {title} file '{name}'")));
        }
        if !K::empty(&mut transactions).remove(name) {
            K::remove(store, name).map_err(|error| {
                failed(match error {
                    StoreError::InUse => {
                        format!("{title} file '{name}' in use, can't be deleted!\n")
                    }
                    _ => format!("{title} file '{name}' doesn't exist!\n"),
                })
            })?;
        }
        text(format!("{title} file '{name}' deleted!\n"))
    })
}
