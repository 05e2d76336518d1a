//! Tokens that are bound to one device or application.

use actix_web::http::Method;
use conn_log_core::Binding;
use conn_log_store::{NewToken, Scope, TenantId};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Answer, Database, EVENTS, TestApp, event, event_of};

/// A token bound to `dev_1`, and to `app_1` if that is given.
fn bound(app: &TestApp, application_id: Option<&str>) -> String {
    let application_id = application_id.map(str::to_owned);
    let binding = Binding { device_id: Some("dev_1".to_owned()), application_id };
    let new = NewToken { binding, ..app.new_token(TenantId::DEFAULT, &[Scope::Write]) };
    app.store.token_create(new).unwrap().1.reveal().to_owned()
}

async fn post_as(app: &TestApp, token: &str, path: &str, body: &Value) -> Answer {
    let authorization = ("authorization", format!("Bearer {token}"));
    let request = app.request(Method::POST, path).insert_header(authorization);
    app.send(request.set_json(body)).await
}

fn without(names: &[&str]) -> Value {
    let mut event = event();
    for name in names {
        event.as_object_mut().unwrap().remove(*name).unwrap();
    }
    event
}

#[rstest]
#[actix_web::test]
async fn missing_fields_are_filled_in_from_a_bound_token(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let token = bound(&app, Some("app_1"));
    for names in [&["device_id", "application_id"][..], &["device_id"], &["application_id"], &[]] {
        let record = post_as(&app, &token, EVENTS, &without(names)).await;
        assert_eq!(record.status, 201, "{}", record.body);
        assert_eq!(record.json()["device_id"], "dev_1");
        assert_eq!(record.json()["application_id"], "app_1");
    }
    let first = json!({
        "connection_type": "wifi", "connection_status": "connected",
        "timestamp": "2024-01-15T10:30:00Z",
    });
    let envelope = json!({"data": first.to_string()});
    let answer = post_as(&app, &token, EVENTS, &envelope).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let record = app.get(&format!("{EVENTS}{id}/")).await.json();
    assert_eq!(
        (&record["device_id"], &record["application_id"]),
        (&json!("dev_1"), &json!("app_1"))
    );
}

#[rstest]
#[actix_web::test]
async fn a_token_that_is_bound_to_a_device_takes_any_application_but_needs_one(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let token = bound(&app, None);
    let mut of_another = without(&["device_id"]);
    of_another["application_id"] = "app_2".into();
    let record = post_as(&app, &token, EVENTS, &of_another).await.json();
    assert_eq!(record["application_id"], "app_2");
    for (given, code) in
        [(None, "missing"), (Some(json!(null)), "null"), (Some(json!(7)), "wrong_type")]
    {
        let mut event = without(&["device_id", "application_id"]);
        if let Some(given) = given {
            event["application_id"] = given;
        }
        let refused = post_as(&app, &token, EVENTS, &event).await;
        refused.is_problem(400, "invalid-body");
        assert_eq!(refused.faults(), [("/application_id".to_owned(), code.to_owned())]);
    }
    let mut null_device = event();
    null_device["device_id"] = Value::Null;
    let refused = post_as(&app, &token, EVENTS, &null_device).await;
    assert_eq!(refused.faults(), [("/device_id".to_owned(), "null".to_owned())]);
}

#[rstest]
#[actix_web::test]
async fn an_event_of_another_device_or_application_is_refused_with_403(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let token = bound(&app, Some("app_1"));
    let other_device = post_as(&app, &token, EVENTS, &event_of("dev_2")).await;
    other_device.is_problem(403, "not-bound");
    assert_eq!(other_device.faults(), [("/device_id".to_owned(), "not_bound".to_owned())]);

    let first = json!({
        "device_id": "dev_1", "app_id": "app_2", "connection_type": "wifi",
        "connection_status": "connected", "timestamp": "2024-01-15T10:30:00Z",
    });
    let other_application = post_as(&app, &token, EVENTS, &first).await;
    other_application.is_problem(403, "not-bound");
    assert_eq!(other_application.faults(), [("/app_id".to_owned(), "not_bound".to_owned())]);

    // Whatever other faults the event has, its client may not register it.
    let mut worse = event_of("dev_2");
    worse["duration"] = json!("1");
    worse["status"] = json!("fine");
    let refused = post_as(&app, &token, EVENTS, &worse).await;
    refused.is_problem(403, "not-bound");
    assert_eq!(refused.faults().len(), 3, "{}", refused.body);
    assert_eq!(app.get(EVENTS).await.json()["results"], json!([]));

    let metrics = app.get("/metrics").await.body;
    assert!(
        metrics.contains("conn_log_events_rejected_total{reason=\"not_bound\"} 3"),
        "{metrics}"
    );
}

#[rstest]
#[actix_web::test]
async fn in_a_batch_an_event_of_another_device_has_the_status_403_of_its_own(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let token = bound(&app, None);
    let statuses = |answer: &Answer| -> Vec<u64> {
        let results = answer.json()["results"].as_array().unwrap().clone();
        results.iter().map(|result| result["status"].as_u64().unwrap()).collect()
    };
    let batch = json!([event(), event_of("dev_2"), without(&["device_id"])]);
    let some = post_as(&app, &token, EVENTS, &batch).await;
    assert_eq!((some.status, statuses(&some)), (207, vec![201, 403, 201]), "{}", some.body);
    let problem = &some.json()["results"][1]["problem"];
    assert_eq!(problem["type"], "/problems/not-bound");
    assert_eq!(problem["status"], 403);

    let none = post_as(&app, &token, EVENTS, &json!([event_of("dev_2"), 7])).await;
    none.is_problem(422, "invalid-event");
    assert_eq!(statuses(&none), [403, 400]);
    let atomic = post_as(&app, &token, &format!("{EVENTS}?atomic=true"), &batch).await;
    atomic.is_problem(422, "invalid-event");
    assert_eq!(statuses(&atomic), [424, 403, 424]);
    assert_eq!(app.get(EVENTS).await.json()["results"].as_array().unwrap().len(), 2);
}
