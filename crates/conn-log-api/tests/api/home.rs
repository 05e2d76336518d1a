//! The page at the root.

use actix_web::http::Method;
use data_encoding::BASE64;
use rstest::rstest;
use sha2::{Digest as _, Sha256};

use crate::test_app::{Answer, Database, TestApp};

/// The `Accept` header of browsers.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn home_for(app: &TestApp, accept: &str) -> Answer {
    app.send(app.request(Method::GET, "/").insert_header(("accept", accept))).await
}

#[rstest]
#[case::a_browser(BROWSER, "text/html; charset=utf-8")]
#[case::curl("*/*", "application/json")]
#[case::a_program("application/json", "application/json")]
#[case::one_that_takes_both("text/html, application/json", "application/json")]
#[case::one_that_prefers_html("application/json;q=0.5, text/*", "text/html; charset=utf-8")]
#[actix_web::test]
async fn a_browser_gets_a_page_and_a_program_gets_json(
    #[case] accept: &str,
    #[case] content_type: &str,
) {
    let app = TestApp::on(Database::Sqlite).await;
    let answer = home_for(&app, accept).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("vary"), Some("accept"));
}

#[actix_web::test]
async fn the_root_needs_no_token_and_answers_nothing_that_the_client_does_not_take() {
    let app = TestApp::on(Database::Sqlite).await;
    let request = || app.request(Method::GET, "/").insert_header(("authorization", ""));
    let about = app.send(request()).await.json();
    assert_eq!(about["name"], "conn-log");
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    home_for(&app, "image/png").await.is_problem(406, "not-acceptable");
    app.send(app.request(Method::POST, "/")).await.is_problem(405, "method-not-allowed");
    let head = app.send(app.request(Method::HEAD, "/").insert_header(("accept", BROWSER))).await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/html; charset=utf-8")));
}

#[actix_web::test]
async fn every_address_that_the_root_names_is_there() {
    let app = TestApp::on(Database::Sqlite).await;
    let page = home_for(&app, BROWSER).await.body;
    let mut addresses: Vec<String> =
        page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap().into()).collect();
    addresses.retain(|address| !address.starts_with("data:"));
    assert!(addresses.iter().any(|address| address == "/docs"), "{page}");
    let about = app.get("/").await.json();
    let members = about.as_object().unwrap().values().filter_map(|value| value.as_str());
    addresses.extend(members.filter(|value| value.starts_with('/')).map(str::to_owned));
    assert!(addresses.len() >= 12, "{addresses:?}");
    for address in addresses {
        assert_eq!(app.get(&address).await.status, 200, "{address}");
    }
}

#[rstest]
#[case::of_the_root("/")]
#[case::of_all_problems("/problems/")]
#[case::of_one_problem("/problems/not-found")]
#[actix_web::test]
async fn a_page_brings_all_it_needs_and_its_policy_lets_nothing_else_in(#[case] path: &str) {
    let app = TestApp::on(Database::Sqlite).await;
    let page = app.send(app.request(Method::GET, path).insert_header(("accept", BROWSER))).await;
    let (_, rest) = page.body.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    assert_eq!(
        page.header("content-security-policy").unwrap(),
        format!(
            "default-src 'none'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            BASE64.encode(&Sha256::digest(style))
        )
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    for loaded in ["<script", "src=", "url(", "@import", "style=", "//"] {
        assert!(!page.body.contains(loaded), "{loaded}: {}", page.body);
    }
    assert!(style.contains("prefers-color-scheme: dark") && style.contains("max-width"));
    assert!(page.body.contains("name=\"viewport\""));
}
