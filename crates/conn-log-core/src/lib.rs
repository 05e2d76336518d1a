//! Connection events between devices and applications: the model, and all of its rules.
//!
//! A service that depends on this crate alone builds and checks events exactly as the server
//! does. Nothing here does I/O, reads a clock or knows a database or HTTP.
//!
//! ```
//! use conn_log_core::{Edition, EventDraft, EventPolicy, Record, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Timestamp::parse("2024-01-15T10:30:05Z").ok_or("not a time")?;
//! let draft = EventDraft::from_json(
//!     r#"{
//!         "device_id": "dev_12345",
//!         "application_id": "app_67890",
//!         "connection_type": "established",
//!         "timestamp": "2024-01-15T12:30:00+02:00",
//!         "ip_address": "192.168.1.100",
//!         "status": "success",
//!         "metadata": {"protocol": "TLS 1.3", "access_token": "hunter2"}
//!     }"#,
//! )?;
//! assert_eq!(draft.edition(), Edition::Second);
//!
//! let event = EventPolicy::default().check(draft, now)?;
//! assert_eq!(
//!     event.fields().metadata,
//!     r#"{"access_token":"[REDACTED]","protocol":"TLS 1.3"}"#,
//! );
//!
//! let record = Record { id: 1, created_at: now, event };
//! assert!(record.to_json().starts_with(r#"{"id":1,"device_id":"dev_12345","#));
//! # Ok(())
//! # }
//! ```
//!
//! JSON is one source of an [`EventDraft`]; code can also build one field by field. An
//! [`EventPolicy`] makes an [`Event`] from a draft, or returns all of its faults:
//!
//! ```
//! use conn_log_core::{EventDraft, EventPolicy, FaultCode, Timestamp};
//!
//! let json = r#"{"device_id": " dev", "application_id": "app", "timestamp": "yesterday",
//!     "connection_type": "established", "status": "success"}"#;
//! let draft = EventDraft::from_json(json).unwrap();
//! let faults = EventPolicy::default().check(draft, Timestamp::EPOCH).unwrap_err();
//! let found: Vec<_> = faults.as_slice().iter().map(|f| (f.pointer.as_str(), f.code)).collect();
//! assert_eq!(
//!     found,
//!     [
//!         ("/device_id", FaultCode::SurroundingSpace),
//!         ("/timestamp", FaultCode::InvalidTimestamp),
//!     ],
//! );
//! ```

pub mod alert;
mod body;
mod event;
mod fault;
mod filter;
mod query;
mod record;
mod timestamp;

pub use body::{BodyError, JsonBody, utf8, without_byte_order_mark};
pub use event::{
    Binding, CONNECTION_TYPES, DraftSource, Edition, Event, EventDraft, EventFields, EventPolicy,
    MetadataJson, REDACTED, STATUSES, SensitiveKeys,
};
pub use fault::{Fault, FaultCode, FaultKind, Faults};
pub use filter::{EventFilter, FilterError, FilterErrorCode, MetadataFilter, MetadataPath};
pub use query::{EventQuery, Order, Position, Start};
pub use record::{LeafInput, Record};
pub use timestamp::{TimeText, Timestamp};
