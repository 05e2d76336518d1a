//! The answer to a POST, as something that can be kept: whoever repeats the request with the same
//! idempotency key gets it again to the byte.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::{Deserialize, Serialize};

use crate::http::problem::PROBLEM_JSON;

/// One answer.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Where the one event that was registered can be read.
    pub(crate) location: Option<String>,
    /// Whether `Prefer: return=minimal` was honoured.
    pub(crate) minimal: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: String) -> Self {
        Answer { status, body, location: None, minimal: false }
    }

    /// The form in which the store keeps it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // It fails only for maps with keys that are not text, and there is none in here.
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
        if self.minimal {
            response.insert_header(("preference-applied", "return=minimal"));
        }
        response.body(self.body)
    }
}
