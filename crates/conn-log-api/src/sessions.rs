//! `GET /sessions/`: sessions, newest first.

use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::Timestamp;
use conn_log_store::SessionFilter;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Reader;
use crate::http::cursor::ListTag;
use crate::http::page_links::PageLinks;
use crate::http::pages::{self, PageParameters, described_page};
use crate::http::problem::{Problem, json};
use crate::http::query_string::QueryString;
use crate::log::query::{self, RFC3339_IN_QUERY};
use crate::log::shapes::FilterValue;

/// A session of a device with an application.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session<'a> {
    #[schema(required)]
    session_id: Option<&'a str>,
    device_id: &'a str,
    application_id: &'a str,
    /// Null if no start event was received.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    started_at: Option<Timestamp>,
    /// Null while the session is open. It is before started_at if the device's clock was set back.
    #[schema(value_type = Option<DateTime<Utc>>, required)]
    ended_at: Option<Timestamp>,
    /// Seconds: the duration of the ending event, otherwise the time from start to end.
    #[schema(required)]
    duration: Option<f64>,
    open: bool,
    /// Null while it is open.
    #[schema(required)]
    end_reason: Option<EndReason>,
    /// The status of the ending event.
    #[schema(required)]
    end_status: Option<&'a str>,
    /// The latest event of the same device, application and session id within the session.
    #[schema(value_type = DateTime<Utc>)]
    last_event_at: Timestamp,
    #[schema(required, minimum = 1)]
    start_event_id: Option<i64>,
    /// Null while the session is open, and if no event ended it.
    #[schema(required, minimum = 1)]
    end_event_id: Option<i64>,
}

/// Why a session ended.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EndReason {
    /// An event of type terminated.
    Terminated,
    /// The next start of the same device and application, without session ids.
    Superseded,
    /// No event for longer than the server's session timeout.
    TimedOut,
}

impl From<conn_log_store::EndReason> for EndReason {
    fn from(reason: conn_log_store::EndReason) -> Self {
        match reason {
            conn_log_store::EndReason::Terminated => EndReason::Terminated,
            conn_log_store::EndReason::Superseded => EndReason::Superseded,
            conn_log_store::EndReason::TimedOut => EndReason::TimedOut,
        }
    }
}

described_page! {
    /// A page of sessions.
    SessionPage, Session<'static>
}

impl<'a> From<&'a conn_log_store::Session> for Session<'a> {
    fn from(session: &'a conn_log_store::Session) -> Self {
        Session {
            session_id: session.session_id.as_deref(),
            device_id: &session.device_id,
            application_id: &session.application_id,
            started_at: session.started_at,
            ended_at: session.ended_at,
            duration: session.duration,
            open: session.open,
            end_reason: session.end_reason.map(EndReason::from),
            end_status: session.end_status.as_deref(),
            last_event_at: session.last_event_at,
            start_event_id: session.start_event_id,
            end_event_id: session.end_event_id,
        }
    }
}

/// Sessions, newest first. A success of type established or resumed starts one and an event of type terminated ends
/// it. A session belongs to one device and one application, and to a session id where its events carry one.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/",
    operation_id = "session_list",
    tag = "Presence",
    params(
        ("device_id" = inline(Option<Vec<FilterValue>>), Query, max_items = 100, description = "Repeatable"),
        ("application_id" = inline(Option<Vec<FilterValue>>), Query, max_items = 100, description = "Repeatable"),
        ("session_id" = inline(Option<Vec<FilterValue>>), Query, max_items = 100, description = "Repeatable"),
        ("open" = Option<bool>, Query, description = "true: only open sessions; false: only ended sessions"),
        ("since" = Option<DateTime<Utc>>, Query,
            description = "Sessions that were open at this time or later"),
        ("until" = Option<DateTime<Utc>>, Query,
            description = "Sessions that were open before this time, and not before `since`"),
        ("active_at" = Option<DateTime<Utc>>, Query, description = "Sessions that were open at this time"),
        PageParameters,
    ),
    responses((status = 200, description = "A page", body = SessionPage)),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let filter = SessionFilter {
        device_ids: query::repeatable(&mut parameters, "device_id")?,
        application_ids: query::repeatable(&mut parameters, "application_id")?,
        session_ids: query::repeatable(&mut parameters, "session_id")?,
        open: parameters.parsed("open", "true or false")?,
        since: parameters.read("since", RFC3339_IN_QUERY, Timestamp::parse)?,
        until: parameters.read("until", RFC3339_IN_QUERY, Timestamp::parse)?,
        active_at: parameters.read("active_at", RFC3339_IN_QUERY, Timestamp::parse)?,
    };
    let query = pages::page_query(&mut parameters, LIST)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, asked) = (caller.tenant(), query.clone());
    let page =
        App::of(&request).read(move |store| store.session_list(tenant, &filter, &asked)).await?;
    let key = conn_log_store::Session::place;
    let links = PageLinks::of(&request, LIST, &query.start, &page, key);
    Ok(links.respond(page.items.iter().map(|session| json(&Session::from(session)))))
}

/// The tag of this list's cursors.
const LIST: ListTag = ListTag(b'S');
