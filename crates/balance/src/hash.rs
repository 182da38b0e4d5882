//! From what a unit is recognized by to the [`Key`] that keyed strategies choose by.
//!
//! The functions are those that HAProxy's `hash-type` names, to the bit: the same bytes give the
//! same number, so that a farm keeps its distribution when the balancer changes. Source: HAProxy
//! configuration manual, `hash-type`.

use std::net::IpAddr;

use crate::strategy::Key;

/// How bytes become a [`Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyHash {
    /// What sums the bytes up.
    pub function: HashFunction,
    /// The sum is mixed once more ([`avalanche`]); addresses are not summed up, only mixed.
    pub avalanche: bool,
}

/// The functions of `hash-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashFunction {
    /// [`sdbm`], the default.
    #[default]
    Sdbm,
    /// [`djb2`].
    Djb2,
    /// [`wt6`].
    Wt6,
    /// [`crc32`] with Ethernet's polynomial.
    Crc32,
    /// The bytes are the number already, in decimal digits (HAProxy 2.9).
    None,
}

impl KeyHash {
    /// The key of a text or block.
    pub fn of_bytes(self, bytes: &[u8]) -> Key {
        self.mix(match self.function {
            HashFunction::Sdbm => sdbm(0, bytes),
            HashFunction::Djb2 => djb2(bytes),
            HashFunction::Wt6 => wt6(bytes),
            HashFunction::Crc32 => crc32(bytes, CRC32_ETHERNET),
            HashFunction::None => digits(bytes),
        })
    }

    /// The key of an address as `balance source` has it: its 32-bit words in network order,
    /// combined by exclusive or.
    pub fn of_address(self, address: IpAddr) -> Key {
        self.mix(match address {
            IpAddr::V4(v4) => u32::from(v4),
            IpAddr::V6(v6) => {
                let bits = u128::from(v6);
                (0..4).fold(0, |key, word| key ^ (bits >> (32 * word)) as u32)
            }
        })
    }

    fn mix(self, hash: u32) -> Key {
        Key(if self.avalanche { avalanche(hash) } else { hash })
    }
}

/// The hash of the sdbm library, going on from `hash`; begin with 0.
pub fn sdbm(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| {
        u32::from(*byte).wrapping_add(hash << 6).wrapping_add(hash << 16).wrapping_sub(hash)
    })
}

/// Daniel Bernstein's hash: times 33, plus the byte, from 5381.
pub fn djb2(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(5381u32, |hash, byte| (hash << 5).wrapping_add(hash).wrapping_add(u32::from(*byte)))
}

/// HAProxy's own hash of two rotating halves, whose rotations depend on the data.
pub fn wt6(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut turn_low, mut turn_high) = (18, 6);
    for &byte in bytes {
        let mixed = (!(low ^ u32::from(byte)), !(high.wrapping_add(byte.into())));
        low = mixed.1.rotate_left(turn_high);
        high = mixed.0.rotate_left(turn_low);
        let bits = ((low >> 16) ^ high) & 0xffff;
        (turn_high, turn_low) = (bits & 31, bits >> 11);
    }
    low ^ high
}

/// The reflected CRC with the given polynomial: [`CRC32_ETHERNET`] or [`CRC32_CASTAGNOLI`].
pub fn crc32(bytes: &[u8], polynomial: u32) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (polynomial & 0u32.wrapping_sub(crc & 1))
        })
    })
}

/// The polynomial of Ethernet, gzip and PNG.
pub const CRC32_ETHERNET: u32 = 0xedb8_8320;
/// The polynomial of iSCSI and SCTP (`crc32c`).
pub const CRC32_CASTAGNOLI: u32 = 0x82f6_3b78;

/// Bob Jenkins' 32-bit integer hash with full avalanche, then one multiplication. A bijection: no
/// two numbers give the same.
pub fn avalanche(hash: u32) -> u32 {
    let mut a = hash;
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

/// The number that the bytes begin with, its low 32 bits; 0 without digits.
fn digits(bytes: &[u8]) -> u32 {
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, bytes),
    };
    let number = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0i64, |n, byte| n.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    (if negative { -number } else { number }) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(function: HashFunction, bytes: &[u8], plain: u32, mixed: u32) {
        assert_eq!(KeyHash { function, avalanche: false }.of_bytes(bytes), Key(plain));
        assert_eq!(KeyHash { function, avalanche: true }.of_bytes(bytes), Key(mixed));
    }

    /// What the converters of the same names gave in Debian's HAProxy 2.6.12.
    #[test]
    fn functions_give_haproxys_numbers() {
        let text = b"The quick brown fox jumps over the lazy dog";
        check(HashFunction::Sdbm, b"foo", sdbm(0, b"foo"), 2_735_148_936);
        check(HashFunction::Djb2, b"foo", 193_491_849, avalanche(193_491_849));
        check(HashFunction::Crc32, b"foo", 2_356_372_769, avalanche(2_356_372_769));
        check(HashFunction::Crc32, text, 0x414f_a339, avalanche(0x414f_a339));
        check(HashFunction::Sdbm, b"", 0, avalanche(0));
        check(HashFunction::None, b"4294967297x", 1, avalanche(1));
        check(HashFunction::None, b"-1", u32::MAX, avalanche(u32::MAX));
        check(HashFunction::None, b"x", 0, avalanche(0));
    }
}
