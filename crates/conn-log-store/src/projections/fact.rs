//! Facts: what the projections read of an event, and runs of them from the log.

use std::net::IpAddr;

use conn_log_core::{Record, Timestamp};
use diesel::connection::DefaultLoadingMode;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};
use foldhash::HashMap;
use serde_json::value::RawValue;

use super::names::Names;
use crate::connection::AnyConnection;
use crate::schema::events;
use crate::tenants::TenantId;
use crate::types::{Ip, Micros};

/// One event, as far as projections look at it. Its names are numbers, see [`Names`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fact {
    pub(crate) id: i64,
    pub(crate) timestamp: Timestamp,
    pub(crate) device: i32,
    pub(crate) application: i32,
    pub(crate) connection_type: i32,
    pub(crate) status: i32,
    /// Of `metadata.network_type`, where it is a text of a name's length; else 0.
    pub(crate) network_type: i32,
    /// What the type says, where projections know it.
    pub(crate) step: Option<Step>,
    /// Whether the status is `success`.
    pub(crate) is_success: bool,
    pub(crate) ip_address: Option<IpAddr>,
    /// Seconds.
    pub(crate) duration: Option<f64>,
    pub(crate) session_id: Option<String>,
    /// `metadata.signal_strength`, where it is a number.
    pub(crate) signal_strength: Option<f64>,
}

/// The connection types that a connection's state depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The place of an event in time: of two at one instant, the one registered later comes later.
pub(crate) type Place = (Timestamp, i64);

impl Fact {
    pub(crate) fn place(&self) -> Place {
        (self.timestamp, self.id)
    }
}

/// What a name is of. Those that few events share come first: they get the small numbers, which take the
/// fewest bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Kind,
    Application,
    Device,
}

/// The names in a run, each once, and at which place.
#[derive(Debug, Default)]
struct Texts(HashMap<String, (i32, Role)>);

impl Texts {
    fn place(&mut self, text: &str, role: Role) -> i32 {
        if let Some((place, known)) = self.0.get_mut(text) {
            *known = role.min(*known);
            return *place;
        }
        // No run has as many names.
        let place = i32::try_from(self.0.len()).unwrap_or(i32::MAX);
        self.0.insert(text.to_owned(), (place, role));
        place
    }
}

/// Events in the order of the log, whose names have no numbers yet.
#[derive(Debug, Default)]
pub(crate) struct Run {
    texts: Texts,
    /// With places among the texts where numbers belong.
    facts: Vec<Fact>,
}

impl Run {
    /// Of records from the log.
    pub(crate) fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut run = Run::default();
        for record in records {
            run.push(Seen::from(record));
        }
        run
    }

    /// The last one's id.
    pub(crate) fn last_id(&self) -> Option<i64> {
        self.facts.last().map(|fact| fact.id)
    }

    /// Every name in it, each once, in the order in which they are to be given numbers.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<(Role, &str)> =
            self.texts.0.iter().map(|(text, (_, role))| (*role, text.as_str())).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, text)| text).collect()
    }

    /// The events, with those numbers. Every name was looked up before.
    pub(crate) fn numbered(self, names: &Names) -> Vec<Fact> {
        let mut numbers = vec![0; self.texts.0.len()];
        for (text, (place, _)) in &self.texts.0 {
            if let Ok(place) = usize::try_from(*place) {
                numbers[place] = names.number(text);
            }
        }
        let number = |place: &mut i32| {
            let index = usize::try_from(*place).ok();
            *place = index.and_then(|index| numbers.get(index)).copied().unwrap_or(0);
        };
        let mut facts = self.facts;
        for fact in &mut facts {
            number(&mut fact.device);
            number(&mut fact.application);
            number(&mut fact.connection_type);
            number(&mut fact.status);
            number(&mut fact.network_type);
        }
        facts
    }

    fn push(&mut self, seen: Seen<'_>) {
        let texts = &mut self.texts;
        let network_type = seen.network_type.as_deref();
        self.facts.push(Fact {
            id: seen.id,
            timestamp: seen.timestamp,
            device: texts.place(seen.device, Role::Device),
            application: texts.place(seen.application, Role::Application),
            connection_type: texts.place(seen.connection_type, Role::Kind),
            status: texts.place(seen.status, Role::Kind),
            network_type: network_type.map_or(NO_PLACE, |text| texts.place(text, Role::Kind)),
            step: Step::of(seen.connection_type),
            is_success: seen.status == "success",
            ip_address: seen.ip_address,
            duration: seen.duration,
            session_id: seen.session_id,
            signal_strength: seen.signal_strength,
        });
    }
}

/// Where a run has no name.
const NO_PLACE: i32 = -1;

/// An event as it is read, its names beside it.
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
) -> QueryResult<Run> {
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
    let select = events::table
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
        ));
    let mut run = Run::default();
    for row in select.load_iter::<FactRow, DefaultLoadingMode>(connection)? {
        let (first, second) = row?;
        let (id, timestamp, device, application, connection_type, status) = first;
        let (ip_address, duration, session_id, network_type, signal_strength) = second;
        run.push(Seen {
            id,
            timestamp: timestamp.0,
            device: &device,
            application: &application,
            connection_type: &connection_type,
            status: &status,
            ip_address: ip_address.map(|ip| ip.0),
            duration,
            session_id,
            network_type: network_type.as_deref().and_then(text_of),
            signal_strength: signal_strength.as_deref().and_then(number_of),
        });
    }
    Ok(run)
}

/// The members of metadata that projections read, as their JSON texts.
#[derive(serde::Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    network_type: Option<&'a RawValue>,
    #[serde(borrow)]
    signal_strength: Option<&'a RawValue>,
}

impl<'a> From<&'a Record> for Seen<'a> {
    fn from(record: &'a Record) -> Self {
        let parts = record.event.parts();
        let members: Option<Members<'_>> = serde_json::from_str(&parts.metadata).ok();
        let (network_type, signal_strength) =
            members.map_or((None, None), |members| (members.network_type, members.signal_strength));
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
