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

/// Events of one burst, a second apart.
const OF_BURST: i64 = 1_000;

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
            "params": {"threshold": 5, "window_seconds": 1_000}, "cooldown_seconds": 60,
            "filter": {"application_id": "late"}}),
        json!({"name": "other", "kind": "match", "group_by": ["device_id"],
            "filter": {"application_id": "other"}}),
    ];
    for (id, json) in (1..).zip(rules) {
        assert_eq!(store.rule_create(DEFAULT, rule(json)).unwrap().id, id);
    }
}

/// Failures of some devices in the order of their time: bursts, an hour apart.
fn in_order(events: i64, devices: i64) -> Vec<Event> {
    let start = Timestamp::parse("2024-01-01T00:20:00Z").unwrap();
    let at = |number: i64| {
        let seconds = number / OF_BURST * 3_600 + number % OF_BURST;
        Event::from_store(EventFields {
            application_id: "late".to_owned(),
            connection_type: "attempted".to_owned(),
            status: "denied".to_owned(),
            timestamp: start.plus(chrono::TimeDelta::seconds(seconds)),
            ..parts(&format!("d{}", number % devices))
        })
    };
    (0..events).map(at).collect()
}

/// The same in another order, in which neighbors are far apart.
fn shuffled(events: i64, devices: i64) -> Vec<Event> {
    let all = in_order(events, devices);
    // Has no factor in common with their number, so that each comes once.
    let place = |number: i64| usize::try_from(number * 61_813 % events).unwrap();
    (0..events).map(|number| all[place(number)].clone()).collect()
}

fn other(device: &str) -> Event {
    let fields = EventFields { application_id: "other".to_owned(), ..parts(device) };
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

/// Has the database refuse a position of the late rule that begins behind that of the other rules: a
/// crash before this write would have taken events from the rule.
fn refuse_a_position_that_comes_too_late(db: &TestDatabase) {
    let is_late = "NEW.name = 'alerts/1'
        AND NOT EXISTS (SELECT 1 FROM durable_positions AS own
                         WHERE own.tenant_id = NEW.tenant_id AND own.name = NEW.name)
        AND EXISTS (SELECT 1 FROM durable_positions AS others
                     WHERE others.tenant_id = NEW.tenant_id AND others.name = 'alerts'
                       AND others.watermark > NEW.watermark)";
    db.execute(&match db.backend() {
        Backend::Sqlite => format!(
            "CREATE TRIGGER too_late BEFORE INSERT ON durable_positions WHEN {is_late}
             BEGIN SELECT RAISE(ABORT, 'the rule lost events'); END"
        ),
        Backend::Postgres => format!(
            "CREATE FUNCTION too_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF {is_late} THEN RAISE EXCEPTION 'the rule lost events'; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER too_late BEFORE INSERT ON durable_positions
                 FOR EACH ROW EXECUTE FUNCTION too_late()"
        ),
    });
}

/// A store with these rules, whose first events are not in their memory any more.
async fn open_a_day_later(db: &TestDatabase, first: &[Event]) -> Store {
    let store = db.open();
    create_rules(&store);
    append_all(&store, first).await;
    until_taken(&store).await;
    store.close();
    let_a_day_pass(db);
    let store = db.open();
    append(&store, vec![other("today")]).await.unwrap();
    // With its alert the watermark is written.
    until("an alert", &store, || alerts(&store, OTHER).len() == 1).await;
    store.close();
    db.open()
}

/// The episodes of the same events in the order of their time.
async fn episodes_in_order(backend: Backend, events: &[Event]) -> Vec<(Timestamp, Timestamp, u64)> {
    let db = TestDatabase::new(backend).unwrap();
    let store = db.open();
    create_rules(&store);
    append_all(&store, events).await;
    until_taken(&store).await;
    let found = episodes(&store);
    store.close();
    found
}

on_both_databases! {
    async fn a_hundred_thousand_late_events_of_a_device_are_read_again_in_bulk(db) {
        let late = shuffled(100_000, 1);
        let store = open_a_day_later(&db, &late[..1_000]).await;
        append_all(&store, &late[1_000..50_000]).await;
        append(&store, vec![other("another")]).await.unwrap();
        append_all(&store, &late[50_000..]).await;
        until("the other rule's alert", &store, || alerts(&store, OTHER).len() == 2).await;
        until_taken(&store).await;
        let state = state(&store, BURST).unwrap();
        // Not one read for each event.
        assert!((1..1_000).contains(&state.health.late_reads), "{state:?}");
        assert_eq!(state.health.late_reads_cut, 0);
        let found = episodes(&store);
        store.close();
        assert_eq!(found.len(), 100);
        assert_eq!(found, episodes_in_order(db.backend(), &in_order(100_000, 1)).await);
    }

    async fn a_rule_that_reads_much_again_is_slowed_alone_and_ends_as_if_in_order(db) {
        // On Citus a read is some statements, each of which it plans anew.
        let count = if db.is_distributed() { 8_000 } else { 20_000 };
        let late = shuffled(count, 200);
        let store = open_a_day_later(&db, &late[..1_000]).await;
        if !db.is_distributed() {
            refuse_a_position_that_comes_too_late(&db);
        }
        // With its alert the others' position is written, in the step that slows the rule.
        let amid = late[1_000..2_000].iter().cloned().chain([other("amid")]).collect();
        append(&store, amid).await.unwrap();
        append_all(&store, &late[2_000..]).await;
        append(&store, vec![other("another")]).await.unwrap();
        until("the other rule's alert", &store, || alerts(&store, OTHER).len() == 3).await;
        // The state is that of the last whole round.
        until("slowed", &store, || state(&store, BURST).is_some_and(|it| it.is_slowed)).await;
        let slow = state(&store, BURST).unwrap();
        assert!(slow.is_slowed && slow.behind_events > 1_000, "{slow:?}");
        assert!(!state(&store, OTHER).unwrap().is_slowed);
        assert!(store.alerting_state().slowed_behind_events > 0);
        // What waits for the rule survives a restart.
        store.close();
        let store = db.open();
        until("a state", &store, || state(&store, BURST).is_some()).await;
        let slow = state(&store, BURST).unwrap();
        assert!(slow.is_slowed && slow.behind_events > 1_000, "{slow:?}");
        until_taken(&store).await;
        until("caught up", &store, || state(&store, BURST).is_some_and(|it| !it.is_slowed)).await;
        assert_eq!(state(&store, BURST).unwrap().health.late_reads_cut, 0);
        let found = episodes(&store);
        assert_eq!(alerts(&store, OTHER).len(), 3);
        store.close();
        assert_eq!(found, episodes_in_order(db.backend(), &in_order(count, 200)).await);
    }
}
