//! `GET /device_app_connection_log/export/`: the log as a file of any size.
//!
//! One thread of the blocking pool reads pages and writes them in the requested format. A bounded
//! channel passes the bytes to the client. The channel slows the reader to the client's pace, and
//! ends the reader when the client disconnects.

use std::io::Write as _;

use actix_web::http::{Method, header};
use actix_web::{Error, HttpRequest, HttpResponse, web};
use conn_log_core::EventFilter;
use conn_log_formats::Format;
use conn_log_store::{LogBounds, Store, TenantId};
use futures_util::stream;

use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Reader;
use crate::http::pipe::{Pipe, feed};
use crate::http::problem::{Problem, ProblemKind};
use crate::http::query_string::QueryString;
use crate::log::stream_hub::{self, SPAN_IDS};
use crate::log::{known_names, query};

/// Events read at a time: enough that the cost of a query is negligible, few enough that the memory
/// is too (250 events of 16 KiB metadata are 4 MiB).
const PAGE_EVENTS: usize = 250;

/// Chunks between the reader and the client. With the chunks at both ends, that is about half a
/// megabyte for an export.
const CHUNKS_MAX: usize = 4;

/// U+FEFF in UTF-8. Without it, spreadsheets read the file in the code page of the machine.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The events as a file in order of id, up to the last event committed before the request.
#[utoipa::path(
    get,
    path = "/api/v1/device_app_connection_log/export/",
    operation_id = "event_export",
    tag = "Events",
    params(
        crate::log::shapes::SelectionParameters,
        crate::log::shapes::FilterParameters,
        ("format" = inline(Option<crate::log::shapes::ExportFormat>), Query, description = "ndjson by default"),
        ("bom" = Option<bool>, Query, description = "With format=csv; true: it begins with a byte order mark, for spreadsheets"),
    ),
    responses((status = 200, description = "The file", content(
        (String = "application/x-ndjson"), (String = "text/csv"),
        (Vec<u8> = "application/vnd.apache.parquet"),
    ))),
    security(("bearer" = [])),
)]
pub(crate) async fn export(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let app = App::of(&request);
    let mut parameters = QueryString::of(&request)?;
    let filter = query::filter(&mut parameters)?;
    let format: Format = parameters.parsed("format", Format::NAMES)?.unwrap_or_default();
    let bom: bool = parameters.parsed("bom", "true or false")?.unwrap_or(false);
    if bom && format != Format::Csv {
        return Err(Problem::parameter("bom", "conflict", "goes with format=csv only"));
    }
    parameters.finish()?;
    accept::require(&request, format.media_type())?;
    known_names::require_in(&app, caller.tenant(), &filter).await?;
    let mut response = HttpResponse::Ok();
    response.content_type(format.content_type()).insert_header((
        header::CONTENT_DISPOSITION,
        format!("attachment; filename=\"connection-log.{}\"", format.extension()),
    ));
    if request.method() == Method::HEAD {
        // The length is not known before the file is made.
        return Ok(response.streaming(stream::empty::<Result<web::Bytes, Error>>()));
    }
    let place = app.exports.clone().try_acquire_owned().map_err(|_| {
        Problem::new(ProblemKind::Overloaded, "too many exports are running")
            .with_header(header::RETRY_AFTER, "30")
    })?;

    let tenant = caller.tenant();
    let bounds = app.read(move |store| store.log_bounds(tenant)).await?;
    let (feed, body) = feed(CHUNKS_MAX);
    let store = app.store.clone();
    let request_id = crate::http::request_id::current();
    drop(web::block(move || {
        let _place = place;
        let mut out = Pipe::new(feed.clone());
        let begun = if bom { out.write_all(BOM) } else { Ok(()) };
        let run = || run(&store, tenant, &filter, bounds, format, out);
        match begun.map_err(Into::into).and_then(|()| run()) {
            Ok(()) => feed.end(),
            Err(error) => log::warn!("{request_id}: an export ended early: {error:#}"),
        }
    }));
    Ok(response.streaming(body))
}

fn run(
    store: &Store,
    tenant: TenantId,
    filter: &EventFilter,
    bounds: LogBounds,
    format: Format,
    out: Pipe,
) -> anyhow::Result<()> {
    let mut writer = format.writer(out)?;
    let (mut after, end) = (bounds.first_id - 1, bounds.size);
    while after < end {
        let query = stream_hub::after(after, filter.clone(), PAGE_EVENTS);
        let span_end = end.min(after.saturating_add(SPAN_IDS));
        let page = store.event_list_to(tenant, &query, span_end)?;
        writer.write(&page.records)?;
        after = match page.records.last() {
            Some(last) if page.has_more => last.id,
            _ => span_end,
        };
    }
    Ok(writer.finish()?)
}
