//! `GET /device_app_connection_log/stream/`: the log as it grows, as server-sent events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::web::{self, Bytes};
use actix_web::{Error, HttpRequest, HttpResponse};
use conn_log_core::EventFilter;
use conn_log_store::StoreError;
use futures_util::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::get::parse_id;
use super::query;
use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Reader;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::query_string::QueryString;
use crate::log::stream_hub::{self, Round, SPAN_IDS};

/// Between two comments: proxies close connections that seem idle, most after 30 seconds and more.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Streams open at one time. Each holds a connection and some kilobytes.
const STREAMS_MAX: usize = 10_000;

/// Events that a stream reads from the table at a time.
const PAGE_EVENTS: usize = 250;

/// Bytes handed on at a time: what a client that does not read leaves waiting in the server.
const CHUNK_BYTES: usize = 64 << 10;

/// The log as it grows: each event once it is committed, none left out. A connection that breaks
/// goes on where it was: browsers send `Last-Event-ID` by themselves.
#[utoipa::path(
    get,
    path = "/api/v1/device_app_connection_log/stream/",
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
        untold: Bytes::new(),
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
    /// What is ready for the client and not handed on yet.
    untold: Bytes,
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
        if !self.untold.is_empty() {
            return Some(self.hand_on());
        }
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
                self.untold = bytes;
                return Some(self.hand_on());
            }
        }
    }

    fn hand_on(&mut self) -> Bytes {
        self.untold.split_to(self.untold.len().min(CHUNK_BYTES))
    }

    /// Whether the client's token is still good, looked up now and then.
    async fn is_welcome(&mut self) -> bool {
        if self.checked.elapsed() < KEEP_ALIVE {
            return true;
        }
        self.checked = Instant::now();
        self.caller.is_still_valid(&self.app).await
    }

    /// Reads a page from the table; it is told everything once it has come to the log's end.
    async fn catch_up(&mut self) -> Option<Bytes> {
        let tenant = self.caller.tenant();
        let position = self.position;
        let query = stream_hub::after(position, self.filter.clone(), PAGE_EVENTS);
        // A thousand clients that come back at once take turns.
        let turn = self.app.catch_ups.clone().acquire_owned().await.ok()?;
        let page = self.app.read(move |store| {
            // Read first: every event up to here is committed before the page is read.
            let size = store.log_size(tenant)?;
            let end = size.min(position.saturating_add(SPAN_IDS));
            Ok::<_, StoreError>((size, end, store.event_list_to(tenant, &query, end)?))
        });
        // The client comes back with its Last-Event-ID, and finds the store well or hears of it.
        let (size, end, page) = page.await.ok()?;
        drop(turn);
        let last = page.records.last().map_or(position, |record| record.id);
        self.position = if page.has_more { last } else { end.max(position) };
        self.behind = self.position < size;
        Some(Bytes::from(page.records.iter().map(stream_hub::frame).collect::<String>()))
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
            Ok(Ok(round)) => {
                let bytes = round.frames(&self.filter, self.position);
                self.position = round.last_id;
                Some(bytes)
            }
            Ok(Err(RecvError::Lagged(_))) => {
                self.behind = true;
                Some(Bytes::new())
            }
            Ok(Err(RecvError::Closed)) => None,
        }
    }
}
