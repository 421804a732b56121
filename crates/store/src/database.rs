//! The database: one row per entry with its leaf hash, and one per perfect subtree of 256, 256², … entries. Every other
//! hash of the tree is computed from these. Nothing here decides whether what is in it is right.

use crate::place::io;
use crate::{Error, Wrong};
use ledger::{Frontier, leaf_hash, tile, tree::Node, tree::root_over};
use model::{Digest, Seq};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params, types::ValueRef};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `QDLG`, so that `file` and we know it from other databases.
const APPLICATION_ID: i64 = 0x5144_4c47;
const VERSION: i64 = 1;

/// How much memory the page cache may take, in KiB.
const CACHE_KIB: i64 = 16 << 10;

/// After how many pages of the write-ahead log they are carried over into the database.
const CHECKPOINT_PAGES: i64 = 4000;

/// To what the write-ahead log is cut back after long readers have let it grow, in bytes.
const LOG_BYTES: i64 = 64 << 20;

/// How long to wait for another process that holds the database for a moment.
const BUSY: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE entry (
        seq   INTEGER PRIMARY KEY,
        leaf  BLOB NOT NULL,
        bytes BLOB NOT NULL
    ) STRICT;
    CREATE TABLE subtree (
        level    INTEGER NOT NULL,
        position INTEGER NOT NULL,
        hash     BLOB NOT NULL,
        PRIMARY KEY (level, position)
    ) STRICT, WITHOUT ROWID;";

#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
}

/// SQLite counts in signed integers; no ledger gets that far.
fn sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn digest(value: ValueRef<'_>) -> rusqlite::Result<Digest> {
    Ok(Digest(value.as_blob()?.try_into().map_err(|_| rusqlite::Error::InvalidQuery)?))
}

impl Database {
    /// Opens the database to write it; makes it when it does not exist.
    pub(crate) fn open(path: &Path) -> Result<Database, Error> {
        // SQLite gives its other files the mode of this one.
        let created = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        created.map_err(io("open", path))?;
        let database = Database::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let set_up = |connection: &mut Connection| {
            // Before anything else: a setting that came too late would not hold for what was written before it.
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if version(&transaction)? == (0, 0) {
                transaction.execute_batch(SCHEMA)?;
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
            }
            transaction.commit()
        };
        let mut database = database;
        set_up(&mut database.connection).map_err(|source| database.failed("open")(source))?;
        database.check_version()
    }

    /// Opens the database to read it, beside its writer.
    pub(crate) fn open_to_read(path: &Path) -> Result<Database, Error> {
        // One that may not be looked at is not one that is not there.
        if !path.try_exists().map_err(io("open", path))? {
            return Err(Error::Absent(path.parent().unwrap_or(path).to_owned()));
        }
        Database::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?.check_version()
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Database, Error> {
        let failed = |source| Error::Database { doing: "open", path: path.to_owned(), source };
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(failed)?;
        connection.pragma_update(None, "cell_size_check", true).map_err(failed)?;
        Ok(Database { connection, path: path.to_owned() })
    }

    fn check_version(self) -> Result<Database, Error> {
        match version(&self.connection).map_err(self.failed("open"))? {
            (APPLICATION_ID, VERSION) => Ok(self),
            (_, version) => Err(Error::UnknownVersion { path: self.path, version }),
        }
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Error + use<> {
        let path = self.path.clone();
        move |source| Error::Database { doing, path, source }
    }

    /// How many entries there are, if none is missing.
    pub(crate) fn size(&self) -> Result<u64, Error> {
        let last = self.connection.query_row("SELECT max(seq) FROM entry", [], |row| row.get::<_, Option<i64>>(0));
        let last = last.map_err(self.failed("read"))?;
        Ok(last.and_then(|last| u64::try_from(last).ok()).map_or(0, |last| last + 1))
    }

    /// Holds on to the present content until the end of `read`, whatever is appended meanwhile.
    pub(crate) fn as_of_now<T>(&self, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let transaction = self.connection.unchecked_transaction().map_err(self.failed("read"))?;
        let value = read()?;
        transaction.finish().map_err(self.failed("read"))?;
        Ok(value)
    }

    /// Appends entries in one transaction, which is durable when this returns `Ok`; gives the new right edge.
    pub(crate) fn append(&mut self, frontier: &Frontier, batch: &[Vec<u8>]) -> rusqlite::Result<Frontier> {
        let mut frontier = frontier.clone();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut entry = transaction.prepare_cached("INSERT INTO entry (seq, leaf, bytes) VALUES (?1, ?2, ?3)")?;
            let mut subtree =
                transaction.prepare_cached("INSERT INTO subtree (level, position, hash) VALUES (?1, ?2, ?3)")?;
            for bytes in batch {
                let leaf = leaf_hash(bytes);
                entry.execute(params![sql(frontier.size()), leaf.0, bytes])?;
                let mut inserted = Ok(0);
                frontier.push_with(leaf, |node, hash| {
                    // Level 0 is with the entries.
                    if let Some(level @ 1..) = tile::level_with(node)
                        && inserted.is_ok()
                    {
                        inserted = subtree.execute(params![level, sql(node.index), hash.0]);
                    }
                });
                inserted?;
            }
        }
        transaction.commit()?;
        Ok(frontier)
    }

    /// Is a transaction under way? After a failure that was undone completely there is none.
    pub(crate) fn is_idle(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Calls `each` with the entries from `from` to below `end` that are there, in order: position, leaf hash, bytes.
    pub(crate) fn for_each(
        &self,
        from: u64,
        end: u64,
        mut each: impl FnMut(Seq, Digest, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut reached = Seq(from);
        let unreadable = |seq| move |source| Error::Unreadable { seq, path: self.path.clone(), source };
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, leaf, bytes FROM entry WHERE seq >= ?1 AND seq < ?2 ORDER BY seq")
            .map_err(self.failed("read"))?;
        let mut rows = statement.query(params![sql(from), sql(end)]).map_err(self.failed("read"))?;
        while let Some(row) = rows.next().map_err(unreadable(reached))? {
            let seq = Seq(row.get::<_, i64>(0).map_err(unreadable(reached))?.unsigned_abs());
            let leaf = row.get_ref(1).and_then(digest).map_err(unreadable(seq))?;
            let bytes = row.get_ref(2).and_then(|value| Ok(value.as_blob()?)).map_err(unreadable(seq))?;
            each(seq, leaf, bytes)?;
            reached = Seq(seq.0 + 1);
        }
        Ok(())
    }

    /// At most `count` hashes of one level of tiles from `from` on, as many as there are.
    pub(crate) fn hashes(&self, level: u8, from: u64, count: u64) -> Result<Vec<Digest>, Error> {
        let query = match level {
            0 => "SELECT leaf FROM entry WHERE ?1 = 0 AND seq >= ?2 AND seq < ?3 ORDER BY seq",
            _ => "SELECT hash FROM subtree WHERE level = ?1 AND position >= ?2 AND position < ?3 ORDER BY position",
        };
        let read = || {
            let mut statement = self.connection.prepare_cached(query)?;
            let mut rows = statement.query(params![level, sql(from), sql(from.saturating_add(count))])?;
            let mut hashes = Vec::new();
            while let Some(row) = rows.next()? {
                hashes.push(digest(row.get_ref(0)?)?);
            }
            Ok(hashes)
        };
        read().map_err(self.failed("read the hashes in"))
    }

    /// The hash of any perfect subtree of the ledger.
    ///
    /// # Errors
    /// [`Error::Damaged`] when hashes that it is made of are missing.
    pub(crate) fn node(&self, node: Node) -> Result<Digest, Error> {
        let level = (node.level / tile::HEIGHT) as u8;
        let count = 1 << (node.level % tile::HEIGHT);
        let hashes = self.hashes(level, node.index * count, count)?;
        let complete = hashes.len() as u64 == count;
        root_over(&hashes).filter(|_| complete).ok_or_else(|| {
            let (first, end) = (node.index << node.level, (node.index + 1) << node.level);
            let dir = self.path.parent().unwrap_or(&self.path).to_owned();
            Error::Damaged { dir, wrong: Wrong::Subtree { first: Seq(first), last: Seq(end - 1) } }
        })
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}

fn version(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let read = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
    Ok((read("application_id")?, read("user_version")?))
}
