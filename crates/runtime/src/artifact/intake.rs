//! Taking an archive in: contents first, then the tree as a value, checked, and only then the tree on disk.
//!
//! Nothing is ever unpacked to a path that the archive chose before all of it was read and found safe.

use super::{
    Store, Unfit,
    executable::Kind,
    garbage,
    tree::{Node, Tree, inner_path, unfit},
};
use crate::{Error, layout};
use flate2::read::MultiGzDecoder;
use model::{Bytes, Digest};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write as _},
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
    time::SystemTime,
};
use tar::{Archive, Entry, EntryType};

/// The most that one artifact may have, unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Content of all files together.
    pub size: Bytes,
    /// Files, directories and links.
    pub files: u32,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { size: Bytes::mib(8 * 1024), files: 500_000 }
    }
}

impl Store {
    /// Takes in a tar archive, plain or gzipped, and names it by its content. On return the artifact is complete and
    /// durable; on an error nothing of it is left. Blocks; several may run at the same time.
    ///
    /// # Errors
    /// [`Error::Artifact`] when the archive is unfit, otherwise what the disk said.
    pub fn take_tar(&self, archive: impl Read, bounds: Bounds) -> Result<Digest, Error> {
        let staging = Staging::new(self)?;
        let mut archive = BufReader::new(archive);
        let start = io::BufRead::fill_buf(&mut archive).map_err(Unfit::NotAnArchive)?;
        let tree = match Kind::of(start) {
            Kind::Gzip => staging.read(Archive::new(MultiGzDecoder::new(archive)), bounds)?,
            Kind::Tar | Kind::Program(_) | Kind::ProgramForUnknown(_) | Kind::Script(_) | Kind::Other(_) => {
                staging.read(Archive::new(archive), bounds)?
            }
        };
        tree.check_links()?;
        if !tree.has_files() {
            return Err(Unfit::EmptyArchive.into());
        }
        let digest = tree.digest();
        if self.refresh(digest)? == Here::No {
            staging.arrange(&tree, digest)?;
        }
        Ok(digest)
    }

    /// An artifact that was just given is young, however long it has been here.
    fn refresh(&self, digest: Digest) -> Result<Here, Error> {
        let _arranging = self.arrange();
        let path = self.tree(digest);
        let touched = File::open(&path).and_then(|directory| directory.set_modified(SystemTime::now()));
        match touched {
            Ok(()) => Ok(Here::Yes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Here::No),
            Err(error) => Err(Error::file("set the time of", &path, error)),
        }
    }
}

/// Whether an artifact is in the store already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Here {
    Yes,
    No,
}

/// One intake's own directory, removed when it ends.
struct Staging<'a> {
    store: &'a Store,
    directory: PathBuf,
}

impl Staging<'_> {
    fn new(store: &Store) -> Result<Staging<'_>, Error> {
        let number = getrandom::u64().map_err(|error| Error::Random(io::Error::other(error)))?;
        let directory = store.staging().join(format!("{number:016x}"));
        layout::create_private(&directory)?;
        Ok(Staging { store, directory })
    }

    fn content(&self, content: Digest, executable: bool) -> PathBuf {
        self.directory.join(file_name(content, executable))
    }

    fn read(&self, mut archive: Archive<impl Read>, bounds: Bounds) -> Result<Tree, Error> {
        let mut tree = Tree::default();
        let mut left = bounds.size.0;
        for entry in archive.entries().map_err(Unfit::NotAnArchive)? {
            let mut entry = entry.map_err(Unfit::NotAnArchive)?;
            if let Some((path, node)) = self.read_entry(&mut entry, &tree, &mut left, bounds)? {
                tree.add(path, node)?;
            }
            if tree.len() > bounds.files as usize {
                return Err(Unfit::TooMany(bounds.files).into());
            }
        }
        Ok(tree)
    }

    fn read_entry(
        &self,
        entry: &mut Entry<'_, impl Read>,
        tree: &Tree,
        left: &mut u64,
        bounds: Bounds,
    ) -> Result<Option<(PathBuf, Node)>, Error> {
        let path = inner_path(&entry.path().map_err(Unfit::NotAnArchive)?)?;
        let mut kind = entry.header().entry_type();
        if kind == EntryType::Regular && entry.path_bytes().ends_with(b"/") {
            // How the oldest archives mark directories.
            kind = EntryType::Directory;
        }
        let link_target = |entry: &Entry<'_, _>| -> Result<PathBuf, Unfit> {
            let target = entry.link_name().map_err(Unfit::NotAnArchive)?;
            target.map(|target| target.into_owned()).ok_or_else(|| unfit(&path, "is a link to nowhere"))
        };
        let node = match kind {
            EntryType::XGlobalHeader => return Ok(None),
            EntryType::Directory if path.as_os_str().is_empty() => return Ok(None),
            _ if path.as_os_str().is_empty() => return Err(unfit(Path::new("."), "is not a directory").into()),
            EntryType::Directory => Node::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let executable = entry.header().mode().map_err(Unfit::NotAnArchive)? & 0o111 != 0;
                let content = self.read_content(entry, executable, left, bounds)?;
                Node::File { content, executable }
            }
            EntryType::Symlink => Node::Link(link_target(entry)?),
            EntryType::Link => match tree.get(&inner_path(&link_target(entry)?)?) {
                Some(Node::File { content, executable }) => Node::File { content: *content, executable: *executable },
                Some(Node::Directory | Node::Link(_)) | None => {
                    return Err(unfit(&path, "is a hard link to no earlier file of the archive").into());
                }
            },
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                return Err(unfit(&path, "is a device or a pipe").into());
            }
            // The list is open: it is `tar`'s, and archives may contain any number.
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader => return Ok(None),
            _ => return Err(unfit(&path, "is of a kind that no artifact can contain").into()),
        };
        Ok(Some((path, node)))
    }

    /// Stores the content of an entry under its digest in the staging directory.
    fn read_content(
        &self,
        entry: &mut impl Read,
        executable: bool,
        left: &mut u64,
        bounds: Bounds,
    ) -> Result<Digest, Error> {
        let incoming = self.directory.join("incoming");
        let failed = |e| Error::file("write", &incoming, e);
        let mode = if executable { 0o555 } else { 0o444 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&incoming).map_err(failed)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = match entry.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Unfit::NotAnArchive(error).into()),
            };
            *left = left.checked_sub(n as u64).ok_or(Unfit::TooLarge(bounds.size))?;
            hash.update(&buffer[..n]);
            file.write_all(&buffer[..n]).map_err(failed)?;
        }
        drop(file);
        // The mask of the process has no say in what everybody may read.
        layout::set_mode(&incoming, mode)?;
        let content = Digest(hash.finalize().into());
        let path = self.content(content, executable);
        fs::rename(&incoming, &path).map_err(|e| Error::file("write", &path, e))?;
        Ok(content)
    }

    /// Builds the tree from contents, makes everything durable at once, and only then gives it its name.
    fn arrange(&self, tree: &Tree, digest: Digest) -> Result<(), Error> {
        let root = self.directory.join("tree");
        let _arranging = self.store.arrange();
        fs::create_dir(&root).map_err(|e| Error::file("create the directory", &root, e))?;
        for (path, node) in tree.nodes() {
            let path = root.join(path);
            let made = match node {
                Node::Directory => fs::create_dir(&path),
                Node::Link(target) => symlink(target, &path),
                Node::File { content, executable } => self.place(*content, *executable, &path),
            };
            made.map_err(|e| Error::file("write", &path, e))?;
        }
        let mut directories = tree.nodes().filter(|(_, node)| **node == Node::Directory);
        directories.try_for_each(|(path, _)| layout::set_mode(&root.join(path), 0o555))?;

        let sync = || rustix::fs::syncfs(File::open(&root)?).map_err(io::Error::from);
        sync().map_err(|e| Error::file("write", &root, e))?;
        for (_, node) in tree.nodes() {
            if let Node::File { content, executable } = node {
                self.promote(*content, *executable)?;
            }
        }
        let place = self.store.tree(digest);
        match fs::rename(&root, &place) {
            // Another intake of the same was quicker.
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {}
            other => other.map_err(|e| Error::file("write", &place, e))?,
        }
        layout::set_mode(&place, 0o555)?;
        for directory in [self.store.files(), self.store.trees()] {
            let synced = File::open(&directory).and_then(|d| d.sync_all());
            synced.map_err(|e| Error::file("write", &directory, e))?;
        }
        Ok(())
    }

    /// A link to a content that the store has, or else to the one just read.
    fn place(&self, content: Digest, executable: bool, path: &Path) -> io::Result<()> {
        let stored = self.store.files().join(file_name(content, executable));
        match fs::hard_link(&stored, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::hard_link(self.content(content, executable), path)
            }
            // A content that has as many links as the file system allows is stored once more.
            Err(error) if error.kind() == io::ErrorKind::TooManyLinks => fs::copy(&stored, path).map(drop),
            other => other,
        }
    }

    /// Moves a durable content to where other artifacts find it.
    fn promote(&self, content: Digest, executable: bool) -> Result<(), Error> {
        let (staged, stored) =
            (self.content(content, executable), self.store.files().join(file_name(content, executable)));
        match fs::hard_link(&staged, &stored) {
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists) => Ok(()),
            other => other.map_err(|e| Error::file("write", &stored, e)),
        }
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if let Err(error) = garbage::remove_tree(&self.directory) {
            tracing::warn!(error = crate::in_full(&error), "what an intake left stays until the next start");
        }
    }
}

fn file_name(content: Digest, executable: bool) -> String {
    format!("{content}{}", if executable { "x" } else { "" })
}
