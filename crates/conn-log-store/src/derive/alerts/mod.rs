//! The evaluation of rules behind the log: it takes in events soon after their commit, and writes
//! alerts.
//!
//! Rules are folds in memory (`conn_log_core::alert`). Nothing of them is stored but the alerts, the
//! outbox of their changes, and the watermark, which change in one transaction ([`commit`]): so a
//! crash neither loses nor doubles an alert. After a start the events of the rules' memory are read
//! again ([`recall`]). Late events whose neighbors are no longer in memory have them read again
//! ([`log_history`]).
//!
//! One process at a time evaluates a log's rules: it holds the row in `alert_heads`. Correctness
//! does not depend on it: a transaction that finds another watermark, revision or holder changes
//! nothing.
//!
//! Architecture invariant: nothing here writes an event or knows HTTP.

mod commit;
mod earlier;
mod evaluation;
mod events_path;
mod log_history;
mod preview;
mod recall;
mod runner;

pub(crate) use preview::preview;
pub use preview::{Preview, PreviewedAlert};
pub use runner::AlertingState;
pub(crate) use runner::{Alerting, spawn_all};
