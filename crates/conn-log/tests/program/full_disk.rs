//! A disk that takes no more: a 503 that says when to come back, and nothing lost.

use conn_log_test_support::{Backend, TestDatabase};
use serde_json::json;

use crate::running::Running;

/// Refusals to wait for. The server copies its write-ahead log into its file now and then, which
/// makes room, so that the first one is not the last.
const REFUSALS: usize = 4;

/// An answer's status, and whether it has `Retry-After`.
fn post(server: &Running, query: &str, content_type: &str, body: &str) -> (u16, bool) {
    let answer = ureq::post(format!("{}{query}", server.events()))
        .config()
        .http_status_as_error(false)
        .build()
        .header("authorization", format!("Bearer {}", server.token))
        .header("content-type", content_type)
        .send(body)
        .unwrap();
    (answer.status().as_u16(), answer.headers().contains_key("retry-after"))
}

#[test]
fn a_full_disk_is_a_503_for_events_and_for_rejects_and_never_a_500() {
    let Some(database) = TestDatabase::new(Backend::Sqlite) else { return };
    let server = Running::start_with_files_up_to(&database, 4 << 10);
    let event = json!({
        "device_id": "dev", "application_id": "app", "connection_type": "established",
        "timestamp": "2024-01-15T10:30:00Z", "status": "success",
        "metadata": {"filling": "x".repeat(10_000)},
    });
    let events = json!(vec![event; 50]).to_string();
    let (mut stored, mut kept, mut refused) = (0, 0, [0, 0]);
    for round in 0..500 {
        match post(&server, "", "application/json", &events) {
            (201, _) => stored += 50,
            (503, true) => refused[0] += 1,
            other => panic!("{other:?} in round {round}"),
        }
        match post(&server, "?on_reject=keep", "application/json", &"x".repeat(100_000)) {
            (200, _) => kept += 1,
            (503, true) => refused[1] += 1,
            other => panic!("{other:?} in round {round}"),
        }
        if refused.iter().all(|count| *count >= REFUSALS) {
            break;
        }
    }
    assert!(refused.iter().all(|count| *count >= REFUSALS), "it was never full: {refused:?}");
    assert!(stored > 0 && kept > 0);
    drop(server);

    let server = Running::start(&database);
    assert_eq!(server.feed().len(), stored);
    let url = format!("{}/api/v1/rejects/?limit=1000", server.base);
    let authorization = format!("Bearer {}", server.token);
    let mut page = ureq::get(url).header("authorization", authorization).call().unwrap();
    let page: serde_json::Value = page.body_mut().read_json().unwrap();
    assert_eq!(page["results"].as_array().map(Vec::len), Some(kept));
    assert_eq!(post(&server, "", "application/json", &events).0, 201);
}
