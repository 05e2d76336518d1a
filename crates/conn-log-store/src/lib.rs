//! The connection log on disk: SQLite or PostgreSQL behind one interface.
//!
//! [`Store::open`] returns a [`Store`]; [`Store::append`] stores events through the sequencer,
//! which gives gap-free ids in commit order; `event_get` and `event_list` read them back; tenants
//! and tokens are stored beside the log. Every question to a log has a [`TenantId`].
//!
//! | module | owns |
//! | --- | --- |
//! | `store` | the facade, and nothing else |
//! | `derive` | followers of the log: index, presence, sessions, statistics |
//! | `log` | the log: the sequencer, reads by id and by scan, idempotency keys, rejects |
//! | `control` | tenants and tokens |
//! | `engine` | SQLite and PostgreSQL: connections, turns, leases, migrations |
//! | `placement` | the list of tables, and where each belongs on distributed PostgreSQL |
//!
//! A module depends only on modules below it in this table.
//!
//! Architecture invariant: nothing here knows HTTP, reads the environment, or decides what a valid
//! event is.

mod clock;
mod control;
mod derive;
mod engine;
mod error;
mod log;
mod observer;
mod options;
mod page;
mod placement;
mod store;
mod tenant_id;

pub use control::{
    Alert, AlertChange, AlertFilter, AlertQuery, AlertState, Attempt, Attempted, ChangeKind,
    ClaimedDelivery, Created, Delivery, DeliveryKey, DeliveryLag, DeliveryState, DisabledReason,
    Handling, NewAlertChange, NewSilence, NewToken, NewWebhook, OnReject, Once, OnceKey, Rate,
    Recorded, Redelivered, Repeated, Scope, Secret, SecretHash, Silence, StoredRule, Tenant, Token,
    TokenPlace, UnknownName, WEBHOOK_DISABLED, Webhook, WebhookChange, WebhookFormat,
    WebhookSecret,
};
pub use derive::alerts::{AlertingState, Preview, PreviewedAlert, RuleState};
pub use derive::presence::{Application, Device, DeviceFilter};
pub use derive::sessions::{EndReason, Session, SessionFilter, SessionPlace};
pub use derive::statistics::{
    Durations, Figure, Figures, GroupBy, Interval, ROWS_MAX as STATISTICS_ROWS_MAX,
    SignalStrengths, Sort, StatisticsAnswer, StatisticsError, StatisticsQuery, StatisticsRow,
    UnknownZone, Zone,
};
pub use derive::{Progress, UnknownFollower};
pub use engine::{DatabaseUrl, DatabaseUrlError, PostgresUrl};
pub use error::{AppendError, Cause, OpenError, StoreError};
pub use log::heads::LogBounds;
pub use log::rejects::{NewReject, REJECT_AGE_MAX, REJECTS_MAX, Reject, RejectFilter, RejectPlace};
pub use log::sequencer::{Answer, Appended, Claim, MakeRejects, Outcome, Rejects, Submission};
pub use observer::{GroupCommitted, Lag, Observer, Stats};
pub use options::{PartitionSize, SessionTimeout, StoreOptions};
pub use page::{EventPage, Page, PageQuery, PageStart};
pub use placement::{FIRST_DISTRIBUTED, Placement, TABLES, TablePlacement, tables_placed};
pub use store::Store;
pub use tenant_id::TenantId;
