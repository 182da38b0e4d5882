//! HPACK (RFC 7541): representations made one by one, so that wrong ones can be made, and a decoder
//! for what the peer sends.

use std::collections::VecDeque;

/// A literal field without indexing, its name new (RFC 7541, section 6.2.2), nothing Huffman-coded.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    representation(0x00, 4, name, value)
}

/// A literal field that enters the dynamic table (RFC 7541, section 6.2.1), its name new.
pub fn literal_indexed(name: &str, value: &str) -> Vec<u8> {
    representation(0x40, 6, name, value)
}

/// A field of one of the tables (RFC 7541, section 6.1).
pub fn indexed(index: usize) -> Vec<u8> {
    integer(0x80, 7, index)
}

/// A change of the dynamic table's size (RFC 7541, section 6.3).
pub fn size_update(size: usize) -> Vec<u8> {
    integer(0x20, 5, size)
}

/// An integer whose first byte has `prefix` bits of it below the bits of `first` (RFC 7541, section 5.1).
pub fn integer(first: u8, prefix: u32, value: usize) -> Vec<u8> {
    let most = (1usize << prefix) - 1;
    if value < most {
        return vec![first | value as u8];
    }
    let mut bytes = vec![first | most as u8];
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(rest as u8 & 0x7f | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A string, Huffman-coded, its length in front (RFC 7541, section 5.2).
pub fn huffman(text: &str) -> Vec<u8> {
    let codes = codes();
    let (mut bits, mut count, mut coded) = (0u64, 0, Vec::new());
    for byte in text.bytes() {
        let (code, length) = codes[usize::from(byte)];
        bits = bits << length | u64::from(code);
        count += u32::from(length);
        while count >= 8 {
            count -= 8;
            coded.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        coded.push((bits << (8 - count)) as u8 | (0xff >> count) as u8);
    }
    [integer(0x80, 7, coded.len()), coded].concat()
}

fn representation(first: u8, prefix: u32, name: &str, value: &str) -> Vec<u8> {
    [integer(first, prefix, 0), plain(name), plain(value)].concat()
}

fn plain(text: &str) -> Vec<u8> {
    [integer(0, 7, text.len()), text.as_bytes().to_vec()].concat()
}

/// The state of one direction of a connection, with a table of 4096 bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The newest first.
    dynamic: VecDeque<(String, String)>,
    size_max: Option<usize>,
}

impl Decoder {
    /// Decodes a whole block.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(&mut self, mut block: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
        let mut fields = Vec::new();
        while let Some(&first) = block.first() {
            if first & 0x80 != 0 {
                let index = take_integer(&mut block, 7)?;
                fields.push(self.field(index)?);
            } else if first & 0xe0 == 0x20 {
                self.size_max = Some(take_integer(&mut block, 5)?);
                self.evict();
            } else {
                let enters = first & 0x40 != 0;
                let name = match take_integer(&mut block, if enters { 6 } else { 4 })? {
                    0 => take_string(&mut block)?,
                    index => self.field(index)?.0,
                };
                let field = (name, take_string(&mut block)?);
                if enters {
                    self.dynamic.push_front(field.clone());
                    self.evict();
                }
                fields.push(field);
            }
        }
        Ok(fields)
    }

    fn field(&self, index: usize) -> Result<(String, String), &'static str> {
        let index = index.checked_sub(1).ok_or("index 0")?;
        match STATIC.get(index) {
            Some((name, value)) => Ok(((*name).to_owned(), (*value).to_owned())),
            None => {
                self.dynamic.get(index - STATIC.len()).cloned().ok_or("an index beyond the tables")
            }
        }
    }

    fn evict(&mut self) {
        let size = |field: &(String, String)| field.0.len() + field.1.len() + 32;
        let mut total: usize = self.dynamic.iter().map(size).sum();
        while total > self.size_max.unwrap_or(4096) {
            total -= self.dynamic.pop_back().as_ref().map_or(total, size);
        }
    }
}

fn take_integer(block: &mut &[u8], prefix: u32) -> Result<usize, &'static str> {
    let most = (1usize << prefix) - 1;
    let mut value = usize::from(take_byte(block)?) & most;
    if value < most {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = take_byte(block)?;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("an integer without end")
}

fn take_byte(block: &mut &[u8]) -> Result<u8, &'static str> {
    let (first, rest) = block.split_first().ok_or("the block ends early")?;
    *block = rest;
    Ok(*first)
}

fn take_string(block: &mut &[u8]) -> Result<String, &'static str> {
    let is_coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = take_integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or("the block ends early")?;
    *block = rest;
    let bytes = if is_coded { decode_huffman(bytes)? } else { bytes.to_vec() };
    Ok(bytes.iter().map(|byte| char::from(*byte)).collect())
}

fn decode_huffman(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let codes = codes();
    let (mut text, mut code, mut length) = (Vec::new(), 0u32, 0u8);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        if let Some(symbol) = codes.iter().position(|known| *known == (code, length)) {
            text.push(u8::try_from(symbol).map_err(|_| "the end-of-string symbol")?);
            (code, length) = (0, 0);
        }
    }
    let is_padding = length < 8 && code == (1u32 << length) - 1;
    if is_padding { Ok(text) } else { Err("padding that is none") }
}

/// The code and its length of every byte and of the end of a string. The code of RFC 7541, appendix B is
/// canonical: counted up by length, then by symbol.
fn codes() -> [(u32, u8); 257] {
    let mut codes = [(0, 0); 257];
    let mut code = 0;
    for length in 1..=30 {
        code <<= 1;
        for symbol in (0..257).filter(|symbol| LENGTHS[*symbol] == length) {
            codes[symbol] = (code, length);
            code += 1;
        }
    }
    codes
}

#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// RFC 7541, appendix A; index 1 stands first.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::{Decoder, huffman, indexed, integer, literal};

    /// The examples of RFC 7541, sections C.1, C.4 and C.5.
    #[test]
    fn the_examples_of_the_standard() {
        assert_eq!(integer(0, 5, 10), [0x0a]);
        assert_eq!(integer(0, 5, 1337), [0x1f, 0x9a, 0x0a]);
        let coded = huffman("www.example.com");
        let expected = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(coded, [&[0x8c][..], &expected].concat());
        let mut decoder = Decoder::default();
        let block = [indexed(2), indexed(6), vec![0x84, 0x41], coded].concat();
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let first =
            [(":method", "GET"), (":scheme", "http"), (":path", "/")].map(|(n, v)| field(n, v));
        let authority = field(":authority", "www.example.com");
        let all = [&first[..], std::slice::from_ref(&authority)].concat();
        assert_eq!(decoder.decode(&block), Ok(all));
        assert_eq!(decoder.decode(&indexed(62)), Ok(vec![authority]), "it has entered the table");
        assert_eq!(decoder.decode(&literal("a", "b")), Ok(vec![field("a", "b")]));
        assert!(decoder.decode(&indexed(63)).is_err());
        assert!(decoder.decode(&[0x20, 0xbe]).is_err(), "a size of 0 empties the table");
    }

    #[test]
    fn every_byte_is_coded_and_decoded() {
        let text: String = (0..=127).map(char::from).collect();
        let coded = [vec![0x00, 0x01, b'n'], huffman(&text)].concat();
        let fields = Decoder::default().decode(&coded).expect("decodes");
        assert_eq!(fields[0].1, text);
    }
}
