//! Questions and answers as messages carry them (RFC 1035, section 4; RFC 6891; RFC 2782).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name::Name;

/// The kinds of records that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    A = 1,
    Aaaa = 28,
    /// RFC 2782.
    Srv = 33,
}

/// What was asked, and must come back with the answer.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub id: u16,
    pub name: &'a Name,
    pub kind: Kind,
}

/// What a name server said, as far as it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Of the name that was asked for, or of the one that it is an alias of; at least one.
    pub records: Vec<Record>,
    /// The name is an alias (CNAME).
    pub alias: bool,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub data: Data,
    /// An SRV record's weight; 0 in others.
    pub weight: u16,
    /// The address of an SRV record's target, where the server added one (RFC 2782, "Additional").
    pub address: Option<IpAddr>,
}

/// What makes a record another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Address(IpAddr),
    Service { target: Name, port: u16 },
}

/// Why there is no answer in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    /// Not a message, or not one that answers this question; at this byte.
    Malformed { at: usize, what: &'static str },
    /// It did not fit: asked over TCP there would be more (TC).
    Truncated,
    /// No such name (NXDOMAIN).
    NoName,
    /// REFUSED.
    Refused,
    /// No record at all.
    Empty,
    /// Aliases that lead nowhere.
    BadAlias,
    /// Records, but none of the kind.
    OtherKind,
    /// Another RCODE, such as SERVFAIL (2).
    Failed(u8),
}

/// Appends a question, with the size of answers that are taken over UDP (EDNS, RFC 6891).
pub fn write_query(out: &mut Vec<u8>, question: &Question<'_>, payload_size: u16) {
    out.extend_from_slice(&question.id.to_be_bytes());
    out.extend_from_slice(&RECURSION_DESIRED.to_be_bytes());
    for count in [1u16, 0, 0, 1] {
        out.extend_from_slice(&count.to_be_bytes());
    }
    out.extend_from_slice(question.name.wire());
    out.extend_from_slice(&(question.kind as u16).to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    // The pseudo-record OPT: the root's name, its type, the size in place of the class, no options.
    out.push(0);
    out.extend_from_slice(&TYPE_OPT.to_be_bytes());
    out.extend_from_slice(&payload_size.to_be_bytes());
    out.extend_from_slice(&[0; 6]);
}

/// The id of a message, which says what question it answers.
pub fn message_id(message: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(message.first_chunk::<2>().copied()?))
}

/// Reads the answer to a question.
///
/// # Errors
/// See [`AnswerError`]. Whether the sender is who was asked is for the caller to know.
pub fn read_answer(message: &[u8], question: &Question<'_>) -> Result<Answer, AnswerError> {
    let mut reader = Reader { message, at: 0 };
    if reader.u16("an id")? != question.id {
        return Err(malformed(0, "another id"));
    }
    let flags = reader.u16("flags")?;
    if flags & RESPONSE == 0 || flags & OPCODE != 0 {
        return Err(malformed(2, "not an answer"));
    }
    let counts: [u16; 4] = [
        reader.u16("a count")?,
        reader.u16("a count")?,
        reader.u16("a count")?,
        reader.u16("a count")?,
    ];
    let [questions, answers, authorities, additional] = counts;
    if questions != 1 {
        return Err(malformed(4, "not one question"));
    }
    let at = reader.at;
    let name = reader.name()?;
    let (kind, class) = (reader.u16("a type")?, reader.u16("a class")?);
    if name != *question.name || kind != question.kind as u16 || class != CLASS_IN {
        return Err(malformed(at, "another question"));
    }
    match (flags & RCODE) as u8 {
        0 => {}
        3 => return Err(AnswerError::NoName),
        5 => return Err(AnswerError::Refused),
        code => return Err(AnswerError::Failed(code)),
    }
    // What follows may be cut off anywhere.
    if flags & TRUNCATED != 0 {
        return Err(AnswerError::Truncated);
    }
    if answers == 0 {
        return Err(AnswerError::Empty);
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        found.push(reader.record()?);
    }
    for _ in 0..authorities {
        reader.record()?;
    }
    let mut extra = Vec::new();
    for _ in 0..additional {
        extra.push(reader.record()?);
    }
    answer(question, &found, &extra)
}

/// The records of the kind that the question is about, behind its aliases.
fn answer(
    question: &Question<'_>,
    found: &[RawRecord],
    extra: &[RawRecord],
) -> Result<Answer, AnswerError> {
    let mut owner = question.name;
    let mut steps = 0;
    while let Some(RawRecord { data: RawData::Alias(target), .. }) = found
        .iter()
        .find(|record| record.owner == *owner && matches!(record.data, RawData::Alias(_)))
    {
        owner = target;
        steps += 1;
        if steps > ALIASES_MAX {
            return Err(AnswerError::BadAlias);
        }
    }
    let of_kind = found.iter().filter(|record| record.owner == *owner);
    let records: Vec<Record> = of_kind
        .filter_map(|record| match (&record.data, question.kind) {
            (RawData::Address(ip @ IpAddr::V4(_)), Kind::A)
            | (RawData::Address(ip @ IpAddr::V6(_)), Kind::Aaaa) => {
                Some(Record { data: Data::Address(*ip), weight: 0, address: None })
            }
            (RawData::Service { weight, port, target }, Kind::Srv) => {
                let address = extra.iter().find_map(|extra| match extra.data {
                    RawData::Address(ip) if extra.owner == *target => Some(ip),
                    _ => None,
                });
                let data = Data::Service { target: target.clone(), port: *port };
                Some(Record { data, weight: *weight, address })
            }
            _ => None,
        })
        .collect();
    match (records.is_empty(), steps) {
        (false, _) => Ok(Answer { records, alias: steps > 0 }),
        (true, 0) => Err(AnswerError::OtherKind),
        (true, _) => Err(AnswerError::BadAlias),
    }
}

/// A record as it stands in a message.
struct RawRecord {
    owner: Name,
    data: RawData,
}

enum RawData {
    Address(IpAddr),
    Alias(Name),
    Service {
        weight: u16,
        port: u16,
        target: Name,
    },
    /// Of another class or type, not looked at.
    Other,
}

/// A place in a message.
struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn u16(&mut self, what: &'static str) -> Result<u16, AnswerError> {
        let bytes = self.take(2, what)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<&'m [u8], AnswerError> {
        let bytes = self.message.get(self.at..self.at + count);
        let bytes = bytes.ok_or_else(|| malformed(self.at, what))?;
        self.at += count;
        Ok(bytes)
    }

    fn name(&mut self) -> Result<Name, AnswerError> {
        let (name, after) =
            Name::read(self.message, self.at).ok_or_else(|| malformed(self.at, "a name"))?;
        self.at = after;
        Ok(name)
    }

    fn record(&mut self) -> Result<RawRecord, AnswerError> {
        let owner = self.name()?;
        let (kind, class) = (self.u16("a type")?, self.u16("a class")?);
        self.take(4, "a time to live")?;
        let length = usize::from(self.u16("a length")?);
        let at = self.at;
        let data = self.take(length, "data")?;
        if class != CLASS_IN {
            return Ok(RawRecord { owner, data: RawData::Other });
        }
        // A name within the data may point to anywhere before it, but has to end where the data does.
        let name_at = |offset: usize| match Name::read(self.message, at + offset) {
            Some((name, after)) if after == at + length => Ok(name),
            _ => Err(malformed(at + offset, "a name")),
        };
        let data = match (kind, data) {
            (TYPE_A, _) => {
                let octets: [u8; 4] = data.try_into().map_err(|_| malformed(at, "an address"))?;
                RawData::Address(Ipv4Addr::from(octets).into())
            }
            (TYPE_AAAA, _) => {
                let octets: [u8; 16] = data.try_into().map_err(|_| malformed(at, "an address"))?;
                RawData::Address(Ipv6Addr::from(octets).into())
            }
            (TYPE_CNAME, _) => RawData::Alias(name_at(0)?),
            (TYPE_SRV, [_, _, w0, w1, p0, p1, _, ..]) => RawData::Service {
                weight: u16::from_be_bytes([*w0, *w1]),
                port: u16::from_be_bytes([*p0, *p1]),
                target: name_at(6)?,
            },
            (TYPE_SRV, _) => return Err(malformed(at, "a service")),
            _ => RawData::Other,
        };
        Ok(RawRecord { owner, data })
    }
}

impl Record {
    /// An address, as A and AAAA records have it.
    pub fn of_address(ip: IpAddr) -> Self {
        Self { data: Data::Address(ip), weight: 0, address: None }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { at, what } => write!(f, "byte {at}: {what}"),
            Self::Truncated => f.write_str("truncated"),
            Self::NoName => f.write_str("no such name"),
            Self::Refused => f.write_str("refused"),
            Self::Empty => f.write_str("no record"),
            Self::BadAlias => f.write_str("aliases that lead nowhere"),
            Self::OtherKind => f.write_str("no record of the kind that was asked for"),
            Self::Failed(code) => write!(f, "RCODE {code}"),
        }
    }
}

impl std::error::Error for AnswerError {}

fn malformed(at: usize, what: &'static str) -> AnswerError {
    AnswerError::Malformed { at, what }
}

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RCODE: u16 = 0x000f;
const CLASS_IN: u16 = 1;
const TYPE_A: u16 = Kind::A as u16;
const TYPE_AAAA: u16 = Kind::Aaaa as u16;
const TYPE_CNAME: u16 = 5;
const TYPE_SRV: u16 = Kind::Srv as u16;
const TYPE_OPT: u16 = 41;
/// Aliases of aliases that are followed.
const ALIASES_MAX: usize = 16;

#[cfg(test)]
mod tests;
