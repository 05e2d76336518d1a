//! Middleware that tells a connection when a request begins and ends, and when its body is read.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{ConnectionType, Version};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage as _};
use futures_util::Stream;

use super::Exchange;
use crate::http::app::App;

/// Middleware around every request. It passes on a request that did not come over a
/// [`Connection`](super::Connection), as in tests.
pub(crate) async fn attend<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<Attended<B>>, Error> {
    let exchange = request.conn_data::<Exchange>().cloned();
    let under_way = exchange.clone().map(UnderWay::begin);
    if let Some(exchange) = exchange {
        let payload = request.take_payload();
        if !matches!(payload, Payload::None) {
            let asking = Asking { payload, exchange };
            request.set_payload(Payload::Stream { payload: Box::pin(asking) });
        }
    }
    let mut response = next.call(request).await?;
    end_without_chunks(&mut response, under_way.as_ref());
    say_how_long_it_is_kept(&mut response);
    Ok(response.map_body(|_, body| Attended { body: Box::pin(body), under_way }))
}

/// HTTP/1.0 knows no chunks: an answer without a length ends with the connection (RFC 9112, section
/// 6.1).
fn end_without_chunks<B: MessageBody>(
    response: &mut ServiceResponse<B>,
    under_way: Option<&UnderWay>,
) {
    let is_streamed = response.response().body().size() == BodySize::Stream;
    if response.request().version() >= Version::HTTP_11 || !is_streamed {
        return;
    }
    let head = response.response_mut().head_mut();
    head.no_chunking(true);
    head.set_connection_type(ConnectionType::Close);
    if let Some(UnderWay(exchange)) = under_way {
        exchange.end_with_connection();
    }
}

/// Adds `Keep-Alive: timeout=…`. A client that knows it does not send a request just when the
/// connection is closed.
fn say_how_long_it_is_kept<B>(response: &mut ServiceResponse<B>) {
    let request = response.request();
    let is_to_close = |headers: &header::HeaderMap| {
        headers
            .get(header::CONNECTION)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
    };
    if request.version() != Version::HTTP_11
        || is_to_close(request.headers())
        || is_to_close(response.headers())
    {
        return;
    }
    let seconds = App::of(request).options.keep_alive.as_secs();
    if let Ok(value) = HeaderValue::from_str(&format!("timeout={seconds}")) {
        response.headers_mut().insert(header::HeaderName::from_static("keep-alive"), value);
    }
}

/// A request in progress, from its head to the end of its answer.
struct UnderWay(Exchange);

impl UnderWay {
    fn begin(exchange: Exchange) -> Self {
        exchange.begin();
        UnderWay(exchange)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// An answer's body. The request ends when it ends.
pub(crate) struct Attended<B> {
    body: Pin<Box<B>>,
    under_way: Option<UnderWay>,
}

impl<B: MessageBody> MessageBody for Attended<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        let next = self.body.as_mut().poll_next(context);
        if let (Poll::Ready(None), Some(UnderWay(exchange))) = (&next, &self.under_way) {
            exchange.is_made();
        }
        next
    }
}

/// A request's body. It asks the connection for more bytes only while a reader waits for them.
struct Asking {
    payload: Payload,
    exchange: Exchange,
}

impl Stream for Asking {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.payload).poll_next(context);
        if next.is_pending() {
            self.exchange.ask();
        }
        next
    }
}
