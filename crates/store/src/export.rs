//! A ledger as a plain directory that anybody can verify, with `qd` or with standard tools, without a server and
//! without a database: the checkpoint, the key that verifies it, and the files of C2SP `tlog-tiles`.

use crate::place::io;
use crate::reader::PROGRESS;
use crate::{Error, Reader, Verified, Wrong, key};
use ledger::note::Verifier;
use ledger::tile::{self, Kind, Tile};
use ledger::{TreeHead, checkpoint, verify};
use model::{Digest, Seq};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const CHECKPOINT: &str = "checkpoint";
const KEY: &str = "ledger.vkey";
const README: &str = "\
This is a Quarterdeck ledger: what happened, in order, each entry as it was stored.

  checkpoint         the signed state: whose ledger, how many entries, the root over them (c2sp.org/tlog-checkpoint)
  ledger.vkey        the key that verifies the signature (c2sp.org/signed-note)
  tile/entries/      the entries, up to 256 per file, each after its length in two bytes (c2sp.org/tlog-tiles)
  tile/0/, tile/1/   the Merkle tree over them: SHA-256, RFC 6962

To verify it:

  qd ledger verify --export DIRECTORY

checks every entry, the tree and the signature, and names the first thing that is wrong. It needs nothing but this
directory. Compare ledger.vkey with the key you know from elsewhere, or give that key with --key: a directory can only
show that it was signed by the key, not whose key it is. Any other tool for tlog-tiles can check it as well.

An entry is CBOR (RFC 8949) in its deterministic form: a map of seq, time (milliseconds since 1970 UTC), actor, stream,
stream_seq and what, and where they apply at, why, cause and on_behalf_of.
";

impl Reader {
    /// Writes the ledger, as far as its state is signed, into a directory that is new or empty. `progress` is told from
    /// time to time how many entries were written. Memory is bounded by 256 entries. Like any copy it is not waited for
    /// until it is on the disk; [`verify_export`] tells whether it is whole.
    ///
    /// # Errors
    /// When the directory is not empty or not writable, when nothing was ever signed, or when an entry is missing.
    pub fn export(&self, dir: &Path, mut progress: impl FnMut(u64)) -> Result<TreeHead, Error> {
        fs::create_dir_all(dir).map_err(io("create", dir))?;
        if fs::read_dir(dir).map_err(io("read", dir))?.next().is_some() {
            return Err(Error::NotEmpty(dir.to_owned()));
        }
        let key = self.verifier()?;
        let Some((signed, note)) = self.published()? else { return Err(Error::Unsigned) };
        for bundle in Tile::all(Kind::Entries, signed.size) {
            let entries = self.read_from(Seq(bundle.start()), bundle.width as usize)?;
            let path = dir.join(bundle.path());
            let content = tile::write_bundle(&entries)
                .map_err(|_| Error::BadFile { path: path.clone(), what: "would hold an entry that is too long" })?;
            write(&path, &content)?;
            if (bundle.start() + bundle.width).is_multiple_of(PROGRESS) {
                progress(bundle.start() + bundle.width);
            }
        }
        for level in Tile::levels(signed.size) {
            for tile in Tile::all(Kind::Hashes(level), signed.size) {
                let hashes = self.database().hashes(level, tile.start(), tile.width)?;
                write(&dir.join(tile.path()), &hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>())?;
            }
        }
        write(&dir.join("README.txt"), README.as_bytes())?;
        write(&dir.join(KEY), format!("{key}\n").as_bytes())?;
        // Last, so that an export that was interrupted is not taken for a whole one.
        write(&dir.join(CHECKPOINT), note.as_bytes())?;
        Ok(signed)
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(io("create", dir))?;
    }
    File::create_new(path).and_then(|mut file| file.write_all(content)).map_err(io("write", path))
}

/// Checks an export: every entry, the tree, and the signature, which must be by `trusted` if a key is given, and is
/// checked with the key in the export otherwise. `progress` is told from time to time how many entries were checked. Memory is bounded by a few
/// tiles and 256 entries.
///
/// # Errors
/// [`Error::Damaged`] with the first thing that is wrong, or what is wrong with a file.
pub fn verify_export(dir: &Path, trusted: Option<&Verifier>, mut progress: impl FnMut(u64)) -> Result<Verified, Error> {
    let damaged = |wrong| Error::Damaged { dir: dir.to_owned(), wrong };
    let path = dir.join(KEY);
    let found = key::parse_verifier(&read(&path)?).map_err(|source| Error::BadKey { path, source })?;
    key::check_trusted(&found, trusted)?;
    let path = dir.join(CHECKPOINT);
    let note = String::from_utf8(read(&path)?)
        .map_err(|_| ledger::note::Error::Malformed("it is not UTF-8"))
        .and_then(|note| checkpoint::open(&note, &found));
    let signed = note.map_err(|source| damaged(Wrong::Checkpoint(source)))?;

    let mut verifier = verify::Verifier::new(Some(signed));
    let mut tiles = Tiles { dir, size: signed.size, open: BTreeMap::new() };
    for bundle in Tile::all(Kind::Entries, signed.size) {
        let path = dir.join(bundle.path());
        let content = read(&path)?;
        let bad = |what| Error::BadFile { path: path.clone(), what };
        let mut entries = tile::read_bundle(&content);
        for seq in bundle.start()..bundle.start() + bundle.width {
            let entry = entries.next().ok_or_else(|| bad("has fewer entries than its name says"))?;
            let entry = entry.ok_or_else(|| bad("is cut short within an entry"))?;
            let recorded = tiles.hash(0, seq)?;
            let checked = verifier.check_with(entry, &recorded, |node| match tile::level_with(node) {
                Some(level @ 1..) => tiles.hash(level, node.index).map(Some),
                Some(0) | None => Ok(None),
            });
            checked?.map_err(damaged)?;
        }
        if entries.next().is_some() {
            return Err(bad("has more entries than its name says"));
        }
        if verifier.next().0.is_multiple_of(PROGRESS) {
            progress(verifier.next().0);
        }
    }
    verifier.finish().map_err(damaged)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(io("read", path))
}

/// The tiles of an export, of which the last one used of each level is kept in memory.
struct Tiles<'a> {
    dir: &'a Path,
    size: u64,
    open: BTreeMap<u8, (u64, PathBuf, Vec<u8>)>,
}

impl Tiles<'_> {
    fn hash(&mut self, level: u8, position: u64) -> Result<Digest, Error> {
        let (index, at) = (position / tile::WIDTH, (position % tile::WIDTH) as usize * 32);
        if self.open.get(&level).is_none_or(|(open, _, _)| *open != index) {
            let hashes = self.size >> (tile::HEIGHT * u32::from(level));
            let width = (hashes - index * tile::WIDTH).min(tile::WIDTH);
            let path = self.dir.join(Tile { kind: Kind::Hashes(level), index, width }.path());
            let content = read(&path)?;
            if content.len() as u64 != width * 32 {
                return Err(Error::BadFile { path, what: "has not the number of hashes that its name says" });
            }
            self.open.insert(level, (index, path, content));
        }
        let cut = || Error::BadFile { path: self.dir.to_owned(), what: "has no such hash" };
        let (_, _, content) = self.open.get(&level).ok_or_else(cut)?;
        let hash = content.get(at..at + 32).and_then(|hash| hash.try_into().ok()).ok_or_else(cut)?;
        Ok(Digest(hash))
    }
}

#[cfg(test)]
mod tests;
