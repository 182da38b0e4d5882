//! Keys: bytes of a type.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the keys of a table are. Source: HAProxy configuration manual, `stick-table type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// An IPv4 address: four bytes in network order.
    Ip,
    /// An IPv6 address: sixteen bytes.
    Ipv6,
    /// 32 bits.
    Integer,
    /// Text of at most `len` bytes, without a NUL; longer ones are cut.
    String { len: u32 },
    /// Up to `len` bytes; longer ones are cut, shorter ones filled up with zeros.
    Binary { len: u32 },
}

/// A key to look for.
#[derive(Debug, Clone, Copy)]
pub enum Key<'k> {
    Short([u8; 4]),
    Long([u8; 16]),
    Bytes(&'k [u8]),
}

impl KeyType {
    /// Its name in configurations and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ipv6 => "ipv6",
            Self::Integer => "integer",
            Self::String { .. } => "string",
            Self::Binary { .. } => "binary",
        }
    }

    /// The bytes that a key takes in an entry.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Ip | Self::Integer => 4,
            Self::Ipv6 => 16,
            Self::String { len } | Self::Binary { len } => len as usize,
        }
    }

    /// A stored key as text: an address, a number, text. `None` for binary keys.
    pub fn address(self, key: &[u8]) -> Option<IpAddr> {
        match self {
            Self::Ip => Some(Ipv4Addr::from(<[u8; 4]>::try_from(key).ok()?).into()),
            Self::Ipv6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(key).ok()?).into()),
            _ => None,
        }
    }
}

impl<'k> Key<'k> {
    /// A number, in the machine's own order of bytes as HAProxy sorts them.
    pub fn integer(number: u32) -> Self {
        Self::Short(number.to_ne_bytes())
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(bytes) => bytes,
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Without what the type cuts off or does not tell apart.
    pub fn normalized(&self, key_type: KeyType) -> &[u8] {
        let bytes = self.as_bytes();
        let cut = |len: u32| &bytes[..bytes.len().min(len as usize)];
        match key_type {
            KeyType::Ip | KeyType::Integer | KeyType::Ipv6 => {
                &bytes[..bytes.len().min(key_type.width())]
            }
            KeyType::String { len } => {
                let text = cut(len);
                text.iter().position(|byte| *byte == 0).map_or(text, |end| &text[..end])
            }
            KeyType::Binary { len } => {
                let block = cut(len);
                let end = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                &block[..end]
            }
        }
    }
}

impl From<[u8; 4]> for Key<'_> {
    fn from(address: [u8; 4]) -> Self {
        Self::Short(address)
    }
}

impl From<Ipv4Addr> for Key<'_> {
    fn from(address: Ipv4Addr) -> Self {
        Self::Short(address.octets())
    }
}

impl From<Ipv6Addr> for Key<'_> {
    fn from(address: Ipv6Addr) -> Self {
        Self::Long(address.octets())
    }
}

impl<'k> From<&'k [u8]> for Key<'k> {
    fn from(bytes: &'k [u8]) -> Self {
        Self::Bytes(bytes)
    }
}
