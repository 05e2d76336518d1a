//! Retries: request keys and event ids.

use std::time::Duration;

use conn_log_core::Event;
use conn_log_store::{AppendError, Appended, Claim, Outcome, Store, Submission};
use conn_log_test_support::*;
use diesel::prelude::*;

fn named(event_id: &str) -> Event {
    let mut parts = parts("dev");
    parts.event_id = Some(event_id.to_owned());
    Event::from_store(parts)
}

/// A different event with the same `event_id`.
fn other(event_id: &str) -> Event {
    let mut parts = parts("other");
    parts.event_id = Some(event_id.to_owned());
    Event::from_store(parts)
}

/// A claim whose answer holds the outcomes of the events.
fn outcomes_claim(key: &str) -> Claim {
    Claim { answer: Box::new(|appended| format!("{appended:?}").into_bytes()), ..claim(key, 1) }
}

fn submission(events: Vec<Event>, claim: Claim) -> Submission {
    Submission { tenant: DEFAULT, events, atomic: false, claim: Some(claim), rejects: None }
}

fn is_duplicate(appended: &Appended) -> bool {
    matches!(appended, Appended::Duplicate(_))
}

on_both_databases! {
    async fn an_event_id_of_a_dropped_event_can_be_used_again(db) {
        let store = db.open();
        append(&store, vec![named("e-1")]).await.unwrap();
        // As if a partition was dropped.
        db.execute("DELETE FROM events");
        let again = append(&store, vec![other("e-1"), other("e-1")]).await.unwrap();
        assert!(matches!(&again[..], [Appended::Stored(_), Appended::Duplicate(_)]), "{again:?}");
        assert_eq!(ids(&again), [2, 2]);
        let first = append(&store, vec![named("e-1")]).await.unwrap();
        assert_eq!(first, [Appended::Conflict(Some(2))]);
    }

    async fn a_key_that_races_16_ways_stores_once_and_answers_the_same(db) {
        let first = db.open();
        let second = if db.backend() == Backend::Postgres { db.open() } else { first.clone() };
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let store = if n % 2 == 0 { first.clone() } else { second.clone() };
                tokio::spawn(async move {
                    store.append(submission(events("dev", 3), claim("key", 1))).await.unwrap()
                })
            })
            .collect();
        let mut stored = 0;
        for task in tasks {
            match task.await.unwrap() {
                Outcome::Appended(appended) => {
                    stored += 1;
                    assert_eq!(ids(&appended), [1, 2, 3]);
                }
                Outcome::Replayed(answer) => assert_eq!(answer, b"[1, 2, 3]"),
                Outcome::KeyReused => panic!("it is the same request"),
            }
        }
        assert_eq!(stored, 1);
        assert_eq!(first.log_size(DEFAULT).unwrap(), 3);
    }

    async fn a_key_outlives_the_process(db) {
        let store = db.open();
        store.append(submission(events("dev", 1), claim("key", 1))).await.unwrap();
        store.close();
        let store = db.open();
        let again = store.append(submission(events("dev", 1), claim("key", 1))).await.unwrap();
        assert_eq!(again, Outcome::Replayed(b"[1]".to_vec()));
    }

    async fn a_key_with_another_request_is_refused(db) {
        let store = db.open();
        store.append(submission(events("dev", 1), claim("key", 1))).await.unwrap();
        let other = store.append(submission(events("dev", 1), claim("key", 2))).await.unwrap();
        assert_eq!(other, Outcome::KeyReused);
        assert_eq!(store.log_size(DEFAULT).unwrap(), 1);
        let tenant = store.tenant_create("other").unwrap().id;
        let elsewhere = Submission { tenant, events: events("dev", 1), atomic: false, claim: Some(claim("key", 2)), rejects: None };
        assert!(matches!(store.append(elsewhere).await.unwrap(), Outcome::Appended(_)));
    }

    async fn a_key_is_forgotten_after_its_window(db) {
        let mut options = db.options();
        options.idempotency_window = Duration::from_millis(50);
        options.event_id_window = Duration::from_millis(50);
        let store = Store::open(options).unwrap();
        for id in 1..=2 {
            let done = store.append(submission(vec![named("e")], claim("key", 1))).await.unwrap();
            let Outcome::Appended(appended) = done else { panic!("{done:?}") };
            assert_eq!((ids(&appended), is_duplicate(&appended[0])), (vec![id], false));
            tokio::time::sleep(Duration::from_millis(80)).await;
        }
        assert_eq!(store.idempotency_expire(100).unwrap(), 2);
        assert_eq!(store.idempotency_expire(100).unwrap(), 0);
    }

    async fn an_event_id_is_stored_once_within_a_batch_and_across(db) {
        let store = db.open();
        let batch = vec![named("a"), event("dev"), named("b"), named("a")];
        let first = append(&store, batch).await.unwrap();
        assert_eq!(ids(&first), [1, 2, 3, 1]);
        assert_eq!(first.iter().map(is_duplicate).collect::<Vec<_>>(), [false, false, false, true]);
        assert_eq!(first[3].record().unwrap(), first[0].record().unwrap());

        let second = append(&store, vec![named("b"), named("c")]).await.unwrap();
        assert_eq!(ids(&second), [3, 4]);
        assert_eq!(second[0], Appended::Duplicate(first[2].record().unwrap().clone()));
        assert_eq!(store.log_size(DEFAULT).unwrap(), 4);

        let only_repeats = append(&store, vec![named("a"), named("b")]).await.unwrap();
        assert!(only_repeats.iter().all(is_duplicate));
        assert_eq!(store.log_size(DEFAULT).unwrap(), 4);
    }

    async fn an_event_id_with_other_content_is_a_conflict(db) {
        let store = db.open();
        append(&store, vec![event("dev"), named("a")]).await.unwrap();
        let batch = vec![other("a"), named("b"), other("b"), named("a"), named("b"), event("dev")];
        let appended = append(&store, batch).await.unwrap();
        assert_eq!(appended[0], Appended::Conflict(Some(2)));
        assert_eq!(appended[1].record().unwrap().id, 3);
        assert_eq!(appended[2], Appended::Conflict(Some(3)));
        assert_eq!(appended[3].record().unwrap().id, 2);
        assert_eq!(appended[4], Appended::Duplicate(appended[1].record().unwrap().clone()));
        assert_eq!(appended[5].record().unwrap().id, 4);
        let log = whole_log(&store, DEFAULT);
        assert_eq!(log.iter().map(|record| record.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(log.iter().all(|record| record.event.fields().device_id == "dev"), "{log:?}");
    }

    async fn metadata_says_the_same_as_it_did_however_the_database_keeps_it(db) {
        let store = db.open();
        let with = |metadata: &str, duration: f64| {
            let mut parts = parts("dev");
            parts.event_id = Some("e".to_owned());
            parts.metadata = metadata.to_owned();
            parts.duration = Some(duration);
            Event::from_store(parts)
        };
        // Canonical text (RFC 8785): PostgreSQL's jsonb writes numbers and the order of members
        // differently.
        let metadata = r#"{"bb":[1.5,9007199254740991],"c":{"y":null,"z":5e-324},"ccc":"","é":1e-7}"#;
        append(&store, vec![with(metadata, 0.1)]).await.unwrap();
        let again = append(&store, vec![with(metadata, 0.1)]).await.unwrap();
        assert!(is_duplicate(&again[0]), "{again:?}");
        for other in [with(metadata, 0.1 + f64::EPSILON), with("{}", 0.1)] {
            let appended = append(&store, vec![other]).await.unwrap();
            assert_eq!(appended, [Appended::Conflict(Some(1))]);
        }
    }

    async fn a_conflict_keeps_an_atomic_submission_out(db) {
        let store = db.open();
        append(&store, vec![named("a")]).await.unwrap();
        let atomic = |events, claim| Submission { tenant: DEFAULT, events, atomic: true, claim, rejects: None };
        for (events, expected) in [
            (vec![event("dev"), other("a"), named("a")], Some(1)),
            (vec![event("dev"), named("b"), other("b"), named("b")], None),
        ] {
            let conflict = expected.map_or(2, |_| 1);
            let outcome = store.append(atomic(events, None)).await.unwrap();
            let Outcome::Appended(appended) = outcome else { panic!("{outcome:?}") };
            for (index, appended) in appended.iter().enumerate() {
                let expected =
                    if index == conflict { Appended::Conflict(expected) } else { Appended::NotAttempted };
                assert_eq!(*appended, expected, "{index}");
            }
            assert_eq!(store.log_size(DEFAULT).unwrap(), 1);
        }
        // The event ids in it are free, and its key is remembered.
        let refused = || atomic(vec![named("b"), other("a")], Some(outcomes_claim("key")));
        let outcome = store.append(refused()).await.unwrap();
        let expected = vec![Appended::NotAttempted, Appended::Conflict(Some(1))];
        assert_eq!(outcome, Outcome::Appended(expected.clone()));
        let answer = format!("{expected:?}").into_bytes();
        assert_eq!(store.append(refused()).await.unwrap(), Outcome::Replayed(answer));
        let stored = store.append(atomic(vec![other("b"), named("a")], None)).await.unwrap();
        let Outcome::Appended(stored) = stored else { panic!("{stored:?}") };
        assert_eq!(ids(&stored), [2, 1]);
    }

    async fn submissions_of_one_group_are_compared_with_each_other(db) {
        let store = db.open();
        // The first submission gets its own commit; the others gather meanwhile.
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let store = store.clone();
                let event = if n % 2 == 0 { named("same") } else { other("same") };
                tokio::spawn(async move { append(&store, vec![event]).await.unwrap().remove(0) })
            })
            .collect();
        let mut counts = [0; 3];
        for task in tasks {
            match task.await.unwrap() {
                Appended::Stored(_) => counts[0] += 1,
                Appended::Duplicate(_) => counts[1] += 1,
                Appended::Conflict(first) => {
                    assert_eq!(first, Some(1));
                    counts[2] += 1;
                }
                Appended::NotAttempted => panic!("it is alone"),
            }
        }
        assert_eq!(counts, [1, 7, 8]);
    }

    async fn each_event_is_stored_with_its_own_leaf_hash_whatever_was_a_repeat(db) {
        #[derive(diesel::QueryableByName)]
        struct Leaf {
            #[diesel(sql_type = diesel::sql_types::Binary)]
            leaf_hash: Vec<u8>,
        }
        let store = db.open();
        append(&store, vec![named("a"), event("dev_1")]).await.unwrap();
        let mixed = vec![event("dev_2"), named("a"), event("dev_3"), named("b"), named("a"), event("dev_4")];
        append(&store, mixed).await.unwrap();
        let query = "SELECT leaf_hash FROM events ORDER BY id";
        let leaves: Vec<Leaf> = match db.backend() {
            Backend::Sqlite => diesel::sql_query(query).load(&mut db.sqlite()),
            Backend::Postgres => diesel::sql_query(query).load(&mut db.postgres()),
        }
        .unwrap();
        assert_eq!(leaves.len(), 6);
        for (id, leaf) in (1..).zip(leaves) {
            let record = store.event_get(DEFAULT, id).unwrap().unwrap();
            assert_eq!(leaf.leaf_hash, record.leaf_hash(), "{id}");
        }
    }

    async fn an_event_id_that_races_is_stored_once(db) {
        let first = db.open();
        let second = if db.backend() == Backend::Postgres { db.open() } else { first.clone() };
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let store = if n % 2 == 0 { first.clone() } else { second.clone() };
                tokio::spawn(async move { append(&store, vec![named("same")]).await.unwrap() })
            })
            .collect();
        let mut fresh = 0;
        for task in tasks {
            let appended = task.await.unwrap();
            assert_eq!(ids(&appended), [1]);
            fresh += usize::from(!is_duplicate(&appended[0]));
        }
        assert_eq!(fresh, 1);
    }

    async fn many_event_ids_in_one_batch_are_all_looked_up(db) {
        let store = db.open();
        let batch = |from: usize, to: usize| (from..to).map(|n| named(&format!("e{n}"))).collect();
        append(&store, batch(0, 1_200)).await.unwrap();
        let again = append(&store, batch(600, 1_800)).await.unwrap();
        assert_eq!(again.iter().filter(|event| is_duplicate(event)).count(), 600);
        assert_eq!(store.log_size(DEFAULT).unwrap(), 1_800);
    }

    async fn an_answer_that_panics_fails_alone(db) {
        let store = db.open();
        let bad = Claim {
            answer_bytes: 0,
            key: "bad".to_owned(),
            fingerprint: [0; 32],
            answer: Box::new(|_| panic!("an answer that cannot be made")),
        };
        let (good, bad) = tokio::join!(
            append(&store, events("dev", 1)),
            store.append(submission(events("dev", 1), bad)),
        );
        assert_eq!(ids(&good.unwrap()).len(), 1);
        assert_eq!(bad, Err(AppendError::Internal));
        assert_eq!(store.log_size(DEFAULT).unwrap(), 1);
        assert!(store.ready().is_ok());
    }
}
