//! Tests of the store's behaviour, each on both databases.
//!
//! Databases come from `conn_log_test_support`, a fresh one for each test.

// With this, Clippy treats all of this as tests, helpers too: clippy.toml says what tests may do.
#![cfg(test)]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::needless_pass_by_value,
    clippy::filter_map_next,
    reason = "the numbers of tests are small, and a plain recomputation is written plainly"
)]

mod alerting;
mod append;
mod beginning;
mod clock;
mod deliveries;
mod derived;
mod faults;
mod files;
mod guard;
mod idempotency;
mod index;
mod late_events;
mod list;
mod lost;
mod open;
mod placement;
mod projections;
mod proxy;
mod reading_again;
mod rejects;
mod repeated;
mod replaced;
mod tokens;
