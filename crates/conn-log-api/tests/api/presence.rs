//! Devices, applications and sessions are exact as soon as a POST returns.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Answer, Database, EVENTS, TestApp};

const DEVICES: &str = "/api/v1/devices/";
const APPLICATIONS: &str = "/api/v1/applications/";
const SESSIONS: &str = "/api/v1/sessions/";

fn event(device: &str, kind: &str, time: &str, more: Value) -> Value {
    let mut event = json!({"device_id": device, "application_id": "app_1", "connection_type": kind,
        "timestamp": format!("2024-01-15T{time}Z"), "status": "success"});
    let Value::Object(more) = more else { panic!("not members: {more}") };
    event.as_object_mut().unwrap().extend(more);
    event
}

async fn post(app: &TestApp, events: Value) {
    assert_eq!(app.post(&events).await.status, 201);
}

fn link(answer: &Answer, name: &str) -> Option<String> {
    let link = answer.json()[name].as_str()?.to_owned();
    Some(link.strip_prefix("http://log.test").unwrap().to_owned())
}

#[rstest]
#[actix_web::test]
async fn a_device_is_as_its_latest_events_say_whatever_comes_late(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(&app, event("dev 1/ü", "established", "10:00:00", json!({"ip_address": "10.0.0.1"})))
        .await;
    let late = json!({"ip_address": "10.0.0.9", "application_id": "app_2"});
    post(&app, event("dev 1/ü", "terminated", "09:00:00", late)).await;
    post(&app, event("dev 1/ü", "attempted", "10:00:01.5", json!({"status": "denied"}))).await;
    let answer = app.get(&format!("{DEVICES}dev%201%2F%C3%BC/")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let expected = json!({
        "device_id": "dev 1/ü", "first_seen": "2024-01-15T09:00:00Z",
        "last_seen": "2024-01-15T10:00:01.500Z", "connected": true,
        "last_application_id": "app_1", "last_ip_address": "10.0.0.1", "last_status": "denied",
        "events": 3, "failures": 1, "open_sessions": 1,
    });
    assert_eq!(answer.json(), expected);
    let expected = json!({
        "application_id": "app_2", "first_seen": "2024-01-15T09:00:00Z",
        "last_seen": "2024-01-15T09:00:00Z", "devices": 1, "connected_devices": 0, "events": 1,
        "failures": 0, "open_sessions": 0,
    });
    assert_eq!(app.get(&format!("{APPLICATIONS}app_2/")).await.json(), expected);
    assert_eq!(app.get(&format!("{APPLICATIONS}app_1/")).await.json()["devices"], 1);
    for path in [format!("{DEVICES}nobody/"), format!("{APPLICATIONS}%00")] {
        assert_eq!(app.get(&path).await.status, 404, "{path}");
    }
}

#[rstest]
#[actix_web::test]
async fn devices_and_applications_are_listed_by_id_page_by_page(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let names = ["B", "a", "b", "d-2", "d_1", "Ö"];
    for name in ["d_1", "a", "Ö", "b", "B", "d-2"] {
        let more = json!({"application_id": name});
        post(&app, event(name, "established", "10:00:00", more)).await;
    }
    for (list, id) in [(DEVICES, "device_id"), (APPLICATIONS, "application_id")] {
        let mut path = Some(format!("{list}?limit=4"));
        let (mut found, mut last) = (Vec::new(), None);
        while let Some(next) = path {
            let page = app.get(&next).await;
            assert_eq!(page.status, 200, "{}", page.body);
            let results = page.json()["results"].as_array().unwrap().clone();
            found.extend(results.iter().map(|item| item[id].as_str().unwrap().to_owned()));
            path = link(&page, "next");
            last = Some(page);
        }
        assert_eq!(found, names);
        let last = last.unwrap();
        assert!(last.header("link").unwrap().contains("rel=\"prev\""));
        let back = app.get(&link(&last, "previous").unwrap()).await.json();
        assert_eq!(back["results"].as_array().unwrap().len(), 4);
        assert_eq!(back["previous"], Value::Null);
    }
    let mistyped = [
        "limit=0",
        "cursor=nonsense",
        "colour=red",
        "device_id=a",
        "connected=yes",
        "connected=",
        "application_id=",
        "seen_since=",
        "seen_until=today",
    ];
    for query in mistyped {
        assert_eq!(app.get(&format!("{DEVICES}?{query}")).await.status, 400, "{query}");
    }
}

async fn sessions(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.get(&format!("{SESSIONS}?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["results"].as_array().unwrap().clone()
}

#[rstest]
#[actix_web::test]
async fn sessions_pair_by_id_whatever_the_order_and_however_often(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let id = json!({"session_id": "s-1"});
    let timeout = json!({"session_id": "s-1", "status": "timeout"});
    post(&app, event("dev_1", "terminated", "10:05:00", timeout.clone())).await;
    let expected = json!({
        "session_id": "s-1", "device_id": "dev_1", "application_id": "app_1", "started_at": null,
        "ended_at": "2024-01-15T10:05:00Z", "duration": null, "open": false,
        "end_reason": "terminated", "end_status": "timeout",
        "last_event_at": "2024-01-15T10:05:00Z", "start_event_id": null, "end_event_id": 1,
    });
    assert_eq!(sessions(&app, "").await, [expected]);
    for _ in 0..2 {
        post(&app, event("dev_1", "established", "10:00:00", id.clone())).await;
        post(&app, event("dev_1", "terminated", "10:05:00", timeout.clone())).await;
    }
    let expected = json!({
        "session_id": "s-1", "device_id": "dev_1", "application_id": "app_1",
        "started_at": "2024-01-15T10:00:00Z", "ended_at": "2024-01-15T10:05:00Z",
        "duration": 300.0, "open": false, "end_reason": "terminated", "end_status": "timeout",
        "last_event_at": "2024-01-15T10:05:00Z", "start_event_id": 2, "end_event_id": 1,
    });
    assert_eq!(sessions(&app, "session_id=s-1").await, [expected]);
}

#[rstest]
#[actix_web::test]
async fn sessions_without_an_id_pair_by_device_and_application(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let own = json!({"duration": 12.5});
    post(
        &app,
        json!([
            event("dev_1", "established", "10:00:00", json!({})),
            event("dev_1", "established", "11:00:00", json!({})),
            event("dev_1", "established", "12:00:00", json!({})),
            event("dev_2", "established", "12:30:00", json!({})),
            event("dev_1", "established", "12:30:00", json!({"status": "failure"})),
            event("dev_1", "terminated", "11:30:00", own),
        ]),
    )
    .await;
    let found = sessions(&app, "device_id=dev_1").await;
    let ends: Vec<_> = found
        .iter()
        .map(|s| (&s["ended_at"], &s["duration"], &s["open"], &s["end_event_id"]))
        .collect();
    let (null, no, yes) = (json!(null), json!(false), json!(true));
    assert_eq!(
        ends,
        [
            (&null, &null, &yes, &null),
            (&json!("2024-01-15T11:30:00Z"), &json!(12.5), &no, &json!(6)),
            // Its own end is missing, so the next start ended it.
            (&json!("2024-01-15T11:00:00Z"), &json!(3600.0), &no, &null),
        ]
    );
    assert_eq!(sessions(&app, "open=true").await.len(), 2);
    assert_eq!(sessions(&app, "open=false&application_id=app_1").await.len(), 2);
    assert_eq!(
        sessions(&app, "since=2024-01-15T11:00:00Z&until=2024-01-15T12:30:00Z").await.len(),
        2
    );
    assert_eq!(sessions(&app, "device_id=nobody").await.len(), 0);
    let page = app.get(&format!("{SESSIONS}?limit=3")).await;
    let next = app.get(&link(&page, "next").unwrap()).await;
    assert_eq!(next.json()["results"].as_array().unwrap().len(), 1);
    assert_eq!(next.json()["next"], Value::Null);
    let mistyped = [
        "open=perhaps",
        "open=",
        "since=yesterday",
        "until=",
        "active_at=now",
        "device_id=",
        "application_id=",
        "session_id=",
        "status=success",
    ];
    for query in mistyped {
        assert_eq!(app.get(&format!("{SESSIONS}?{query}")).await.status, 400, "{query}");
    }
}

#[rstest]
#[actix_web::test]
async fn a_tenant_sees_derived_data_of_its_own_log_only(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(&app, event("dev_1", "established", "10:00:00", json!({}))).await;
    let other = app.store.tenant_create("other").unwrap();
    let token = app.token_with(other.id, &[conn_log_store::Scope::Read]);
    for list in [DEVICES, APPLICATIONS, SESSIONS] {
        let request = TestRequest::with_uri(list)
            .method(Method::GET)
            .insert_header(("authorization", format!("Bearer {token}")));
        let answer = app.send(request).await;
        assert_eq!((answer.status, answer.json()["results"].clone()), (200, json!([])), "{list}");
    }
}

#[rstest]
#[actix_web::test]
async fn a_cursor_of_one_list_is_not_taken_by_another(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let start = |device| event(device, "established", "10:00:00", json!({}));
    post(&app, json!([start("a"), start("b")])).await;
    let page = app.get(&format!("{DEVICES}?limit=1")).await.json();
    let (_, query) = page["next"].as_str().unwrap().split_once('?').unwrap();
    assert_eq!(app.get(&format!("{DEVICES}?{query}")).await.status, 200);
    for list in [APPLICATIONS, SESSIONS, EVENTS] {
        let answer = app.get(&format!("{list}?{query}")).await;
        answer.is_problem(400, "invalid-query");
        assert_eq!(answer.json()["errors"][0]["parameter"], "cursor", "{list}");
    }
}
