//! Counts the outcomes of a request's events, so that received = stored + duplicates + rejected.

use conn_log_store::{AppendError, Outcome};

use super::decision::Decisions;
use super::outcome::Counts;
use crate::running::metrics::{Metrics, Rejection};

/// Counts one request's events in the metrics.
pub(crate) struct Tally {
    metrics: Metrics,
    received: usize,
}

impl Tally {
    /// Counts the events as received.
    pub(crate) fn start(metrics: Metrics, received: usize) -> Self {
        metrics.received(received);
        Tally { metrics, received }
    }

    /// Counts the outcomes that the store returned.
    pub(crate) fn end(&self, decisions: &Decisions, outcome: &Result<Outcome, AppendError>) {
        match outcome {
            Ok(Outcome::Appended(appended)) => {
                self.count(Counts::of(decisions.outcomes(appended)));
            }
            // A repeated body has the same faults. The events stored the first time are duplicates
            // now.
            Ok(Outcome::Replayed(_)) => {
                let counts = Counts::of(decisions.outcomes(&[]));
                let duplicates = self.received - counts.rejected();
                self.count(Counts { duplicates, ..counts });
            }
            Ok(Outcome::KeyReused) => self.all_rejected(Rejection::KeyReused),
            Err(AppendError::Overloaded) => self.all_rejected(Rejection::Overloaded),
            Err(AppendError::Unavailable | AppendError::Closed) => {
                self.all_rejected(Rejection::Unavailable);
            }
            Err(AppendError::Internal) => self.all_rejected(Rejection::Internal),
        }
    }

    /// Counts all the events as rejected for one reason.
    pub(crate) fn all_rejected(&self, reason: Rejection) {
        self.metrics.rejected(reason, self.received);
    }

    fn count(&self, counts: Counts) {
        self.metrics.stored(counts.stored);
        self.metrics.duplicates(counts.duplicates);
        self.metrics.rejected(Rejection::NotBound, counts.forbidden);
        self.metrics.rejected(Rejection::InvalidBody, counts.faults_of_shape);
        self.metrics.rejected(Rejection::InvalidEvent, counts.faults_of_value);
        self.metrics.rejected(Rejection::EventIdConflict, counts.conflicts);
        self.metrics.rejected(Rejection::NotAttempted, counts.not_attempted);
    }
}
