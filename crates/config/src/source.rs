//! The loaded files and places in them.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostics::{ConfigErrorKind, Diagnostics};

/// How configuration files are reached; `runtime` implements it so that a privileged parent can
/// stand behind it.
pub trait Files {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether `path` is a directory.
    fn is_directory(&self, path: &Path) -> io::Result<bool>;
    /// The paths in a directory, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;
}

/// One of the files of a [`Source`], in loading order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// Some bytes on one line of a file. Lines and columns count from 1; columns count bytes.
///
/// Orders by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub file: FileId,
    /// 0 means the file as a whole.
    pub line: u32,
    pub column: u32,
    /// How many bytes are meant, at least 1 in what the reader makes.
    pub len: u32,
}

impl Location {
    /// What was not written in any file: the command line.
    pub const COMMAND_LINE: Self = Self { file: FileId(u32::MAX), line: 0, column: 0, len: 0 };

    /// From the start of this place to the end of `last`, when both are on one line.
    #[must_use]
    pub fn to(self, last: Self) -> Self {
        if (self.file, self.line) != (last.file, last.line) || last.column < self.column {
            return self;
        }
        Self { len: last.column - self.column + last.len, ..self }
    }
}

/// The files of one configuration, kept whole so that mistakes can be shown in their line.
#[derive(Debug, Default)]
pub struct Source {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Source {
    pub fn new() -> Self {
        Self::default()
    }

    /// Loads `paths` in their order; a directory gives its files `*.cfg` that do not start with a
    /// dot, in the byte order of their names. What cannot be read is reported (class environment).
    pub fn load(files: &dyn Files, paths: &[PathBuf], diagnostics: &mut Diagnostics) -> Self {
        let mut source = Self::new();
        for path in paths {
            match source.load_path(files, path) {
                Ok(()) => {}
                Err((path, error)) => {
                    diagnostics.incomplete();
                    diagnostics.error(
                        Location::COMMAND_LINE,
                        ConfigErrorKind::Unreadable { path, error: error.into() },
                    );
                }
            }
        }
        source
    }

    /// Adds one file that the caller has read. A byte order mark is dropped: some editors write
    /// one, and it would spoil the first word.
    pub fn add(&mut self, path: impl Into<PathBuf>, mut bytes: Vec<u8>) -> FileId {
        if bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        // A process cannot be given 2^32 files; the cast is exact.
        let id = FileId(self.files.len() as u32);
        self.files.push(File { path: path.into(), bytes });
        id
    }

    pub fn files(&self) -> impl Iterator<Item = FileId> + use<> {
        (0..self.files.len() as u32).map(FileId)
    }

    pub fn path(&self, file: FileId) -> Option<&Path> {
        self.files.get(file.0 as usize).map(|file| file.path.as_path())
    }

    pub fn bytes(&self, file: FileId) -> &[u8] {
        self.files.get(file.0 as usize).map_or(&[], |file| &file.bytes)
    }

    fn load_path(&mut self, files: &dyn Files, path: &Path) -> Result<(), (PathBuf, io::Error)> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |error| (path, error)
        };
        if !files.is_directory(path).map_err(fail(path))? {
            self.add(path, files.read(path).map_err(fail(path))?);
            return Ok(());
        }
        let mut paths = files.list(path).map_err(fail(path))?;
        paths.retain(|path| path.file_name().is_some_and(is_configuration));
        paths.sort();
        for path in paths {
            // HAProxy passes over directories in a directory.
            if !files.is_directory(&path).map_err(fail(&path))? {
                self.add(&path, files.read(&path).map_err(fail(&path))?);
            }
        }
        Ok(())
    }
}

fn is_configuration(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".cfg") && !name.starts_with(b".")
}

/// The lines of `bytes` without their line feeds, and whether each had one.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(|line| match line.strip_suffix(b"\n") {
        Some(line) => (line, true),
        None => (line, false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree;

    impl Files for Tree {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            match path.to_str() {
                Some("gone.cfg") => Err(io::ErrorKind::NotFound.into()),
                _ => Ok(path.as_os_str().as_encoded_bytes().to_vec()),
            }
        }
        fn is_directory(&self, path: &Path) -> io::Result<bool> {
            Ok(matches!(path.to_str(), Some("conf.d" | "conf.d/old.cfg")))
        }
        fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
            let names = ["b.cfg", "a.cfg", ".c.cfg", "d.cfg.bak", "10.cfg", "old.cfg", "B.cfg"];
            Ok(names.iter().map(|name| directory.join(name)).collect())
        }
    }

    #[test]
    fn directories_give_their_files_in_lexical_order() {
        let mut diagnostics = Diagnostics::new();
        let paths = ["first", "conf.d", "gone.cfg", "last"].map(PathBuf::from);
        let source = Source::load(&Tree, &paths, &mut diagnostics);
        let read: Vec<_> = source.files().filter_map(|id| source.path(id)?.to_str()).collect();
        let expected =
            ["first", "conf.d/10.cfg", "conf.d/B.cfg", "conf.d/a.cfg", "conf.d/b.cfg", "last"];
        assert_eq!(read, expected);
        assert_eq!(diagnostics.errors(), 1);
    }
}
