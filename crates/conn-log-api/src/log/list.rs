//! `GET /device_app_connection_log/`: pages of records, and the feed.

use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::{EventFilter, EventQuery, Order, Position, Record, Start, Timestamp};
use conn_log_store::{Page, PageStart, StoreError};

use super::get::parse_id;
use super::{known_names, query};
use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Reader;
use crate::http::cursor::{self, ListTag};
use crate::http::page_links::PageLinks;
use crate::http::pages;
use crate::http::problem::Problem;
use crate::http::query_string::QueryString;

/// Pages of records, newest first. With `order=id&after=<id>` it is the feed: `next` is always
/// present, and a client that follows it reads each event exactly once.
#[utoipa::path(
    get,
    path = "/api/v1/device_app_connection_log/",
    operation_id = "event_list",
    tag = "Events",
    params(
        crate::log::shapes::SelectionParameters,
        crate::log::shapes::FilterParameters,
        ("order" = inline(Option<crate::log::shapes::EventOrder>), Query, description = "-id by default"),
        ("after" = Option<i64>, Query, minimum = 0, description = "With order=id: the feed of the events after this id"),
        crate::http::pages::PageParameters,
    ),
    responses(
        (status = 200, description = "A page", body = crate::log::shapes::EventPage),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let asked = Asked::of(&request)?;
    accept::require(&request, "application/json")?;
    let (tenant, query) = (caller.tenant(), asked.query());
    let app = App::of(&request);
    known_names::require_in(&app, tenant, &asked.filter).await?;
    let _turn = app.answer_room.turn(asked.limit).await?;
    let (log, page) = app
        .read(move |store| {
            // Read before the page, so every event up to this end is committed when the page is
            // read.
            let log = store.log_bounds(tenant)?;
            let page = store.event_list(tenant, &query)?;
            Ok::<_, StoreError>((log, Page { items: page.records, has_more: page.has_more }))
        })
        .await?;
    let mut links = asked.links(&request, log.size, &page);
    if asked.of_feed && log.first_id > 1 {
        links.first_id(log.first_id);
    }
    // Each record is dropped once its JSON is made.
    Ok(links.respond(page.items.into_iter().map(|record| record.to_json())))
}

/// The parameters of a list request.
struct Asked {
    filter: EventFilter,
    order: Order,
    start: PageStart<Position>,
    limit: usize,
    /// Whether the request follows the log by id.
    of_feed: bool,
}

impl Asked {
    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let mut parameters = QueryString::of(request)?;
        let filter = query::filter(&mut parameters)?;
        let order = query::order(&mut parameters)?;
        let limit = pages::limit(&mut parameters)?;
        let after = parameters.read("after", "an event's id, or 0", parse_id)?;
        let cursor = parameters.one("cursor")?;
        parameters.finish()?;
        let of_feed = after.is_some();
        let order = order.unwrap_or(if of_feed { Order::IdAscending } else { Order::default() });
        let (start, of_feed) = match (after, cursor) {
            (None, None) => (PageStart::First, false),
            (Some(_), Some(_)) => {
                let detail = "goes with a cursor in no request";
                return Err(Problem::parameter("after", "conflict", detail));
            }
            (Some(_), None) if order != Order::IdAscending => {
                return Err(Problem::parameter("after", "conflict", "goes with order=id only"));
            }
            (Some(id), None) => {
                (PageStart::After(Position { id, timestamp: Timestamp::EPOCH }), true)
            }
            (None, Some(text)) => start_at(order, &text).ok_or_else(|| {
                Problem::parameter(
                    "cursor",
                    "invalid_value",
                    "not a cursor of a list in this order",
                )
            })?,
        };
        Ok(Asked { filter, order, start, limit, of_feed })
    }

    fn query(&self) -> EventQuery {
        let start = match self.start {
            PageStart::First => Start::First,
            PageStart::After(position) => Start::After(position),
            PageStart::Before(position) => Start::Before(position),
        };
        EventQuery { filter: self.filter.clone(), order: self.order, start, limit: self.limit }
    }

    fn links(&self, request: &HttpRequest, size: i64, page: &Page<Record>) -> PageLinks {
        let list = if self.of_feed { FEED } else { tag(self.order) };
        let key = |record: &Record| Position {
            id: record.id,
            timestamp: record.event.fields().timestamp,
        };
        let mut links = PageLinks::of(request, list, &self.start, page, key);
        if self.of_feed {
            links.next("after", &self.feed_goes_on(size, page).to_string());
        }
        links
    }

    /// The id after which the feed's next page starts.
    fn feed_goes_on(&self, size: i64, page: &Page<Record>) -> i64 {
        let last = page.items.last().map_or(0, |record| record.id);
        match self.start {
            // The page ends just before the page that gave the cursor. The limit at 0 is for
            // cursors that a client invented.
            PageStart::Before(Position { id, .. }) => id.saturating_sub(1).max(0),
            _ if page.has_more => last,
            // Every event up to `size` was read, including those that the filters left out.
            PageStart::After(from) => last.max(size).max(from.id),
            PageStart::First => last.max(size),
        }
    }
}

/// The tag of the feed's cursors. A cursor that leads back in the feed must keep the client in the
/// feed.
const FEED: ListTag = ListTag(b'f');

/// The tag of the list in that order.
fn tag(order: Order) -> ListTag {
    ListTag(match order {
        Order::IdDescending => b'd',
        Order::IdAscending => b'a',
        Order::TimestampDescending => b'T',
        Order::TimestampAscending => b't',
    })
}

/// The start that a cursor gives, and whether it is in the feed.
fn start_at(order: Order, text: &str) -> Option<(PageStart<Position>, bool)> {
    let of_feed = || Some((cursor::decode(FEED, text)?, true));
    match cursor::decode(tag(order), text) {
        Some(start) => Some((start, false)),
        None if order == Order::IdAscending => of_feed(),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_the_feed_is_one_by_ascending_id_only() {
        let start = PageStart::Before(Position { id: 7, timestamp: Timestamp::EPOCH });
        let text = cursor::encode(FEED, &start).unwrap();
        assert_eq!(start_at(Order::IdAscending, &text), Some((start, true)));
        assert_eq!(start_at(Order::IdDescending, &text), None);
    }

    #[test]
    fn a_cursor_of_one_order_is_not_taken_in_another() {
        let start = PageStart::After(Position { id: 7, timestamp: Timestamp::EPOCH });
        let text = cursor::encode(tag(Order::TimestampAscending), &start).unwrap();
        assert_eq!(start_at(Order::TimestampAscending, &text), Some((start, false)));
        assert_eq!(start_at(Order::IdAscending, &text), None);
        assert_eq!(start_at(Order::TimestampDescending, &text), None);
    }
}
