//! The plan of an answer: the source of each range of time, rows or single events.
//!
//! A question has a list of sources, the coarsest first. For each step of its calendar the plan
//! takes the rows of the first source that lie within the step; then rows of the next source for
//! the rest at the step's ends; and single events for times that no source covers. In a zone with
//! an offset of whole hours a local day is 24 rows of an hour; with an offset of half an hour its
//! ends are read from minutes, or from events.

use super::calendar::Calendar;
use super::level::Level;
use super::question::StatisticsQuery;

/// The kind of rows that an answer is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The cells of a level's rows.
    Cells(Level),
    /// The whole sums of rows of a device's day.
    DeviceDays,
}

impl Source {
    fn grain(self) -> i64 {
        match self {
            Source::Cells(level) => level.grain(),
            Source::DeviceDays => Level::DeviceDay.span(),
        }
    }
}

/// The sources that can answer a question, the coarsest first. Counts have coarser sources.
pub(super) fn ladder(query: &StatisticsQuery, counts_only: bool) -> &'static [Source] {
    use Source::{Cells, DeviceDays};
    let kinds = query.tells_kinds();
    match (query.tells_devices(), query.tells_applications()) {
        (true, false) if !kinds && counts_only => {
            &[Cells(Level::DevicesDay), Cells(Level::DevicesHour)]
        }
        (true, false) if !kinds => &[DeviceDays, Cells(Level::DeviceDay)],
        (true, _) => &[Cells(Level::DeviceDay)],
        (false, _) if kinds => &[Cells(Level::ApplicationHour)],
        (false, true) => {
            &[Cells(Level::Day), Cells(Level::ApplicationHour), Cells(Level::ApplicationMinutes)]
        }
        (false, false) => {
            &[Cells(Level::Day), Cells(Level::Hour), Cells(Level::ApplicationMinutes)]
        }
    }
}

/// Ranges of time, half-open, in their order.
pub(super) type Stretches = Vec<(i64, i64)>;

/// The ranges to read from each source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) rows: Vec<(Source, Stretches)>,
    pub(super) events: Stretches,
}

impl Plan {
    /// Makes the plan for that time.
    pub(super) fn of(calendar: Calendar, ladder: &[Source], since: i64, until: i64) -> Self {
        let mut left = steps(calendar, since, until);
        let mut rows = Vec::new();
        for source in ladder.iter().filter(|source| source.grain() <= calendar.row_max()) {
            let mut covered = Stretches::new();
            let mut uncovered = Stretches::new();
            for (since, until) in left {
                let (first, last) = aligned(since, until, source.grain());
                if first < last {
                    push(&mut uncovered, (since, first));
                    join(&mut covered, (first, last));
                    push(&mut uncovered, (last, until));
                } else {
                    push(&mut uncovered, (since, until));
                }
            }
            if !covered.is_empty() {
                rows.push((*source, covered));
            }
            left = uncovered;
        }
        let mut events = Stretches::new();
        left.into_iter().for_each(|stretch| join(&mut events, stretch));
        Plan { rows, events }
    }
}

/// Splits time at the bounds that rows must not cross.
fn steps(calendar: Calendar, since: i64, until: i64) -> Stretches {
    let mut steps = Stretches::new();
    if calendar.is_even() {
        push(&mut steps, (since, until));
        return steps;
    }
    let mut at = since;
    while at < until {
        let end = calendar.step(at).end.min(until);
        steps.push((at, end));
        at = end;
    }
    steps
}

/// The part of a range that whole rows cover.
fn aligned(since: i64, until: i64, grain: i64) -> (i64, i64) {
    let first = since.div_euclid(grain) + i64::from(since.rem_euclid(grain) > 0);
    (first * grain, until.div_euclid(grain) * grain)
}

fn push(stretches: &mut Stretches, stretch: (i64, i64)) {
    if stretch.0 < stretch.1 {
        stretches.push(stretch);
    }
}

/// Adds a range; two ranges that touch become one.
fn join(stretches: &mut Stretches, stretch: (i64, i64)) {
    match stretches.last_mut() {
        Some(last) if last.1 == stretch.0 => last.1 = stretch.1,
        _ => push(stretches, stretch),
    }
}

#[cfg(test)]
mod tests {
    use conn_log_core::Timestamp;
    use proptest::prelude::*;

    use super::super::calendar::Interval;
    use super::super::level::{DAY, HOUR, MINUTE};
    use super::*;

    const ALL: &[Source] = &[
        Source::Cells(Level::Day),
        Source::Cells(Level::Hour),
        Source::Cells(Level::ApplicationMinutes),
    ];
    const HOURS: &[Source] = &[Source::Cells(Level::ApplicationHour)];

    fn plan(zone: &str, interval: Interval, ladder: &[Source], since: &str, until: &str) -> Plan {
        let calendar = Calendar { interval: Some(interval), zone: zone.parse().unwrap() };
        let [since, until] = [since, until].map(|at| Timestamp::parse(at).unwrap().micros());
        Plan::of(calendar, ladder, since, until)
    }

    fn read(plan: &Plan) -> Vec<(Source, i64)> {
        let length = |stretches: &Stretches| stretches.iter().map(|(from, to)| to - from).sum();
        plan.rows.iter().map(|(source, stretches)| (*source, length(stretches))).collect()
    }

    #[test]
    fn days_of_utc_are_rows_of_a_day() {
        let plan = plan("UTC", Interval::Day, ALL, "2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z");
        assert_eq!(read(&plan), [(ALL[0], 31 * DAY)]);
        assert!(plan.events.is_empty());
    }

    #[test]
    fn local_days_are_rows_of_an_hour_read_in_one_go() {
        let (since, until) = ("2024-02-29T23:00:00Z", "2024-03-31T22:00:00Z");
        let plan = plan("Europe/Berlin", Interval::Day, ALL, since, until);
        assert_eq!(read(&plan), [(ALL[1], 31 * DAY - HOUR)]);
        assert_eq!(plan.rows[0].1.len(), 1);
    }

    #[test]
    fn local_weeks_are_days_with_hours_at_their_ends() {
        let (since, until) = ("2024-03-03T23:00:00Z", "2024-03-17T23:00:00Z");
        let plan = plan("Europe/Berlin", Interval::Week, ALL, since, until);
        assert_eq!(read(&plan), [(ALL[0], 12 * DAY), (ALL[1], 2 * 24 * HOUR)]);
    }

    #[test]
    fn days_that_begin_within_an_hour_have_minutes_or_events_at_their_ends() {
        let (since, until) = ("2024-03-03T18:30:00Z", "2024-03-05T18:30:00Z");
        let fine = plan("Asia/Kolkata", Interval::Day, ALL, since, until);
        assert_eq!(read(&fine), [(ALL[1], 46 * HOUR), (ALL[2], 2 * HOUR)]);
        assert!(fine.events.is_empty());
        let coarse = plan("Asia/Kolkata", Interval::Day, HOURS, since, until);
        assert_eq!(read(&coarse), [(HOURS[0], 46 * HOUR)]);
        let lengths: Vec<i64> = coarse.events.iter().map(|(from, to)| to - from).collect();
        assert_eq!(lengths, [30 * MINUTE, HOUR, 30 * MINUTE]);
    }

    #[test]
    fn a_step_is_never_read_from_rows_that_are_longer() {
        let span = ("2024-03-01T00:00:30Z", "2024-03-02T00:00:00Z");
        let plan = plan("UTC", Interval::FiveMinutes, ALL, span.0, span.1);
        assert_eq!(read(&plan), [(ALL[2], DAY - MINUTE)]);
        assert_eq!(plan.events.len(), 1);
    }

    proptest! {
        #[test]
        fn a_plan_reads_every_instant_once(
            zone in prop::sample::select(&["UTC", "Europe/Berlin", "Asia/Kolkata",
                "Australia/Lord_Howe", "Africa/Monrovia", "America/St_Johns"][..]),
            interval in prop::sample::select(&[Interval::Minute, Interval::Hour, Interval::Day,
                Interval::Week, Interval::Month][..]),
            since in 0..1_800_000_000_i64,
            length in 1..40_000_000_i64,
            ladder in prop::sample::select(&[ALL, HOURS][..]),
        ) {
            let calendar = Calendar { interval: Some(interval), zone: zone.parse().unwrap() };
            let (since, until) = (since * 1_000_000, (since + length) * 1_000_000);
            let plan = Plan::of(calendar, ladder, since, until);
            let mut all: Stretches = plan.events.clone();
            all.extend(plan.rows.iter().flat_map(|(_, stretches)| stretches));
            all.sort_unstable();
            prop_assert_eq!(all[0].0, since);
            prop_assert!(all.windows(2).all(|pair| pair[0].1 == pair[1].0));
            prop_assert_eq!(all[all.len() - 1].1, until);
            for (source, stretches) in &plan.rows {
                for (from, to) in stretches {
                    prop_assert_eq!((from.rem_euclid(source.grain()), to.rem_euclid(source.grain())), (0, 0));
                }
            }
        }
    }
}
