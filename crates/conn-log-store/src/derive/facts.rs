//! Facts: the fields of an event that projections read, and batches of them from the log.

use std::borrow::Cow;
use std::net::IpAddr;

use conn_log_core::{Record, Timestamp};
use diesel::connection::DefaultLoadingMode;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};
use foldhash::HashMap;
use serde_json::value::RawValue;

use super::dictionary::Names;
use crate::engine::{AnyConnection, Dialect, Ip, Micros, Packed, place_of};
use crate::log::key;
use crate::log::schema::events;
use crate::log::span::Span;
use crate::log::texts::{self, Damaged};
use crate::tenant_id::TenantId;

/// The fields of one event that projections read. `N` is a name: its number, see [`Names`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fact<N = i32> {
    pub(crate) id: i64,
    pub(crate) timestamp: Timestamp,
    pub(crate) device: N,
    pub(crate) application: N,
    pub(crate) connection_type: N,
    pub(crate) status: N,
    /// `metadata.network_type`, if it is a text no longer than a name.
    pub(crate) network_type: Option<N>,
    /// The connection step of the event's type, if the type is one.
    pub(crate) step: Option<Step>,
    /// Whether the status is `success`.
    pub(crate) is_success: bool,
    pub(crate) ip_address: Option<IpAddr>,
    /// In seconds.
    pub(crate) duration: Option<f64>,
    pub(crate) session_id: Option<String>,
    /// `metadata.signal_strength`, if it is a number.
    pub(crate) signal_strength: Option<f64>,
}

/// The connection types that a connection's state depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Established,
    Resumed,
    Suspended,
    Terminated,
}

impl Step {
    fn of(connection_type: &str) -> Option<Self> {
        match connection_type {
            "established" => Some(Step::Established),
            "resumed" => Some(Step::Resumed),
            "suspended" => Some(Step::Suspended),
            "terminated" => Some(Step::Terminated),
            _ => None,
        }
    }
}

/// The position of an event in time: at the same instant, the event with the higher id is later.
pub(crate) type TimePosition = (Timestamp, i64);

impl Fact {
    pub(crate) fn position(&self) -> TimePosition {
        (self.timestamp, self.id)
    }
}

/// The role of a name. Roles whose names many events share come first: such names get the small
/// numbers, which take the fewest bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum NameRole {
    Kind,
    Application,
    Device,
}

/// Events in the order of the log, whose names have no numbers yet.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Each distinct name, with its slot and its role.
    names: HashMap<String, (Slot, NameRole)>,
    facts: Vec<Fact<Slot>>,
}

/// A name's place among the distinct names.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slot(usize);

impl Facts {
    /// The facts of records from the log.
    pub(crate) fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut facts = Facts::default();
        for record in records {
            facts.push(Seen::from(record));
        }
        facts
    }

    /// Every distinct name in the facts, in the order in which they get numbers.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<(NameRole, &str)> =
            self.names.iter().map(|(text, (_, role))| (*role, text.as_str())).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, text)| text).collect()
    }

    /// The facts with those numbers. Every name must have been looked up before.
    pub(crate) fn numbered(self, names: &Names) -> Vec<Fact> {
        let mut numbers = vec![0; self.names.len()];
        for (text, (slot, _)) in &self.names {
            numbers[slot.0] = names.number(text);
        }
        let number = |slot: Slot| numbers[slot.0];
        let numbered = |fact: Fact<Slot>| Fact {
            id: fact.id,
            timestamp: fact.timestamp,
            device: number(fact.device),
            application: number(fact.application),
            connection_type: number(fact.connection_type),
            status: number(fact.status),
            network_type: fact.network_type.map(number),
            step: fact.step,
            is_success: fact.is_success,
            ip_address: fact.ip_address,
            duration: fact.duration,
            session_id: fact.session_id,
            signal_strength: fact.signal_strength,
        };
        self.facts.into_iter().map(numbered).collect()
    }

    fn push(&mut self, seen: Seen<'_>) {
        let fact = Fact {
            id: seen.id,
            timestamp: seen.timestamp,
            device: self.slot(seen.device, NameRole::Device),
            application: self.slot(seen.application, NameRole::Application),
            connection_type: self.slot(seen.connection_type, NameRole::Kind),
            status: self.slot(seen.status, NameRole::Kind),
            network_type: seen.network_type.map(|text| self.slot(&text, NameRole::Kind)),
            step: Step::of(seen.connection_type),
            is_success: seen.status == "success",
            ip_address: seen.ip_address,
            duration: seen.duration,
            session_id: seen.session_id,
            signal_strength: seen.signal_strength,
        };
        self.facts.push(fact);
    }

    fn slot(&mut self, text: &str, role: NameRole) -> Slot {
        if let Some((slot, known)) = self.names.get_mut(text) {
            *known = role.min(*known);
            return *slot;
        }
        let slot = Slot(self.names.len());
        self.names.insert(text.to_owned(), (slot, role));
        slot
    }
}

/// A row of an event, with its names in a separate part.
struct Seen<'a> {
    id: i64,
    timestamp: Timestamp,
    device: &'a str,
    application: &'a str,
    connection_type: &'a str,
    status: &'a str,
    ip_address: Option<IpAddr>,
    duration: Option<f64>,
    session_id: Option<String>,
    network_type: Option<String>,
    signal_strength: Option<f64>,
}

/// The length of the longest other name. A longer text cannot be a network type.
const NETWORK_TYPE_CHARS_MAX: usize = 255;

type FactRow = (
    (i64, Micros, String, String, String, String),
    (Option<Ip>, Option<f64>, Option<String>, Option<String>, Option<String>),
);

/// Members of the metadata as JSON text: the network type and the signal strength. PostgreSQL
/// extracts the two. SQLite gives the metadata as the row has it, and [`Members`] finds them.
fn members(dialect: Dialect) -> [&'static str; 2] {
    match dialect {
        Dialect::Sqlite => ["metadata", "NULL"],
        Dialect::Postgres => [
            "CAST(metadata -> 'network_type' AS TEXT)",
            "CAST(metadata -> 'signal_strength' AS TEXT)",
        ],
    }
}

/// Reads the events that exist in a span, in the order of the log.
pub(crate) fn read(
    connection: &mut AnyConnection,
    tenant: TenantId,
    span: Span,
) -> QueryResult<Facts> {
    let dialect = Dialect::from(&mut *connection);
    let [network_type, signal_strength] = members(dialect);
    let select = events::table
        .filter(key::within(tenant, span, dialect))
        .order(key::order(dialect))
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
        ));
    // Read before the events: a text is stored with the first event that needs it, or before.
    let members = match connection {
        AnyConnection::Sqlite(sqlite) => Some(Members::load(sqlite, tenant)?),
        AnyConnection::Postgres(_) => None,
    };
    let mut facts = Facts::default();
    for row in select.load_iter::<FactRow, DefaultLoadingMode>(connection)? {
        let (first, second) = row?;
        let (id, timestamp, device, application, connection_type, status) = first;
        let (ip_address, duration, session_id, network_type, signal_strength) = second;
        let (network_type, signal_strength) = match &members {
            Some(members) => {
                let text = network_type.as_deref().unwrap_or_default();
                members.find(id, text, session_id.as_deref())?
            }
            None => (network_type.map(Cow::Owned), signal_strength.map(Cow::Owned)),
        };
        let network_type = network_type.as_deref().and_then(text_of);
        let signal_strength = signal_strength.as_deref().and_then(number_of);
        facts.push(Seen {
            id,
            timestamp: timestamp.0,
            device: &device,
            application: &application,
            connection_type: &connection_type,
            status: &status,
            ip_address: ip_address.map(|ip| ip.0),
            duration,
            session_id,
            network_type,
            signal_strength,
        });
    }
    Ok(facts)
}

/// Finds the network type and the signal strength in the metadata of SQLite's rows.
struct Members {
    /// The places of both among the names of each shape.
    places: HashMap<u32, [Option<usize>; 2]>,
}

/// A member's JSON text, if the metadata has it.
type Json<'a> = Option<Cow<'a, str>>;

impl Members {
    fn load(connection: &mut SqliteConnection, tenant: TenantId) -> QueryResult<Self> {
        let shapes = texts::all(connection, tenant, texts::Kind::Shape)?;
        let places =
            |shape: &str| [NETWORK_TYPE, SIGNAL_STRENGTH].map(|name| place_of(shape, name));
        Ok(Members {
            places: shapes.iter().map(|(number, text)| (*number, places(text))).collect(),
        })
    }

    /// Both members of the metadata of event `id`.
    fn find<'a>(
        &self,
        id: i64,
        text: &'a str,
        session_id: Option<&'a str>,
    ) -> QueryResult<(Json<'a>, Json<'a>)> {
        let damaged = || diesel::result::Error::DeserializationError(Damaged(id).into());
        if !Packed::is_packed(text) {
            return Ok(members_of(text));
        }
        let packed = Packed::of(text, session_id).ok_or_else(damaged)?;
        if packed.shape == 0 {
            return Ok(members_of(packed.plain()));
        }
        let [network_type, signal_strength] = self.places.get(&packed.shape).ok_or_else(damaged)?;
        Ok((
            network_type.and_then(|place| packed.value(place)),
            signal_strength.and_then(|place| packed.value(place)),
        ))
    }
}

/// Their names as JSON strings.
const NETWORK_TYPE: &str = r#""network_type""#;
const SIGNAL_STRENGTH: &str = r#""signal_strength""#;

/// Both members of metadata. Most texts without them are told at a glance.
fn members_of<'a>(metadata: &'a str) -> (Json<'a>, Json<'a>) {
    if !metadata.contains(NETWORK_TYPE) && !metadata.contains(SIGNAL_STRENGTH) {
        return (None, None);
    }
    let members: Option<FactMetadata<'a>> = serde_json::from_str(metadata).ok();
    members.map_or((None, None), |members| {
        let text = |json: Option<&'a RawValue>| json.map(|json| Cow::Borrowed(json.get()));
        (text(members.network_type), text(members.signal_strength))
    })
}

/// The members of metadata that projections read, as their JSON texts.
#[derive(serde::Deserialize)]
struct FactMetadata<'a> {
    #[serde(borrow)]
    network_type: Option<&'a RawValue>,
    #[serde(borrow)]
    signal_strength: Option<&'a RawValue>,
}

impl<'a> From<&'a Record> for Seen<'a> {
    fn from(record: &'a Record) -> Self {
        let parts = record.event.fields();
        let (network_type, signal_strength) = members_of(&parts.metadata);
        Seen {
            id: record.id,
            timestamp: parts.timestamp,
            device: &parts.device_id,
            application: &parts.application_id,
            connection_type: &parts.connection_type,
            status: &parts.status,
            ip_address: parts.ip_address,
            duration: parts.duration,
            session_id: parts.session_id.clone(),
            network_type: network_type.as_deref().and_then(text_of),
            signal_strength: signal_strength.as_deref().and_then(number_of),
        }
    }
}

/// The string in a JSON text.
fn text_of(json: &str) -> Option<String> {
    let text: String = serde_json::from_str(json).ok()?;
    (text.chars().count() <= NETWORK_TYPE_CHARS_MAX).then_some(text)
}

/// The number in a JSON text.
fn number_of(json: &str) -> Option<f64> {
    json.parse().ok().filter(|number: &f64| number.is_finite())
}
