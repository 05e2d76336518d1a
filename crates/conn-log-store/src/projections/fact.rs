//! Facts: what the projections read of an event, and runs of them from the log.

use std::net::IpAddr;

use conn_log_core::{Record, Timestamp};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};
use serde_json::value::RawValue;

use crate::connection::AnyConnection;
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
    let rows: Vec<FactRow> = events::table
        .filter(events::tenant_id.eq(tenant.0))
        .filter(events::id.gt(after))
        .filter(events::id.le(until))
        .order(events::id)
        .limit(limit)
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
        .load(connection)?;
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

/// The members of metadata that projections read, as their JSON texts.
#[derive(serde::Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    network_type: Option<&'a RawValue>,
    #[serde(borrow)]
    signal_strength: Option<&'a RawValue>,
}

impl From<&Record> for Fact {
    fn from(record: &Record) -> Self {
        let parts = record.event.parts();
        let members: Option<Members<'_>> = serde_json::from_str(&parts.metadata).ok();
        let (network_type, signal_strength) =
            members.map_or((None, None), |members| (members.network_type, members.signal_strength));
        Fact {
            id: record.id,
            timestamp: parts.timestamp,
            device: parts.device_id.clone(),
            application: parts.application_id.clone(),
            connection_type: parts.connection_type.clone(),
            status: parts.status.clone(),
            ip_address: parts.ip_address,
            duration: parts.duration,
            session_id: parts.session_id.clone(),
            network_type: network_type.and_then(|json| text_of(json.get())),
            signal_strength: signal_strength.and_then(|json| number_of(json.get())),
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
