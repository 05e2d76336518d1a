//! Combinations of values that were never seen before, or not for long: they are looked up in the
//! log, unless they are known to have been seen.

use std::borrow::Cow;

use foldhash::{HashMap, HashMapExt as _};

use super::history::{History, HistoryQuery, narrowed};
use super::output::{GroupKey, Output};
use super::rule::{Field, Kind, SECOND};
use super::view::{EventView, text_number};
use super::watcher::WatchedRule;
use crate::{Record, Timestamp};

/// Combinations that are remembered as seen. Others are looked up in the log.
const SEEN_MAX: usize = 100_000;

/// Records that are looked through for a user agent, which the log cannot be asked for.
const LOOKED_THROUGH_MAX: usize = 1_000;

/// Combinations that were seen, with the latest time.
#[derive(Debug)]
pub(super) struct Seen(HashMap<u64, i64>);

impl Default for Seen {
    fn default() -> Self {
        Seen(HashMap::new())
    }
}

impl Seen {
    /// Whether an event is not left out: of rules of other kinds none is, and of these an event whose
    /// combination was seen before.
    pub(super) fn is_new<H: History>(
        &mut self,
        watched: &WatchedRule,
        view: &EventView<'_>,
        group: &GroupKey,
        history: &mut H,
        output: &Output,
    ) -> Result<bool, H::Error> {
        let rule = &watched.rule;
        let Kind::FirstSeen { of, learning_seconds, forget_after_days } = &rule.kind else {
            return Ok(true);
        };
        let others: Option<Vec<Cow<'_, str>>> = of.iter().map(|field| view.value(field)).collect();
        let Some(others) = others else { return Ok(false) };
        let time = view.time(rule.clock).micros();
        let values =
            group.values.iter().map(String::as_str).chain(others.iter().map(AsRef::as_ref));
        let values: Vec<&str> = values.collect();
        let number = text_number(&values.join("\0"));
        let since = time.saturating_sub(i64::from(*forget_after_days) * 86_400 * SECOND);
        let is_learning =
            view.created_at().micros() < watched.since + i64::from(*learning_seconds) * SECOND;
        let is_known = self.0.get(&number).is_some_and(|latest| *latest >= since);
        let is_new = !is_known && !is_learning && !output.is_muted && {
            let fields: Vec<&Field> = rule.group_by.iter().chain(of).collect();
            let mut filter = narrowed(rule, fields.iter().copied().zip(values));
            filter.since = Some(Timestamp::from_micros(since));
            let has_agent = fields.contains(&&Field::UserAgent);
            let limit = if has_agent { LOOKED_THROUGH_MAX } else { 1 };
            let query = HistoryQuery { filter, after_id: 0, before_id: view.id(), limit };
            let is_same = |record: &Record| {
                let other = EventView::new(record);
                fields.iter().all(|field| other.value(field) == view.value(field))
            };
            !history.records(&query)?.iter().any(is_same)
        };
        if self.0.len() >= SEEN_MAX {
            // What is forgotten here is looked up in the log.
            self.0.clear();
        }
        let latest = self.0.entry(number).or_insert(time);
        *latest = time.max(*latest);
        Ok(is_new)
    }
}
