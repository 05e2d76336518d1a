//! Objects that are created once, however often their request is sent: the object and the request's
//! idempotency key are stored in one transaction.
//!
//! These keys are rows of [`Kind::Object`]. A transaction that decides by them holds the tenant's
//! control lock.

use std::time::Duration;

use conn_log_core::Timestamp;

use crate::clock::{delta, now};
use crate::engine::{AnyConnection, Engine, Micros};
use crate::error::StoreError;
use crate::log::idempotency::{self, Kind, NewKey, Remembered};
use crate::tenant_id::TenantId;

/// The idempotency key of a request, and what the request was.
#[derive(Clone, Debug)]
pub struct OnceKey {
    /// 1 to 255 visible ASCII characters, chosen by the client.
    pub key: String,
    /// A hash of the request's address and body.
    pub fingerprint: [u8; 32],
}

/// A key, and the way to make the answer that is kept for a repeat.
#[derive(Clone, Debug)]
pub struct Once<T> {
    /// The key.
    pub key: OnceKey,
    /// Makes the answer from the new object.
    pub answer: fn(&T) -> Vec<u8>,
}

/// What became of a request with a key that was used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// It is the same request: the answer that was kept.
    Replayed(Vec<u8>),
    /// It is another request.
    KeyReused,
}

/// What became of a request to create an object.
#[derive(Clone, Debug)]
pub enum Created<T> {
    /// The new object.
    New(T),
    /// None was created, because the key was used before.
    Repeated(Repeated),
}

impl<T> Created<T> {
    /// The new object of a request without a key.
    ///
    /// # Errors
    /// None is known: such a request repeats nothing.
    pub(crate) fn into_new(self) -> Result<T, StoreError> {
        match self {
            Created::New(object) => Ok(object),
            Created::Repeated(_) => Err(StoreError::internal("nothing was created")),
        }
    }
}

/// What became of the request that used a key before, if there was one within the window.
pub(crate) fn find(
    engine: &Engine,
    tenant: TenantId,
    key: &OnceKey,
    window: Duration,
) -> Result<Option<Repeated>, StoreError> {
    let connection = &mut *engine.reader_of(tenant)?;
    let found = idempotency::find(connection, tenant, Kind::Object, &key.key, since(window))?;
    Ok(found.map(|row| repeated(key, row)))
}

/// Creates an object by `create` and keeps the key, unless the key was used before. Takes the
/// tenant's lock for control.
pub(crate) fn create_in_txn<T>(
    connection: &mut AnyConnection,
    tenant: TenantId,
    once: Option<&Once<T>>,
    window: Duration,
    create: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<Created<T>, StoreError> {
    connection.lock_control_of_in_txn(tenant)?;
    let Some(once) = once else { return create(connection).map(Created::New) };
    let key = once.key.key.as_str();
    // Deletes a key of before the window, so that it can be used again.
    let mut found = idempotency::recall(connection, tenant, Kind::Object, &[key], since(window))?;
    if let Some(row) = found.remove(key) {
        return Ok(Created::Repeated(repeated(&once.key, row)));
    }
    let object = create(connection)?;
    let answer = (once.answer)(&object);
    let new = NewKey {
        tenant_id: tenant.0,
        kind: Kind::Object as i16,
        key,
        fingerprint: Some(&once.key.fingerprint),
        record_id: None,
        answer: Some(&answer),
        created_at: Micros(now()),
    };
    idempotency::remember(connection, vec![new])?;
    Ok(Created::New(object))
}

fn since(window: Duration) -> Timestamp {
    now().plus(-delta(window))
}

fn repeated(key: &OnceKey, row: Remembered) -> Repeated {
    let is_same = row.fingerprint.as_deref() == Some(&key.fingerprint[..]);
    match row.answer {
        Some(answer) if is_same => Repeated::Replayed(answer),
        _ => Repeated::KeyReused,
    }
}
