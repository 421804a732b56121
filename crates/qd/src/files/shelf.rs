//! The files of the directory that is served: found, and known by their content from their first use on.
//!
//! What is found lies in the directory after every link was followed. Since a release does not change, it is looked for
//! once by each path, and read once at each place, however many paths lead there; so many of both are remembered.

use super::coding::Coding;
use http::HeaderValue;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// How many files are remembered, and how many paths to them: a few MiB of either.
const REMEMBERED: usize = 8192;
/// How much of a file is read at once, in bytes.
pub(super) const PIECE: usize = 64 << 10;

/// What the system says of paths that lead to nothing.
const NOTHING: [Errno; 5] = [Errno::NOENT, Errno::NOTDIR, Errno::NAMETOOLONG, Errno::LOOP, Errno::ACCESS];

/// The directory.
#[derive(Debug)]
pub(super) struct Shelf {
    root: PathBuf,
    /// By the relative path that was asked for.
    by_path: Mutex<Memory>,
    /// By where it is.
    by_place: Mutex<Memory>,
}

type Memory = BTreeMap<PathBuf, Arc<Known>>;

/// A file with those that are the same, compressed.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) plain: Item,
    pub(super) coded: Vec<(Coding, Item)>,
}

/// Some bytes on disk.
#[derive(Debug)]
pub(super) struct Item {
    /// Where they are, without a link on the way.
    pub(super) path: PathBuf,
    /// How many.
    pub(super) length: u64,
    /// What they are known by.
    pub(super) tag: HeaderValue,
}

/// What there is at a path.
#[derive(Clone, Debug)]
pub(super) enum Found {
    File(Arc<Known>),
    Directory,
    Nothing,
}

impl Shelf {
    /// The files below a directory.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn open(directory: &Path) -> io::Result<Shelf> {
        let root = fs::canonicalize(directory)?;
        if !root.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Shelf { root, by_path: Mutex::default(), by_place: Mutex::default() })
    }

    /// What is remembered of a relative path, without looking at the disk.
    pub(super) fn recall(&self, path: &Path) -> Option<Arc<Known>> {
        recall(&self.by_path, path)
    }

    /// What there is at a relative path of names. Blocks: a file is read as a whole when it is first asked for.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub(super) fn find(&self, path: &Path) -> io::Result<Found> {
        let Some(place) = self.place(path)? else { return Ok(Found::Nothing) };
        if place.is_dir() {
            return Ok(Found::Directory);
        }
        if !place.is_file() {
            return Ok(Found::Nothing);
        }
        let known = match recall(&self.by_place, &place) {
            Some(known) => known,
            None => {
                let known = Arc::new(self.read(&place)?);
                remember(&self.by_place, &place, &known);
                known
            }
        };
        remember(&self.by_path, path, &known);
        Ok(Found::File(known))
    }

    /// The file at a place, and what is beside it.
    fn read(&self, place: &Path) -> io::Result<Known> {
        let mut coded = Vec::new();
        for coding in Coding::ALL {
            let mut beside = place.as_os_str().to_owned();
            beside.push(coding.ending());
            if let Some(place) = self.place(Path::new(&beside))?.filter(|place| place.is_file()) {
                coded.push((coding, Item::of(place)?));
            }
        }
        Ok(Known { plain: Item::of(place.to_owned())?, coded })
    }

    /// Where a path leads after all links, if that is inside. What this process may not even look at is not.
    fn place(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        match fs::canonicalize(self.root.join(path)) {
            Ok(real) => Ok(Some(real).filter(|real| real.starts_with(&self.root))),
            Err(error) if Errno::from_io_error(&error).is_some_and(|no| NOTHING.contains(&no)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn recall(memory: &Mutex<Memory>, path: &Path) -> Option<Arc<Known>> {
    memory.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
}

fn remember(memory: &Mutex<Memory>, path: &Path, known: &Arc<Known>) {
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    if memory.len() >= REMEMBERED {
        // Any one will do: which is asked for next is not known.
        memory.pop_first();
    }
    memory.insert(path.to_owned(), known.clone());
}

impl Item {
    fn of(path: PathBuf) -> io::Result<Item> {
        let mut file = File::open(&path)?;
        let mut hash = Sha256::new();
        let (mut piece, mut length) = (vec![0; PIECE], 0);
        loop {
            match file.read(&mut piece)? {
                0 => break,
                count => {
                    hash.update(&piece[..count]);
                    length += count as u64;
                }
            }
        }
        // Half of the digest: no two files of one path will ever share that.
        let digits: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::from_str(&format!("\"{digits}\"")).map_err(io::Error::other)?;
        Ok(Item { path, length, tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("public");
        fs::create_dir_all(root.join("docs")).unwrap();
        fs::write(directory.path().join("secret"), "secret").unwrap();
        fs::write(root.join("a.txt"), "a").unwrap();
        fs::write(root.join("docs/b.txt"), "a").unwrap();
        let shelf = Shelf::open(&root).unwrap();
        (directory, shelf)
    }

    fn file(shelf: &Shelf, path: &str) -> Option<Arc<Known>> {
        match shelf.find(Path::new(path)).unwrap() {
            Found::File(known) => Some(known),
            Found::Directory | Found::Nothing => None,
        }
    }

    #[test]
    fn a_file_is_known_by_its_content() {
        let (_directory, shelf) = shelf();
        let (a, b) = (file(&shelf, "a.txt").unwrap(), file(&shelf, "docs/b.txt").unwrap());
        assert_eq!((a.plain.length, &a.plain.tag), (1, &b.plain.tag));
        assert!(Arc::ptr_eq(&a, &shelf.recall(Path::new("a.txt")).unwrap()));
        assert!(matches!(shelf.find(Path::new("docs")).unwrap(), Found::Directory));
        assert!(matches!(shelf.find(Path::new("a.txt/b")).unwrap(), Found::Nothing));
        assert!(matches!(shelf.find(Path::new(&"x".repeat(300))).unwrap(), Found::Nothing));
    }

    #[test]
    fn links_are_followed_inside_and_never_out() {
        let (directory, shelf) = shelf();
        let root = directory.path().join("public");
        symlink("../a.txt", root.join("docs/in.txt")).unwrap();
        symlink("../secret", root.join("out.txt")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink(directory.path().join("secret"), root.join("a.txt.gz")).unwrap();
        // By whichever path it is reached, it is read once.
        assert!(Arc::ptr_eq(&file(&shelf, "docs/in.txt").unwrap(), &file(&shelf, "a.txt").unwrap()));
        assert!(file(&shelf, "out.txt").is_none());
        assert!(file(&shelf, "loop").is_none());
        assert!(file(&shelf, "up/secret").is_none());
        assert!(file(&shelf, "a.txt").unwrap().coded.is_empty());
    }

    #[test]
    fn no_more_is_remembered_than_its_bound() {
        let (directory, shelf) = shelf();
        for i in 0..REMEMBERED + 10 {
            let name = format!("{i}.txt");
            symlink("a.txt", directory.path().join("public").join(&name)).unwrap();
            assert!(file(&shelf, &name).is_some());
        }
        assert_eq!(shelf.by_path.lock().unwrap().len(), REMEMBERED);
        assert_eq!(shelf.by_place.lock().unwrap().len(), 1);
    }
}
