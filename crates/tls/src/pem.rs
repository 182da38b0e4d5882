//! PEM (RFC 7468): blocks of base64 between lines of dashes.
//!
//! Read as OpenSSL reads it, which live files rely on: text between the blocks is passed over, lines may end in
//! CR LF, and a block may begin with headers (`Proc-Type: 4,ENCRYPTED`).

use std::fmt;

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block<'p> {
    /// `CERTIFICATE`, `EC PRIVATE KEY` …
    pub(crate) label: &'p str,
    pub(crate) der: Vec<u8>,
    /// Its headers say that it is encrypted.
    pub(crate) encrypted: bool,
    /// The line that it begins at, from 1.
    pub(crate) line: u32,
}

/// What is wrong with a text, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemError {
    pub line: u32,
    pub kind: PemErrorKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PemErrorKind {
    /// `-----BEGIN` without its end.
    Unclosed,
    /// An end that names another label, or a beginning inside a block.
    Mismatched,
    NotBase64,
}

/// The blocks of a text, in order.
///
/// # Errors
/// The first block that is broken.
pub(crate) fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, PemError> {
    let mut blocks = Vec::new();
    let mut lines = text.split(|byte| *byte == b'\n').zip(1u32..);
    while let Some((line, number)) = lines.next() {
        let Some(label) = boundary(line, "-----BEGIN ") else { continue };
        let mut body = Vec::new();
        let mut encrypted = false;
        loop {
            let Some((line, at)) = lines.next() else {
                return Err(PemError { line: number, kind: PemErrorKind::Unclosed });
            };
            if let Some(end) = boundary(line, "-----END ") {
                if end != label {
                    return Err(PemError { line: at, kind: PemErrorKind::Mismatched });
                }
                break;
            }
            if boundary(line, "-----BEGIN ").is_some() {
                return Err(PemError { line: at, kind: PemErrorKind::Mismatched });
            }
            if line.contains(&b':') {
                encrypted |= line.starts_with(b"Proc-Type:") && contains(line, b"ENCRYPTED");
            } else if !line.starts_with(b"DEK-Info") {
                body.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
            }
        }
        let der = match decode_base64(&body) {
            Some(der) if !encrypted => der,
            None if !encrypted => {
                return Err(PemError { line: number, kind: PemErrorKind::NotBase64 });
            }
            _ => Vec::new(),
        };
        blocks.push(Block { label, der, encrypted, line: number });
    }
    Ok(blocks)
}

/// The label of a line that begins or ends a block.
fn boundary<'p>(line: &'p [u8], dashes: &str) -> Option<&'p str> {
    let line = line.trim_ascii_end();
    let label = line.strip_prefix(dashes.as_bytes())?.strip_suffix(b"-----")?;
    std::str::from_utf8(label).ok()
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

/// Decodes base64 (RFC 4648, section 4) with its padding; `None` where it is not that.
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let unpadded = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in unpadded.chunks(4) {
        let mut bits = 0u32;
        for byte in chunk {
            bits = bits << 6 | u32::from(digit(*byte)?);
        }
        match chunk.len() {
            4 => out.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => out.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
            2 => out.push((bits >> 4) as u8),
            _ => return None,
        }
    }
    Some(out)
}

fn digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            PemErrorKind::Unclosed => "a block begins here and never ends",
            PemErrorKind::Mismatched => "a block ends or begins inside another",
            PemErrorKind::NotBase64 => "the block that begins here is not base64",
        };
        write!(f, "line {}: {what}", self.line)
    }
}

impl std::error::Error for PemError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match blocks(text.as_bytes()) {
            Ok(blocks) => blocks
                .iter()
                .map(|b| {
                    format!(
                        "{}@{}={:?}{}",
                        b.label,
                        b.line,
                        b.der,
                        if b.encrypted { "!" } else { "" }
                    )
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn blocks_are_found_between_other_text() {
        check("", "");
        check("no block\n", "");
        check("-----BEGIN X-----\nAQID\n-----END X-----\n", "X@1=[1, 2, 3]");
        check("text\r\n-----BEGIN A B-----\r\nAQ==\r\n-----END A B-----", "A B@2=[1]");
        check(
            "-----BEGIN X-----\nAQ\nI=\n-----END X-----\nsubject=/C\n-----BEGIN Y-----\n-----END Y-----\n",
            "X@1=[1, 2] Y@6=[]",
        );
        check(
            "-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nAQID\n-----END X-----\n",
            "X@1=[]!",
        );
    }

    #[test]
    fn broken_blocks_are_errors() {
        check("\n-----BEGIN X-----\nAQID\n", "line 2: a block begins here and never ends");
        check(
            "-----BEGIN X-----\n-----END Y-----\n",
            "line 2: a block ends or begins inside another",
        );
        check(
            "-----BEGIN X-----\n-----BEGIN X-----\n",
            "line 2: a block ends or begins inside another",
        );
        check(
            "-----BEGIN X-----\nAQI\n-----END X-----\n",
            "line 1: the block that begins here is not base64",
        );
        check(
            "-----BEGIN X-----\nA*ID\n-----END X-----\n",
            "line 1: the block that begins here is not base64",
        );
    }
}
