//! The API as its clients see it, in process, on a fresh database for each test.
//!
//! Every test runs on SQLite and on PostgreSQL.

mod batches;
mod bodies;
mod problems;
mod reading;
mod registering;
mod retrying;
mod serving;
mod test_app;
mod tokens;
