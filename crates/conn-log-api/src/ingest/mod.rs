//! Registering events: one pipeline, whatever kind of body they come in.

pub(crate) mod answer;
pub(crate) mod appender;
pub(crate) mod plan;
pub(crate) mod register;
pub(crate) mod submitted;
