//! Pages for people.

pub(crate) mod docs;
pub(crate) mod problems;
