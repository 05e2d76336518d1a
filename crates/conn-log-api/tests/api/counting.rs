//! Every received event is counted in /metrics as stored, as a duplicate, or as rejected with a
//! reason.

use actix_web::http::Method;
use conn_log_api::{ApiOptions, Appender, Appending};
use conn_log_store::{AppendError, Rate, StoreOptions, Submission, TenantId};
use rstest::rstest;
use serde_json::json;

use crate::test_app::{Database, EVENTS, TestApp, event};

/// The counters of events.
struct Counts(String);

impl Counts {
    async fn of(app: &TestApp) -> Self {
        Counts(app.get("/metrics").await.body)
    }

    /// The value of that counter, or the sum over all its labels.
    fn of_name(&self, name: &str) -> u64 {
        let name = format!("conn_log_{name}");
        let lines = self.0.lines().filter(|line| {
            line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        let values: Vec<u64> =
            lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(!values.is_empty(), "there is no {name} in {}", self.0);
        values.iter().sum()
    }

    fn rejected(&self, reason: &str) -> u64 {
        self.of_name(&format!("events_rejected_total{{reason=\"{reason}\"}}"))
    }

    fn add_up(&self) {
        let after = self.of_name("events_stored_total")
            + self.of_name("events_duplicate_total")
            + self.of_name("events_rejected_total");
        assert_eq!(self.of_name("events_received_total"), after, "{}", self.0);
    }
}

#[rstest]
#[actix_web::test]
async fn every_received_event_is_stored_a_duplicate_or_rejected(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut repeat = event();
    repeat["event_id"] = "e".into();
    let mut bad = event();
    bad["status"] = "fine".into();
    app.post(&json!([event(), repeat, repeat, bad, 5])).await;
    app.post(&bad).await;
    app.post_as("application/json", "not JSON").await;
    for body in [&event(), &event(), &bad, &bad] {
        app.post_keyed(body["status"].as_str().unwrap(), body).await;
    }
    let counts = Counts::of(&app).await;
    assert_eq!(counts.of_name("events_received_total"), 10);
    assert_eq!(counts.of_name("events_stored_total"), 3);
    assert_eq!(counts.of_name("events_duplicate_total"), 2);
    assert_eq!(counts.rejected("invalid_event"), 4);
    assert_eq!(counts.rejected("overloaded"), 0);
    assert_eq!(counts.rejected("invalid_body"), 1);
    counts.add_up();
    assert!(counts.of_name("commit_seconds_count") >= 2);
    assert!(counts.0.contains("route=\"/api/v1/device_app_connection_log\",status=\"207\""));

    // A key that was used with another body, and a batch that fails because of one bad event.
    app.post_keyed("success", &json!([event(), event()]))
        .await
        .is_problem(422, "idempotency-key-reused");
    let atomic = app.request(Method::POST, &format!("{EVENTS}?atomic=true"));
    let answer = app.send(atomic.set_json(json!([event(), bad, event()]))).await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    let counts = Counts::of(&app).await;
    assert_eq!(counts.rejected("key_reused"), 2);
    assert_eq!(counts.rejected("not_attempted"), 2);
    assert_eq!(counts.rejected("invalid_event"), 5);
    assert_eq!(counts.of_name("events_stored_total"), 3);
    counts.add_up();
}

#[rstest]
#[actix_web::test]
async fn conflicts_have_a_reason_of_their_own(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut first = event();
    first["event_id"] = "1".into();
    let mut other = first.clone();
    other["device_id"] = "other".into();
    app.post(&json!([first, other, first, event()])).await;
    app.post(&other).await;
    let atomic = app.request(Method::POST, &format!("{EVENTS}?atomic=true"));
    app.send(atomic.set_json(json!([event(), other, first]))).await;
    let counts = Counts::of(&app).await;
    assert_eq!(counts.rejected("event_id_conflict"), 3);
    assert_eq!(counts.rejected("not_attempted"), 2);
    assert_eq!(counts.of_name("events_stored_total"), 2);
    assert_eq!(counts.of_name("events_duplicate_total"), 1);
    counts.add_up();
}

#[rstest]
#[actix_web::test]
async fn events_over_the_rate_are_counted_as_rejected(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let slow = Some(Rate { events_per_second: 1, burst_events: 600 });
    let options = ApiOptions { default_rate: slow, ..ApiOptions::default() };
    let app = TestApp::on(database).options(options).await;
    app.post(&json!(vec![event(); 550])).await;
    app.post(&json!(vec![event(); 500])).await.is_problem(429, "too-many-requests");
    let counts = Counts::of(&app).await;
    assert_eq!((counts.of_name("events_stored_total"), counts.rejected("rate")), (550, 500));
    counts.add_up();
}

/// An appender that stores nothing.
/// An event that is kept is a rejected one all the same, and so is a body without an event.
#[rstest]
#[actix_web::test]
async fn a_kept_reject_is_counted_as_rejected_and_as_kept(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut bad = event();
    bad["status"] = "fine".into();
    let mut named = event();
    named["event_id"] = "e".into();
    let mut other = named.clone();
    other["status"] = "denied".into();
    let request = || app.request(Method::POST, &format!("{EVENTS}?on_reject=keep"));
    app.send(request().set_json(json!([event(), bad, named, other, named]))).await;
    let text = request().insert_header(("content-type", "application/json"));
    app.send(text.set_payload("not JSON")).await;
    let counts = Counts::of(&app).await;
    assert_eq!(counts.of_name("events_received_total"), 6);
    assert_eq!(counts.of_name("events_stored_total"), 2);
    assert_eq!(counts.of_name("events_duplicate_total"), 1);
    for (reason, count) in [("invalid_body", 1), ("invalid_event", 1), ("event_id_conflict", 1)] {
        assert_eq!(counts.rejected(reason), count, "{reason}");
    }
    assert_eq!(counts.of_name("rejects_kept_total"), 3);
    assert_eq!(counts.of_name("rejects_evicted_total"), 0);
    counts.add_up();
}

struct Refusing(AppendError);

impl Appender for Refusing {
    fn append(&self, _: Submission) -> Appending {
        let error = self.0;
        Box::pin(async move { Err(error) })
    }
}

#[rstest]
#[case(AppendError::Overloaded, 503, "overloaded", "overloaded")]
#[case(AppendError::Unavailable, 503, "store-unavailable", "unavailable")]
#[case(AppendError::Closed, 503, "store-unavailable", "unavailable")]
#[case(AppendError::Internal, 500, "internal", "internal")]
#[actix_web::test]
async fn events_that_the_store_refuses_are_counted_by_reason(
    #[case] error: AppendError,
    #[case] status: u16,
    #[case] slug: &str,
    #[case] reason: &str,
) {
    let app = TestApp::on(Database::Sqlite).appender(Refusing(error)).await;
    let answer = app.post(&json!([event(), event()])).await;
    answer.is_problem(status, slug);
    assert_eq!(answer.header("retry-after").is_some(), status == 503);
    let counts = Counts::of(&app).await;
    assert_eq!(counts.rejected(reason), 2);
    counts.add_up();
}

#[rstest]
#[actix_web::test]
async fn the_lag_of_derived_data_is_a_metric(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database)
        .store(|store| StoreOptions { projections: false, indexing: false, ..store })
        .await;
    app.post(&json!([event(), event(), event()])).await;
    let counts = Counts::of(&app).await;
    assert_eq!(counts.of_name("projections_behind_events"), 3);
    assert_eq!(counts.of_name("index_behind_events"), 3);

    app.store.projections_step(TenantId::DEFAULT, 2).unwrap();
    assert_eq!(Counts::of(&app).await.of_name("projections_behind_events"), 1);
}
