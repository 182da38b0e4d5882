//! Hashes and digests.

use std::borrow::Cow;

use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use telamon_balance::hash::{CRC32_CASTAGNOLI, CRC32_ETHERNET, avalanche, crc32, djb2, sdbm, wt6};

use super::{Arg, Converter, Param, Value, ValueType, converter, optional_variable};
use crate::expr::ParseScope;
use crate::expr::args::ArgError;
use crate::stream::Context;

const INT: &[Param] = &[Param::Int];

/// A row of a 32-bit hash; with an argument other than 0 its bits are spread once more.
macro_rules! number {
    ($name:literal, $hash:expr) => {
        converter($name, ValueType::Bin, ValueType::Int, |_, args, value| {
            let hash: fn(&[u8]) -> u32 = $hash;
            let hash = hash(value.as_bytes()?);
            let spread = args[0].int().is_some_and(|n| n != 0);
            Some(Value::Int(if spread { avalanche(hash) } else { hash }.into()))
        })
        .with(INT, 0)
    };
}

pub(super) const TABLE: &[Converter] = &[
    number!("crc32", |bytes| crc32(bytes, CRC32_ETHERNET)),
    number!("crc32c", |bytes| crc32(bytes, CRC32_CASTAGNOLI)),
    converter("digest", ValueType::Bin, ValueType::Bin, |_, args, value| {
        let algorithm = Algorithm::of(args[0].text()?)?;
        Some(Value::Bin(algorithm.digest(value.as_bytes()?).into()))
    })
    .with(&[Param::Str], 1)
    .checked(check_algorithm),
    number!("djb2", djb2),
    converter("hmac", ValueType::Bin, ValueType::Bin, hmac_with)
        .with(&[Param::Str, Param::Str], 2)
        .checked(check_hmac),
    number!("sdbm", |bytes| sdbm(0, bytes)),
    converter("sha1", ValueType::Bin, ValueType::Bin, |_, _, value| {
        Some(Value::Bin(Algorithm::Sha1.digest(value.as_bytes()?).into()))
    }),
    converter("sha2", ValueType::Bin, ValueType::Bin, |_, args, value| {
        let algorithm = match args[0].int().unwrap_or(256) {
            224 => Algorithm::Sha224,
            384 => Algorithm::Sha384,
            512 => Algorithm::Sha512,
            _ => Algorithm::Sha256,
        };
        Some(Value::Bin(algorithm.digest(value.as_bytes()?).into()))
    })
    .with(INT, 0)
    .checked(check_sha2),
    number!("wt6", wt6),
    converter("xxh3", ValueType::Bin, ValueType::Int, |_, args, value| {
        let seed = args[0].int().unwrap_or(0) as u64;
        Some(Value::Int(xxhash_rust::xxh3::xxh3_64_with_seed(value.as_bytes()?, seed) as i64))
    })
    .with(INT, 0),
    converter("xxh32", ValueType::Bin, ValueType::Int, |_, args, value| {
        let seed = args[0].int().unwrap_or(0) as u32;
        Some(Value::Int(xxhash_rust::xxh32::xxh32(value.as_bytes()?, seed).into()))
    })
    .with(INT, 0),
    converter("xxh64", ValueType::Bin, ValueType::Int, |_, args, value| {
        let seed = args[0].int().unwrap_or(0) as u64;
        Some(Value::Int(xxhash_rust::xxh64::xxh64(value.as_bytes()?, seed) as i64))
    })
    .with(INT, 0),
];

/// A message digest.
#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    fn of(name: &[u8]) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"sha1" => Self::Sha1,
            b"sha224" => Self::Sha224,
            b"sha256" => Self::Sha256,
            b"sha384" => Self::Sha384,
            b"sha512" => Self::Sha512,
            _ => return None,
        })
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha224 => Sha224::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn block_len(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha224 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }

    /// RFC 2104.
    fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let mut block = if key.len() > self.block_len() { self.digest(key) } else { key.to_vec() };
        block.resize(self.block_len(), 0);
        let mut inner: Vec<u8> = block.iter().map(|byte| byte ^ 0x36).collect();
        inner.extend_from_slice(message);
        let mut outer: Vec<u8> = block.iter().map(|byte| byte ^ 0x5c).collect();
        outer.extend(self.digest(&inner));
        self.digest(&outer)
    }
}

/// The key is base64, or a variable that holds base64.
fn hmac_with<'a>(cx: &Context<'a>, args: &'a [Arg], value: Value<'a>) -> Option<Value<'a>> {
    let algorithm = Algorithm::of(args[0].text()?)?;
    let key = match &args[1] {
        Arg::Str(key) => Cow::Borrowed(&**key),
        Arg::Variable(name) => {
            Cow::Owned(super::encode::base64_decode(&super::variable_text(cx, name))?)
        }
        _ => return None,
    };
    Some(Value::Bin(algorithm.hmac(&key, value.as_bytes()?).into()))
}

fn check_algorithm(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match args[0].text().and_then(Algorithm::of) {
        Some(_) => Ok(()),
        None => Err(ArgError::bad(0, &args[0], "sha1, sha224, sha256, sha384 or sha512")),
    }
}

fn check_hmac(args: &mut [Arg], scope: &mut ParseScope<'_>) -> Result<(), ArgError> {
    check_algorithm(args, scope)?;
    match args[1].text().and_then(super::encode::base64_decode) {
        // The name of a variable holds a dot, which base64 does not.
        Some(key) => args[1] = Arg::Str(key.into()),
        None => optional_variable(args, 1)?,
    }
    Ok(())
}

fn check_sha2(args: &mut [Arg], _: &mut ParseScope<'_>) -> Result<(), ArgError> {
    match args[0].int() {
        None | Some(224 | 256 | 384 | 512) => Ok(()),
        Some(_) => Err(ArgError::bad(0, &args[0], "224, 256, 384 or 512 bits")),
    }
}
