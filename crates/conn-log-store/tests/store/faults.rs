//! A database that fails under load: nothing acknowledged is lost, nothing is stored twice.

use std::collections::HashMap;
use std::time::Duration;

use conn_log_core::{Event, EventQuery, Order};
use conn_log_store::AppendError;

use crate::support::*;

on_both_databases! {
    async fn sessions_that_are_ended_under_load_lose_and_double_nothing(db) {
        let store = db.open();
        let tasks: Vec<_> = (0..6)
            .map(|task| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    for n in 0..150 {
                        let device = format!("dev_{task}_{n}");
                        match append(&store, vec![event(&device)]).await {
                            Ok(appended) => acknowledged.push((device, ids(&appended)[0])),
                            Err(error) => {
                                assert_eq!(error, AppendError::Unavailable);
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        for _ in 0..15 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            db.end_sessions();
        }
        let mut acknowledged = Vec::new();
        for task in tasks {
            acknowledged.extend(task.await.unwrap());
        }
        let query = EventQuery { order: Order::IdAscending, limit: 10_000, ..EventQuery::default() };
        let log = store.event_list(DEFAULT, &query).unwrap().records;
        let gap_free: Vec<i64> = (1..).take(log.len()).collect();
        assert_eq!(log.iter().map(|record| record.id).collect::<Vec<_>>(), gap_free);
        let mut by_device: HashMap<&str, i64> = HashMap::new();
        for record in &log {
            let device = record.event.parts().device_id.as_str();
            assert_eq!(by_device.insert(device, record.id), None, "{device} is stored twice");
        }
        for (device, id) in &acknowledged {
            assert_eq!(by_device.get(device.as_str()), Some(id), "{device}");
        }
        assert!(acknowledged.len() > 100);
        assert!(store.ready().is_ok());
    }

    async fn an_event_that_the_database_refuses_fails_alone(db) {
        let store = db.open();
        let mut poison = parts("dev");
        poison.user_agent = Some("nul \0 here".to_owned());
        let (good, bad, fine) = tokio::join!(
            append(&store, events("dev", 1)),
            append(&store, vec![Event::restore(poison)]),
            append(&store, events("dev", 30)),
        );
        assert!(good.is_ok() && fine.is_ok());
        if db.backend == Backend::Postgres {
            assert_eq!(bad, Err(AppendError::Internal));
            assert_eq!(store.log_size(DEFAULT).unwrap(), 31);
        }
        assert!(store.ready().is_ok());
    }

    async fn a_database_that_cannot_write_is_told_as_unavailable_and_comes_back(db) {
        let store = db.open();
        append(&store, events("dev", 1)).await.unwrap();
        let (break_it, mend_it) = match db.backend {
            Backend::Sqlite => ("ALTER TABLE heads RENAME TO gone", "ALTER TABLE gone RENAME TO heads"),
            Backend::Postgres => (
                "ALTER TABLE heads RENAME TO gone",
                "ALTER TABLE gone RENAME TO heads",
            ),
        };
        db.execute(break_it);
        assert_eq!(append(&store, events("dev", 1)).await, Err(AppendError::Internal));
        db.execute(mend_it);
        assert_eq!(ids(&append(&store, events("dev", 1)).await.unwrap()), [2]);
    }
}
