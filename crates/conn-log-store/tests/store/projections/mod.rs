//! What is derived from the log, held against a plain recomputation from its rows.

mod exact;
mod reference;
mod running;
mod scenario;
mod statistics;
