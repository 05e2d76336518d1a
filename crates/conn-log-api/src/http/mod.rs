//! HTTP code shared by all modules: authentication, reading requests, writing answers.
//!
//! Architecture invariant: no code here knows a resource, except [`app`], which holds the state of
//! every module, [`routes`] and [`openapi`], which list the handlers, and [`server`].

pub(crate) mod accept;
pub(crate) mod answers;
pub(crate) mod app;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod client_address;
pub(crate) mod connection;
pub(crate) mod content_type;
pub(crate) mod cors;
pub(crate) mod cursor;
pub(crate) mod entity_tag;
pub(crate) mod errors;
pub(crate) mod idempotency;
pub(crate) mod json_object;
mod json_value;
pub(crate) mod observe;
pub(crate) mod openapi;
pub(crate) mod options;
pub(crate) mod page_links;
pub(crate) mod pages;
pub(crate) mod patch;
pub(crate) mod pipe;
pub(crate) mod problem;
pub(crate) mod query_string;
pub(crate) mod rate_limits;
pub(crate) mod request_id;
pub(crate) mod room;
pub(crate) mod routes;
pub(crate) mod server;
