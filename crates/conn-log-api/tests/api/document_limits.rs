//! The limits in the OpenAPI document are the server's: it takes what lies at a limit and refuses what lies
//! beyond it.

use actix_web::body;
use actix_web::http::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::document::{document, operations, resolved};
use crate::test_app::{Database, TestApp};

/// Values at the limits of a schema, and values beyond them.
#[derive(Debug, Default)]
struct Tries {
    taken: Vec<Value>,
    refused: Vec<Value>,
}

impl Tries {
    fn of(document: &Value, schema: &Value) -> Self {
        let mut tries = Tries::default();
        let schema = without_null(document, schema);
        if let Some(names) = schema["enum"].as_array() {
            tries.taken.extend(names.iter().cloned());
            tries.refused.push(format!("{}x", names[0].as_str().unwrap()).into());
        }
        tries.numbers(schema);
        tries.texts(schema);
        match (schema["type"].as_str(), schema["format"].as_str()) {
            (Some("boolean"), _) => tries.taken.extend([json!(true), json!(false)]),
            (_, Some("date-time")) => tries.refused.push("2024-01-15 at noon".into()),
            _ => {}
        }
        tries
    }

    fn numbers(&mut self, schema: &Value) {
        for (limit, beyond) in [("minimum", -1), ("maximum", 1)] {
            // Limits of fractions are whole too.
            if let Some(limit) = schema[limit].as_i64() {
                self.taken.push(limit.into());
                self.refused.push((limit + beyond).into());
            }
        }
    }

    fn texts(&mut self, schema: &Value) {
        let pattern = schema["pattern"].as_str().unwrap_or(r"\u0000");
        if schema["minLength"] == 1 {
            self.refused.push("".into());
        }
        if let Some(max) = schema["maxLength"].as_u64() {
            let text = |length: u64| Value::from("é".repeat(usize::try_from(length).unwrap()));
            if pattern.contains(r"\u0000") {
                self.taken.push(text(max));
            }
            self.refused.push(text(max + 1));
        }
        if pattern.contains("a-f") {
            self.taken.push("2001:db8::1".into());
            self.refused.push("gate".into());
        }
    }
}

/// The schema of a value that is there: a null is left out.
fn without_null<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    let schema = choices.into_iter().find(|choice| choice["type"] != "null").unwrap_or(schema);
    resolved(document, schema)
}

/// The faults of the parameter or the member of that name; `conflict` is about two of them, and
/// `unknown_value` about what the log holds.
async fn faults(app: &TestApp, request: actix_web::test::TestRequest, name: &str) -> Vec<Value> {
    let response = app.open(request).await;
    if !matches!(response.status().as_u16(), 400 | 422) {
        return Vec::new();
    }
    let body = body::to_bytes(response.into_body()).await.unwrap();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let is_of_it = |error: &Value| {
        let pointer = error["pointer"].as_str().unwrap_or_default();
        error["parameter"] == name || pointer.split('/').any(|part| part == name)
    };
    errors.into_iter().filter(is_of_it).filter(|error| error["code"] != "conflict").collect()
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[rstest]
#[actix_web::test]
async fn query_parameters_have_the_limits_of_the_document(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    let document = document(&app).await;
    let mut tried = 0;
    for operation in operations(&document) {
        let none = Vec::new();
        let parameters = operation.json["parameters"].as_array().unwrap_or(&none);
        let of_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
        for parameter in of_query.filter(|_| operation.method == Method::GET) {
            let name = parameter["name"].as_str().unwrap();
            let is_list = parameter["schema"]["type"] == "array";
            let schema = if is_list { &parameter["schema"]["items"] } else { &parameter["schema"] };
            let mut tries = Tries::of(&document, schema);
            if schema["type"] == "boolean" {
                tries.refused.push("maybe".into());
            }
            let mut queries = Vec::new();
            for (values, is_taken) in [(tries.taken, true), (tries.refused, false)] {
                let query = |value| serde_urlencoded::to_string([(name, text_of(value))]).unwrap();
                queries.extend(values.iter().map(|value| (query(value), is_taken)));
            }
            if let Some(max) = parameter["schema"]["maxItems"].as_u64() {
                let list = |count| vec![format!("{name}=success"); usize::try_from(count).unwrap()];
                queries.push((list(max).join("&"), true));
                queries.push((list(max + 1).join("&"), false));
            }
            for (query, is_taken) in queries {
                let address = format!("{}?{query}", operation.path);
                let faults = faults(&app, app.request(Method::GET, &address), name).await;
                let faults: Vec<_> =
                    faults.iter().filter(|fault| fault["code"] != "unknown_value").collect();
                assert_eq!(faults.is_empty(), is_taken, "{address}: {faults:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[rstest]
#[actix_web::test]
async fn bodies_have_the_limits_of_the_document_and_their_examples_are_taken(
    #[values(Database::Sqlite)] database: Database,
) {
    let app = TestApp::on(database).await;
    let document = document(&app).await;
    let mut tried = 0;
    for operation in operations(&document) {
        let schema = &operation.json["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() || operation.path.contains('{') {
            continue;
        }
        let body = resolved(&document, schema);
        let is_list = body["type"] == "array";
        let object = if is_list { resolved(&document, &body["items"]) } else { body };
        let mut example = object["example"].clone();
        assert!(example.is_object(), "{}: the body's schema has no example", operation.path);
        if !example["until"].is_null() {
            // A time in the future cannot stand in a document.
            let tomorrow = chrono::Utc::now() + chrono::TimeDelta::days(1);
            example["until"] = tomorrow.to_rfc3339().into();
        }
        let example = &example;
        let send = |object: &Value| {
            let body = if is_list { json!([object]) } else { object.clone() };
            app.request(operation.method.clone(), &operation.path).set_json(body)
        };
        let answer = app.send(send(example)).await;
        assert!((200..300).contains(&answer.status), "{}: {}", operation.path, answer.body);
        for (name, schema) in object["properties"].as_object().unwrap() {
            let tries = Tries::of(&document, schema);
            for (values, is_taken) in [(tries.taken, true), (tries.refused, false)] {
                for value in values {
                    let mut object = example.clone();
                    object[name] = value.clone();
                    let faults = faults(&app, send(&object), name).await;
                    let place = format!("{} {name} {value}", operation.path);
                    assert_eq!(faults.is_empty(), is_taken, "{place}: {faults:?}");
                    tried += 1;
                }
            }
            let is_required = object["required"].as_array().unwrap().contains(&json!(name));
            let mut without = example.clone();
            without.as_object_mut().unwrap().remove(name);
            let faults = faults(&app, send(&without), name).await;
            assert_eq!(faults.is_empty(), !is_required, "{} without {name}", operation.path);
        }
    }
    assert!(tried > 50, "{tried}");
}
