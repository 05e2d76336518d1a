//! Limits on the events that a token may send and on the failed authentications of an address.
//!
//! Both are token buckets (governor's GCRA), kept in this process: each of several servers grants
//! its own share.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderName};
use conn_log_store::{Rate, Token};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::{IpNet, Ipv6Net};
use moka::sync::Cache;
use uuid::Uuid;

use crate::http::problem::{Problem, ProblemKind};

/// Maximum number of buckets. A bucket removed beyond it starts full again.
const BUCKETS_MAX: u64 = 100_000;

/// A bucket unused for this long is full, whatever its rate.
const IDLE_MAX: Duration = Duration::from_hours(1);

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// The buckets of all tokens that have a rate.
#[derive(Clone)]
pub(crate) struct EventRates {
    default: Option<Rate>,
    buckets: Cache<(Uuid, Rate), Arc<Bucket>>,
}

/// A token's bucket.
struct Bucket {
    limiter: Limiter,
    /// The time until which the bucket is known to have not a single event: one was refused, or the
    /// token pays for a batch larger than the bucket.
    debt_until: Mutex<Instant>,
}

/// The rest of a token's rate, for the answer's headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    rate: Rate,
    remaining: u32,
}

/// A token has used up its rate for now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverRate {
    rate: Rate,
    wait: Duration,
}

impl EventRates {
    pub(crate) fn new(default: Option<Rate>) -> Self {
        let buckets = Cache::builder().max_capacity(BUCKETS_MAX).time_to_idle(IDLE_MAX).build();
        EventRates { default, buckets }
    }

    /// Checks that the token's bucket is not known to be empty, before its events are read.
    ///
    /// # Errors
    /// [`OverRate`] if not even one event would be taken.
    pub(crate) fn check(&self, token: &Token) -> Result<(), OverRate> {
        let Some(rate) = token.rate.or(self.default) else { return Ok(()) };
        let Some(bucket) = self.buckets.get(&(token.id, rate)) else { return Ok(()) };
        bucket.debt(Instant::now()).map_or(Ok(()), |wait| Err(OverRate { rate, wait }))
    }

    /// Takes `events` out of the token's bucket. `None` for a token without a rate.
    ///
    /// A batch larger than the bucket passes if the bucket is full: otherwise it could never pass.
    /// The token then waits until the rate has made up for the whole batch.
    ///
    /// # Errors
    /// [`OverRate`] with the time to wait, if the bucket does not have that many.
    pub(crate) fn take(&self, token: &Token, events: usize) -> Result<Option<Allowance>, OverRate> {
        let Some(rate) = token.rate.or(self.default) else { return Ok(None) };
        let bucket = self.buckets.get_with((token.id, rate), || Arc::new(Bucket::new(rate)));
        let now = Instant::now();
        let mut debt_until = bucket.debt_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = left(*debt_until, now) {
            return Err(OverRate { rate, wait });
        }
        let wanted = u32::try_from(events).unwrap_or(u32::MAX).min(rate.burst_events);
        let Some(wanted) = NonZeroU32::new(wanted) else { return Ok(None) };
        match bucket.limiter.check_n(wanted) {
            Ok(Ok(state)) => {
                let all = u32::try_from(events).unwrap_or(u32::MAX);
                if all > wanted.get() {
                    let seconds = f64::from(all) / f64::from(rate.events_per_second.max(1));
                    *debt_until = now + Duration::from_secs_f64(seconds);
                }
                Ok(Some(Allowance { rate, remaining: state.remaining_burst_capacity() }))
            }
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                if wanted == NonZeroU32::MIN {
                    *debt_until = now + wait;
                }
                Err(OverRate { rate, wait })
            }
            // The bucket is at least as large as the amount taken.
            Err(_) => Err(OverRate { rate, wait: Duration::from_secs(1) }),
        }
    }
}

fn quota(rate: Rate) -> Quota {
    let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(rate.events_per_second))
        .allow_burst(at_least_one(rate.burst_events))
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Bucket {
            limiter: RateLimiter::direct(quota(rate)).with_middleware(),
            debt_until: Mutex::new(Instant::now()),
        }
    }

    /// The time until the bucket has an event again, if it is known to have none.
    fn debt(&self, now: Instant) -> Option<Duration> {
        left(*self.debt_until.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

/// The time that is left until then; `None` if there is none.
fn left(until: Instant, now: Instant) -> Option<Duration> {
    until.checked_duration_since(now).filter(|wait| !wait.is_zero())
}

impl From<OverRate> for Problem {
    fn from(OverRate { rate, wait }: OverRate) -> Self {
        let detail = format!("the token may send {} events per second", rate.events_per_second);
        let problem = Problem::new(ProblemKind::TooManyRequests, detail)
            .with_header(header::RETRY_AFTER, whole_seconds(wait).to_string());
        let headers = headers(Allowance { rate, remaining: 0 }, wait);
        headers.into_iter().fold(problem, |problem, (name, value)| problem.with_header(name, value))
    }
}

/// Rounded up: a client that comes back too early is refused again.
fn whole_seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

/// This header and the next are from draft-ietf-httpapi-ratelimit-headers.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The rate-limit headers for a token's events.
fn headers(allowance: Allowance, wait: Duration) -> [(HeaderName, String); 2] {
    let Allowance { rate, remaining } = allowance;
    let window = u64::from(rate.burst_events.div_ceil(rate.events_per_second.max(1))).max(1);
    [
        (RATELIMIT_POLICY, format!("\"events\";q={};w={window}", rate.burst_events)),
        (RATELIMIT, format!("\"events\";r={remaining};t={}", whole_seconds(wait))),
    ]
}

impl Allowance {
    /// Adds headers that give the rest of the rate and the time until the bucket is full again.
    pub(crate) fn tell(self, response: &mut HttpResponse) {
        let missing = self.rate.burst_events.saturating_sub(self.remaining);
        let full_in = f64::from(missing) / f64::from(self.rate.events_per_second.max(1));
        for (name, value) in headers(self, Duration::from_secs_f64(full_in)) {
            if let Ok(value) = header::HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

/// The network that one client has to itself.
fn client_network(address: IpAddr) -> IpNet {
    /// The bits of an IPv6 address that name the network.
    const V6_NETWORK_BITS: u8 = 64;
    match address {
        IpAddr::V4(_) => address.into(),
        IpAddr::V6(v6) => {
            Ipv6Net::new(v6, V6_NETWORK_BITS).map_or(address.into(), |net| net.trunc().into())
        }
    }
}

/// Limits the failed authentications of each address. An IPv6 network of 64 bits counts as one address: one
/// client has all of it (RFC 6177).
pub(crate) struct AuthFailures {
    per_minute: NonZeroU32,
    limiter: DefaultKeyedRateLimiter<IpNet>,
}

impl AuthFailures {
    pub(crate) fn new(per_minute: NonZeroU32) -> Self {
        AuthFailures { per_minute, limiter: RateLimiter::keyed(Quota::per_minute(per_minute)) }
    }

    /// Counts a failed authentication.
    ///
    /// # Errors
    /// 429 once the address has failed too often.
    pub(crate) fn count(&self, address: IpAddr) -> Result<(), Problem> {
        self.limiter.check_key(&client_network(address)).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let detail = "this address has failed to authenticate too often";
            let seconds = whole_seconds(wait);
            Problem::new(ProblemKind::TooManyRequests, detail)
                .with_header(header::RETRY_AFTER, seconds.to_string())
                .with_header(RATELIMIT_POLICY, format!("\"failures\";q={};w=60", self.per_minute))
                .with_header(RATELIMIT, format!("\"failures\";r=0;t={seconds}"))
        })
    }

    /// Removes the addresses without a recent failure, so that memory stays bounded.
    pub(crate) fn forget_idle(&self) {
        self.limiter.retain_recent();
    }
}
