//! Lists, filters, cursors and the feed.

use actix_web::http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Answer, Database, EVENTS, TestApp, event};

fn ids(answer: &Answer) -> Vec<i64> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = answer.json();
    body["results"].as_array().unwrap().iter().map(|r| r["id"].as_i64().unwrap()).collect()
}

/// The path and query of a link, as a client would follow it on the same server.
fn link(answer: &Answer, name: &str) -> Option<String> {
    let link = answer.json()[name].as_str()?.to_owned();
    Some(link.strip_prefix("http://log.test").unwrap().to_owned())
}

async fn twelve_events(database: Database) -> TestApp {
    let app = TestApp::on(database).await;
    let events: Vec<Value> = (1..=12)
        .map(|i| {
            let mut event = event();
            event["device_id"] = format!("dev_{}", i % 3).into();
            event["application_id"] = format!("app_{}", i % 2).into();
            event["timestamp"] = format!("2024-01-15T10:{:02}:00Z", 60 - i * 4).into();
            event["status"] = if i % 4 == 0 { "failure" } else { "success" }.into();
            event["ip_address"] = format!("10.0.{}.{i}", i % 2).into();
            event["metadata"] =
                json!({"n": i, "id.n": i, "tag": {"parity": if i % 2 == 0 { "even" } else { "odd" }}});
            event["duration"] = json!(i);
            if i > 10 {
                event["session_id"] = "s-1".into();
            }
            event
        })
        .collect();
    assert_eq!(app.post(&json!(events)).await.status, 201);
    app
}

#[rstest]
#[actix_web::test]
async fn an_address_is_found_however_it_was_written(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let written =
        ["203.0.113.7", "::ffff:203.0.113.7", "::FFFF:CB00:7107", "2001:db8::7", "203.0.114.7"];
    let events: Vec<Value> = written
        .iter()
        .map(|address| {
            let mut event = event();
            event["ip_address"] = (*address).into();
            event
        })
        .collect();
    assert_eq!(app.post(&json!(events)).await.status, 201);
    for (query, expected) in [
        ("203.0.113.7", &[3, 2, 1][..]),
        ("::ffff:203.0.113.7", &[3, 2, 1]),
        ("203.0.113.0/24", &[3, 2, 1]),
        ("::ffff:203.0.113.0/120", &[3, 2, 1]),
        ("203.0.112.0/22", &[5, 3, 2, 1]),
        ("::ffff:0:0/96", &[5, 3, 2, 1]),
        ("2001:db8::/32", &[4]),
    ] {
        let answer = app.get(&format!("{EVENTS}?ip_address={query}")).await;
        assert_eq!(ids(&answer), expected, "{query}");
    }
    for id in 1..=3 {
        let record = app.get(&format!("{EVENTS}{id}/")).await.json();
        assert_eq!(record["ip_address"], "203.0.113.7");
    }
    let devices = app.get("/api/v1/devices/dev_1/").await.json();
    assert_eq!(devices["last_ip_address"], "203.0.114.7");
}

#[rstest]
#[actix_web::test]
async fn every_filter_narrows_the_list_and_they_combine(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = twelve_events(database).await;
    for (query, expected) in [
        ("", &[12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1][..]),
        ("limit=3", &[12, 11, 10]),
        ("order=id&limit=2", &[1, 2]),
        ("order=timestamp&limit=2", &[12, 11]),
        ("order=-timestamp&limit=2", &[1, 2]),
        ("device_id=dev_0", &[12, 9, 6, 3]),
        ("device_id=dev_0&device_id=dev_1&limit=3", &[12, 10, 9]),
        ("application_id=app_1&device_id=dev_0", &[9, 3]),
        ("status=failed", &[12, 8, 4]),
        ("connection_type=terminated", &[]),
        ("ip_address=10.0.1.0/24", &[11, 9, 7, 5, 3, 1]),
        ("ip_address=10.0.1.7", &[7]),
        ("session_id=s-1", &[12, 11]),
        ("since=2024-01-15T10:48:00Z&until=2024-01-15T10:56:00Z", &[3, 2]),
        ("min_duration=3&max_duration=4.5", &[4, 3]),
        ("metadata.n=7", &[7]),
        ("metadata.tag.parity=even&min_duration=9", &[12, 10]),
        ("metadata.tag=even", &[]),
        (r"metadata.id%5C.n=7", &[7]),
        ("metadata.id.n=7", &[]),
    ] {
        assert_eq!(ids(&app.get(&format!("{EVENTS}?{query}")).await), expected, "{query}");
    }
}

#[rstest]
#[actix_web::test]
async fn following_next_and_previous_meets_every_event_once(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
    #[values("-id", "id", "-timestamp", "timestamp")] order: &str,
) {
    let app = twelve_events(database).await;
    let whole = ids(&app.get(&format!("{EVENTS}?order={order}")).await);
    let (mut forwards, mut last) = (Vec::new(), None);
    let mut path = Some(format!("{EVENTS}?order={order}&limit=5"));
    while let Some(at) = path {
        let page = app.get(&at).await;
        forwards.extend(ids(&page));
        path = link(&page, "next");
        last = Some(page);
    }
    assert_eq!(forwards, whole);

    let mut backwards = ids(last.as_ref().unwrap());
    let mut path = link(last.as_ref().unwrap(), "previous");
    while let Some(at) = path {
        let page = app.get(&at).await;
        backwards.splice(0..0, ids(&page));
        path = link(&page, "previous");
    }
    assert_eq!(backwards, whole);
}

#[rstest]
#[actix_web::test]
async fn the_links_stand_in_the_header_too(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = twelve_events(database).await;
    let page = app.get(&format!("{EVENTS}?limit=5")).await;
    let next = page.json()["next"].as_str().unwrap().to_owned();
    assert_eq!(page.header("link").unwrap(), format!("<{next}>; rel=\"next\""));
    assert_eq!(page.json()["previous"], json!(null));
}

#[rstest]
#[actix_web::test]
async fn a_poller_of_the_feed_sees_later_events(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = twelve_events(database).await;
    let page = app.get(&format!("{EVENTS}?order=id&after=9&limit=2")).await;
    assert_eq!(ids(&page), [10, 11]);
    let page = app.get(&link(&page, "next").unwrap()).await;
    assert_eq!(ids(&page), [12]);
    let end = app.get(&link(&page, "next").unwrap()).await;
    assert_eq!(ids(&end), [0; 0]);
    app.post(&event()).await;
    let grown = app.get(&link(&end, "next").unwrap()).await;
    assert_eq!(ids(&grown), [13]);
}

#[rstest]
#[actix_web::test]
async fn a_previous_page_of_the_feed_is_a_page_of_the_feed(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = twelve_events(database).await;
    let mut page = app.get(&format!("{EVENTS}?order=id&after=9&limit=5")).await;
    for earlier in [&[5, 6, 7, 8, 9][..], &[1, 2, 3, 4]] {
        page = app.get(&link(&page, "previous").unwrap()).await;
        assert_eq!(ids(&page), earlier);
    }
    assert_eq!(link(&page, "previous"), None);
    for later in [&[5, 6, 7, 8, 9][..], &[10, 11, 12], &[]] {
        page = app.get(&link(&page, "next").unwrap()).await;
        assert_eq!(ids(&page), later);
    }
    app.post(&event()).await;
    assert_eq!(ids(&app.get(&link(&page, "next").unwrap()).await), [13]);
}

/// Cursors are opaque, and a client can make one up.
#[rstest]
#[actix_web::test]
async fn a_made_up_cursor_of_the_feed_leads_on_to_an_id_that_there_can_be(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = twelve_events(database).await;
    for id in [i64::MIN, -1, 0, 1] {
        let mut bytes = vec![2, b'f', b'b'];
        bytes.extend([0; 8]);
        bytes.extend(id.to_be_bytes());
        let cursor = data_encoding::BASE64URL_NOPAD.encode(&bytes);
        let page = app.get(&format!("{EVENTS}?order=id&cursor={cursor}")).await;
        assert_eq!((page.status, ids(&page)), (200, vec![]));
        assert_eq!(ids(&app.get(&link(&page, "next").unwrap()).await).len(), 12);
    }
}

#[rstest]
#[actix_web::test]
async fn a_filtered_feed_moves_on_past_other_events(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = twelve_events(database).await;
    let page = app.get(&format!("{EVENTS}?order=id&after=0&device_id=none")).await;
    assert_eq!(ids(&page), [0; 0]);
    assert!(link(&page, "next").unwrap().ends_with("after=12"));
}

/// The state that retention will leave.
#[rstest]
#[actix_web::test]
async fn a_log_whose_beginning_was_removed_says_so_in_the_feed_and_is_read_from_there(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = twelve_events(database).await;
    let feed = format!("{EVENTS}?order=id&after=0");
    assert_eq!(app.get(&feed).await.json().get("first_id"), None);
    app.database.execute("DELETE FROM events WHERE id < 5");
    app.database.execute("UPDATE heads SET first_id = 5");
    let page = app.get(&feed).await;
    assert_eq!(ids(&page), (5..=12).collect::<Vec<_>>());
    assert_eq!(page.json()["first_id"], 5);
    assert_eq!(app.get(EVENTS).await.json().get("first_id"), None);
    let export = app.get(&format!("{EVENTS}export/")).await;
    assert_eq!(export.body.lines().count(), 8);
    assert!(export.body.starts_with(r#"{"id":5,"#), "{}", export.body);
    assert_eq!(app.get(&format!("{EVENTS}4/")).await.status, 404);
}

#[rstest]
#[actix_web::test]
async fn a_head_request_has_the_head_of_the_get(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = twelve_events(database).await;
    assert_eq!(app.send(app.request(Method::HEAD, &format!("{EVENTS}3/"))).await.status, 200);
}

#[rstest]
#[actix_web::test]
async fn a_filter_that_can_match_nothing_is_refused_by_every_reader_of_events(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    app.post(&event()).await;
    let mistyped = [
        "status=faliure",
        "connection_type=establishd",
        "device_id=",
        "session_id=",
        "session_id=%00",
        "metadata.a.b.c.d.e.f.g.h.i=1",
    ];
    for place in ["", "export/", "stream/", "stats/"] {
        for filter in mistyped {
            let answer = app.get(&format!("{EVENTS}{place}?{filter}")).await;
            answer.is_problem(400, "invalid-query");
        }
    }
    let known = app.get(&format!("{EVENTS}?status=timeout&connection_type=suspended")).await;
    assert_eq!(known.json()["results"], json!([]), "the rules know both");
}

#[rstest]
#[actix_web::test]
async fn an_offset_with_an_unencoded_plus_gets_the_right_spelling(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    for place in ["", "stats/"] {
        let answer = app.get(&format!("{EVENTS}{place}?since=2024-01-15T10:30:00+02:00")).await;
        answer.is_problem(400, "invalid-query");
        assert!(answer.body.contains("%2B"), "{}", answer.body);
        let encoded = format!("{EVENTS}{place}?since=2024-01-15T10:30:00%2B02:00");
        assert_eq!(app.get(&encoded).await.status, 200);
    }
}
