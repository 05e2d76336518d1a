//! Facts: what the projections read of an event, and runs of them from the log.

use std::net::IpAddr;

use conn_log_core::{EventFilter, Timestamp};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use crate::connection::{AnyConnection, MultiBackend};
use crate::filter::{Condition, conditions};
use crate::schema::events;
use crate::tenants::TenantId;
use crate::types::{Ip, Micros};

/// One event, as far as projections look at it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fact {
    pub(crate) id: i64,
    pub(crate) timestamp: Timestamp,
    pub(crate) device: String,
    pub(crate) application: String,
    pub(crate) connection_type: String,
    pub(crate) status: String,
    pub(crate) ip_address: Option<IpAddr>,
    /// Seconds.
    pub(crate) duration: Option<f64>,
    pub(crate) session_id: Option<String>,
    /// `metadata.network_type`, where it is a text of a name's length.
    pub(crate) network_type: Option<String>,
    /// `metadata.signal_strength`, where it is a number.
    pub(crate) signal_strength: Option<f64>,
}

/// The place of an event in time: of two at one instant, the one registered later comes later.
pub(crate) type Place = (Timestamp, i64);

impl Fact {
    pub(crate) fn place(&self) -> Place {
        (self.timestamp, self.id)
    }

    pub(crate) fn is_success(&self) -> bool {
        self.status == "success"
    }
}

/// As long as the longest of the other names. A longer text is no kind of network.
const NETWORK_TYPE_CHARS_MAX: usize = 255;

/// How many, and whether the first ones of the log.
#[derive(Clone, Copy)]
enum Limit {
    First(i64),
    Any(i64),
}

type FactRow = (
    (i64, Micros, String, String, String, String),
    (Option<Ip>, Option<f64>, Option<String>, Option<String>, Option<String>),
);

/// The events with ids beyond `after` and up to `until`, in the order of the log.
pub(crate) fn read(
    connection: &mut AnyConnection,
    tenant: TenantId,
    after: i64,
    until: i64,
    limit: i64,
) -> QueryResult<Vec<Fact>> {
    let beyond: Condition = Box::new(events::id.gt(after).nullable());
    load(connection, tenant, vec![beyond], until, Limit::First(limit))
}

/// The events that a filter takes with ids up to `until`, in no order.
pub(crate) fn find(
    connection: &mut AnyConnection,
    tenant: TenantId,
    filter: &EventFilter,
    until: i64,
    limit: i64,
) -> QueryResult<Vec<Fact>> {
    let wanted = conditions(filter, connection.into());
    load(connection, tenant, wanted, until, Limit::Any(limit))
}

fn load(
    connection: &mut AnyConnection,
    tenant: TenantId,
    wanted: Vec<Condition>,
    until: i64,
    limit: Limit,
) -> QueryResult<Vec<Fact>> {
    // The database takes the two members out: decoding every event's metadata would be most of
    // the cost.
    let (network_type, signal_strength) = match connection {
        AnyConnection::Sqlite(_) => {
            ("metadata -> '$.network_type'", "metadata -> '$.signal_strength'")
        }
        AnyConnection::Postgres(_) => {
            ("(metadata -> 'network_type')::text", "(metadata -> 'signal_strength')::text")
        }
    };
    let mut select = events::table
        .filter(events::tenant_id.eq(tenant.0))
        .filter(events::id.le(until))
        .select((
            (
                events::id,
                events::timestamp,
                events::device_id,
                events::application_id,
                events::connection_type,
                events::status,
            ),
            (
                events::ip_address,
                events::duration,
                events::session_id,
                sql::<Nullable<Text>>(network_type),
                sql::<Nullable<Text>>(signal_strength),
            ),
        ))
        .into_boxed::<MultiBackend>();
    for condition in wanted {
        select = select.filter(condition);
    }
    let rows: Vec<FactRow> = match limit {
        Limit::First(limit) => select.order(events::id).limit(limit).load(connection)?,
        Limit::Any(limit) => select.limit(limit).load(connection)?,
    };
    Ok(rows.into_iter().map(Fact::from).collect())
}

impl From<FactRow> for Fact {
    fn from((first, second): FactRow) -> Self {
        let (id, timestamp, device, application, connection_type, status) = first;
        let (ip_address, duration, session_id, network_type, signal_strength) = second;
        Fact {
            id,
            timestamp: timestamp.0,
            device,
            application,
            connection_type,
            status,
            ip_address: ip_address.map(|ip| ip.0),
            duration,
            session_id,
            network_type: network_type.as_deref().and_then(text_of),
            signal_strength: signal_strength.as_deref().and_then(number_of),
        }
    }
}

/// The text that a JSON text says.
fn text_of(json: &str) -> Option<String> {
    let text: String = serde_json::from_str(json).ok()?;
    (text.chars().count() <= NETWORK_TYPE_CHARS_MAX).then_some(text)
}

/// The number that a JSON text says.
fn number_of(json: &str) -> Option<f64> {
    json.parse().ok().filter(|number: &f64| number.is_finite())
}
