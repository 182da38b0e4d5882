//! Distinguished names, in the two forms that configurations know.

use std::borrow::Cow;

use x509_parser::der_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::objects;

/// The name of a subject or issuer: attributes in the order of the certificate.
#[derive(Debug, Clone, Copy)]
pub struct Name<'c>(&'c X509Name<'c>);

impl<'c> Name<'c> {
    pub(crate) fn new(name: &'c X509Name<'c>) -> Self {
        Self(name)
    }

    /// `/C=FR/O=Some Company/CN=host`: the values are as they stand in the certificate, whatever their encoding.
    pub fn oneline(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for attribute in self.0.iter_attributes() {
            out.push(b'/');
            out.extend_from_slice(type_name(attribute).as_bytes());
            out.push(b'=');
            out.extend_from_slice(attribute.attr_value().data);
        }
        out
    }

    /// `C = FR, O = Some Company, CN = host`: as OpenSSL's commands show names to people.
    pub(crate) fn spaced(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for attribute in self.0.iter_attributes() {
            if !out.is_empty() {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(type_name(attribute).as_bytes());
            out.extend_from_slice(b" = ");
            match text(attribute.attr_value()) {
                Some(text) => escape(&text, &mut out),
                None => dump(attribute.attr_value(), &mut out),
            }
        }
        out
    }

    /// `CN=host,O=Some Company,C=FR`: the last attribute first, escaped as RFC 2253 says, in ASCII.
    pub fn rfc2253(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let sets: Vec<_> = self.0.iter_rdn().collect();
        for set in sets.into_iter().rev() {
            let mut attributes: Vec<_> = set.iter().collect();
            attributes.reverse();
            for (index, attribute) in attributes.into_iter().enumerate() {
                match (out.is_empty(), index) {
                    (true, _) => {}
                    (false, 0) => out.push(b','),
                    (false, _) => out.push(b'+'),
                }
                out.extend_from_slice(type_name(attribute).as_bytes());
                out.push(b'=');
                // What nobody knows the meaning of is not interpreted.
                let known = objects::attribute(attribute.attr_type()).is_some();
                match known.then(|| text(attribute.attr_value())).flatten() {
                    Some(text) => escape(&text, &mut out),
                    None => dump(attribute.attr_value(), &mut out),
                }
            }
        }
        out
    }

    /// The value of the attribute of that (short) name or number, whatever the case of its letters; counted from 1
    /// from the beginning, or from -1 from the end.
    pub fn entry(&self, name: &[u8], occurrence: i64) -> Option<&'c [u8]> {
        let named = |attribute: &&AttributeTypeAndValue<'_>| {
            type_name(attribute).as_bytes().eq_ignore_ascii_case(name)
        };
        let mut found: Vec<&'c AttributeTypeAndValue<'c>> =
            self.0.iter_attributes().filter(named).collect();
        if occurrence < 0 {
            found.reverse();
        }
        let index = usize::try_from(occurrence.unsigned_abs()).ok()?.checked_sub(1)?;
        found.get(index).map(|attribute| attribute.attr_value().data)
    }
}

fn type_name(attribute: &AttributeTypeAndValue<'_>) -> Cow<'static, str> {
    match objects::attribute(attribute.attr_type()) {
        Some(name) => name.into(),
        None => attribute.attr_type().to_id_string().into(),
    }
}

/// The text of a value in UTF-8; `None` for what is no text.
fn text<'v>(value: &Any<'v>) -> Option<Cow<'v, str>> {
    let units = |width| {
        value.data.chunks_exact(width).map(|unit| {
            let unit = unit.iter().fold(0u32, |unit, byte| unit << 8 | u32::from(*byte));
            char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
        })
    };
    Some(match value.tag() {
        Tag::Utf8String => std::str::from_utf8(value.data).ok()?.into(),
        Tag::NumericString
        | Tag::PrintableString
        | Tag::T61String
        | Tag::Ia5String
        | Tag::UtcTime
        | Tag::GeneralizedTime
        | Tag::VisibleString => units(1).collect::<String>().into(),
        Tag::BmpString => units(2).collect::<String>().into(),
        Tag::UniversalString => units(4).collect::<String>().into(),
        _ => return None,
    })
}

/// Escapes what separates attributes, blanks at the ends, and all that is not printable ASCII.
fn escape(text: &str, out: &mut Vec<u8>) {
    let last = text.len().saturating_sub(1);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend([b'\\', byte]),
            b'#' if index == 0 => out.extend(b"\\#"),
            b' ' if index == 0 || index == last => out.extend(b"\\ "),
            b' '..=b'~' => out.push(byte),
            _ => {
                out.push(b'\\');
                hex(&[byte], out);
            }
        }
    }
}

/// `#` and the whole encoding of the value.
fn dump(value: &Any<'_>, out: &mut Vec<u8>) {
    out.push(b'#');
    hex(&value.to_der_vec().unwrap_or_default(), out);
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend(
        bytes
            .iter()
            .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
}
