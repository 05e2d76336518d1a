//! The calendar: the starts of an interval's steps in a time zone.
//!
//! Hours, days, weeks and months follow the zone's local time. Steps of minutes are counted in UTC:
//! since 1979 the offset of every zone is a multiple of a quarter of an hour, so that these steps
//! begin at the same instants in local time.
//!
//! Steps follow each other without a gap. An hour in which the clocks change ends at the change. A
//! day begins at the first instant of its date, which is later than midnight if the clocks skip
//! midnight.

use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike as _, Days, Months, NaiveDate, NaiveTime, Offset as _, TimeZone as _,
};
use chrono_tz::{GapInfo, Tz};

use super::level::{DAY, HOUR, MINUTE};

/// The width of an answer's steps in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// A minute.
    Minute,
    /// Five minutes.
    FiveMinutes,
    /// A quarter of an hour.
    QuarterHour,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week, which begins on Monday.
    Week,
    /// A month.
    Month,
}

/// A time zone of the IANA database; UTC by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Default for Zone {
    fn default() -> Self {
        Zone(Tz::UTC)
    }
}

/// Error: no zone of the IANA database has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no time zone has that name")]
pub struct UnknownZone;

/// Reads an IANA name, such as `Europe/Berlin`.
impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        name.parse().map(Zone).map_err(|_| UnknownZone)
    }
}

/// Its IANA name.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl Zone {
    /// The offset of local time from UTC at an instant, in microseconds.
    fn offset(self, micros: i64) -> i64 {
        let at = instant(micros).naive_utc();
        i64::from(self.0.offset_from_utc_datetime(&at).fix().local_minus_utc()) * 1_000_000
    }

    fn date(self, micros: i64) -> NaiveDate {
        instant(micros).with_timezone(&self.0).date_naive()
    }

    /// The first instant of a date; for a date that clocks skip, the first instant after it.
    fn begin(self, date: NaiveDate) -> i64 {
        let midnight = date.and_time(NaiveTime::MIN);
        let found = self.0.from_local_datetime(&midnight).earliest();
        let found = found.or_else(|| GapInfo::new(&midnight, &self.0)?.end);
        found.map_or_else(|| midnight.and_utc().timestamp_micros(), |at| at.timestamp_micros())
    }

    /// The first instant after `from`, up to `to`, at which the offset is the same as at `to`.
    fn change(self, from: i64, to: i64) -> i64 {
        let (mut before, mut after) = (from, to);
        let offset = self.offset(to);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.offset(middle) == offset { after = middle } else { before = middle }
        }
        after
    }
}

fn instant(micros: i64) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// One step: its first instant, and the first instant after it, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Step {
    const ALL_TIME: Step = Step { start: i64::MIN, end: i64::MAX };

    pub(super) fn contains(self, micros: i64) -> bool {
        (self.start..self.end).contains(&micros)
    }
}

/// The steps of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    pub(super) interval: Option<Interval>,
    pub(super) zone: Zone,
}

impl Calendar {
    /// The step that contains an instant.
    pub(super) fn step(self, micros: i64) -> Step {
        match self.interval {
            None => Step::ALL_TIME,
            Some(Interval::Minute) => even(micros, MINUTE),
            Some(Interval::FiveMinutes) => even(micros, 5 * MINUTE),
            Some(Interval::QuarterHour) => even(micros, 15 * MINUTE),
            Some(Interval::Hour) if self.zone == Zone::default() => even(micros, HOUR),
            Some(Interval::Day) if self.zone == Zone::default() => even(micros, DAY),
            Some(Interval::Hour) => self.hour(micros),
            Some(interval @ (Interval::Day | Interval::Week | Interval::Month)) => {
                self.days(interval, micros)
            }
        }
    }

    fn hour(self, micros: i64) -> Step {
        let offset = self.zone.offset(micros);
        let start = even(micros + offset, HOUR).start - offset;
        let mut step = Step { start, end: start + HOUR };
        if self.zone.offset(step.start) != offset {
            step.start = self.zone.change(step.start, micros);
        }
        if self.zone.offset(step.end - 1) != offset {
            step.end = self.zone.change(micros, step.end - 1);
        }
        step
    }

    fn days(self, interval: Interval, micros: i64) -> Step {
        let date = self.zone.date(micros);
        let first = match interval {
            Interval::Week => date - Days::new(u64::from(date.weekday().num_days_from_monday())),
            Interval::Month => date.with_day(1).unwrap_or(date),
            _ => date,
        };
        let next = |date: NaiveDate| match interval {
            Interval::Week => date + Days::new(7),
            Interval::Month => date + Months::new(1),
            _ => date + Days::new(1),
        };
        let mut following = next(first);
        let mut step = Step { start: self.zone.begin(first), end: self.zone.begin(following) };
        // If clocks are set back over midnight a date occurs twice: its second part belongs to the
        // next day.
        while step.end <= micros {
            following = next(following);
            step = Step { start: step.end, end: self.zone.begin(following) };
        }
        step
    }

    /// Whether every row that is not longer than a step lies within one step: true if steps begin
    /// at multiples of their width, or, for weeks and months, of a day.
    pub(super) fn is_even(self) -> bool {
        match self.interval {
            None | Some(Interval::Minute | Interval::FiveMinutes | Interval::QuarterHour) => true,
            Some(_) => self.zone == Zone::default(),
        }
    }

    /// The longest row that may lie within a step.
    pub(super) fn row_max(self) -> i64 {
        match self.interval {
            Some(Interval::Minute) => MINUTE,
            Some(Interval::FiveMinutes) => 5 * MINUTE,
            Some(Interval::QuarterHour) => 15 * MINUTE,
            Some(Interval::Hour) => HOUR,
            None | Some(Interval::Day | Interval::Week | Interval::Month) => DAY,
        }
    }
}

fn even(micros: i64, width: i64) -> Step {
    let start = micros.div_euclid(width) * width;
    Step { start, end: start + width }
}

#[cfg(test)]
mod tests {
    use conn_log_core::Timestamp;

    use super::*;

    fn step(zone: &str, interval: Interval, at: &str) -> (String, i64) {
        let calendar = Calendar { interval: Some(interval), zone: zone.parse().unwrap() };
        let micros = Timestamp::parse(at).unwrap().micros();
        let step = calendar.step(micros);
        assert!(step.contains(micros), "{step:?}");
        // The next step begins at its end.
        assert_eq!(calendar.step(step.end).start, step.end);
        assert_eq!(calendar.step(step.start - 1).end, step.start);
        (Timestamp::from_micros(step.start).to_string(), (step.end - step.start) / MINUTE)
    }

    fn is(zone: &str, interval: Interval, at: &str, start: &str, minutes: i64) {
        assert_eq!(step(zone, interval, at), (start.to_owned(), minutes), "{zone} {at}");
    }

    #[test]
    fn days_are_23_and_25_hours_long_where_clocks_change() {
        let day = Interval::Day;
        is("Europe/Berlin", day, "2024-03-31T12:00:00Z", "2024-03-30T23:00:00Z", 23 * 60);
        is("Europe/Berlin", day, "2024-10-27T12:00:00Z", "2024-10-26T22:00:00Z", 25 * 60);
        is("Europe/Berlin", day, "2024-07-01T22:00:00Z", "2024-07-01T22:00:00Z", 24 * 60);
        is(
            "Australia/Lord_Howe",
            day,
            "2024-04-06T14:00:00Z",
            "2024-04-06T13:00:00Z",
            24 * 60 + 30,
        );
        is(
            "Australia/Lord_Howe",
            day,
            "2024-10-05T14:00:00Z",
            "2024-10-05T13:30:00Z",
            24 * 60 - 30,
        );
        is("Asia/Kathmandu", day, "2024-01-15T00:00:00Z", "2024-01-14T18:15:00Z", 24 * 60);
        is("UTC", day, "2024-03-31T12:00:00Z", "2024-03-31T00:00:00Z", 24 * 60);
    }

    #[test]
    fn a_day_without_midnight_begins_when_its_clocks_do() {
        // Clocks go from 00:00 to 01:00.
        is("Africa/Cairo", Interval::Day, "2024-04-26T12:00:00Z", "2024-04-25T22:00:00Z", 23 * 60);
        // Samoa had no 30th of December.
        is("Pacific/Apia", Interval::Day, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", 24 * 60);
        // Clocks go from 00:01 back to 23:01: the repeated hour belongs to the day that had begun.
        is(
            "America/St_Johns",
            Interval::Day,
            "2010-11-07T02:45:00Z",
            "2010-11-07T02:30:00Z",
            25 * 60,
        );
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let (week, month) = (Interval::Week, Interval::Month);
        is("Europe/Berlin", week, "2024-03-31T20:00:00Z", "2024-03-24T23:00:00Z", 7 * 1_440 - 60);
        is("Europe/Berlin", month, "2024-03-31T22:00:00Z", "2024-03-31T22:00:00Z", 30 * 1_440);
        is("Europe/Berlin", month, "2024-03-15T00:00:00Z", "2024-02-29T23:00:00Z", 31 * 1_440 - 60);
        is("UTC", week, "1970-01-01T00:00:00Z", "1969-12-29T00:00:00Z", 7 * 1_440);
        is("UTC", month, "2024-12-31T23:59:59Z", "2024-12-01T00:00:00Z", 31 * 1_440);
    }

    #[test]
    fn an_hour_begins_by_the_clocks_and_ends_where_they_change() {
        let hour = Interval::Hour;
        is("Asia/Kolkata", hour, "2024-01-15T10:00:00Z", "2024-01-15T09:30:00Z", 60);
        // Clocks go from 02:00 (+11:00) back to 01:30 (+10:30).
        is("Australia/Lord_Howe", hour, "2024-04-06T14:59:00Z", "2024-04-06T14:00:00Z", 60);
        is("Australia/Lord_Howe", hour, "2024-04-06T15:29:00Z", "2024-04-06T15:00:00Z", 30);
        // Clocks go from 02:00 (+10:30) to 02:30 (+11:00).
        is("Australia/Lord_Howe", hour, "2024-10-05T15:30:00Z", "2024-10-05T15:30:00Z", 30);
        is("Europe/Berlin", hour, "2024-10-27T01:30:00Z", "2024-10-27T01:00:00Z", 60);
        is(
            "Asia/Kolkata",
            Interval::QuarterHour,
            "2024-01-15T10:50:00Z",
            "2024-01-15T10:45:00Z",
            15,
        );
    }

    #[test]
    fn a_name_is_one_of_the_database() {
        assert_eq!("UTC".parse(), Ok(Zone::default()));
        for name in ["", "Mars", "europe/berlin", "+02:00", "Europe/Berlin "] {
            assert_eq!(name.parse::<Zone>(), Err(UnknownZone), "{name}");
        }
    }
}
