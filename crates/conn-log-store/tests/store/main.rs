//! The store's behaviour, each test on both databases.
//!
//! PostgreSQL is found by `CONN_LOG_TEST_POSTGRES_URL`, the URL of a superuser on a cluster that is
//! for tests only; `scripts/test` starts one. Each test makes its own database there.

mod append;
mod faults;
mod idempotency;
mod list;
mod open;
mod projections;
mod support;
mod tokens;
