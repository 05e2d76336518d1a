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
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::needless_pass_by_value,
    clippy::filter_map_next,
    reason = "the numbers of tests are small, and a plain recomputation is written plainly"
)]

mod append;
mod beginning;
#[allow(dead_code, reason = "shared with the program's tests, which use the rest of it")]
mod cluster;
mod derived;
mod faults;
mod idempotency;
mod index;
mod list;
mod open;
mod projections;
mod proxy;
mod support;
mod tokens;
