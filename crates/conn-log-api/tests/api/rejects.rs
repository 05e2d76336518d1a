//! Senders that cannot be taught: refused events are kept, and optional fields cost themselves only.

use std::io::Write as _;

use actix_web::http::Method;
use conn_log_core::Binding;
use conn_log_store::{Handling, NewToken, OnReject, Scope, StoreOptions, TenantId};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Answer, Database, EVENTS, TestApp, event, event_of};

const REJECTS: &str = "/api/v1/rejects/";

fn keep() -> String {
    format!("{EVENTS}?on_reject=keep")
}

fn bad() -> Value {
    let mut event = event();
    event["status"] = "fine".into();
    event
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut event = event();
    event[name] = value.into();
    event
}

async fn post(app: &TestApp, path: &str, body: &Value) -> Answer {
    app.send(app.request(Method::POST, path).set_json(body)).await
}

async fn post_text(app: &TestApp, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = app.request(Method::POST, &keep()).insert_header(("content-type", content_type));
    app.send(request.set_payload(body.into())).await
}

/// The rejects, newest first.
async fn rejects(app: &TestApp) -> Vec<Value> {
    let answer = app.get(REJECTS).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["results"].as_array().unwrap().clone()
}

fn counts(answer: &Answer) -> (u64, u64, u64) {
    let body = answer.json();
    let count = |name: &str| body[name].as_u64().unwrap_or_else(|| panic!("{}", answer.body));
    (count("accepted"), count("duplicates"), count("rejected"))
}

#[rstest]
#[actix_web::test]
async fn what_is_refused_of_a_batch_is_kept_as_sent(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let lines = format!("{}\r\n{{ \"device_id\":  7 }}\r\n\n{}\n{{\"torn", event(), bad());
    let answer = post_text(&app, "application/x-ndjson", lines).await;
    assert_eq!((answer.status, counts(&answer)), (200, (1, 0, 3)), "{}", answer.body);
    assert_eq!(answer.json()["results"][2]["line"], 4);
    assert_eq!(answer.json()["results"][2]["status"], 422);
    let found = rejects(&app).await;
    let bodies: Vec<&str> = found.iter().map(|reject| reject["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["{\"torn", &bad().to_string(), "{ \"device_id\":  7 }"]);
    let reject = &found[1];
    assert_eq!((&reject["id"], &reject["code"]), (&json!(2), &json!("unknown_value")));
    assert_eq!(reject["content_type"], "application/x-ndjson");
    assert_eq!((&reject["truncated"], &reject["body_base64"]), (&json!(false), &Value::Null));
    assert_eq!(reject["problem"]["type"], "/problems/invalid-event");
    assert_eq!(reject["problem"]["errors"][0]["pointer"], "/status");
    assert!(reject["created_at"].as_str().unwrap().ends_with('Z'));
    assert!(reject["token_id"].is_string());
    assert_eq!(app.get(&format!("{REJECTS}2")).await.json(), *reject);
}

#[rstest]
#[actix_web::test]
async fn a_request_without_a_fault_is_answered_as_ever(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    assert_eq!(post(&app, &keep(), &event()).await.json()["device_id"], "dev_1");
    let answer = post(&app, &keep(), &json!([event()])).await;
    assert_eq!((answer.status, counts(&answer)), (201, (1, 0, 0)));
    let named = with("event_id", "e-1");
    assert_eq!(post(&app, &keep(), &named).await.status, 201);
    let repeat = post(&app, &keep(), &named).await;
    assert_eq!((repeat.status, &repeat.json()["id"]), (200, &json!(3)));
    let answer = post(&app, &keep(), &json!([named, event()])).await;
    assert_eq!((answer.status, counts(&answer)), (200, (1, 1, 0)), "never 207");
    assert_eq!(rejects(&app).await, [Value::Null; 0]);
}

#[rstest]
#[case::not_json("application/json", "not JSON", "invalid_json")]
#[case::torn("application/json", r#"[{"device_id": "#, "invalid_json")]
#[case::no_object("application/json", "5", "not_an_object")]
#[case::an_event_of_nothing("application/json", "{}", "missing")]
#[case::nothing("application/json", "", "empty")]
#[case::no_event("application/json", "[]", "empty")]
#[case::no_line("application/x-ndjson", "\n\n", "empty")]
#[case::envelope("application/json", r#"{"data": "nope"}"#, "invalid_json")]
#[case::form_without_data("application/x-www-form-urlencoded", "a=b", "missing")]
#[case::form_twice("application/x-www-form-urlencoded", "data={}&data={}", "duplicate_key")]
#[actix_web::test]
async fn a_body_that_holds_no_event_is_one_reject(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
    #[case] content_type: &str,
    #[case] body: &str,
    #[case] code: &str,
) {
    let app = TestApp::on(database).await;
    let answer = post_text(&app, content_type, body).await;
    assert_eq!((answer.status, counts(&answer)), (200, (0, 0, 1)), "{}", answer.body);
    assert_eq!(answer.json()["results"][0]["status"], 400);
    let found = rejects(&app).await;
    assert_eq!((found.len(), &found[0]["body"]), (1, &json!(body)));
    assert_eq!((&found[0]["code"], &found[0]["problem"]["status"]), (&json!(code), &json!(400)));
}

#[rstest]
#[actix_web::test]
async fn bytes_that_are_no_text_are_kept_in_base64(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut torn = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    torn.write_all(event().to_string().as_bytes()).unwrap();
    let mut torn = torn.finish().unwrap();
    torn.truncate(20);
    let request = app
        .request(Method::POST, &keep())
        .insert_header(("content-type", "application/json"))
        .insert_header(("content-encoding", "gzip"));
    let answer = app.send(request.set_payload(torn.clone())).await;
    assert_eq!((answer.status, counts(&answer)), (200, (0, 0, 1)), "{}", answer.body);
    let reject = &rejects(&app).await[0];
    assert_eq!(reject["code"], "not_compressed");
    let encoded = data_encoding::BASE64.encode(&torn);
    assert_eq!(reject["body_base64"], encoded);
}

#[rstest]
#[actix_web::test]
async fn a_conflict_and_an_event_of_another_device_are_kept(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut other = with("event_id", "e-1");
    assert_eq!(post(&app, EVENTS, &other).await.status, 201);
    other["status"] = "denied".into();
    let answer = post(&app, &keep(), &json!([other, event()])).await;
    assert_eq!((answer.status, counts(&answer)), (200, (1, 0, 1)), "{}", answer.body);
    assert_eq!(answer.json()["results"][0]["problem"]["id"], 1);
    let single = post(&app, &keep(), &other).await;
    assert_eq!((single.status, counts(&single)), (200, (0, 0, 1)), "{}", single.body);

    let binding = Binding { device_id: Some("dev_1".to_owned()), application_id: None };
    let new = app.new_token(TenantId::DEFAULT, &[Scope::Write]);
    let new = NewToken { binding, on_reject: Some(OnReject::Keep), ..new };
    let (token, secret) = app.store.token_create(new).unwrap();
    let authorization = ("authorization", format!("Bearer {}", secret.reveal()));
    let request = app.request(Method::POST, EVENTS).insert_header(authorization);
    let answer = app.send(request.set_json(json!([event_of("dev_2"), event()]))).await;
    assert_eq!((answer.status, counts(&answer)), (200, (1, 0, 1)), "{}", answer.body);

    let found = rejects(&app).await;
    let codes: Vec<&Value> = found.iter().map(|reject| &reject["code"]).collect();
    assert_eq!(codes, ["not_bound", "event_id_conflict", "event_id_conflict"]);
    assert_eq!(found[1]["body"], other.to_string());
    assert_eq!(found[1]["problem"]["id"], 1);
    for (filter, expected) in [
        (format!("token_id={}", token.id), 1),
        ("code=event_id_conflict".to_owned(), 2),
        ("code=event-id-conflict".to_owned(), 2),
        ("code=not-bound".to_owned(), 1),
        ("code=missing".to_owned(), 0),
        ("until=2024-01-01T00:00:00Z".to_owned(), 0),
        (format!("since={}", found[0]["created_at"].as_str().unwrap()), 1),
    ] {
        let answer = app.get(&format!("{REJECTS}?{filter}")).await;
        assert_eq!(answer.json()["results"].as_array().map(Vec::len), Some(expected), "{filter}");
    }
}

#[rstest]
#[actix_web::test]
async fn an_atomic_batch_that_is_refused_is_kept_as_a_whole(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let path = format!("{}&atomic=true", keep());
    let answer = post(&app, &path, &json!([event(), bad()])).await;
    assert_eq!((answer.status, counts(&answer)), (200, (0, 0, 2)), "{}", answer.body);
    post(&app, EVENTS, &with("event_id", "e-1")).await;
    let mut other = with("event_id", "e-1");
    other["status"] = "denied".into();
    let answer = post(&app, &path, &json!([event(), other])).await;
    assert_eq!((answer.status, counts(&answer)), (200, (0, 0, 2)), "{}", answer.body);
    let found = rejects(&app).await;
    let codes: Vec<&Value> = found.iter().map(|reject| &reject["code"]).collect();
    assert_eq!(codes, ["event_id_conflict", "not_attempted", "unknown_value", "not_attempted"]);
    assert_eq!(found[3]["body"], event().to_string());
}

#[rstest]
#[actix_web::test]
async fn a_repeat_with_the_same_key_keeps_nothing_twice(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let batch = json!([event(), bad()]);
    let send = || {
        let request = app.request(Method::POST, &keep()).insert_header(("idempotency-key", "k"));
        app.send(request.set_json(&batch))
    };
    let (first, again) = (send().await, send().await);
    assert_eq!((first.status, counts(&first)), (200, (1, 0, 1)));
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(rejects(&app).await.len(), 1);
}

#[rstest]
#[actix_web::test]
async fn what_is_no_refusal_of_an_event_is_kept_nowhere(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let reader = app.token_with(TenantId::DEFAULT, &[Scope::Read]);
    let request = |token: &str| {
        let authorization = ("authorization", format!("Bearer {token}"));
        app.request(Method::POST, &keep()).insert_header(authorization).set_json(bad())
    };
    assert_eq!(app.send(request("clog_wrong")).await.status, 401);
    assert_eq!(app.send(request(&reader)).await.status, 403);
    let too_many = vec![event(); 10_001];
    assert_eq!(post(&app, &keep(), &json!(too_many)).await.status, 413);
    assert_eq!(post_text(&app, "text/plain", "x").await.status, 415);
    assert_eq!(post(&app, &format!("{EVENTS}?on_reject=kept"), &bad()).await.status, 400);
    assert_eq!(post(&app, EVENTS, &bad()).await.status, 422);
    assert_eq!(rejects(&app).await.len(), 0);
}

#[rstest]
#[actix_web::test]
async fn a_secret_in_what_is_kept_is_redacted(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut event = bad();
    event["metadata"] = json!({"password": "hunter2", "note": "n"});
    event["api_key"] = "hunter2".into();
    post(&app, &keep(), &json!([event])).await;
    post(&app, &keep(), &event).await;
    post(&app, &keep(), &json!({"data": event.to_string()})).await;
    let torn = event.to_string();
    post_text(&app, "application/json", torn[..torn.len() - 20].to_owned()).await;
    let form = format!("x={}", event.to_string().replace('"', "%22"));
    post_text(&app, "application/x-www-form-urlencoded", form).await;
    let found = rejects(&app).await;
    assert_eq!(found.len(), 5);
    for reject in found {
        let body = reject["body"].as_str().unwrap();
        assert!(body.contains("[REDACTED]") && !body.contains("hunter"), "{body}");
    }
}

#[rstest]
#[actix_web::test]
async fn what_is_longer_than_16_kib_is_cut(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let long = with("device_id", "d".repeat(20_000)).to_string();
    post_text(&app, "application/json", long.clone()).await;
    let reject = &rejects(&app).await[0];
    assert_eq!((&reject["truncated"], &reject["body"]), (&json!(true), &json!(long[..16 << 10])));
}

#[rstest]
#[actix_web::test]
async fn the_list_has_pages_and_its_items_can_be_removed(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(&app, &keep(), &json!(vec![bad(); 5])).await;
    let (mut path, mut found) = (format!("{REJECTS}?limit=2&code=unknown_value"), Vec::new());
    loop {
        let page = app.get(&path).await.json();
        found.extend(page["results"].as_array().unwrap().iter().map(|reject| reject["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = next.strip_prefix("http://log.test").unwrap().to_owned();
    }
    assert_eq!(found, [5, 4, 3, 2, 1]);
    let delete = |path: &str| app.request(Method::DELETE, path);
    assert_eq!(app.send(delete(&format!("{REJECTS}3/"))).await.status, 204);
    app.send(delete(&format!("{REJECTS}3/"))).await.is_problem(404, "not-found");
    app.send(delete(&format!("{REJECTS}x"))).await.is_problem(404, "not-found");
    app.get(&format!("{REJECTS}3")).await.is_problem(404, "not-found");
    app.get(&format!("{REJECTS}+4")).await.is_problem(404, "not-found");
    app.get(&format!("{REJECTS}?code=mistyped")).await.is_problem(400, "invalid-query");
    app.get(&format!("{REJECTS}?token_id=1")).await.is_problem(400, "invalid-query");
    assert_eq!(rejects(&app).await.len(), 4);
}

#[rstest]
#[actix_web::test]
async fn rejects_are_read_by_readers_of_their_tenant_and_removed_by_admins(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(&app, &keep(), &bad()).await;
    let other = app.store.tenant_create("other").unwrap().id;
    let scopes = [Scope::Write, Scope::Read, Scope::Admin];
    for (tenant, scopes, list, get, delete) in [
        (TenantId::DEFAULT, &scopes[..1], 403, 403, 403),
        (TenantId::DEFAULT, &scopes[..2], 200, 200, 403),
        (other, &scopes, 200, 404, 404),
        (TenantId::DEFAULT, &scopes, 200, 200, 204),
    ] {
        let token = app.token_with(tenant, scopes);
        for (method, path, status) in [
            (Method::GET, REJECTS.to_owned(), list),
            (Method::GET, format!("{REJECTS}1/"), get),
            (Method::DELETE, format!("{REJECTS}1/"), delete),
        ] {
            let authorization = ("authorization", format!("Bearer {token}"));
            let request = app.request(method.clone(), &path).insert_header(authorization);
            let answer = app.send(request).await;
            assert_eq!(answer.status, status, "{method} {path} {scopes:?}: {}", answer.body);
            if tenant == other && status == 200 {
                assert_eq!(answer.json()["results"], json!([]));
            }
        }
    }
}

#[rstest]
#[actix_web::test]
async fn a_token_s_settings_hold_and_the_request_wins(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let new = app.new_token(TenantId::DEFAULT, &[Scope::Write]);
    let new =
        NewToken { on_reject: Some(OnReject::Keep), handling: Some(Handling::Lenient), ..new };
    let token = app.store.token_create(new).unwrap().1.reveal().to_owned();
    let send = |path: &str, prefer: &str, body: Value| {
        let authorization = ("authorization", format!("Bearer {token}"));
        let request = app.request(Method::POST, path).insert_header(authorization);
        app.send(request.insert_header(("prefer", prefer)).set_json(body))
    };
    let local = with("ip_address", "LOCAL");
    let answer = send(EVENTS, "", local.clone()).await;
    assert_eq!(
        (answer.status, answer.header("preference-applied")),
        (201, Some("handling=lenient"))
    );
    assert_eq!(answer.json()["metadata"], json!({"invalid": {"ip_address": "LOCAL"}}));
    let answer = send(EVENTS, "handling=strict", local.clone()).await;
    assert_eq!((answer.status, counts(&answer)), (200, (0, 0, 1)));
    assert_eq!(answer.header("preference-applied"), Some("handling=strict"));
    assert_eq!(send(EVENTS, "", bad()).await.status, 200);
    assert_eq!(send(&format!("{EVENTS}?on_reject=refuse"), "", bad()).await.status, 422);
    assert_eq!(rejects(&app).await.len(), 2);
}

#[rstest]
#[actix_web::test]
async fn a_token_can_say_that_its_events_are_taken_strictly_and_refused(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let new =
        json!({"name": "gate", "scopes": ["write"], "on_reject": "refuse", "handling": "strict"});
    let made = app.send_json(Method::POST, "/api/v1/tokens/", &new).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    assert_eq!((&made["on_reject"], &made["handling"]), (&json!("refuse"), &json!("strict")));
    let bearer = format!("Bearer {}", made["secret"].as_str().unwrap());
    let send = |path: &str, prefer: &str| {
        let request = app.request(Method::POST, path);
        let request = request.insert_header(("authorization", bearer.as_str()));
        let request = request.insert_header(("prefer", prefer));
        app.send(request.set_json(with("ip_address", "LOCAL")))
    };
    let refused = send(EVENTS, "").await;
    refused.is_problem(422, "invalid-event");
    assert_eq!(refused.header("preference-applied"), Some("handling=strict"));
    let lenient = send(EVENTS, "handling=lenient").await;
    assert_eq!(
        (lenient.status, lenient.header("preference-applied")),
        (201, Some("handling=lenient"))
    );
    assert_eq!(send(&keep(), "").await.status, 200);
    assert_eq!(rejects(&app).await.len(), 1);
}

#[rstest]
#[actix_web::test]
async fn a_lenient_request_is_told_so_also_when_it_is_replayed(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let batch = json!([with("ip_address", "1.2.3.4:46992"), with("session_id", "")]);
    let send = |path: &str| {
        let request = app.request(Method::POST, path).insert_header(("idempotency-key", "k"));
        app.send(
            request.insert_header(("prefer", "handling=lenient, return=minimal")).set_json(&batch),
        )
    };
    for _ in 0..2 {
        let answer = send(EVENTS).await;
        assert_eq!((answer.status, counts(&answer)), (201, (2, 0, 0)), "{}", answer.body);
        assert_eq!(answer.header("preference-applied"), Some("return=minimal, handling=lenient"));
    }
    assert_eq!(app.get(&format!("{EVENTS}1")).await.json()["ip_address"], "1.2.3.4");
    let second = app.get(&format!("{EVENTS}2")).await.json();
    assert_eq!(second["metadata"], json!({"invalid": {"session_id": ""}}));
    let refused = app.request(Method::POST, EVENTS).insert_header(("prefer", "handling=lenient"));
    let refused = app.send(refused.set_json(bad())).await;
    assert_eq!(
        (refused.status, refused.header("preference-applied")),
        (422, Some("handling=lenient"))
    );
}

/// A restart shows that the rejects were on disk before their request was answered.
#[rstest]
#[actix_web::test]
async fn rejects_are_there_after_a_restart(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post_text(&app, "application/json", "not JSON").await;
    let url = app.database.database_url();
    app.store.clone().close();
    let store = conn_log_store::Store::open(StoreOptions::new(url)).unwrap();
    let reject = store.reject_get(TenantId::DEFAULT, 1).unwrap().unwrap();
    assert_eq!(reject.content.body, b"not JSON");
    store.close();
}
