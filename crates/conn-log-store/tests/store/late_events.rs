//! Events that are later than what rules keep in memory: what lies around them is read again, and
//! nobody else waits.

use std::time::{Duration, Instant};

use conn_log_core::alert::Rule;
use conn_log_core::{Event, EventFields, Timestamp};
use conn_log_store::{Alert, AlertQuery, PageQuery, PageStart, RuleState, Store};
use conn_log_test_support::*;
use serde_json::{Value, json};

/// Time limit that only a broken store exceeds.
const PATIENCE: Duration = Duration::from_mins(2);

const EVENTS: i64 = 100_000;

/// Events of one burst, a second apart.
const OF_BURST: i64 = 100;

const BURST: i64 = 1;
const OTHER: i64 = 2;

fn rule(json: Value) -> Rule {
    let Value::Object(object) = json else { panic!("not an object") };
    Rule::from_json(object).unwrap()
}

/// A rule that looks at the late device, and one that looks at another application.
fn create_rules(store: &Store) {
    let rules = [
        json!({"name": "burst", "kind": "failure_burst", "group_by": ["device_id"],
            "params": {"threshold": 5, "window_seconds": 10}, "cooldown_seconds": 60,
            "filter": {"application_id": "late"}}),
        json!({"name": "other", "kind": "match", "group_by": ["device_id"],
            "filter": {"application_id": "other"}}),
    ];
    for (id, json) in (1..).zip(rules) {
        assert_eq!(store.rule_create(DEFAULT, rule(json)).unwrap().id, id);
    }
}

/// The events of one device in the order of their time: bursts, an hour apart.
fn in_order() -> Vec<Event> {
    let start = Timestamp::parse("2024-01-01T00:20:00Z").unwrap();
    let at = |number: i64| {
        let seconds = number / OF_BURST * 3_600 + number % OF_BURST;
        Event::from_store(EventFields {
            application_id: "late".to_owned(),
            connection_type: "attempted".to_owned(),
            status: "denied".to_owned(),
            timestamp: start.plus(chrono::TimeDelta::seconds(seconds)),
            ..parts("d")
        })
    };
    (0..EVENTS).map(at).collect()
}

/// The same in another order, in which neighbors are far apart.
fn shuffled() -> Vec<Event> {
    let all = in_order();
    // Has no factor in common with their number, so that each comes once.
    let place = |number: i64| usize::try_from(number * 61_813 % EVENTS).unwrap();
    (0..EVENTS).map(|number| all[place(number)].clone()).collect()
}

fn other() -> Event {
    let fields = EventFields { application_id: "other".to_owned(), ..parts("o") };
    Event::from_store(fields)
}

async fn append_all(store: &Store, events: &[Event]) {
    for some in events.chunks(5_000) {
        append(store, some.to_vec()).await.unwrap();
    }
}

fn state(store: &Store, rule: i64) -> Option<RuleState> {
    store.rule_state(DEFAULT, rule)
}

async fn until(what: &str, store: &Store, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", store.alerting_state());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_taken(store: &Store) {
    let size = store.log_size(DEFAULT).unwrap();
    until("taken", store, || {
        let state = store.alerting_state();
        state.rules.len() == 2 && state.taken.get(&DEFAULT) == Some(&size)
    })
    .await;
}

fn alerts(store: &Store, rule: i64) -> Vec<Alert> {
    let filter = AlertQuery { rule_ids: vec![rule], ..AlertQuery::default() };
    let page = PageQuery { start: PageStart::First, limit: 100_000 };
    store.alert_list(DEFAULT, &filter, &page).unwrap().items
}

/// What the alerts of the burst say that stand, without what depends on the order of arrival.
fn episodes(store: &Store) -> Vec<(Timestamp, Timestamp, u64)> {
    let of = |alert: &Alert| {
        let episode = &alert.episode;
        let time = Timestamp::from_micros;
        (time(episode.start), time(episode.end), episode.count)
    };
    let all = alerts(store, BURST);
    let mut all: Vec<_> = all.iter().filter(|alert| alert.merged_into.is_none()).map(of).collect();
    all.sort_unstable();
    all
}

/// Makes the next event come a day later, by the clock of the log.
fn let_a_day_pass(db: &TestDatabase) {
    db.execute(match db.backend() {
        Backend::Sqlite => "UPDATE heads SET created_at_last = created_at_last + 86400000000",
        Backend::Postgres => {
            "UPDATE heads SET created_at_last =
                 (created_at_last AT TIME ZONE 'UTC' + interval '1 day') AT TIME ZONE 'UTC'"
        }
    });
}

on_both_databases! {
    async fn a_flood_of_late_events_slows_its_own_rule_alone_and_ends_as_if_in_order(db) {
        let store = db.open();
        create_rules(&store);
        let (first, rest) = (shuffled(), shuffled());
        let (first, rest) = (&first[..1_000], &rest[1_000..]);
        append_all(&store, first).await;
        until_taken(&store).await;
        store.close();
        let_a_day_pass(&db);
        // Its events of yesterday are not in memory any more.
        let store = db.open();
        append(&store, vec![event("today")]).await.unwrap();
        until_taken(&store).await;
        store.close();
        let store = db.open();
        append_all(&store, rest).await;
        append(&store, vec![other()]).await.unwrap();
        until("the other rule's alert", &store, || !alerts(&store, OTHER).is_empty()).await;
        let slow = state(&store, BURST).unwrap();
        assert!(slow.is_slowed && slow.behind_events > 10_000, "{slow:?}");
        assert!(!state(&store, OTHER).unwrap().is_slowed);
        assert!(store.alerting_state().slowed_behind_events > 0);
        // What waits for the rule survives a restart.
        store.close();
        let store = db.open();
        until("a state", &store, || state(&store, BURST).is_some()).await;
        let slow = state(&store, BURST).unwrap();
        assert!(slow.is_slowed && slow.behind_events > 10_000, "{slow:?}");
        until_taken(&store).await;
        until("caught up", &store, || state(&store, BURST).is_some_and(|it| !it.is_slowed)).await;
        let state = state(&store, BURST).unwrap();
        // Not one read for each event.
        assert!((1..10_000).contains(&state.health.late_reads), "{state:?}");
        assert_eq!(state.health.late_reads_cut, 0);
        let late = episodes(&store);
        assert_eq!(alerts(&store, OTHER).len(), 1);
        store.close();

        let other = TestDatabase::new(db.backend()).unwrap();
        let store = other.open();
        create_rules(&store);
        append_all(&store, &in_order()).await;
        until_taken(&store).await;
        assert_eq!(late, episodes(&store));
        assert_eq!(i64::try_from(late.len()), Ok(EVENTS / OF_BURST));
        store.close();
    }
}
