//! Turns at the writer's connection, for writes that are not appends.

use super::connection::AnyConnection;
use crate::error::StoreError;

/// Work for the writer's connection, between two groups.
pub(crate) type Turn = Box<dyn FnOnce(&mut AnyConnection) + Send>;

/// Hands turns to the one thread that owns the writer's connection.
pub(crate) trait Turns: Send + Sync {
    /// Adds a turn to the queue. Gives it back if it is refused.
    fn push(&self, turn: Turn) -> Result<(), Turn>;
}

/// Waits until its turn has run, and returns the result.
pub(super) fn take<T: Send + 'static>(
    turns: &dyn Turns,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let turn = Box::new(move |connection: &mut AnyConnection| {
        // A caller that no longer waits needs no answer.
        sender.send(work(connection)).ok();
    });
    let refused = || StoreError::unavailable("the writer takes no work at present");
    if turns.push(turn).is_err() {
        return Err(refused());
    }
    // A dropped turn closes the channel.
    receiver.recv().unwrap_or_else(|_| Err(refused()))
}
