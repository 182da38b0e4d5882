//! `ssl ocsp-response`: what is stapled to certificates.

use std::collections::BTreeMap;
use std::sync::Arc;

use telamon_runtime::api::{Answer, Invocation, Level};
use telamon_tls::{OcspResponse, Store, decode_base64};

use super::{hex, with_store};
use crate::api::{Row, row, text};

pub(super) const COMMANDS: &[Row] = &[
    row(
        &["show", "ssl", "ocsp-response"],
        Level::User,
        "[id]",
        "display the IDs of the OCSP responses used in memory, or the details of a single OCSP response",
        |view, call| with_store(view, |store| show(store, call)),
    ),
    row(
        &["set", "ssl", "ocsp-response"],
        Level::Operator,
        "<resp|payload>",
        "update a certificate's OCSP Response from a base64-encode DER",
        |view, call| with_store(view, |store| set(store, call)),
    ),
];

fn show(store: &Store, call: &Invocation<'_>) -> Result<Answer, String> {
    let mut responses = BTreeMap::new();
    for (_, bundle, _) in store.certificates() {
        if let Some(response) = bundle.key.ocsp.as_deref().and_then(OcspResponse::parse) {
            let id = hex(response.id()).to_ascii_lowercase();
            responses.insert(id, (response.summary(), response.text()));
        }
    }
    match call.args.first() {
        None => {
            let mut out = "# Certificate IDs\n".to_owned();
            for (id, (summary, _)) in responses {
                out.push_str(&format!("Certificate ID key : {id}\n{summary}"));
            }
            text(out)
        }
        Some(id) => match responses.remove(&id.to_ascii_lowercase()) {
            Some((_, details)) => text(details),
            None => Err("Certificate ID does not match any certificate.\n".to_owned()),
        },
    }
}

fn set(store: &Store, call: &Invocation<'_>) -> Result<Answer, String> {
    let given = call.payload.or(call.args.first().copied()).unwrap_or_default();
    let base64: Vec<u8> = given.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if base64.is_empty() {
        return Err("'set ssl ocsp-response' expects response in base64 encoding.\n".to_owned());
    }
    let der = decode_base64(&base64)
        .ok_or("'set ssl ocsp-response' received invalid base64 encoded response.\n".to_owned())?;
    let response = OcspResponse::parse(&der).ok_or("Unable to parse OCSP response.\n")?;
    let mut found = false;
    for (name, bundle, _) in store.certificates() {
        let old = bundle.key.ocsp.as_deref().and_then(OcspResponse::parse);
        if old.is_some_and(|old| old.id() == response.id()) {
            store.set_certificate(&name, Arc::new(bundle.with_ocsp(Some(der.clone()))));
            found = true;
        }
    }
    if !found {
        return Err(
            "OCSP single response: Certificate ID does not match any certificate or issuer.\n"
                .to_owned(),
        );
    }
    text("OCSP Response updated!\n")
}
