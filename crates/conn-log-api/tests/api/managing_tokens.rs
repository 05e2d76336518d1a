//! `/tokens/`: tokens listed, made and revoked over HTTP.

use actix_web::http::Method;
use conn_log_core::Binding;
use conn_log_store::{NewToken, Scope, TenantId};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Answer, Database, EVENTS, TestApp, event};

const TOKENS: &str = "/api/v1/tokens/";

async fn send_as(app: &TestApp, token: &str, method: Method, path: &str) -> Answer {
    let authorization = ("authorization", format!("Bearer {token}"));
    app.send(app.request(method, path).insert_header(authorization)).await
}

async fn create_as(app: &TestApp, token: &str, body: &Value) -> Answer {
    let authorization = ("authorization", format!("Bearer {token}"));
    let request = app.request(Method::POST, TOKENS).insert_header(authorization);
    app.send(request.set_json(body)).await
}

async fn create(app: &TestApp, body: &Value) -> Answer {
    create_as(app, &app.token, body).await
}

#[rstest]
#[actix_web::test]
async fn a_token_is_made_with_its_secret_once_and_opens_the_log(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let made = create(&app, &json!({"name": "sensor", "scopes": ["write"]})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let token = made.json();
    let id = token["id"].as_str().unwrap();
    assert_eq!(made.header("location"), Some(format!("{TOKENS}{id}/").as_str()));
    assert!(token["secret"].as_str().unwrap().starts_with("clog_"));
    let expected = json!({
        "id": id, "name": "sensor", "scopes": ["write"], "created_at": token["created_at"],
        "expires_at": null, "revoked_at": null, "device_id": null, "application_id": null,
        "rate": null, "burst": null, "on_reject": null, "handling": null,
        "secret": token["secret"],
    });
    assert_eq!(token, expected);

    let secret = token["secret"].as_str().unwrap();
    let authorization = ("authorization", format!("Bearer {secret}"));
    let request = app.request(Method::POST, EVENTS).insert_header(authorization);
    assert_eq!(app.send(request.set_json(event())).await.status, 201);
    send_as(&app, secret, Method::GET, EVENTS).await.is_problem(403, "forbidden");
    let listed = app.get(TOKENS).await;
    assert!(listed.body.contains(id) && !listed.body.contains("secret"), "{}", listed.body);
    assert!(!listed.body.contains("clog_"));
}

#[rstest]
#[actix_web::test]
async fn every_setting_of_a_token_is_kept_and_answered(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let made = create(
        &app,
        &json!({
            "name": "gate 7", "scopes": ["read", "write", "read"], "expires_in_seconds": 3600,
            "device_id": "dev_7", "application_id": "app_7", "rate": 10, "burst": 20,
            "on_reject": "keep", "handling": "lenient",
        }),
    )
    .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let mut token = made.json();
    let members = token.as_object_mut().unwrap();
    members.remove("secret").unwrap();
    for (name, value) in [
        ("scopes", json!(["read", "write"])),
        ("device_id", json!("dev_7")),
        ("application_id", json!("app_7")),
        ("rate", json!(10)),
        ("burst", json!(20)),
        ("on_reject", json!("keep")),
        ("handling", json!("lenient")),
    ] {
        assert_eq!(members[name], value, "{name}");
    }
    let time =
        |name: &str| chrono::DateTime::parse_from_rfc3339(members[name].as_str().unwrap()).unwrap();
    let valid_for = time("expires_at") - time("created_at");
    assert!((3590..=3600).contains(&valid_for.num_seconds()), "{valid_for}");
    assert_eq!(app.get(TOKENS).await.json()["results"][0], token);

    let only_rate = create(&app, &json!({"name": "x", "scopes": ["write"], "rate": 5})).await;
    assert_eq!(only_rate.json()["burst"], 5);
}

#[rstest]
#[actix_web::test]
async fn every_bad_body_is_refused_with_all_its_faults_and_makes_no_token(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let long = format!(r#"{{"name": "{}", "scopes": ["read"]}}"#, "x".repeat(256));
    let many = format!(r#"{{"name": "x", "scopes": [{}]}}"#, vec![r#""read""#; 17].join(","));
    for (body, status, faults) in [
        ("", 400, &[("", "empty")][..]),
        ("{\"name\": ", 400, &[("", "invalid_json")]),
        ("[]", 400, &[("", "not_an_object")]),
        ("{}", 400, &[("/name", "missing"), ("/scopes", "missing")]),
        (
            r#"{"name": null, "scopes": "read"}"#,
            400,
            &[("/name", "null"), ("/scopes", "wrong_type")],
        ),
        (r#"{"name": "x", "name": "x", "scopes": ["read"]}"#, 400, &[("/name", "duplicate_key")]),
        (r#"{"name": "x", "scopes": ["read"], "a/b": 1}"#, 400, &[("/a~1b", "unknown")]),
        (r#"{"name": "x", "scopes": []}"#, 422, &[("/scopes", "length")]),
        (many.as_str(), 422, &[("/scopes", "length")]),
        (long.as_str(), 422, &[("/name", "length")]),
        (
            r#"{"name": "", "scopes": ["fly", 7], "burst": 3, "expires_in_seconds": "1"}"#,
            400,
            &[
                ("/expires_in_seconds", "wrong_type"),
                ("/name", "length"),
                ("/rate", "missing"),
                ("/scopes/0", "unknown_value"),
                ("/scopes/1", "wrong_type"),
            ],
        ),
        (
            r#"{"name": " x", "scopes": ["fly"], "rate": 0, "burst": 1.5, "expires_in_seconds": 1e99,
                "device_id": "a\u0000b", "application_id": "\ud800", "on_reject": "drop",
                "handling": "harsh"}"#,
            422,
            &[
                ("/application_id", "not_i_json"),
                ("/burst", "out_of_range"),
                ("/device_id", "control_character"),
                ("/expires_in_seconds", "out_of_range"),
                ("/handling", "unknown_value"),
                ("/name", "surrounding_space"),
                ("/on_reject", "unknown_value"),
                ("/rate", "out_of_range"),
                ("/scopes/0", "unknown_value"),
            ],
        ),
    ] {
        let request = app.request(Method::POST, TOKENS);
        let request = request.insert_header(("content-type", "application/json"));
        let answer = app.send(request.set_payload(body.to_owned())).await;
        answer.is_problem(status, if status == 400 { "invalid-object" } else { "invalid-value" });
        let faults: Vec<(String, String)> =
            faults.iter().map(|(pointer, code)| ((*pointer).into(), (*code).into())).collect();
        assert_eq!(answer.faults(), faults, "{body}");
    }
    let as_form = app.request(Method::POST, TOKENS).set_form([("name", "x")]);
    app.send(as_form).await.is_problem(415, "unsupported-media-type");
    let large = app.request(Method::POST, TOKENS).set_json("x".repeat(70_000));
    app.send(large).await.is_problem(413, "too-large");
    app.get(&format!("{TOKENS}?nam=x")).await.is_problem(400, "invalid-query");
    assert_eq!(app.get(TOKENS).await.json()["results"].as_array().unwrap().len(), 1);
}

#[rstest]
#[actix_web::test]
async fn a_token_gives_nothing_that_it_does_not_have(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let operator = create(&app, &json!({"name": "x", "scopes": ["operator"]})).await;
    operator.is_problem(403, "beyond-token");
    let admin = app.token_with(TenantId::DEFAULT, &[Scope::Admin, Scope::Operator]);
    for scope in ["write", "read", "operator"] {
        let refused = create_as(&app, &admin, &json!({"name": "x", "scopes": [scope]})).await;
        refused.is_problem(403, "beyond-token");
    }
    assert_eq!(
        create_as(&app, &admin, &json!({"name": "x", "scopes": ["admin"]})).await.status,
        201
    );

    let binding = Binding { device_id: Some("dev_1".to_owned()), application_id: None };
    let bound =
        NewToken { binding, ..app.new_token(TenantId::DEFAULT, &[Scope::Admin, Scope::Write]) };
    let bound = app.store.token_create(bound).unwrap().1;
    for (device, status) in [(json!(null), 403), (json!("dev_2"), 403), (json!("dev_1"), 201)] {
        let body = json!({"name": "x", "scopes": ["write"], "device_id": device,
            "application_id": "app_1"});
        let answer = create_as(&app, bound.reveal(), &body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }

    let writer = app.token_with(TenantId::DEFAULT, &[Scope::Write, Scope::Read]);
    for (method, path) in [
        (Method::GET, TOKENS.to_owned()),
        (Method::POST, TOKENS.to_owned()),
        (Method::DELETE, format!("{TOKENS}x/")),
    ] {
        send_as(&app, &writer, method.clone(), &path).await.is_problem(403, "forbidden");
        send_as(&app, "clog_unknown", method, &path).await.is_problem(401, "unauthorized");
    }
}

#[rstest]
#[actix_web::test]
async fn a_revoked_token_is_refused_from_the_next_request_on(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let made = create(&app, &json!({"name": "short", "scopes": ["read"]})).await.json();
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(send_as(&app, secret, Method::GET, EVENTS).await.status, 200);
    let path = format!("{TOKENS}{}/", made["id"].as_str().unwrap());
    let revoked = app.send(app.request(Method::DELETE, &path)).await;
    assert_eq!((revoked.status, revoked.body.as_str()), (204, ""));
    send_as(&app, secret, Method::GET, EVENTS).await.is_problem(401, "unauthorized");

    let listed = app.get(TOKENS).await.json()["results"][0].clone();
    assert_eq!(listed["id"], made["id"]);
    assert!(listed["revoked_at"].is_string(), "{listed}");
    let again = app.send(app.request(Method::DELETE, path.trim_end_matches('/'))).await;
    assert_eq!(again.status, 204);
    assert_eq!(app.get(TOKENS).await.json()["results"][0], listed);
}

#[rstest]
#[actix_web::test]
async fn an_admin_sees_and_revokes_the_tokens_of_its_own_tenant_only(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let other = app.store.tenant_create("other").unwrap().id;
    let theirs = app.token_with(other, &[Scope::Admin, Scope::Read]);
    let made = create_as(&app, &theirs, &json!({"name": "made", "scopes": ["read"]})).await.json();
    let listed = send_as(&app, &theirs, Method::GET, TOKENS).await.json();
    let names: Vec<&str> =
        listed["results"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["made", "test"]);

    let mine = app.get(TOKENS).await.json();
    assert_eq!(mine["results"].as_array().unwrap().len(), 1);
    let theirs_id = made["id"].as_str().unwrap();
    let unknown = "00000000-0000-4000-8000-000000000000";
    for id in [theirs_id, unknown, "twelve", "%00"] {
        let answer = app.send(app.request(Method::DELETE, &format!("{TOKENS}{id}/"))).await;
        answer.is_problem(404, "not-found");
    }
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(send_as(&app, secret, Method::GET, EVENTS).await.status, 200);
}

#[rstest]
#[actix_web::test]
async fn the_list_of_tokens_has_pages_like_every_list(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for n in 1..=4 {
        create(&app, &json!({"name": n.to_string(), "scopes": ["read"]})).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let results = page["results"].as_array().unwrap();
        results.iter().map(|token| token["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = app.get(&format!("{TOKENS}?limit=2")).await;
    assert!(first.header("link").unwrap().contains("rel=\"next\""));
    let first = first.json();
    assert_eq!((names(&first), &first["previous"]), (vec!["4".into(), "3".into()], &Value::Null));
    let second = app.get(first["next"].as_str().unwrap()).await.json();
    assert_eq!(names(&second), ["2", "1"]);
    let last = app.get(second["next"].as_str().unwrap()).await.json();
    assert_eq!((names(&last), &last["next"]), (vec!["first run".to_owned()], &Value::Null));
    assert_eq!(
        app.get(last["previous"].as_str().unwrap()).await.json()["results"],
        second["results"]
    );
    app.get(&format!("{TOKENS}?cursor=x")).await.is_problem(400, "invalid-query");
}
