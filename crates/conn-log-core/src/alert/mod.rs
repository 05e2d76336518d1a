//! Rules, and the alerts that they raise: pure folds over the events of a log.
//!
//! A [`Rule`] says what to look for. A [`Watch`] takes in the events of a log in the order of their
//! ids and tells [`Change`]s: alerts that are new, have grown, were joined, withdrawn or have
//! ended. An alert is an [`Episode`]: hits of one group whose times lie within the cooldown.
//!
//! **Invariants**
//! - *Replay-exact*, all kinds: the changes are a function of the events in the order of their ids,
//!   and do not depend on how they were cut into batches.
//! - *Set-exact*, `match`, `failure_burst`, `distinct_count`, `sequence`, `flapping` and
//!   `impossible_travel`: once all events have arrived, the episodes are a function of the set of
//!   events. `silence` and `long_session` are, too, once late events have withdrawn what they
//!   contradict.
//! - What goes on is judged a moment after the registration of the event that made it what it is, and
//!   not before the next event of an import.
//!
//! A preview hands over events in the order of their time, each with its time as `created_at`.
//!
//! Nothing here knows a database or reads a clock.

mod beaconing;
mod candidates;
mod context;
mod counting;
mod episode;
mod explain;
mod finder;
mod first_seen;
mod group;
mod groups;
mod history;
mod hits;
mod hours;
mod late;
mod members;
mod observation;
mod output;
mod overflow;
mod rule;
mod rule_json;
mod sequence;
mod sessions;
mod silence;
mod starter;
mod subjects;
mod travel;
mod view;
mod volume;
mod watch;
mod watcher;
mod window;
#[cfg(test)]
mod window_tests;

pub use episode::{Episode, Mark};
pub use explain::explain;
pub use history::{History, HistoryQuery, NoHistory};
pub use hours::LocalHours;
pub use late::{Findings, Want};
pub use members::RuleFault;
pub use output::{Change, GroupKey, Output, What};
pub use overflow::OVERFLOW_GROUP;
pub use rule::{Clock, Field, KINDS, Kind, Rule, Severity};
pub use starter::starter_rules;
pub use view::EventView;
pub use watch::{RuleHealth, Watch};
pub use watcher::WatchedRule;
