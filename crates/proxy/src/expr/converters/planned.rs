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
const PLANNED: [(&str, &str); 6] = [
    ("TLS", "aes_gcm_dec"),
    ("event sinks", "debug"),
    ("JSON Web Tokens", "jwt_header_query jwt_payload_query jwt_verify"),
    ("Protocol Buffers", "protobuf ungrpc"),
    ("captures made by a converter", "capture-req capture-res"),
    (
        "stick tables",
        "in_table table_bytes_in_rate table_bytes_out_rate table_conn_cnt table_conn_cur \
        table_conn_rate table_expire table_gpc table_gpc0 table_gpc0_rate table_gpc1 table_gpc1_rate \
        table_gpc_rate table_gpt table_gpt0 table_http_err_cnt table_http_err_rate table_http_fail_cnt \
        table_http_fail_rate table_http_req_cnt table_http_req_rate table_idle table_kbytes_in \
        table_kbytes_out table_server_id table_sess_cnt table_sess_rate table_trackers",
    ),
];
