//! Alerts: the outbox of their changes, from which notifications are made.

pub(crate) mod changes;

pub use changes::{AlertChange, ChangeKind, NewAlertChange};
