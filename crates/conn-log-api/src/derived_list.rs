//! Lists of what is derived from the log: their parameters, cursors and links.

use actix_web::{HttpRequest, HttpResponse};
use conn_log_store::{Page, PageQuery, PageStart};
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;

use crate::events::query;
use crate::page_links::PageLinks;
use crate::problem::{Problem, raw};
use crate::query_string::QueryString;

/// The first byte of every cursor. A cursor of another make is refused, not misread.
const VERSION: u8 = 1;

/// Takes limit and cursor out of a query string. `decode` reads the place in a cursor.
pub(crate) fn page_query<P>(
    parameters: &mut QueryString,
    decode: impl Fn(&[u8]) -> Option<P>,
) -> Result<PageQuery<P>, Problem> {
    let limit = query::limit(parameters)?;
    let start = parameters.read("cursor", "a cursor of this list", |text| {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        match bytes.as_slice() {
            [VERSION, b'a', place @ ..] => Some(PageStart::After(decode(place)?)),
            [VERSION, b'b', place @ ..] => Some(PageStart::Before(decode(place)?)),
            _ => None,
        }
    })?;
    Ok(PageQuery { start: start.unwrap_or(PageStart::First), limit })
}

/// The answer that is this page. `place` gives an item's place as a cursor holds it, and `json` the
/// item as its answer shows it.
pub(crate) fn respond<'a, P, T, J: Serialize + From<&'a T>>(
    request: &HttpRequest,
    query: &PageQuery<P>,
    page: &'a Page<T>,
    place: impl Fn(&T) -> Vec<u8>,
    json: impl Fn(&'a T) -> J,
) -> HttpResponse {
    let (more_after, more_before) = match query.start {
        PageStart::First => (page.has_more, false),
        PageStart::After(_) => (page.has_more, true),
        PageStart::Before(_) => (true, page.has_more),
    };
    let mut links = PageLinks::of(request);
    if let Some(last) = page.items.last().filter(|_| more_after) {
        links.next("cursor", &cursor(b'a', place(last)));
    }
    if let Some(first) = page.items.first().filter(|_| more_before) {
        links.previous("cursor", &cursor(b'b', place(first)));
    }
    links.respond(page.items.iter().map(|item| raw(&json(item)).get().to_owned()))
}

fn cursor(direction: u8, place: Vec<u8>) -> String {
    let mut bytes = vec![VERSION, direction];
    bytes.extend(place);
    BASE64URL_NOPAD.encode(&bytes)
}

/// A name as a place.
pub(crate) fn name_of(bytes: &[u8]) -> Option<String> {
    let name = String::from_utf8(bytes.to_vec()).ok()?;
    (!name.contains('\0')).then_some(name)
}
