//! Hours of the week in local time: when a `match` rule looks.

use chrono::{DateTime, Datelike as _, NaiveTime, Utc, Weekday};
use chrono_tz::Tz;

use crate::Timestamp;

/// Some hours of some days of the week, in a time zone. Hours that begin late and end early go on
/// past midnight, and belong to the day on which they began.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalHours {
    /// From the first until before the second; empty for all hours.
    pub(super) hours: Vec<(NaiveTime, NaiveTime)>,
    /// Empty for all days.
    pub(super) days: Vec<Weekday>,
    pub(super) zone: Tz,
}

/// The days' names, from Monday.
pub(super) const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];

impl LocalHours {
    /// Whether an instant lies in these hours.
    pub(super) fn contains(&self, at: Timestamp) -> bool {
        if self.hours.is_empty() && self.days.is_empty() {
            return true;
        }
        let local = DateTime::<Utc>::from(at).with_timezone(&self.zone);
        let (time, today) = (local.time(), local.weekday());
        let is_on = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        if self.hours.is_empty() {
            return is_on(today);
        }
        self.hours.iter().any(|(from, until)| {
            if from < until {
                is_on(today) && (*from..*until).contains(&time)
            } else {
                is_on(today) && time >= *from || is_on(today.pred()) && time < *until
            }
        })
    }
}

/// Reads `22:00-06:00`.
pub(super) fn span(text: &str) -> Option<(NaiveTime, NaiveTime)> {
    let (from, until) = text.split_once('-')?;
    let read = |text: &str| {
        let is_short = text.len() == 5 && text.is_ascii();
        is_short.then(|| NaiveTime::parse_from_str(text, "%H:%M").ok()).flatten()
    };
    let from = read(from)?;
    if until == "24:00" {
        // From midnight to midnight is all day.
        return Some((from, NaiveTime::MIN));
    }
    read(until).map(|until| (from, until)).filter(|(from, until)| from != until)
}

/// Writes `22:00-06:00`.
pub(super) fn text((from, until): (NaiveTime, NaiveTime)) -> String {
    if from == until {
        return "00:00-24:00".to_owned();
    }
    format!("{}-{}", from.format("%H:%M"), until.format("%H:%M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn hours_past_midnight_belong_to_the_day_on_which_they_began() {
        let hours = LocalHours {
            hours: vec![span("22:00-06:00").unwrap()],
            days: vec![Weekday::Fri],
            zone: Tz::Europe__Berlin,
        };
        // 2026-11-27 is a Friday; Berlin is an hour ahead of UTC.
        for (text, is_in) in [
            ("2026-11-27T20:59:59Z", false),
            ("2026-11-27T21:00:00Z", true),
            ("2026-11-28T04:59:59Z", true),
            ("2026-11-28T05:00:00Z", false),
            ("2026-11-28T22:00:00Z", false),
            ("2026-11-27T03:00:00Z", false),
        ] {
            assert_eq!(hours.contains(at(text)), is_in, "{text}");
        }
    }

    #[test]
    fn a_day_from_midnight_to_midnight_is_a_span() {
        let day = span("00:00-24:00").unwrap();
        assert_eq!(text(day), "00:00-24:00");
        let hours = LocalHours { hours: vec![day], days: vec![Weekday::Fri], zone: Tz::UTC };
        for (text, is_in) in [
            ("2026-11-26T23:59:59Z", false),
            ("2026-11-27T00:00:00Z", true),
            ("2026-11-27T23:59:59Z", true),
            ("2026-11-28T00:00:00Z", false),
        ] {
            assert_eq!(hours.contains(at(text)), is_in, "{text}");
        }
    }

    #[test]
    fn a_span_has_two_different_times() {
        for text in
            ["22:00", "22:00-", "22:00-22:00", "00:00-00:00", "25:00-26:00", "2:00-3:00", "22-23"]
        {
            assert_eq!(span(text), None, "{text}");
        }
        assert_eq!(span("18:00-24:00"), span("18:00-00:00"));
    }
}
