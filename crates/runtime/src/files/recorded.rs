//! Answers that were given once, to be given again in another process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Files, PathKind, UserIds};
use crate::bind::{BindAddress, BindSpec, take_inherited};

/// Asks another [`Files`] and remembers what it said.
///
/// A second question for the same thing gets the first answer, so that a check and the load that
/// follows it see the same files.
#[derive(Debug)]
pub struct Recording<F> {
    inner: F,
    recorded: RefCell<Recorded>,
}

/// Answers from a record; knows nothing else.
#[derive(Debug)]
pub struct Replay {
    recorded: RefCell<Recorded>,
}

/// What was asked and answered while a configuration was loaded, with the sockets it bound.
#[derive(Debug, Default)]
pub struct Recorded {
    answers: HashMap<Question, Result<Answer, Failure>>,
    /// By [`crate::bind::BindKey`] in words.
    sockets: HashMap<String, Result<Vec<OwnedFd>, Failure>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question {
    Read(PathBuf),
    Kind(PathBuf),
    List(PathBuf),
    Resolve(String),
    User(String),
    Group(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Bytes(Vec<u8>),
    Kind(PathKind),
    Paths(Vec<PathBuf>),
    Addresses(Vec<IpAddr>),
    User(UserIds),
    Group(u32),
}

/// An `io::Error` that can be told twice.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    code: Option<i32>,
    kind: io::ErrorKind,
    text: String,
}

impl<F: Files> Recording<F> {
    pub fn new(inner: F) -> Self {
        Self { inner, recorded: RefCell::default() }
    }

    /// The record so far.
    pub fn into_recorded(self) -> Recorded {
        self.recorded.into_inner()
    }

    fn answer(
        &self,
        question: Question,
        ask: impl FnOnce() -> io::Result<Answer>,
    ) -> io::Result<Answer> {
        if let Some(known) = self.recorded.borrow().answers.get(&question) {
            return known.clone().map_err(io::Error::from);
        }
        let answer = ask().map_err(|error| Failure::of(&error));
        self.recorded.borrow_mut().answers.insert(question, answer.clone());
        answer.map_err(io::Error::from)
    }
}

impl<F: Files> Files for Recording<F> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let ask = || self.inner.read(path).map(Answer::Bytes);
        self.answer(Question::Read(path.into()), ask).and_then(Answer::into_bytes)
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        let ask = || self.inner.kind(path).map(Answer::Kind);
        self.answer(Question::Kind(path.into()), ask).and_then(Answer::into_kind)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let ask = || self.inner.list(directory).map(Answer::Paths);
        self.answer(Question::List(directory.into()), ask).and_then(Answer::into_paths)
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let ask = || self.inner.resolve(host).map(Answer::Addresses);
        self.answer(Question::Resolve(host.into()), ask).and_then(Answer::into_addresses)
    }

    fn user(&self, name: &str) -> io::Result<UserIds> {
        let ask = || self.inner.user(name).map(Answer::User);
        self.answer(Question::User(name.into()), ask).and_then(Answer::into_user)
    }

    fn group(&self, name: &str) -> io::Result<u32> {
        let ask = || self.inner.group(name).map(Answer::Group);
        self.answer(Question::Group(name.into()), ask).and_then(Answer::into_group)
    }

    fn bind(&self, spec: &BindSpec, workers: usize) -> io::Result<Vec<OwnedFd>> {
        let bound = self.inner.bind(spec, workers).and_then(|sockets| {
            let copies = sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
            Ok((sockets, copies))
        });
        let key = spec.key().to_text();
        let mut recorded = self.recorded.borrow_mut();
        match bound {
            Ok((sockets, copies)) => {
                recorded.sockets.insert(key, Ok(copies));
                Ok(sockets)
            }
            Err(error) => {
                recorded.sockets.insert(key, Err(Failure::of(&error)));
                Err(error)
            }
        }
    }
}

impl Replay {
    pub fn new(recorded: Recorded) -> Self {
        Self { recorded: RefCell::new(recorded) }
    }

    fn answer(&self, question: Question) -> io::Result<Answer> {
        let recorded = self.recorded.borrow();
        let answer = recorded.answers.get(&question).cloned();
        answer.unwrap_or_else(|| Err(Failure::unasked())).map_err(io::Error::from)
    }
}

impl Files for Replay {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.answer(Question::Read(path.into())).and_then(Answer::into_bytes)
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        self.answer(Question::Kind(path.into())).and_then(Answer::into_kind)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.answer(Question::List(directory.into())).and_then(Answer::into_paths)
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.answer(Question::Resolve(host.into())).and_then(Answer::into_addresses)
    }

    fn user(&self, name: &str) -> io::Result<UserIds> {
        self.answer(Question::User(name.into())).and_then(Answer::into_user)
    }

    fn group(&self, name: &str) -> io::Result<u32> {
        self.answer(Question::Group(name.into())).and_then(Answer::into_group)
    }

    /// Gives each socket out once: a descriptor has one owner.
    fn bind(&self, spec: &BindSpec, _workers: usize) -> io::Result<Vec<OwnedFd>> {
        if let BindAddress::Fd(number) = spec.address {
            // This process inherited it too, when it was forked. The copy would keep the socket
            // open after a reload has let go of it.
            drop(take_inherited(number));
        }
        let found = self.recorded.borrow_mut().sockets.remove(&spec.key().to_text());
        found.unwrap_or_else(|| Err(Failure::unasked())).map_err(io::Error::from)
    }
}

/// The record on its way through a socket. Both ends are the same program, so the form needs no
/// version: a list of `tag, question, answer`, numbers in the machine's byte order.
impl Recorded {
    /// The bytes, and the descriptors in the order in which the bytes count them.
    pub(crate) fn into_message(self) -> (Vec<u8>, Vec<OwnedFd>) {
        let mut out = Writer::default();
        let mut fds = Vec::new();
        out.number(self.answers.len());
        for (question, answer) in &self.answers {
            question.write(&mut out);
            match answer {
                Ok(answer) => answer.write(&mut out),
                Err(failure) => failure.write(&mut out),
            }
        }
        out.number(self.sockets.len());
        for (key, sockets) in self.sockets {
            out.bytes(key.as_bytes());
            match sockets {
                Ok(sockets) => {
                    out.0.push(TAG_SOCKETS);
                    out.number(sockets.len());
                    fds.extend(sockets);
                }
                Err(failure) => failure.write(&mut out),
            }
        }
        (out.0, fds)
    }

    /// The reverse of [`Recorded::into_message`]; `None` when it does not fit together.
    pub(crate) fn from_message(body: &[u8], fds: Vec<OwnedFd>) -> Option<Self> {
        let mut input = Reader(body);
        let mut fds = fds.into_iter();
        let mut recorded = Self::default();
        for _ in 0..input.number()? {
            let question = Question::read(&mut input)?;
            let answer = match input.tag()? {
                TAG_FAILURE => Err(Failure::read(&mut input)?),
                tag => Ok(Answer::read(tag, &mut input)?),
            };
            recorded.answers.insert(question, answer);
        }
        for _ in 0..input.number()? {
            let key = input.text()?;
            let sockets = match input.tag()? {
                TAG_FAILURE => Err(Failure::read(&mut input)?),
                TAG_SOCKETS => {
                    let count = input.number()?;
                    let sockets: Vec<OwnedFd> = fds.by_ref().take(count).collect();
                    if sockets.len() < count {
                        return None;
                    }
                    Ok(sockets)
                }
                _ => return None,
            };
            recorded.sockets.insert(key, sockets);
        }
        (input.0.is_empty() && fds.len() == 0).then_some(recorded)
    }
}

const TAG_FAILURE: u8 = 255;
const TAG_SOCKETS: u8 = 254;

impl Question {
    fn write(&self, out: &mut Writer) {
        let (tag, of) = match self {
            Self::Read(path) => (0, path.as_os_str().as_bytes()),
            Self::Kind(path) => (1, path.as_os_str().as_bytes()),
            Self::List(path) => (2, path.as_os_str().as_bytes()),
            Self::Resolve(host) => (3, host.as_bytes()),
            Self::User(name) => (4, name.as_bytes()),
            Self::Group(name) => (5, name.as_bytes()),
        };
        out.0.push(tag);
        out.bytes(of);
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        Some(match input.tag()? {
            0 => Self::Read(input.path()?),
            1 => Self::Kind(input.path()?),
            2 => Self::List(input.path()?),
            3 => Self::Resolve(input.text()?),
            4 => Self::User(input.text()?),
            5 => Self::Group(input.text()?),
            _ => return None,
        })
    }
}

impl Answer {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Bytes(bytes) => {
                out.0.push(0);
                out.bytes(bytes);
            }
            Self::Kind(PathKind::File) => out.0.push(1),
            Self::Kind(PathKind::Directory) => out.0.push(2),
            Self::Paths(paths) => {
                out.0.push(3);
                out.number(paths.len());
                paths.iter().for_each(|path| out.bytes(path.as_os_str().as_bytes()));
            }
            Self::Addresses(addresses) => {
                out.0.push(4);
                out.number(addresses.len());
                addresses.iter().for_each(|address| out.bytes(address.to_string().as_bytes()));
            }
            Self::User(ids) => {
                out.0.push(5);
                out.number(ids.uid as usize);
                out.number(ids.gid as usize);
            }
            Self::Group(gid) => {
                out.0.push(6);
                out.number(*gid as usize);
            }
        }
    }

    fn read(tag: u8, input: &mut Reader<'_>) -> Option<Self> {
        Some(match tag {
            0 => Self::Bytes(input.bytes()?.to_vec()),
            1 => Self::Kind(PathKind::File),
            2 => Self::Kind(PathKind::Directory),
            3 => {
                let count = input.number()?;
                Self::Paths((0..count).map(|_| input.path()).collect::<Option<_>>()?)
            }
            4 => {
                let count = input.number()?;
                let mut address = || input.text()?.parse().ok();
                Self::Addresses((0..count).map(|_| address()).collect::<Option<_>>()?)
            }
            5 => Self::User(UserIds { uid: input.id()?, gid: input.id()? }),
            6 => Self::Group(input.id()?),
            _ => return None,
        })
    }

    fn into_bytes(self) -> io::Result<Vec<u8>> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Failure::unasked().into()) }
    }

    fn into_kind(self) -> io::Result<PathKind> {
        if let Self::Kind(kind) = self { Ok(kind) } else { Err(Failure::unasked().into()) }
    }

    fn into_paths(self) -> io::Result<Vec<PathBuf>> {
        if let Self::Paths(paths) = self { Ok(paths) } else { Err(Failure::unasked().into()) }
    }

    fn into_addresses(self) -> io::Result<Vec<IpAddr>> {
        if let Self::Addresses(found) = self { Ok(found) } else { Err(Failure::unasked().into()) }
    }

    fn into_user(self) -> io::Result<UserIds> {
        if let Self::User(ids) = self { Ok(ids) } else { Err(Failure::unasked().into()) }
    }

    fn into_group(self) -> io::Result<u32> {
        if let Self::Group(gid) = self { Ok(gid) } else { Err(Failure::unasked().into()) }
    }
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        let code = error.raw_os_error();
        Self { code, kind: error.kind(), text: error.to_string() }
    }

    /// The serving process asks for something that the parent was not asked for: both load the
    /// same bytes, so this is a fault of ours, and what is asked for is not given.
    fn unasked() -> Self {
        let text = "the privileged parent was not asked for it".into();
        Self { code: None, kind: io::ErrorKind::PermissionDenied, text }
    }

    fn write(&self, out: &mut Writer) {
        out.0.push(TAG_FAILURE);
        out.number(self.code.map_or(0, |code| code.unsigned_abs() as usize));
        let kind = KINDS.iter().position(|&kind| kind == self.kind);
        out.number(kind.unwrap_or(KINDS.len()));
        out.bytes(self.text.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let code = i32::try_from(input.number()?).ok().filter(|&code| code != 0);
        let kind = KINDS.get(input.number()?).copied().unwrap_or(io::ErrorKind::Other);
        Some(Self { code, kind, text: input.text()? })
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure.code {
            Some(code) => Self::from_raw_os_error(code),
            None => Self::new(failure.kind, failure.text),
        }
    }
}

/// The kinds of errors that come without a number from the kernel.
const KINDS: [io::ErrorKind; 6] = [
    io::ErrorKind::NotFound,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::AddrInUse,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::InvalidData,
    io::ErrorKind::Unsupported,
];

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: usize) {
        self.0.extend_from_slice(&(number as u64).to_ne_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.extend_from_slice(bytes);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn tag(&mut self) -> Option<u8> {
        let (&tag, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(tag)
    }

    fn number(&mut self) -> Option<usize> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        usize::try_from(u64::from_ne_bytes(*number)).ok()
    }

    fn id(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(std::ffi::OsString::from_vec(self.bytes()?.to_vec()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bind::Neighbor;
    use crate::files::Direct;

    #[test]
    fn a_replay_answers_what_was_recorded_and_nothing_else() {
        let recording = Recording::new(Direct::new(Neighbor::Refused));
        let (file, directory) = (Path::new("Cargo.toml"), Path::new("src"));
        let missing = Path::new("no/such/file");
        let spec = BindSpec::new(BindAddress::Inet("127.0.0.1:0".parse().unwrap()));
        let content = recording.read(file).unwrap();
        let listed = recording.list(directory).unwrap();
        recording.kind(directory).unwrap();
        recording.read(missing).unwrap_err();
        let host = recording.resolve("127.0.0.1").unwrap();
        let root = recording.user("root").unwrap();
        assert_eq!(root, UserIds { uid: 0, gid: 0 });
        recording.group("no-such-group").unwrap_err();
        drop(recording.bind(&spec, 3).unwrap());

        let (body, fds) = recording.into_recorded().into_message();
        assert_eq!(fds.len(), 3);
        let replay = Replay::new(Recorded::from_message(&body, fds).unwrap());
        assert_eq!(replay.read(file).unwrap(), content);
        assert_eq!(replay.list(directory).unwrap(), listed);
        assert_eq!(replay.kind(directory).unwrap(), PathKind::Directory);
        assert_eq!(replay.read(missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(replay.resolve("127.0.0.1").unwrap(), host);
        assert_eq!(replay.user("root").unwrap(), root);
        assert_eq!(replay.group("no-such-group").unwrap_err().kind(), io::ErrorKind::NotFound);
        let unasked = replay.read(Path::new("/etc/shadow")).unwrap_err();
        assert_eq!(unasked.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(replay.bind(&spec, 3).unwrap().len(), 3);
        replay.bind(&spec, 3).unwrap_err();
    }

    #[test]
    fn a_message_cut_short_is_refused() {
        let recording = Recording::new(Direct::new(Neighbor::Refused));
        recording.list(Path::new("src")).unwrap();
        recording.read(Path::new("no/such/file")).unwrap_err();
        let (body, _) = recording.into_recorded().into_message();
        assert!(Recorded::from_message(&body, Vec::new()).is_some());
        for len in 0..body.len() {
            assert!(Recorded::from_message(&body[..len], Vec::new()).is_none());
        }
    }
}
