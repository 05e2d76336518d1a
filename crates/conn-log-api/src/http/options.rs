//! The server's limits, each with its reason.

use std::num::NonZeroU32;
use std::time::Duration;

use conn_log_core::EventPolicy;
use conn_log_store::Rate;
use ipnet::IpNet;

use crate::http::cors::Origin;

/// The options of the HTTP server that a deployment may set. [`Default`] gives the contract's
/// limits.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// The policy that accepts or rejects events.
    pub policy: EventPolicy,
    /// Maximum events in a request. A batch is committed whole, and all other requests wait for it.
    pub events_max: usize,
    /// Maximum bytes of a body as sent.
    pub body_bytes_max: usize,
    /// Maximum bytes of a body after decompression.
    pub decoded_bytes_max: usize,
    /// Maximum bytes of all bodies held at one time and of the data parsed from them, so that a
    /// thousand large bodies cannot use up the machine's memory. Bodies of less than 8 KiB do not
    /// count.
    pub bodies_bytes_max: usize,
    /// Maximum time for a body to arrive.
    pub body_time_max: Duration,
    /// Maximum pause while a body arrives.
    pub body_pause_max: Duration,
    /// Maximum time for a request's head to arrive, from its first byte.
    pub head_time_max: Duration,
    /// Maximum time that an answer waits for a client that reads nothing of it.
    pub answer_pause_max: Duration,
    /// How long an idle connection is kept: longer than the connection pools of common proxies and
    /// clients keep theirs, so that they close the connection and not the server.
    pub keep_alive: Duration,
    /// The rate of tokens that have none of their own; `None` for no limit.
    pub default_rate: Option<Rate>,
    /// Maximum failed authentications of an address in a minute. A token cannot be guessed; the
    /// limit keeps attempts from becoming a load.
    pub auth_failures_per_minute: NonZeroU32,
    /// Proxies that are trusted to give the client's address and scheme.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins whose browser pages may use the API.
    pub cors_origins: Vec<Origin>,
    /// Addresses inside the deployment that webhooks may call.
    pub webhook_allow: Vec<IpNet>,
    /// Maximum time of one call of a webhook, from the look-up of its name to the end of its
    /// answer.
    pub webhook_time_max: Duration,
}

impl Default for ApiOptions {
    fn default() -> Self {
        ApiOptions {
            policy: EventPolicy::default(),
            events_max: 10_000,
            body_bytes_max: 16 << 20,
            decoded_bytes_max: 64 << 20,
            bodies_bytes_max: 192 << 20,
            body_time_max: Duration::from_mins(1),
            body_pause_max: Duration::from_secs(10),
            head_time_max: Duration::from_secs(10),
            answer_pause_max: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            default_rate: None,
            auth_failures_per_minute: NonZeroU32::MIN.saturating_add(599),
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
            webhook_allow: Vec::new(),
            webhook_time_max: Duration::from_secs(15),
        }
    }
}
