//! What is derived from the log, held against a plain recomputation from its rows.

mod exact;
mod local_time;
mod reference;
mod running;
mod scenario;
mod statistics;

use std::time::{Duration, Instant};

use conn_log_store::Store;
use conn_log_test_support::DEFAULT;

/// Waits until the projections have taken in everything, with a `turn` in between; only broken ones let it
/// take as long.
fn wait_until_caught_up(store: &Store, longest: Duration, turn: impl Fn()) {
    let until = Instant::now() + longest;
    while store.projections_behind(DEFAULT).unwrap() > 0 {
        assert!(Instant::now() < until, "the projections do not catch up");
        turn();
    }
}

/// Has them take in everything, in runs of so many events.
fn step_until_caught_up(store: &Store, events: usize) {
    wait_until_caught_up(store, Duration::from_mins(1), || {
        store.projections_step(DEFAULT, events).unwrap();
    });
}
