//! Changes as merge patches, notes of people, and times in a query beside a body.

use actix_web::http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::document::{document, operations};
use crate::test_app::{Answer, Database, EVENTS, TestApp, event};
use crate::watching::{ALERTS, RULES, burst, denied};
use crate::webhooks::WEBHOOKS;

impl TestApp {
    async fn patch_as(&self, content_type: &str, path: &str, body: &Value) -> Answer {
        let request =
            self.request(Method::PATCH, path).insert_header(("content-type", content_type));
        self.send(request.set_payload(body.to_string())).await
    }
}

const MERGE_PATCH: &str = "application/merge-patch+json";

#[rstest]
#[actix_web::test]
async fn a_merge_patch_merges_objects_and_plain_json_replaces_them(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut rule = burst();
    rule["params"]["window_seconds"] = 90.into();
    rule["filter"] = json!({"device_id": "d", "application_id": "a"});
    rule["severity"] = "info".into();
    let rule = format!("{RULES}{}/", app.rule(&rule).await);
    let patch = json!({"params": {"threshold": 9}, "filter": {"device_id": null, "status": "denied"},
        "exclude": {"device_id": "x", "status": null}, "severity": null});
    let changed = app.patch_as("Application/Merge-Patch+JSON; charset=utf-8", &rule, &patch).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let changed = changed.json();
    assert_eq!(changed["params"], json!({"threshold": 9, "window_seconds": 90}));
    assert_eq!(changed["filter"], json!({"application_id": "a", "status": "denied"}));
    assert_eq!(changed["exclude"], json!({"device_id": "x"}));
    assert_eq!(changed["severity"], "warning");
    let plain = json!({"params": {"threshold": 8}, "filter": {"device_id": "e"}});
    let changed = app.send_json(Method::PATCH, &rule, &plain).await.json();
    assert_eq!(changed["params"], json!({"threshold": 8, "window_seconds": 60}));
    assert_eq!(changed["filter"], json!({"device_id": "e"}));

    let new = json!({"url": "https://example.com",
        "filter": {"kind": "match", "severity": ["info", "critical"], "rule_id": 1}});
    let (webhook, _) = app.webhook(&new).await;
    let patch = json!({"filter": {"severity": "info", "kind": null}});
    let changed = app.patch_as(MERGE_PATCH, &webhook, &patch).await;
    assert_eq!(changed.json()["filter"], json!({"rule_id": [1], "severity": ["info"]}));
    let changed = app.send_json(Method::PATCH, &webhook, &patch).await;
    assert_eq!(changed.json()["filter"], json!({"severity": ["info"]}));

    for path in [&rule, &webhook] {
        let answer = app.patch_as("application/xml", path, &json!({})).await;
        answer.is_problem(415, "unsupported-media-type");
        let taken = Some("application/json, application/merge-patch+json");
        assert_eq!(answer.header("accept-patch"), taken);
    }
    let request = app.request(Method::POST, WEBHOOKS);
    let request = request.insert_header(("content-type", MERGE_PATCH)).set_payload("{}");
    app.send(request).await.is_problem(415, "unsupported-media-type");
}

#[rstest]
#[actix_web::test]
async fn a_note_has_line_breaks_and_a_thousand_characters(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.rule(&burst()).await;
    let events: Vec<Value> = (1..4).map(|n| denied("d", n, "10.0.0.1")).collect();
    app.post(&json!(events)).await;
    app.alerts("", 1).await;
    let path = format!("{ALERTS}1/acknowledge/");
    for (note, code) in [
        (String::new(), "length"),
        ("x".repeat(1_001), "length"),
        ("a\u{0}".to_owned(), "control_character"),
        ("a\r\nb".to_owned(), "control_character"),
        ("a\u{1b}[0m".to_owned(), "control_character"),
    ] {
        let answer = app.send_json(Method::POST, &path, &json!({"note": note})).await;
        answer.is_problem(422, "invalid-value");
        assert_eq!(answer.faults(), [("/note".to_owned(), code.to_owned())], "{note:?}");
    }
    let answer = app.send_json(Method::POST, &path, &json!({"note": 7})).await;
    answer.is_problem(400, "invalid-object");
    let note = format!("checked the gateway:\n\t- {}\n", "é".repeat(975));
    assert_eq!(note.chars().count(), 1_000);
    let answer = app.send_json(Method::POST, &path, &json!({"note": note})).await;
    assert_eq!((answer.status, &answer.json()["note"]), (200, &json!(note)));
    assert_eq!(app.get(&format!("{ALERTS}1/")).await.json()["note"], json!(note));
}

#[rstest]
#[actix_web::test]
async fn the_times_of_a_redelivery_are_the_querys_and_else_the_bodys(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let (webhook, _) = app.webhook(&json!({"url": "https://example.com"})).await;
    let path = |query: &str| format!("{webhook}redeliver/{query}");
    let (early, late) = ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
    for (query, body) in [
        (format!("?until={late}"), json!({"since": early})),
        (format!("?since={early}"), json!({"until": late})),
        (format!("?since={early}&until={late}"), json!({"since": late, "until": early})),
        (format!("?since={early}"), json!({})),
    ] {
        let answer = app.send_json(Method::POST, &path(&query), &body).await;
        assert_eq!(answer.status, 202, "{query} {body}: {}", answer.body);
    }
    for (query, body, fault) in [
        (format!("?until={early}"), json!({"since": late}), ("/until", "out_of_range")),
        (format!("?since={late}"), json!({"until": early}), ("/until", "out_of_range")),
        (format!("?until={late}"), json!({}), ("/since", "missing")),
        (format!("?since={early}"), json!({"until": 7}), ("/until", "wrong_type")),
        (format!("?since={early}"), json!({"x": 7}), ("/x", "unknown")),
    ] {
        let answer = app.send_json(Method::POST, &path(&query), &body).await;
        let expected = (fault.0.to_owned(), fault.1.to_owned());
        assert_eq!(answer.faults(), [expected], "{query} {body}: {}", answer.body);
    }
    let query = format!("?since={late}&until={early}");
    let answer = app.send_empty(Method::POST, &path(&query)).await;
    answer.is_problem(422, "invalid-value");
    assert_eq!(answer.faults(), [("/until".to_owned(), "out_of_range".to_owned())]);
}

#[rstest]
#[actix_web::test]
async fn the_hint_on_plus_is_for_queries_only(#[values(Database::Sqlite)] database: Database) {
    let app = TestApp::on(database).await;
    let (webhook, _) = app.webhook(&json!({"url": "https://example.com"})).await;
    let mut rule = burst();
    rule["filter"] = json!({"since": "2024-01-15 10:30", "until": "x"});
    let silence = json!({"severity": "info", "until": "tomorrow", "reason": "x"});
    let mut preview = burst();
    preview["since"] = "x".into();
    for (path, body) in [
        (RULES.to_owned(), rule),
        ("/api/v1/silences/".to_owned(), silence),
        (format!("{webhook}redeliver/"), json!({"since": "x"})),
        (format!("{RULES}preview/"), preview),
    ] {
        let answer = app.send_json(Method::POST, &path, &body).await;
        answer.is_problem(422, "invalid-value");
        assert!(answer.body.contains("RFC 3339"), "{}", answer.body);
        assert!(!answer.body.contains("%2B"), "{}", answer.body);
    }
    for path in [EVENTS, ALERTS, "/api/v1/sessions/", "/api/v1/devices/"] {
        let name = if path.contains("devices") { "seen_since" } else { "since" };
        let answer = app.get(&format!("{path}?{name}=x")).await;
        assert!(answer.body.contains("%2B"), "{path}: {}", answer.body);
    }
}

#[rstest]
#[actix_web::test]
async fn an_envelope_may_have_members_beside_its_data(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let envelope = json!({"data": event().to_string(), "source": "gate", "v": {"data": 1}});
    let answer = app.post(&envelope).await;
    assert_eq!((answer.status, &answer.json()["id"]), (201, &json!(1)), "{}", answer.body);
    let mixed = json!({"data": event().to_string(), "device_id": "d"});
    app.post(&mixed).await.is_problem(400, "invalid-body");
    let twice = r#"{"data": "{}", "x": 1, "x": 2}"#;
    let answer = app.post_as("application/json", twice).await;
    assert!(answer.faults().contains(&("/x".to_owned(), "duplicate_key".to_owned())));
}

#[rstest]
#[actix_web::test]
async fn the_document_says_which_bodies_may_be_left_out_and_what_probes_answer(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    let document = document(&app).await;
    let optional = ["alert_acknowledge", "alert_resolve", "webhook_redeliver"];
    for operation in operations(&document) {
        let id = operation.json["operationId"].as_str().unwrap();
        if let Some(body) = operation.json.get("requestBody") {
            assert_eq!(body["required"] == true, !optional.contains(&id), "{id}");
        }
    }
    for (path, schema, answer) in [("healthz", "Health", "ok"), ("readyz", "Readiness", "ready")] {
        let described = &document["paths"][format!("/{path}")]["get"]["responses"]["200"];
        let reference = &described["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(*reference, format!("#/components/schemas/{schema}"));
        // A probe may send a parameter against caches.
        let sent = app.get(&format!("/{path}?now=1")).await;
        assert_eq!((sent.status, sent.json()), (200, json!({"status": answer})));
    }
}
