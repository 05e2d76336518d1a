//! What an evaluation tells: alerts that are new, or have changed.

use std::sync::Arc;

use super::episode::Episode;

/// A group: the values of the rule's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKey {
    /// A JSON object with a member for each field.
    pub json: String,
    /// A number made of it.
    pub hash: i64,
    /// The values, in the order of the rule's fields.
    pub values: Vec<String>,
}

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Opened,
    /// It has more events. `is_told` if that is worth a message.
    Extended {
        /// Whether subscribers are told.
        is_told: bool,
    },
    /// A late event joined it with that earlier alert.
    MergedInto(i64),
    /// That event contradicts it.
    Withdrawn {
        /// The event's id.
        by: i64,
    },
    /// What it is about has ended.
    Ended,
}

/// A change of one alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The number of the rule, as [`super::Watch`] was given it.
    pub rule: i64,
    /// Its group.
    pub group: Arc<GroupKey>,
    /// What happened.
    pub what: What,
    /// The episode as it is then.
    pub episode: Episode,
    /// The log's clock, in microseconds.
    pub at: i64,
}

/// The changes of an evaluation, in order.
#[derive(Debug, Default)]
pub struct Output {
    /// The number of the last alert.
    pub last_alert: i64,
    /// All changes.
    pub changes: Vec<Change>,
    /// Whether nothing is to be told, because it was told before.
    pub(super) is_muted: bool,
}

impl Output {
    /// Goes on after that number.
    pub fn after(last_alert: i64) -> Self {
        Output { last_alert, ..Output::default() }
    }

    /// The number of a new alert; 0 while nothing is told.
    pub(super) fn next_alert(&mut self) -> i64 {
        if self.is_muted {
            return 0;
        }
        self.last_alert += 1;
        self.last_alert
    }
}
