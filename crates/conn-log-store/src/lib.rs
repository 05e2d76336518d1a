//! The connection log on disk: SQLite or PostgreSQL behind one interface.
//!
//! [`Store::open`] gives a [`Store`]; [`Store::append`] stores events through the sequencer, which
//! gives gap-free ids in commit order; `event_get` and `event_list` read them back; tenants and
//! tokens live beside the log. Every question to a log carries a [`TenantId`].
//!
//! Architecture invariant: nothing here knows HTTP, reads the environment, or decides what a valid
//! event is.

mod checkpointer;
mod clock;
mod connection;
mod derived;
mod error;
mod events;
mod filter;
mod idempotency;
mod index;
mod lease;
mod listener;
mod migrations;
mod options;
mod partitions;
mod place;
mod pool;
mod projections;
mod rows;
mod scan;
mod schema;
mod secret;
mod sequencer;
mod snapshot;
mod stats;
mod store;
mod tenants;
mod tokens;
mod types;
mod url;

pub use error::{AppendError, OpenError, StoreError};
pub use events::EventPage;
pub use options::{PartitionSize, StoreOptions};
pub use projections::{
    Application, Device, Durations, Figures, GroupBy, Interval, Page, PageQuery, PageStart,
    Progress, Session, SessionFilter, SessionPlace, SignalStrengths, StatisticsAnswer,
    StatisticsError, StatisticsQuery, StatisticsRow, UnknownProjection,
};
pub use secret::{Secret, SecretHash};
pub use sequencer::{Answer, Appended, Claim, Outcome, Submission};
pub use stats::{GroupCommitted, Lag, Observer, Stats};
pub use store::Store;
pub use tenants::{Tenant, TenantId};
pub use tokens::{NewToken, Rate, Scope, Token, UnknownScope};
pub use url::{DatabaseUrl, DatabaseUrlError, PostgresUrl};
