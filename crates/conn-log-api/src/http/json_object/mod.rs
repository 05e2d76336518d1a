//! The body of a request that creates or changes something: one small JSON object.
//!
//! [`Members`] returns the members as the types that they must have, and notes each fault, so that
//! a client sees all faults at once. It knows no resource. Events, which are many and large, have
//! readers of their own.

mod faults;
mod members;
mod object;
mod typed;

use actix_web::HttpRequest;
use actix_web::web::Payload;

pub(crate) use self::faults::invalid_value;
pub(super) use self::faults::{Fault, pointer, problem};
pub(crate) use self::members::Members;
use super::app::App;
use super::body::{self, Body, ReadError};
use super::content_type;
use super::options::ApiOptions;
use super::problem::Problem;

/// Maximum bytes of such a body, as sent and decoded: some hundred times the usual size.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The media type of a body.
pub(super) const JSON: &str = "application/json";

/// Reads the body.
///
/// # Errors
/// 415 for a body that is not JSON, and the errors of [`body::read`].
pub(crate) async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<Body, Problem> {
    if content_type::media_type(request, JSON)? != JSON {
        return Err(content_type::not_taken("this content type is not taken", JSON));
    }
    read_bytes(request, payload).await
}

/// Reads the bytes, whatever their media type.
pub(super) async fn read_bytes(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<Body, Problem> {
    let app = App::of(request);
    let options = ApiOptions {
        body_bytes_max: BODY_BYTES_MAX,
        decoded_bytes_max: BODY_BYTES_MAX,
        ..app.options.clone()
    };
    let body = body::read(request, payload, &options, &app.body_room).await;
    body.map_err(ReadError::into_problem)
}

/// Whether a request has a body at all.
pub(crate) fn has_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let length = headers.get(actix_web::http::header::CONTENT_LENGTH);
    length.is_some_and(|length| length != "0")
        || headers.contains_key(actix_web::http::header::TRANSFER_ENCODING)
}
