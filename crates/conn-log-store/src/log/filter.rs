//! Turns an [`EventFilter`] into conditions on `events`.
//!
//! The databases need different SQL for one condition: the one on metadata.

use std::collections::BTreeMap;
use std::net::IpAddr;

use conn_log_core::{EventFilter, MetadataFilter};
use diesel::expression::{AppearsOnTable, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Bool, Nullable, Text};

use super::schema::events;
use crate::engine::{Dialect, Ip, Micros, MultiBackend, place_of};

/// One condition. It does not hold for NULL, as in a column without a value.
pub(crate) type Condition =
    Box<dyn BoxableExpression<events::table, MultiBackend, SqlType = Nullable<Bool>>>;

/// The conditions of a filter; all must hold.
///
/// `shapes` are the shapes of the log's metadata on SQLite, if the filter has metadata.
pub(crate) fn conditions(
    filter: &EventFilter,
    dialect: Dialect,
    shapes: &[(u32, String)],
) -> Vec<Condition> {
    let mut all: Vec<Condition> = Vec::new();
    if let Some(values) = any_of(&filter.device_ids) {
        all.push(Box::new(events::device_id.eq_any(values).nullable()));
    }
    if let Some(values) = any_of(&filter.application_ids) {
        all.push(Box::new(events::application_id.eq_any(values).nullable()));
    }
    if let Some(values) = any_of(&filter.connection_types) {
        all.push(Box::new(events::connection_type.eq_any(values).nullable()));
    }
    if let Some(values) = any_of(&filter.statuses) {
        all.push(Box::new(events::status.eq_any(values).nullable()));
    }
    if let Some(block) = filter.ip_network {
        // Both databases order addresses by family and then by bytes.
        let (first, last): (IpAddr, IpAddr) = (block.network(), block.broadcast());
        all.push(Box::new(events::ip_address.between(Ip(first), Ip(last))));
    }
    if let Some(values) = filter.session_id.as_ref().and_then(|id| any_of(std::slice::from_ref(id)))
    {
        all.push(Box::new(events::session_id.eq_any(values)));
    }
    if let Some(since) = filter.since {
        all.push(Box::new(events::timestamp.ge(Micros(since)).nullable()));
    }
    if let Some(until) = filter.until {
        all.push(Box::new(events::timestamp.lt(Micros(until)).nullable()));
    }
    for metadata in &filter.metadata {
        all.push(Box::new(MetadataIs::new(metadata, dialect, shapes)));
    }
    if let Some(seconds) = filter.min_duration {
        all.push(Box::new(events::duration.ge(seconds)));
    }
    if let Some(seconds) = filter.max_duration {
        all.push(Box::new(events::duration.le(seconds)));
    }
    all
}

/// `None` means all. No event holds a text with U+0000, and PostgreSQL accepts no such text.
fn any_of(values: &[String]) -> Option<Vec<String>> {
    let possible = values.iter().filter(|value| !value.contains('\0')).cloned().collect();
    (!values.is_empty()).then_some(possible)
}

/// The metadata has one of these JSON values at this path of member names.
struct MetadataIs {
    place: Place,
    /// Canonical JSON texts: the value as a JSON string, and as itself if it is a JSON scalar.
    candidates: Vec<String>,
}

/// Where the value is.
enum Place {
    Sqlite {
        /// Of the value in the whole metadata.
        path: String,
        /// Of the value within the member that the path begins with; `None` if it is the member.
        path_within: Option<String>,
        /// The numbers of the shapes that have the member, by its place among their names.
        shapes: BTreeMap<i64, Vec<u32>>,
    },
    /// The member names, from the outermost to the innermost.
    Postgres(Vec<String>),
}

impl MetadataIs {
    fn new(filter: &MetadataFilter, dialect: Dialect, shapes: &[(u32, String)]) -> Self {
        let names = filter.path.names();
        let place = match dialect {
            Dialect::Sqlite => {
                let path = |names: &[String]| {
                    let steps = names.iter().map(|name| format!(".{}", json_text(name)));
                    format!("${}", steps.collect::<String>())
                };
                let first = names.first().map(|name| json_text(name)).unwrap_or_default();
                let within = names.get(1..).unwrap_or_default();
                let mut by_place: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
                for (number, shape) in shapes {
                    if let Some(place) = place_of(shape, &first) {
                        let place = i64::try_from(place).unwrap_or(i64::MAX);
                        by_place.entry(place).or_default().push(*number);
                    }
                }
                Place::Sqlite {
                    path: path(names),
                    path_within: (!within.is_empty()).then(|| path(within)),
                    shapes: by_place,
                }
            }
            Dialect::Postgres => Place::Postgres(names.to_vec()),
        };
        let mut candidates = vec![json_text(&filter.value)];
        let is_scalar = matches!(filter.value.as_str(), "true" | "false" | "null")
            || filter.value.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if is_scalar
            && serde_json_canonicalizer::pipe(&filter.value).is_ok_and(|text| text == filter.value)
        {
            candidates.push(filter.value.clone());
        }
        let has_nul = |text: &String| text.contains('\0');
        if names.iter().any(has_nul) || has_nul(&filter.value) {
            candidates.clear();
        }
        MetadataIs { place, candidates }
    }
}

fn json_text(text: &str) -> String {
    // A string has no keys to sort and no numbers to format: this is already RFC 8785's form.
    serde_json::Value::from(text).to_string()
}

impl QueryFragment<MultiBackend> for MetadataIs {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        // The number of names and of candidates changes the statement.
        out.unsafe_to_cache_prepared();
        if self.candidates.is_empty() {
            out.push_sql("1 = 0");
            return Ok(());
        }
        out.push_sql("(");
        for (index, candidate) in self.candidates.iter().enumerate() {
            if index > 0 {
                out.push_sql(" OR ");
            }
            match &self.place {
                Place::Sqlite { path, path_within, shapes } => {
                    let place = (path.as_str(), path_within.as_deref(), shapes);
                    walk_sqlite(&mut out, place, candidate)?;
                }
                Place::Postgres(names) => {
                    out.push_sql("(events.metadata");
                    for name in names {
                        out.push_sql(" -> ");
                        out.push_bind_param::<Text, _>(name)?;
                    }
                    out.push_sql(") = ");
                    out.push_bind_param::<Text, _>(candidate)?;
                    out.push_sql("::text::jsonb");
                }
            }
        }
        out.push_sql(")");
        Ok(())
    }
}

/// The number of a row's shape: a cast takes the number at the beginning of a text, and 0 from a
/// JSON object.
const SHAPE: &str = "CAST(events.metadata AS INTEGER)";

/// One candidate on SQLite, whose rows may be packed
/// ([`Packed`](crate::engine::Packed)).
fn walk_sqlite<'b>(
    out: &mut AstPass<'_, 'b, MultiBackend>,
    (path, path_within, shapes): (&'b str, Option<&'b str>, &'b BTreeMap<i64, Vec<u32>>),
    candidate: &'b str,
) -> QueryResult<()> {
    let text = candidate.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    // A value stands in the column as it is, unless it is left out because it is the session id.
    // Looking for its text spares most rows the rest.
    out.push_sql("((instr(events.metadata, ");
    out.push_bind_param::<Text, _>(candidate)?;
    out.push_sql(")");
    if let Some(text) = text {
        out.push_sql(" OR events.session_id = ");
        out.push_bind_param::<Text, _>(text)?;
    }
    out.push_sql(") AND CASE WHEN ");
    out.push_sql(SHAPE);
    out.push_sql(" = 0 THEN (plain_metadata(events.metadata) -> ");
    out.push_bind_param::<Text, _>(path)?;
    out.push_sql(") = ");
    out.push_bind_param::<Text, _>(candidate)?;
    for (place, numbers) in shapes {
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        let value = format!("packed_value(events.metadata, {place})");
        out.push_sql(&format!(" WHEN {SHAPE} IN ({}) THEN ", numbers.join(", ")));
        match (path_within, text) {
            (Some(within), _) => {
                out.push_sql(&format!("(nullif({value}, '') -> "));
                out.push_bind_param::<Text, _>(within)?;
                out.push_sql(")");
            }
            (None, Some(_)) => out.push_sql(&format!(
                "coalesce(nullif({value}, ''), '\"' || events.session_id || '\"')"
            )),
            (None, None) => out.push_sql(&value),
        }
        out.push_sql(" = ");
        out.push_bind_param::<Text, _>(candidate)?;
    }
    out.push_sql(" END)");
    Ok(())
}

impl Expression for MetadataIs {
    type SqlType = Nullable<Bool>;
}
impl AppearsOnTable<events::table> for MetadataIs {}
impl SelectableExpression<events::table> for MetadataIs {}
impl ValidGrouping<()> for MetadataIs {
    type IsAggregate = is_aggregate::No;
}
impl QueryId for MetadataIs {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
