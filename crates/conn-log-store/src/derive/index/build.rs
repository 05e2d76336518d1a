//! Builds the blocks of a run from events.

use conn_log_core::Timestamp;

use super::block::{Block, BlockWriter};
use super::tables::NewRun;
use super::terms;
use crate::derive::keys::KeyRow;
use crate::engine::{Ip, Micros};
use crate::log::span::Span;
use crate::tenant_id::TenantId;

/// The bounds of a run whose events are all removed: they leave the bounds of other runs unchanged.
const NONE_MIN: Micros = Micros(Timestamp::MAX);
const NONE_MAX: Micros = Micros(Timestamp::MIN);

/// Unsorted postings: all keys in one piece of memory.
#[derive(Default)]
struct Postings {
    keys: Vec<u8>,
    /// The start and end of each key, and the event's id.
    spans: Vec<(usize, usize, i64)>,
}

impl Postings {
    fn add(&mut self, id: i64, write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.keys.len();
        write(&mut self.keys);
        self.spans.push((from, self.keys.len(), id));
    }

    fn write_to(mut self, writer: &mut BlockWriter) {
        let keys = &self.keys;
        // The sort is stable: ids of a key stay in order.
        self.spans.sort_by(|a, b| keys[a.0..a.1].cmp(&keys[b.0..b.1]));
        for &(from, to, id) in &self.spans {
            writer.push(&keys[from..to], id);
        }
    }
}

/// Builds a run from the events of a span.
pub(super) fn build(
    tenant: TenantId,
    level: i16,
    span: Span,
    rows: &[KeyRow],
) -> (NewRun, Vec<Block>) {
    let times = || rows.iter().map(|row| row.timestamp);
    let new = NewRun {
        tenant_id: tenant.0,
        level,
        first_id: span.first,
        last_id: span.last,
        // `created_at` never goes back within a log.
        created_at_min: rows.first().map_or(NONE_MIN, |row| row.created_at),
        created_at_max: rows.last().map_or(NONE_MAX, |row| row.created_at),
        timestamp_min: times().min().unwrap_or(NONE_MIN),
        timestamp_max: times().max().unwrap_or(NONE_MAX),
    };
    // One sort for each kind: the sorts are smaller, and the entries by time are nearly sorted
    // already.
    let mut kinds: [Postings; 6] = Default::default();
    let [devices, sessions, applications, addresses, times, periods] = &mut kinds;
    for row in rows {
        devices.add(row.id, |key| terms::device(key, &row.device_id));
        if let Some(session) = &row.session_id {
            sessions.add(row.id, |key| terms::session(key, session));
        }
        applications.add(row.id, |key| {
            terms::application(key, &row.application_id, Some(&row.status));
        });
        if let Some(Ip(address)) = row.ip_address {
            addresses.add(row.id, |key| terms::address(key, address));
        }
        times.add(row.id, |key| terms::time(key, row.timestamp.0));
        periods.add(row.id, |key| terms::period(key, row.timestamp.0));
    }
    let mut writer = BlockWriter::new(span.first);
    // In the order of the kinds' numbers, which are the first bytes of the keys.
    for postings in kinds {
        postings.write_to(&mut writer);
    }
    (new, writer.finish())
}
