//! The API as its clients see it, in process, on a fresh database for each test.
//!
//! Every test runs on SQLite and on PostgreSQL.

// Makes Clippy treat all of this as tests, helpers too: clippy.toml says what tests may do.
#![cfg(test)]

mod bad_receivers;
mod batches;
mod bodies;
mod bound_tokens;
mod cookbook;
mod cors;
mod counting;
mod creating_once;
mod delivering;
mod document;
mod document_limits;
mod exporting;
mod formats;
mod home;
mod limits;
mod managing_tokens;
mod patching;
mod presence;
mod problems;
mod reading;
mod receiver;
mod registering;
mod rejects;
mod retrying;
mod rule_bodies;
mod serving;
mod sessions;
mod silences;
mod statistics;
mod streaming;
mod test_app;
mod tokens;
mod watching;
mod webhooks;
