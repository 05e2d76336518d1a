//! Pages for people: what this server is, its contract to read and try, its problems explained.

pub(crate) mod docs;
pub(crate) mod home;
mod html;
pub(crate) mod problems;
