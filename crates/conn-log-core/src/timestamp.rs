//! Instants: microseconds since 1970 in UTC, and their RFC 3339 text.
//!
//! This module reads no clock. Callers pass the current time in.

use std::fmt;

use chrono::{DateTime, Datelike as _, TimeDelta, Timelike as _, Utc};

/// An instant in UTC, to the microsecond.
///
/// PostgreSQL's `timestamptz` also keeps microseconds; finer digits are cut off, so that an event
/// reads back the same from every database.
///
/// ```
/// use conn_log_core::Timestamp;
///
/// let t = Timestamp::parse("2024-01-15T12:30:00.250+02:00").unwrap();
/// assert_eq!(t.to_string(), "2024-01-15T10:30:00.250Z");
/// assert_eq!(t.micros(), 1_705_314_600_250_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// The last microsecond of the year 9999, the latest that RFC 3339 can write.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);

    /// The first microsecond of the year 0, the earliest that RFC 3339 can write.
    pub const MIN: Timestamp = Timestamp(-62_167_219_200_000_000);

    /// The instant that many microseconds after 1970, limited to the years 0 to 9999.
    pub fn from_micros(micros: i64) -> Self {
        Timestamp(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Parses an RFC 3339 date-time, which must have an offset. `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        // chrono also accepts U+2212, the typographic minus sign, before an offset.
        if !text.is_ascii() {
            return None;
        }
        let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
        (!is_leap_second(time) || may_be_leap_second(time)).then(|| Self::from(time))
    }

    /// Microseconds since 1970; negative before.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// This instant moved by `delta`, limited to the years 0 to 9999.
    #[must_use]
    pub fn plus(self, delta: TimeDelta) -> Self {
        let micros = delta.num_microseconds().unwrap_or(if delta < TimeDelta::zero() {
            i64::MIN
        } else {
            i64::MAX
        });
        Self::from_micros(self.0.saturating_add(micros))
    }
}

/// chrono represents the second :60 as a second with more than a thousand million nanoseconds.
fn is_leap_second(time: DateTime<Utc>) -> bool {
    time.nanosecond() >= 1_000_000_000
}

/// Leap seconds are only at the end of a month in UTC (RFC 3339, section 5.7 and appendix D).
fn may_be_leap_second(time: DateTime<Utc>) -> bool {
    let is_last_of_day = time.hour() == 23 && time.minute() == 59;
    is_last_of_day && time.date_naive().succ_opt().is_some_and(|next| next.day() == 1)
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self::from_micros(time.timestamp_micros())
    }
}

impl From<Timestamp> for DateTime<Utc> {
    fn from(time: Timestamp) -> Self {
        DateTime::from_timestamp_micros(time.0).unwrap_or_default()
    }
}

impl Timestamp {
    /// RFC 3339 in UTC with `Z`; with a fraction of 3 or 6 digits, if it is not zero.
    pub fn text(self) -> TimeText {
        TimeText::of(self)
    }
}

/// [`Timestamp::text`].
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

/// The text of an instant: [`Timestamp::text`]. It takes no allocation.
// Written by hand, because each record has two.
#[derive(Clone, Copy, Debug)]
pub struct TimeText {
    bytes: [u8; 27],
    length: usize,
}

impl TimeText {
    fn of(time: Timestamp) -> Self {
        let time = DateTime::<Utc>::from(time).naive_utc();
        let micros = time.nanosecond() / 1_000;
        let mut bytes = *b"0000-00-00T00:00:00.000000Z";
        // No year is negative: see Timestamp::MIN.
        set_digits(&mut bytes[..4], time.year().unsigned_abs());
        set_digits(&mut bytes[5..7], time.month());
        set_digits(&mut bytes[8..10], time.day());
        set_digits(&mut bytes[11..13], time.hour());
        set_digits(&mut bytes[14..16], time.minute());
        set_digits(&mut bytes[17..19], time.second());
        set_digits(&mut bytes[20..26], micros);
        let end = match micros {
            0 => 19,
            micros if micros.is_multiple_of(1_000) => 23,
            _ => 26,
        };
        bytes[end] = b'Z';
        TimeText { bytes, length: end + 1 }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // All of it is ASCII.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

/// Writes a number that has at most so many digits.
fn set_digits(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use chrono::SecondsFormat;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fraction_is_written_only_where_there_is_one() {
        for text in
            ["2024-01-15T10:30:00Z", "2024-01-15T10:30:00.120Z", "2024-01-15T10:30:00.000001Z"]
        {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_time_without_an_offset_is_refused() {
        assert_eq!(Timestamp::parse("2024-01-15T10:30:00"), None);
    }

    #[test]
    fn a_leap_second_is_taken_at_the_end_of_a_month_only() {
        let taken = ["2016-12-31T23:59:60Z", "2017-01-01T00:59:60+01:00"].map(Timestamp::parse);
        assert_eq!(taken, [Timestamp::parse("2017-01-01T00:00:00Z"); 2]);
        for text in ["2024-01-15T10:29:60Z", "2016-12-30T23:59:60Z", "2016-12-31T23:59:60+01:00"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_offset_has_the_hyphen_of_ascii() {
        assert_eq!(Timestamp::parse("2024-01-15T10:30:00\u{2212}05:00"), None);
    }

    #[test]
    fn the_ends_of_the_range_can_be_written_and_read() {
        for end in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(Timestamp::parse(&end.to_string()), Some(end));
        }
    }

    proptest! {
        #[test]
        fn the_text_is_that_of_chrono(
            seconds in Timestamp::MIN.0 / 1_000_000..=Timestamp::MAX.0 / 1_000_000,
            micros in prop_oneof![
                Just(0),
                (0..1_000_i64).prop_map(|milli| milli * 1_000),
                0..1_000_000_i64,
            ],
        ) {
            let time = Timestamp::from_micros(seconds * 1_000_000 + micros);
            let expected =
                DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::AutoSi, true);
            prop_assert_eq!(time.to_string(), expected);
        }
    }
}
