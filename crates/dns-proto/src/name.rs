//! Domain names.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A domain name in the form that messages carry: labels behind their lengths, the root's empty one last.
///
/// Names that differ in the case of ASCII letters are the same name (RFC 4343); each keeps its own spelling.
#[derive(Clone)]
pub struct Name(Box<[u8]>);

/// Why a text is not the name of a host or service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    Empty,
    /// Two dots in a row, or one at the beginning.
    EmptyLabel,
    /// More than 63 bytes between two dots.
    LabelTooLong(String),
    /// More than 253 bytes in all.
    TooLong,
    /// Neither a letter, a digit, `-` nor `_`.
    BadCharacter(char),
}

impl Name {
    /// Reads a host's or service's name as people write it; a dot at the end changes nothing.
    ///
    /// # Errors
    /// The first thing that is wrong with it. Letters beyond ASCII have to be written in Punycode.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            if let Some(bad) = label.chars().find(|c| !is_host_character(*c)) {
                return Err(NameError::BadCharacter(bad));
            }
            match u8::try_from(label.len()) {
                Ok(0) => return Err(NameError::EmptyLabel),
                Ok(length @ 1..=LABEL_MAX) => wire.push(length),
                _ => return Err(NameError::LabelTooLong(label.to_owned())),
            }
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        if wire.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        Ok(Self(wire.into()))
    }

    /// The name that starts at `at` in a message, which may go on elsewhere (RFC 1035, section 4.1.4), and where the
    /// message goes on behind it. `None` where there is none.
    pub(crate) fn read(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut wire = Vec::new();
        let mut position = at;
        // Behind the first pointer, and the lowest place that was pointed to: pointers only go back, so this ends.
        let mut after = None;
        let mut floor = at;
        loop {
            let length = *message.get(position)?;
            match length & POINTER {
                0 => {
                    let label = message.get(position..=position + usize::from(length))?;
                    wire.extend_from_slice(label);
                    position += label.len();
                    if wire.len() > NAME_MAX {
                        return None;
                    }
                    if length == 0 {
                        return Some((Self(wire.into()), after.unwrap_or(position)));
                    }
                }
                POINTER => {
                    let low = *message.get(position + 1)?;
                    let target = usize::from(u16::from_be_bytes([length & !POINTER, low]));
                    if target >= floor {
                        return None;
                    }
                    after.get_or_insert(position + 2);
                    (position, floor) = (target, target);
                }
                _ => return None,
            }
        }
    }

    /// As messages carry it, without compression.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether it could be written in a configuration: letters, digits, `-` and `_` alone.
    pub fn is_plain(&self) -> bool {
        self.labels().count() > 0
            && self.labels().flatten().all(|byte| is_host_character(char::from(*byte)))
    }

    /// Whether it is the name of a service (`_http._tcp.example.com`) rather than a host.
    pub fn is_service(&self) -> bool {
        self.labels().next().is_some_and(|label| label.starts_with(b"_"))
    }

    fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first()?;
            let label = behind.get(..usize::from(*length)).filter(|label| !label.is_empty())?;
            rest = &behind[label.len()..];
            Some(label)
        })
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // The lengths of labels are below the letters, so they compare as they are.
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|byte| state.write_u8(byte.to_ascii_lowercase()));
    }
}

/// Labels between dots, without one at the end; bytes that no name should have as `\DDD`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for label in self.labels() {
            f.write_str(separator)?;
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            separator = ".";
        }
        if separator.is_empty() { f.write_str(".") } else { Ok(()) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name of at least one letter"),
            Self::EmptyLabel => f.write_str("a name without two dots in a row"),
            Self::LabelTooLong(_) => f.write_str("at most 63 letters between two dots"),
            Self::TooLong => f.write_str("a name of at most 253 letters"),
            Self::BadCharacter(_) => f.write_str("a name of letters, digits, `-` and `_`"),
        }
    }
}

impl std::error::Error for NameError {}

fn is_host_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// Bytes of a label (RFC 1035, section 2.3.4).
const LABEL_MAX: u8 = 63;
/// Bytes of a whole name in a message, lengths included.
const NAME_MAX: usize = 255;
/// The two bits that make a length a pointer.
const POINTER: u8 = 0xc0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_texts() {
        #[track_caller]
        fn check(text: &str, expected: Result<&str, NameError>) {
            let found = Name::parse(text).map(|name| name.to_string());
            assert_eq!(found, expected.map(str::to_owned));
        }
        check("www.example.com", Ok("www.example.com"));
        check("Example.", Ok("Example"));
        check("_http._tcp.web-1.local", Ok("_http._tcp.web-1.local"));
        check("", Err(NameError::Empty));
        check(".", Err(NameError::Empty));
        check("a..b", Err(NameError::EmptyLabel));
        check(".a", Err(NameError::EmptyLabel));
        check("a b", Err(NameError::BadCharacter(' ')));
        check("b\u{fc}ro.de", Err(NameError::BadCharacter('\u{fc}')));
        check(&"a".repeat(64), Err(NameError::LabelTooLong("a".repeat(64))));
        check(&["a".repeat(63).as_str(); 5].join("."), Err(NameError::TooLong));
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        assert_eq!(Name::parse("WWW.example.com"), Name::parse("www.Example.com."));
        assert_ne!(Name::parse("www.example.com"), Name::parse("www.example.org"));
    }

    #[test]
    fn names_are_read_from_messages() {
        #[track_caller]
        fn check(message: &[u8], at: usize, expected: Option<(&str, usize)>) {
            let found = Name::read(message, at).map(|(name, after)| (name.to_string(), after));
            assert_eq!(found, expected.map(|(name, after)| (name.to_owned(), after)));
        }
        check(b"\x01a\x01b\0rest", 0, Some(("a.b", 5)));
        check(b"\0", 0, Some((".", 1)));
        check(b"\x01b\0\x01a\xc0\0rest", 3, Some(("a.b", 7)));
        check(b"\x01a.\0", 0, None); // a label that goes beyond the end
        check(b"\x01a", 0, None);
        check(b"", 0, None);
        check(b"\xc0", 0, None);
        check(b"\xc0\0", 0, None); // points to itself
        check(b"\x01a\xc0\0", 0, None); // for ever
        check(b"\xc0\x02\x01a\0", 0, None); // forward
        check(b"\x80a\0", 0, None);
        let long = [&[63; 64][..]; 4].concat();
        check(&[&long[..], b"\0"].concat(), 0, None); // 257 bytes
        check(b"\x03a.b\x01\xff\0", 0, Some(("a\\.b.\\255", 7)));
    }
}
