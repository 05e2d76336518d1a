//! The id of the current request: in its answer, in its problem, and in every log line about it.

use actix_web::http::header::{HeaderMap, HeaderName};
use uuid::Uuid;

/// The header for the id, in requests and in answers.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of a client's own id: long enough for the ids of every tracing system.
const LENGTH_MAX: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// The client's own id, if it can be logged as it is; else a new one.
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

/// Runs a request's work with its id set.
pub(crate) async fn scope<F: Future>(id: String, work: F) -> F::Output {
    CURRENT.scope(id, work).await
}

/// The id of the current request, or `-` outside a request.
pub(crate) fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_else(|_| "-".to_owned())
}
