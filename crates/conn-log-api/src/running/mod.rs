//! For the programs that run the server: health and meters.

pub(crate) mod health;
pub(crate) mod metrics;
