//! The id of the request at work: in its answer, in its problem, and in every log line about it.

use actix_web::http::header::{HeaderMap, HeaderName};
use uuid::Uuid;

/// Carries the id both ways.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A client's own id is taken up to this length: long enough for every tracing system's ids.
const LENGTH_MAX: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// The client's own id, if it sends one that can stand in a log line as it is; else a new one.
pub(crate) fn of(headers: &HeaderMap) -> String {
    let own = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    match own {
        Some(id) if is_plain(id) => id.to_owned(),
        _ => Uuid::now_v7().to_string(),
    }
}

fn is_plain(id: &str) -> bool {
    (1..=LENGTH_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b))
}

/// Runs a request's work under its id.
pub(crate) async fn scope<F: Future>(id: String, work: F) -> F::Output {
    CURRENT.scope(id, work).await
}

/// The id of the request at work, or `-` outside one.
pub(crate) fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_else(|_| "-".to_owned())
}
