//! Registers events: one pipeline for all kinds of bodies.
//!
//! ```text
//! register ─▶ adapters ─▶ decision ─▶ rate ─▶ append ─▶ outcome ─▶ render ─▶ answer
//! HTTP        a body      which are   └──── pipeline ────┘         statuses   kept for
//!             to events   stored                                   and bodies retries
//! ```
//!
//! Between `register` and `render` no code uses an HTTP status: the outcome of an event is an
//! [`outcome::EventOutcome`].
//!
//! To add a kind of body, add a file in [`adapters`] and a line in its table. A kind that needs
//! another form of answer gets a handler of its own beside [`register`], which passes its body to
//! [`pipeline`]. To add a way to treat events with faults, add a member to [`request::Preferences`]
//! and use it in [`decision`]. A token has settings of that kind; they apply if the request does
//! not set them.
//!
//! With `on_reject=keep` the adapters keep refused events as [`sent`], and [`keeping`] hands them to
//! the store with the events.

pub(crate) mod adapters;
pub(crate) mod answer;
pub(crate) mod appender;
pub(crate) mod decision;
pub(crate) mod keeping;
pub(crate) mod outcome;
pub(crate) mod pipeline;
pub(crate) mod problems;
pub(crate) mod register;
pub(crate) mod rejection;
pub(crate) mod render;
pub(crate) mod request;
pub(crate) mod sent;
pub(crate) mod shapes;
pub(crate) mod submitted;
pub(crate) mod tally;
