//! `GET /device_app_connection_log/`: pages of records, and the feed.

use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::{EventQuery, Order, Position, Record, Start, Timestamp};
use conn_log_store::EventPage;

use super::cursor::{self, Cursor};
use super::get::parse_id;
use super::query;
use crate::accept;
use crate::app::App;
use crate::auth::Reader;
use crate::page_links::PageLinks;
use crate::problem::Problem;
use crate::query_string::QueryString;

/// Pages of records, newest first. With `order=id&after=<id>` it is the feed: `next` is always
/// there, and who follows it misses nothing and sees nothing twice.
#[utoipa::path(
    get,
    path = "/api/v1/device_app_connection_log/",
    tag = "Events",
    params(
        crate::openapi::FilterParameters,
        ("order" = Option<String>, Query, description = "-id (default), id, -timestamp, timestamp"),
        ("limit" = Option<u16>, Query, description = "1 to 1,000; 100 unless given"),
        ("after" = Option<i64>, Query, description = "With order=id: the feed, from after this id on"),
        ("cursor" = Option<String>, Query, description = "From a page's next or previous"),
    ),
    responses(
        (status = 200, description = "A page", body = crate::openapi::RecordPage),
        (status = 400, description = "A parameter is unknown or has a value it does not take",
            body = crate::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let asked = Asked::of(&request)?;
    accept::require(&request, "application/json")?;
    let (tenant, query) = (caller.tenant(), asked.query.clone());
    let (size, page) = App::of(&request)
        .read(move |store| {
            // Read first: every event up to here is committed before the page is read.
            let size = store.log_size(tenant)?;
            Ok((size, store.event_list(tenant, &query)?))
        })
        .await?;
    let links = asked.links(&request, size, &page);
    let records: Vec<String> = page.records.iter().map(Record::to_json).collect();
    Ok(links.respond(&records))
}

/// What a list request asks for.
struct Asked {
    query: EventQuery,
    /// Whether it follows the log by id.
    of_feed: bool,
}

impl Asked {
    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let mut parameters = QueryString::of(request)?;
        let filter = query::filter(&mut parameters)?;
        let order = query::order(&mut parameters)?;
        let limit = query::limit(&mut parameters)?;
        let after = parameters.read("after", "an event's id, or 0", parse_id)?;
        let cursor = parameters.one("cursor")?;
        parameters.finish()?;
        let order =
            order.unwrap_or(if after.is_some() { Order::IdAscending } else { Order::default() });
        let Cursor { start, of_feed } = match (after, cursor) {
            (None, None) => Cursor { start: Start::First, of_feed: false },
            (Some(_), Some(_)) => {
                let detail = "goes with a cursor in no request";
                return Err(Problem::parameter("after", "conflict", detail));
            }
            (Some(_), None) if order != Order::IdAscending => {
                return Err(Problem::parameter("after", "conflict", "goes with order=id only"));
            }
            (Some(id), None) => Cursor {
                start: Start::After(Position { id, timestamp: Timestamp::EPOCH }),
                of_feed: true,
            },
            (None, Some(text)) => cursor::decode(order, &text).ok_or_else(|| {
                Problem::parameter(
                    "cursor",
                    "invalid_value",
                    "not a cursor of a list in this order",
                )
            })?,
        };
        Ok(Asked { query: EventQuery { filter, order, start, limit }, of_feed })
    }

    fn links(&self, request: &HttpRequest, size: i64, page: &EventPage) -> PageLinks {
        let order = self.query.order;
        let place = |record: &Record| Position {
            id: record.id,
            timestamp: record.event.fields().timestamp,
        };
        let backwards = matches!(self.query.start, Start::Before(_));
        let more_after = if backwards { true } else { page.has_more };
        let more_before = match self.query.start {
            Start::First => false,
            Start::After(_) => true,
            Start::Before(_) => page.has_more,
        };
        let next = page.records.last().filter(|_| more_after).map(place).map(Start::After);
        let previous = page.records.first().filter(|_| more_before).map(place).map(Start::Before);
        let of_feed = self.of_feed;
        let cursor = |start| cursor::encode(order, Cursor { start, of_feed });
        let mut links = PageLinks::of(request);
        if self.of_feed {
            links.next("after", &self.feed_goes_on(size, page).to_string());
        } else if let Some(cursor) = next.and_then(cursor) {
            links.next("cursor", &cursor);
        }
        if let Some(cursor) = previous.and_then(cursor) {
            links.previous("cursor", &cursor);
        }
        links
    }

    /// The id after which the feed's next page starts.
    fn feed_goes_on(&self, size: i64, page: &EventPage) -> i64 {
        let last = page.records.last().map_or(0, |record| record.id);
        match self.query.start {
            // The page ends where the one began that led here; a cursor may be made up.
            Start::Before(Position { id, .. }) => id.saturating_sub(1).max(0),
            _ if page.has_more => last,
            // Up to `size` every event was looked at, also those that the filters left out.
            Start::After(from) => last.max(size).max(from.id),
            Start::First => last.max(size),
        }
    }
}
