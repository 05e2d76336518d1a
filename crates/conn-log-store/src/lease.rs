//! Who may work on what is derived from a log: one at a time, however many processes there are.

use diesel::prelude::*;

use crate::connection::AnyConnection;
use crate::error::StoreError;
use crate::projections::projections;
use crate::store::Store;
use crate::tenants::TenantId;

/// A right that one at a time has, for each log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lease {
    Index,
    Projections,
}

/// What to do where another has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    No,
    Yes,
}

impl Lease {
    /// The row of `projections` that is locked by whoever has it.
    fn row(self) -> &'static str {
        match self {
            Lease::Index => "index",
            Lease::Projections => "presence",
        }
    }

    /// Takes it until the transaction ends; tells whether it was to be had. On SQLite whoever writes
    /// what is derived has it.
    fn take_in_txn(
        self,
        connection: &mut AnyConnection,
        tenant: TenantId,
        wait: Wait,
    ) -> QueryResult<bool> {
        let AnyConnection::Postgres(postgres) = connection else {
            return Ok(true);
        };
        let row = || projections::table.find((tenant.0, self.row()));
        // An insert would wait for whoever holds the row: only where there is none.
        if !diesel::select(diesel::dsl::exists(row())).get_result::<bool>(postgres)? {
            diesel::insert_into(projections::table)
                .values((
                    projections::tenant_id.eq(tenant.0),
                    projections::name.eq(self.row()),
                    projections::watermark.eq(0),
                ))
                .on_conflict_do_nothing()
                .execute(postgres)?;
        }
        let row = row().select(projections::watermark).for_update();
        let taken: Option<i64> = match wait {
            Wait::No => row.skip_locked().first(postgres).optional()?,
            Wait::Yes => row.first(postgres).optional()?,
        };
        Ok(taken.is_some())
    }
}

impl Store {
    /// Writes what is derived from a log, in one transaction, as [`Store::derive`] does. `None` if someone
    /// else is at it.
    pub(crate) fn derive_alone<T>(
        &self,
        tenant: TenantId,
        lease: Lease,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let done = self.derive(|connection| {
            if lease.take_in_txn(connection, tenant, Wait::No)? {
                work(connection).map(Some)
            } else {
                Ok(None)
            }
        });
        match done {
            // Another process writes to the same SQLite file.
            Err(StoreError::Unavailable(reason)) if reason.contains("database is locked") => {
                Ok(None)
            }
            done => done,
        }
    }

    /// The same, after whoever is at it.
    pub(crate) fn derive_in_turn<T>(
        &self,
        tenant: TenantId,
        lease: Lease,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.derive(|connection| {
            lease.take_in_txn(connection, tenant, Wait::Yes)?;
            work(connection)
        })
    }
}
