//! Session tickets (RFC 5077; RFC 8446, section 4.6.1), and the sessions kept for clients that take none.
//!
//! One set of keys serves the whole process, so that a session begun with one worker or listener resumes at any
//! other, and goes on after a reload. What a session may not cross is a difference in who is let in: a listener
//! that asks for no client certificate must not hand out tickets that one with `verify required` accepts. So every
//! ticket is bound to a [`Context`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use rustls::pki_types::UnixTime;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

use crate::pem::decode_base64;

/// What sessions have in common that may be resumed in one another's place.
pub(crate) type Context = [u8; 32];

/// The keys that tickets are sealed with.
#[derive(Debug)]
pub struct TicketKeys {
    keys: RwLock<Keys>,
    /// Random keys are replaced as they age; those from a file stay.
    rotates: bool,
}

#[derive(Debug)]
struct Keys {
    /// Newest first.
    keys: VecDeque<Key>,
    /// The one that seals.
    sealing: usize,
    /// When it began to, in seconds since 1970.
    since: u64,
}

struct Key {
    name: [u8; NAME_LEN],
    key: LessSafeKey,
}

/// Why a file of keys cannot be used (`tls-ticket-keys`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketKeyError {
    /// The line, from 1, is not 48 or 80 bytes in base64.
    BadKey {
        line: u32,
    },
    /// Keys of both lengths.
    MixedLengths {
        line: u32,
    },
    TooFew {
        found: usize,
    },
}

impl TicketKeys {
    /// The random keys of the process, made at first use.
    pub fn of_process() -> Arc<Self> {
        static KEYS: OnceLock<Arc<TicketKeys>> = OnceLock::new();
        let new = || {
            let keys = Keys { keys: VecDeque::new(), sealing: 0, since: 0 };
            Arc::new(Self { keys: RwLock::new(keys), rotates: true })
        };
        Arc::clone(KEYS.get_or_init(new))
    }

    /// Reads a file of keys in base64, one a line, oldest first: at least three, of 48 or 80 bytes each. The last
    /// but one seals, as in HAProxy: the last is there for the other machines, which may have it first.
    ///
    /// # Errors
    /// The first line that is no key, or too few of them.
    pub fn parse(text: &[u8]) -> Result<Self, TicketKeyError> {
        let mut keys = VecDeque::new();
        let mut len = None;
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1u32..) {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let bytes = decode_base64(line).filter(|bytes| matches!(bytes.len(), 48 | 80));
            let bytes = bytes.ok_or(TicketKeyError::BadKey { line: number })?;
            if *len.get_or_insert(bytes.len()) != bytes.len() {
                return Err(TicketKeyError::MixedLengths { line: number });
            }
            keys.push_front(Key::new(&bytes));
        }
        if keys.len() < KEYS_MIN {
            return Err(TicketKeyError::TooFew { found: keys.len() });
        }
        Ok(Self { keys: RwLock::new(Keys { keys, sealing: 1, since: 0 }), rotates: false })
    }

    /// Adds a key (`set ssl tls-key`), which seals once another comes after it; the oldest goes.
    ///
    /// # Errors
    /// Not 48 or 80 bytes in base64.
    pub fn push(&self, text: &[u8]) -> Result<(), TicketKeyError> {
        let bytes = decode_base64(text.trim_ascii()).filter(|bytes| matches!(bytes.len(), 48 | 80));
        let key = Key::new(&bytes.ok_or(TicketKeyError::BadKey { line: 1 })?);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.keys.push_front(key);
        if keys.keys.len() > KEYS_MIN {
            keys.keys.pop_back();
        }
        Ok(())
    }

    fn seal(&self, context: &Context, now: u64, plain: &[u8]) -> Option<Vec<u8>> {
        if self.rotates {
            self.rotate(now)?;
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.keys.get(keys.sealing)?.seal(context, now, plain)
    }

    /// What is in a ticket, and when it was sealed.
    fn open(&self, context: &Context, ticket: &[u8]) -> Option<(u64, Vec<u8>)> {
        let (name, sealed) = ticket.split_at_checked(NAME_LEN)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.keys.iter().find(|key| key.name == *name)?.open(context, sealed)
    }

    /// Makes a new key where the one that seals is old. The one before it opens for as long again.
    fn rotate(&self, now: u64) -> Option<()> {
        let fresh = |keys: &Keys| !keys.keys.is_empty() && now < keys.since + ROTATION_S;
        if fresh(&self.keys.read().unwrap_or_else(PoisonError::into_inner)) {
            return Some(());
        }
        let key = Key::random()?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if !fresh(&keys) {
            keys.keys.push_front(key);
            keys.keys.truncate(2);
            keys.since = now;
        }
        Some(())
    }
}

impl Key {
    /// A key from 16 bytes of name and 32 or 64 of secret.
    fn new(bytes: &[u8]) -> Self {
        let mut name = [0; NAME_LEN];
        let (front, secret) = bytes.split_at(NAME_LEN.min(bytes.len()));
        name[..front.len()].copy_from_slice(front);
        let secret = digest(&SHA256, secret);
        // A digest of SHA-256 is as long as the key.
        let key = UnboundKey::new(&AES_256_GCM_SIV, secret.as_ref()).expect("32 bytes");
        Self { name, key: LessSafeKey::new(key) }
    }

    fn random() -> Option<Self> {
        let mut bytes = [0; 80];
        rand::fill(&mut bytes).ok()?;
        Some(Self::new(&bytes))
    }

    fn seal(&self, context: &Context, now: u64, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut out = Vec::with_capacity(NAME_LEN + NONCE_LEN + 8 + plain.len() + TAG_LEN);
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&nonce);
        let mut text = Vec::with_capacity(8 + plain.len() + TAG_LEN);
        text.extend_from_slice(&now.to_be_bytes());
        text.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(context), &mut text).ok()?;
        out.extend_from_slice(&text);
        Some(out)
    }

    fn open(&self, context: &Context, sealed: &[u8]) -> Option<(u64, Vec<u8>)> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = self.key.open_in_place(nonce, Aad::from(context), &mut text).ok()?;
        let (at, plain) = text.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*at), plain.to_vec()))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Tickets of one context.
#[derive(Debug)]
pub(crate) struct Tickets {
    pub(crate) keys: Arc<TicketKeys>,
    pub(crate) context: Context,
    /// Seconds that a session may be resumed for.
    pub(crate) lifetime_s: u32,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_s
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.seal(&self.context, UnixTime::now().as_secs(), plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (at, plain) = self.keys.open(&self.context, ticket)?;
        let age = UnixTime::now().as_secs().saturating_sub(at);
        (age < u64::from(self.lifetime_s)).then_some(plain)
    }
}

/// Sessions of one context, among those that the process keeps.
pub(crate) struct Sessions {
    pub(crate) cache: Arc<ServerSessionMemoryCache>,
    pub(crate) context: Context,
    pub(crate) lifetime_s: u32,
}

impl Sessions {
    /// The sessions that the process keeps, at most `max`; those of another size are forgotten.
    pub(crate) fn of_process(max: usize) -> Arc<ServerSessionMemoryCache> {
        static CACHE: Mutex<Option<(usize, Arc<ServerSessionMemoryCache>)>> = Mutex::new(None);
        let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
        match &*cache {
            Some((size, cache)) if *size == max => Arc::clone(cache),
            _ => {
                let new = ServerSessionMemoryCache::new(max);
                *cache = Some((max, Arc::clone(&new)));
                new
            }
        }
    }

    fn key(&self, id: &[u8]) -> Vec<u8> {
        [&self.context[..], id].concat()
    }

    fn fresh(&self, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let value = value?;
        let (at, session) = value.split_first_chunk::<8>()?;
        let age = UnixTime::now().as_secs().saturating_sub(u64::from_be_bytes(*at));
        (age < u64::from(self.lifetime_s)).then(|| session.to_vec())
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let now = UnixTime::now().as_secs().to_be_bytes();
        self.cache.put(self.key(&key), [&now[..], &value].concat())
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.fresh(self.cache.get(&self.key(key)))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.fresh(self.cache.take(&self.key(key)))
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl std::fmt::Display for TicketKeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadKey { line } => {
                write!(f, "line {line} is not a key of 48 or 80 bytes in base64")
            }
            Self::MixedLengths { line } => {
                write!(f, "the key in line {line} is not as long as those above it")
            }
            Self::TooFew { found } => {
                write!(f, "it holds {found} keys; at least {KEYS_MIN} are needed")
            }
        }
    }
}

impl std::error::Error for TicketKeyError {}

const NAME_LEN: usize = 16;
const TAG_LEN: usize = 16;

/// Keys of a file, and of what `set ssl tls-key` leaves.
const KEYS_MIN: usize = 3;

/// How long a random key seals. What it sealed opens for up to as long again.
const ROTATION_S: u64 = 6 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Context = [1; 32];
    const TWO: Context = [2; 32];

    #[test]
    fn a_ticket_opens_only_in_its_context() {
        let keys = TicketKeys::of_process();
        let ticket = keys.seal(&ONE, 7, b"session").expect("sealed");
        assert_eq!(keys.open(&ONE, &ticket), Some((7, b"session".to_vec())));
        assert_eq!(keys.open(&TWO, &ticket), None);
        for end in 0..ticket.len() {
            assert_eq!(keys.open(&ONE, &ticket[..end]), None);
        }
    }

    #[test]
    fn old_keys_still_open() {
        let keys = TicketKeys {
            keys: RwLock::new(Keys { keys: VecDeque::new(), sealing: 0, since: 0 }),
            rotates: true,
        };
        let ticket = keys.seal(&ONE, 0, b"a").expect("sealed");
        assert_eq!(keys.seal(&ONE, ROTATION_S - 1, b"b").expect("sealed")[..16], ticket[..16]);
        assert_ne!(keys.seal(&ONE, ROTATION_S, b"b").expect("sealed")[..16], ticket[..16]);
        assert!(keys.open(&ONE, &ticket).is_some());
        keys.seal(&ONE, 2 * ROTATION_S, b"c").expect("sealed");
        assert!(keys.open(&ONE, &ticket).is_none());
    }

    #[track_caller]
    fn check(lens: &[usize], expected: Result<&[u8], TicketKeyError>) {
        let encode = |(index, len): (usize, &usize)| match len % 3 {
            0 => format!("{}\n", ["AAAA", "BBBB", "CCCC", "DDDD"][index].repeat(len / 3)),
            2 => format!("{}AAA=\n", ["AAAA", "BBBB", "CCCC", "DDDD"][index].repeat(len / 3)),
            _ => "AA==\n".to_owned(),
        };
        let text: String = lens.iter().enumerate().map(encode).collect();
        let found = TicketKeys::parse(text.as_bytes());
        let sealed = found.map(|keys| keys.seal(&ONE, 0, b"").expect("sealed")[..3].to_vec());
        assert_eq!(sealed, expected.map(<[u8]>::to_vec));
    }

    #[test]
    fn files_of_keys() {
        check(&[48, 48, 48], Ok(&[4, 16, 65])); // the second of three: `BBBB`
        check(&[80, 80, 80, 80], Ok(&[8, 32, 130])); // the third of four: `CCCC`
        check(&[48, 48], Err(TicketKeyError::TooFew { found: 2 }));
        check(&[48, 80, 48], Err(TicketKeyError::MixedLengths { line: 2 }));
        check(&[48, 47, 48], Err(TicketKeyError::BadKey { line: 2 }));
        check(&[], Err(TicketKeyError::TooFew { found: 0 }));
    }
}
