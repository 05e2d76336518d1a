//! Rules, and the alerts that they raised: their rows, and the outbox of their changes.
//!
//! The evaluation of rules is in `derive::alerts`.

pub(crate) mod alert;
pub(crate) mod changes;
pub(crate) mod heads;
pub(crate) mod rules;
pub(crate) mod table;

pub use alert::{Alert, AlertQuery, AlertState, WEBHOOK_DISABLED};
pub use changes::{AlertChange, ChangeKind, NewAlertChange};
pub use rules::StoredRule;
