//! Making an archive from what a person has: a directory, one executable, or an archive that is there already.
//!
//! The same content gives the same bytes: paths sorted, no times, no owners. What changes while it is read is noticed
//! and refused, because half an old and half a new program is neither.

use super::{
    Unfit,
    executable::{Kind, read_head, runs_here, this_machine},
};
use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};
use tar::{Builder, EntryType, Header};

/// What no directory is deployed with: the history of its sources.
const NEVER: &str = ".git";
/// Deeper nesting than this is a mistake.
const DEEPEST: usize = 128;

/// Something that can be deployed, looked at but not read yet.
#[derive(Debug)]
pub struct Package {
    path: PathBuf,
    content: Content,
    without: Vec<PathBuf>,
}

#[derive(Debug)]
enum Content {
    /// Paths relative to the directory, sorted.
    Directory(Vec<(PathBuf, Metadata)>),
    Executable(Metadata),
    Archive(Metadata),
}

/// Why a package was not written.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What is packed is, or has become, unfit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The archive could not be written to where it goes.
    #[error("the archive cannot be sent")]
    Write(#[source] io::Error),
}

impl Package {
    /// Looks at what is there, and refuses what could never run on this machine. A directory is taken without its `.git`
    /// and without the files and directories in `without`: what lies there for another purpose, such as secrets.
    ///
    /// # Errors
    /// What it is instead, and what to do.
    pub fn inspect(path: &Path, without: &[PathBuf]) -> Result<Package, Unfit> {
        let without: Vec<PathBuf> = without.iter().filter_map(|path| path.canonicalize().ok()).collect();
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unfit::Missing(path.to_owned())),
            Err(source) => return Err(Unfit::Unreadable { path: path.to_owned(), source }),
        };
        let content = if meta.is_dir() {
            let found = Listing::of(path, &without)?;
            if !found.iter().any(|(_, meta)| meta.is_file()) {
                return Err(Unfit::Empty(path.to_owned()));
            }
            Content::Directory(found)
        } else if meta.is_file() {
            inspect_file(path, meta)?
        } else {
            return Err(Unfit::NotADeployable { path: path.to_owned(), what: "a device, pipe or socket".to_owned() });
        };
        Ok(Package { path: path.to_owned(), content, without })
    }

    /// What it is, for people: `a directory of 12 files, 3.4 MiB`.
    pub fn describe(&self) -> String {
        match &self.content {
            Content::Directory(found) => {
                let files: Vec<u64> = found.iter().filter(|(_, m)| m.is_file()).map(|(_, m)| m.len()).collect();
                let size = model::Bytes(files.iter().sum());
                match files.len() {
                    1 => format!("a directory of 1 file, {size}"),
                    n => format!("a directory of {n} files, {size}"),
                }
            }
            Content::Executable(meta) => format!("an executable of {}", model::Bytes(meta.len())),
            Content::Archive(meta) => format!("an archive of {}", model::Bytes(meta.len())),
        }
    }

    /// Writes it as an archive that [`Store::take_tar`](super::Store::take_tar) takes in.
    ///
    /// # Errors
    /// When a file changed since it was inspected or while it was read, or the archive cannot be written.
    pub fn write_to(&self, mut sink: impl Write) -> Result<(), Failure> {
        match &self.content {
            Content::Archive(meta) => {
                let mut source = Source::open(&self.path, meta)?;
                copy(&mut source, &mut sink)?;
                source.finish()?;
                sink.flush().map_err(Failure::Write)
            }
            Content::Executable(meta) => {
                let name = self.path.file_name().map_or_else(|| PathBuf::from("program"), PathBuf::from);
                let mut builder = Builder::new(sink);
                append(&mut builder, &self.path, &name, meta)?;
                finish(builder)
            }
            Content::Directory(found) => {
                let mut builder = Builder::new(sink);
                for (inner, meta) in found {
                    append(&mut builder, &self.path.join(inner), inner, meta)?;
                }
                self.check_listing(found)?;
                finish(builder)
            }
        }
    }

    /// Notices files that came or went while others were read.
    fn check_listing(&self, before: &[(PathBuf, Metadata)]) -> Result<(), Unfit> {
        let now = Listing::of(&self.path, &self.without)?;
        let differs = |(a, b): (&(PathBuf, Metadata), &(PathBuf, Metadata))| a.0 != b.0 || has_changed(&a.1, &b.1);
        match before.iter().zip(&now).find(|pair| differs(*pair)) {
            Some((_, (path, _))) => Err(Unfit::Changed(self.path.join(path))),
            None if before.len() != now.len() => Err(Unfit::Changed(self.path.clone())),
            None => Ok(()),
        }
    }
}

fn inspect_file(path: &Path, meta: Metadata) -> Result<Content, Unfit> {
    let head = read_head(path).map_err(|source| Unfit::Unreadable { path: path.to_owned(), source })?;
    let kind = Kind::of(&head);
    let (path, what) = (path.to_owned(), kind.describe());
    match kind {
        Kind::Tar | Kind::Gzip => Ok(Content::Archive(meta)),
        Kind::Other(_) => Err(Unfit::NotADeployable { path, what }),
        Kind::ProgramForUnknown(_) => Err(Unfit::OtherMachine { path, what, machine: this_machine() }),
        Kind::Program(_) if !runs_here(&kind) => Err(Unfit::OtherMachine { path, what, machine: this_machine() }),
        Kind::Program(_) | Kind::Script(_) if meta.permissions().mode() & 0o111 == 0 => {
            Err(Unfit::NotExecutable { path, what })
        }
        Kind::Program(_) | Kind::Script(_) => Ok(Content::Executable(meta)),
    }
}

/// Collects everything below a directory, links as links.
struct Listing<'p> {
    root: &'p Path,
    /// Where the root really is, to compare with what is left out.
    real: PathBuf,
    without: &'p [PathBuf],
    found: Vec<(PathBuf, Metadata)>,
}

impl<'p> Listing<'p> {
    /// The paths relative to the directory, sorted.
    fn of(root: &'p Path, without: &'p [PathBuf]) -> Result<Vec<(PathBuf, Metadata)>, Unfit> {
        let real = root.canonicalize().map_err(|source| Unfit::Unreadable { path: root.to_owned(), source })?;
        let mut listing = Listing { root, real, without, found: Vec::new() };
        listing.descend(Path::new(""), DEEPEST)?;
        let mut found = listing.found;
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    fn descend(&mut self, inner: &Path, depth: usize) -> Result<(), Unfit> {
        let directory = self.root.join(inner);
        let unreadable = |source| Unfit::Unreadable { path: directory.clone(), source };
        if depth == 0 {
            return Err(unreadable(io::Error::other(format!("it is more than {DEEPEST} directories deep"))));
        }
        for entry in fs::read_dir(&directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = inner.join(entry.file_name());
            if path == Path::new(NEVER) || self.without.contains(&self.real.join(&path)) {
                continue;
            }
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unfit::Changed(entry.path())),
                Err(source) => return Err(Unfit::Unreadable { path: entry.path(), source }),
            };
            let is_directory = meta.is_dir();
            if !is_directory && !meta.is_file() && !meta.is_symlink() {
                return Err(Unfit::NotADeployable {
                    path: entry.path(),
                    what: "a device, pipe or socket, which no artifact can contain".to_owned(),
                });
            }
            self.found.push((path.clone(), meta));
            if is_directory {
                self.descend(&path, depth - 1)?;
            }
        }
        Ok(())
    }
}

fn append(builder: &mut Builder<impl Write>, path: &Path, name: &Path, meta: &Metadata) -> Result<(), Failure> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(if meta.is_dir() || meta.permissions().mode() & 0o111 != 0 { 0o755 } else { 0o644 });
    header.set_size(0);
    if meta.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        let target = fs::read_link(path).map_err(|source| Unfit::Unreadable { path: path.to_owned(), source })?;
        return builder.append_link(&mut header, name, target).map_err(Failure::Write);
    }
    if meta.is_dir() {
        header.set_entry_type(EntryType::Directory);
        return builder.append_data(&mut header, name, io::empty()).map_err(Failure::Write);
    }
    header.set_size(meta.len());
    let mut source = Source::open(path, meta)?;
    let appended = builder.append_data(&mut header, name, &mut source);
    // What the source found out is the better reason.
    source.finish()?;
    appended.map_err(Failure::Write)
}

fn finish<W: Write>(builder: Builder<W>) -> Result<(), Failure> {
    builder.into_inner().and_then(|mut sink| sink.flush()).map_err(Failure::Write)
}

/// A file that must stay what it was when it was inspected.
struct Source {
    path: PathBuf,
    file: File,
    before: Metadata,
    left: u64,
    failed: Option<Unfit>,
}

impl Source {
    fn open(path: &Path, before: &Metadata) -> Result<Source, Unfit> {
        match File::open(path) {
            Ok(file) => {
                let (path, before, left) = (path.to_owned(), before.clone(), before.len());
                Ok(Source { path, file, before, left, failed: None })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Unfit::Changed(path.to_owned())),
            Err(source) => Err(Unfit::Unreadable { path: path.to_owned(), source }),
        }
    }

    fn finish(self) -> Result<(), Unfit> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        match self.file.metadata() {
            Ok(now) if self.left == 0 && !has_changed(&self.before, &now) => Ok(()),
            Ok(_) => Err(Unfit::Changed(self.path)),
            Err(source) => Err(Unfit::Unreadable { path: self.path, source }),
        }
    }
}

impl Read for Source {
    /// Never more than the file had when it was inspected; less is a failure.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        match self.file.read(&mut buffer[..most]) {
            Ok(0) => {
                self.failed = Some(Unfit::Changed(self.path.clone()));
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(n) => {
                self.left -= n as u64;
                Ok(n)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(source) => {
                self.failed = Some(Unfit::Unreadable { path: self.path.clone(), source });
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

fn has_changed(before: &Metadata, now: &Metadata) -> bool {
    let facts = |m: &Metadata| (m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    !before.is_dir() && facts(before) != facts(now)
}

fn copy(source: &mut Source, sink: &mut impl Write) -> Result<(), Failure> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => sink.write_all(&buffer[..n]).map_err(Failure::Write)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(source.failed.take().map_or(Failure::Write(error), Failure::Unfit)),
        }
    }
}
