//! Registering events: one pipeline, whatever kind of body they come in.
//!
//! ```text
//! register ─▶ adapters ─▶ decision ─▶ rate ─▶ append ─▶ outcome ─▶ render ─▶ answer
//! HTTP        a body      which are   └──── pipeline ────┘         statuses   kept for
//!             to events   stored                                   and bodies retries
//! ```
//!
//! Between `register` and `render` nothing knows an HTTP status: what becomes of an event is an
//! [`outcome::EventOutcome`].
//!
//! A further kind of body is a file in [`adapters`] and a line in its table; one that is answered in
//! another form has a handler of its own beside [`register`], which hands its body to [`pipeline`]. A
//! further way to treat what is at fault is a member of [`request::Preferences`], which [`decision`] obeys; a
//! token has settings of that kind, which are to hold where the request does not say.

pub(crate) mod adapters;
pub(crate) mod answer;
pub(crate) mod appender;
pub(crate) mod decision;
pub(crate) mod outcome;
pub(crate) mod pipeline;
pub(crate) mod problems;
pub(crate) mod register;
pub(crate) mod rejection;
pub(crate) mod render;
pub(crate) mod request;
pub(crate) mod shapes;
pub(crate) mod submitted;
pub(crate) mod tally;
