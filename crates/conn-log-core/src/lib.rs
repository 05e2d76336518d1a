//! Connection events between devices and applications: the model and every rule that it keeps.

mod event;
mod filter;
mod metadata;
mod record;
mod timestamp;

pub use event::{Event, EventParts};
pub use filter::{EventFilter, EventQuery, MetadataFilter, Order, Position, Start};
pub use record::Record;
pub use timestamp::Timestamp;
