//! The API as its clients see it, in process, on a fresh database for each test.
//!
//! Every test runs on SQLite and on PostgreSQL.

// Makes Clippy treat all of this as tests, helpers too: clippy.toml says what tests may do.
#![cfg(test)]

mod batches;
mod bodies;
mod bound_tokens;
mod cookbook;
mod counting;
mod exporting;
mod home;
mod limits;
mod managing_tokens;
mod presence;
mod problems;
mod reading;
mod registering;
mod retrying;
mod serving;
mod sessions;
mod statistics;
mod streaming;
mod test_app;
mod tokens;
mod watching;
