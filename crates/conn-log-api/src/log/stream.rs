//! `GET /device_app_connection_log/stream/`: the log as it grows, as server-sent events.

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
use crate::log::stream_hub::{self, ROUND_BYTES_MAX, Round, SPAN_IDS};

/// Between two comments: proxies close connections that seem idle, most after 30 seconds and more.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Streams open at one time. Each holds a connection, and there are to be some left for requests.
const STREAMS_MAX: usize = 6_000;

/// Events that a stream reads from the table at a time: at first, and at most. In between it is as many as
/// are handed on at a time, so that large ones are not read again and again.
const PAGE_EVENTS_FIRST: usize = 8;
const PAGE_EVENTS_MAX: usize = 250;

/// Bytes that one stream hands on at a time at most: a round, or as much of a page, and one event more.
const CHUNK_BYTES_MAX: usize = ROUND_BYTES_MAX + (24 << 10);

/// The log as it grows: each event once it is committed, none left out. A connection that breaks
/// goes on where it was: browsers send `Last-Event-ID` by themselves.
#[utoipa::path(
    get,
    path = "/api/v1/device_app_connection_log/stream/",
    operation_id = "event_stream",
    tag = "Events",
    params(
        crate::log::shapes::SelectionParameters,
        crate::log::shapes::FilterParameters,
        ("after" = Option<i64>, Query, description = "From after this id on; without, from now on"),
        ("Last-Event-ID" = Option<i64>, Header, description = "The same, and wins"),
    ),
    responses((status = 200, description = "Events: id is the event's id, data its record",
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
        // A body without end has no length to tell, and none is to be sent.
        let nothing = stream::empty::<Result<Bytes, Error>>();
        return Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(nothing));
    }
    let place = Place::take(&app)?;
    let resumed = last_event_id(&request)?.or(after);

    // Followed first, read then: what is committed in between is seen twice and told once.
    let rounds = app.stream_hubs.follow(caller.tenant()).await?;
    let tenant = caller.tenant();
    let position = match resumed {
        Some(id) => id,
        None => app.read(move |store| store.log_size(tenant)).await?,
    };
    let follower = Follower {
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
    // Some clients send it empty where they have none yet.
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

/// One client, and how far it has been told the log.
struct Follower {
    app: web::Data<App>,
    caller: Reader,
    filter: EventFilter,
    /// The last id that the client has, or that the filter has left out.
    position: i64,
    rounds: Receiver<Arc<Round>>,
    /// Whether there may be events in the table that no round will bring.
    behind: bool,
    /// Events to read from the table next.
    page_events: usize,
    /// The room of what was handed on and waits to be taken.
    waiting: Option<OwnedSemaphorePermit>,
    /// When the last comment was made.
    commented: Option<Instant>,
    /// When its token was last known to be good.
    checked: Instant,
    stopping: watch::Receiver<bool>,
    _place: Place,
}

impl Follower {
    /// The next bytes for the client; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        let Some(commented) = self.commented else {
            // The answer begins at once, and the client knows that it is connected.
            self.commented = Some(Instant::now());
            return Some(Bytes::from_static(b": conn-log\n\n"));
        };
        // It is asked for more once there is room for more: what was handed on is as good as sent.
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
            } else {
                self.wait(commented + KEEP_ALIVE).await?
            };
            if !bytes.is_empty() {
                return Some(bytes);
            }
        }
    }

    /// Whether the client's token is still good, looked up now and then.
    async fn is_welcome(&mut self) -> bool {
        if self.checked.elapsed() < KEEP_ALIVE {
            return true;
        }
        self.checked = Instant::now();
        self.caller.is_still_valid(&self.app).await
    }

    /// Reads a page from the table, once there is room for it; it is told everything once it has come to the
    /// log's end.
    async fn catch_up(&mut self) -> Option<Bytes> {
        let tenant = self.caller.tenant();
        let position = self.position;
        let query = stream_hub::after(position, self.filter.clone(), self.page_events);
        let room = self.app.stream_room.clone();
        let mut room = tokio::select! {
            room = room.acquire_many_owned(kib(CHUNK_BYTES_MAX)) => room.ok()?,
            _ = self.stopping.changed() => return None,
        };
        // A thousand clients that come back at once take turns.
        let turn = self.app.catch_ups.clone().acquire_owned().await.ok()?;
        let page = self.app.read(move |store| {
            // Read first: every event up to its end is committed before the page is read.
            let log = store.log_bounds(tenant)?;
            let end = log.size.min(position.max(log.first_id - 1).saturating_add(SPAN_IDS));
            Ok::<_, StoreError>((log.size, end, store.event_list_to(tenant, &query, end)?))
        });
        // The client comes back with its Last-Event-ID, and finds the store well or hears of it.
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

    /// Waits for a round, for the next comment's moment, or for the server's end.
    async fn wait(&mut self, comment_at: Instant) -> Option<Bytes> {
        let round = tokio::select! {
            round = timeout_at(comment_at, self.rounds.recv()) => round,
            _ = self.stopping.changed() => return None,
        };
        match round {
            Err(_) => Some(Bytes::new()),
            Ok(Ok(round)) if round.last_id <= self.position => Some(Bytes::new()),
            Ok(Ok(round)) if round.first_id > self.position + 1 => {
                self.behind = true;
                Some(Bytes::new())
            }
            Ok(Ok(round)) => Some(self.take(&round)),
            Ok(Err(RecvError::Lagged(_))) => {
                self.behind = true;
                Some(Bytes::new())
            }
            Ok(Err(RecvError::Closed)) => None,
        }
    }

    /// What there is for the client in a round. Where it is not there, or there is no room for it to wait in,
    /// the table is read once there is.
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

/// Records as they are sent, as many as are handed on at a time; and how many those are.
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

/// Bytes as the room for streams counts them.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}
