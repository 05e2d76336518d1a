//! One interface to both databases: connections and their roles, pools, turns to write,
//! transactions that derive, leases, and the threads that a database needs.
//!
//! [`Engine`] is the interface; [`sqlite`] and [`postgres`] are its two implementations. The layers
//! above use the engine without knowing the database. Where the SQL of a resource differs, one file
//! of that resource selects it by [`Dialect`] (decision 001).
//!
//! Architecture invariant: nothing here knows an event, a token or a projection. It names only its
//! own tables: the schema's version, and the positions whose rows are leases.

mod again;
mod backend;
mod connection;
mod dialect;
mod each_lane;
mod fault;
mod identity;
mod insert;
mod lanes;
mod migrations;
mod packed;
mod pool;
mod position;
mod postgres;
mod signals;
mod snapshot;
mod sqlite;
mod turn;
mod types;
mod url;

pub(crate) use backend::Engine;
pub(crate) use connection::{AnyConnection, MultiBackend, Role};
pub(crate) use dialect::{Dialect, on_either};
pub(crate) use each_lane::{Tenants, numbers};
pub(crate) use fault::Fault;
pub(crate) use identity::Identity;
pub(crate) use insert::{
    CLEARED_AT_ONCE, INSERTED_MAX, KEYS_AT_ONCE, ROWS_AT_ONCE, clear_some, insert_all,
    insert_or_copy, upsert,
};
#[doc(hidden)]
pub(crate) use insert::{Upsert, insert_arrays};
pub(crate) use lanes::Lanes;
pub(crate) use packed::{Members, Packed, Shape, begin_packed, place_of};
pub(crate) use position::{
    Home, Lease, Position, Wait, drop_positions_in_txn, positions, positions_of,
    set_position_in_txn,
};
pub(crate) use postgres::partitions::Span as PartitionSpan;
pub(crate) use signals::{Changed, Signals};
pub(crate) use snapshot::{Plans, ReadError, in_snapshot};
pub(crate) use turn::{Turn, Turns};
pub(crate) use types::{Address, Guid, Instant, Ip, JsonObject, JsonText, Micros, Unique};
pub use url::{DatabaseUrl, DatabaseUrlError, PostgresUrl};
