//! Bodies of rules that are not well formed, and filters of alerts.

use actix_web::http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Answer, Database, TestApp};
use crate::watching::{ALERTS, RULES, burst, denied};

impl TestApp {
    /// Sends a text as JSON.
    pub(crate) async fn send_text(&self, method: Method, path: &str, json: &str) -> Answer {
        let request =
            self.request(method, path).insert_header(("content-type", "application/json"));
        self.send(request.set_payload(json.to_owned())).await
    }
}

#[rstest]
#[actix_web::test]
async fn a_name_that_stands_twice_at_any_depth_of_a_rule_is_a_fault(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let path = format!("{RULES}{}/", app.rule(&burst()).await);
    let before = app.get(&path).await.json();
    let preview = format!("{RULES}preview/");
    let whole = |members: &str| {
        format!(
            r#"{{"name": "x", "kind": "sequence", "group_by": ["device_id"],
                "since": "2024-01-15T00:00:00Z", {members}}}"#
        )
    };
    let params = |first: &str| {
        format!(r#""params": {{"first": {{{first}}}, "then": {{"status": "success"}}}}"#)
    };
    for (members, pointer) in [
        (r#""filter": {"device_id": "a", "device_id": "b"}"#.to_owned(), "/filter/device_id"),
        (r#""exclude": {"device_id": "a", "device_id": "b"}"#.to_owned(), "/exclude/device_id"),
        (r#""params": {"count": 3, "count": 3}"#.to_owned(), "/params/count"),
        (params(r#""status": "denied", "status": "error""#), "/params/first/status"),
        (r#""filter": {}, "filter": {}"#.to_owned(), "/filter"),
    ] {
        for (method, path) in [
            (Method::POST, RULES),
            (Method::PATCH, path.as_str()),
            (Method::POST, preview.as_str()),
        ] {
            let answer = app.send_text(method, path, &whole(&members)).await;
            answer.is_problem(400, "invalid-object");
            let expected = (pointer.to_owned(), "duplicate_key".to_owned());
            assert_eq!(answer.faults(), [expected], "{path}: {members}");
        }
    }
    let in_rule = r#"{"rule": {"filter": {"a": {"b": 1, "b": 2}}}}"#;
    let answer = app.send_text(Method::POST, &preview, in_rule).await;
    assert_eq!(answer.faults(), [("/rule/filter/a/b".to_owned(), "duplicate_key".to_owned())]);
    assert_eq!(app.get(&path).await.json(), before);
    assert_eq!(app.get(RULES).await.json()["results"].as_array().unwrap().len(), 1);
}

#[rstest]
#[actix_web::test]
async fn the_rule_of_a_preview_is_an_object(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let preview = format!("{RULES}preview/");
    for rule in [json!("x"), json!(5), json!([]), json!(true)] {
        let mut body = burst();
        body["since"] = "2024-01-15T00:00:00Z".into();
        body["rule"] = rule;
        let answer = app.send_json(Method::POST, &preview, &body).await;
        answer.is_problem(400, "invalid-object");
        assert_eq!(answer.faults(), [("/rule".to_owned(), "wrong_type".to_owned())]);
    }
    let body = json!({"rule": burst(), "since": "2024-01-15T00:00:00Z"});
    assert_eq!(app.send_json(Method::POST, &preview, &body).await.status, 200);
    let mut body = burst();
    body["since"] = "2024-01-15T00:00:00Z".into();
    body["rule"] = Value::Null;
    assert_eq!(app.send_json(Method::POST, &preview, &body).await.status, 200);
}

#[rstest]
#[actix_web::test]
async fn a_group_of_alerts_is_found_by_its_exact_value_of_any_length(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.rule(&burst()).await;
    let odd = "100%_!\"\\x";
    for device in ["dev-x", odd] {
        let events: Vec<Value> = (1..4).map(|n| denied(device, n, "10.0.0.1")).collect();
        app.post(&json!(events)).await;
    }
    app.alerts("", 2).await;
    app.alerts("?group=dev-x", 1).await;
    for none in ["DEV-X", "dev-", "ev-x", "d%25v-x", "dev_x"] {
        app.alerts(&format!("?group={none}"), 0).await;
    }
    app.alerts(&format!("?{}", serde_urlencoded::to_string([("group", odd)]).unwrap()), 1).await;
    app.alerts(&format!("?group={}", "x".repeat(32_768)), 0).await;
    for bad in ["x".repeat(32_769), String::new(), "%00".to_owned()] {
        let answer = app.get(&format!("{ALERTS}?group={bad}")).await;
        answer.is_problem(400, "invalid-query");
    }
}

#[rstest]
#[actix_web::test]
async fn the_page_names_the_starter_rules(#[values(Database::Sqlite)] database: Database) {
    let page = include_str!("../../../../docs/api.md");
    let app = TestApp::on(database).await;
    let installed = app.send_empty(Method::POST, &format!("{RULES}install/")).await.json();
    let rows = installed["installed"].as_array().unwrap().iter().map(|rule| {
        let text = |name: &str| rule[name].as_str().unwrap().to_owned();
        let groups = rule["group_by"].as_array().unwrap().iter().map(|g| g.as_str().unwrap());
        let groups: Vec<String> = groups.map(|group| format!("`{group}`")).collect();
        let [name, kind, severity] = ["name", "kind", "severity"].map(text);
        format!("| {name} | `{kind}` | {} | {severity} |", groups.join(", "))
    });
    let rows: Vec<String> = rows.collect();
    assert!(page.contains(&rows.join("\n")), "{}", rows.join("\n"));
}
