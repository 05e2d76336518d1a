//! A database that is dropped and made anew, or restored, under a store that is open: nothing that
//! the store remembers outlives it.

use std::time::{Duration, Instant};

use conn_log_core::alert::Rule;
use conn_log_core::{Event, EventFields, Timestamp};
use conn_log_store::{
    AlertQuery, AppendError, DeviceFilter, PageQuery, PageStart, SessionFilter, Store, StoreError,
    StoreOptions,
};
use conn_log_test_support::*;
use diesel::connection::SimpleConnection as _;
use serde_json::{Value, json};

/// An event of a device with an application.
fn event_of(device: &str, application: &str) -> Event {
    let mut fields = parts(device);
    fields.application_id = application.to_owned();
    Event::from_store(fields)
}

/// A store whose followers go on only when a test says so.
fn without_threads(db: &TestDatabase) -> Store {
    Store::open(StoreOptions { projections: false, indexing: false, ..db.options() }).unwrap()
}

/// Takes all events in.
fn derive(store: &Store) {
    while store.projections_behind(DEFAULT).unwrap() > 0 {
        store.projections_step(DEFAULT, 1_000).unwrap();
    }
}

/// Appends once the store can be reached again.
async fn append_again(store: &Store, events: Vec<Event>) {
    let until = Instant::now() + Duration::from_secs(30);
    while let Err(error) = append(store, events.clone()).await {
        assert_eq!(error, AppendError::Unavailable);
        assert!(Instant::now() < until, "the store cannot write any more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn first_page<P>() -> PageQuery<P> {
    PageQuery { start: PageStart::First, limit: 100 }
}

/// The names that derived data has: of applications, and those of devices and of the applications
/// of sessions.
fn names(store: &Store) -> (Vec<String>, Vec<String>) {
    let applications = store.application_list(DEFAULT, &first_page()).unwrap();
    let devices = store.device_list(DEFAULT, &DeviceFilter::default(), &first_page()).unwrap();
    let sessions = store.session_list(DEFAULT, &SessionFilter::default(), &first_page()).unwrap();
    let mut seen: Vec<String> = sessions.items.into_iter().map(|it| it.application_id).collect();
    seen.extend(devices.items.into_iter().map(|device| device.device_id));
    seen.sort_unstable();
    seen.dedup();
    (applications.items.into_iter().map(|it| it.application_id).collect(), seen)
}

fn owned<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_made_anew_gives_its_own_numbers_to_names() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = without_threads(&db);
    append(&store, vec![event_of("dev_1", "app_1"), event_of("dev_2", "app_2")]).await.unwrap();
    derive(&store);
    db.make_anew();
    Store::migrate(&db.database_url()).unwrap();
    // The former numbers are in the cache, and would be those of no name.
    append_again(&store, vec![event_of("dev_2", "app_2"), event_of("dev_3", "app_3")]).await;
    derive(&store);
    let (applications, others) = names(&store);
    assert_eq!(applications, owned(["app_2", "app_3"]));
    assert_eq!(others, owned(["app_2", "app_3", "dev_2", "dev_3"]));
    assert!(store.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restored_database_gives_its_own_numbers_to_names() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = without_threads(&db);
    append(&store, vec![event_of("dev_1", "app_1")]).await.unwrap();
    derive(&store);
    let backup = db.back_up();
    append_again(&store, vec![event_of("dev_2", "app_2"), event_of("dev_3", "app_3")]).await;
    derive(&store);
    db.restore(&backup);
    append_again(&store, vec![event_of("dev_3", "app_3"), event_of("dev_2", "app_2")]).await;
    derive(&store);
    let (applications, others) = names(&store);
    assert_eq!(applications, owned(["app_1", "app_2", "app_3"]));
    assert_eq!(others, owned(["app_1", "app_2", "app_3", "dev_1", "dev_2", "dev_3"]));
    assert!(store.close());
}

/// As `pg_restore --clean` does it, in one transaction and without an end of any session.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_that_are_made_anew_in_place_give_their_own_numbers_to_names() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = without_threads(&db);
    append(&store, vec![event_of("dev_1", "app_1"), event_of("dev_2", "app_2")]).await.unwrap();
    derive(&store);
    db.execute("DROP SCHEMA public CASCADE");
    db.execute("CREATE SCHEMA public");
    Store::migrate(&db.database_url()).unwrap();
    append_again(&store, vec![event_of("dev_2", "app_2")]).await;
    derive(&store);
    assert_eq!(names(&store), (owned(["app_2"]), owned(["app_2", "dev_2"])));
    db.execute(
        "TRUNCATE dictionary, devices, applications, application_devices, sessions, rollups,
        application_hours, positions",
    );
    append_again(&store, vec![event_of("dev_1", "app_1")]).await;
    derive(&store);
    assert_eq!(names(&store).0, owned(["app_1", "app_2"]));
    assert!(store.close());
}

/// Neither read nor write fails by a fault of the program: all come back once there is a log.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_without_a_log_is_away_and_says_why() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    append(&store, events("dev", 1)).await.unwrap();
    db.make_anew();
    let is_away = |error: &StoreError| {
        let said = error.to_string();
        matches!(error, StoreError::Unavailable(_)).then_some(said.contains("conn-log migrate"))
    };
    // The first requests may find that their sessions were ended.
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let found = [
            store.ready().unwrap_err(),
            store.event_get(DEFAULT, 1).unwrap_err(),
            store.log_size(DEFAULT).unwrap_err(),
            store.tenant_create("second").unwrap_err(),
        ];
        let said: Vec<Option<bool>> = found.iter().map(is_away).collect();
        assert!(said.iter().all(Option::is_some), "{found:?}");
        if said == [Some(true); 4] {
            break;
        }
        assert!(Instant::now() < until, "{found:?}");
    }
    assert_eq!(append(&store, events("dev", 1)).await, Err(AppendError::Unavailable));
    Store::migrate(&db.database_url()).unwrap();
    append_again(&store, events("dev", 1)).await;
    assert_eq!(store.log_size(DEFAULT).unwrap(), 1);
    assert!(store.close());
}

fn burst() -> Rule {
    let json = json!({"name": "failed logins", "kind": "failure_burst", "group_by": ["device_id"],
        "params": {"threshold": 3, "window_seconds": 60}});
    let Value::Object(json) = json else { panic!("not an object") };
    Rule::from_json(json).unwrap()
}

/// Failures of a device.
fn failures(device: &str) -> Vec<Event> {
    let denied = |second: u8| EventFields {
        connection_type: "attempted".to_owned(),
        status: "denied".to_owned(),
        timestamp: Timestamp::parse(&format!("2024-01-15T10:30:0{second}Z")).unwrap(),
        ..parts(device)
    };
    (0..5).map(|second| Event::from_store(denied(second))).collect()
}

/// The number of alerts, once there are that many.
fn alerts(store: &Store, count: usize) -> usize {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let found = store.alert_list(DEFAULT, &AlertQuery::default(), &first_page());
        let found = found.map_or(0, |page| page.items.len());
        if found >= count || Instant::now() > until {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Copies all rows.
const KEEP: &str = "DO $$ DECLARE name text; BEGIN
    CREATE SCHEMA kept;
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND relkind IN ('r', 'p') AND NOT relispartition
    LOOP EXECUTE format('CREATE TABLE kept.%1$I AS TABLE public.%1$I', name); END LOOP;
END $$";

/// Puts the copied rows in the place of all, as a restore of data alone does, and ends no session.
const PUT_BACK: &str = "DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'kept'::regnamespace
    LOOP EXECUTE format('TRUNCATE public.%I CASCADE', name); END LOOP;
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'kept'::regnamespace
    LOOP EXECUTE format('INSERT INTO public.%1$I SELECT * FROM kept.%1$I', name); END LOOP;
END $$";

/// The rules of a database that was restored look at each event after it, also at those whose ids
/// they have seen on other events.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rules_begin_where_a_restored_database_is() {
    let Some(db) = TestDatabase::new(Backend::Postgres) else { return };
    let store = db.open();
    store.rule_create(DEFAULT, burst()).unwrap();
    append(&store, failures("dev_1")).await.unwrap();
    assert_eq!(alerts(&store, 1), 1);
    db.execute(KEEP);
    for _ in 0..20 {
        append(&store, failures("dev_2")).await.unwrap();
    }
    assert_eq!(alerts(&store, 2), 2);
    // The store's own transactions may be the other side of a deadlock.
    let is_back = (0..20).any(|_| db.postgres().batch_execute(PUT_BACK).is_ok());
    assert!(is_back);
    append_again(&store, failures("dev_3")).await;
    assert_eq!(alerts(&store, 2), 2);
    assert!(store.close());
}
