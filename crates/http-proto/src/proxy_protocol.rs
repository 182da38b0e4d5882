//! The PROXY protocol, versions 1 and 2: who is behind a connection that another proxy made.
//!
//! Source: "The PROXY protocol", Willy Tarreau, revision 2020/03/05. A header precedes everything else on a connection.
//! [`parse`] reads one from the first bytes, [`write_v1`] and [`write_v2`] write one.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The most that a version 1 line may have, its end included (section 2.1).
const V1_MAX: usize = 107;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family and length.
const V2_PREFIX: usize = 16;

/// What a header told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Source and destination; `None` where the sender speaks for itself (`LOCAL`), or does not know them.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// `PP2_TYPE_AUTHORITY`: the host name that the client asked for (SNI).
    pub authority: Option<Box<[u8]>>,
    /// `PP2_TYPE_UNIQUE_ID`.
    pub unique_id: Option<Box<[u8]>>,
}

/// A value that a version 2 header carries besides the addresses (section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    pub kind: u8,
    pub value: &'a [u8],
}

impl Tlv<'_> {
    pub const ALPN: u8 = 0x01;
    pub const AUTHORITY: u8 = 0x02;
    pub const CRC32C: u8 = 0x03;
    pub const UNIQUE_ID: u8 = 0x05;
    pub const SSL: u8 = 0x20;
    /// Within [`Self::SSL`] (section 2.2.6).
    pub const SSL_VERSION: u8 = 0x21;
    pub const SSL_CN: u8 = 0x22;
    pub const SSL_CIPHER: u8 = 0x23;
    pub const SSL_SIG_ALG: u8 = 0x24;
    pub const SSL_KEY_ALG: u8 = 0x25;

    /// Appends it as it stands in a header, or in another value; left out where its length has no 16 bits.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Ok(len) = u16::try_from(self.value.len()) {
            out.push(self.kind);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(self.value);
        }
    }
}

/// Why the first bytes of a connection are no header, in the words of HAProxy's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeaderError {
    /// They are something else.
    NotHeader,
    /// It begins like one and goes wrong.
    Invalid,
    /// It names a protocol that is neither TCP over IPv4 nor over IPv6.
    UnknownProtocol,
}

impl fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHeader => {
                "Received something which does not look like a PROXY protocol header"
            }
            Self::Invalid => "Received an invalid PROXY protocol header",
            Self::UnknownProtocol => "Received an unhandled protocol in the PROXY protocol header",
        })
    }
}

impl std::error::Error for ProxyHeaderError {}

/// Reads a header from the first bytes of a connection: it and its length, or `None` while bytes are missing.
///
/// # Errors
/// The bytes are no header, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let begins = |signature: &[u8]| {
        let len = signature.len().min(bytes.len());
        bytes[..len] == signature[..len]
    };
    if begins(b"PROXY ") {
        parse_v1(bytes)
    } else if begins(V2_SIGNATURE) {
        parse_v2(bytes)
    } else {
        Err(ProxyHeaderError::NotHeader)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let Some(end) = bytes.iter().take(V1_MAX).position(|byte| *byte == b'\n') else {
        return if bytes.len() < V1_MAX { Ok(None) } else { Err(ProxyHeaderError::Invalid) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(ProxyHeaderError::Invalid)?;
    let line = std::str::from_utf8(line).map_err(|_| ProxyHeaderError::Invalid)?;
    let mut words = line.split(' ').skip(1);
    let addresses = match words.next() {
        // What follows is not to be looked at (section 2.1).
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(v1_addresses(words, |ip| ip.parse::<Ipv4Addr>().ok())?),
        Some("TCP6") => Some(v1_addresses(words, |ip| ip.parse::<Ipv6Addr>().ok())?),
        _ => return Err(ProxyHeaderError::UnknownProtocol),
    };
    Ok(Some((ProxyHeader { addresses, ..ProxyHeader::default() }, end + 1)))
}

/// `SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT`, single spaces between.
fn v1_addresses<'a, A: Into<std::net::IpAddr>>(
    words: impl Iterator<Item = &'a str>,
    address: impl Fn(&str) -> Option<A>,
) -> Result<(SocketAddr, SocketAddr), ProxyHeaderError> {
    let words: Vec<&str> = words.take(5).collect();
    let [source, destination, source_port, destination_port] = words[..] else {
        return Err(ProxyHeaderError::Invalid);
    };
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let pair = |ip, number| Some(SocketAddr::new(address(ip)?.into(), port(number)?));
    let both = pair(source, source_port).zip(pair(destination, destination_port));
    both.ok_or(ProxyHeaderError::Invalid)
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let Some(prefix) = bytes.get(..V2_PREFIX) else { return Ok(None) };
    let is_local = match prefix[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyHeaderError::Invalid),
    };
    let len = V2_PREFIX + usize::from(u16::from_be_bytes([prefix[14], prefix[15]]));
    let Some(whole) = bytes.get(..len) else { return Ok(None) };
    let body = &whole[V2_PREFIX..];
    let mut header = ProxyHeader::default();
    if is_local {
        return Ok(Some((header, len)));
    }
    let tlvs = match prefix[13] {
        0x11 => {
            let (fields, rest) = body.split_first_chunk::<12>().ok_or(ProxyHeaderError::Invalid)?;
            let ip = |at: usize| {
                Ipv4Addr::new(fields[at], fields[at + 1], fields[at + 2], fields[at + 3])
            };
            header.addresses = Some((
                SocketAddr::new(ip(0).into(), port_at(fields, 8)),
                SocketAddr::new(ip(4).into(), port_at(fields, 10)),
            ));
            rest
        }
        0x21 => {
            let (fields, rest) = body.split_first_chunk::<36>().ok_or(ProxyHeaderError::Invalid)?;
            let ip = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&fields[at..at + 16]);
                Ipv6Addr::from(octets)
            };
            header.addresses = Some((
                SocketAddr::new(ip(0).into(), port_at(fields, 32)),
                SocketAddr::new(ip(16).into(), port_at(fields, 34)),
            ));
            rest
        }
        // Other families keep the addresses of the connection (section 2.2), and their TLVs are left alone.
        _ => return Ok(Some((header, len))),
    };
    let mut rest = tlvs;
    while !rest.is_empty() {
        let (kind, value) = first_tlv(rest).ok_or(ProxyHeaderError::Invalid)?;
        rest = &rest[TLV_PREFIX + value.len()..];
        match kind {
            Tlv::CRC32C => {
                let at = len - rest.len() - value.len();
                // Counted with zeros in its own place.
                let made = crc32c(&[&whole[..at], &[0; 4], rest]);
                if value != made.to_be_bytes() {
                    return Err(ProxyHeaderError::Invalid);
                }
            }
            Tlv::AUTHORITY if value.len() > AUTHORITY_MAX => return Err(ProxyHeaderError::Invalid),
            Tlv::AUTHORITY => header.authority = Some(value.into()),
            Tlv::UNIQUE_ID if value.len() > UNIQUE_ID_MAX => return Err(ProxyHeaderError::Invalid),
            Tlv::UNIQUE_ID => header.unique_id = Some(value.into()),
            _ => {}
        }
    }
    Ok(Some((header, len)))
}

/// Kind and value of what the bytes begin with.
fn first_tlv(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk::<TLV_PREFIX>()?;
    Some((kind, rest.get(..usize::from(u16::from_be_bytes([high, low])))?))
}

/// Kind and length of a value.
const TLV_PREFIX: usize = 3;
/// What is accepted of a host name, as HAProxy does.
const AUTHORITY_MAX: usize = 255;
/// Section 2.2.5.
const UNIQUE_ID_MAX: usize = 128;

fn port_at(fields: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([fields[at], fields[at + 1]])
}

/// CRC-32C (RFC 3720, appendix B.4) of the pieces one after another.
fn crc32c(pieces: &[&[u8]]) -> u32 {
    let bytes = pieces.iter().copied().flatten();
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}

/// Appends a version 1 header; without addresses it says that they are unknown.
pub fn write_v1(out: &mut Vec<u8>, addresses: Option<(SocketAddr, SocketAddr)>) {
    let text = match addresses.map(same_family) {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some((from, to)) => format!(
            "PROXY TCP{} {} {} {} {}\r\n",
            if from.is_ipv4() { 4 } else { 6 },
            from.ip(),
            to.ip(),
            from.port(),
            to.port()
        ),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Appends a version 2 header; without addresses it says that the sender speaks for itself. With `checksum` it carries
/// its CRC-32C. Values that do not fit into the 65,535 bytes of a header are left out.
pub fn write_v2(
    out: &mut Vec<u8>,
    addresses: Option<(SocketAddr, SocketAddr)>,
    checksum: bool,
    tlvs: &[Tlv<'_>],
) {
    let start = out.len();
    out.extend_from_slice(V2_SIGNATURE);
    match addresses.map(same_family) {
        None => out.extend_from_slice(&[0x20, 0, 0, 0]),
        Some((from, to)) => {
            out.extend_from_slice(&[0x21, if from.is_ipv4() { 0x11 } else { 0x21 }, 0, 0]);
            for address in [from, to] {
                match address.ip() {
                    std::net::IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                    std::net::IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
                }
            }
            out.extend_from_slice(&from.port().to_be_bytes());
            out.extend_from_slice(&to.port().to_be_bytes());
        }
    }
    let checksum_at = checksum.then(|| {
        write_tlv(out, start, Tlv { kind: Tlv::CRC32C, value: &[0; 4] });
        out.len() - 4
    });
    for tlv in tlvs {
        write_tlv(out, start, *tlv);
    }
    let len = u16::try_from(out.len() - start - V2_PREFIX).unwrap_or(u16::MAX);
    out[start + V2_PREFIX - 2..start + V2_PREFIX].copy_from_slice(&len.to_be_bytes());
    if let Some(at) = checksum_at {
        let made = crc32c(&[&out[start..]]);
        out[at..at + 4].copy_from_slice(&made.to_be_bytes());
    }
}

/// Appends a value to the header that begins at `start`, if it fits.
fn write_tlv(out: &mut Vec<u8>, start: usize, tlv: Tlv<'_>) {
    let whole = out.len() - start - V2_PREFIX + TLV_PREFIX + tlv.value.len();
    if u16::try_from(whole).is_ok() {
        tlv.write(out);
    }
}

/// Addresses of which one is IPv6 are both written as IPv6.
fn same_family((from, to): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    };
    if from.is_ipv4() == to.is_ipv4() { (from, to) } else { (mapped(from), mapped(to)) }
}

#[cfg(test)]
mod tests;
