//! Middleware around every request: its id, its duration, its log line and its metrics.

use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest};

use crate::http::app::App;
use crate::http::auth::SeenToken;
use crate::http::client_address;
use crate::http::request_id::{self, X_REQUEST_ID};

/// Characters of a path in the log: more than every path of the API with its longest usual names. A
/// head may have 128 KiB.
const PATH_CHARS_MAX: usize = 512;

/// Characters of a method in the log. Clients may write one of their own.
const METHOD_CHARS_MAX: usize = 16;

/// Bytes of a usual line.
const LINE_BYTES: usize = 192;

/// Gives the request its id and writes one log line when it is answered. The line holds the path
/// only: a query may hold private data, and headers and bodies do. It names the client's address
/// and the token's id, so that a fault or an attack can be traced.
pub(crate) async fn observe<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let start = Instant::now();
    let id = request_id::of(request.headers());
    let mut response = request_id::scope(id.clone(), next.call(request)).await?;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let (status, time) = (response.status().as_u16(), start.elapsed());
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let app = App::of(request);
    let route = if route == "/" { "/" } else { route.trim_end_matches('/') };
    app.metrics.answered(request.method().as_str(), route, status, time);
    log::info!(target: "conn_log::request", "{}", line(request, &app, status, time, &id));
    Ok(response)
}

/// The log line. It is made as one text: the log writes each part of a format on its own, which
/// costs more than the parts.
fn line(request: &HttpRequest, app: &App, status: u16, time: Duration, id: &str) -> String {
    let mut line = String::with_capacity(LINE_BYTES);
    cut(&mut line, request.method().as_str(), METHOD_CHARS_MAX);
    line.push_str(" \"");
    cut(&mut line, request.path(), PATH_CHARS_MAX);
    let address = client_address::of(request, &app.options.trusted_proxies);
    let token = Id(request.extensions().get().copied());
    let ms = time.as_secs_f64() * 1e3;
    // Writing to a text does not fail.
    let _ = write!(line, "\" {status} {ms:.1} ms {id} {address} {token}");
    line
}

/// Adds a text of a client to a line: escaped, and cut where it is longer than so many characters.
fn cut(line: &mut String, text: &str, chars_max: usize) {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\');
    if text.len() <= chars_max && text.bytes().all(is_plain) {
        return line.push_str(text);
    }
    let mut escaped = text.escape_debug();
    line.extend(escaped.by_ref().take(chars_max));
    if escaped.next().is_some() {
        line.push('…');
    }
}

/// The id of a request's token; `-` without a token that the store knows.
struct Id(Option<SeenToken>);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(SeenToken(id)) => write!(f, "{id}"),
            None => f.write_char('-'),
        }
    }
}
