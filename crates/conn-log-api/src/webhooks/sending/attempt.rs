//! One attempt: the message, the request, and what came of it.

use std::error::Error as _;
use std::io::Read as _;
use std::time::{Duration, Instant};

use conn_log_core::Timestamp;
use conn_log_store::{Attempted, ClaimedDelivery, Store};
use ureq::config::Config;
use ureq::http::{HeaderMap, header};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Timeout};

use super::passed;
use super::signature::signatures;
use crate::webhooks::formats::Message;
use crate::webhooks::guard::{Guard, GuardedResolver, InsideAddress};

/// Bytes of an answer that are read and kept. The rest is never read.
const ANSWER_BYTES_MAX: u64 = 512;

/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Bytes that are read or written at a time.
const BUFFER_BYTES: usize = 16 << 10;

/// Characters of an error that are kept.
const ERROR_CHARS_MAX: usize = 300;

/// The HTTP client. It follows no redirect, keeps no connection, and takes no proxy from the
/// environment.
pub(super) struct Client {
    agent: Agent,
    guard: Guard,
}

/// What was answered.
struct Answer {
    status: u16,
    excerpt: String,
    retry_after: Option<Duration>,
}

impl Client {
    pub(super) fn new(guard: Guard, time_max: Duration) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Config::builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(time_max))
            .max_response_header_size(HEAD_BYTES_MAX)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .max_idle_connections(0)
            .user_agent(concat!("conn-log/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = GuardedResolver { guard: guard.clone(), names: DefaultResolver::default() };
        Client { agent: Agent::with_parts(config, DefaultConnector::default(), resolver), guard }
    }

    /// Sends a delivery, signed at this moment.
    pub(super) fn attempt(
        &self,
        store: &Store,
        delivery: &ClaimedDelivery,
        at: Timestamp,
    ) -> Attempted {
        let begun = Instant::now();
        let answer = self.send(&message(store, delivery, at), delivery, at);
        let attempted = Attempted {
            at,
            ended_at: at.plus(passed(begun)),
            status: None,
            error: None,
            answer: None,
            is_end: delivery.change.as_ref().is_some_and(|change| change.kind.is_end()),
            retry_after: None,
        };
        match answer {
            Ok(Answer { status, excerpt, retry_after }) => {
                Attempted { status: Some(status), answer: Some(excerpt), retry_after, ..attempted }
            }
            Err(error) => {
                let error = error.chars().take(ERROR_CHARS_MAX).collect();
                Attempted { error: Some(error), ..attempted }
            }
        }
    }

    fn send(
        &self,
        body: &str,
        delivery: &ClaimedDelivery,
        now: Timestamp,
    ) -> Result<Answer, String> {
        // The deployment may allow other addresses now than when the webhook was made.
        let url = self.guard.check_url(&delivery.webhook.url);
        let url = url.map_err(|(_, detail)| format!("the URL is not called: {detail}"))?;
        let url = Message::url(delivery.webhook.format, url);
        let seconds = now.micros().div_euclid(1_000_000);
        let secrets = delivery.webhook.secrets_at(now);
        let signed = signatures(&secrets, &delivery.message_id, seconds, body);
        let sent = self
            .agent
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &delivery.message_id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signed)
            .send(body);
        let mut response = sent.map_err(|error| explained(&error))?;
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers(), now),
            excerpt: excerpt(response.body_mut()),
        })
    }
}

/// The body of a delivery's message.
fn message(store: &Store, delivery: &ClaimedDelivery, now: Timestamp) -> String {
    let mut message = Message::of(delivery, now);
    for id in message.event_ids() {
        // An event that was removed, or cannot be read at the moment, is left out.
        if let Ok(Some(record)) = store.event_get(delivery.key.tenant, id) {
            message.events.push(record.to_json());
        }
    }
    message.body(delivery.webhook.format)
}

/// The begin of the answer's body. A status was received: what the body does is no failure.
fn excerpt(body: &mut Body) -> String {
    let mut bytes = Vec::new();
    body.as_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).ok();
    let text = String::from_utf8_lossy(&bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    let micros = date.timestamp_micros().saturating_sub(now.micros());
    Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

/// Why there was no answer, for people.
fn explained(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(Timeout::Resolve) => "the name was not resolved in time".to_owned(),
        ureq::Error::Timeout(_) => "the receiver took too long".to_owned(),
        ureq::Error::HostNotFound => "the name has no address".to_owned(),
        ureq::Error::Io(error) => {
            let inside = error.get_ref().and_then(|inner| inner.downcast_ref::<InsideAddress>());
            inside.map_or_else(|| error.to_string(), ToString::to_string)
        }
        other => match other.source() {
            Some(source) => format!("{other}: {source}"),
            None => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_given_in_seconds_or_as_a_date() {
        let now = Timestamp::parse("2026-01-02T03:04:05Z").unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60)),
            ("Fri, 02 Jan 2026 03:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
            let wait = retry_after(&headers, now);
            assert_eq!(wait, seconds.map(Duration::from_secs), "{value}");
        }
    }
}
