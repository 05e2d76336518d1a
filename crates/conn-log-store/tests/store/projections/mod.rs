//! Compares derived data with a simple computation from the log's rows.

mod exact;
mod local_time;
mod reference;
mod running;
mod scenario;
mod statistics;

use std::time::{Duration, Instant};

use conn_log_store::Store;
use conn_log_test_support::DEFAULT;

/// Waits until the projections have taken in all events, with a `turn` after each check; only a
/// fault makes it wait for the longest time.
fn wait_until_caught_up(store: &Store, longest: Duration, turn: impl Fn()) {
    let until = Instant::now() + longest;
    while store.projections_behind(DEFAULT).unwrap() > 0 {
        assert!(Instant::now() < until, "the projections do not catch up");
        turn();
    }
}

/// Makes the projections take in all events, in steps of this many events.
fn step_until_caught_up(store: &Store, events: usize) {
    wait_until_caught_up(store, Duration::from_mins(1), || {
        store.projections_step(DEFAULT, events).unwrap();
    });
}
