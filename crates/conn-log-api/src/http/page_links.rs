//! The links between the pages of a list, in the body and in the `Link` header (RFC 8288).

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use conn_log_store::{Page, PageStart};
use serde_json::json;

use super::app::App;
use super::cursor::{self, CursorKey, ListTag};
use super::{client_address, query_string};

/// The addresses of the next and the previous page: the request's own address with another
/// position.
pub(crate) struct PageLinks {
    base: String,
    parameters: Vec<(String, String)>,
    next: Option<String>,
    previous: Option<String>,
    first_id: Option<i64>,
}

impl PageLinks {
    /// The links of a page of `list` that was read from `start`; `key` gives an item's key in the
    /// list.
    pub(crate) fn of<T, P: CursorKey>(
        request: &HttpRequest,
        list: ListTag,
        start: &PageStart<P>,
        page: &Page<T>,
        key: impl Fn(&T) -> P,
    ) -> Self {
        let (more_after, more_before) = match start {
            PageStart::First => (page.has_more, false),
            PageStart::After(_) => (page.has_more, true),
            PageStart::Before(_) => (true, page.has_more),
        };
        let cursor = |start| cursor::encode(list, &start);
        let last = page.items.last().filter(|_| more_after);
        let first = page.items.first().filter(|_| more_before);
        let mut links = PageLinks::none(request);
        if let Some(cursor) = last.and_then(|last| cursor(PageStart::After(key(last)))) {
            links.next("cursor", &cursor);
        }
        if let Some(cursor) = first.and_then(|first| cursor(PageStart::Before(key(first)))) {
            links.previous = Some(links.address("cursor", &cursor));
        }
        links
    }

    fn none(request: &HttpRequest) -> Self {
        // A malformed query was refused before a page was read.
        let parameters = query_string::pairs(request.query_string().as_bytes()).flatten();
        let keep = |(name, _): &query_string::Pair<'_>| name != "cursor" && name != "after";
        let owned = |(name, value): query_string::Pair<'_>| (name.into_owned(), value.into_owned());
        PageLinks {
            base: base(request),
            parameters: parameters.filter(keep).map(owned).collect(),
            next: None,
            previous: None,
            first_id: None,
        }
    }

    /// Notes that the beginning of the log was removed; `id` is the first id that may still be
    /// there.
    pub(crate) fn first_id(&mut self, id: i64) {
        self.first_id = Some(id);
    }

    /// Makes the next page begin at another position.
    pub(crate) fn next(&mut self, parameter: &str, value: &str) {
        self.next = Some(self.address(parameter, value));
    }

    fn address(&self, parameter: &str, value: &str) -> String {
        let own = [(parameter.to_owned(), value.to_owned())];
        let all: Vec<_> = self.parameters.iter().chain(&own).collect();
        // Pairs of texts can always be serialized.
        format!("{}?{}", self.base, serde_urlencoded::to_string(all).unwrap_or_default())
    }

    /// The answer: a page of results. Each result becomes JSON only when it is needed.
    pub(crate) fn respond(&self, results: impl Iterator<Item = String>) -> HttpResponse {
        let (next, previous) = (json!(self.next), json!(self.previous));
        let mut response = HttpResponse::Ok();
        let links = [(&self.next, "next"), (&self.previous, "prev")];
        let links: Vec<String> = links
            .iter()
            .filter_map(|(link, rel)| Some(format!("<{}>; rel=\"{rel}\"", link.as_ref()?)))
            .collect();
        if !links.is_empty() {
            response.insert_header((header::LINK, links.join(", ")));
        }
        // A source item is dropped once its result is made, and a result once it is written into
        // the body, which never grows: a page is in memory at most twice
        // (`answers::AnswerRoom::turn`).
        let results: Vec<String> = results.collect();
        let first_id = self.first_id.map_or_else(String::new, |id| format!(",\"first_id\":{id}"));
        let end = format!("],\"next\":{next},\"previous\":{previous}{first_id}}}");
        let bytes: usize = results.iter().map(|result| result.len() + 1).sum();
        let mut body = String::with_capacity(BEGIN.len() + bytes + end.len());
        body.push_str(BEGIN);
        for (place, result) in results.into_iter().enumerate() {
            if place > 0 {
                body.push(',');
            }
            body.push_str(&result);
        }
        body.push_str(&end);
        response.content_type("application/json").body(body)
    }
}

/// The beginning of a page's body.
const BEGIN: &str = "{\"results\":[";

/// The request's address without its query: absolute if the client names the host.
fn base(request: &HttpRequest) -> String {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let plain = |host: &&str| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
    };
    match host.filter(plain) {
        Some(host) => format!("{}://{host}{}", scheme(request), request.path()),
        None => request.path().to_owned(),
    }
}

/// The scheme that the client used. A scheme other than the server's own is believed only from one
/// of the deployment's proxies.
fn scheme(request: &HttpRequest) -> &'static str {
    let app = App::of(request);
    let by_proxy = client_address::is_by_proxy(request, &app.options.trusted_proxies);
    if by_proxy && request.connection_info().scheme() == "https" { "https" } else { "http" }
}
