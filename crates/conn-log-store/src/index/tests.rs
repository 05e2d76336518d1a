//! Every list, at every state of the index, against filtering and sorting in memory.

use conn_log_core::{
    Event, EventFields, EventFilter, EventQuery, MetadataFilter, MetadataPath, Order, Position,
    Record, Start, Timestamp,
};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{Sizes, Span, build, runs, worker};
use crate::connection::{AnyConnection, Role};
use crate::error::StoreError;
use crate::events::{EventPage, list_in};
use crate::options::PartitionSize;
use crate::partitions;
use crate::rows::{NewEventRow, insert};
use crate::scan::{Deadline, Rows, Scan};
use crate::schema::heads;
use crate::snapshot::{Plans, in_snapshot};
use crate::tenants::TenantId;
use crate::types::Micros;
use crate::url::DatabaseUrl;

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

/// A log whose timestamps are in order but for that much, in steps of a second.
fn log() -> impl Strategy<Value = Vec<Record>> {
    (proptest::collection::vec(event(), 0..400), select(vec![0, 1, 30])).prop_map(
        |(events, spread)| {
            let record = |(index, event): (usize, Event)| {
                let id = i64::try_from(index).unwrap() + 1;
                let mut parts = event.into_fields();
                let seconds = id + parts.timestamp.micros() * spread;
                parts.timestamp = Timestamp::from_micros(START + seconds * 1_000_000);
                Record {
                    id,
                    created_at: Timestamp::from_micros(START),
                    event: Event::from_store(parts),
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

/// Where logs are.
struct Database {
    connection: AnyConnection,
    last_tenant: i32,
    _folder: tempfile::TempDir,
}

impl Database {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("log.db"));
        crate::store::Store::migrate(&url).unwrap();
        // It sees both files, and may write to both.
        let connection = AnyConnection::open(&url, Role::Deriver).unwrap();
        Database { connection, last_tenant: 0, _folder: folder }
    }

    /// On the tests' server, which is thrown away with all that is left in it. `None` where it is to be
    /// left out.
    fn postgres() -> Option<Self> {
        let server = std::env::var("CONN_LOG_TEST_POSTGRES_URL").unwrap();
        if server == "skip" {
            return None;
        }
        let name = format!("conn_log_index_{}", uuid::Uuid::new_v4().simple());
        let mut admin = AnyConnection::open(&server.parse().unwrap(), Role::Writer).unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0).parse().unwrap();
        crate::store::Store::migrate(&url).unwrap();
        let mut connection = AnyConnection::open(&url, Role::Writer).unwrap();
        if let AnyConnection::Postgres(postgres) = &mut connection {
            let time = Timestamp::from_micros(START);
            partitions::ensure_in_txn(postgres, time, PartitionSize::Month).unwrap();
        }
        Some(Database { connection, last_tenant: 0, _folder: tempfile::tempdir().unwrap() })
    }

    /// A log of these records, of a tenant that has no other.
    fn log(&mut self, records: &[Record]) -> Log<'_> {
        self.last_tenant += 1;
        let tenant = TenantId(self.last_tenant);
        let size = records.last().map_or(0, |record| record.id);
        let rows = records.iter().map(|record| NewEventRow::new(tenant, record, &[0; 32]));
        self.connection
            .in_txn(|connection| {
                insert(connection, rows)?;
                diesel::delete(heads::table.find(tenant.0)).execute(connection)?;
                diesel::insert_into(heads::table)
                    .values((
                        heads::tenant_id.eq(tenant.0),
                        heads::size.eq(size),
                        heads::created_at_last.eq(Micros(Timestamp::from_micros(START))),
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
    /// Builds a run, if enough events are there.
    fn build(&mut self, level: i16) {
        let first = runs::indexed_to(self.connection, self.tenant).unwrap() + 1;
        let span = Span { first, last: first + SIZES.of(level) - 1 };
        if span.last > self.size {
            return;
        }
        let (new, blocks) = build::build(self.connection, self.tenant, level, span).unwrap();
        worker::write_in_txn(self.connection, new, &blocks).unwrap();
    }

    /// Merges what is due.
    fn merge(&mut self) {
        worker::merge_in_txn(self.connection, self.tenant, SIZES, || false).unwrap();
    }

    fn forget(&mut self) {
        runs::forget_in_txn(self.connection, self.tenant).unwrap();
    }

    fn list(&mut self, query: &EventQuery) -> EventPage {
        let deadline = Deadline::after(std::time::Duration::MAX);
        list_in(self.connection, self.tenant, query, None, deadline).unwrap()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Build,
    BuildLarge,
    Merge,
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => Just(Step::Build),
        3 => Just(Step::BuildLarge),
        10 => Just(Step::Merge),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 0..100)
}

/// Lists logs at random states of their index.
fn check(database: &mut Database) {
    let input = (log(), steps(), proptest::collection::vec(query(), 30));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    let database = std::cell::RefCell::new(database);
    runner
        .run(&input, |(records, steps, queries)| {
            let mut database = database.borrow_mut();
            let mut log = database.log(&records);
            for step in steps {
                match step {
                    Step::Build => log.build(0),
                    Step::BuildLarge => log.build(1),
                    Step::Merge => log.merge(),
                    Step::Forget => log.forget(),
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
fn a_page_is_what_a_scan_gives_at_every_state_of_the_index_on_sqlite() {
    check(&mut Database::sqlite());
}

#[test]
fn a_page_is_what_a_scan_gives_at_every_state_of_the_index_on_postgres() {
    if let Some(mut database) = Database::postgres() {
        check(&mut database);
    }
}

/// Some events of the log are gone, as retention leaves it: the index may still name them.
#[test]
fn an_event_that_is_gone_is_not_found() {
    let mut runner = TestRunner::deterministic();
    let records = loop {
        let records = log().new_tree(&mut runner).unwrap().current();
        if records.len() > 200 {
            break records;
        }
    };
    let mut database = Database::sqlite();
    let mut log = database.log(&records);
    (0..40).for_each(|_| log.build(0));
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

/// How PostgreSQL answers the statement that this connection prepared last, whatever its values.
fn plan_of_last(connection: &mut AnyConnection) -> QueryResult<String> {
    let last = "SELECT format('EXPLAIN EXECUTE %I (%s)', name,
            (SELECT string_agg('NULL', ', ') FROM unnest(parameter_types))) AS \"QUERY PLAN\"
        FROM pg_prepared_statements ORDER BY prepare_time DESC LIMIT 1";
    let explain: Line = diesel::sql_query(last).get_result(connection)?;
    let lines: Vec<Line> = diesel::sql_query(explain.text).load(connection)?;
    Ok(lines.into_iter().map(|line| line.text + "\n").collect())
}

/// A table that was never analysed is taken for one whose tenants are small, and going through one of
/// them in its order for the cheapest way.
#[test]
fn postgres_finds_the_places_of_a_page_s_rows_first_whatever_it_knows_of_the_table() {
    let Some(mut database) = Database::postgres() else { return };
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
        let plan = in_snapshot(log.connection, Plans::ByKey, |connection| {
            let scan = Scan {
                tenant: log.tenant,
                filter: &EventFilter::default(),
                order: Order::IdDescending,
                position: None,
                last: None,
                stored: None,
            };
            let ids: Vec<i64> = (1..=3_000).step_by(30).collect();
            assert_eq!(scan.read(connection, Rows::Of(&ids), 100)?.len(), 100);
            Ok::<String, StoreError>(plan_of_last(connection)?)
        });
        let plan = plan.unwrap();
        assert!(plan.contains("Bitmap Heap Scan on events_20231101"), "{plan}");
    }
}
