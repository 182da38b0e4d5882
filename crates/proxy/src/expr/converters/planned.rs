//! Converters that HAProxy has and Telamon does not have yet, so that they are named rather than unknown.

use std::sync::LazyLock;

use crate::expr::{Convert, Converter, ValueType};

pub(super) static TABLE: LazyLock<Vec<Converter>> = LazyLock::new(|| {
    let rows = PLANNED
        .iter()
        .flat_map(|&(needs, names)| names.split_whitespace().map(move |name| (needs, name)));
    rows.map(|(needs, name)| Converter {
        name,
        params: &[],
        required: 0,
        input: ValueType::Any,
        output: ValueType::Any,
        run: Convert::NotYet(needs),
        check: None,
    })
    .collect()
});

/// What is needed first, and the converters that wait for it.
const PLANNED: [(&str, &str); 5] = [
    ("TLS", "aes_gcm_dec"),
    ("event sinks", "debug"),
    ("JSON Web Tokens", "jwt_header_query jwt_payload_query jwt_verify"),
    ("Protocol Buffers", "protobuf ungrpc"),
    ("captures made by a converter", "capture-req capture-res"),
];
