//! Sends answers: a small one at once, a large one in parts as it is made.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::{Method, Version};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::PERMIT_WAIT_MAX;
use super::answer::Body;
use crate::http::app::App;
use crate::http::pipe::{FedBody, feed};
use crate::http::problem::Problem;

/// Time limit for sending a large answer: enough for 30 MB to a client that takes 100 KB a second.
const SENDING_TIME_MAX: Duration = Duration::from_mins(5);

/// Sends a small answer at once. Sends a large one in parts as it is made, within a time limit, and
/// only a few large ones at a time.
pub(super) async fn respond(
    request: &HttpRequest,
    body: Body,
    first: Bytes,
) -> Result<HttpResponse, Problem> {
    let mut response = HttpResponse::Ok();
    response.content_type("application/json");
    if body.parts() == 1 {
        return Ok(response.body(first));
    }
    if request.method() == Method::HEAD {
        // The length is not known before the answer is made.
        return Ok(response.streaming(stream::empty::<Result<Bytes, actix_web::Error>>()));
    }
    let permits = App::of(request).statistics_sent.clone();
    let Ok(Ok(permit)) = timeout(PERMIT_WAIT_MAX, permits.acquire_owned()).await else {
        return Err(Problem::overloaded("too many large statistics are being sent", 30));
    };
    let parts = stream::once(ready(Ok(first))).chain(rest(body));
    if request.version() < Version::HTTP_11 {
        // HTTP/1.0 clients do not know chunks (RFC 9112, section 6.1).
        let whole: Vec<Bytes> =
            parts.try_collect().await.map_err(|error| Problem::internal(&error))?;
        let length = whole.iter().map(|part| part.len() as u64).sum();
        let parts = sent(stream::iter(whole.into_iter().map(Ok)), permit);
        return Ok(response.body(SizedStream::new(length, parts)));
    }
    Ok(response.streaming(sent(parts, permit)))
}

/// A body of those parts. The permit is held until only the last part waits, or until the client
/// has taken too long: then the body breaks off.
fn sent(
    parts: impl Stream<Item = Result<Bytes, actix_web::Error>> + 'static,
    permit: OwnedSemaphorePermit,
) -> FedBody {
    let (feed, body) = feed(1);
    let request_id = crate::http::request_id::current();
    let sending = async move {
        let mut parts = pin!(parts);
        while let Some(part) = parts.next().await {
            feed.send(part?).await?;
        }
        feed.end();
        Ok::<(), actix_web::Error>(())
    };
    actix_web::rt::spawn(async move {
        let _permit = permit;
        match timeout(SENDING_TIME_MAX, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("{request_id}: statistics ended early: {error}"),
            Err(_) => log::warn!("{request_id}: statistics ended early: taken too slowly"),
        }
    });
    body
}

/// The parts of a body after its first, made on the blocking pool, two at a time. If the client
/// reads nothing, only a few parts wait in memory.
fn rest(body: Body) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let (parts, body) = (body.parts(), Arc::new(body));
    let written = stream::iter(1..parts).map(move |part| {
        let body = Arc::clone(&body);
        // Starts only when it is polled.
        async move { Ok(web::block(move || body.part(part)).await??) }
    });
    written.buffered(2)
}
