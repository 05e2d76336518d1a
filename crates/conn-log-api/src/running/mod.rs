//! Health and metrics, for the programs that operate the server.

pub(crate) mod health;
pub(crate) mod metrics;
