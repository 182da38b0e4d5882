//! Addresses and networks as patterns and lists write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::value::{AddrText, v6_to_v4};

/// A network: `10.0.0.0/8`, `10.12/255.0.255.0`, `::1`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    V4 { address: Ipv4Addr, mask: Ipv4Addr },
    V6 { address: Ipv6Addr, prefix: u8 },
}

impl Network {
    /// Reads an address with or without a mask. IPv4 may leave out inner octets (`127.1` is
    /// `127.0.0.1`) and may have a mask of any bits; IPv6 has a prefix length. Host bits are
    /// dropped.
    ///
    /// `None` where the text is no address; host names are not resolved here.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        if let Ok(address) = address.parse::<Ipv6Addr>() {
            let prefix = mask.map_or(Some(128), |mask| parse_prefix(mask, 128))?;
            let address = Ipv6Addr::from_bits(address.to_bits() & v6_mask(prefix));
            return Some(Self::V6 { address, prefix });
        }
        let address = parse_ipv4(address)?;
        let mask = mask.map_or(Some(Ipv4Addr::BROADCAST), parse_mask)?;
        Some(Self::V4 { address: Ipv4Addr::from_bits(address.to_bits() & mask.to_bits()), mask })
    }

    /// Whether the address lies inside. An IPv6 address that embeds an IPv4 one (6to4, compatible,
    /// mapped) is compared with IPv4 networks by that; an IPv4 address is compared with IPv6
    /// networks as `::ffff:a.b.c.d`.
    pub fn contains(&self, address: IpAddr) -> bool {
        match *self {
            Self::V4 { address: network, mask } => {
                let address = match address {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(address) => v6_to_v4(address),
                };
                address.is_some_and(|a| a.to_bits() & mask.to_bits() == network.to_bits())
            }
            Self::V6 { address: network, prefix } => {
                let address = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                address.to_bits() & v6_mask(prefix) == network.to_bits()
            }
        }
    }

    /// First and last address, when the mask is a prefix.
    pub(crate) fn range(&self) -> Option<(IpAddr, IpAddr)> {
        match *self {
            Self::V4 { address, mask } => {
                let host = !mask.to_bits();
                (host & host.wrapping_add(1) == 0)
                    .then(|| (address.into(), Ipv4Addr::from_bits(address.to_bits() | host).into()))
            }
            Self::V6 { address, prefix } => {
                let last = address.to_bits() | !v6_mask(prefix);
                Some((address.into(), Ipv6Addr::from_bits(last).into()))
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4 { address, mask } if mask == Ipv4Addr::BROADCAST => address.fmt(f),
            Self::V4 { address, mask } if self.range().is_some() => {
                write!(f, "{address}/{}", mask.to_bits().leading_ones())
            }
            Self::V4 { address, mask } => write!(f, "{address}/{mask}"),
            Self::V6 { address, prefix: 128 } => AddrText(address.into()).fmt(f),
            Self::V6 { address, prefix } => write!(f, "{}/{prefix}", AddrText(address.into())),
        }
    }
}

/// Reads an IPv4 mask: a prefix length or four octets.
pub(crate) fn parse_mask(text: &str) -> Option<Ipv4Addr> {
    if text.contains('.') {
        return text.parse().ok();
    }
    let prefix = parse_prefix(text, 32)?;
    Some(Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)))
}

/// Reads an IPv6 mask: a prefix length or an address.
pub(crate) fn parse_mask6(text: &str) -> Option<Ipv6Addr> {
    if text.contains(':') {
        return text.parse().ok();
    }
    Some(Ipv6Addr::from_bits(v6_mask(parse_prefix(text, 128)?)))
}

fn parse_prefix(text: &str, max: u8) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&prefix| digits && prefix <= max)
}

fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let parts = text.split('.').count();
    if parts > 4 {
        return None;
    }
    for (index, part) in text.split('.').enumerate() {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // The last part written is the last octet.
        let place = if index + 1 == parts && parts > 1 { 3 } else { index };
        octets[place] = part.parse().ok()?;
    }
    // A single number is an address for inet_aton(3), but a slip here.
    (parts > 1).then(|| octets.into())
}

fn v6_mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, address: &str, expected: bool) {
        let network = Network::parse(network.as_bytes()).expect("a network");
        assert_eq!(network.contains(address.parse().expect("an address")), expected);
    }

    #[test]
    fn networks_contain() {
        check("192.168.1/22", "192.168.3.255", true);
        check("192.168.1", "192.168.0.1", true);
        check("10.12/8", "10.200.0.1", true);
        check("127.1", "127.0.0.1", true);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("10.0.0.1/255.0.0.255", "10.9.9.1", true);
        check("10.0.0.1/255.0.0.255", "10.9.9.2", false);
        check("10.0.0.0/8", "::ffff:10.1.1.1", true);
        check("10.0.0.0/8", "::10.1.1.1", true);
        check("10.0.0.0/8", "2002:a01:101::", true);
        check("10.0.0.0/8", "2001:db8::1", false);
        check("::ffff:0:0/96", "10.0.0.1", true);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("::/0", "1.2.3.4", true);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "1", "1.2.3.4.5", "1.2.3.400", "1.2.3.4/33", "::1/129", "example.com", "/8"]
        {
            assert_eq!(Network::parse(text.as_bytes()), None, "{text}");
        }
    }
}
