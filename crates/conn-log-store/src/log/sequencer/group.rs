//! One attempt to store a group: everything between BEGIN and COMMIT.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use conn_log_core::{LeafInput, Record, Timestamp};

use super::event_ids::NamedEvents;
use super::{Appended, Claim, Decision, Pending};
use crate::clock::SteadyClock;
use crate::engine::{AnyConnection, Micros, PartitionSpan};
use crate::error::StoreError;
use crate::log::heads::{self, Head};
use crate::log::idempotency::{self, Kind, NewKey, Remembered};
use crate::log::key;
use crate::log::read::leaf_hash;
use crate::log::rejects::{self, REJECTS_MAX};
use crate::log::rows;
use crate::log::texts::Packer;
use crate::options::PartitionSize;
use crate::tenant_id::TenantId;

/// Settings of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) idempotency_window: chrono::TimeDelta,
    pub(super) event_id_window: chrono::TimeDelta,
    pub(super) partition: PartitionSize,
}

/// The result of an attempt; only valid if the attempt is committed.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) stored: usize,
    pub(super) duplicates: usize,
    pub(super) rejects_kept: usize,
    /// Rejects removed because there were too many.
    pub(super) rejects_evicted: usize,
    /// The tenants whose logs have new events.
    pub(super) tenants: Vec<TenantId>,
    /// Tells later whether the attempt was committed.
    pub(super) trace: Option<Trace>,
    /// The time by which the log is ahead of the clock, because the clock was set back.
    pub(super) ahead: Duration,
    /// Partitions that exist, or that exist once the attempt is committed. Empty if the database
    /// has none.
    pub(super) partitions: Vec<PartitionSpan>,
    /// The texts that the log has once the attempt is committed.
    pub(super) packer: Packer,
}

/// An event of an attempt whose COMMIT was not answered. If the log holds it under that id with
/// that leaf hash, the attempt was committed: the hash covers id, time of storing and content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    tenant: TenantId,
    id: i64,
    created_at: Timestamp,
    leaf_hash: [u8; 32],
}

/// Stores a group within an open transaction, and writes the outcome into each submission.
pub(super) fn store_in_txn(
    connection: &mut AnyConnection,
    group: &mut [Pending],
    settings: &Settings,
    clock: &mut SteadyClock,
    partitions: &[PartitionSpan],
    packer: Packer,
) -> Result<Attempt, StoreError> {
    let mut attempt = Attempt { partitions: partitions.to_vec(), packer, ..Attempt::default() };
    let mut by_tenant: BTreeMap<TenantId, Vec<&mut Pending>> = BTreeMap::new();
    for pending in group {
        pending.reset();
        by_tenant.entry(pending.tenant).or_default().push(pending);
    }
    // Locks all heads first, in ascending order, so that no two processes can deadlock.
    let mut tenants = Vec::with_capacity(by_tenant.len());
    for (tenant, submissions) in by_tenant {
        let head = match events_known(&submissions) {
            Some(events) => heads::advance_in_txn(connection, tenant, events, clock.now())?,
            None => heads::lock_in_txn(connection, tenant)?,
        };
        tenants.push((head, submissions));
    }
    for (head, submissions) in tenants {
        Log { connection, settings, head }.append(submissions, clock, &mut attempt)?;
    }
    if !attempt.tenants.is_empty() {
        connection.announce_in_txn(&attempt.tenants)?;
    }
    Ok(attempt)
}

/// The number of events that these submissions are known to store, whatever the log has: none has a
/// key or an `event_id`, by which it could be a repeat. `None` if it is not known, or is 0.
fn events_known(submissions: &[&mut Pending]) -> Option<i64> {
    let mut events = 0;
    for pending in submissions {
        if pending.claim.is_some() {
            return None;
        }
        for event in &pending.events {
            if event.record().is_none_or(|record| record.event.fields().event_id.is_some()) {
                return None;
            }
            events += 1;
        }
    }
    Some(events).filter(|events| *events > 0)
}

/// Whether the attempt with this trace was committed. Waits until the attempt has ended.
pub(super) fn was_committed(
    connection: &mut AnyConnection,
    trace: &Trace,
) -> Result<bool, StoreError> {
    connection.in_txn(|connection| {
        // A session that is still committing holds this lock.
        heads::lock_in_txn(connection, trace.tenant)?;
        let found = leaf_hash(connection, trace.tenant, trace.id, Some(trace.created_at))?;
        Ok(found.is_some_and(|hash| hash == trace.leaf_hash))
    })
}

/// One tenant's log, with its head row locked.
struct Log<'a> {
    connection: &'a mut AnyConnection,
    settings: &'a Settings,
    head: Head,
}

impl Log<'_> {
    fn append(
        mut self,
        mut submissions: Vec<&mut Pending>,
        clock: &mut SteadyClock,
        attempt: &mut Attempt,
    ) -> Result<(), StoreError> {
        // Time never goes back within a log, even between processes with different clocks.
        let now = clock.now();
        let created_at = match self.head.moved_to {
            Some(_) => self.head.created_at_last.0,
            None => now.max(self.head.created_at_last.0),
        };
        let ahead_micros = u64::try_from(created_at.micros() - now.micros()).unwrap_or(0);
        attempt.ahead = attempt.ahead.max(Duration::from_micros(ahead_micros));
        let size_before = self.head.size;
        self.settle_claims(&mut submissions, created_at)?;
        submissions.retain(|pending| matches!(pending.decision, Decision::Undecided));
        self.settle_events(&mut submissions, created_at)?;
        settle_answers(&mut submissions);
        self.remember(&submissions, created_at)?;
        self.keep_rejects(&submissions, created_at, attempt)?;

        attempt.duplicates += submissions.iter().map(|pending| pending.duplicates()).sum::<usize>();
        if self.head.size == size_before {
            return Ok(());
        }
        if self.head.size >= key::ID_END {
            return Err(StoreError::Full("event"));
        }
        attempt.stored += usize::try_from(self.head.size - size_before).unwrap_or(0);
        self.ensure_partition(created_at, attempt)?;
        self.insert(&submissions, (size_before, created_at), attempt)?;
        match self.head.moved_to {
            Some(size) if size == self.head.size => Ok(()),
            Some(_) => Err(StoreError::internal("the head row was moved to another size")),
            None => {
                self.head.created_at_last = Micros(created_at);
                Ok(heads::move_in_txn(self.connection, &self.head)?)
            }
        }
    }

    /// Settles the submissions whose idempotency key is already used: in the log, or earlier in
    /// this group. In a group the first submission with the key settles the others once its answer
    /// is known.
    fn settle_claims(
        &mut self,
        submissions: &mut [&mut Pending],
        created_at: Timestamp,
    ) -> Result<(), StoreError> {
        let wanted: Vec<&str> =
            submissions.iter().filter_map(|p| p.claim.as_ref()).map(|c| c.key.as_str()).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let since = created_at.plus(-self.settings.idempotency_window);
        let remembered =
            idempotency::recall(self.connection, self.head.tenant, Kind::Request, &wanted, since)?;
        for pending in submissions {
            let Some(claim) = &pending.claim else {
                continue;
            };
            if let Some(row) = remembered.get(&claim.key) {
                pending.decision = repeat_of(claim, row);
            }
        }
        Ok(())
    }

    /// Gives ids to new events, and finds the events whose `event_id` is already in the log.
    fn settle_events(
        &mut self,
        submissions: &mut [&mut Pending],
        created_at: Timestamp,
    ) -> Result<(), StoreError> {
        let since = created_at.plus(-self.settings.event_id_window);
        let mut named = NamedEvents::recall(self.connection, &self.head, submissions, since)?;
        let mut claimed: HashMap<String, [u8; 32]> = HashMap::new();
        for pending in submissions {
            if let Some(claim) = &pending.claim {
                match claimed.get(&claim.key) {
                    // `settle_answers` settles it by the answer of the first submission.
                    Some(first) if *first == claim.fingerprint => continue,
                    Some(_) => {
                        pending.decision = Decision::KeyReused;
                        continue;
                    }
                    None => claimed.insert(claim.key.clone(), claim.fingerprint),
                };
            }
            pending.decision = Decision::Append { answer: None };
            named.settle(pending, &mut self.head, created_at);
        }
        Ok(())
    }

    /// Stores the keys of the events and requests that are stored now.
    fn remember(
        &mut self,
        submissions: &[&mut Pending],
        created_at: Timestamp,
    ) -> Result<(), StoreError> {
        let tenant_id = self.head.tenant.0;
        let created_at = Micros(created_at);
        let mut keys = Vec::new();
        for pending in submissions {
            let Decision::Append { answer } = &pending.decision else {
                continue;
            };
            if let (Some(claim), Some(answer)) = (&pending.claim, answer) {
                keys.push(NewKey {
                    tenant_id,
                    kind: Kind::Request as i16,
                    key: &claim.key,
                    fingerprint: Some(&claim.fingerprint),
                    record_id: None,
                    answer: Some(answer),
                    created_at,
                });
            }
            for (record, _) in stored(pending) {
                if let Some(event_id) = &record.event.fields().event_id {
                    keys.push(NewKey {
                        tenant_id,
                        kind: Kind::Event as i16,
                        key: event_id,
                        fingerprint: None,
                        record_id: Some(record.id),
                        answer: None,
                        created_at,
                    });
                }
            }
        }
        Ok(idempotency::remember(self.connection, keys)?)
    }

    /// Keeps the rejects of the requests that are answered anew.
    fn keep_rejects(
        &mut self,
        submissions: &[&mut Pending],
        created_at: Timestamp,
        attempt: &mut Attempt,
    ) -> Result<(), StoreError> {
        let rejects: Vec<_> = submissions
            .iter()
            .filter(|pending| matches!(pending.decision, Decision::Append { .. }))
            .filter_map(|pending| Some((pending.rejects.as_ref()?.make)(&pending.events)))
            .flatten()
            .collect();
        if rejects.is_empty() {
            return Ok(());
        }
        attempt.rejects_kept += rejects.len();
        let tenant = self.head.tenant;
        attempt.rejects_evicted +=
            rejects::keep_in_txn(self.connection, tenant, rejects, created_at, REJECTS_MAX)?;
        Ok(())
    }

    fn insert(
        &mut self,
        submissions: &[&mut Pending],
        (size_before, created_at): (i64, Timestamp),
        attempt: &mut Attempt,
    ) -> Result<(), StoreError> {
        let tenant = self.head.tenant;
        // New events of a log have the same.
        let at = created_at.text();
        let (records, hashes): (Vec<&Record>, Vec<[u8; 32]>) = submissions
            .iter()
            .flat_map(|pending| stored(pending))
            .map(|(record, leaf)| (record, leaf.hash(record.id, &at)))
            .unzip();
        if let (Some(record), Some(leaf_hash)) = (records.first(), hashes.first()) {
            let Record { id, created_at, .. } = **record;
            attempt.tenants.push(tenant);
            attempt.trace = Some(Trace { tenant, id, created_at, leaf_hash: *leaf_hash });
        }
        let before = Head { size: size_before, ..self.head };
        let after = (self.head.size, Micros(created_at));
        let records = records.into_iter().zip(&hashes);
        let Attempt { packer, .. } = attempt;
        Ok(rows::insert_in_txn(self.connection, packer, &before, after, records)?)
    }

    fn ensure_partition(
        &mut self,
        time: Timestamp,
        attempt: &mut Attempt,
    ) -> Result<(), StoreError> {
        if !attempt.partitions.iter().any(|span| span.contains(time)) {
            let made = self.connection.ensure_partition_in_txn(time, self.settings.partition)?;
            attempt.partitions.extend(made);
        }
        Ok(())
    }
}

/// The new events of a submission, and the input of their leaf hashes.
fn stored(pending: &Pending) -> impl Iterator<Item = (&Record, &LeafInput)> {
    let is_appended = matches!(pending.decision, Decision::Append { .. });
    pending.events.iter().zip(&pending.leaves).filter_map(move |(event, leaf)| match event {
        Appended::Stored(record) if is_appended => Some((record, leaf)),
        _ => None,
    })
}

/// Makes the answers of claims, and copies them to later claims with the same key in the group.
fn settle_answers(submissions: &mut [&mut Pending]) {
    let mut answers: HashMap<String, Vec<u8>> = HashMap::new();
    for pending in submissions {
        let Some(claim) = &pending.claim else {
            continue;
        };
        match &mut pending.decision {
            Decision::Append { answer } => {
                let bytes = (claim.answer)(&pending.events);
                answers.insert(claim.key.clone(), bytes.clone());
                *answer = Some(bytes);
            }
            decision @ Decision::Undecided => {
                if let Some(bytes) = answers.get(&claim.key) {
                    *decision = Decision::Replay(bytes.clone());
                }
            }
            Decision::Replay(_) | Decision::KeyReused => {}
        }
    }
}

fn repeat_of(claim: &Claim, row: &Remembered) -> Decision {
    match (&row.fingerprint, &row.answer) {
        (Some(fingerprint), Some(answer)) if fingerprint[..] == claim.fingerprint => {
            Decision::Replay(answer.clone())
        }
        _ => Decision::KeyReused,
    }
}
