//! The partitions of the log on PostgreSQL: spans of `created_at`, created ahead of need, and on
//! demand by the writer.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc};
use conn_log_core::Timestamp;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::engine::types::{Instant, Micros};
use crate::error::StoreError;
use crate::options::PartitionSize;

/// From `start` up to and not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
}

impl Span {
    pub(crate) fn contains(self, time: Timestamp) -> bool {
        self.start <= time && time < self.end
    }

    /// The calendar span that contains a time.
    fn around(time: Timestamp, size: PartitionSize) -> Span {
        let day = DateTime::<Utc>::from(time).date_naive();
        let (start, end) = match size {
            PartitionSize::Day => (Some(day), day.checked_add_days(Days::new(1))),
            PartitionSize::Week => {
                let monday = day - Days::new(u64::from(day.weekday().num_days_from_monday()));
                (Some(monday), monday.checked_add_days(Days::new(7)))
            }
            PartitionSize::Month => {
                let first = day.with_day(1);
                (first, first.and_then(|first| first.checked_add_months(Months::new(1))))
            }
        };
        Span {
            start: start.map_or(Timestamp::MIN, midnight),
            end: end.map_or(Timestamp::MAX, midnight),
        }
    }
}

fn midnight(day: NaiveDate) -> Timestamp {
    Timestamp::from(day.and_time(NaiveTime::MIN).and_utc())
}

#[derive(QueryableByName)]
struct SpanRow {
    #[diesel(sql_type = Instant)]
    start: Micros,
    #[diesel(sql_type = Instant)]
    end: Micros,
}

/// The advisory lock for creating partitions: an arbitrary number, the same for every conn-log.
const ADVISORY_LOCK: i64 = 0x636f_6e6e_6c6f_6702;

/// Returns the partition for that time, and creates it if there is none.
///
/// It runs within the caller's transaction. Appends and reads of other sessions continue meanwhile:
/// attaching a finished table takes a weaker lock than creating a partition in place.
pub(crate) fn ensure_in_txn(
    postgres: &mut PgConnection,
    time: Timestamp,
    size: PartitionSize,
) -> Result<Span, StoreError> {
    if let Some(span) = existing(postgres)?.into_iter().find(|span| span.contains(time)) {
        return Ok(span);
    }
    postgres.batch_execute(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))?;
    // Another process may have created it while this one waited. And there may be partitions of
    // another size around it, if the size was changed.
    let mut span = Span::around(time, size);
    for other in existing(postgres)? {
        if other.contains(time) {
            return Ok(other);
        }
        if other.end <= time {
            span.start = span.start.max(other.end);
        } else {
            span.end = span.end.min(other.start);
        }
    }
    let name = format!("events_{}", DateTime::<Utc>::from(span.start).format("%Y%m%d"));
    // One command in a message: Citus accepts no more.
    postgres.batch_execute(&format!(
        "CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
    ))?;
    postgres.batch_execute(&format!(
        "ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('{}') TO ('{}')",
        span.start, span.end,
    ))?;
    log::info!("made the partition {name}, from {} to {}", span.start, span.end);
    Ok(span)
}

fn existing(postgres: &mut PgConnection) -> QueryResult<Vec<Span>> {
    const BOUNDS: &str = r"
        SELECT bound[1]::timestamptz AS start, bound[2]::timestamptz AS end
          FROM pg_inherits
          JOIN pg_class ON pg_class.oid = inhrelid,
               regexp_match(pg_get_expr(relpartbound, pg_class.oid),
                            'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS bound
         WHERE inhparent = $1::regclass AND bound IS NOT NULL";
    let rows: Vec<SpanRow> = diesel::sql_query(BOUNDS).bind::<Text, _>("events").load(postgres)?;
    Ok(rows.into_iter().map(|row| Span { start: row.start.0, end: row.end.0 }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(time: &str, size: PartitionSize) -> (String, String) {
        let span = Span::around(Timestamp::parse(time).unwrap(), size);
        (span.start.to_string(), span.end.to_string())
    }

    #[test]
    fn a_span_begins_at_midnight_and_ends_where_the_next_begins() {
        let time = "2024-02-29T23:59:59.999999Z";
        let day = |text: &str| format!("{text}T00:00:00Z");
        assert_eq!(around(time, PartitionSize::Day), (day("2024-02-29"), day("2024-03-01")));
        assert_eq!(around(time, PartitionSize::Week), (day("2024-02-26"), day("2024-03-04")));
        assert_eq!(around(time, PartitionSize::Month), (day("2024-02-01"), day("2024-03-01")));
    }
}
