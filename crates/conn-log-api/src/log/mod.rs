//! Reading the log: one record, pages, the feed, the live stream, exports.

pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod known_names;
pub(crate) mod list;
pub(crate) mod query;
pub(crate) mod shapes;
pub(crate) mod stream;
pub(crate) mod stream_hub;
