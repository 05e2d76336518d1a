//! The outcomes of events, independent of HTTP.

use conn_log_core::{FaultKind, Record};
use conn_log_store::Appended;

use super::rejection::Rejection;

/// The outcome of one event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EventOutcome<'a> {
    /// The event is in the log.
    Stored(&'a Record),
    /// The event was in the log before, and was not stored again.
    Duplicate(&'a Record),
    /// The event has faults.
    Rejected(&'a Rejection),
    /// The event's `event_id` belongs to another event: to the one with this id, or to an event of
    /// the same atomic batch.
    Conflict(Option<i64>),
    /// Another event of its atomic batch is refused.
    NotAttempted,
}

impl<'a> From<&'a Appended> for EventOutcome<'a> {
    fn from(appended: &'a Appended) -> Self {
        match appended {
            Appended::Stored(record) => EventOutcome::Stored(record),
            Appended::Duplicate(record) => EventOutcome::Duplicate(record),
            Appended::Conflict(first) => EventOutcome::Conflict(*first),
            Appended::NotAttempted => EventOutcome::NotAttempted,
        }
    }
}

/// The outcome of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchOutcome {
    /// Every event is in the log and was not there before.
    Stored,
    /// Every event was in the log before.
    Duplicates,
    /// The events have different outcomes.
    Mixed,
    /// No event is in the log: all faults are of shape, or some are of value. A conflict, and an
    /// event that its client may not register, count as faults of value.
    Rejected(FaultKind),
}

/// The number of events for each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) stored: usize,
    pub(crate) duplicates: usize,
    pub(crate) forbidden: usize,
    pub(crate) faults_of_shape: usize,
    pub(crate) faults_of_value: usize,
    pub(crate) conflicts: usize,
    pub(crate) not_attempted: usize,
}

impl Counts {
    pub(crate) fn of<'a>(outcomes: impl Iterator<Item = (usize, EventOutcome<'a>)>) -> Self {
        let mut counts = Counts::default();
        for (_, outcome) in outcomes {
            *counts.count_of(outcome) += 1;
        }
        counts
    }

    fn count_of(&mut self, outcome: EventOutcome<'_>) -> &mut usize {
        match outcome {
            EventOutcome::Stored(_) => &mut self.stored,
            EventOutcome::Duplicate(_) => &mut self.duplicates,
            EventOutcome::Rejected(Rejection { kind: FaultKind::Forbidden, .. }) => {
                &mut self.forbidden
            }
            EventOutcome::Rejected(Rejection { kind: FaultKind::Shape, .. }) => {
                &mut self.faults_of_shape
            }
            EventOutcome::Rejected(Rejection { kind: FaultKind::Value, .. }) => {
                &mut self.faults_of_value
            }
            EventOutcome::Conflict(_) => &mut self.conflicts,
            EventOutcome::NotAttempted => &mut self.not_attempted,
        }
    }

    /// The number of events that are not in the log.
    pub(crate) fn rejected(&self) -> usize {
        self.forbidden
            + self.faults_of_shape
            + self.faults_of_value
            + self.conflicts
            + self.not_attempted
    }

    /// The outcome of a batch with these counts.
    pub(crate) fn batch(&self) -> BatchOutcome {
        match (self.stored, self.duplicates, self.rejected()) {
            (1.., 0, 0) => BatchOutcome::Stored,
            (0, _, 0) => BatchOutcome::Duplicates,
            (0, 0, _) if self.forbidden + self.faults_of_value + self.conflicts == 0 => {
                BatchOutcome::Rejected(FaultKind::Shape)
            }
            (0, 0, _) => BatchOutcome::Rejected(FaultKind::Value),
            _ => BatchOutcome::Mixed,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::stored([2, 0, 0, 0, 0], BatchOutcome::Stored)]
    #[case::repeated([0, 2, 0, 0, 0], BatchOutcome::Duplicates)]
    #[case::some_repeated([1, 1, 0, 0, 0], BatchOutcome::Mixed)]
    #[case::some_rejected([1, 0, 1, 0, 0], BatchOutcome::Mixed)]
    #[case::repeated_or_rejected([0, 1, 0, 1, 0], BatchOutcome::Mixed)]
    #[case::of_shape([0, 0, 2, 0, 0], BatchOutcome::Rejected(FaultKind::Shape))]
    #[case::of_both([0, 0, 1, 1, 0], BatchOutcome::Rejected(FaultKind::Value))]
    #[case::atomic([0, 0, 1, 0, 7], BatchOutcome::Rejected(FaultKind::Shape))]
    fn the_outcome_of_a_batch_follows_from_its_counts(
        #[case] counts: [usize; 5],
        #[case] expected: BatchOutcome,
    ) {
        let [stored, duplicates, faults_of_shape, faults_of_value, not_attempted] = counts;
        let counts = Counts {
            stored,
            duplicates,
            forbidden: 0,
            faults_of_shape,
            faults_of_value,
            not_attempted,
            conflicts: 0,
        };
        assert_eq!(counts.batch(), expected);
    }

    #[rstest]
    #[case::beside_what_is_stored(Counts { stored: 1, ..Counts::default() }, BatchOutcome::Mixed)]
    #[case::beside_a_repeat(Counts { duplicates: 1, ..Counts::default() }, BatchOutcome::Mixed)]
    #[case::alone(Counts::default(), BatchOutcome::Rejected(FaultKind::Value))]
    #[case::beside_a_shape(
        Counts { faults_of_shape: 1, ..Counts::default() },
        BatchOutcome::Rejected(FaultKind::Value)
    )]
    #[case::atomic(
        Counts { not_attempted: 1, ..Counts::default() },
        BatchOutcome::Rejected(FaultKind::Value)
    )]
    fn a_conflict_is_refused_beside_others(#[case] others: Counts, #[case] expected: BatchOutcome) {
        assert_eq!(Counts { conflicts: 1, ..others }.batch(), expected);
    }

    #[rstest]
    #[case::alone(Counts::default(), BatchOutcome::Rejected(FaultKind::Value))]
    #[case::beside_a_shape(
        Counts { faults_of_shape: 1, ..Counts::default() },
        BatchOutcome::Rejected(FaultKind::Value)
    )]
    #[case::beside_what_is_stored(Counts { stored: 1, ..Counts::default() }, BatchOutcome::Mixed)]
    fn an_event_of_another_device_is_refused_beside_others(
        #[case] others: Counts,
        #[case] expected: BatchOutcome,
    ) {
        assert_eq!(Counts { forbidden: 1, ..others }.batch(), expected);
    }
}
