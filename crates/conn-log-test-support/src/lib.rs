//! Code shared by the tests of several crates.
//!
//! - [`TestDatabase`]: a fresh database for each test, on SQLite or on PostgreSQL.
//! - [`Cluster`]: a PostgreSQL that a test may crash, stop and start.
//! - [`on_both_databases!`]: a test that runs on each of the two.
//! - [`guard`]: the rules of distributed PostgreSQL, which the statements of all tests must keep.
//! - events to register, and helpers for common operations on a store.
//!
//! `database`, `cluster` and `server` must not name a type of conn-log-store: its unit tests use
//! them, and a unit test sees another build of that crate than this one does. Such a test takes a
//! database's URL as text. Only `log` and `opening` use the store, and `guard` its list of tables.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says why"
)]

mod both;
mod cluster;
mod database;
mod events;
pub mod guard;
mod log;
mod opening;
mod recorder;
mod server;

pub use cluster::Cluster;
pub use database::{Backend, Backup, TestDatabase};
pub use events::{event, events, parts};
pub use log::{DEFAULT, append, append_to, claim, ids, whole_log};
pub use recorder::{Recorder, Statement};
