//! Fetches that HAProxy has and Telamon does not have yet, so that they are named rather than unknown.

use std::sync::LazyLock;

use crate::expr::{Fetch, Run, Source, ValueType};

pub(super) static TABLE: LazyLock<Vec<Fetch>> = LazyLock::new(|| {
    let rows = PLANNED
        .iter()
        .flat_map(|&(needs, names)| names.split_whitespace().map(move |name| (needs, name)));
    rows.map(|(needs, name)| Fetch {
        name,
        params: &[],
        required: 0,
        output: ValueType::Any,
        source: Source::Internal,
        run: Run::NotYet(needs),
        check: None,
    })
    .collect()
});

/// What is needed first, and the fetches that wait for it.
const PLANNED: [(&str, &str); 7] = [
    (
        "details of connections",
        "fc_fackets fc_lost fc_reordering fc_retrans fc_rtt fc_rttvar fc_sacked fc_unacked dst_is_local fc_dst_is_local fc_src_is_local src_is_local",
    ),
    ("task profiling", "cpu_calls cpu_ns_avg cpu_ns_tot lat_ns_avg lat_ns_tot"),
    ("distcc", "distcc_body distcc_param"),
    ("FastCGI", "fcgi.docroot fcgi.index"),
    ("caching", "res.cache_hit res.cache_name"),
    ("compression", "res.comp res.comp_algo"),
    (
        "HAProxy's own state",
        "internal.htx.data internal.htx.free internal.htx.free_data internal.htx.has_eom \
        internal.htx.nbblks internal.htx.size internal.htx.used internal.htx_blk.data internal.htx_blk.hdrname \
        internal.htx_blk.hdrval internal.htx_blk.size internal.htx_blk.start_line internal.htx_blk.type \
        internal.strm.is_htx prio_class prio_offset",
    ),
];
