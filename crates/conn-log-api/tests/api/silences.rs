//! `/silences/`: alerts of which no webhook is told for a time.

use actix_web::http::Method;
use chrono::{TimeDelta, Utc};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Database, TestApp};

const SILENCES: &str = "/api/v1/silences/";

fn time(from_now: TimeDelta) -> String {
    (Utc::now() + from_now).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[rstest]
#[actix_web::test]
async fn a_silence_is_made_listed_and_ended(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.send_empty(Method::POST, "/api/v1/alert_rules/install/").await;
    let until = time(TimeDelta::hours(2));
    let new = json!({"rule_id": 3, "group": {"device_id": "dev_1"}, "severity": "warning",
        "until": until, "reason": "moving house"});
    let made = app.send_json(Method::POST, SILENCES, &new).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let silence = made.json();
    let path = format!("{SILENCES}{}/", silence["id"].as_str().unwrap());
    assert_eq!(made.header("location"), Some(path.as_str()));
    let token = app.get("/api/v1/tokens/").await.json()["results"][0]["id"].clone();
    let expected = json!({"id": silence["id"], "rule_id": 3, "group": {"device_id": "dev_1"},
        "severity": "warning", "until": until, "reason": "moving house", "created_by": token,
        "created_at": silence["created_at"]});
    assert_eq!(silence, expected);
    assert_eq!(app.get(SILENCES).await.json()["results"], json!([expected]));
    assert_eq!(app.get(&path).await.json(), expected);
    app.get(&format!("{SILENCES}x/")).await.is_problem(404, "not-found");
    assert_eq!(app.send_empty(Method::DELETE, &path).await.status, 204);
    app.send_empty(Method::DELETE, &path).await.is_problem(404, "not-found");
    app.get(&path).await.is_problem(404, "not-found");
    assert_eq!(app.get(SILENCES).await.json()["results"], json!([]));
}

#[rstest]
#[actix_web::test]
async fn a_silence_names_any_group_that_alerts_have_in_their_spelling(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    for (group, kept) in [
        (json!({"webhook_id": "0198"}), json!({"webhook_id": "0198"})),
        (json!({"overflow": "groups"}), json!({"overflow": "groups"})),
        (json!({"ip_address": "::FFFF:1.2.3.4"}), json!({"ip_address": "1.2.3.4"})),
        (json!({"metadata.a\\b": 3}), json!({"metadata.a\\\\b": 3})),
        (json!({"metadata.a\\.b": true}), json!({"metadata.a\\.b": true})),
    ] {
        let new = json!({"group": group, "until": time(TimeDelta::hours(1)), "reason": "x"});
        let made = app.send_json(Method::POST, SILENCES, &new).await;
        assert_eq!((made.status, &made.json()["group"]), (201, &kept), "{}", made.body);
    }
}

#[rstest]
#[actix_web::test]
async fn every_bad_silence_is_refused_with_all_its_faults(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let (soon, past) = (time(TimeDelta::hours(1)), time(TimeDelta::hours(-1)));
    let far = time(TimeDelta::days(400));
    for (body, status, faults) in [
        (json!({}), 400, &[("", "missing"), ("/reason", "missing"), ("/until", "missing")][..]),
        (json!({"until": soon, "reason": "x"}), 400, &[("", "missing")]),
        (
            json!({"rule_id": [1, 2], "until": soon, "reason": "x"}),
            400,
            &[("/rule_id", "wrong_type")],
        ),
        (
            json!({"severity": "high", "until": past, "reason": " x", "rule_id": true}),
            422,
            &[
                ("/reason", "surrounding_space"),
                ("/rule_id", "unknown_value"),
                ("/severity", "unknown_value"),
                ("/until", "out_of_range"),
            ],
        ),
        (
            json!({"group": {}, "until": far, "reason": "x"}),
            422,
            &[("/group", "length"), ("/until", "out_of_range")],
        ),
        (
            json!({"group": {"a": "x\0", "b": {}, "c\0": 1}, "until": soon, "reason": "x"}),
            400,
            &[("/group/a", "unknown"), ("/group/b", "unknown"), ("/group/c\0", "unknown")],
        ),
        (
            json!({"group": {"device_id": null, "metadata.a": null, "devce_id": "d"},
                "until": soon, "reason": "x"}),
            400,
            &[
                ("/group/devce_id", "unknown"),
                ("/group/device_id", "wrong_type"),
                ("/group/metadata.a", "wrong_type"),
            ],
        ),
        (
            json!({"group": {"device_id": ["a", "b"], "application_id": [], "metadata.a": {}},
                "until": soon, "reason": "x"}),
            400,
            &[
                ("/group/application_id", "wrong_type"),
                ("/group/device_id", "wrong_type"),
                ("/group/metadata.a", "wrong_type"),
            ],
        ),
        (
            json!({"group": {"device_id": "x\0", "user_agent": "x".repeat(4_097), "ip_address": "x"},
                "until": soon, "reason": "x"}),
            422,
            &[
                ("/group/device_id", "nul_character"),
                ("/group/ip_address", "invalid_address"),
                ("/group/user_agent", "length"),
            ],
        ),
        (
            json!({"group": {"device_id": 5, "network_type": true}, "until": soon, "reason": "x"}),
            400,
            &[("/group/device_id", "wrong_type"), ("/group/network_type", "wrong_type")],
        ),
        (
            json!({"rule_id": "\0", "until": soon, "reason": "x"}),
            422,
            &[("/rule_id", "unknown_value")],
        ),
        (
            json!({"rule_id": 7, "until": soon, "reason": "no such rule"}),
            422,
            &[("/rule_id", "unknown_value")],
        ),
        (
            json!({"severity": "info", "until": "tomorrow", "reason": "x"}),
            422,
            &[("/until", "invalid_timestamp")],
        ),
    ] {
        let answer = app.send_json(Method::POST, SILENCES, &body).await;
        answer.is_problem(status, if status == 400 { "invalid-object" } else { "invalid-value" });
        let faults: Vec<(String, String)> =
            faults.iter().map(|(pointer, code)| ((*pointer).into(), (*code).into())).collect();
        assert_eq!(answer.faults(), faults, "{body}");
    }
    let listed: Value = app.get(SILENCES).await.json();
    assert_eq!(listed["results"], json!([]));
}
