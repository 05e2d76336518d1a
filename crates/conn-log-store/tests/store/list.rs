//! Lists: every filter, every order, pages both ways.

use conn_log_core::{
    Event, EventFilter, EventQuery, MetadataFilter, MetadataPath, Order, Position, Record, Start,
    Timestamp,
};
use conn_log_store::Store;
use conn_log_test_support::*;

const ORDERS: [Order; 4] = [
    Order::IdAscending,
    Order::IdDescending,
    Order::TimestampAscending,
    Order::TimestampDescending,
];

/// 40 events of 4 devices, whose timestamps go up and down and repeat.
async fn varied(store: &Store) -> Vec<Record> {
    let events = (0..40_i64)
        .map(|n| {
            let mut parts = parts(&format!("dev_{}", n % 4));
            parts.timestamp =
                Timestamp::from_micros(1_700_000_000_000_000 + (n * 7 % 5) * 1_000_000);
            Event::from_store(parts)
        })
        .collect();
    append(store, events).await.unwrap().iter().map(|a| a.record().unwrap().clone()).collect()
}

fn sorted(mut records: Vec<Record>, order: Order) -> Vec<Record> {
    let time = |record: &Record| (record.event.fields().timestamp, record.id);
    match order {
        Order::IdAscending => records.sort_by_key(|record| record.id),
        Order::IdDescending => records.sort_by_key(|record| -record.id),
        Order::TimestampAscending => records.sort_by_key(time),
        Order::TimestampDescending => records.sort_by_key(|record| std::cmp::Reverse(time(record))),
    }
    records
}

fn position(record: &Record) -> Position {
    Position { timestamp: record.event.fields().timestamp, id: record.id }
}

fn list(store: &Store, filter: EventFilter) -> Vec<i64> {
    let query =
        EventQuery { filter, order: Order::IdAscending, limit: 1_000, ..EventQuery::default() };
    store.event_list(DEFAULT, &query).unwrap().records.iter().map(|record| record.id).collect()
}

on_both_databases! {
    async fn no_place_to_begin_from_leads_into_another_log(db) {
        let store = db.open();
        let [between, after] = ["between", "after"].map(|name| store.tenant_create(name).unwrap().id);
        for tenant in [DEFAULT, between, after] {
            append_to(&store, tenant, events(&format!("of {}", tenant.0), 3)).await.unwrap();
        }
        for id in [i64::MIN, -1, 0, 2, 4, 1 << 44, 1 << 45, i64::MAX] {
            for order in [Order::IdAscending, Order::IdDescending] {
                let position = Position { timestamp: Timestamp::EPOCH, id };
                for start in [Start::After(position), Start::Before(position)] {
                    let query = EventQuery { order, start, limit: 9, ..EventQuery::default() };
                    let found = store.event_list(between, &query).unwrap().records;
                    let is_upwards =
                        (order == Order::IdAscending) == matches!(start, Start::After(_));
                    let beyond = |n: &i64| if is_upwards { *n > id } else { *n < id };
                    assert_eq!(found.len(), (1..=3).filter(beyond).count(), "{order:?} {start:?}");
                    assert!(found.iter().all(|record| record.event == event("of 2")));
                }
            }
        }
    }

    async fn pages_give_every_event_once_in_each_order_and_both_ways(db) {
        let store = db.open();
        let all = varied(&store).await;
        for order in ORDERS {
            let expected = sorted(all.clone(), order);
            let page = |start| {
                let query = EventQuery { order, start, limit: 7, ..EventQuery::default() };
                store.event_list(DEFAULT, &query).unwrap()
            };
            let mut forwards = Vec::new();
            let mut start = Start::First;
            loop {
                let page = page(start);
                assert!(page.records.len() <= 7);
                forwards.extend(page.records);
                assert_eq!(page.has_more, forwards.len() < all.len(), "{order:?}");
                if !page.has_more {
                    break;
                }
                start = Start::After(position(forwards.last().unwrap()));
            }
            assert_eq!(forwards, expected, "{order:?}");

            let mut backwards = vec![expected.last().unwrap().clone()];
            loop {
                let mut page = page(Start::Before(position(&backwards[0])));
                page.records.append(&mut backwards);
                backwards = page.records;
                if !page.has_more {
                    break;
                }
            }
            assert_eq!(backwards, expected, "{order:?} backwards");
        }
    }

    async fn an_empty_log_has_an_empty_page(db) {
        let store = db.open();
        for order in ORDERS {
            let query = EventQuery { order, limit: 10, ..EventQuery::default() };
            let page = store.event_list(DEFAULT, &query).unwrap();
            assert!(page.records.is_empty() && !page.has_more);
        }
    }

    async fn each_filter_keeps_its_events(db) {
        let store = db.open();
        let mut all = Vec::new();
        let mut add = |change: fn(&mut conn_log_core::EventFields)| {
            let mut parts = parts("dev_1");
            change(&mut parts);
            all.push(Event::from_store(parts));
        };
        add(|p| p.device_id = "dev_2".into());
        add(|p| p.application_id = "app_2".into());
        add(|p| p.connection_type = "terminated".into());
        add(|p| p.status = "failure".into());
        add(|p| p.ip_address = Some("10.1.2.3".parse().unwrap()));
        add(|p| p.ip_address = Some("2001:db8::7".parse().unwrap()));
        add(|p| p.ip_address = None);
        add(|p| p.session_id = Some("sess_1".into()));
        add(|p| p.timestamp = Timestamp::parse("2024-01-16T00:00:00Z").unwrap());
        add(|p| p.duration = None);
        add(|p| p.duration = Some(99.0));
        append(&store, all).await.unwrap();
        let all: Vec<i64> = (1..=11).collect();
        let but = |id: i64| all.iter().copied().filter(|n| *n != id).collect::<Vec<_>>();
        let some = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let none = EventFilter::default;

        assert_eq!(list(&store, none()), all);
        assert_eq!(list(&store, EventFilter { device_ids: some(&["dev_2"]), ..none() }), [1]);
        assert_eq!(list(&store, EventFilter { device_ids: some(&["dev_2", "dev_1"]), ..none() }), all);
        assert_eq!(list(&store, EventFilter { device_ids: some(&["nul\0"]), ..none() }), [0; 0]);
        assert_eq!(list(&store, EventFilter { application_ids: some(&["app_2"]), ..none() }), [2]);
        assert_eq!(list(&store, EventFilter { connection_types: some(&["terminated"]), ..none() }), [3]);
        assert_eq!(list(&store, EventFilter { statuses: some(&["success"]), ..none() }), but(4));
        let block = |text: &str| Some(text.parse::<ipnet::IpNet>().unwrap());
        for (network, expected) in [
            ("10.0.0.0/8", vec![5]),
            ("10.1.2.3/32", vec![5]),
            ("10.1.2.4/32", vec![]),
            ("2001:db8::/32", vec![6]),
            ("::/0", vec![6]),
            ("192.168.1.0/24", vec![1, 2, 3, 4, 8, 9, 10, 11]),
            ("0.0.0.0/0", vec![1, 2, 3, 4, 5, 8, 9, 10, 11]),
        ] {
            let found = list(&store, EventFilter { ip_network: block(network), ..none() });
            assert_eq!(found, expected, "{network}");
        }
        assert_eq!(list(&store, EventFilter { session_id: Some("sess_1".into()), ..none() }), [8]);
        let day = Timestamp::parse("2024-01-16T00:00:00Z");
        assert_eq!(list(&store, EventFilter { since: day, ..none() }), [9]);
        assert_eq!(list(&store, EventFilter { until: day, ..none() }), but(9));
        assert_eq!(list(&store, EventFilter { min_duration: Some(99.0), ..none() }), [11]);
        assert_eq!(list(&store, EventFilter { max_duration: Some(1.5), ..none() }).len(), 9);
        let two = EventFilter { statuses: some(&["success"]), device_ids: some(&["dev_2"]), ..none() };
        assert_eq!(list(&store, two), [1]);
    }

    async fn metadata_is_found_by_path_and_json_text(db) {
        let store = db.open();
        let texts = [
            r#"{"a":"x"}"#,
            r#"{"a":{"b":"x"}}"#,
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":true}"#,
            r#"{"a":null}"#,
            r#"{"a":-45.5}"#,
            r#"{"a.b":"dot"}"#,
            r#"{"a\"b\\":"quo\"te"}"#,
            r#"{"$":"dollar"}"#,
            r#"{"":"empty"}"#,
            r#"{"a":["x"]}"#,
            r#"{"ü":"é"}"#,
            r#"{"a":1e+21}"#,
        ];
        // SQLite packs metadata from the second event on that has its names.
        for _ in 0..3 {
            let events = texts.iter().map(|text| {
                let mut parts = parts("dev");
                parts.metadata = String::from(*text);
                Event::from_store(parts)
            });
            append(&store, events.collect()).await.unwrap();
        }
        let find = |path: &[&str], value: &str| {
            let names = path.iter().map(|name| (*name).to_owned()).collect();
            let path = MetadataPath::new(names).unwrap();
            let metadata = vec![MetadataFilter { path, value: value.to_owned() }];
            let found = list(&store, EventFilter { metadata, ..EventFilter::default() });
            let (first, others) = found.split_at(found.len() / 3);
            let again = |round: i64| first.iter().map(move |id| id + round * 14);
            assert_eq!(others, again(1).chain(again(2)).collect::<Vec<_>>());
            first.to_vec()
        };
        assert_eq!(find(&["a"], "x"), [1]);
        assert_eq!(find(&["a", "b"], "x"), [2]);
        assert_eq!(find(&["a"], "1"), [3, 4]);
        assert_eq!(find(&["a"], "1.0"), [0; 0]);
        assert_eq!(find(&["a"], "true"), [5]);
        assert_eq!(find(&["a"], "null"), [6]);
        assert_eq!(find(&["a"], "-45.5"), [7]);
        assert_eq!(find(&["a.b"], "dot"), [8]);
        assert_eq!(find(&["a\"b\\"], "quo\"te"), [9]);
        assert_eq!(find(&["$"], "dollar"), [10]);
        assert_eq!(find(&[""], "empty"), [11]);
        assert_eq!(find(&["a", "0"], "x"), [0; 0]);
        assert_eq!(find(&["ü"], "é"), [13]);
        assert_eq!(find(&["a"], "1e+21"), [14]);
        assert_eq!(find(&["nowhere"], "null"), [0; 0]);
        assert_eq!(find(&["a"], "nul\0"), [0; 0]);
    }
}
