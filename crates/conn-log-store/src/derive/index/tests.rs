//! Compares every list, at every state of the index, with filtering and sorting in memory.

use conn_log_core::{
    Event, EventFields, EventFilter, EventQuery, MetadataFilter, MetadataPath, Order, Position,
    Record, Start, Timestamp,
};
use conn_log_test_support::{Backend, TestDatabase};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{Sizes, add_in_txn, build, page, runs, upkeep};
use crate::derive::keys;
use crate::engine::{
    AnyConnection, DatabaseUrl, Engine, Micros, Plans, Role, Signals, in_snapshot,
};
use crate::error::StoreError;
use crate::log::heads::Head;
use crate::log::rows::insert_in_txn;
use crate::log::scan::{Deadline, Rows, Scan};
use crate::log::schema::heads;
use crate::log::span::Span;
use crate::log::texts::Packer;
use crate::options::PartitionSize;
use crate::page::EventPage;
use crate::tenant_id::TenantId;

/// Runs of a few blocks, so that a log of some thousand events has runs of every level.
const SIZES: Sizes = Sizes { smallest: 20 };
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
                Event::from_store(EventFields {
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

/// A log with many copies of a few events, in a pseudo-random order. Its timestamps are in order
/// except for small differences, in steps of a second. Most logs are short; some have several
/// blocks of every key, and more ids than a read tries one by one.
fn log() -> impl Strategy<Value = Vec<Record>> {
    let count = prop_oneof![2 => 0_i64..400, 1 => 8_000_i64..12_000];
    let events = proptest::collection::vec(event(), 1..200);
    (events, count, any::<u64>(), select(vec![0, 1, 30])).prop_map(
        |(events, count, seed, spread)| {
            let record = |id: i64| {
                let random = (id.cast_unsigned() ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
                let event = &events[usize::try_from(random).unwrap() % events.len()];
                let mut parts = event.clone().into_fields();
                let seconds = id + parts.timestamp.micros() * spread;
                parts.timestamp = Timestamp::from_micros(START + seconds * 1_000_000);
                Record {
                    id,
                    created_at: Timestamp::from_micros(START),
                    event: Event::from_store(parts),
                }
            };
            (1..=count).map(record).collect()
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
        let at = |second: i64| Some(Timestamp::from_micros(START + second * 1_000_000));
        let some = prop_oneof![-20_i64..430, -20_i64..12_500].prop_map(at);
        prop_oneof![2 => Just(None), 1 => some]
    };
    let session = prop_oneof![4 => Just(None), 1 => (0..9).prop_map(|n| Some(format!("s{n}")))];
    let metadata = prop_oneof![
        4 => Just(Vec::new()),
        1 => (0..3).prop_map(|n: i32| vec![MetadataFilter { path: MetadataPath::parse("n").unwrap(), value: n.to_string() }]),
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
        let (seconds, ids) = (prop_oneof![-20_i64..430, -20_i64..12_500], -1_i64..12_500);
        (seconds, ids).prop_map(|(second, id)| Position {
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

/// The expected page of a list.
fn expected(log: &[Record], query: &EventQuery) -> EventPage {
    let place = |record: &Record| match query.order {
        Order::IdAscending | Order::IdDescending => (Timestamp::EPOCH, record.id),
        _ => (record.event.fields().timestamp, record.id),
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

/// A database with test logs.
struct Database {
    connection: AnyConnection,
    last_tenant: i32,
    _database: TestDatabase,
}

impl Database {
    /// `None` if PostgreSQL is skipped.
    fn on(backend: Backend) -> Option<Self> {
        let database = TestDatabase::new(backend)?;
        let url: DatabaseUrl = database.url().parse().unwrap();
        Engine::migrate(&url).unwrap();
        // On SQLite this connection reads both files, and may write to both.
        let mut connection = AnyConnection::open(&url, Role::Deriver).unwrap();
        let time = Timestamp::from_micros(START);
        connection.ensure_partition_in_txn(time, PartitionSize::Month).unwrap();
        Some(Database { connection, last_tenant: 0, _database: database })
    }

    /// Creates a log with these records, for a tenant without other records.
    fn log(&mut self, records: &[Record]) -> Log<'_> {
        self.last_tenant += 1;
        let tenant = TenantId(self.last_tenant);
        let size = records.last().map_or(0, |record| record.id);
        let created_at_last = Micros(Timestamp::from_micros(START));
        let before = Head { tenant, size: 0, created_at_last, moved_to: None };
        let rows = records.iter().map(|record| (record, &[0; 32]));
        self.connection
            .in_txn(|connection| {
                let packer = &mut Packer::default();
                insert_in_txn(connection, packer, &before, (size, created_at_last), rows)?;
                diesel::delete(heads::table.find(tenant.0)).execute(connection)?;
                diesel::insert_into(heads::table)
                    .values((
                        heads::tenant_id.eq(tenant.0),
                        heads::first_id.eq(1_i64),
                        heads::size.eq(size),
                        heads::created_at_last.eq(created_at_last),
                    ))
                    .execute(connection)
            })
            .unwrap();
        Log { connection: &mut self.connection, tenant, size }
    }
}

struct Log<'a> {
    connection: &'a mut AnyConnection,
    tenant: TenantId,
    size: i64,
}

impl Log<'_> {
    /// Builds a run, if there are enough events.
    fn build(&mut self, level: i16) {
        let first = runs::indexed_to(self.connection, self.tenant).unwrap() + 1;
        let span = Span { first, last: first + SIZES.of(level) - 1 };
        if span.last > self.size {
            return;
        }
        let rows = keys::read(self.connection, self.tenant, span).unwrap();
        let (new, blocks) = build::build(self.tenant, level, span, &rows);
        add_in_txn(self.connection, new, &blocks).unwrap();
    }

    /// Merges the due runs.
    fn merge(&mut self) {
        upkeep::merge_in_txn(self.connection, self.tenant, SIZES, &Signals::new()).unwrap();
    }

    /// Deletes the index.
    fn clear(&mut self) {
        runs::hide_in_txn(self.connection, self.tenant).unwrap();
        while runs::clear_one_in_txn(self.connection, self.tenant).unwrap() {}
    }

    /// Removes the log's first events, as retention will: the index may still contain them.
    fn begin_at(&mut self, first_id: i64) {
        let delete =
            format!("DELETE FROM events WHERE tenant_id = {} AND id < {first_id}", self.tenant.0);
        self.connection.batch_execute(&delete).unwrap();
        diesel::update(heads::table.find(self.tenant.0))
            .set(heads::first_id.eq(first_id))
            .execute(self.connection)
            .unwrap();
    }

    fn list(&mut self, query: &EventQuery) -> EventPage {
        let deadline = Deadline::after(std::time::Duration::MAX);
        page(self.connection, self.tenant, query, None, deadline).unwrap()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Build,
    BuildLarge,
    Merge,
    Clear,
    /// In hundredths of the log.
    BeginAt(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => Just(Step::Build),
        3 => Just(Step::BuildLarge),
        10 => Just(Step::Merge),
        1 => Just(Step::Clear),
        1 => (0_i64..110).prop_map(Step::BeginAt),
    ];
    prop_oneof![
        proptest::collection::vec(step.clone(), 0..60),
        proptest::collection::vec(step, 300..600),
    ]
}

/// Compares lists of logs at random states of their index.
fn check(database: &mut Database) {
    let input = (log(), steps(), proptest::collection::vec(query(), 40));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(32));
    let database = std::cell::RefCell::new(database);
    runner
        .run(&input, |(mut records, steps, queries)| {
            let mut database = database.borrow_mut();
            let mut log = database.log(&records);
            for step in steps {
                match step {
                    Step::Build => log.build(0),
                    Step::BuildLarge => log.build(1),
                    Step::Merge => log.merge(),
                    Step::Clear => log.clear(),
                    Step::BeginAt(part) => {
                        let first_id = (log.size * part / 100).clamp(1, log.size + 1);
                        records.retain(|record| record.id >= first_id);
                        log.begin_at(records.first().map_or(log.size + 1, |record| record.id));
                    }
                }
            }
            for query in &queries {
                prop_assert_eq!(log.list(query), expected(&records, query), "{:?}", query);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_page_equals_a_scan_at_every_state_of_the_index_on_sqlite() {
    check(&mut Database::on(Backend::Sqlite).unwrap());
}

#[test]
fn a_page_equals_a_scan_at_every_state_of_the_index_on_postgres() {
    if let Some(mut database) = Database::on(Backend::Postgres) {
        check(&mut database);
    }
}

/// Some events of the log are removed, as by retention: the index may still contain them.
#[test]
fn an_event_that_is_gone_is_not_found() {
    let mut runner = TestRunner::deterministic();
    let records = loop {
        let records = log().new_tree(&mut runner).unwrap().current();
        if (200..400).contains(&records.len()) {
            break records;
        }
    };
    let mut database = Database::on(Backend::Sqlite).unwrap();
    let mut log = database.log(&records);
    (0..10).for_each(|_| log.build(0));
    log.connection.batch_execute("DELETE FROM events WHERE id % 3 = 0 OR id < 50").unwrap();
    let left: Vec<Record> =
        records.iter().filter(|r| r.id % 3 != 0 && r.id >= 50).cloned().collect();
    for _ in 0..200 {
        let query = query().new_tree(&mut runner).unwrap().current();
        assert_eq!(log.list(&query), expected(&left, &query), "{query:?}");
    }
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    text: String,
}

/// PostgreSQL's plan for the statement that this connection prepared last, for any values.
fn plan_of_last(connection: &mut AnyConnection) -> QueryResult<String> {
    let last = "SELECT format('EXPLAIN EXECUTE %I (%s)', name,
            (SELECT string_agg('NULL', ', ') FROM unnest(parameter_types))) AS \"QUERY PLAN\"
        FROM pg_prepared_statements ORDER BY prepare_time DESC LIMIT 1";
    let explain: Line = diesel::sql_query(last).get_result(connection)?;
    let lines: Vec<Line> = diesel::sql_query(explain.text).load(connection)?;
    Ok(lines.into_iter().map(|line| line.text + "\n").collect())
}

/// PostgreSQL takes the tenants of a table without statistics for small, and estimates a scan of
/// one of them in order as the cheapest plan.
#[test]
fn postgres_finds_the_rows_of_a_page_by_a_bitmap_whatever_it_knows_of_the_table() {
    let Some(mut database) = Database::on(Backend::Postgres) else { return };
    let off = "ALTER TABLE events_20231101 SET (autovacuum_enabled = off)";
    database.connection.batch_execute(off).unwrap();
    let event = event().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let record =
        |id| Record { id, created_at: Timestamp::from_micros(START), event: event.clone() };
    let records: Vec<Record> = (1..=3_000).map(record).collect();
    let log = database.log(&records);
    for is_analysed in [false, true] {
        if is_analysed {
            log.connection.batch_execute("ANALYZE events_20231101").unwrap();
        }
        let plan =
            in_snapshot(log.connection, std::time::Duration::MAX, Plans::ByKey, |connection| {
                let scan = Scan {
                    tenant: log.tenant,
                    filter: &EventFilter::default(),
                    order: Order::IdDescending,
                    position: None,
                    last: None,
                    created: None,
                };
                let ids: Vec<i64> = (1..=3_000).step_by(30).collect();
                assert_eq!(scan.read(connection, Rows::Of(&ids), 100)?.len(), 100);
                Ok::<String, StoreError>(plan_of_last(connection)?)
            });
        let plan = plan.unwrap();
        assert!(plan.contains("Bitmap Heap Scan on events_20231101"), "{plan}");
    }
}
