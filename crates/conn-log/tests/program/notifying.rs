//! A webhook is told of every change, however the program ends.

use std::collections::BTreeMap;

use conn_log_store::{ChangeKind, NewAlertChange, TenantId};
use conn_log_test_support::{Backend, TestDatabase};
use rstest::rstest;
use serde_json::{Value, json};

use crate::receiver::{distinct, receiver};
use crate::running::{Running, wait_until};

fn start(database: &TestDatabase) -> Running {
    Running::start_with(database, &["--webhook-allow", "127.0.0.0/8"])
}

/// An alert opens, grows and ends.
fn changes(alert: i64) -> Vec<NewAlertChange> {
    let kinds = [ChangeKind::Opened, ChangeKind::Extended, ChangeKind::Resolved];
    let change = |kind| NewAlertChange {
        kind,
        at: chrono::Utc::now().into(),
        alert: json!({"id": alert, "rule_id": 1, "kind": "match", "severity": "info"}),
    };
    kinds.into_iter().map(change).collect()
}

#[rstest]
fn a_kill_between_sending_and_noting_it_loses_no_change(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const ALERTS: i64 = 100;
    let Some(database) = TestDatabase::new(backend) else { return };
    let (url, arrived) = receiver();
    let server = start(&database);
    let made = ureq::post(format!("{}/api/v1/webhooks/", server.base))
        .header("authorization", format!("Bearer {}", server.token))
        .send_json(json!({"url": url}));
    assert_eq!(made.unwrap().status(), 201);
    let store = database.open();
    let all: Vec<NewAlertChange> = (1..=ALERTS).flat_map(changes).collect();
    store.alert_changes_append(TenantId::DEFAULT, all).unwrap();
    assert!(store.close());

    let count = || arrived.lock().unwrap().len();
    let mut server = Some(server);
    for enough in [40, 120, 200] {
        wait_until("enough has arrived", || count() >= enough);
        server.take().unwrap().signal("-KILL");
        // As when the minute has passed after which a claim counts no more.
        database.execute("UPDATE deliveries SET claimed_until = NULL");
        server = Some(start(&database));
    }
    let expected = usize::try_from(ALERTS * 3).unwrap();
    wait_until("all has arrived", || distinct(&arrived).len() >= expected);
    let server = server.unwrap();
    let listed = || -> Value {
        let answer = ureq::get(format!("{}/metrics", server.base)).call();
        let text = answer.unwrap().body_mut().read_to_string().unwrap();
        text.lines().any(|line| line == "conn_log_webhook_oldest_waiting_seconds 0").into()
    };
    wait_until("nothing waits", || listed() == json!(true));
    assert_eq!(distinct(&arrived).len(), expected, "a message has one id");

    // The first arrival of each change of an alert, in order.
    let mut of_alert: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (_, body) in arrived.lock().unwrap().iter() {
        let kinds = of_alert.entry(body["data"]["alert"]["id"].as_i64().unwrap()).or_default();
        let kind = body["type"].as_str().unwrap().to_owned();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    for (alert, kinds) in of_alert {
        assert_eq!(kinds, ["alert.opened", "alert.extended", "alert.resolved"], "{alert}");
    }
    server.signal("-TERM");
    assert_eq!(server.wait().0, Some(0));
}
