//! Events that have an `event_id`: which of a submission are new, which are repeats, and which are in conflict.
//!
//! The stored event itself is compared, not a fingerprint of it: docs/decisions/023.

use std::collections::HashMap;
use std::mem;

use conn_log_core::{Event, Record, Timestamp};

use super::{Appended, Pending};
use crate::engine::AnyConnection;
use crate::error::StoreError;
use crate::log::heads::Head;
use crate::log::idempotency::{self, Kind};
use crate::log::read::find_in;

/// Records in one read: a few hundred rows make its own cost small.
const RECORDS_AT_ONCE: usize = 500;

/// The events of one log by their `event_id`: those that are stored, and those that the group stores.
pub(super) struct NamedEvents(HashMap<String, Record>);

impl NamedEvents {
    /// The stored events that have an `event_id` of one of these submissions. `since` is where the window begins.
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
        // A key has its record's `created_at`.
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
        // An event that was removed has lost its name, too.
        let gone: Vec<&str> =
            remembered.keys().filter(|key| !known.contains_key(*key)).map(String::as_str).collect();
        idempotency::forget(connection, head.tenant, Kind::Event, &gone)?;
        Ok(NamedEvents(known))
    }

    /// Gives ids to the new events of a submission, and sets the others aside.
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

    /// Leaves nothing of an atomic submission in the log, whose size was `size_before`.
    fn take_back(&mut self, pending: &mut Pending, size_before: i64) {
        for (index, slot) in pending.events.iter_mut().enumerate() {
            match slot {
                Appended::Stored(record) => {
                    if let Some(event_id) = event_id(&record.event) {
                        self.0.remove(event_id);
                    }
                    set_aside(&mut pending.set_aside, index, slot, Appended::NotAttempted);
                }
                // The first one is not stored either, so that it has no id.
                Appended::Conflict(first) => *first = first.filter(|id| *id <= size_before),
                Appended::Duplicate(_) | Appended::NotAttempted => *slot = Appended::NotAttempted,
            }
        }
    }
}

/// What an event comes to whose `event_id` belongs to `first`. Both events are in canonical form: what says the same
/// is the same, member for member.
fn compare(first: &Record, event: &Event) -> Appended {
    if first.event == *event {
        Appended::Duplicate(first.clone())
    } else {
        Appended::Conflict(Some(first.id))
    }
}

/// Puts an event's outcome in its place, and keeps the event for the next attempt.
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
