//! Events with an `event_id`: finds which events of a submission are new, repeats or in conflict.
//!
//! The stored event itself is compared, and not its fingerprint: docs/decisions/023.

use std::collections::HashMap;
use std::mem;

use conn_log_core::{Event, Record, Timestamp};

use super::{Appended, Pending};
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::log::heads::Head;
use crate::log::idempotency::{self, Kind};
use crate::log::read::find_in;

/// Records in one read: with a few hundred rows the cost of the read itself is small.
const RECORDS_AT_ONCE: usize = 500;

/// The events of one log by their `event_id`: stored events, and the new events of the group.
pub(super) struct NamedEvents(HashMap<String, Record>);

impl NamedEvents {
    /// Reads the stored events whose `event_id` occurs in these submissions. `since` is the start
    /// of the window.
    pub(super) fn recall(
        connection: &mut AnyConnection,
        head: &Head,
        submissions: &[&mut Pending],
        since: Timestamp,
    ) -> Result<Self, StoreError> {
        let wanted: Vec<&str> = submissions
            .iter()
            .flat_map(|pending| &pending.events)
            .filter_map(Appended::record)
            .filter_map(|record| event_id(&record.event))
            .collect();
        if wanted.is_empty() {
            return Ok(NamedEvents(HashMap::new()));
        }
        let remembered = idempotency::recall(connection, head.tenant, Kind::Event, &wanted, since)?;
        let times = || remembered.values().map(|row| row.created_at.0);
        // A key has the same `created_at` as its record.
        let created_at = times().min().zip(times().max());
        let ids: Vec<i64> = remembered.values().filter_map(|row| row.record_id).collect();
        let mut known = HashMap::with_capacity(ids.len());
        for some in ids.chunks(RECORDS_AT_ONCE) {
            for record in find_in(connection, head.tenant, some, created_at)? {
                if let Some(event_id) = event_id(&record.event) {
                    known.insert(event_id.to_owned(), record);
                }
            }
        }
        // Removing an event also frees its `event_id`.
        let gone: Vec<&str> =
            remembered.keys().filter(|key| !known.contains_key(*key)).map(String::as_str).collect();
        idempotency::forget(connection, head.tenant, Kind::Event, &gone)?;
        Ok(NamedEvents(known))
    }

    /// Gives ids to the new events of a submission, and sets the other events aside.
    pub(super) fn settle(&mut self, pending: &mut Pending, head: &mut Head, created_at: Timestamp) {
        let size_before = head.size;
        let mut has_conflict = false;
        for (index, slot) in pending.events.iter_mut().enumerate() {
            let Appended::Stored(record) = slot else {
                continue;
            };
            if let Some(first) = event_id(&record.event).and_then(|id| self.0.get(id)) {
                let outcome = compare(first, &record.event);
                has_conflict |= matches!(outcome, Appended::Conflict(_));
                set_aside(&mut pending.set_aside, index, slot, outcome);
                continue;
            }
            head.size += 1;
            record.id = head.size;
            record.created_at = created_at;
            if let Some(event_id) = event_id(&record.event) {
                self.0.insert(event_id.to_owned(), record.clone());
            }
        }
        if pending.atomic && has_conflict {
            self.take_back(pending, size_before);
            head.size = size_before;
        }
    }

    /// Removes the events of an atomic submission again; the log's size was `size_before`.
    fn take_back(&mut self, pending: &mut Pending, size_before: i64) {
        for (index, slot) in pending.events.iter_mut().enumerate() {
            match slot {
                Appended::Stored(record) => {
                    if let Some(event_id) = event_id(&record.event) {
                        self.0.remove(event_id);
                    }
                    set_aside(&mut pending.set_aside, index, slot, Appended::NotAttempted);
                }
                // The first event is not stored either, so it has no id.
                Appended::Conflict(first) => *first = first.filter(|id| *id <= size_before),
                Appended::Duplicate(_) | Appended::NotAttempted => *slot = Appended::NotAttempted,
            }
        }
    }
}

/// The outcome of an event whose `event_id` belongs to `first`. Both events are in canonical form,
/// so that events with the same content are equal member by member.
fn compare(first: &Record, event: &Event) -> Appended {
    if first.event == *event {
        Appended::Duplicate(first.clone())
    } else {
        Appended::Conflict(Some(first.id))
    }
}

/// Records an event's outcome, and keeps the event for the next attempt.
fn set_aside(
    kept: &mut Vec<(usize, Record)>,
    index: usize,
    slot: &mut Appended,
    outcome: Appended,
) {
    if let Appended::Stored(record) = mem::replace(slot, outcome) {
        kept.push((index, record));
    }
}

fn event_id(event: &Event) -> Option<&str> {
    event.fields().event_id.as_deref()
}
