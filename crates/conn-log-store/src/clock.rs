//! The only place of this crate that asks what time it is.

use conn_log_core::Timestamp;

/// Now, to the microsecond.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(chrono::Utc::now())
}
