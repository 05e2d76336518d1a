//! The target of registered events: the store, except in tests and benchmarks of the code around
//! it.

use std::future::Future;
use std::pin::Pin;

use conn_log_store::{AppendError, Outcome, Store, Submission};

/// A pending append.
pub type Appending = Pin<Box<dyn Future<Output = Result<Outcome, AppendError>> + Send>>;

/// Appends events. [`Store`] is the implementation that keeps them.
pub trait Appender: Send + Sync {
    /// Like [`Store::append`]: the answer comes once it is known whether the events are on disk.
    fn append(&self, submission: Submission) -> Appending;
}

impl Appender for Store {
    fn append(&self, submission: Submission) -> Appending {
        let store = self.clone();
        Box::pin(async move { Store::append(&store, submission).await })
    }
}
