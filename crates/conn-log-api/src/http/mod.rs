//! What all rooms need to speak HTTP: who asks, what they ask for, how they are answered.
//!
//! Architecture invariant: apart from [`app`], which holds the state of every room, [`routes`] and
//! [`openapi`], which list their handlers, and [`server`], nothing here knows a resource.

pub(crate) mod accept;
pub(crate) mod answers;
pub(crate) mod app;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod client_address;
pub(crate) mod connection;
pub(crate) mod content_type;
pub(crate) mod cursor;
pub(crate) mod errors;
pub(crate) mod json_object;
pub(crate) mod observe;
pub(crate) mod openapi;
pub(crate) mod options;
pub(crate) mod page_links;
pub(crate) mod pages;
pub(crate) mod pipe;
pub(crate) mod problem;
pub(crate) mod query_string;
pub(crate) mod rate_limits;
pub(crate) mod request_id;
pub(crate) mod room;
pub(crate) mod routes;
pub(crate) mod server;
