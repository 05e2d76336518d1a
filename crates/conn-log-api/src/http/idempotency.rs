//! `Idempotency-Key`: the same key with the same body gets the first answer again.
//!
//! Requests for events keep their answers with the events (`ingest`). Requests that create an object
//! keep theirs with the object, by [`Keyed`].

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use conn_log_store::{Once, OnceKey, Repeated, Store, StoreError, TenantId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::IntoParams;

use super::app::App;
use super::body::Body;
use super::problem::{Problem, ProblemKind};

/// The key of a request, if it has one.
///
/// # Errors
/// 400 for a key that is given twice, is too long, or has other than visible ASCII characters.
pub(crate) fn key(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let mut values = request.headers().get_all("idempotency-key");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    let visible = bytes.iter().all(u8::is_ascii_graphic) && (1..=255).contains(&bytes.len());
    match (value.to_str(), values.next()) {
        (Ok(key), None) if visible => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            ProblemKind::InvalidHeader,
            "Idempotency-Key is given once and has 1 to 255 visible ASCII characters",
        )),
    }
}

/// 422 for a key that belongs to another request.
pub(crate) fn key_reused() -> Problem {
    Problem::new(ProblemKind::KeyReused, "this Idempotency-Key was used with another body")
}

/// Marks an answer as the first request's.
pub(crate) fn mark_replayed(response: &mut HttpResponse) {
    let name = HeaderName::from_static("idempotency-replayed");
    response.headers_mut().insert(name, HeaderValue::from_static("true"));
}

/// The header of requests that create an object.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct IdempotencyKey {
    /// 1 to 255 visible characters; the same key with the same body gets the first answer again.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    key: Option<String>,
}

/// The answer to a request that created an object, in a form that can be kept.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct CreatedAnswer {
    pub(crate) location: String,
    pub(crate) etag: Option<String>,
    pub(crate) body: String,
}

impl CreatedAnswer {
    /// The bytes that the store keeps.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Serializing fails only for maps with keys that are not text, and the answer has none.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The answer to a repeat.
    pub(crate) fn into_replayed(self) -> HttpResponse {
        let mut response = self.into_response();
        mark_replayed(&mut response);
        response
    }

    pub(crate) fn into_response(self) -> HttpResponse {
        let mut response = HttpResponse::Created();
        response.insert_header((header::LOCATION, self.location));
        if let Some(etag) = self.etag {
            response.insert_header((header::ETAG, etag));
        }
        response.content_type("application/json").body(self.body)
    }
}

/// The key of a request that creates an object; without a key the request is never a repeat.
#[derive(Debug)]
pub(crate) struct Keyed(Option<OnceKey>);

impl Keyed {
    /// Takes the key of a request to `address`, the address's one spelling.
    ///
    /// # Errors
    /// 400 for a key that is not taken.
    pub(crate) fn of(request: &HttpRequest, address: &str, body: &Body) -> Result<Self, Problem> {
        let Some(key) = key(request)? else { return Ok(Keyed(None)) };
        let hash = Sha256::new().chain_update(address).chain_update(b"\n");
        let fingerprint = hash.chain_update(body.bytes()).finalize().into();
        Ok(Keyed(Some(OnceKey { key, fingerprint })))
    }

    /// The answer to an earlier request with the key. It is looked for before the body is checked:
    /// a body that was right need not be right any more.
    ///
    /// # Errors
    /// 422 for a key that belongs to another request.
    pub(crate) async fn answered(
        &self,
        app: &App,
        tenant: TenantId,
    ) -> Result<Option<CreatedAnswer>, Problem> {
        let Some(key) = self.0.clone() else { return Ok(None) };
        let find = move |store: &Store| -> Result<_, StoreError> { store.once_find(tenant, &key) };
        app.read(find).await?.map(replay).transpose()
    }

    /// The claim on the key, for the transaction that creates the object.
    pub(crate) fn once<T>(self, answer: fn(&T) -> Vec<u8>) -> Option<Once<T>> {
        self.0.map(|key| Once { key, answer })
    }
}

/// The answer that was kept.
///
/// # Errors
/// 422 for a key that belongs to another request.
pub(crate) fn replay(repeated: Repeated) -> Result<CreatedAnswer, Problem> {
    match repeated {
        Repeated::Replayed(bytes) => serde_json::from_slice(&bytes)
            .map_err(|_| Problem::internal("a stored answer cannot be read")),
        Repeated::KeyReused => Err(key_reused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An update of the server must not change the answer to a repeat of an earlier request.
    #[test]
    fn an_answer_that_was_kept_reads_back_to_the_byte() {
        let kept = br#"{"location":"/7/","etag":"\"1\"","body":"{\"id\":7}"}"#;
        let answer = replay(Repeated::Replayed(kept.to_vec())).unwrap();
        assert_eq!((answer.location.as_str(), answer.body.as_str()), ("/7/", r#"{"id":7}"#));
        assert_eq!(answer.to_bytes(), kept);
    }
}
