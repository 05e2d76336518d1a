//! Questions about all tenants, which a distributed database is asked one node at a time.
//!
//! A statement over all tenants of a distributed database asks every node: it fails while one of
//! them is away, and waits for one that hangs. Asked for the tenants of one lane, only this lane's
//! question fails.

use std::collections::BTreeSet;
use std::time::Duration;

use diesel::connection::SimpleConnection;

use super::backend::Engine;
use super::connection::AnyConnection;
use crate::error::StoreError;
use crate::tenant_id::TenantId;

/// Longest statement of a question to one node. Each takes milliseconds; a node that hangs is left
/// out.
const ASK_TIME_MAX: Duration = Duration::from_secs(5);

/// The tenants that a question is about: all of them if `None`, and otherwise those of one lane.
pub(crate) type Tenants<'a> = Option<&'a BTreeSet<TenantId>>;

/// The numbers of tenants, for a query.
pub(crate) fn numbers(tenants: &BTreeSet<TenantId>) -> Vec<i32> {
    tenants.iter().map(|tenant| tenant.0).collect()
}

impl Engine {
    /// Asks about the tenants of a lane, within its share of connections. The answer is empty if no
    /// tenant of the lane is known.
    pub(crate) fn in_lane<T: Default>(
        &self,
        lane: usize,
        ask: impl FnOnce(&mut AnyConnection, Tenants<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if !self.lanes().is_distributed() {
            return ask(&mut *self.watcher()?, None);
        }
        let tenants = self.lanes().tenants_of(lane);
        if tenants.is_empty() {
            return Ok(T::default());
        }
        let reader = &mut *self.reader_in(lane)?;
        let millis = ASK_TIME_MAX.as_millis();
        reader
            .batch_execute(&format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {millis}"))?;
        let answer = ask(reader, Some(&tenants));
        // There is nothing to commit. If it fails the connection is broken, and its pool finds that out.
        reader.batch_execute("ROLLBACK").ok();
        answer
    }

    /// Does something for each lane. A lane whose node is away is left out, and the log says so.
    ///
    /// # Errors
    /// The last lane's if it works for none.
    pub(crate) fn each_lane(
        &self,
        mut work: impl FnMut(usize) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (mut any, mut failed) = (false, None);
        for lane in 0..self.lanes().count() {
            match work(lane) {
                Ok(()) => any = true,
                Err(error) => {
                    if self.lanes().count() > 1 {
                        log::warn!("the tenants of a node are left out: {error}");
                    }
                    failed = Some(error);
                }
            }
        }
        failed.filter(|_| !any).map_or(Ok(()), Err)
    }
}
