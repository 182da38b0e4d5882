//! Fetches of TLS: what was agreed on with the client and with the server, and what their certificates say.
//!
//! A certificate is read anew by each fetch; most requests ask for none. Without TLS there is no sample, but where the
//! question is whether there is.

use std::borrow::Cow;

use telamon_tls::{Certificate, Handshake, Name, Time, cipher_name};

use super::{Fetch, one, tls_hello};
use crate::expr::args::{ArgError, Param};
use crate::expr::{Arg, ParseScope, Run, Source, Value, ValueType};
use crate::stream::Context;

const FRONT: Source = Source::ClientConnection;
const BACK: Source = Source::ServerConnection;
/// `[entry[,occurrence[,format]]]`.
const NAME: &[Param] = &[Param::Str, Param::Int, Param::Str];
/// 1 leaves out values that are only there to be ignored (RFC 8701).
const FILTER: &[Param] = &[Param::Int];

/// The two ends of the proxy, and the certificates that are shown there.
trait Side {
    fn handshake<'a>(cx: &Context<'a>) -> Option<&'a Handshake>;
}

trait Shown {
    fn der<'a>(cx: &Context<'a>) -> Option<&'a [u8]>;
}

struct Front;
struct Back;
struct ByClient;
struct ByUs;
struct ByServer;

impl Side for Front {
    fn handshake<'a>(cx: &Context<'a>) -> Option<&'a Handshake> {
        cx.session?.root().tls.get().map(|tls| &**tls)
    }
}

impl Side for Back {
    fn handshake<'a>(cx: &Context<'a>) -> Option<&'a Handshake> {
        match cx.check {
            Some(check) => check.tls,
            None => cx.stream?.log.server_tls.as_deref(),
        }
    }
}

impl Shown for ByClient {
    fn der<'a>(cx: &Context<'a>) -> Option<&'a [u8]> {
        Front::handshake(cx)?.peer_der()
    }
}

impl Shown for ByUs {
    fn der<'a>(cx: &Context<'a>) -> Option<&'a [u8]> {
        Front::handshake(cx)?.own_der()
    }
}

impl Shown for ByServer {
    fn der<'a>(cx: &Context<'a>) -> Option<&'a [u8]> {
        Back::handshake(cx)?.peer_der()
    }
}

/// The rows about one of the certificates.
macro_rules! certificate {
    ($prefix:literal, $shown:ty, $source:expr) => {
        [
            one(concat!($prefix, "der"), ValueType::Bin, $source, |cx, _| {
                Some(Value::bin(<$shown>::der(cx)?))
            }),
            one(concat!($prefix, "i_dn"), ValueType::Str, $source, |cx, args| {
                name_of(certificate::<$shown>(cx)?.issuer(), args)
            })
            .with(NAME, 0)
            .checked(check_name),
            one(concat!($prefix, "key_alg"), ValueType::Str, $source, |cx, _| {
                Some(Value::str(certificate::<$shown>(cx)?.key_algorithm().as_bytes()))
            }),
            one(concat!($prefix, "notafter"), ValueType::Str, $source, |cx, _| {
                time(certificate::<$shown>(cx)?.not_after())
            }),
            one(concat!($prefix, "notbefore"), ValueType::Str, $source, |cx, _| {
                time(certificate::<$shown>(cx)?.not_before())
            }),
            one(concat!($prefix, "s_dn"), ValueType::Str, $source, |cx, args| {
                name_of(certificate::<$shown>(cx)?.subject(), args)
            })
            .with(NAME, 0)
            .checked(check_name),
            one(concat!($prefix, "serial"), ValueType::Bin, $source, |cx, _| {
                Some(Value::bin(certificate::<$shown>(cx)?.serial()))
            }),
            one(concat!($prefix, "sha1"), ValueType::Bin, $source, |cx, _| {
                Some(Value::Bin(Cow::Owned(certificate::<$shown>(cx)?.sha1().to_vec())))
            }),
            one(concat!($prefix, "sig_alg"), ValueType::Str, $source, |cx, _| {
                Some(Value::str(certificate::<$shown>(cx)?.signature_algorithm().as_bytes()))
            }),
            one(concat!($prefix, "version"), ValueType::Int, $source, |cx, _| {
                Some(Value::Int(certificate::<$shown>(cx)?.version().into()))
            }),
        ]
    };
}

/// The rows about one of the handshakes.
macro_rules! handshake {
    ($prefix:literal, $side:ty, $source:expr) => {
        [
            one($prefix, ValueType::Bool, $source, |cx, _| {
                Some(Value::Bool(<$side>::handshake(cx).is_some()))
            }),
            one(concat!($prefix, "_alg_keysize"), ValueType::Int, $source, bits::<$side>),
            one(concat!($prefix, "_alpn"), ValueType::Str, $source, |cx, _| {
                Some(Value::str(<$side>::handshake(cx)?.alpn.as_deref()?))
            }),
            one(concat!($prefix, "_cipher"), ValueType::Str, $source, |cx, _| {
                Some(Value::str(<$side>::handshake(cx)?.cipher_name().as_bytes()))
            }),
            one(concat!($prefix, "_err"), ValueType::Int, $source, |cx, _| {
                let error = <$side>::handshake(cx)?.error;
                Some(Value::Int(error.map_or(0, |reason| reason.code().into())))
            }),
            one(concat!($prefix, "_err_str"), ValueType::Str, $source, |cx, _| {
                let reason = <$side>::handshake(cx)?.error?;
                Some(Value::Str(Cow::Owned(reason.to_string().into_bytes())))
            }),
            one(concat!($prefix, "_is_resumed"), ValueType::Bool, $source, |cx, _| {
                Some(Value::Bool(<$side>::handshake(cx).is_some_and(|tls| tls.resumed)))
            }),
            one(concat!($prefix, "_protocol"), ValueType::Str, $source, |cx, _| {
                Some(Value::str(<$side>::handshake(cx)?.protocol()?.as_bytes()))
            }),
            one(concat!($prefix, "_use_keysize"), ValueType::Int, $source, bits::<$side>),
        ]
    };
}

const OF_CLIENT: &[Fetch] = &certificate!("ssl_c_", ByClient, FRONT);
const OF_FRONTEND: &[Fetch] = &certificate!("ssl_f_", ByUs, FRONT);
const OF_SERVER: &[Fetch] = &certificate!("ssl_s_", ByServer, BACK);
const FRONT_HANDSHAKE: &[Fetch] = &handshake!("ssl_fc", Front, FRONT);
const BACK_HANDSHAKE: &[Fetch] = &handshake!("ssl_bc", Back, BACK);

const OTHERS: &[Fetch] = &[
    one("bc_err", ValueType::Int, Source::ServerAddress, |cx, _| {
        Some(Value::Int(cx.stream?.log.server_error.number().into()))
    }),
    one("bc_err_str", ValueType::Str, Source::ServerAddress, |cx, _| {
        Some(Value::str(cx.stream?.log.server_error.text().as_bytes()))
    }),
    one("fc_err", ValueType::Int, Source::ClientAddress, |cx, _| {
        Some(Value::Int(cx.session?.root().error.get().number().into()))
    }),
    one("fc_err_str", ValueType::Str, Source::ClientAddress, |cx, _| {
        Some(Value::str(cx.session?.root().error.get().text().as_bytes()))
    }),
    one("ssl_c_ca_err", ValueType::Int, FRONT, |cx, _| {
        Some(Value::Int(Front::handshake(cx)?.verdict.ca_err.into()))
    }),
    one("ssl_c_ca_err_depth", ValueType::Int, FRONT, |cx, _| {
        Some(Value::Int(Front::handshake(cx)?.verdict.ca_err_depth.into()))
    }),
    // HAProxy's list has the client's own certificate only on the other side.
    one("ssl_c_chain_der", ValueType::Bin, FRONT, |cx, _| {
        chain(Front::handshake(cx)?.peer.get(1..)?)
    }),
    one("ssl_c_err", ValueType::Int, FRONT, |cx, _| {
        Some(Value::Int(Front::handshake(cx)?.verdict.err.into()))
    }),
    one("ssl_c_used", ValueType::Bool, FRONT, |cx, _| {
        Some(Value::Bool(Front::handshake(cx)?.peer_der().is_some()))
    }),
    one("ssl_c_verify", ValueType::Int, FRONT, |cx, _| {
        Some(Value::Int(Front::handshake(cx)?.verdict.result.into()))
    }),
    one("ssl_fc_cipherlist_bin", ValueType::Str, FRONT, |cx, args| {
        pairs(cx, args, |hello| hello.ciphers())
    })
    .with(FILTER, 0),
    one("ssl_fc_cipherlist_hex", ValueType::Bin, FRONT, |cx, args| {
        let Value::Bin(list) = pairs(cx, args, |hello| hello.ciphers())? else { return None };
        let digits = list.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        Some(Value::Bin(Cow::Owned(digits.into_bytes())))
    })
    .with(FILTER, 0),
    one("ssl_fc_cipherlist_str", ValueType::Str, FRONT, cipher_names).with(FILTER, 0),
    one("ssl_fc_cipherlist_xxh", ValueType::Int, FRONT, |cx, _| {
        let list = hello(cx)?.ciphers();
        Some(Value::Int(xxhash_rust::xxh64::xxh64(list, 0).cast_signed()))
    }),
    one("ssl_fc_ecformats_bin", ValueType::Str, FRONT, |cx, _| {
        Some(Value::bin(hello(cx)?.point_formats()))
    }),
    one("ssl_fc_eclist_bin", ValueType::Str, FRONT, |cx, args| {
        pairs(cx, args, |hello| hello.curves())
    })
    .with(FILTER, 0),
    one("ssl_fc_extlist_bin", ValueType::Str, FRONT, |cx, args| {
        let kinds = hello(cx)?.extension_kinds();
        Some(Value::Bin(Cow::Owned(without_grease(&kinds, args))))
    })
    .with(FILTER, 0),
    // The certificate that a resumed session began with was not sent again.
    one("ssl_fc_has_crt", ValueType::Bool, FRONT, |cx, _| {
        let tls = Front::handshake(cx)?;
        Some(Value::Bool(tls.peer_der().is_some() && !tls.resumed))
    }),
    // Early data is never accepted.
    one("ssl_fc_has_early", ValueType::Bool, FRONT, |cx, _| {
        Front::handshake(cx).map(|_| Value::Bool(false))
    }),
    one("ssl_fc_has_sni", ValueType::Bool, FRONT, |cx, _| {
        let tls = Front::handshake(cx);
        Some(Value::Bool(tls.is_some_and(|tls| tls.server_name.is_some())))
    }),
    one("ssl_fc_protocol_hello_id", ValueType::Int, FRONT, |cx, _| {
        Some(Value::Int(hello(cx)?.offered_version()))
    }),
    one("ssl_fc_sni", ValueType::Str, FRONT, |cx, _| {
        Some(Value::str(Front::handshake(cx)?.server_name.as_deref()?.as_bytes()))
    }),
    one("ssl_s_chain_der", ValueType::Bin, BACK, |cx, _| chain(&Back::handshake(cx)?.peer)),
    never("ssl_bc_client_random", RANDOM),
    never("ssl_bc_npn", NPN),
    never("ssl_bc_server_random", RANDOM),
    never("ssl_bc_session_id", SESSION_ID),
    never("ssl_bc_session_key", SECRETS),
    never("ssl_bc_unique_id", UNIQUE_ID),
    never("ssl_fc_client_early_traffic_secret", SECRETS),
    never("ssl_fc_client_handshake_traffic_secret", SECRETS),
    never("ssl_fc_client_random", RANDOM),
    never("ssl_fc_client_traffic_secret_0", SECRETS),
    never("ssl_fc_early_exporter_secret", SECRETS),
    never("ssl_fc_exporter_secret", SECRETS),
    never("ssl_fc_npn", NPN),
    never("ssl_fc_server_handshake_traffic_secret", SECRETS),
    never("ssl_fc_server_random", RANDOM),
    never("ssl_fc_server_traffic_secret_0", SECRETS),
    never("ssl_fc_session_id", SESSION_ID),
    never("ssl_fc_session_key", SECRETS),
    never("ssl_fc_unique_id", UNIQUE_ID),
];

pub(super) const TABLES: [&[Fetch]; 6] =
    [OF_CLIENT, OF_FRONTEND, OF_SERVER, FRONT_HANDSHAKE, BACK_HANDSHAKE, OTHERS];

const NPN: &str =
    "NPN is a predecessor of ALPN that nothing speaks any more: use `ssl_fc_alpn` or `ssl_bc_alpn`";
const RANDOM: &str = "rustls does not tell the random values of a handshake";
const SECRETS: &str = "rustls does not tell the secrets of a connection";
const SESSION_ID: &str = "rustls does not tell a session's id, which TLS 1.3 no longer has: `ssl_fc_is_resumed` and \
                          `ssl_bc_is_resumed` tell whether a session was resumed";
const UNIQUE_ID: &str =
    "rustls does not tell the finished messages that it is made of, and TLS 1.3 has no such id";

/// A fetch of what the library keeps to itself.
const fn never(name: &'static str, why: &'static str) -> Fetch {
    Fetch {
        name,
        params: &[],
        required: 0,
        output: ValueType::Any,
        source: Source::Internal,
        run: Run::Never(why),
        check: None,
    }
}

fn certificate<'a, S: Shown>(cx: &Context<'a>) -> Option<Certificate<'a>> {
    Certificate::parse(S::der(cx)?).ok()
}

fn bits<'a, S: Side>(cx: &Context<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    Some(Value::Int(S::handshake(cx)?.cipher_bits()?.into()))
}

fn time<'a>(time: Time) -> Option<Value<'a>> {
    Some(Value::Str(Cow::Owned(time.compact()?.into_bytes())))
}

/// A name, or one of its entries.
fn name_of<'a>(name: Name<'_>, args: &[Arg]) -> Option<Value<'a>> {
    let text = match (args[0].text(), args[2].text()) {
        (Some(entry), _) if !entry.is_empty() => {
            name.entry(entry, args[1].int().unwrap_or(1))?.to_vec()
        }
        (_, Some(format)) if !format.is_empty() => name.rfc2253(),
        _ => name.oneline(),
    };
    (!text.is_empty()).then_some(Value::Str(Cow::Owned(text)))
}

fn check_name(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match args[2].text() {
        None | Some(b"" | b"rfc2253") => Ok(()),
        Some(_) => Err(ArgError::bad(2, &args[2], "rfc2253, the only other form of a name")),
    }
}

fn chain<'a>(certificates: &[impl AsRef<[u8]>]) -> Option<Value<'a>> {
    let der: Vec<u8> = certificates.iter().flat_map(|der| der.as_ref()).copied().collect();
    (!der.is_empty()).then_some(Value::Bin(Cow::Owned(der)))
}

/// The client's first message, where it is kept.
fn hello<'a>(cx: &Context<'a>) -> Option<tls_hello::Hello<'a>> {
    tls_hello::parse_message(Front::handshake(cx)?.hello.as_deref()?)
}

type List = for<'h> fn(&tls_hello::Hello<'h>) -> &'h [u8];

/// A list of 16-bit values.
fn pairs<'a>(cx: &Context<'a>, args: &'a [Arg], list: List) -> Option<Value<'a>> {
    let list = list(&hello(cx)?);
    Some(match args[0].int() {
        None | Some(0) => Value::bin(list),
        Some(_) => Value::Bin(Cow::Owned(without_grease(list, args))),
    })
}

fn without_grease(list: &[u8], args: &[Arg]) -> Vec<u8> {
    let all = args[0].int().unwrap_or(0) == 0;
    let is_grease = |pair: &[u8]| pair[0] == pair[1] && pair[0] & 0x0f == 0x0a;
    list.chunks_exact(2).filter(|pair| all || !is_grease(pair)).flatten().copied().collect()
}

fn cipher_names<'a>(cx: &Context<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let list = without_grease(hello(cx)?.ciphers(), args);
    let names = list.chunks_exact(2).map(|pair| {
        let id = u16::from_be_bytes([pair[0], pair[1]]);
        match cipher_name(id.into()) {
            Some(name) => name.to_owned(),
            None => format!("UNKNOWN({id:04x})"),
        }
    });
    Some(Value::Str(Cow::Owned(names.collect::<Vec<_>>().join(",").into_bytes())))
}
