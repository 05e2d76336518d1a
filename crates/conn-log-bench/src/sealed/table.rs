//! Blocks in a table of SQLite, as they would be beside the rows of the log.

use std::fs::File;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

diesel::table! {
    blocks (first_id) {
        first_id -> BigInt,
        last_id -> BigInt,
        root -> Binary,
        removed -> Nullable<Binary>,
        body -> Binary,
    }
}

pub(super) const SCHEMA: &str = "CREATE TABLE blocks (
    first_id INTEGER NOT NULL PRIMARY KEY,
    last_id  INTEGER NOT NULL,
    root     BLOB    NOT NULL,
    removed  BLOB,
    body     BLOB    NOT NULL
) STRICT";

/// Blocks that one transaction writes.
pub(super) const BLOCKS_AT_ONCE: usize = 64;

/// A block of events.
#[derive(Clone, Debug, Queryable, Insertable)]
#[diesel(table_name = blocks, treat_none_as_default_value = false)]
pub(super) struct BlockRow {
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    /// Of the tree of its leaves.
    pub(super) root: Vec<u8>,
    /// Ids and leaf hashes of events whose bodies were removed.
    pub(super) removed: Option<Vec<u8>>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Table {
    path: PathBuf,
    connection: SqliteConnection,
}

impl Table {
    /// An empty table in a new file.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        remove(path)?;
        let mut table = Self::open(path)?;
        table.connection.batch_execute(SCHEMA)?;
        Ok(table)
    }

    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.to_str().ok_or_else(|| anyhow::anyhow!("a path that is no text"))?;
        let mut connection = SqliteConnection::establish(name)?;
        connection.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
        Ok(Table { path: path.to_owned(), connection })
    }

    pub(super) fn insert(&mut self, rows: &[BlockRow]) -> anyhow::Result<()> {
        self.connection.immediate_transaction(|connection| {
            for row in rows {
                diesel::insert_into(blocks::table).values(row).execute(connection)?;
            }
            Ok(())
        })
    }

    /// The block that has an id.
    pub(super) fn find(&mut self, id: i64) -> anyhow::Result<Option<BlockRow>> {
        let below = blocks::table.filter(blocks::first_id.le(id));
        Ok(below.order(blocks::first_id.desc()).first(&mut self.connection).optional()?)
    }

    /// The blocks that have one of these ids.
    pub(super) fn within(&mut self, first: i64, last: i64) -> anyhow::Result<Vec<BlockRow>> {
        let from = blocks::table.filter(blocks::first_id.le(first)).select(blocks::first_id);
        let from: Option<i64> =
            from.order(blocks::first_id.desc()).first(&mut self.connection).optional()?;
        let found = blocks::table.filter(blocks::first_id.between(from.unwrap_or(first), last));
        Ok(found.order(blocks::first_id).load(&mut self.connection)?)
    }

    /// Puts changed blocks in the place of what they were.
    pub(super) fn replace(&mut self, rows: &[BlockRow]) -> anyhow::Result<()> {
        self.connection.immediate_transaction(|connection| {
            for row in rows {
                let of_it = blocks::table.filter(blocks::first_id.eq(row.first_id));
                let changed = (blocks::removed.eq(&row.removed), blocks::body.eq(&row.body));
                diesel::update(of_it).set(changed).execute(connection)?;
            }
            Ok(())
        })
    }

    /// Drops the blocks with no id beyond `last`.
    pub(super) fn drop_up_to(&mut self, last: i64) -> anyhow::Result<usize> {
        let old = blocks::table.filter(blocks::last_id.le(last));
        // Blocks follow each other, so that the key alone finds them.
        let old = old.filter(blocks::first_id.le(last));
        Ok(diesel::delete(old).execute(&mut self.connection)?)
    }

    /// Copies the write-ahead log into the file.
    pub(super) fn checkpoint(&mut self) -> anyhow::Result<()> {
        Ok(self.connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")?)
    }

    pub(super) fn bytes(&self) -> anyhow::Result<u64> {
        Ok(std::fs::metadata(&self.path)?.len())
    }

    /// Forgets what this process and the system hold of the file in memory.
    pub(super) fn cool(&mut self) -> anyhow::Result<()> {
        self.checkpoint()?;
        *self = Self::open(&self.path)?;
        let file = File::open(&self.path)?;
        file.sync_all()?;
        Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
    }
}

/// Removes a database, if there is one.
pub(super) fn remove(path: &Path) -> anyhow::Result<()> {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error)?,
            _ => {}
        }
    }
    Ok(())
}
