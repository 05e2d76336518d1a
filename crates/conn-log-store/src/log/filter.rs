//! Turns an [`EventFilter`] into conditions on `events`.
//!
//! The databases need different SQL for one condition: the one on metadata.

use std::net::IpAddr;

use conn_log_core::{EventFilter, MetadataFilter};
use diesel::expression::{AppearsOnTable, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Bool, Nullable, Text};

use super::schema::events;
use crate::engine::{Dialect, Ip, Micros, MultiBackend};

/// One condition. It does not hold for NULL, as in a column without a value.
pub(crate) type Condition =
    Box<dyn BoxableExpression<events::table, MultiBackend, SqlType = Nullable<Bool>>>;

/// The conditions of a filter; all must hold.
pub(crate) fn conditions(filter: &EventFilter, dialect: Dialect) -> Vec<Condition> {
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
        all.push(Box::new(MetadataIs::new(metadata, dialect)));
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
    dialect: Dialect,
    /// SQLite: one JSON path. PostgreSQL: the member names, from the outermost to the innermost.
    path: Vec<String>,
    /// Canonical JSON texts: the value as a JSON string, and as itself if it is a JSON scalar.
    candidates: Vec<String>,
}

impl MetadataIs {
    fn new(filter: &MetadataFilter, dialect: Dialect) -> Self {
        let path = match dialect {
            Dialect::Sqlite => {
                let steps = filter.path.names().iter().map(|name| format!(".{}", json_text(name)));
                vec![format!("${}", steps.collect::<String>())]
            }
            Dialect::Postgres => filter.path.names().to_vec(),
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
        if filter.path.names().iter().any(has_nul) || has_nul(&filter.value) {
            candidates.clear();
        }
        MetadataIs { dialect, path, candidates }
    }
}

fn json_text(text: &str) -> String {
    // A string has no keys to sort and no numbers to format: this is already RFC 8785's form.
    serde_json::Value::from(text).to_string()
}

/// The metadata of a row on SQLite, as JSON. A cast takes the number at the beginning of a packed
/// text, and 0 from a JSON object.
const UNPACKED: &str = "(unpack_metadata(events.metadata, (SELECT text FROM texts \
    WHERE texts.tenant_id = events.tenant_id AND kind = 1 \
        AND number = CAST(events.metadata AS INTEGER)), events.session_id)";

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
            out.push_sql("(");
            if self.dialect == Dialect::Sqlite {
                // A value stands in the column as it is, unless it is left out as the session id:
                // looking for it first spares most rows the rest.
                out.push_sql("(instr(events.metadata, ");
                out.push_bind_param::<Text, _>(candidate)?;
                out.push_sql(") OR '\"' || events.session_id || '\"' = ");
                out.push_bind_param::<Text, _>(candidate)?;
                out.push_sql(") AND ");
            }
            out.push_sql(match self.dialect {
                Dialect::Sqlite => UNPACKED,
                Dialect::Postgres => "(events.metadata",
            });
            for step in &self.path {
                out.push_sql(" -> ");
                out.push_bind_param::<Text, _>(step)?;
            }
            out.push_sql(") = ");
            out.push_bind_param::<Text, _>(candidate)?;
            if self.dialect == Dialect::Postgres {
                out.push_sql("::text::jsonb");
            }
            out.push_sql(")");
        }
        out.push_sql(")");
        Ok(())
    }
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
