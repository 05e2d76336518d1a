//! Connection events over HTTP: register, get, list.

pub(crate) mod answer;
pub(crate) mod cursor;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod plan;
pub(crate) mod query;
pub(crate) mod register;
pub(crate) mod stream;
pub(crate) mod submitted;
