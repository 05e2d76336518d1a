//! The thread that makes the steps, and several processes at once.

use std::time::{Duration, Instant};

use conn_log_core::{Event, Timestamp};
use conn_log_store::{
    DeviceFilter, PageQuery, PageStart, Progress, SessionFilter, SessionTimeout, StatisticsQuery,
    Store,
};
use conn_log_test_support::{Backend, DEFAULT, append, event, events, on_both_databases, parts};

use super::reference;
use super::scenario::all;
use super::{statistics, step_until_caught_up, wait_until_caught_up};

fn devices(store: &Store) -> Vec<conn_log_store::Device> {
    let query = PageQuery { start: PageStart::First, limit: 1_000 };
    store.device_list(DEFAULT, &DeviceFilter::default(), &query).unwrap().items
}

/// Waits until the store's own thread has taken in everything.
fn wait_for_thread(store: &Store) {
    let longest = Duration::from_secs(20);
    wait_until_caught_up(store, longest, || std::thread::sleep(Duration::from_millis(20)));
}

on_both_databases! {
    async fn the_store_takes_events_in_by_itself_and_stops_with_it(database) {
        let store = database.open();
        append(&store, events("dev_1", 30)).await.unwrap();
        assert_eq!(devices(&store)[0].events, 30);
        wait_for_thread(&store);
        append(&store, vec![event("dev_2")]).await.unwrap();
        assert_eq!(devices(&store).len(), 2);
        wait_for_thread(&store);
        assert_eq!(devices(&store), reference::devices(&all(&store, DEFAULT)));
        let begun = Instant::now();
        store.close();
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    async fn several_stores_on_one_database_count_each_event_once(database) {
        let stores = [database.open(), database.open(), database.open()];
        for round in 0..20 {
            let device = format!("dev_{}", round % 4);
            append(&stores[round % 3], events(&device, 20)).await.unwrap();
            for store in &stores {
                let counted: i64 = devices(store).iter().map(|device| device.events).sum();
                assert_eq!(counted, (i64::try_from(round).unwrap() + 1) * 20);
                store.projections_step(DEFAULT, 7).unwrap();
            }
        }
        for store in &stores {
            wait_for_thread(store);
            assert_eq!(devices(store), reference::devices(&all(store, DEFAULT)));
        }
    }

    async fn stores_that_step_at_the_same_time_count_each_event_once(database) {
        let open = || {
            let mut options = database.options();
            options.projections = false;
            Store::open(options).unwrap()
        };
        let stores = [open(), open(), open()];
        for device in ["dev_1", "dev_2", "dev_3"] {
            append(&stores[0], events(device, 400)).await.unwrap();
        }
        std::thread::scope(|scope| {
            for store in &stores {
                scope.spawn(move || step_until_caught_up(store, 7));
            }
        });
        assert_eq!(devices(&stores[1]), reference::devices(&all(&stores[1], DEFAULT)));
    }

    async fn a_projection_that_is_reset_is_rebuilt(database) {
        let mut options = database.options();
        options.projections = false;
        let store = Store::open(options).unwrap();
        append(&store, events("dev_1", 10)).await.unwrap();
        assert_eq!(store.projections_step(DEFAULT, 100).unwrap(), Progress::Taken(10));
        let before = devices(&store);
        store.rebuild(DEFAULT, "presence").unwrap().unwrap();
        assert_eq!(store.projections_behind(DEFAULT).unwrap(), 10);
        assert_eq!(devices(&store), before);
        store.rebuild(DEFAULT, "presence").unwrap().unwrap();
        // The other followers are further on, and continue from there.
        append(&store, events("dev_2", 5)).await.unwrap();
        assert_eq!(store.projections_step(DEFAULT, 100).unwrap(), Progress::Taken(5));
        assert_eq!(store.projections_step(DEFAULT, 100).unwrap(), Progress::Taken(15));
        assert_eq!(store.projections_step(DEFAULT, 100).unwrap(), Progress::UpToDate);
        assert_eq!(devices(&store), reference::devices(&all(&store, DEFAULT)));
    }

    async fn statistics_that_are_reset_keep_nothing_of_before(database) {
        let mut options = database.options();
        options.projections = false;
        let store = Store::open(options).unwrap();
        append(&store, events("dev_1", 10)).await.unwrap();
        assert_eq!(store.projections_step(DEFAULT, 100).unwrap(), Progress::Taken(10));
        // Rows like those of events that are no longer in the log.
        let (file, earlier) = match database.backend() {
            Backend::Sqlite => ("derived.", "start - 3600000000"),
            Backend::Postgres => ("", "start - interval '1 hour'"),
        };
        for (table, columns) in [
            ("rollups", "level, {}, lead, whole, cells"),
            ("application_hours", "{}, application, figures"),
        ] {
            let named = columns.replace("{}", "start");
            let columns = columns.replace("{}", earlier);
            database.execute(&format!(
                "INSERT INTO {file}{table} (tenant_id, {named}) SELECT tenant_id, {columns} FROM {file}{table}"
            ));
        }
        let questions = [statistics::by_hour_and_application(), StatisticsQuery::default()];
        let check = |question| statistics::check(&store, &all(&store, DEFAULT), question);
        store.rebuild(DEFAULT, "statistics").unwrap().unwrap();
        for question in &questions {
            check(question).unwrap();
        }
    }

    async fn a_large_projection_is_forgotten_in_small_steps(database) {
        let mut options = database.options();
        options.projections = false;
        let store = Store::open(options).unwrap();
        let many = (0..7_000).map(|n| {
            let mut parts = parts(&format!("dev_{n}"));
            parts.timestamp = Timestamp::from_micros(1_700_000_000_000_000 + n);
            Event::from_store(parts)
        });
        let many = many.collect();
        append(&store, many).await.unwrap();
        step_until_caught_up(&store, 5_000);
        store.rebuild(DEFAULT, "sessions").unwrap().unwrap();
        let mut steps = 0;
        while store.projections_step(DEFAULT, 7_000).unwrap() == Progress::Cleared {
            steps += 1;
            assert!(steps < 100, "it does not end");
        }
        assert!(steps >= 3, "{steps}");
        let expected = reference::devices(&all(&store, DEFAULT)).len();
        let open: i64 = devices(&store).iter().map(|device| device.open_sessions).sum();
        assert_eq!((expected, open), (7_000, 1_000), "a page of a thousand, each open");
    }

    async fn a_session_id_that_thousands_of_devices_share_is_a_session_of_each(database) {
        let mut options = database.options();
        options.projections = false;
        let store = Store::open(options).unwrap();
        // The second time there are more sessions with the id than one read returns.
        for (hour, kind) in (1..).zip(["established", "terminated", "established"]) {
            let of_device = |n: i64| {
                let mut parts = parts(&format!("dev_{n}"));
                parts.connection_type = kind.to_owned();
                parts.timestamp = Timestamp::from_micros(hour * 3_600_000_000);
                parts.session_id = Some("7".to_owned());
                Event::from_store(parts)
            };
            append(&store, (0..2_100).map(of_device).collect()).await.unwrap();
            step_until_caught_up(&store, 5_000);
        }
        let found = devices(&store);
        assert_eq!(found, reference::devices(&all(&store, DEFAULT))[..1_000]);
    }

    async fn sessions_of_another_timeout_are_computed_anew_by_a_server_alone(database) {
        let open = |session_timeout| {
            let mut options = database.options();
            options.projections = false;
            options.session_timeout = session_timeout;
            Store::open(options).unwrap()
        };
        let found = |store: &Store| {
            let query = PageQuery { start: PageStart::First, limit: 10 };
            store.session_list(DEFAULT, &SessionFilter::default(), &query).map(|page| page.items.len())
        };
        let short = SessionTimeout::After(Duration::from_mins(10));
        let server = open(short);
        let at = |minute: i64| {
            let mut parts = parts("dev_1");
            parts.connection_type = "established".to_owned();
            parts.session_id = Some("7".to_owned());
            parts.timestamp = Timestamp::from_micros(minute * 60_000_000);
            Event::from_store(parts)
        };
        append(&server, vec![at(0), at(10), at(21), at(50)]).await.unwrap();
        step_until_caught_up(&server, 7);
        assert_eq!(found(&server).unwrap(), 3);

        let command = open(SessionTimeout::Kept);
        assert_eq!(command.projections_behind(DEFAULT).unwrap(), 0, "nothing begins anew");
        command.rebuild(DEFAULT, "sessions").unwrap().unwrap();
        step_until_caught_up(&command, 7);
        assert_eq!((found(&command).unwrap(), found(&server).unwrap()), (3, 3));
        drop(command);

        let next = open(SessionTimeout::After(Duration::from_mins(20)));
        assert_eq!(next.projections_behind(DEFAULT).unwrap(), 4);
        found(&server).expect_err("a server with the timeout of before");
        server.projections_step(DEFAULT, 7).unwrap();
        assert_eq!(found(&next).unwrap(), 2);
        drop(next);
        assert_eq!(found(&open(SessionTimeout::Never)).unwrap(), 1);
    }

    async fn projections_are_exact_without_a_step_and_after_many(database) {
        let mut options = database.options();
        options.projections = false;
        let store = Store::open(options).unwrap();
        // More events than a read adds itself: so it helps with the work.
        for _ in 0..21 {
            append(&store, events("dev_1", 5_000)).await.unwrap();
        }
        assert_eq!(devices(&store)[0].events, 105_000);
        assert!(store.projections_behind(DEFAULT).unwrap() <= 100_000);
        assert!(store.rebuild(DEFAULT, "elsewhere").unwrap().is_err());
    }
}
