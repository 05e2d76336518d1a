//! The HTTP server of the connection log.
//!
//! [`create_app`] gives an actix server its routes; the program and the tests share it. Errors of
//! the core and the store become problems here, once, at the edge.

mod accept;
mod answers;
mod app;
mod appender;
mod applications;
mod auth;
mod background;
mod body;
mod client_address;
mod connection;
mod derived_list;
mod devices;
mod docs_page;
mod events;
mod export;
mod health;
mod metrics;
mod observe;
mod openapi;
mod options;
mod page_links;
mod pipe;
mod problem;
mod problem_pages;
mod query_string;
mod rate_limits;
mod request_id;
mod room;
mod routes;
mod server;
mod sessions;
mod stats;
mod stream_hub;

use actix_web::http::{Method, header};
use conn_log_store::{AppendError, StoreError};

pub use app::App;
pub use appender::{Appender, Appending};
pub use metrics::Metrics;
pub use options::ApiOptions;
pub use server::{create_app, serve};

use problem::{Problem, ProblemKind};

/// Every path and method that the server answers; paths are without their trailing slash.
pub fn routes() -> Vec<(&'static str, Method)> {
    routes::endpoints().into_iter().map(|endpoint| (endpoint.path, endpoint.method)).collect()
}

/// A read or a small write that failed, as a problem.
pub(crate) fn store_problem(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable(cause) => unavailable(&cause),
        StoreError::QueryTimeout => Problem::new(
            ProblemKind::QueryTimeout,
            "add a filter on device_id, application_id, session_id or a window of time",
        )
        .with_header(header::RETRY_AFTER, "5"),
        other => Problem::internal(&other),
    }
}

/// An append that failed, as a problem. In each case nothing was stored.
pub(crate) fn append_problem(error: AppendError) -> Problem {
    match error {
        AppendError::Overloaded => Problem::new(
            ProblemKind::Overloaded,
            "the queue of events waiting for the disk is full",
        )
        .with_header(header::RETRY_AFTER, "1"),
        AppendError::Unavailable => unavailable("the writer has no database"),
        AppendError::Closed => unavailable("the server is stopping"),
        AppendError::Internal => Problem::internal("the store could not take the events"),
    }
}

fn unavailable(cause: &str) -> Problem {
    // The store says once that it is away; each request that meets it is no news.
    log::debug!("{}: store unavailable: {cause}", request_id::current());
    Problem::new(ProblemKind::StoreUnavailable, "the store cannot be reached at the moment")
        .with_header(header::RETRY_AFTER, "5")
}
