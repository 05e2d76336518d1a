//! Middleware around every request: its id, its duration, its log line and its metrics.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;

use crate::http::app::App;
use crate::http::request_id::{self, X_REQUEST_ID};

/// Gives the request its id and writes one log line when it is answered. The line holds the path
/// only: a query may hold private data, and headers and bodies do.
pub(crate) async fn observe<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let start = Instant::now();
    let id = request_id::of(request.headers());
    let method = request.method().clone();
    let path = request.path().to_owned();
    let mut response = request_id::scope(id.clone(), next.call(request)).await?;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let (status, time) = (response.status().as_u16(), start.elapsed());
    let route = response.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    let app = App::of(response.request());
    let route = if route == "/" { "/" } else { route.trim_end_matches('/') };
    app.metrics.answered(method.as_str(), route, status, time);
    let ms = time.as_secs_f64() * 1e3;
    log::info!(target: "conn_log::request", "{method} {path:?} {status} {ms:.1} ms {id}");
    Ok(response)
}
