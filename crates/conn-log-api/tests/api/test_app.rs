//! A server in the test's own process, made by the program's own `create_app`.

use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use actix_http::Request;
use actix_web::body::{self, BoxBody};
use actix_web::dev::{Service as _, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::Bytes;
use conn_log_api::{ApiOptions, App, Appender, Metrics, Notifier, create_app};
use conn_log_store::{NewToken, Scope, Store, StoreOptions, TenantId};
pub(crate) use conn_log_test_support::Backend as Database;
use conn_log_test_support::TestDatabase;
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

/// The path of the events.
pub(crate) const EVENTS: &str = "/api/v1/device_app_connection_log/";

type Call = Box<dyn Fn(Request) -> LocalBoxFuture<'static, ServiceResponse<BoxBody>>>;

/// A server, its database, and a token with every scope.
pub(crate) struct TestApp {
    call: Call,
    pub(crate) store: Store,
    pub(crate) token: String,
    pub(crate) database: TestDatabase,
    /// Sends what is due, when a test says so.
    pub(crate) notifier: Arc<Notifier>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Builds a server with the default settings and the given changes. Awaiting the builder makes the
/// server.
pub(crate) struct TestAppBuilder {
    database: Database,
    options: ApiOptions,
    store: fn(StoreOptions) -> StoreOptions,
    appender: Option<Box<dyn Appender>>,
}

impl TestAppBuilder {
    pub(crate) fn options(self, options: ApiOptions) -> Self {
        TestAppBuilder { options, ..self }
    }

    /// Changes the store's options.
    pub(crate) fn store(self, store: fn(StoreOptions) -> StoreOptions) -> Self {
        TestAppBuilder { store, ..self }
    }

    /// Replaces the store as the target of registered events.
    pub(crate) fn appender(self, appender: impl Appender + 'static) -> Self {
        TestAppBuilder { appender: Some(Box::new(appender)), ..self }
    }

    async fn make(self) -> TestApp {
        let database = TestDatabase::new(self.database).expect("these tests need PostgreSQL");
        let metrics = Metrics::new().unwrap();
        let observer = Some(metrics.observer());
        let options = StoreOptions { observer, ..database.options() };
        let store = Store::open((self.store)(options)).unwrap();
        let appender = self.appender.unwrap_or_else(|| Box::new(store.clone()));
        let app = App::with_appender(appender, store.clone(), self.options, metrics);
        let notifier = app.notifier().clone();
        let service = Rc::new(init_service(create_app(app)).await);
        let call: Call = Box::new(move |request| {
            let service = service.clone();
            Box::pin(async move { service.call(request).await.unwrap().map_into_boxed_body() })
        });
        let token = store.first_token().unwrap().unwrap().1.reveal().to_owned();
        TestApp { call, store, token, database, notifier }
    }
}

impl IntoFuture for TestAppBuilder {
    type Output = TestApp;
    type IntoFuture = LocalBoxFuture<'static, TestApp>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl TestApp {
    /// Builds a server on a fresh database of that kind.
    pub(crate) fn on(database: Database) -> TestAppBuilder {
        TestAppBuilder {
            database,
            options: ApiOptions::default(),
            store: |options| options,
            appender: None,
        }
    }

    pub(crate) fn token_with(&self, tenant: TenantId, scopes: &[Scope]) -> String {
        let new = self.new_token(tenant, scopes);
        self.store.token_create(new).unwrap().1.reveal().to_owned()
    }

    /// A new token, not yet created.
    #[expect(clippy::unused_self, reason = "it reads like what it stands beside")]
    pub(crate) fn new_token(&self, tenant: TenantId, scopes: &[Scope]) -> NewToken {
        NewToken::new(tenant, "test", scopes.to_vec())
    }

    /// Another notifier on the same database, as another server has it.
    pub(crate) fn notifier_with(&self, options: ApiOptions) -> Arc<Notifier> {
        App::new(self.store.clone(), options, Metrics::new().unwrap()).notifier().clone()
    }

    /// A request with the token that has every scope.
    pub(crate) fn request(&self, method: Method, path: &str) -> TestRequest {
        TestRequest::with_uri(path)
            .method(method)
            .insert_header(("authorization", format!("Bearer {}", self.token)))
            .insert_header(("host", "log.test"))
    }

    /// The answer's head; its body is not read yet.
    pub(crate) async fn open(&self, request: TestRequest) -> ServiceResponse<BoxBody> {
        (self.call)(request.to_request()).await
    }

    /// The body of a GET, as bytes.
    pub(crate) async fn get_body(&self, path: &str) -> Bytes {
        let response = self.open(self.request(Method::GET, path)).await;
        assert_eq!(response.status(), 200);
        body::to_bytes(response.into_body()).await.unwrap()
    }

    pub(crate) async fn send(&self, request: TestRequest) -> Answer {
        let response = self.open(request).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = body::to_bytes(response.into_body()).await.unwrap();
        Answer { status, headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts a body of that content type to the events.
    pub(crate) async fn post_as(&self, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request =
            self.request(Method::POST, EVENTS).insert_header(("content-type", content_type));
        self.send(request.set_payload(body.into())).await
    }

    /// Posts JSON to the events, with an idempotency key.
    pub(crate) async fn post_keyed(&self, key: &str, json: &Value) -> Answer {
        let request = self.request(Method::POST, EVENTS).insert_header(("idempotency-key", key));
        self.send(request.set_json(json)).await
    }

    /// Posts JSON to the events.
    pub(crate) async fn post(&self, json: &Value) -> Answer {
        self.post_as("application/json", json.to_string()).await
    }
}

/// At the end of a test, no event may be left unstored and no request unanswered.
impl Drop for TestApp {
    fn drop(&mut self) {
        let is_done = self.store.clone().close();
        // If the test has failed, its own message comes first.
        assert!(is_done || thread::panicking(), "the store has something left to do");
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The faults of a problem: the place and the code of each.
    pub(crate) fn faults(&self) -> Vec<(String, String)> {
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        errors.iter().map(|error| (text(&error["pointer"]), text(&error["code"]))).collect()
    }

    pub(crate) fn is_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{slug}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["instance"].as_str(), self.header("x-request-id"));
        assert!(problem["title"].is_string() && problem["detail"].is_string());
    }
}

/// A valid event.
pub(crate) fn event() -> Value {
    serde_json::json!({
        "device_id": "dev_1", "application_id": "app_1", "connection_type": "established",
        "timestamp": "2024-01-15T10:30:00Z", "status": "success"
    })
}

/// A valid event of that device.
pub(crate) fn event_of(device_id: &str) -> Value {
    let mut event = event();
    event["device_id"] = device_id.into();
    event
}
