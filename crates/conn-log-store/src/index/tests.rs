//! Every list, at every state of the index, against filtering and sorting in memory.

use conn_log_core::{
    Event, EventFilter, EventParts, EventQuery, MetadataFilter, Order, Position, Record, Start,
    Timestamp,
};
use diesel::connection::SimpleConnection;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;

use super::merge::{self, Merge};
use super::{Sizes, Span, build, runs};
use crate::connection::{AnyConnection, Role};
use crate::events::{EventPage, list_in};
use crate::rows::{NewEventRow, insert};
use crate::scan::Deadline;
use crate::tenants::TenantId;
use crate::url::DatabaseUrl;

const TENANT: TenantId = TenantId::DEFAULT;
const SIZES: Sizes = Sizes { smallest: 5 };
const START: i64 = 1_700_000_000_000_000;

fn event() -> impl Strategy<Value = Event> {
    let address = prop_oneof![
        1 => Just(None),
        6 => (0_u8..4, 0_u8..4).prop_map(|(a, b)| Some([10, a, 0, b].into())),
        1 => (0_u16..3).prop_map(|a| Some([0x2001, 0xdb8, a, 0, 0, 0, 0, 1].into())),
    ];
    let session = prop_oneof![Just(None), (0..9).prop_map(|n| Some(format!("s{n}")))];
    let duration = prop_oneof![Just(None), (0_u8..5).prop_map(|n| Some(f64::from(n)))];
    (
        (select(vec!["d", "d1", "d2", "d\u{fc}"]), select(vec!["a", "a1"])),
        select(vec!["success", "success", "failure", "denied"]),
        -20_i64..20,
        (address, session, duration, 0..3),
    )
        .prop_map(
            |((device, application), status, time, (ip_address, session_id, duration, n))| {
                Event::restore(EventParts {
                    device_id: device.to_owned(),
                    application_id: application.to_owned(),
                    connection_type: "established".to_owned(),
                    status: status.to_owned(),
                    timestamp: Timestamp::from_micros(time),
                    ip_address,
                    user_agent: None,
                    duration,
                    session_id,
                    event_id: None,
                    metadata: format!(r#"{{"n":{n}}}"#),
                })
            },
        )
}

/// A log whose timestamps are in order but for that much, in steps of a second.
fn log() -> impl Strategy<Value = Vec<Record>> {
    (proptest::collection::vec(event(), 0..400), select(vec![0, 1, 30])).prop_map(
        |(events, spread)| {
            let record = |(index, event): (usize, Event)| {
                let id = i64::try_from(index).unwrap() + 1;
                let mut parts = event.into_parts();
                let seconds = id + parts.timestamp.micros() * spread;
                parts.timestamp = Timestamp::from_micros(START + seconds * 1_000_000);
                Record {
                    id,
                    created_at: Timestamp::from_micros(START),
                    event: Event::restore(parts),
                }
            };
            events.into_iter().enumerate().map(record).collect()
        },
    )
}

fn filter() -> impl Strategy<Value = EventFilter> {
    let texts = |all: &[&'static str]| {
        let some = proptest::sample::subsequence(all.to_vec(), 0..=all.len().min(3));
        let some = some.prop_map(|some| some.into_iter().map(String::from).collect::<Vec<_>>());
        prop_oneof![2 => Just(Vec::new()), 1 => some]
    };
    let network = select(vec!["10.0.0.0/8", "10.1.0.0/16", "10.2.0.3/32", "2001:db8::/32", "::/0"])
        .prop_map(|text| Some(text.parse().unwrap()));
    let time = || {
        let some = (-20_i64..430)
            .prop_map(|second| Some(Timestamp::from_micros(START + second * 1_000_000)));
        prop_oneof![2 => Just(None), 1 => some]
    };
    let session = prop_oneof![4 => Just(None), 1 => (0..9).prop_map(|n| Some(format!("s{n}")))];
    let metadata = prop_oneof![
        4 => Just(Vec::new()),
        1 => (0..3).prop_map(|n: i32| vec![MetadataFilter { path: vec!["n".into()], value: n.to_string() }]),
    ];
    (
        (texts(&["d", "d1", "d2", "d\u{fc}", "nul\0", "x"]), texts(&["a", "a1", "x"])),
        texts(&["success", "failure", "denied"]),
        (prop_oneof![2 => Just(None), 1 => network], session, metadata),
        (time(), time()),
        prop_oneof![4 => Just(None), 1 => (0_u8..5).prop_map(|n| Some(f64::from(n)))],
    )
        .prop_map(
            |(ids, statuses, (ip_network, session_id, metadata), (since, until), min)| {
                EventFilter {
                    device_ids: ids.0,
                    application_ids: ids.1,
                    statuses,
                    ip_network,
                    session_id,
                    since,
                    until,
                    metadata,
                    min_duration: min,
                    ..EventFilter::default()
                }
            },
        )
}

fn query() -> impl Strategy<Value = EventQuery> {
    let orders = vec![
        Order::IdAscending,
        Order::IdDescending,
        Order::TimestampAscending,
        Order::TimestampDescending,
    ];
    let position = || {
        (-20_i64..430, -1_i64..410).prop_map(|(second, id)| Position {
            timestamp: Timestamp::from_micros(START + second * 1_000_000),
            id,
        })
    };
    let start = prop_oneof![
        Just(Start::First),
        position().prop_map(Start::After),
        position().prop_map(Start::Before),
    ];
    (filter(), select(orders), start, prop_oneof![1_usize..8, 50_usize..500])
        .prop_map(|(filter, order, start, limit)| EventQuery { filter, order, start, limit })
}

/// What a list is to give.
fn expected(log: &[Record], query: &EventQuery) -> EventPage {
    let place = |record: &Record| match query.order {
        Order::IdAscending | Order::IdDescending => (Timestamp::EPOCH, record.id),
        _ => (record.event.parts().timestamp, record.id),
    };
    let is_descending = matches!(query.order, Order::IdDescending | Order::TimestampDescending);
    let mut all: Vec<Record> =
        log.iter().filter(|record| query.filter.matches(&record.event)).cloned().collect();
    all.sort_by_key(place);
    if is_descending {
        all.reverse();
    }
    let at = |position: Position| match query.order {
        Order::IdAscending | Order::IdDescending => (Timestamp::EPOCH, position.id),
        _ => (position.timestamp, position.id),
    };
    let is_backwards = matches!(query.start, Start::Before(_));
    all.retain(|record| match query.start {
        Start::First => true,
        Start::After(position) if is_descending => place(record) < at(position),
        Start::After(position) => place(record) > at(position),
        Start::Before(position) if is_descending => place(record) > at(position),
        Start::Before(position) => place(record) < at(position),
    });
    let has_more = all.len() > query.limit;
    let records = if is_backwards {
        all.split_off(all.len().saturating_sub(query.limit))
    } else {
        all.truncate(query.limit);
        all
    };
    EventPage { records, has_more }
}

struct Log {
    connection: AnyConnection,
    _folder: tempfile::TempDir,
}

impl Log {
    fn new(records: &[Record]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("log.db"));
        crate::store::Store::migrate(&url).unwrap();
        // It sees both files, and may write to both.
        let connection = AnyConnection::open(&url, Role::Deriver).unwrap();
        let mut log = Log { connection, _folder: folder };
        log.append(records);
        log
    }

    fn append(&mut self, records: &[Record]) {
        let size = records.last().map_or(0, |record| record.id);
        let rows = records.iter().map(|record| NewEventRow::new(TENANT, record, &[0; 32]));
        self.connection
            .in_txn(|connection| {
                insert(connection, rows)?;
                connection.batch_execute(&format!("UPDATE heads SET size = max(size, {size})"))
            })
            .unwrap();
    }

    /// Builds a run, if enough events are there.
    fn build(&mut self, size: i64, level: i16) {
        let first = runs::indexed_to(&mut self.connection, TENANT).unwrap() + 1;
        let span = Span { first, last: first + SIZES.of(level) - 1 };
        if span.last > size {
            return;
        }
        let (new, blocks) = build::build(&mut self.connection, TENANT, level, span).unwrap();
        let run = runs::begin_in_txn(&mut self.connection, new).unwrap();
        runs::write_in_txn(&mut self.connection, run, &blocks).unwrap();
        let count = blocks.len();
        assert!(runs::finish_in_txn(&mut self.connection, run, &new, count, &[]).unwrap());
    }

    /// Merges what is due; stops before the end, as a crash does, if told so.
    fn merge(&mut self, is_cut_short: bool) {
        let all = runs::ready(&mut self.connection, TENANT).unwrap();
        let Some(mut merge) = merge::due(&all, SIZES).and_then(|some| Merge::new(TENANT, some))
        else {
            return;
        };
        let run = runs::begin_in_txn(&mut self.connection, merge.new).unwrap();
        let mut count = 0;
        loop {
            let blocks = merge.step(&mut self.connection, 2).unwrap();
            runs::write_in_txn(&mut self.connection, run, &blocks).unwrap();
            count += blocks.len();
            if blocks.len() < 2 {
                break;
            }
        }
        if !is_cut_short {
            let new = merge.new;
            let inputs = merge.inputs;
            assert!(runs::finish_in_txn(&mut self.connection, run, &new, count, &inputs).unwrap());
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Build,
    BuildLarge,
    Merge,
    MergeCutShort,
    Remove,
    Drop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => Just(Step::Build),
        3 => Just(Step::BuildLarge),
        10 => Just(Step::Merge),
        1 => Just(Step::MergeCutShort),
        3 => Just(Step::Remove),
        1 => Just(Step::Drop),
    ];
    proptest::collection::vec(step, 0..100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_page_is_what_a_scan_gives_at_every_state_of_the_index(
        records in log(),
        steps in steps(),
        queries in proptest::collection::vec(query(), 30),
    ) {
        let mut log = Log::new(&records);
        let size = i64::try_from(records.len()).unwrap();
        for step in steps {
            match step {
                Step::Build => log.build(size, 0),
                Step::BuildLarge => log.build(size, 1),
                Step::Merge => log.merge(false),
                Step::MergeCutShort => log.merge(true),
                Step::Remove => { runs::remove_in_txn(&mut log.connection, 1).unwrap(); }
                Step::Drop => { runs::drop_all_in_txn(&mut log.connection).unwrap(); }
            }
        }
        let deadline = Deadline::after(std::time::Duration::MAX);
        for query in &queries {
            let page = list_in(&mut log.connection, TENANT, query, deadline).unwrap();
            prop_assert_eq!(page, expected(&records, query), "{:?}", query);
        }
    }
}

/// Some events of the log are gone, as retention leaves it: the index may still name them.
#[test]
fn an_event_that_is_gone_is_not_found() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let records = loop {
        let records = log().new_tree(&mut runner).unwrap().current();
        if records.len() > 200 {
            break records;
        }
    };
    let mut log = Log::new(&records);
    (0..40).for_each(|_| log.build(200, 0));
    log.connection.batch_execute("DELETE FROM events WHERE id % 3 = 0 OR id < 50").unwrap();
    let left: Vec<Record> =
        records.iter().filter(|r| r.id % 3 != 0 && r.id >= 50).cloned().collect();
    let deadline = Deadline::after(std::time::Duration::MAX);
    for _ in 0..200 {
        let query = query().new_tree(&mut runner).unwrap().current();
        let page = list_in(&mut log.connection, TENANT, &query, deadline).unwrap();
        assert_eq!(page, expected(&left, &query), "{query:?}");
    }
}
