//! Helpers for common operations of tests on a log.

use conn_log_core::{Event, EventQuery, Order, Record};
use conn_log_store::{AppendError, Appended, Claim, Outcome, Store, Submission, TenantId};

/// The tenant that every new database has.
pub const DEFAULT: TenantId = TenantId::DEFAULT;

/// Appends to the default tenant's log.
pub async fn append(store: &Store, events: Vec<Event>) -> Result<Vec<Appended>, AppendError> {
    append_to(store, DEFAULT, events).await
}

/// Appends to a tenant's log, without an idempotency key.
pub async fn append_to(
    store: &Store,
    tenant: TenantId,
    events: Vec<Event>,
) -> Result<Vec<Appended>, AppendError> {
    match store
        .append(Submission { tenant, events, atomic: false, claim: None, rejects: None })
        .await?
    {
        Outcome::Appended(appended) => Ok(appended),
        other => panic!("no key was given, but: {other:?}"),
    }
}

/// A whole log, in the order of its ids.
pub fn whole_log(store: &Store, tenant: TenantId) -> Vec<Record> {
    let query = EventQuery { order: Order::IdAscending, limit: 100_000, ..EventQuery::default() };
    store.event_list(tenant, &query).unwrap().records
}

/// The ids of the appended events.
pub fn ids(appended: &[Appended]) -> Vec<i64> {
    appended.iter().map(|event| event.record().unwrap().id).collect()
}

/// A claim whose answer lists the ids.
pub fn claim(key: &str, fingerprint: u8) -> Claim {
    Claim {
        answer_bytes: 0,
        key: key.to_owned(),
        fingerprint: [fingerprint; 32],
        answer: Box::new(|appended| format!("{:?}", ids(appended)).into_bytes()),
    }
}
