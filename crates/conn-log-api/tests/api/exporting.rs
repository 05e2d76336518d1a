//! Exports: the same records in three formats.

use std::time::{Duration, Instant};

use actix_web::body;
use actix_web::http::Method;
use parquet::basic::{ConvertedType, Type};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Database, EVENTS, TestApp, event, event_of};

async fn some_events(database: Database) -> TestApp {
    let app = TestApp::on(database).await;
    let mut full = event_of("=HYPERLINK(\"x\")");
    full["user_agent"] = "a \"quoted\", agent\nwith lines".into();
    full["ip_address"] = "10.0.0.1".into();
    full["duration"] = json!(1.5);
    full["metadata"] = json!({"signal_strength": -45, "text": "ü"});
    full["session_id"] = "-1+2".into();
    full["event_id"] = "e".into();
    let mut events = vec![full];
    events.extend((0..1_500).map(|n| event_of(&format!("d{}", n % 2))));
    assert_eq!(app.post(&json!(events)).await.status, 201);
    app
}

#[rstest]
#[actix_web::test]
async fn ndjson_holds_every_record_as_the_api_answers_it(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = some_events(database).await;
    let export = app.get(&format!("{EVENTS}export/")).await;
    assert_eq!(export.header("content-type"), Some("application/x-ndjson"));
    assert!(export.header("content-disposition").unwrap().contains("attachment"));
    let lines: Vec<&str> = export.body.lines().collect();
    assert_eq!(lines.len(), 1_501);
    assert_eq!(lines[0], app.get(&format!("{EVENTS}1/")).await.body);
    let ids: Vec<i64> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, (1..=1_501).collect::<Vec<i64>>());
}

#[rstest]
#[actix_web::test]
async fn an_export_that_fails_on_its_way_has_no_end(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut event = event_of("d");
    event["user_agent"] = "a".repeat(500).into();
    // The first page has more bytes than may wait for a client.
    assert_eq!(app.post(&json!(vec![event; 2_000])).await.status, 201);
    let export = app.open(app.request(Method::GET, &format!("{EVENTS}export/"))).await;
    assert_eq!(export.status(), 200);
    app.database.execute("ALTER TABLE events RENAME TO elsewhere");
    assert!(body::to_bytes(export.into_body()).await.is_err());
}

#[rstest]
#[actix_web::test]
async fn an_export_takes_the_list_s_filters(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = some_events(database).await;
    let export = app.get(&format!("{EVENTS}export/?format=ndjson&device_id=d1")).await;
    assert_eq!(export.body.lines().count(), 750);
    let none = app.get(&format!("{EVENTS}export/?device_id=none")).await;
    assert_eq!((none.status, none.body.as_str()), (200, ""));
    app.get(&format!("{EVENTS}export/?format=xml")).await.is_problem(400, "invalid-query");
    app.get(&format!("{EVENTS}export/?limit=5")).await.is_problem(400, "invalid-query");
}

#[rstest]
#[actix_web::test]
async fn csv_is_quoted_by_the_rules_and_holds_no_formula(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = some_events(database).await;
    let export = app.get(&format!("{EVENTS}export/?format=csv")).await;
    let mut reader = csv::Reader::from_reader(export.body.as_bytes());
    let names = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1_501);
    let cell = |name: &str| &rows[0][names.iter().position(|n| n == name).unwrap()];
    assert_eq!(cell("id"), "1");
    assert_eq!(cell("device_id"), "'=HYPERLINK(\"x\")");
    assert_eq!(cell("session_id"), "'-1+2");
    assert_eq!(cell("user_agent"), "a \"quoted\", agent\nwith lines");
    assert_eq!(cell("duration"), "1.5");
    assert_eq!(cell("metadata"), r#"{"signal_strength":-45,"text":"ü"}"#);
    assert!(export.body.starts_with("id,device_id,") && export.body.contains("\r\n"));
}

#[rstest]
#[actix_web::test]
async fn csv_for_a_spreadsheet_begins_with_a_byte_order_mark(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = some_events(database).await;
    let plain = app.get(&format!("{EVENTS}export/?format=csv&bom=false")).await.body;
    let export = app.get(&format!("{EVENTS}export/?format=csv&bom=true")).await.body;
    assert_eq!(export, format!("\u{feff}{plain}"));
    let refused = app.get(&format!("{EVENTS}export/?format=ndjson&bom=true")).await;
    refused.is_problem(400, "invalid-query");
}

#[rstest]
#[actix_web::test]
async fn parquet_has_typed_columns_and_every_row(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = some_events(database).await;
    let bytes = app.get_body(&format!("{EVENTS}export/?format=parquet")).await;
    let file = SerializedFileReader::new(bytes).unwrap();
    assert_eq!(file.metadata().file_metadata().num_rows(), 1_501);
    let schema = file.metadata().file_metadata().schema_descr();
    let column = |name: &str| schema.columns().iter().find(|c| c.name() == name).unwrap().clone();
    assert_eq!(column("timestamp").converted_type(), ConvertedType::TIMESTAMP_MICROS);
    assert_eq!(column("duration").physical_type(), Type::DOUBLE);
    assert_eq!(column("device_id").converted_type(), ConvertedType::UTF8);
    let row = file.get_row_iter(None).unwrap().next().unwrap().unwrap();
    assert_eq!((row.get_long(0).unwrap(), row.get_double(8).unwrap()), (1, 1.5));
    assert_eq!(row.get_string(5).unwrap(), "10.0.0.1");
    assert_eq!(row.get_string(11).unwrap(), "-1+2");
    let metadata = row.get_column_iter().nth(10).unwrap().1.to_string();
    assert!(metadata.contains("signal_strength"), "{metadata}");
}

/// More rows than are written at a time.
#[rstest]
#[actix_web::test]
async fn parquet_of_several_row_groups_holds_every_event_in_order(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let events = json!(vec![event(); 8_000]);
    for _ in 0..3 {
        assert_eq!(app.post(&events).await.status, 201);
    }
    let bytes = app.get_body(&format!("{EVENTS}export/?format=parquet")).await;
    let file = SerializedFileReader::new(bytes).unwrap();
    assert_eq!(file.metadata().num_row_groups(), 2);
    let rows = file.get_row_iter(None).unwrap();
    let ids: Vec<i64> = rows.map(|row| row.unwrap().get_long(0).unwrap()).collect();
    assert_eq!(ids, (1..=24_000).collect::<Vec<i64>>());
}

/// Four exports may run at a time. A thread that waited for a disconnected client would keep its
/// permit.
#[rstest]
#[actix_web::test]
async fn an_export_ends_with_its_client(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut large = event();
    large["metadata"] = json!({"text": "x".repeat(2_000)});
    assert_eq!(app.post(&json!(vec![large; 3_000])).await.status, 201);
    let path = format!("{EVENTS}export/");
    let open = async || app.open(app.request(Method::GET, &path)).await;

    let mut clients = Vec::new();
    for _ in 0..4 {
        let client = open().await;
        assert_eq!(client.status(), 200);
        clients.push(client);
    }
    assert_eq!(open().await.status(), 503, "each of them waits for its client to read");
    drop(clients);
    let begun = Instant::now();
    while open().await.status() != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the places are not given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[rstest]
#[actix_web::test]
async fn an_empty_log_exports_as_an_empty_file_of_its_format(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let csv = app.get(&format!("{EVENTS}export/?format=csv")).await;
    assert_eq!(csv.body.lines().count(), 1);
    let parquet = app.get_body(&format!("{EVENTS}export/?format=parquet")).await;
    let file = SerializedFileReader::new(parquet).unwrap();
    assert_eq!(file.metadata().file_metadata().num_rows(), 0);
    app.post(&event()).await;
    assert_eq!(app.get(&format!("{EVENTS}export/")).await.body.lines().count(), 1);
}
