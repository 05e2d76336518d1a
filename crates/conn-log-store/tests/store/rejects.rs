//! Rejects: kept with their request or not at all, bounded, listed.

use std::sync::{Arc, Mutex};

use conn_log_core::{Event, Timestamp};
use conn_log_store::*;
use conn_log_test_support::*;
use uuid::Uuid;

fn reject(code: &str, body: &str) -> NewReject {
    NewReject {
        token_id: Uuid::from_u128(7),
        codes: vec!["invalid-event".to_owned(), code.to_owned()],
        content_type: "application/json".to_owned(),
        problem: "{}".to_owned(),
        body: body.as_bytes().to_vec(),
        is_truncated: false,
    }
}

/// Rejects that do not depend on the outcomes.
fn rejects(new: Vec<NewReject>) -> Rejects {
    let (refused, bytes) = (new.len(), new.iter().map(|new| new.body.len()).sum());
    Rejects { make: Box::new(move |_| new.clone()), refused, bytes }
}

fn submission(events: Vec<Event>, claim: Option<Claim>, new: Vec<NewReject>) -> Submission {
    Submission { tenant: DEFAULT, events, atomic: false, claim, rejects: Some(rejects(new)) }
}

fn page(
    store: &Store,
    filter: &RejectFilter,
    start: PageStart<RejectPlace>,
    limit: usize,
) -> Page<Reject> {
    store.reject_list(DEFAULT, filter, &PageQuery { start, limit }).unwrap()
}

fn bodies(store: &Store, filter: &RejectFilter) -> Vec<String> {
    let items = page(store, filter, PageStart::First, 100).items;
    items.into_iter().map(|reject| String::from_utf8(reject.content.body).unwrap()).collect()
}

fn numbers(page: &Page<Reject>) -> Vec<i64> {
    page.items.iter().map(|reject| reject.id).collect()
}

/// Remembers what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<(usize, usize)>>);

impl Observer for Told {
    fn group_committed(&self, group: GroupCommitted) {
        self.0.lock().unwrap().push((group.rejects_kept, group.rejects_evicted));
    }
}

on_both_databases! {
    async fn a_reject_is_kept_with_the_events_of_its_request(db) {
        let store = db.open();
        let bad = reject("length", "{\"n\":\u{e9}}");
        store.append(submission(events("dev", 2), None, vec![bad.clone()])).await.unwrap();
        store.append(submission(Vec::new(), None, vec![reject("missing", "b")])).await.unwrap();
        store.clone().close();
        let store = db.open();
        let first = store.reject_get(DEFAULT, 1).unwrap().unwrap();
        assert_eq!((first.id, &first.content), (1, &bad));
        assert!(first.created_at > Timestamp::EPOCH);
        assert_eq!(bodies(&store, &RejectFilter::default()), ["b", "{\"n\":\u{e9}}"]);
        assert_eq!(store.log_size(DEFAULT).unwrap(), 2);
    }

    async fn a_request_with_a_key_keeps_its_rejects_once(db) {
        let store = db.open();
        let request = || submission(events("dev", 1), Some(claim("key", 1)), vec![reject("length", "a")]);
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let (store, request) = (store.clone(), request());
            tasks.push(tokio::spawn(async move { store.append(request).await.unwrap() }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(bodies(&store, &RejectFilter::default()), ["a"]);
    }

    async fn a_conflict_that_the_store_finds_is_kept(db) {
        let store = db.open();
        let named = |device: &str| {
            let mut parts = parts(device);
            parts.event_id = Some("e-1".to_owned());
            Event::from_store(parts)
        };
        append(&store, vec![named("dev")]).await.unwrap();
        let make = |appended: &[Appended]| {
            let conflicts = appended.iter().filter(|a| matches!(a, Appended::Conflict(_)));
            conflicts.map(|_| reject("event-id-conflict", "other")).collect()
        };
        let rejects = Some(Rejects { make: Box::new(make), refused: 0, bytes: 10 });
        let events = vec![named("other"), event("good")];
        let submission = Submission { tenant: DEFAULT, events, atomic: false, claim: None, rejects };
        store.append(submission).await.unwrap();
        assert_eq!(bodies(&store, &RejectFilter::default()), ["other"]);
        assert_eq!(store.log_size(DEFAULT).unwrap(), 2);
    }

    async fn a_transaction_that_fails_keeps_no_reject(db) {
        let store = db.open();
        db.execute("ALTER TABLE reject_heads RENAME TO gone");
        let refused = store.append(submission(events("dev", 1), None, vec![reject("length", "a")])).await;
        assert_eq!(refused, Err(AppendError::Internal));
        assert_eq!(store.log_size(DEFAULT).unwrap(), 0);
        db.execute("ALTER TABLE gone RENAME TO reject_heads");
        assert_eq!(bodies(&store, &RejectFilter::default()), [""; 0]);
    }

    async fn the_filters_of_the_list_take_and_leave(db) {
        let store = db.open();
        let other = NewReject { token_id: Uuid::from_u128(8), ..reject("missing", "b") };
        store.append(submission(Vec::new(), None, vec![reject("length", "a")])).await.unwrap();
        store.append(submission(Vec::new(), None, vec![other])).await.unwrap();
        let at = store.reject_get(DEFAULT, 2).unwrap().unwrap().created_at;
        let all = RejectFilter::default();
        for (filter, expected) in [
            (RejectFilter { code: Some("length".to_owned()), ..all.clone() }, vec!["a"]),
            (RejectFilter { code: Some("invalid-event".to_owned()), ..all.clone() }, vec!["b", "a"]),
            (RejectFilter { code: Some("leng".to_owned()), ..all.clone() }, vec![]),
            (RejectFilter { token_id: Some(Uuid::from_u128(8)), ..all.clone() }, vec!["b"]),
            (RejectFilter { since: Some(at), ..all.clone() }, vec!["b"]),
            (RejectFilter { until: Some(at), ..all.clone() }, vec!["a"]),
        ] {
            assert_eq!(bodies(&store, &filter), expected, "{filter:?}");
        }
    }

    async fn pages_go_both_ways_and_belong_to_one_tenant(db) {
        let store = db.open();
        let new = (0..5).map(|n| reject("length", &n.to_string())).collect();
        store.append(submission(Vec::new(), None, new)).await.unwrap();
        let all = RejectFilter::default();
        let first = page(&store, &all, PageStart::First, 2);
        assert_eq!((numbers(&first), first.has_more), (vec![5, 4], true));
        let next = page(&store, &all, PageStart::After(RejectPlace { id: 4 }), 2);
        assert_eq!((numbers(&next), next.has_more), (vec![3, 2], true));
        let before = page(&store, &all, PageStart::Before(RejectPlace { id: 3 }), 2);
        assert_eq!((numbers(&before), before.has_more), (vec![5, 4], false));
        let tenant = store.tenant_create("other").unwrap().id;
        let query = PageQuery { start: PageStart::First, limit: 10 };
        assert_eq!(store.reject_list(tenant, &all, &query).unwrap().items, []);
        assert_eq!(store.reject_get(tenant, 1).unwrap(), None);
        assert!(matches!(store.reject_delete(tenant, 1), Err(StoreError::NotFound(_))));
    }

    async fn a_reject_is_deleted_once_and_its_number_is_not_used_again(db) {
        let store = db.open();
        store.append(submission(Vec::new(), None, vec![reject("length", "a")])).await.unwrap();
        store.reject_delete(DEFAULT, 1).unwrap();
        assert!(matches!(store.reject_delete(DEFAULT, 1), Err(StoreError::NotFound("reject"))));
        store.append(submission(Vec::new(), None, vec![reject("length", "b")])).await.unwrap();
        assert_eq!(store.reject_get(DEFAULT, 1).unwrap(), None);
        assert_eq!(bodies(&store, &RejectFilter::default()), ["b"]);
    }

    async fn the_oldest_go_once_there_are_too_many_and_are_counted(db) {
        let told = Arc::new(Told::default());
        let options = StoreOptions { observer: Some(told.clone()), ..StoreOptions::new(db.database_url()) };
        let store = Store::open(options).unwrap();
        let some = |count| (0..count).map(|_| reject("length", "a")).collect::<Vec<_>>();
        store.append(submission(Vec::new(), None, some(10))).await.unwrap();
        store.reject_delete(DEFAULT, 4).unwrap();
        for count in [50_000, 49_991, 2] {
            store.append(submission(Vec::new(), None, some(count))).await.unwrap();
        }
        let told = told.0.lock().unwrap().clone();
        assert_eq!(told, [(10, 0), (50_000, 0), (49_991, 0), (2, 2)]);
        let last = page(&store, &RejectFilter::default(), PageStart::Before(RejectPlace { id: 0 }), 3);
        assert_eq!(numbers(&last), [6, 5, 3]);
    }

    async fn what_is_older_than_thirty_days_goes(db) {
        let store = db.open();
        let new = (0..5).map(|n| reject("length", &n.to_string())).collect();
        store.append(submission(Vec::new(), None, new)).await.unwrap();
        assert_eq!(store.rejects_expire(10).unwrap(), 0);
        let days = 30 * 86_400;
        db.execute(&match db.backend() {
            Backend::Sqlite => {
                format!("UPDATE rejects SET created_at = created_at - {days} * 1000000 WHERE id <= 3")
            }
            Backend::Postgres => {
                format!("UPDATE rejects SET created_at = (created_at AT TIME ZONE 'UTC' - interval '{days} s') AT TIME ZONE 'UTC' WHERE id <= 3")
            }
        });
        assert_eq!(store.rejects_expire(2).unwrap(), 2);
        assert_eq!(store.rejects_expire(2).unwrap(), 1);
        assert_eq!(store.rejects_expire(2).unwrap(), 0);
        assert_eq!(bodies(&store, &RejectFilter::default()), ["4", "3"]);
    }
}
