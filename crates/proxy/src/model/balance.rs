//! How a backend chooses: the strategy, and where the key of a keyed one comes from.

use std::sync::Arc;

use telamon_balance::hash::{HashFunction, KeyHash};
use telamon_balance::strategy::{
    ByUsage, Consistent, First, Ketama, LeastConn, LeastTime, Maglev, MapBased, P2c, Random,
    RoundRobin, StaticRr, Strategy,
};

use crate::expr::Expr;

/// `balance …` with its arguments, `hash-type` and `hash-balance-factor`.
#[derive(Debug, Clone, Default)]
pub struct Balance {
    pub strategy: BalanceStrategy,
    /// Where the key comes from, for keyed strategies.
    pub key: BalanceKey,
    pub hash_type: HashType,
    /// `hash-balance-factor`: percent of the average load that a server may have, above 100; 0 is no bound.
    pub balance_factor: u32,
    /// `usage header NAME`: where servers say in their answers how loaded they are; lower case.
    pub usage_header: Option<Arc<[u8]>>,
}

/// The strategies of `balance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BalanceStrategy {
    #[default]
    RoundRobin,
    StaticRr,
    LeastConn,
    P2c,
    LeastTime,
    First,
    /// `source`, `uri`, `url_param`, `hdr`, `rdp-cookie`, `hash`: by [`Balance::key`] and [`Balance::hash_type`].
    Keyed,
    /// `maglev EXPR [size SIZE]`; the size is prime.
    Maglev {
        size: u32,
    },
    Ketama,
    /// `usage … [expire TIME]`.
    Usage {
        expire_ms: u64,
    },
    /// `random(DRAWS)`; default 2.
    Random {
        draws: u32,
    },
}

/// What a keyed strategy hashes; a request that has none is given a server in turn.
#[derive(Debug, Clone, Default)]
pub enum BalanceKey {
    #[default]
    None,
    /// `source`: the client's address.
    Source,
    Uri(UriKey),
    /// `url_param NAME`: of the query, else of what has arrived of a POST request's body.
    UrlParam(Box<[u8]>),
    /// `hdr(NAME)`: the first value.
    Header {
        /// Lower case.
        name: Box<[u8]>,
        /// `use_domain_only`: of `www.example.com` only `example`.
        domain_only: bool,
    },
    /// `rdp-cookie(NAME)`.
    RdpCookie(Arc<Expr>),
    /// `hash EXPR`.
    Sample(Arc<Expr>),
    /// `maglev EXPR`, `ketama EXPR`: as text, by CRC-32, whatever `hash-type` says.
    Text(Arc<Expr>),
}

/// `balance uri`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UriKey {
    /// With the query.
    pub whole: bool,
    /// Without scheme and authority.
    pub path_only: bool,
    /// No more than so many bytes from its start.
    pub len: Option<usize>,
    /// Up to the slash after so many directories.
    pub depth: Option<usize>,
}

/// `hash-type METHOD [FUNCTION [avalanche]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HashType {
    pub method: HashMethod,
    pub key: KeyHash,
}

/// How keys are spread over servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashMethod {
    #[default]
    MapBased,
    Consistent,
}

impl Balance {
    /// The strategy itself, for the regular servers or the backups of one pool.
    pub fn make(&self) -> Box<dyn Strategy> {
        match self.strategy {
            BalanceStrategy::RoundRobin => Box::<RoundRobin>::default(),
            BalanceStrategy::StaticRr => Box::<StaticRr>::default(),
            BalanceStrategy::LeastConn => Box::<LeastConn>::default(),
            BalanceStrategy::P2c => Box::<P2c>::default(),
            BalanceStrategy::LeastTime => Box::<LeastTime>::default(),
            BalanceStrategy::Maglev { size } => Box::new(Maglev::new(size)),
            BalanceStrategy::Ketama => Box::<Ketama>::default(),
            BalanceStrategy::Usage { expire_ms } => Box::new(ByUsage::new(expire_ms)),
            BalanceStrategy::First => Box::<First>::default(),
            BalanceStrategy::Random { draws } => {
                Box::new(Random::bounded(draws, self.balance_factor))
            }
            BalanceStrategy::Keyed => {
                let name = self.key.name();
                match self.hash_type.method {
                    HashMethod::MapBased => Box::new(MapBased::new(name)),
                    HashMethod::Consistent => Box::new(Consistent::new(name, self.balance_factor)),
                }
            }
        }
    }

    /// How a text becomes the key of `maglev` and `ketama`: nginx's CRC-32, mixed for the table of the first, whose
    /// entries are its remainders.
    pub(crate) fn text_hash(&self) -> KeyHash {
        let avalanche = matches!(self.strategy, BalanceStrategy::Maglev { .. });
        KeyHash { function: HashFunction::Crc32, avalanche }
    }

    /// Whether the same key always means the same server: a retry does not leave it lightly.
    pub fn is_keyed(&self) -> bool {
        !matches!(self.key, BalanceKey::None)
    }
}

impl BalanceKey {
    /// The word of the configuration for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Source => "source",
            Self::Uri(_) => "uri",
            Self::UrlParam(_) => "url_param",
            Self::Header { .. } => "hdr",
            Self::RdpCookie(_) => "rdp-cookie",
            Self::Sample(_) => "hash",
            Self::Text(_) => "text",
        }
    }

    /// Whether it reads a request of HTTP, so that `mode tcp` has nothing to hash.
    pub fn needs_http(&self) -> bool {
        matches!(self, Self::Uri(_) | Self::UrlParam(_) | Self::Header { .. })
    }
}
