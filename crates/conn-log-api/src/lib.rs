//! The HTTP server of the connection log.
//!
//! [`create_app`] gives an actix server its routes; the program and the tests share it. Every
//! module except `http` is a resource or a task; `http` has the code that they share.

mod alerts;
mod control;
mod http;
mod ingest;
mod jobs;
mod log;
mod presence;
mod rejects;
mod running;
mod sessions;
mod silences;
mod site;
mod statistics;
mod webhooks;

use actix_web::http::Method;

pub use http::app::App;
pub use http::cors::{Origin, OriginError};
pub use http::options::ApiOptions;
pub use http::server::{create_app, serve};
pub use ingest::appender::{Appender, Appending};
pub use running::metrics::Metrics;
pub use webhooks::Notifier;

/// Every path and method of the server. Paths have no trailing slash, except for the root.
pub fn routes() -> Vec<(&'static str, Method)> {
    http::routes::endpoints().into_iter().map(|endpoint| (endpoint.path, endpoint.method)).collect()
}
