//! The server's limits, each with its reason.

use std::num::NonZeroU32;
use std::time::Duration;

use conn_log_core::EventPolicy;
use conn_log_store::Rate;
use ipnet::IpNet;

/// What a deployment may set about the HTTP server. [`Default`] is the contract's own limits.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Which events are taken.
    pub policy: EventPolicy,
    /// Events a request at most. A batch is committed whole, and everybody waits for it.
    pub events_max: usize,
    /// Bytes of a body as sent.
    pub body_bytes_max: usize,
    /// Bytes of a body after decompression.
    pub decoded_bytes_max: usize,
    /// Bytes of all the bodies held at one time, and of what is made of them, so that a thousand large ones
    /// cannot take the machine's memory. Bodies of less than 8 KiB do not count.
    pub bodies_bytes_max: usize,
    /// How long a body may take to arrive.
    pub body_time_max: Duration,
    /// How long a body may pause on its way.
    pub body_pause_max: Duration,
    /// How long a request's head may take, from its first byte.
    pub head_time_max: Duration,
    /// How long an answer may wait for a client that takes nothing of it.
    pub answer_pause_max: Duration,
    /// How long a connection is kept that waits for its next request: longer than the pools of common
    /// proxies and clients keep theirs, so that it is they who close it.
    pub keep_alive: Duration,
    /// The rate of tokens that have none of their own; `None` for no limit.
    pub default_rate: Option<Rate>,
    /// How often an address may fail to authenticate in a minute. No token can be guessed; this
    /// keeps whoever tries from being a load.
    pub auth_failures_per_minute: NonZeroU32,
    /// Proxies whose word on the client's address and scheme is taken.
    pub trusted_proxies: Vec<IpNet>,
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
        }
    }
}
