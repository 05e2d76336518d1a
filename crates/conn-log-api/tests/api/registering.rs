//! Single events, both editions.

use rstest::rstest;
use serde_json::json;

use crate::test_app::{Database, EVENTS, TestApp, event};

const FIRST_EDITION: &str = r#"{"data": "{\"device_id\": \"dev_12345\", \"app_id\": \"app_67890\", \"connection_type\": \"wifi\", \"connection_status\": \"connected\", \"timestamp\": \"2024-01-15T10:30:00Z\", \"ip_address\": \"192.168.1.100\", \"signal_strength\": -45, \"data_transferred\": 1024}"}"#;

#[rstest]
#[actix_web::test]
async fn the_first_edition_s_example_gets_the_first_edition_s_answer(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let answer = app.post_as("application/json", FIRST_EDITION).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let record = app.get(&format!("{EVENTS}log_1/")).await.json();
    let created_at = record["created_at"].as_str().unwrap();
    let expected = format!(r#"{{"id":"log_1","status":"created","timestamp":"{created_at}"}}"#);
    assert_eq!(answer.body, expected);
    assert_eq!(record["application_id"], "app_67890");
    assert_eq!(record["connection_type"], "established");
    assert_eq!(record["status"], "success");
    assert_eq!(
        record["metadata"],
        json!({"network_type": "wifi", "connection_status": "connected",
            "signal_strength": -45, "data_transferred": 1024})
    );
}

#[rstest]
#[actix_web::test]
async fn the_second_edition_gets_the_record_in_the_page_s_order(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let answer = app
        .post(&json!({
            "device_id": "dev_12345", "application_id": "app_67890",
            "connection_type": "established", "timestamp": "2024-01-15T12:30:00.5+02:00",
            "ip_address": "2001:DB8:0:0:0:0:0:1", "user_agent": "Agent/1.0", "status": "failed",
            "metadata": {"protocol": "TLS 1.3", "attempt": 1.0}, "session_id": "s-1",
            "event_id": "e-1", "duration": 12
        }))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.header("location"), Some("/api/v1/device_app_connection_log/1/"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let created_at = answer.json()["created_at"].as_str().unwrap().to_owned();
    assert_eq!(
        answer.body,
        format!(
            r#"{{"id":1,"device_id":"dev_12345","application_id":"app_67890","connection_type":"established","timestamp":"2024-01-15T10:30:00.500Z","ip_address":"2001:db8::1","user_agent":"Agent/1.0","status":"failure","duration":12,"created_at":"{created_at}","metadata":{{"attempt":1,"protocol":"TLS 1.3"}},"session_id":"s-1","event_id":"e-1"}}"#
        )
    );
    assert_eq!(app.get(&format!("{EVENTS}1")).await.body, answer.body);
}

#[rstest]
#[actix_web::test]
async fn an_event_without_the_optional_fields_shows_them_as_null(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let record = app.post(&event()).await.json();
    assert_eq!(record["ip_address"], json!(null));
    assert_eq!(record["user_agent"], json!(null));
    assert_eq!(record["duration"], json!(null));
    assert_eq!(record["metadata"], json!({}));
    assert!(record.get("session_id").is_none() && record.get("event_id").is_none());
}

#[rstest]
#[actix_web::test]
async fn a_form_an_envelope_and_a_flat_body_register_alike(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let flat = event().to_string();
    let envelope = json!({"data": flat}).to_string();
    let form = serde_urlencoded::to_string([("data", &flat)]).unwrap();
    let utf8 = "application/json; charset=utf-8";
    for (content_type, body) in [
        ("application/json", &flat),
        (utf8, &envelope),
        ("application/x-www-form-urlencoded", &form),
    ] {
        let answer = app.post_as(content_type, body.as_str()).await;
        assert_eq!(answer.status, 201, "{content_type}: {}", answer.body);
        assert_eq!(answer.json()["device_id"], "dev_1");
    }
}

#[rstest]
#[actix_web::test]
async fn a_secret_in_the_metadata_is_stored_nowhere(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut event = event();
    event["metadata"] = json!({"auth": {"password": "hunter2"}, "list": [{"api_key": "hunter2"}]});
    event["access_token"] = "hunter2".into();
    let answer = app.post(&event).await;
    assert_eq!(answer.status, 201);
    let stored = app.get(&format!("{EVENTS}1/")).await;
    assert!(!stored.body.contains("hunter2"), "{}", stored.body);
    assert_eq!(stored.json()["metadata"]["access_token"], "[REDACTED]");
    assert_eq!(stored.json()["metadata"]["list"][0]["api_key"], "[REDACTED]");
}

#[rstest]
#[actix_web::test]
async fn a_post_works_with_and_without_the_trailing_slash(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for path in [EVENTS, EVENTS.trim_end_matches('/')] {
        let request = app.request(actix_web::http::Method::POST, path).set_json(event());
        assert_eq!(app.send(request).await.status, 201);
    }
    assert_eq!(app.get(EVENTS).await.json()["results"].as_array().unwrap().len(), 2);
}
