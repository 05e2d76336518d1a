//! Turns errors of the core and the store into problems. No other place knows both.

use actix_web::error::BlockingError;
use actix_web::http::header;
use conn_log_core::alert::RuleFault;
use conn_log_core::{FaultKind, Faults, FilterError};
use conn_log_store::{AppendError, StatisticsError, StoreError};

use super::json_object::{self, Fault};
use super::problem::{Problem, ProblemKind};
use super::request_id;

/// The faults of one event.
impl From<&Faults> for Problem {
    fn from(faults: &Faults) -> Self {
        let errors: Vec<_> = Problem::errors("", faults).collect();
        let detail = match errors.len() {
            1 => "one fault".to_owned(),
            many if faults.may_be_more() => format!("{many} faults, and perhaps more"),
            many => format!("{many} faults"),
        };
        Problem::new(faults.kind().into(), detail).with_member("errors", &errors)
    }
}

impl From<FaultKind> for ProblemKind {
    fn from(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Forbidden => ProblemKind::NotBound,
            FaultKind::Shape => ProblemKind::InvalidBody,
            FaultKind::Value => ProblemKind::InvalidEvent,
        }
    }
}

/// The faults of a rule.
impl From<Vec<RuleFault>> for Problem {
    fn from(faults: Vec<RuleFault>) -> Self {
        let fault = |RuleFault { pointer, code, detail, kind }| Fault {
            pointer,
            code,
            detail: detail.into(),
            kind,
        };
        json_object::problem(faults.into_iter().map(fault).collect())
    }
}

/// An invalid filter.
impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Self {
        Problem::parameter(&error.parameter, error.code.as_str(), error.detail)
    }
}

/// A failed read, or a failed small write.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => unavailable(&cause),
            StoreError::NoConnection(cause) => no_connection(&cause),
            StoreError::QueryTimeout => Problem::new(
                ProblemKind::QueryTimeout,
                "add a filter on device_id, application_id, session_id or a window of time",
            )
            .with_header(header::RETRY_AFTER, "5"),
            StoreError::NotFound(what) => {
                Problem::new(ProblemKind::NotFound, format!("there is no such {what}"))
            }
            StoreError::Full(what) => {
                Problem::new(ProblemKind::NoRoom, format!("there is no room for another {what}"))
            }
            other @ (StoreError::NameTaken(_) | StoreError::Internal(_)) => {
                Problem::internal(&other)
            }
        }
    }
}

/// Statistics that could not be computed.
impl From<StatisticsError> for Problem {
    fn from(error: StatisticsError) -> Self {
        match error {
            StatisticsError::Store(error) => error.into(),
            StatisticsError::TooManyRows
            | StatisticsError::TooManyGroups
            | StatisticsError::TooManyEvents => {
                Problem::parameter("interval", "too_many", error.to_string())
            }
        }
    }
}

/// A failed append. In each case nothing was stored.
impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Overloaded => {
                Problem::overloaded("the queue of events waiting for the disk is full", 1)
            }
            AppendError::Unavailable => unavailable(&"the writer has no database"),
            AppendError::Closed => unavailable(&"the server is stopping"),
            AppendError::Internal => Problem::internal("the store could not take the events"),
        }
    }
}

/// Work on the blocking pool that ended early.
impl From<BlockingError> for Problem {
    fn from(error: BlockingError) -> Self {
        Problem::internal(&error)
    }
}

fn no_connection(cause: &dyn std::fmt::Display) -> Problem {
    log::debug!("{}: no connection for a read: {cause}", request_id::current());
    let detail = "the database has no connection free for reads; events are registered";
    Problem::new(ProblemKind::StoreUnavailable, detail).with_header(header::RETRY_AFTER, "5")
}

fn unavailable(cause: &dyn std::fmt::Display) -> Problem {
    // The store logs once that it is unavailable, so each request logs it at the debug level only.
    log::debug!("{}: store unavailable: {cause}", request_id::current());
    Problem::new(ProblemKind::StoreUnavailable, "the store cannot be reached at the moment")
        .with_header(header::RETRY_AFTER, "5")
}
