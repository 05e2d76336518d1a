//! The server engine: PostgreSQL, with any number of conn-log processes on one database.

pub(super) mod citus;
pub(super) mod durability;
pub(super) mod listener;
pub(super) mod migrations;
mod open;
pub(super) mod partitions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use diesel::connection::SimpleConnection;

use super::backend::Backend;
use super::connection::AnyConnection;
use super::identity::Identity;
use super::lanes::Lanes;
use super::pool::{Connections, Pooled};
use super::position::Home;
use super::signals::Signals;
use super::url::PostgresUrl;
use crate::error::StoreError;

pub(super) use open::{BEGIN, open};

/// Longest vacuum, in milliseconds. The next vacuum, or PostgreSQL's autovacuum, does the rest.
const VACUUM_MS: u32 = 5_000;

/// One database on a server.
pub(super) struct Postgres {
    url: PostgresUrl,
    writers: Connections,
    lanes: Arc<Lanes>,
    identity: Arc<Identity>,
    /// Whether the server syncs its files.
    has_fsync: Arc<AtomicBool>,
}

impl Postgres {
    pub(super) fn new(
        url: PostgresUrl,
        writers: Connections,
        lanes: Arc<Lanes>,
        identity: Arc<Identity>,
    ) -> Self {
        let has_fsync = Arc::new(AtomicBool::new(true));
        Postgres { url, writers, lanes, identity, has_fsync }
    }

    fn writer(&self) -> Result<Pooled, StoreError> {
        let writer = self.writers.get()?;
        self.identity.check()?;
        Ok(writer)
    }
}

impl Backend for Postgres {
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        work(&mut *self.writer()?)
    }

    fn derive<T: Send + 'static>(
        &self,
        _: Home,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        self.writer()?.in_txn(work).map(Some)
    }

    fn start(&self, signals: &Signals) -> Result<JoinHandle<()>, StoreError> {
        let (lanes, has_fsync) = (Arc::clone(&self.lanes), Arc::clone(&self.has_fsync));
        listener::spawn(self.url.clone(), signals.clone(), lanes, has_fsync)
    }

    fn has_fsync(&self) -> bool {
        self.has_fsync.load(Ordering::Relaxed)
    }

    fn derived_is_apart(&self) -> bool {
        false
    }

    /// Autovacuum runs so late that a table with constant updates takes several times the space of
    /// its rows.
    fn reclaim(&self, table: &str) -> Result<(), StoreError> {
        let connection = &mut *self.writer()?;
        connection.batch_execute(&format!("SET statement_timeout = {VACUUM_MS}"))?;
        let done = connection.batch_execute(&format!("VACUUM (SKIP_LOCKED, TRUNCATE off) {table}"));
        connection.batch_execute("SET statement_timeout = 0")?;
        Ok(done?)
    }

    /// The server has the events.
    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
