//! Reads the new events of a log once for all its followers.
//!
//! A hub waits for commits, reads the events after the last one it has seen, and passes them to its
//! followers as one round. Delivery does not depend on the hub: a follower that misses a round
//! reads the table instead, so it may fall behind but never loses an event.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::rt;
use actix_web::web::Bytes;
use conn_log_core::{EventFilter, EventQuery, Order, Position, Record, Start, Timestamp};
use conn_log_store::{AlertChange, Store, StoreError, TenantId};
use tokio::sync::broadcast;

use crate::http::room::{Room, Share};

/// Rounds kept for followers that are slow for some seconds. A follower that falls further behind
/// reads the table.
const ROUNDS_MAX: usize = 128;

/// Bytes of the rounds of all logs. A round without room holds only its ids, and its followers read
/// the table.
const ROUNDS_BYTES_MAX: usize = 24 << 20;

/// Changes of alerts read at a time: an alert is some kilobytes.
pub(crate) const ALERTS_AT_ONCE: i64 = 100;

/// Events read at a time: 6 MiB of the largest events.
const READ_EVENTS_MAX: usize = 250;

/// Bytes of one round without its last event: the bytes passed to a connection at a time.
pub(crate) const ROUND_BYTES_MAX: usize = 64 << 10;

/// The pause between two rounds: with a thousand followers every round is a thousand writes to
/// sockets. The first event after a quiet moment does not wait.
const ROUND_PAUSE: Duration = Duration::from_millis(25);

/// The pause between attempts to read from a store that fails.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait for a commit before a hub checks whether it still has followers.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// Consecutive events of a log, without a gap.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) first_id: i64,
    pub(crate) last_id: i64,
    /// `None` if there was no room for them.
    events: Option<Events>,
    /// Changes of alerts. A round with some has no events: its last id is before its first.
    pub(crate) alerts: Vec<AlertFrame>,
}

/// A change of an alert, ready to send.
#[derive(Clone, Debug)]
pub(crate) struct AlertFrame {
    /// Its place in the outbox.
    pub(crate) change_id: i64,
    bytes: Bytes,
    device_id: Option<String>,
    application_id: Option<String>,
}

impl AlertFrame {
    pub(crate) fn new(change: &AlertChange) -> Self {
        let group = &change.alert["group"];
        let member = |name: &str| group[name].as_str().map(str::to_owned);
        // The alert as `/alerts/` shows it, and what happened to it.
        let mut data = change.alert.clone();
        if let Some(data) = data.as_object_mut() {
            data.insert("change".to_owned(), change.kind.name().into());
        }
        AlertFrame {
            change_id: change.id,
            bytes: Bytes::from(format!("event: alert\ndata: {data}\n\n")),
            device_id: member("device_id"),
            application_id: member("application_id"),
        }
    }

    /// The bytes for a stream with that filter. A stream of some devices or applications gets the
    /// alerts whose groups name them; one with other filters gets none.
    pub(crate) fn for_filter(&self, filter: &EventFilter) -> Option<&Bytes> {
        let is_among = |wanted: &[String], value: &Option<String>| {
            wanted.is_empty() || value.as_ref().is_some_and(|value| wanted.contains(value))
        };
        let others =
            EventFilter { device_ids: Vec::new(), application_ids: Vec::new(), ..filter.clone() };
        let is_for = others == EventFilter::default()
            && is_among(&filter.device_ids, &self.device_id)
            && is_among(&filter.application_ids, &self.application_id);
        is_for.then_some(&self.bytes)
    }
}

/// A round's events, and their share of the room.
#[derive(Debug)]
struct Events {
    records: Vec<Record>,
    /// All the events, ready to send.
    whole: Bytes,
    _share: Share,
}

impl Round {
    /// Takes the next round from the records.
    fn next(records: &mut Peekable<impl Iterator<Item = Record>>, room: &Room) -> Option<Self> {
        let (mut some, mut whole) = (Vec::new(), String::new());
        while let Some(record) = records.next_if(|_| whole.len() < ROUND_BYTES_MAX) {
            whole.push_str(&frame(&record));
            some.push(record);
        }
        let (first_id, last_id) = (some.first()?.id, some.last()?.id);
        // The records take about as much memory as their JSON.
        let share = room.take(2 * whole.len());
        let events =
            share.map(|share| Events { records: some, whole: Bytes::from(whole), _share: share });
        Some(Round { first_id, last_id, events, alerts: Vec::new() })
    }

    /// The events of the round after an id that match the filter; `None` if the follower has to
    /// read the table.
    pub(crate) fn frames(&self, filter: &EventFilter, after: i64) -> Option<Bytes> {
        let Events { records, whole, .. } = self.events.as_ref()?;
        if after < self.first_id && *filter == EventFilter::default() {
            return Some(whole.clone());
        }
        let wanted = |record: &&Record| record.id > after && filter.matches(&record.event);
        Some(Bytes::from(records.iter().filter(wanted).map(frame).collect::<String>()))
    }
}

/// One event as a server-sent event (the WHATWG HTML standard, section 9.2). JSON has no line
/// breaks of its own.
pub(crate) fn frame(record: &Record) -> String {
    format!("id: {}\ndata: {}\n\n", record.id, record.to_json())
}

/// The hubs of the tenants whose logs are being followed.
#[derive(Clone)]
pub(crate) struct StreamHubs {
    store: Store,
    hubs: Arc<Mutex<HashMap<TenantId, broadcast::Sender<Arc<Round>>>>>,
    room: Room,
}

impl StreamHubs {
    pub(crate) fn new(store: Store) -> Self {
        StreamHubs { store, hubs: Arc::default(), room: Room::new(ROUNDS_BYTES_MAX) }
    }

    /// Returns the rounds from now on. Every event committed before this returns is in the table or
    /// in a round.
    pub(crate) async fn follow(
        &self,
        tenant: TenantId,
    ) -> Result<broadcast::Receiver<Arc<Round>>, StoreError> {
        if let Some(hub) = self.hubs().get(&tenant) {
            return Ok(hub.subscribe());
        }
        // The hub begins at the end of the log, read before anyone follows it.
        let last = ask(&self.store, move |store| {
            Ok((store.log_size(tenant)?, store.alert_changes_last(tenant)?))
        });
        let last = last.await?;
        let mut hubs = self.hubs();
        if let Some(hub) = hubs.get(&tenant) {
            return Ok(hub.subscribe());
        }
        let (hub, receiver) = broadcast::channel(ROUNDS_MAX);
        hubs.insert(tenant, hub.clone());
        drop(hubs);
        rt::spawn(run(self.clone(), tenant, hub, last));
        Ok(receiver)
    }

    fn hubs(&self) -> MutexGuard<'_, HashMap<TenantId, broadcast::Sender<Arc<Round>>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a hub without followers. It stays if a follower has come in the meantime.
    fn retire(&self, tenant: TenantId) -> bool {
        let mut hubs = self.hubs();
        let is_alone = hubs.get(&tenant).is_none_or(|hub| hub.receiver_count() == 0);
        if is_alone {
            hubs.remove(&tenant);
        }
        is_alone
    }
}

async fn run(
    hubs: StreamHubs,
    tenant: TenantId,
    hub: broadcast::Sender<Arc<Round>>,
    (mut last, mut last_change): (i64, i64),
) {
    let mut commits = hubs.store.commits();
    loop {
        if hub.receiver_count() == 0 && hubs.retire(tenant) {
            return;
        }
        commits.mark_unchanged();
        let query = after(last, EventFilter::default(), READ_EVENTS_MAX);
        let found = ask(&hubs.store, move |store| {
            let changes = store.alert_changes_after(tenant, last_change, ALERTS_AT_ONCE)?;
            Ok((changes, store.event_list(tenant, &query)?))
        });
        let found = found.await.map(|(changes, page)| {
            if let Some(change) = changes.last() {
                last_change = change.id;
                let alerts = changes.iter().map(AlertFrame::new).collect();
                let round = Round { first_id: last + 1, last_id: last, events: None, alerts };
                hub.send(Arc::new(round)).ok();
            }
            (changes.is_empty(), page)
        });
        match found {
            // From time to time, check for followers even if nothing is committed: they may have
            // left.
            Ok((true, page)) if page.records.is_empty() => {
                drop(rt::time::timeout(IDLE_MAX, commits.changed()).await);
            }
            Ok((_, page)) => {
                let mut records = page.records.into_iter().peekable();
                while let Some(round) = Round::next(&mut records, &hubs.room) {
                    last = round.last_id;
                    // Sending fails only without followers, and then no one needs the round.
                    hub.send(Arc::new(round)).ok();
                }
                if !page.has_more {
                    rt::time::sleep(ROUND_PAUSE).await;
                }
            }
            Err(error) => {
                log::warn!("following a log: {error}");
                rt::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Queries the store on the blocking pool.
async fn ask<T, F>(store: &Store, question: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
{
    let store = store.clone();
    let answer = actix_web::web::block(move || question(&store)).await;
    answer.map_err(|error| StoreError::Internal(error.into()))?
}

/// The range of ids that one read of the log covers, so that a read ends even if its filter matches
/// few events. A range takes a second or two without an index.
pub(crate) const SPAN_IDS: i64 = 1_000_000;

/// The events after an id, in the order of the log.
pub(crate) fn after(id: i64, filter: EventFilter, limit: usize) -> EventQuery {
    let start = Start::After(Position { id, timestamp: Timestamp::EPOCH });
    EventQuery { filter, order: Order::IdAscending, start, limit }
}
