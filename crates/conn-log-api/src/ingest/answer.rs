//! The answer to a POST, in a form that can be kept. A repeat of the request with the same
//! idempotency key gets the same bytes again.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::{Deserialize, Serialize};

use crate::http::problem::PROBLEM_JSON;

/// One answer.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The address of the record, for a single registered event.
    pub(crate) location: Option<String>,
    /// Whether `Prefer: return=minimal` was honoured.
    pub(crate) minimal: bool,
    /// The preference of handling that was honoured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) handling: Option<String>,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: String) -> Self {
        Answer { status: status.as_u16(), body, location: None, minimal: false, handling: None }
    }

    /// The bytes that the store keeps.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Serializing fails only for maps with keys that are not text, and the answer has none.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(crate) fn into_response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponseBuilder::new(status);
        let is_problem = status.is_client_error() || status.is_server_error();
        response.content_type(if is_problem { PROBLEM_JSON } else { "application/json" });
        if let Some(location) = self.location {
            response.insert_header((header::LOCATION, location));
        }
        let minimal = self.minimal.then(|| "return=minimal".to_owned());
        let applied: Vec<String> = minimal.into_iter().chain(self.handling).collect();
        if !applied.is_empty() {
            response.insert_header(("preference-applied", applied.join(", ")));
        }
        response.body(self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An update of the server must not change the answer to a repeat of an earlier request.
    #[test]
    fn an_answer_that_was_kept_reads_back_to_the_byte() {
        let kept = br#"{"status":201,"body":"{\"id\":7}","location":"/7/","minimal":false}"#;
        let answer = Answer::from_bytes(kept).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (201, r#"{"id":7}"#));
        assert_eq!(answer.to_bytes(), kept);
    }
}
