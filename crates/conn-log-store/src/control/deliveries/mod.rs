//! Deliveries: what each webhook is to be told, and the attempts to tell it.
//!
//! A delivery is made of one change of an alert for one webhook (`plan`). A process claims it for a
//! time (`claim`), sends it, and records the attempt (`record`). Whoever dies in between loses
//! nothing: once the claim has run out, the delivery is sent again under the same message id.
//!
//! ```text
//! pending ─▶ delivered          a 2xx
//!    │  └──▶ failed             the last attempt failed, or a 410
//!    └─────▶ cancelled          the webhook was disabled
//! silenced                      from the start
//! ```
//! Failed, cancelled and silenced deliveries can be made pending again (`redeliver`).
//!
//! Of the pending deliveries of one alert only the earliest has a `next_attempt_at`: the others
//! wait for it.

mod claim;
mod expire;
mod list;
mod plan;
mod record;
mod redeliver;
mod schedule;
mod table;

use conn_log_core::Timestamp;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::alerts::AlertChange;
use super::token::named;
use super::webhooks::Webhook;
use crate::tenant_id::TenantId;

pub(crate) use claim::{claim, due};
pub(crate) use expire::{cancel_all_in_txn, clear, expire, lag};
pub(crate) use list::{find, list};
pub(crate) use plan::plan;
pub(crate) use record::record;
pub(crate) use redeliver::{redeliver, redeliver_all, test};

named! {
    /// The state of a delivery.
    DeliveryState {
        /// It is to be sent.
        Pending = "pending",
        /// The receiver answered with a 2xx.
        Delivered = "delivered",
        /// No attempt succeeded.
        Failed = "failed",
        /// A silence covered the alert.
        Silenced = "silenced",
        /// The webhook was disabled while it was pending.
        Cancelled = "cancelled",
    }
}

/// `change` of the delivery of a test.
const TEST: &str = "test";

/// The key of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryKey {
    /// The tenant whose alert it tells.
    pub tenant: TenantId,
    /// The webhook.
    pub webhook: Uuid,
    /// Its number, 1, 2, 3 … for each webhook.
    pub id: i64,
}

/// A delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its key.
    pub key: DeliveryKey,
    /// The id of its message, the same in all attempts.
    pub message_id: String,
    /// The change that it tells; `None` for a test.
    pub change_id: Option<i64>,
    /// The kind of the change, or `test`.
    pub change: String,
    /// The alert; `None` for a test.
    pub alert_id: Option<String>,
    /// Its state.
    pub state: DeliveryState,
    /// When it is sent next; `None` while it waits for an earlier change of the alert.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it left the state pending.
    pub ended_at: Option<Timestamp>,
    /// The number of attempts so far.
    pub attempts: i32,
    /// The last attempt.
    pub last_attempt: Option<Attempt>,
}

/// An attempt that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its number, 1, 2, 3 … for each delivery.
    pub number: i32,
    /// When it began.
    pub at: Timestamp,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// Seconds.
    pub duration: f64,
    /// The begin of the answer's body.
    pub answer: Option<String>,
}

/// A delivery that this process may send now.
#[derive(Clone, Debug)]
pub struct ClaimedDelivery {
    /// Its key.
    pub key: DeliveryKey,
    /// The claim, for [`Store::delivery_record`](crate::Store::delivery_record).
    pub claim: Uuid,
    /// Its webhook.
    pub webhook: Webhook,
    /// The id of its message, the same in all attempts.
    pub message_id: String,
    /// The change that it tells; `None` for a test.
    pub change: Option<AlertChange>,
}

/// The result of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempted {
    /// When it began.
    pub at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// The begin of the answer's body.
    pub answer: Option<String>,
    /// Whether the receiver was told the end of the alert: then it is not repeated.
    pub is_end: bool,
    /// The time that the receiver asked to wait.
    pub retry_after: Option<std::time::Duration>,
}

impl Attempted {
    /// Whether the receiver took it.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// What became of a delivery by an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The receiver took it.
    Delivered,
    /// It is tried again.
    Retried,
    /// It is given up.
    Failed,
    /// It is given up, and its webhook is disabled.
    Disabled,
    /// It was changed meanwhile, and only the attempt is noted.
    Late,
}

/// The deliveries that a request makes pending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redelivered {
    /// Their number.
    pub count: usize,
    /// Whether there are more.
    pub has_more: bool,
}

/// How far deliveries are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryLag {
    /// Since when the oldest pending delivery waits.
    pub oldest_waiting_since: Option<Timestamp>,
    /// Webhooks that were disabled because of their receivers.
    pub webhooks_disabled: i64,
}

/// The id of a message: the same whenever the same change, or the same test, is told the same
/// webhook.
fn message_id(key: DeliveryKey, change_id: Option<i64>) -> String {
    let mut hash = Sha256::new();
    hash.update(key.tenant.0.to_be_bytes());
    hash.update(key.webhook.as_bytes());
    match change_id {
        Some(id) => hash.update([&[1][..], &id.to_be_bytes()].concat()),
        None => hash.update([&[2][..], &key.id.to_be_bytes()].concat()),
    }
    format!("msg_{}", HEXLOWER.encode(&hash.finalize()[..16]))
}
