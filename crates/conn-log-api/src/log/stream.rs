//! `GET /device_app_connection_log/stream/`: new events of the log as server-sent events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::web::{self, Bytes};
use actix_web::{Error, HttpRequest, HttpResponse};
use conn_log_core::{EventFilter, Record};
use conn_log_store::StoreError;
use futures_util::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};

use super::get::parse_id;
use super::{known_names, query};
use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Reader;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::query_string::QueryString;
use crate::log::stream_hub::{self, AlertFrame, ROUND_BYTES_MAX, Round, SPAN_IDS};

/// The time between two comments. Proxies close connections that seem idle, most after 30 seconds
/// or more.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Maximum number of open streams. Each holds a connection, and some must be left for requests.
const STREAMS_MAX: usize = 6_000;

/// Events that a stream reads from the table at a time: the first and the maximum number. In
/// between, it is the number of events that fit in one send, so that large events are not read
/// again and again.
const PAGE_EVENTS_FIRST: usize = 8;
const PAGE_EVENTS_MAX: usize = 250;

/// Maximum bytes that a stream sends at a time: a round, or as much of a page, and one more event.
const CHUNK_BYTES_MAX: usize = ROUND_BYTES_MAX + (24 << 10);

/// New events as they are committed, each exactly once. After a broken connection the stream
/// continues after `Last-Event-ID`, which browsers send automatically. Changes of alerts from now on come as events of
/// the type alert, without an id: a stream of some devices or applications gets those whose groups name them.
#[utoipa::path(
    get,
    path = "/api/v1/device_app_connection_log/stream/",
    operation_id = "event_stream",
    tag = "Events",
    params(
        crate::log::shapes::SelectionParameters,
        crate::log::shapes::FilterParameters,
        ("after" = Option<i64>, Query, minimum = 0, description = "Events after this id; without it, events committed from now on"),
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "As after; takes precedence over it"),
    ),
    responses((status = 200, description = "Events: id is the event's id, data its record; with event: alert, data is {change, alert}",
        content_type = "text/event-stream", body = String)),
    security(("bearer" = [])),
)]
pub(crate) async fn stream(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let app = App::of(&request);
    let mut parameters = QueryString::of(&request)?;
    let filter = query::filter(&mut parameters)?;
    let after = parameters.read("after", "an event's id, or 0", parse_id)?;
    parameters.finish()?;
    accept::require(&request, "text/event-stream")?;
    known_names::require_in(&app, caller.tenant(), &filter).await?;
    if request.method() == Method::HEAD {
        // A body without end has no length, and a HEAD request gets no body.
        let nothing = stream::empty::<Result<Bytes, Error>>();
        return Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(nothing));
    }
    let place = Place::take(&app)?;
    let resumed = last_event_id(&request)?.or(after);

    // Follow first, then read. An event committed in between is seen twice, but sent once.
    let rounds = app.stream_hubs.follow(caller.tenant()).await?;
    let tenant = caller.tenant();
    let position = match resumed {
        Some(id) => id,
        None => app.read(move |store| store.log_size(tenant)).await?,
    };
    let changes = app.read(move |store| store.alert_changes_last(tenant)).await?;
    let follower = Follower {
        last_change: changes,
        alerts_behind: false,
        stopping: app.stopping.subscribe(),
        behind: resumed.is_some(),
        page_events: PAGE_EVENTS_FIRST,
        waiting: None,
        app,
        caller,
        filter,
        position,
        rounds,
        commented: None,
        checked: Instant::now(),
        _place: place,
    };
    let chunks = stream::unfold(follower, |mut follower| async move {
        Some((Ok::<_, Error>(follower.next().await?), follower))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Compression would hold events back until a block is full.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(Box::pin(chunks)))
}

fn last_event_id(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    // Some clients send an empty header if they have no id yet.
    let Some(value) = request.headers().get("last-event-id").filter(|value| !value.is_empty())
    else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(parse_id) {
        Some(id) => Ok(Some(id)),
        None => {
            let detail = "Last-Event-ID is the id of an event, or 0";
            Err(Problem::new(ProblemKind::InvalidHeader, detail))
        }
    }
}

/// One of the streams that may be open.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(app: &App) -> Result<Self, Problem> {
        let place = Place(app.streams.clone());
        if place.0.fetch_add(1, Ordering::Relaxed) >= STREAMS_MAX {
            let detail = "too many streams are open";
            return Err(
                Problem::new(ProblemKind::Overloaded, detail).with_header(header::RETRY_AFTER, "5")
            );
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One client, and its position in the log.
struct Follower {
    app: web::Data<App>,
    caller: Reader,
    filter: EventFilter,
    /// The last id that was sent to the client or left out by the filter.
    position: i64,
    rounds: Receiver<Arc<Round>>,
    /// The last change of an alert that was sent to the client or left out by the filter.
    last_change: i64,
    /// Whether the table may have changes of alerts that no round will bring.
    alerts_behind: bool,
    /// Whether the table may have events that no round will bring.
    behind: bool,
    /// Number of events to read from the table next.
    page_events: usize,
    /// The permits for the bytes that were sent and that the client has not read yet.
    waiting: Option<OwnedSemaphorePermit>,
    /// The time of the last comment.
    commented: Option<Instant>,
    /// The time when the client's token was last known to be valid.
    checked: Instant,
    stopping: watch::Receiver<bool>,
    _place: Place,
}

impl Follower {
    /// The next bytes for the client; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        let Some(commented) = self.commented else {
            // Send a comment at once, so that the answer begins and the client knows it is
            // connected.
            self.commented = Some(Instant::now());
            return Some(Bytes::from_static(b": conn-log\n\n"));
        };
        // This is called again only when there is room for more, so the earlier bytes count as
        // sent.
        self.waiting = None;
        loop {
            if *self.stopping.borrow() || !self.is_welcome().await {
                return None;
            }
            if commented.elapsed() >= KEEP_ALIVE {
                self.commented = Some(Instant::now());
                return Some(Bytes::from_static(b": keep-alive\n\n"));
            }
            let bytes = if self.behind {
                self.catch_up().await?
            } else if self.alerts_behind {
                self.catch_up_alerts().await?
            } else {
                self.wait(commented + KEEP_ALIVE).await?
            };
            if !bytes.is_empty() {
                return Some(bytes);
            }
        }
    }

    /// Whether the client's token is still valid; checked from time to time.
    async fn is_welcome(&mut self) -> bool {
        if self.checked.elapsed() < KEEP_ALIVE {
            return true;
        }
        self.checked = Instant::now();
        self.caller.is_still_valid(&self.app).await
    }

    /// Reads a page from the table, once there is room for it. The follower is caught up once it
    /// has reached the end of the log.
    async fn catch_up(&mut self) -> Option<Bytes> {
        let tenant = self.caller.tenant();
        let position = self.position;
        let query = stream_hub::after(position, self.filter.clone(), self.page_events);
        let room = self.app.stream_room.clone();
        let mut room = tokio::select! {
            room = room.acquire_many_owned(kib(CHUNK_BYTES_MAX)) => room.ok()?,
            _ = self.stopping.changed() => return None,
        };
        // A thousand clients that reconnect at once take turns.
        let turn = self.app.catch_ups.clone().acquire_owned().await.ok()?;
        let page = self.app.read(move |store| {
            // Read before the page, so every event up to this end is committed when the page is
            // read.
            let log = store.log_bounds(tenant)?;
            let end = log.size.min(position.max(log.first_id - 1).saturating_add(SPAN_IDS));
            Ok::<_, StoreError>((log.size, end, store.event_list_to(tenant, &query, end)?))
        });
        // On an error the stream ends. The client reconnects with its Last-Event-ID, and the store
        // works again or the client gets the error.
        let (size, end, page) = page.await.ok()?;
        drop(turn);
        let (bytes, told) = frames(&page.records);
        let is_all = told == page.records.len();
        self.position = match page.records[..told].last() {
            Some(last) if page.has_more || !is_all => last.id,
            _ => end.max(position),
        };
        self.behind = self.position < size;
        self.page_events =
            if is_all { (2 * self.page_events).min(PAGE_EVENTS_MAX) } else { told.max(1) };
        drop(room.split(room.num_permits().saturating_sub(kib(bytes.len()) as usize)));
        self.waiting = Some(room);
        Some(bytes)
    }

    /// Reads changes of alerts from the table.
    async fn catch_up_alerts(&mut self) -> Option<Bytes> {
        let (tenant, after) = (self.caller.tenant(), self.last_change);
        let read = self.app.read(move |store| {
            store.alert_changes_after(tenant, after, stream_hub::ALERTS_AT_ONCE)
        });
        let changes = read.await.ok()?;
        self.alerts_behind = !changes.is_empty();
        let frames: Vec<AlertFrame> = changes.iter().map(AlertFrame::new).collect();
        Some(self.take_alerts(&frames))
    }

    /// The client's bytes of changes of alerts.
    fn take_alerts(&mut self, frames: &[AlertFrame]) -> Bytes {
        let mut bytes = Vec::new();
        for frame in frames.iter().filter(|frame| frame.change_id > self.last_change) {
            bytes.extend_from_slice(frame.for_filter(&self.filter).map_or(&[][..], |b| b));
        }
        let last = frames.last().map_or(0, |frame| frame.change_id);
        self.last_change = self.last_change.max(last);
        Bytes::from(bytes)
    }

    /// Waits for a round, for the time of the next comment, or for the server's stop.
    async fn wait(&mut self, comment_at: Instant) -> Option<Bytes> {
        let round = tokio::select! {
            round = timeout_at(comment_at, self.rounds.recv()) => round,
            _ = self.stopping.changed() => return None,
        };
        match round {
            Err(_) => Some(Bytes::new()),
            Ok(Ok(round)) if !round.alerts.is_empty() => Some(self.take_alerts(&round.alerts)),
            Ok(Ok(round)) if round.last_id <= self.position => Some(Bytes::new()),
            Ok(Ok(round)) if round.first_id > self.position + 1 => {
                self.behind = true;
                Some(Bytes::new())
            }
            Ok(Ok(round)) => Some(self.take(&round)),
            Ok(Err(RecvError::Lagged(_))) => {
                self.behind = true;
                self.alerts_behind = true;
                Some(Bytes::new())
            }
            Ok(Err(RecvError::Closed)) => None,
        }
    }

    /// The client's bytes of a round. If the round has no events in memory, or there is no room for
    /// the bytes to wait in, the client's events are read from the table later.
    fn take(&mut self, round: &Round) -> Bytes {
        if let Some(bytes) = round.frames(&self.filter, self.position)
            && let Ok(room) = self.app.stream_room.clone().try_acquire_many_owned(kib(bytes.len()))
        {
            self.waiting = Some(room);
            self.position = round.last_id;
            return bytes;
        }
        self.behind = true;
        Bytes::new()
    }
}

/// As many records as are sent at a time, as bytes, and the number of those records.
fn frames(records: &[Record]) -> (Bytes, usize) {
    let (mut text, mut told) = (String::new(), 0);
    for record in records {
        if text.len() >= ROUND_BYTES_MAX {
            break;
        }
        text.push_str(&stream_hub::frame(record));
        told += 1;
    }
    (Bytes::from(text), told)
}

/// Bytes in KiB, the unit of the room for streams.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}
