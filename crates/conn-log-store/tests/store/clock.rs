//! Clocks that are set back or ahead: the times that a log gives then.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use conn_log_store::{GroupCommitted, Observer, OpenError, Store, StoreOptions};
use conn_log_test_support::*;

/// Remembers by how much the log's time was ahead of the clock.
#[derive(Default)]
struct Ahead(Mutex<Vec<Duration>>);

impl Observer for Ahead {
    fn group_committed(&self, group: GroupCommitted) {
        self.0.lock().unwrap().push(group.ahead_of_clock);
    }
}

/// The state after events that were stored while the clock was ahead.
fn put_back_clock(db: &TestDatabase, days: i64) {
    db.execute(&match db.backend() {
        Backend::Sqlite => format!(
            "UPDATE heads SET created_at_last = created_at_last + {}",
            days * 86_400_000_000
        ),
        Backend::Postgres => {
            format!(
                "UPDATE heads SET created_at_last = (created_at_last AT TIME ZONE 'UTC'
                     + interval '{days} days') AT TIME ZONE 'UTC'"
            )
        }
    });
}

on_both_databases! {
    async fn a_log_that_is_ahead_of_the_clock_says_by_how_much(db) {
        let ahead = Arc::new(Ahead::default());
        let options = StoreOptions { observer: Some(ahead.clone()), ..db.options() };
        let store = Store::open(options).unwrap();
        append(&store, events("dev_1", 1)).await.unwrap();
        put_back_clock(&db, 2);
        append(&store, events("dev_1", 1)).await.unwrap();
        let seen = ahead.0.lock().unwrap().clone();
        let day = Duration::from_hours(24);
        assert_eq!(seen[0], Duration::ZERO);
        assert!(day < seen[1] && seen[1] <= 2 * day, "{seen:?}");
    }

    async fn a_clock_that_is_days_behind_the_log_is_refused_at_the_start(db) {
        let store = db.open();
        append(&store, events("dev_1", 1)).await.unwrap();
        assert!(store.close());
        put_back_clock(&db, 2);
        let refused = Store::open(db.options()).unwrap_err();
        assert!(matches!(refused, OpenError::Clock { .. }), "{refused}");
        assert!(refused.to_string().contains("set the clock"), "{refused}");
        put_back_clock(&db, -2);
        assert!(db.open().ready().is_ok());
    }
}
