//! A strand: rules that have taken in the same events of a log, and how far they have got.
//!
//! The rules of a log are one strand, and each rule that is slowed is one of its own. Every strand
//! has a position in the table, so that a restart goes on where each of them was.

use std::time::{Duration, Instant};

use conn_log_core::alert::Watch;

use super::commit::VERSION;
use super::recall::ALERTS;
use crate::engine::Position;
use crate::tenant_id::TenantId;

/// The watermark is written at least after so many events without an alert, or this time. After a
/// crash these events are evaluated again, with the same result.
const UNWRITTEN_EVENTS_MAX: i64 = 20_000;
const UNWRITTEN_TIME_MAX: Duration = Duration::from_secs(2);

/// Rules at one watermark.
pub(super) struct Strand {
    pub(super) name: String,
    /// The version of its rule; 0 for several rules.
    setting: i64,
    pub(super) watch: Watch,
    pub(super) watermark: i64,
    /// The watermark in the table; `None` if there is none.
    pub(super) stored: Option<i64>,
    stored_at: Instant,
}

impl Strand {
    /// The strand of all rules that keep up.
    pub(super) fn of_all(watch: Watch, watermark: i64, stored: Option<i64>) -> Self {
        Strand {
            name: ALERTS.to_owned(),
            setting: 0,
            watch,
            watermark,
            stored,
            stored_at: Instant::now(),
        }
    }

    /// The strand of one rule that is slowed.
    pub(super) fn of_rule(
        (rule, version): (i64, i64),
        watch: Watch,
        watermark: i64,
        stored: Option<i64>,
    ) -> Self {
        let name = name_of(rule);
        Strand { name, setting: version, watch, watermark, stored, stored_at: Instant::now() }
    }

    /// Whether the watermark alone is worth a transaction.
    pub(super) fn is_worth_writing(&self) -> bool {
        let unwritten = self.watermark - self.stored.unwrap_or(0);
        let is_time = self.stored_at.elapsed() >= UNWRITTEN_TIME_MAX && unwritten > 0;
        self.stored.is_none() || is_time || unwritten >= UNWRITTEN_EVENTS_MAX
    }

    /// Notes that its watermark is in the table.
    pub(super) fn is_stored(&mut self) {
        self.stored = Some(self.watermark);
        self.stored_at = Instant::now();
    }

    /// Its row in the table of positions.
    pub(super) fn position(&self, tenant: TenantId) -> Position {
        Position {
            tenant: tenant.0,
            name: self.name.clone(),
            version: VERSION,
            setting: self.setting,
            watermark: self.watermark,
            anchor: None,
        }
    }
}

/// The name of the position of a rule that is slowed.
pub(super) fn name_of(rule: i64) -> String {
    format!("{ALERTS}/{rule}")
}

/// Whether that is the name of a position of a rule that is slowed.
pub(super) fn is_of_rule(name: &str) -> bool {
    name.strip_prefix(ALERTS).is_some_and(|rest| rest.starts_with('/'))
}
