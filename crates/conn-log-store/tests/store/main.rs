//! The store's behaviour, each test on both databases.
//!
//! PostgreSQL is found by `CONN_LOG_TEST_POSTGRES_URL`, the URL of a superuser on a cluster that is
//! for tests only; `scripts/test` starts one. Each test makes its own database there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that fails says so"
)]

mod append;
#[allow(dead_code, reason = "shared with the program's tests, which use the rest of it")]
mod cluster;
mod faults;
mod idempotency;
mod index;
mod list;
mod open;
mod projections;
mod proxy;
mod support;
mod tokens;
