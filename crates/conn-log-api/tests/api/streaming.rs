//! The live stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Database, EVENTS, TestApp, event_of};

/// Time limit that only a broken server exceeds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream being read.
pub(crate) struct Stream {
    body: BoxBody,
    text: String,
    /// Number of comments read between events.
    comments: usize,
}

impl Stream {
    pub(crate) async fn open(app: &TestApp, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = app.request(Method::GET, &format!("{EVENTS}stream/{query}"));
        if let Some(id) = last_event_id {
            request = request.insert_header(("last-event-id", id));
        }
        let response = app.open(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers().get("content-type").unwrap(), "text/event-stream");
        let mut stream = Stream { body: response.into_body(), text: String::new(), comments: 0 };
        // The first comment says that the stream is open.
        stream.read_more().await;
        stream.text.clear();
        stream
    }

    /// Reads more; returns whether there was more.
    async fn read_more(&mut self) -> bool {
        let next = poll_fn(|context| Pin::new(&mut self.body).poll_next(context));
        match tokio::time::timeout(PATIENCE, next).await.expect("the stream says something") {
            Some(bytes) => {
                self.text.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
                true
            }
            None => false,
        }
    }

    /// The next event: its id in the stream, and its record.
    pub(crate) async fn event(&mut self) -> (i64, Value) {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                if frame.starts_with(':') {
                    self.comments += 1;
                    continue;
                }
                let (id, data) = frame.split_once('\n').unwrap();
                let id = id.strip_prefix("id: ").unwrap().parse().unwrap();
                let data = data.strip_prefix("data: ").unwrap();
                return (id, serde_json::from_str(data).unwrap());
            }
            assert!(self.read_more().await, "the stream has ended");
        }
    }

    /// The next event of the type alert.
    pub(crate) async fn alert(&mut self) -> Value {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(data) = frame.strip_prefix("event: alert\ndata: ") {
                    return serde_json::from_str(data).unwrap();
                }
                continue;
            }
            assert!(self.read_more().await, "the stream has ended");
        }
    }

    async fn ids(&mut self, count: usize) -> Vec<i64> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let (id, record) = self.event().await;
            assert_eq!(record["id"], id);
            ids.push(id);
        }
        ids
    }
}

async fn post(app: &TestApp, devices: &[&str]) {
    let events: Vec<Value> = devices.iter().map(|device| event_of(device)).collect();
    assert_eq!(app.post(&json!(events)).await.status, 201);
}

#[rstest]
#[actix_web::test]
async fn a_stream_sends_later_commits(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(&app, &["before"]).await;
    let mut stream = Stream::open(&app, "", None).await;
    post(&app, &["a", "b"]).await;
    assert_eq!(stream.event().await.1, app.get(&format!("{EVENTS}2/")).await.json());
    post(&app, &["c"]).await;
    assert_eq!(stream.ids(2).await, [3, 4]);
}

#[rstest]
#[actix_web::test]
async fn a_stream_resumes_after_the_last_event_id_and_goes_on_with_new_events(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let devices = vec!["d"; 1_200];
    post(&app, &devices).await;
    let mut by_header = Stream::open(&app, "?after=1199", Some("2")).await;
    let mut by_query = Stream::open(&app, "?after=1198", None).await;
    assert_eq!(by_query.ids(2).await, [1_199, 1_200]);
    post(&app, &["new"]).await;
    assert_eq!(by_header.ids(1_199).await, (3..=1_201).collect::<Vec<i64>>());
    assert_eq!(by_query.ids(1).await, [1_201]);
}

#[rstest]
#[actix_web::test]
async fn a_stream_tells_large_events_in_parts_and_leaves_none_out(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut large = event_of("large");
    large["metadata"] = json!({"text": "x".repeat(16_000)});
    let few = |count| json!(vec![large.clone(); count]);
    assert_eq!(app.post(&few(40)).await.status, 201);
    post(&app, &vec!["small"; 300]).await;
    let mut stream = Stream::open(&app, "?after=0", None).await;
    assert_eq!(stream.ids(10).await, (1..=10).collect::<Vec<i64>>());
    // The stream has not reached the end of the log yet. It must send the old events before the new
    // ones.
    assert_eq!(app.post(&few(20)).await.status, 201);
    assert_eq!(stream.ids(350).await, (11..=360).collect::<Vec<i64>>());
    assert_eq!(app.post(&few(20)).await.status, 201);
    assert_eq!(stream.ids(20).await, (361..=380).collect::<Vec<i64>>());
}

#[rstest]
#[actix_web::test]
async fn a_filtered_stream_tells_the_matching_events_only(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    post(&app, &["a", "b", "a"]).await;
    let mut stream = Stream::open(&app, "?after=0&device_id=a", None).await;
    assert_eq!(stream.ids(2).await, [1, 3]);
    post(&app, &["b", "a"]).await;
    assert_eq!(stream.ids(1).await, [5]);
}

#[rstest]
#[actix_web::test]
async fn a_client_that_does_not_read_for_a_while_misses_nothing(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut slow = Stream::open(&app, "", None).await;
    let mut fast = Stream::open(&app, "", None).await;
    // Each post is a round of its own, and there are more rounds than the hub keeps.
    for n in 1..=150 {
        post(&app, &["d"]).await;
        assert_eq!(fast.ids(1).await, [n]);
    }
    assert_eq!(slow.ids(150).await, (1..=150).collect::<Vec<i64>>());
}

#[rstest]
#[actix_web::test]
async fn a_stream_refuses_the_filters_that_a_list_refuses(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.get(&format!("{EVENTS}stream/?devise_id=a")).await.is_problem(400, "invalid-query");
    let request = app.request(Method::GET, &format!("{EVENTS}stream/"));
    let request = request.insert_header(("last-event-id", "yesterday"));
    app.send(request).await.is_problem(400, "invalid-header");
}

#[rstest]
#[actix_web::test]
async fn a_stream_without_events_says_now_and_then_that_it_lives(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut stream = Stream::open(&app, "", None).await;
    // From here on the clock skips idle time.
    tokio::time::pause();
    for _ in 0..3 {
        stream.text.clear();
        let silent = tokio::time::Instant::now();
        assert!(stream.read_more().await);
        assert_eq!(stream.text, ": keep-alive\n\n");
        assert!((14..=16).contains(&silent.elapsed().as_secs()));
    }
}

#[rstest]
#[actix_web::test]
async fn a_stream_with_events_says_every_15_seconds_that_it_lives(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let mut stream = Stream::open(&app, "", None).await;
    for n in 1..=7 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(5)).await;
        tokio::time::resume();
        post(&app, &["d"]).await;
        assert_eq!(stream.ids(1).await, [n]);
    }
    // One comment after 15 of the 35 seconds, and one after 30.
    assert_eq!(stream.comments, 2);
}

#[rstest]
#[actix_web::test]
async fn a_head_of_a_stream_ends(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let answer = app.send(app.request(Method::HEAD, &format!("{EVENTS}stream/"))).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}
