//! The log: one tenant's records in order, and the only code that adds events to it.
//!
//! [`sequencer`] appends. [`heads`] holds the first and last id of each log, [`key`] finds an
//! event's row in each database, [`scan`] reads rows by a filter, [`read`] by id. [`rejects`] keeps
//! events that were refused. On SQLite [`texts`] holds once what rows repeat.
//!
//! Architecture invariant: nothing here knows an index, a projection or a token.

pub(crate) mod filter;
pub(crate) mod heads;
pub(crate) mod idempotency;
pub(crate) mod key;
pub(crate) mod read;
pub(crate) mod rejects;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod schema;
pub(crate) mod sequencer;
pub(crate) mod span;
pub(crate) mod texts;
