//! `/webhooks/`: webhooks created, changed and deleted, and who may.

use actix_web::http::Method;
use conn_log_store::{Scope, TenantId};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Answer, Database, TestApp};

pub(crate) const WEBHOOKS: &str = "/api/v1/webhooks/";

impl TestApp {
    /// Sends JSON to a path.
    pub(crate) async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(self.request(method, path).set_json(body)).await
    }

    /// Sends a request without a body.
    pub(crate) async fn send_empty(&self, method: Method, path: &str) -> Answer {
        self.send(self.request(method, path)).await
    }

    /// Creates a webhook, and returns its path and its secret.
    pub(crate) async fn webhook(&self, body: &Value) -> (String, String) {
        let made = self.send_json(Method::POST, WEBHOOKS, body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let secret = made.json()["secret"].as_str().unwrap().to_owned();
        (made.header("location").unwrap().to_owned(), secret)
    }

    async fn send_as(&self, token: &str, method: Method, path: &str) -> Answer {
        let request = self.request(method, path);
        self.send(request.insert_header(("authorization", format!("Bearer {token}")))).await
    }
}

#[rstest]
#[actix_web::test]
async fn a_webhook_is_made_with_its_secret_once_then_changed_and_deleted(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let made = app
        .send_json(Method::POST, WEBHOOKS, &json!({"url": "https://Example.com:443/hook#x"}))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let webhook = made.json();
    let path = format!("{WEBHOOKS}{}/", webhook["id"].as_str().unwrap());
    assert_eq!(made.header("location"), Some(path.as_str()));
    assert!(webhook["secret"].as_str().unwrap().starts_with("whsec_"));
    let mut expected = json!({
        "id": webhook["id"], "url": "https://example.com/hook", "format": "standard",
        "events": ["alert.opened", "alert.extended", "alert.acknowledged", "alert.resolved",
            "alert.withdrawn"],
        "filter": {}, "enabled": true, "disabled_at": null, "disabled_reason": null,
        "failing_since": null, "previous_secret_until": null, "created_at": webhook["created_at"],
        "secret": webhook["secret"],
    });
    assert_eq!(webhook, expected);
    expected.as_object_mut().unwrap().remove("secret");
    assert_eq!(app.get(&path).await.json(), expected);
    assert_eq!(app.get(WEBHOOKS).await.json()["results"], json!([expected]));

    app.send_empty(Method::POST, "/api/v1/alert_rules/install/").await;
    let change = json!({"events": ["alert.opened"], "format": "pagerduty", "routing_key": "key",
        "filter": {"rule_id": 3, "severity": ["critical", "warning"]}, "enabled": false});
    let changed = app.send_json(Method::PATCH, &path, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert!(!changed.body.contains("key"), "{}", changed.body);
    let changed = changed.json();
    assert_eq!(changed["filter"], json!({"rule_id": [3], "severity": ["critical", "warning"]}));
    assert_eq!(
        (&changed["enabled"], &changed["disabled_reason"]),
        (&json!(false), &json!("request"))
    );
    assert!(changed["disabled_at"].is_string());
    assert_eq!(app.get(&path).await.json(), changed);
    let enabled = app.send_json(Method::PATCH, &path, &json!({"enabled": true})).await.json();
    assert_eq!((&enabled["enabled"], &enabled["disabled_at"]), (&json!(true), &Value::Null));
    assert_eq!(enabled["events"], json!(["alert.opened"]));

    let rotated = app.send_empty(Method::POST, &format!("{path}rotate_secret/")).await;
    assert_eq!((rotated.status, rotated.header("cache-control")), (200, Some("no-store")));
    assert_ne!(rotated.json()["secret"], webhook["secret"]);
    assert!(rotated.json()["previous_secret_until"].is_string());

    assert_eq!(app.send_empty(Method::DELETE, &path).await.status, 204);
    app.get(&path).await.is_problem(404, "not-found");
    app.send_empty(Method::DELETE, &path).await.is_problem(404, "not-found");
}

#[rstest]
#[actix_web::test]
async fn a_change_of_a_webhook_is_a_merge_patch_whose_nulls_are_defaults(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let new = json!({"url": "https://events.pagerduty.com/v2/enqueue", "format": "pagerduty",
        "routing_key": "key", "events": ["alert.opened"], "filter": {"severity": "critical"},
        "enabled": false});
    let made = app.send_json(Method::POST, WEBHOOKS, &new).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let path = made.header("location").unwrap().to_owned();
    // PagerDuty itself needs its key.
    let answer = app.send_json(Method::PATCH, &path, &json!({"routing_key": null})).await;
    answer.is_problem(400, "invalid-object");
    assert_eq!(answer.faults(), [("/routing_key".to_owned(), "missing".to_owned())]);
    let answer = app.send_json(Method::PATCH, &path, &json!({"url": null})).await;
    answer.is_problem(400, "invalid-object");
    assert_eq!(answer.faults(), [("/url".to_owned(), "null".to_owned())]);
    let nulls = json!({"format": null, "routing_key": null, "events": null, "filter": null,
        "enabled": null});
    let changed = app.send_json(Method::PATCH, &path, &nulls).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let changed = changed.json();
    assert_eq!(
        (&changed["format"], &changed["filter"], &changed["enabled"]),
        (&json!("standard"), &json!({}), &json!(true))
    );
    assert_eq!(changed["events"].as_array().unwrap().len(), 5);
    assert_eq!(app.get(&path).await.json(), changed);
    // The key is gone.
    let answer = app.send_json(Method::PATCH, &path, &json!({"format": "pagerduty"})).await;
    answer.is_problem(400, "invalid-object");
}

#[rstest]
#[actix_web::test]
async fn every_bad_webhook_is_refused_with_all_its_faults(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for (body, status, faults) in [
        ("{}", 400, &[("/url", "missing")][..]),
        (r#"{"url": 7, "x": 1}"#, 400, &[("/url", "wrong_type"), ("/x", "unknown")]),
        (
            r#"{"url": "https://example.com", "filter": 3, "enabled": "yes"}"#,
            400,
            &[("/enabled", "wrong_type"), ("/filter", "wrong_type")],
        ),
        (
            r#"{"url": "https://example.com", "filter": {"rule": 3, "severity": "high"}}"#,
            400,
            &[("/filter/rule", "unknown"), ("/filter/severity", "unknown_value")],
        ),
        (
            r#"{"url": "ftp://example.com", "events": ["opened"], "format": "xml",
                "filter": {"rule_id": [0, 3]}}"#,
            422,
            &[
                ("/events/0", "unknown_value"),
                ("/filter/rule_id/0", "unknown_value"),
                ("/format", "unknown_value"),
                ("/url", "invalid_url"),
            ],
        ),
        (r#"{"url": "https://me:pw@example.com"}"#, 422, &[("/url", "user_information")]),
        (r#"{"url": "http://127.0.0.1:9/"}"#, 422, &[("/url", "inside_address")]),
        (r#"{"url": "http://169.254.169.254/latest"}"#, 422, &[("/url", "inside_address")]),
        (r#"{"url": "http://[::ffff:10.0.0.1]/"}"#, 422, &[("/url", "inside_address")]),
        (r#"{"url": "http://localhost/"}"#, 422, &[("/url", "inside_address")]),
    ] {
        let request = app.request(Method::POST, WEBHOOKS);
        let request = request.insert_header(("content-type", "application/json"));
        let answer = app.send(request.set_payload(body.to_owned())).await;
        answer.is_problem(status, if status == 400 { "invalid-object" } else { "invalid-value" });
        let faults: Vec<(String, String)> =
            faults.iter().map(|(pointer, code)| ((*pointer).into(), (*code).into())).collect();
        assert_eq!(answer.faults(), faults, "{body}");
    }
    assert_eq!(app.get(WEBHOOKS).await.json()["results"], json!([]));
    let (path, _) = app.webhook(&json!({"url": "https://example.com"})).await;
    let inside = json!({"url": "http://10.0.0.1/"});
    app.send_json(Method::PATCH, &path, &inside).await.is_problem(422, "invalid-value");
    app.get(&format!("{path}deliveries/?state=done")).await.is_problem(400, "invalid-query");
    for (method, path) in [
        (Method::GET, format!("{WEBHOOKS}x/")),
        (Method::GET, format!("{path}deliveries/1/")),
        (Method::GET, format!("{path}deliveries/x/")),
        (Method::POST, format!("{path}deliveries/1/redeliver/")),
        (Method::POST, format!("{WEBHOOKS}00000000-0000-4000-8000-000000000000/test/")),
    ] {
        app.send_empty(method, &path).await.is_problem(404, "not-found");
    }
}

#[rstest]
#[actix_web::test]
async fn a_webhook_for_a_rule_that_there_is_not_is_refused(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.send_empty(Method::POST, "/api/v1/alert_rules/install/").await;
    let url = "https://example.com";
    let refused = |answer: &Answer| {
        answer.is_problem(422, "invalid-value");
        assert_eq!(answer.faults(), [("/filter/rule_id".into(), "unknown_value".into())]);
        let detail = answer.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
        detail.strip_prefix("there is no rule with the id ").unwrap().to_owned()
    };
    for (ids, unknown) in
        [(json!(77), "77"), (json!([1, "78", "x", 3]), r#""78", "x""#), (json!("1.0"), r#""1.0""#)]
    {
        let new = json!({"url": url, "filter": {"rule_id": ids}});
        let answer = app.send_json(Method::POST, WEBHOOKS, &new).await;
        assert_eq!(refused(&answer), unknown);
    }
    assert_eq!(app.get(WEBHOOKS).await.json()["results"], json!([]));

    let (path, _) = app.webhook(&json!({"url": url, "filter": {"rule_id": [2, "3"]}})).await;
    let change = json!({"filter": {"rule_id": [2, 77]}});
    assert_eq!(refused(&app.send_json(Method::PATCH, &path, &change).await), "77");
    assert_eq!(app.get(&path).await.json()["filter"], json!({"rule_id": [2, "3"]}));
    // Of a rule that is deleted later nothing is told; the webhook stays, and can be changed.
    assert_eq!(app.send_empty(Method::DELETE, "/api/v1/alert_rules/2/").await.status, 204);
    for change in [json!({"enabled": false}), json!({"filter": {"rule_id": [2, 4]}})] {
        let changed = app.send_json(Method::PATCH, &path, &change).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
    }
    let change = json!({"filter": {"rule_id": 5}});
    assert_eq!(app.send_json(Method::PATCH, &path, &change).await.status, 200);
    let change = json!({"filter": {"rule_id": [2, 5]}});
    assert_eq!(refused(&app.send_json(Method::PATCH, &path, &change).await), "2");
}

#[rstest]
#[actix_web::test]
async fn admins_change_webhooks_readers_see_them_and_nobody_those_of_another_tenant(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let (path, _) = app.webhook(&json!({"url": "https://example.com/T0/secret?key=1"})).await;
    let reader = app.token_with(TenantId::DEFAULT, &[Scope::Read]);
    let seen = app.send_as(&reader, Method::GET, &path).await;
    assert_eq!(seen.json()["url"], "https://example.com/…");
    assert!(!app.send_as(&reader, Method::GET, WEBHOOKS).await.body.contains("/T0/"));
    let other = app.store.tenant_create("other").unwrap().id;
    let other = app.token_with(other, &[Scope::Read, Scope::Admin]);
    let deliveries = format!("{path}deliveries/");
    for (method, path, may_read) in [
        (Method::GET, path.clone(), true),
        (Method::GET, deliveries.clone(), true),
        (Method::PATCH, path.clone(), false),
        (Method::DELETE, path.clone(), false),
        (Method::POST, format!("{path}test/"), false),
        (Method::POST, format!("{path}rotate_secret/"), false),
        (Method::POST, format!("{path}redeliver/"), false),
        (Method::POST, format!("{path}deliveries/1/redeliver/"), false),
    ] {
        let answer = app.send_as(&reader, method.clone(), &path).await;
        if may_read {
            assert_eq!(answer.status, 200, "{path}");
        } else {
            answer.is_problem(403, "forbidden");
        }
        app.send_as("clog_unknown", method.clone(), &path).await.is_problem(401, "unauthorized");
        if !matches!(method, Method::PATCH) && !path.ends_with("/webhooks/redeliver/") {
            let answer = app.send_as(&other, method, &path).await;
            assert!(matches!(answer.status, 404 | 415), "{path}: {}", answer.body);
        }
    }
    assert_eq!(app.get(&path).await.status, 200);
}

#[rstest]
#[actix_web::test]
async fn the_list_of_webhooks_has_pages_and_an_end(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for n in 1..=100 {
        app.webhook(&json!({"url": format!("https://example.com/{n}")})).await;
    }
    let one_more = json!({"url": "https://example.com/101"});
    app.send_json(Method::POST, WEBHOOKS, &one_more).await.is_problem(422, "no-room");
    let (mut next, mut urls) = (Some(format!("{WEBHOOKS}?limit=40")), Vec::new());
    while let Some(path) = next {
        let page = app.get(&path).await.json();
        urls.extend(page["results"].as_array().unwrap().iter().map(|w| w["url"].to_string()));
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(urls.len(), 100);
    assert!(urls[0].contains("/100") && urls[99].contains("/1\""), "{urls:?}");
}

#[rstest]
#[actix_web::test]
async fn a_webhook_that_was_changed_meanwhile_stays_as_it_is(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let made = app.send_json(Method::POST, WEBHOOKS, &json!({"url": "https://example.com"})).await;
    let path = made.header("location").unwrap().to_owned();
    let tag = made.header("etag").unwrap().to_owned();
    assert_eq!(app.get(&path).await.header("etag"), Some(tag.as_str()));
    let with = |method, tag: &str| app.request(method, &path).insert_header(("if-match", tag));
    let change = json!({"events": ["alert.opened"]});
    let first = app.send(with(Method::PATCH, &tag).set_json(&change)).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let new = first.header("etag").unwrap().to_owned();
    assert_ne!(new, tag);
    let other = json!({"url": "https://other.example"});
    let late = app.send(with(Method::PATCH, &tag).set_json(&other)).await;
    late.is_problem(409, "changed-meanwhile");
    assert_eq!(app.get(&path).await.json(), first.json());
    let rotated = app.send_empty(Method::POST, &format!("{path}rotate_secret/")).await;
    assert_ne!(rotated.header("etag"), Some(new.as_str()));
    app.send(with(Method::DELETE, &new)).await.is_problem(409, "changed-meanwhile");
    let latest = rotated.header("etag").unwrap().to_owned();
    assert_eq!(app.send(with(Method::DELETE, &latest)).await.status, 204);
}

#[rstest]
#[actix_web::test]
async fn a_webhook_for_a_kind_that_no_alert_has_is_refused(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let of =
        |kind: &str| json!({"url": "https://example.com", "filter": {"kind": ["match", kind]}});
    let answer = app.send_json(Method::POST, WEBHOOKS, &of("mach")).await;
    answer.is_problem(422, "invalid-value");
    assert_eq!(answer.faults(), [("/filter/kind/1".to_owned(), "unknown_value".to_owned())]);
    let taken = app.send_json(Method::POST, WEBHOOKS, &of("webhook_disabled")).await;
    assert_eq!(taken.status, 201, "{}", taken.body);
}
