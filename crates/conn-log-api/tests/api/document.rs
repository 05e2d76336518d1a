//! The OpenAPI document: it names what the server does, in a shape that generators of clients take.

use std::collections::BTreeSet;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use conn_log_api::ApiOptions;
use conn_log_core::EventPolicy;
use rstest::rstest;
use serde_json::{Value, json};

use crate::test_app::{Database, TestApp, event};

/// One operation of the document.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) path: String,
    pub(crate) method: Method,
    pub(crate) json: Value,
}

impl Operation {
    /// The schemas of the contents whose type is JSON, problems left out.
    fn json_schemas(content: &Value) -> Vec<&Value> {
        let contents = content.as_object().into_iter().flatten();
        let json = contents.filter(|(media_type, _)| *media_type == "application/json");
        json.map(|(_, content)| &content["schema"]).collect()
    }

    fn responses(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.json["responses"].as_object().unwrap().iter()
    }

    pub(crate) fn needs_token(&self) -> bool {
        !self.json["security"].is_null()
    }
}

pub(crate) async fn document(app: &TestApp) -> Value {
    app.get("/openapi.json").await.json()
}

pub(crate) fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(|(method, json)| Operation {
            path: path.clone(),
            method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
            json: json.clone(),
        })
    });
    operations.collect()
}

/// The schema itself if it is given by reference.
pub(crate) fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    }
}

#[rstest]
#[actix_web::test]
async fn the_document_names_the_server_s_routes_and_no_others(
    #[values(Database::Sqlite)] database: Database,
) {
    let document = document(&TestApp::on(database).await).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let plain = |path: &str| path.trim_end_matches('/').to_owned();
    let described: BTreeSet<(String, String)> = operations(&document)
        .iter()
        .map(|operation| (plain(&operation.path), operation.method.to_string()))
        .collect();
    let served: BTreeSet<(String, String)> = conn_log_api::routes()
        .into_iter()
        .map(|(path, method)| (plain(path), method.to_string()))
        .collect();
    assert_eq!(described, served);
}

#[rstest]
#[actix_web::test]
async fn every_operation_has_an_id_of_its_own(#[values(Database::Sqlite)] database: Database) {
    let document = document(&TestApp::on(database).await).await;
    let mut ids = BTreeSet::new();
    for operation in operations(&document) {
        let id = operation.json["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id.clone()), "{}: a second {id}", operation.path);
    }
}

/// Generators make a type of a schema with a name. Of several they take the first, or none.
#[rstest]
#[actix_web::test]
async fn every_operation_has_one_schema_for_its_body_and_one_for_its_answer(
    #[values(Database::Sqlite)] database: Database,
) {
    let document = document(&TestApp::on(database).await).await;
    for operation in operations(&document) {
        let place = format!("{} {}", operation.method, operation.path);
        if let Some(body) = operation.json.get("requestBody") {
            let contents: Vec<&String> = body["content"].as_object().unwrap().keys().collect();
            assert_eq!(contents, ["application/json"], "{place}");
            let schemas = Operation::json_schemas(&body["content"]);
            assert!(schemas[0]["$ref"].is_string(), "{place}: {schemas:?}");
        }
        let answers = operation.responses().filter(|(status, _)| status.starts_with('2'));
        let schemas: BTreeSet<String> = answers
            .flat_map(|(_, answer)| Operation::json_schemas(&answer["content"]))
            .map(ToString::to_string)
            .collect();
        assert!(schemas.len() <= 1, "{place}: {schemas:?}");
        for (status, answer) in operation.responses().filter(|(status, _)| status.as_str() >= "4") {
            let contents: Vec<&String> = answer["content"].as_object().unwrap().keys().collect();
            assert_eq!(contents, ["application/problem+json"], "{place} {status}");
        }
    }
}

#[rstest]
#[actix_web::test]
async fn a_choice_of_schemas_is_only_one_or_null(#[values(Database::Sqlite)] database: Database) {
    fn look(place: &str, value: &Value) {
        for choice in ["oneOf", "anyOf"].iter().filter_map(|name| value.get(name)) {
            let choices = choice.as_array().unwrap();
            let nulls = choices.iter().filter(|choice| choice["type"] == "null").count();
            assert_eq!((choices.len(), nulls), (2, 1), "{place}: {choice}");
        }
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| look(&format!("{place}/{name}"), value));
            }
            Value::Array(values) => values.iter().for_each(|value| look(place, value)),
            _ => {}
        }
    }
    look("", &document(&TestApp::on(database).await).await);
}

#[rstest]
#[actix_web::test]
async fn every_operation_that_needs_a_token_says_so_and_no_other(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    for operation in operations(&document(&app).await) {
        let Operation { path, method, json } = &operation;
        let address = path.replace(['{', '}'], "");
        let answer = app.send(TestRequest::with_uri(&address).method(method.clone())).await;
        assert_eq!(answer.status == 401, operation.needs_token(), "{method} {path}");
        let problems: &[&str] =
            if operation.needs_token() { &["400", "401", "403", "429", "503"] } else { &[] };
        let of_path: &[&str] = if path.contains('{') { &["404"] } else { &[] };
        for status in problems.iter().chain(of_path).chain(&["406", "500"]) {
            assert!(json["responses"].get(status).is_some(), "{method} {path}: no {status}");
        }
        for status in ["429", "503"] {
            if let Some(answer) = json["responses"].get(status) {
                assert!(answer["headers"].get("Retry-After").is_some(), "{path}: {status}");
            }
        }
    }
}

#[rstest]
#[actix_web::test]
async fn the_names_that_a_deployment_adds_are_in_its_document(
    #[values(Database::Sqlite)] database: Database,
) {
    let policy = EventPolicy::default().with_connection_type("roamed").with_status("partial");
    let app = TestApp::on(database).options(ApiOptions { policy, ..ApiOptions::default() }).await;
    let schema = document(&app).await["components"]["schemas"]["Event"].clone();
    for (field, name) in [("connection_type", "roamed"), ("status", "partial")] {
        let names = schema["properties"][field]["enum"].as_array().unwrap();
        assert_eq!(names.last(), Some(&json!(name)));
        let mut event = event();
        event[field] = name.into();
        assert_eq!(app.post(&event).await.status, 201, "{name}");
    }
}

/// A reader of the document learns that `metadata.<path>` is a family of parameters.
#[rstest]
#[actix_web::test]
async fn metadata_filters_are_parameters_named_by_the_members_of_an_object(
    #[values(Database::Sqlite)] database: Database,
) {
    let document = document(&TestApp::on(database).await).await;
    let with_filters = operations(&document).into_iter().filter_map(|operation| {
        let parameters = operation.json["parameters"].as_array()?;
        let filter = parameters.iter().find(|parameter| parameter["name"] == "metadata")?;
        assert_eq!((&filter["style"], &filter["explode"]), (&json!("form"), &json!(true)));
        assert_eq!(filter["schema"]["maxProperties"], 8);
        Some(operation.json["operationId"].as_str()?.to_owned())
    });
    assert_eq!(
        with_filters.collect::<BTreeSet<_>>(),
        ["event_export", "event_list", "event_stream"].map(str::to_owned).into()
    );
}
