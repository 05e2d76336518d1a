//! Browser pages of other origins: preflights, and the headers of answers.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use conn_log_api::{ApiOptions, Appender, Appending, Origin};
use conn_log_store::{AppendError, Rate, Submission};
use rstest::rstest;

use crate::test_app::{Answer, Database, EVENTS, TestApp, event};

const PAGE: &str = "https://app.example.org";

fn options() -> ApiOptions {
    let cors_origins = vec![PAGE.parse().unwrap(), "http://127.0.0.1:3000".parse().unwrap()];
    ApiOptions { cors_origins, ..ApiOptions::default() }
}

/// What a browser asks before it sends a POST with a token. It sends no token itself.
fn preflight(origin: &str, method: &str, headers: &str) -> TestRequest {
    TestRequest::with_uri(EVENTS)
        .method(Method::OPTIONS)
        .insert_header(("origin", origin))
        .insert_header(("access-control-request-method", method))
        .insert_header(("access-control-request-headers", headers))
}

fn list(answer: &Answer, header: &str) -> BTreeSet<String> {
    let value = answer.header(header).unwrap_or_default();
    value.split(',').map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// Checks that a page of that origin may read the answer and its headers.
fn may_be_read(answer: &Answer, origin: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{}", answer.body);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert!(list(answer, "vary").contains("origin"), "{:?}", answer.header("vary"));
    let exposed = list(answer, "access-control-expose-headers");
    for name in [
        "location",
        "link",
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "x-request-id",
        "idempotency-replayed",
        "preference-applied",
    ] {
        assert!(exposed.contains(name), "{name}: {exposed:?}");
    }
}

#[rstest]
#[actix_web::test]
async fn a_preflight_of_a_named_origin_needs_no_token(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).options(options()).await;
    let headers = "authorization,content-encoding,content-type,idempotency-key,if-match,\
                   last-event-id,prefer";
    for (origin, method) in
        [(PAGE, "POST"), (PAGE, "GET"), (PAGE, "DELETE"), ("http://127.0.0.1:3000", "PATCH")]
    {
        let answer = app.send(preflight(origin, method, headers)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert!(list(&answer, "access-control-allow-methods").contains(&method.to_lowercase()));
        let allowed = list(&answer, "access-control-allow-headers");
        assert!(headers.split(',').all(|name| allowed.contains(name)), "{allowed:?}");
        assert!(answer.header("x-request-id").is_some(), "it is a request like others");
    }
    for refused in [
        preflight("https://evil.example.org", "POST", headers),
        preflight("https://app.example.org.evil.org", "POST", headers),
        preflight("http://app.example.org", "POST", headers),
        preflight("null", "POST", headers),
        preflight(PAGE, "POST", "x-other"),
        preflight(PAGE, "TRACE", headers),
    ] {
        let answer = app.send(refused).await;
        answer.is_problem(400, "invalid-header");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[rstest]
#[actix_web::test]
async fn a_page_of_a_named_origin_reads_every_answer_and_others_none(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let one = NonZeroU32::MIN;
    let rate = Rate { events_per_second: 1, burst_events: 1 };
    let options =
        ApiOptions { default_rate: Some(rate), auth_failures_per_minute: one, ..options() };
    let app = TestApp::on(database).options(options).await;
    let from = |origin: &str, method: Method, path: &str| {
        app.request(method, path).insert_header(("origin", origin))
    };
    let post = || from(PAGE, Method::POST, EVENTS).set_json(event());
    let wrong = || from(PAGE, Method::GET, EVENTS).insert_header(("authorization", "Bearer x"));
    let zipped = || from(PAGE, Method::GET, EVENTS).insert_header(("accept-encoding", "gzip"));
    for (request, status) in [
        (post(), 201),
        (post(), 429),
        (from(PAGE, Method::GET, EVENTS), 200),
        (wrong(), 401),
        (wrong(), 429),
        (from(PAGE, Method::GET, "/none"), 404),
        (from(PAGE, Method::GET, "/api/v1/device_app_connection_log/?x=1"), 400),
        (from(PAGE, Method::DELETE, EVENTS), 405),
        (from(PAGE, Method::POST, EVENTS).set_payload("x"), 415),
        (zipped().insert_header(("accept-encoding", "*;q=0")), 406),
    ] {
        let answer = app.send(request).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        may_be_read(&answer, PAGE);
    }
    for path in [format!("{EVENTS}stream/"), format!("{EVENTS}export/?format=csv")] {
        let stream = app.open(from(PAGE, Method::GET, &path)).await;
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.headers().get("access-control-allow-origin").unwrap(), PAGE);
    }
    let compressed = app.open(zipped()).await;
    let vary: Vec<_> = compressed.headers().get_all("vary").collect();
    assert!(format!("{vary:?}").to_lowercase().contains("accept-encoding"), "{vary:?}");
    let other = app.send(from("https://evil.example.org", Method::GET, EVENTS)).await;
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, None));
}

struct Full;

impl Appender for Full {
    fn append(&self, _: Submission) -> Appending {
        Box::pin(async { Err(AppendError::Overloaded) })
    }
}

#[actix_web::test]
async fn a_page_may_read_that_the_server_is_overloaded() {
    let app = TestApp::on(Database::Sqlite).options(options()).appender(Full).await;
    let request = app.request(Method::POST, EVENTS).insert_header(("origin", PAGE));
    let answer = app.send(request.set_json(event())).await;
    answer.is_problem(503, "overloaded");
    may_be_read(&answer, PAGE);
}

#[actix_web::test]
async fn without_a_named_origin_no_page_may_use_the_api() {
    let app = TestApp::on(Database::Sqlite).await;
    let answer = app.send(preflight(PAGE, "POST", "authorization")).await;
    answer.is_problem(405, "method-not-allowed");
    let listed = app.send(app.request(Method::GET, EVENTS).insert_header(("origin", PAGE))).await;
    for answer in [answer, listed] {
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[rstest]
#[case("https://app.example.org", "")]
#[case("http://localhost:3000", "")]
#[case("http://[::1]:8080", "")]
#[case("*", "would let in every page")]
#[case("null", "would let in every page")]
#[case("", "an origin is such as")]
#[case("app.example.org", "an origin is such as")]
#[case("ftp://app.example.org", "an origin is such as")]
#[case("https://app.example.org/", "as https://app.example.org")]
#[case("https://app.example.org/page", "as https://app.example.org")]
#[case("https://App.Example.org", "as https://app.example.org")]
#[case("https://app.example.org:443", "as https://app.example.org")]
#[case("https://me@app.example.org", "as https://app.example.org")]
#[case("https://*.example.org", "an origin is such as")]
fn an_origin_is_written_as_browsers_send_it(#[case] text: &str, #[case] refused: &str) {
    match text.parse::<Origin>() {
        Ok(_) => assert_eq!(refused, "", "{text} was taken"),
        Err(error) => {
            let error = error.to_string();
            assert!(!refused.is_empty() && error.contains(refused), "{text}: {error}");
        }
    }
}
