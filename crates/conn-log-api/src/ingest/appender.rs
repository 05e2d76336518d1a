//! Where registered events go: the store, but for tests and measurements of all that is around it.

use std::future::Future;
use std::pin::Pin;

use conn_log_store::{AppendError, Outcome, Store, Submission};

/// An append on its way.
pub type Appending = Pin<Box<dyn Future<Output = Result<Outcome, AppendError>> + Send>>;

/// Takes events in. [`Store`] is the one that keeps them.
pub trait Appender: Send + Sync {
    /// As [`Store::append`]: the answer comes once the events are on disk, or known not to be.
    fn append(&self, submission: Submission) -> Appending;
}

impl Appender for Store {
    fn append(&self, submission: Submission) -> Appending {
        let store = self.clone();
        Box::pin(async move { Store::append(&store, submission).await })
    }
}
