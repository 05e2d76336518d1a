//! Steps in the local time of a zone, and the first groups of each, compared with the simple
//! reference.

use conn_log_core::{Event, EventFields, Timestamp};
use conn_log_store::{Figure, GroupBy, Interval, Sort, StatisticsQuery, Store};
use conn_log_test_support::{DEFAULT, TestDatabase, append, on_both_databases, parts};

use super::scenario::all;
use super::{statistics, step_until_caught_up};

/// The time between two events: not a multiple of any unit of clocks.
const BETWEEN_MICROS: i64 = 17 * 60_000_000 + 300_000;

/// Events during three days from an instant on, of ten devices and three applications.
fn three_days(from: &str) -> Vec<Event> {
    let from = Timestamp::parse(from).unwrap().micros();
    let count = 3 * 86_400_000_000 / BETWEEN_MICROS;
    let event = |n: i64| EventFields {
        application_id: format!("app_{}", n % 3),
        status: ["success", "success", "timeout", "denied"][usize::try_from(n * n % 4).unwrap()]
            .to_owned(),
        timestamp: Timestamp::from_micros(from + n * BETWEEN_MICROS),
        duration: (n % 2 == 0).then_some(n as f64),
        ..parts(&format!("dev_{}", (n * n + n / 3) % 10))
    };
    (0..count).map(|n| Event::from_store(event(n))).collect()
}

/// A store that has taken in most of those events; the others are in its tail.
async fn filled(database: &TestDatabase, from: &str) -> Store {
    let mut options = database.options();
    options.projections = false;
    let store = Store::open(options).unwrap();
    let events = three_days(from);
    let (some, more) = events.split_at(200);
    append(&store, some.to_vec()).await.unwrap();
    step_until_caught_up(&store, 70);
    append(&store, more.to_vec()).await.unwrap();
    store
}

fn groups() -> [GroupBy; 5] {
    let none = GroupBy::default();
    let device = GroupBy { device_id: true, ..none };
    [
        none,
        GroupBy { application_id: true, ..none },
        GroupBy { status: true, ..none },
        device,
        GroupBy { application_id: true, ..device },
    ]
}

/// Asks for every interval and group, for whole days and for odd ranges, in order and the first two
/// of each step.
fn check_all(store: &Store, zone: &str) {
    let records = all(store, DEFAULT);
    let [first, last] =
        [&records[7], &records[records.len() - 9]].map(|r| r.event.fields().timestamp);
    let intervals = [
        None,
        Some(Interval::QuarterHour),
        Some(Interval::Hour),
        Some(Interval::Day),
        Some(Interval::Week),
        Some(Interval::Month),
    ];
    let first_failures = Sort { by: Figure::Failures, descending: true, limit: Some(2) };
    for interval in intervals {
        for group_by in groups() {
            for (since, until) in [(None, None), (Some(first), Some(last))] {
                for sort in [None, Some(first_failures)] {
                    let timezone = zone.parse().unwrap();
                    let query = StatisticsQuery {
                        since,
                        until,
                        interval,
                        timezone,
                        group_by,
                        sort,
                        ..StatisticsQuery::default()
                    };
                    statistics::check(store, &records, &query).unwrap();
                }
            }
        }
    }
}

/// The start of each local day of the events.
fn days(store: &Store, zone: &str) -> Vec<String> {
    let timezone = zone.parse().unwrap();
    let interval = Some(Interval::Day);
    let query = StatisticsQuery { interval, timezone, ..StatisticsQuery::default() };
    let answer = store.statistics(DEFAULT, &query).unwrap();
    answer.rows(0..answer.len()).map(|row| row.start.unwrap().to_string()).collect()
}

on_both_databases! {
    async fn a_day_of_23_hours_a_week_and_a_month_begin_where_berlins_clocks_say(database) {
        let store = filled(&database, "2024-03-30T08:00:00Z").await;
        let expected = ["2024-03-29T23:00:00Z", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z",
            "2024-04-01T22:00:00Z"];
        assert_eq!(days(&store, "Europe/Berlin"), expected);
        check_all(&store, "Europe/Berlin");
    }

    async fn a_day_of_25_hours_is_one_step(database) {
        let store = filled(&database, "2024-10-26T08:00:00Z").await;
        let expected = ["2024-10-25T22:00:00Z", "2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z",
            "2024-10-28T23:00:00Z"];
        assert_eq!(days(&store, "Europe/Berlin"), expected);
        check_all(&store, "Europe/Berlin");
    }

    async fn clocks_that_change_by_half_an_hour_are_followed_both_ways(database) {
        for (from, day) in [
            ("2024-04-05T20:00:00Z", "2024-04-07T13:30:00Z"),
            ("2024-10-04T20:00:00Z", "2024-10-06T13:00:00Z"),
        ] {
            let database = TestDatabase::new(database.backend()).unwrap();
            let store = filled(&database, from).await;
            assert!(days(&store, "Australia/Lord_Howe").iter().any(|start| start == day), "{day}");
            check_all(&store, "Australia/Lord_Howe");
        }
    }

    async fn days_hours_weeks_and_months_may_begin_within_an_hour_of_utc(database) {
        let store = filled(&database, "2023-12-30T08:00:00Z").await;
        for (zone, day) in [("Asia/Kolkata", "18:30:00Z"), ("Asia/Kathmandu", "18:15:00Z")] {
            assert!(days(&store, zone).iter().all(|start| start.ends_with(day)), "{zone}");
            check_all(&store, zone);
        }
    }

    async fn ties_at_the_last_place_go_by_keys(database) {
        let mut options = database.options();
        options.projections = false;
        let store = Store::open(options).unwrap();
        // Names get numbers in the order of their events, which is not the order of the names.
        let events = ["dev_c", "dev_a", "dev_b"].map(|device| {
            Event::from_store(EventFields { status: "timeout".to_owned(), ..parts(device) })
        });
        append(&store, events.to_vec()).await.unwrap();
        step_until_caught_up(&store, 2);
        let sort = Sort { by: Figure::Failures, descending: true, limit: Some(2) };
        let query = StatisticsQuery {
            group_by: GroupBy { device_id: true, ..GroupBy::default() },
            sort: Some(sort),
            ..StatisticsQuery::default()
        };
        let answer = store.statistics(DEFAULT, &query).unwrap();
        let devices: Vec<_> = answer.rows(0..9).map(|row| row.device_id.unwrap()).collect();
        assert_eq!(devices, ["dev_a", "dev_b"]);
        for by in [Figure::Events, Figure::FailureRate, Figure::Devices] {
            for descending in [true, false] {
                let sort = Some(Sort { by, descending, limit: Some(1) });
                let query = StatisticsQuery { sort, ..query.clone() };
                let answer = store.statistics(DEFAULT, &query).unwrap();
                assert_eq!(answer.rows(0..9).next().unwrap().device_id, Some("dev_a"));
            }
        }
    }
}
