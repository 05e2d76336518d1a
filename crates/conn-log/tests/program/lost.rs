//! A log that has lost its last events.

use conn_log_test_support::{Backend, TestDatabase};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde_json::{Value, json};

use crate::running::{Running, run, wait_until};
use crate::two_servers::post;

#[derive(QueryableByName)]
struct Watermark {
    #[diesel(sql_type = BigInt)]
    watermark: i64,
}

fn derived_to(database: &TestDatabase) -> i64 {
    let query = "SELECT coalesce(min(watermark), 0) AS watermark FROM derived.positions
        WHERE name <> 'index'";
    diesel::sql_query(query).get_result::<Watermark>(&mut database.sqlite()).unwrap().watermark
}

#[test]
fn a_server_whose_write_ahead_log_was_deleted_starts_only_if_the_loss_is_accepted() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start(&database);
    let kept = database.file().with_extension("kept");
    // The copy lacks the content of the write-ahead log.
    std::fs::copy(database.file(), &kept).unwrap();
    let event = json!({
        "device_id": "device_1", "application_id": "app_1", "connection_type": "established",
        "timestamp": "2024-01-15T10:30:00Z", "status": "success",
    });
    post(&server, &Value::Array(vec![event.clone(); 5]));
    wait_until("all is derived", || derived_to(&database) == 5);
    server.signal("-TERM");
    assert_eq!(server.wait().0, Some(0));
    std::fs::rename(&kept, database.file()).unwrap();

    let refused = run(&database, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("the events 1 to 5 of tenant 1"), "{said}");
    assert!(said.contains("--accept-lost-events"), "{said}");

    let server = Running::start_with(&database, &["--accept-lost-events"]);
    post(&server, &Value::Array(vec![event; 2]));
    let ids: Vec<i64> = server.feed().iter().map(|record| record["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [6, 7]);
}
