//! The evaluation of rules behind the log: it takes in events soon after their commit, and writes
//! alerts.
//!
//! Rules are folds in memory (`conn_log_core::alert`). Nothing of them is stored but the alerts, the
//! outbox of their changes, and the watermark, which change in one transaction ([`commit`]): so a
//! crash neither loses nor doubles an alert. After a start the events of the rules' memory are read
//! again ([`recall`]). Late events whose neighbors are no longer in memory have them read again, in
//! bulk and in pieces ([`reading`]). A rule that needs too much of that, or takes too much time,
//! goes on behind the others ([`slowed`], [`costs`]).
//!
//! One process at a time evaluates a log's rules: it holds the row in `alert_heads`. Correctness
//! does not depend on it: a transaction that finds another watermark, revision or holder changes
//! nothing.
//!
//! Architecture invariant: nothing here writes an event or knows HTTP.

mod commit;
mod costs;
mod earlier;
mod evaluation;
mod events_path;
mod log_history;
mod preview;
mod reading;
mod recall;
mod runner;
mod slowed;
mod stand_back;
mod strand;
#[cfg(test)]
mod tests;

pub(crate) use preview::preview;
pub use preview::{Preview, PreviewedAlert};
#[cfg(test)]
pub(crate) use runner::Runner;
pub(crate) use runner::{Alerting, spawn_all};
pub use runner::{AlertingState, RuleState};
#[cfg(test)]
pub(crate) use stand_back::Meter;
