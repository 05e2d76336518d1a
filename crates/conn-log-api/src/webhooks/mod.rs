//! Webhooks: receivers that are told of changes of alerts.
//!
//! | module | owns |
//! | --- | --- |
//! | `handlers`, `deliveries` | the resource: webhooks, and what became of each delivery |
//! | `body`, `shapes` | reading a webhook from a request, and writing it |
//! | `guard` | which URLs and addresses may be called |
//! | `sending` | when deliveries are sent, by how many threads |
//! | `formats` | what is sent: one file for each format |
//! | `metrics` | counts of attempts |

mod body;
pub(crate) mod deliveries;
mod formats;
mod guard;
pub(crate) mod handlers;
pub(crate) mod metrics;
mod sending;
mod shapes;

pub(crate) use body::{SEVERITIES, rule_id};
pub use sending::Notifier;
pub(crate) use shapes::SeverityName;
