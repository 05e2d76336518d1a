//! Entity tags (RFC 9110, section 13.1.1): a change can ask that nobody made another one meanwhile.

use actix_web::HttpRequest;
use actix_web::http::header;

use super::problem::{Problem, ProblemKind};

/// The `If-Match` of a request: what it means to change.
#[derive(Clone, Debug)]
pub(crate) struct IfMatch(Option<String>);

impl IfMatch {
    /// Reads the headers of a request.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let mut values = request.headers().get_all(header::IF_MATCH).peekable();
        let given = values.peek().is_some();
        // A value that is no text names nothing that there is.
        let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        IfMatch(given.then(|| texts.join(",")))
    }

    /// Fails with a 409 if the entity does not have one of the tags that the request names. A proxy
    /// that compresses an answer makes its tag a weak one, `W/"…"`: it counts all the same.
    pub(crate) fn require(&self, tag: &str) -> Result<(), Problem> {
        let Some(text) = &self.0 else { return Ok(()) };
        let is_it = |one: &str| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag;
        if text.split(',').map(str::trim).any(is_it) {
            return Ok(());
        }
        let detail = format!("its entity tag is now {tag}");
        Err(Problem::new(ProblemKind::ChangedMeanwhile, detail))
    }
}
