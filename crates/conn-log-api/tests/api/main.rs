//! The API as its clients see it, in process, on a fresh database for each test.
//!
//! Every test runs on SQLite and on PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::needless_pass_by_value,
    reason = "a test that fails says so by panicking"
)]

mod batches;
mod bodies;
mod cookbook;
mod counting;
mod exporting;
mod home;
mod limits;
mod presence;
mod problems;
mod reading;
mod registering;
mod retrying;
mod serving;
mod statistics;
mod streaming;
#[path = "../../../conn-log-store/tests/store/support.rs"]
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "shared with the store's tests, which use all of it"
)]
mod support;
mod test_app;
mod tokens;
