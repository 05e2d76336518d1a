//! The cookbook's requests, sent as written, get the answers that it shows.

use rstest::rstest;
use serde_json::Value;

use crate::streaming::Stream;
use crate::test_app::{Database, TestApp};

const COOKBOOK: &str = include_str!("../../../../docs/cookbook.md");

/// The contents of the page's code fences of one kind.
fn fences(kind: &str) -> Vec<&'static str> {
    let opening = format!("```{kind}\n");
    COOKBOOK
        .split(opening.as_str())
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap())
        .collect()
}

/// Whether `actual` contains everything in `shown`: `shown` may leave out members of objects, but
/// no elements of arrays.
fn shows(shown: &Value, actual: &Value) -> bool {
    match (shown, actual) {
        (Value::Object(shown), Value::Object(actual)) => {
            shown.iter().all(|(name, value)| actual.get(name).is_some_and(|a| shows(value, a)))
        }
        (Value::Array(shown), Value::Array(actual)) => {
            shown.len() == actual.len() && shown.iter().zip(actual).all(|(s, a)| shows(s, a))
        }
        (Value::Number(shown), Value::Number(actual)) => shown.as_f64() == actual.as_f64(),
        (shown, actual) => shown == actual,
    }
}

#[rstest]
#[actix_web::test]
async fn every_recipe_answers_as_the_page_says(
    #[values(Database::Sqlite, Database::Postgres)] database: Database,
) {
    let app = TestApp::on(database).await;
    let [events] = fences("ndjson")[..] else { panic!("the page has one log") };
    assert_eq!(app.post_as("application/x-ndjson", events).await.status, 201);
    let lines = |shown: &str| -> Vec<Value> {
        shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let recipes = fences("http");
    assert!(recipes.len() >= 12, "{}", recipes.len());
    for recipe in recipes {
        let (request, shown) = recipe.split_once("\n\n").unwrap();
        let answer = app.get(request.strip_prefix("GET ").unwrap()).await;
        let shown = serde_json::from_str(shown).unwrap();
        assert!(shows(&shown, &answer.json()), "{request}\n{}", answer.body);
    }
    for recipe in fences("http-lines") {
        let (request, shown) = recipe.split_once("\n\n").unwrap();
        let path = request.strip_prefix("GET ").unwrap();
        let answer = app.get(path).await;
        assert_eq!(answer.status, 200);
        let (shown, actual) = (lines(shown), lines(&answer.body));
        assert!(shows(&shown.into(), &actual.into()), "{request}\n{}", answer.body);
        for format in ["csv", "parquet"] {
            app.get_body(&path.replace("format=ndjson", &format!("format={format}"))).await;
        }
    }
    for recipe in fences("http-stream") {
        let (request, shown) = recipe.split_once("\n\n").unwrap();
        let (request, last_event_id) = request.split_once("\nLast-Event-ID: ").unwrap();
        let (_, query) = request.split_once("/stream/").unwrap();
        let mut stream = Stream::open(&app, query, Some(last_event_id)).await;
        for shown in lines(shown) {
            let (_, actual) = stream.event().await;
            assert!(shows(&shown, &actual), "{request}\n{actual}");
        }
    }
    assert_eq!(fences("http-lines").len() + fences("http-stream").len(), 2);
}
