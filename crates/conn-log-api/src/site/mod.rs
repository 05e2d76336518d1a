//! Pages for people: the server's home page, its API documentation, and its problems explained.

pub(crate) mod docs;
pub(crate) mod home;
mod html;
pub(crate) mod problems;
