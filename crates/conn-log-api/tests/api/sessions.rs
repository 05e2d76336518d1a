//! Sessions and presence come from the same data, so they always agree.

use std::time::Duration;

use conn_log_store::{SessionTimeout, StoreOptions};
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Database, TestApp};

/// An event of `dev_1`, without a session id.
fn event(application: &str, kind: &str, time: &str) -> Value {
    json!({"device_id": "dev_1", "application_id": application, "connection_type": kind,
        "timestamp": format!("2024-01-15T{time}Z"), "status": "success"})
}

fn with(mut event: Value, name: &str, value: &str) -> Value {
    event[name] = value.into();
    event
}

async fn post(app: &TestApp, events: Value) {
    let answer = app.post(&events).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

async fn list(app: &TestApp, path: &str) -> Vec<Value> {
    let answer = app.get(&format!("/api/v1/{path}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["results"].as_array().unwrap().clone()
}

/// The given members of each session, oldest first.
async fn sessions<const N: usize>(app: &TestApp, members: [&str; N]) -> Vec<Value> {
    let mut sessions = list(app, "sessions/").await;
    sessions.reverse();
    sessions.iter().map(|session| members.map(|name| session[name].clone()).into()).collect()
}

/// Whether `dev_1` is connected, and the number of its open sessions. Checks that devices,
/// applications and the list of sessions agree.
async fn presence(app: &TestApp) -> (bool, i64) {
    let device = app.get("/api/v1/devices/dev_1/").await.json();
    let connected = device["connected"].as_bool().unwrap();
    let open = device["open_sessions"].as_i64().unwrap();
    let listed = list(app, "sessions/?device_id=dev_1&open=true").await;
    assert_eq!(i64::try_from(listed.len()).unwrap(), open);
    let devices = list(app, &format!("devices/?connected={connected}")).await;
    assert!(devices.contains(&device), "{devices:?}");
    let applications = list(app, "applications/").await;
    let sum = |name: &str| applications.iter().map(|a| a[name].as_i64().unwrap()).sum::<i64>();
    assert_eq!(sum("connected_devices") > 0, connected);
    assert_eq!(sum("open_sessions"), open);
    (connected, open)
}

fn time(time: &str) -> Value {
    json!(format!("2024-01-15T{time}Z"))
}

#[rstest]
#[actix_web::test]
async fn a_session_that_ended_by_a_timeout_leaves_its_device_unconnected(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(&app, event("vpn", "established", "08:00:00")).await;
    assert_eq!(presence(&app).await, (true, 1));
    post(&app, with(event("vpn", "terminated", "08:30:00"), "status", "timeout")).await;
    assert_eq!(presence(&app).await, (false, 0));
}

#[rstest]
#[actix_web::test]
async fn a_device_with_two_sessions_stays_connected_when_one_ends(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(
        &app,
        json!([
            event("vpn", "established", "08:00:00"),
            event("mail", "established", "08:10:00"),
            event("mail", "terminated", "08:20:00"),
        ]),
    )
    .await;
    assert_eq!(presence(&app).await, (true, 1));
}

#[rstest]
#[actix_web::test]
async fn the_late_end_of_an_old_session_does_not_end_the_new_one(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let of = |kind, time, session| with(event("vpn", kind, time), "session_id", session);
    post(
        &app,
        json!([
            of("established", "10:00:00", "a"),
            of("established", "11:00:00.000", "b"),
            of("terminated", "11:00:00.350", "a"),
        ]),
    )
    .await;
    assert_eq!(presence(&app).await, (true, 1));
    let found = sessions(&app, ["session_id", "open", "end_reason"]).await;
    assert_eq!(found, [json!(["a", false, "terminated"]), json!(["b", true, null])]);
}

#[rstest]
#[actix_web::test]
async fn a_session_id_that_devices_or_reboots_share_is_not_one_session(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let of = |kind, time| with(event("vpn", kind, time), "session_id", "7");
    post(
        &app,
        json!([
            of("established", "08:00:00"),
            with(of("established", "08:01:00"), "device_id", "dev_2"),
            of("established", "08:02:00"),
            of("terminated", "08:30:00"),
            // After a reboot the device counts its session ids from the beginning.
            of("established", "09:00:00"),
        ]),
    )
    .await;
    let found = sessions(&app, ["device_id", "started_at", "ended_at"]).await;
    let expected = [
        json!(["dev_1", time("08:00:00"), time("08:30:00")]),
        json!(["dev_2", time("08:01:00"), null]),
        json!(["dev_1", time("09:00:00"), null]),
    ];
    assert_eq!(found, expected);
    assert_eq!(list(&app, "sessions/?session_id=7").await.len(), 3);
    // The end of the session before the reboot arrives late.
    post(&app, of("terminated", "08:01:30")).await;
    assert_eq!(sessions(&app, ["device_id"]).await.len(), 4);
}

#[rstest]
#[actix_web::test]
async fn at_one_instant_an_end_comes_before_a_start(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(
        &app,
        json!([
            event("vpn", "established", "08:00:00"),
            event("vpn", "established", "09:00:00"),
            event("vpn", "terminated", "09:00:00"),
        ]),
    )
    .await;
    assert_eq!(presence(&app).await, (true, 1));
    let found = sessions(&app, ["started_at", "ended_at", "end_reason", "end_event_id"]).await;
    let expected = [
        json!([time("08:00:00"), time("09:00:00"), "terminated", 3]),
        json!([time("09:00:00"), null, null, null]),
    ];
    assert_eq!(found, expected);
}

#[rstest]
#[actix_web::test]
async fn a_start_without_a_session_id_supersedes_the_open_session(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let both =
        json!([event("vpn", "established", "08:00:00"), event("vpn", "established", "09:00:00"),]);
    post(&app, both.clone()).await;
    post(&app, both).await;
    let found = sessions(&app, ["ended_at", "end_reason", "end_event_id", "duration"]).await;
    assert_eq!(
        found,
        [json!([time("09:00:00"), "superseded", null, 3_600.0]), json!([null, null, null, null])]
    );
}

#[rstest]
#[actix_web::test]
async fn an_end_up_to_a_minute_before_its_start_ends_that_session(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(
        &app,
        json!([
            event("vpn", "terminated", "08:00:00"),
            event("vpn", "established", "08:01:00"),
            event("mail", "terminated", "08:10:00"),
            event("mail", "established", "08:11:00.001"),
        ]),
    )
    .await;
    let found = sessions(&app, ["application_id", "started_at", "ended_at", "duration"]).await;
    let expected = [
        json!(["vpn", time("08:01:00"), time("08:00:00"), 0.0]),
        json!(["mail", null, time("08:10:00"), null]),
        json!(["mail", "2024-01-15T08:11:00.001Z", null, null]),
    ];
    assert_eq!(found, expected);
    assert_eq!(presence(&app).await, (true, 1));
}

#[rstest]
#[actix_web::test]
async fn a_suspended_session_is_open_and_does_not_connect_its_device(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(&app, event("vpn", "suspended", "08:30:00")).await;
    assert_eq!(presence(&app).await, (false, 0));
    post(&app, event("vpn", "established", "08:00:00")).await;
    assert_eq!(presence(&app).await, (false, 1));
    post(&app, event("vpn", "resumed", "09:00:00")).await;
    assert_eq!(presence(&app).await, (true, 1));
    post(&app, with(event("vpn", "attempted", "09:30:00"), "status", "denied")).await;
    let found = sessions(&app, ["started_at", "last_event_at"]).await;
    assert_eq!(found, [json!([time("08:00:00"), time("09:30:00")])]);
}

#[rstest]
#[actix_web::test]
async fn a_session_without_a_sign_of_life_has_ended_at_its_last(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).store(an_hour).await;
    post(
        &app,
        json!(
            [event("vpn", "established", "08:00:00"), event("vpn", "authenticated", "08:15:00"),]
        ),
    )
    .await;
    assert_eq!(presence(&app).await, (false, 0));
    let found = sessions(&app, ["ended_at", "end_reason", "duration", "end_event_id"]).await;
    assert_eq!(found, [json!([time("08:15:00"), "timed_out", 900.0, null])]);
    assert_eq!(list(&app, "sessions/?open=false").await.len(), 1);
    assert_eq!(list(&app, "sessions/?active_at=2024-01-15T08:14:59Z").await.len(), 1);
    assert_eq!(list(&app, "sessions/?since=2024-01-15T08:15:00Z").await.len(), 0);
    let now = |kind| {
        let mut now = event("vpn", kind, "08:00:00");
        now["timestamp"] = chrono::Utc::now().to_rfc3339().into();
        now
    };
    // It has ended: only a start opens the next.
    post(&app, now("authenticated")).await;
    assert_eq!(presence(&app).await, (false, 0));
    post(&app, now("established")).await;
    assert_eq!(presence(&app).await, (true, 1));
    let found = sessions(&app, ["ended_at", "end_reason"]).await;
    assert_eq!(found, [json!([time("08:15:00"), "timed_out"]), json!([null, null])]);
}

/// A session timeout of an hour.
fn an_hour(options: StoreOptions) -> StoreOptions {
    StoreOptions { session_timeout: SessionTimeout::After(Duration::from_hours(1)), ..options }
}

#[rstest]
#[actix_web::test]
async fn a_start_after_a_gap_begins_a_new_session(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
    #[values(None, Some("s-1"))] session_id: Option<&str>,
) {
    let app = TestApp::on(database).store(an_hour).await;
    let event = |kind, time| {
        let event = event("vpn", kind, time);
        match session_id {
            Some(session_id) => with(event, "session_id", session_id),
            None => event,
        }
    };
    let members = ["started_at", "ended_at", "end_reason", "last_event_at"];
    post(&app, event("established", "08:00:00")).await;
    post(&app, event("authenticated", "09:00:00")).await;
    post(&app, event("established", "10:00:00.000001")).await;
    post(&app, event("terminated", "10:30:00")).await;
    let second =
        json!(["2024-01-15T10:00:00.000001Z", time("10:30:00"), "terminated", time("10:30:00")]);
    let first = json!([time("08:00:00"), time("09:00:00"), "timed_out", time("09:00:00")]);
    assert_eq!(sessions(&app, members).await, [first, second.clone()]);
    // A late sign of life within the gap: the first session has lived on.
    post(&app, event("attempted", "09:30:00")).await;
    let found = sessions(&app, members).await;
    if session_id.is_some() {
        assert_eq!(
            found,
            [json!([time("08:00:00"), time("10:30:00"), "terminated", time("10:30:00")])]
        );
    } else {
        let at = second[0].clone();
        assert_eq!(found, [json!([time("08:00:00"), at, "superseded", at]), second]);
    }
}

#[rstest]
#[actix_web::test]
async fn an_end_after_a_gap_is_not_that_of_the_session_before(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).store(an_hour).await;
    post(&app, event("vpn", "terminated", "10:00:00")).await;
    post(&app, event("vpn", "established", "08:00:00")).await;
    let found = sessions(&app, ["started_at", "ended_at", "end_reason"]).await;
    let expected = [
        json!([time("08:00:00"), time("08:00:00"), "timed_out"]),
        json!([null, time("10:00:00"), "terminated"]),
    ];
    assert_eq!(found, expected);
}

#[rstest]
#[actix_web::test]
async fn sessions_are_found_by_the_time_that_they_were_open(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let of = |application, kind, time| event(application, kind, time);
    post(
        &app,
        json!([
            of("short", "established", "10:00:00"),
            of("short", "terminated", "10:00:05"),
            of("long", "established", "08:00:00"),
            of("long", "terminated", "12:00:00"),
            of("open", "established", "09:00:00"),
            of("end", "terminated", "10:30:00"),
        ]),
    )
    .await;
    for (query, expected) in [
        ("active_at=2024-01-15T10:00:02Z", vec!["short", "open", "long"]),
        ("active_at=2024-01-15T10:00:05Z", vec!["open", "long"]),
        ("active_at=2024-01-15T10:30:00Z", vec!["end", "open", "long"]),
        ("active_at=2024-01-15T12:00:00Z", vec!["open"]),
        ("since=2024-01-15T11:00:00Z", vec!["open", "long"]),
        ("until=2024-01-15T09:00:00Z", vec!["long"]),
        ("since=2024-01-15T10:00:01Z&until=2024-01-15T10:10:00Z&open=false", vec!["short", "long"]),
        ("since=2024-01-15T10:00:01Z&application_id=short", vec!["short"]),
    ] {
        let found = list(&app, &format!("sessions/?{query}")).await;
        let found: Vec<_> = found.iter().map(|s| s["application_id"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
}

#[rstest]
#[actix_web::test]
async fn devices_are_found_by_application_state_and_time(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let of =
        |device, application, kind, time| with(event(application, kind, time), "device_id", device);
    post(
        &app,
        json!([
            of("a", "vpn", "established", "08:00:00"),
            of("b", "vpn", "established", "09:00:00"),
            of("b", "vpn", "suspended", "09:30:00"),
            of("c", "mail", "established", "10:00:00"),
            of("d", "vpn", "attempted", "11:00:00"),
        ]),
    )
    .await;
    for (query, expected) in [
        ("connected=true", vec!["a", "c"]),
        ("connected=false", vec!["b", "d"]),
        ("application_id=vpn", vec!["a", "b", "d"]),
        ("application_id=vpn&application_id=mail&connected=true", vec!["a", "c"]),
        ("application_id=nothing", vec![]),
        ("seen_since=2024-01-15T09:30:00Z", vec!["b", "c", "d"]),
        ("seen_until=2024-01-15T09:30:00Z", vec!["a"]),
        ("seen_since=2024-01-15T09:30:00Z&seen_until=2024-01-15T10:30:00Z", vec!["b", "c"]),
    ] {
        let found = list(&app, &format!("devices/?{query}")).await;
        let found: Vec<_> = found.iter().map(|d| d["device_id"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    let vpn = app.get("/api/v1/applications/vpn/").await.json();
    assert_eq!((&vpn["connected_devices"], &vpn["open_sessions"]), (&json!(1), &json!(2)));
}
