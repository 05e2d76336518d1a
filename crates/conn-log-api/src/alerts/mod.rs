//! `/alerts/`: what the rules have found.

pub(crate) mod shapes;

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::Timestamp;
use conn_log_core::alert::{KINDS, Severity};
use conn_log_store::{AlertQuery, AlertState, WEBHOOK_DISABLED};

use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::{Admin, Reader};
use crate::http::cursor::ListTag;
use crate::http::json_object::{self, Members};
use crate::http::page_links::PageLinks;
use crate::http::pages::{self, PageParameters};
use crate::http::problem::{Problem, ProblemKind, json};
use crate::http::query_string::QueryString;
use crate::log::query::RFC3339_IN_QUERY;

/// The tag of this list's cursors.
const LIST: ListTag = ListTag(b'A');

/// Longest note: some paragraphs. An alert with its note is in each message of webhooks.
const NOTE_CHARS_MAX: usize = 1_000;

/// Longest group in a query: more than the metadata (16 KiB) and the other fields of an event have
/// together.
const GROUP_BYTES_MAX: usize = 32 << 10;

const GROUP: &str = "a value of the group, or its JSON object, of at most 32,768 bytes";

/// The alerts, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/alerts/",
    operation_id = "alert_list",
    tag = "Watching",
    params(
        ("rule_id" = Option<Vec<i64>>, Query, description = "Repeatable"),
        ("kind" = Option<Vec<String>>, Query,
            description = "A kind of rules, or webhook_disabled; repeatable"),
        ("severity" = Option<Vec<String>>, Query, description = "info, warning or critical; repeatable"),
        ("state" = Option<Vec<String>>, Query,
            description = "open, acknowledged, resolved or withdrawn; repeatable"),
        ("group" = Option<String>, Query,
            description = "A value of the group, such as a device id, or the whole group as a JSON object"),
        ("since" = Option<DateTime<Utc>>, Query, description = "Alerts that started at this time or later"),
        ("until" = Option<DateTime<Utc>>, Query, description = "Alerts that started before this time"),
        PageParameters,
    ),
    responses((status = 200, description = "A page", body = shapes::AlertPage)),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let filter = filter(&mut parameters)?;
    let query = pages::page_query(&mut parameters, LIST)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, asked) = (caller.tenant(), query.clone());
    let page =
        App::of(&request).read(move |store| store.alert_list(tenant, &filter, &asked)).await?;
    let links = PageLinks::of(&request, LIST, &query.start, &page, |alert| alert.id);
    Ok(links.respond(page.items.iter().map(|alert| json(&alert.to_json()))))
}

fn filter(parameters: &mut QueryString) -> Result<AlertQuery, Problem> {
    let mut names = |name: &str, known: &[&str]| {
        let values = parameters.all(name);
        if values.iter().any(|value| !known.contains(&value.as_str())) {
            let detail = format!("any of {}", known.join(", "));
            return Err(Problem::parameter(name, "unknown_value", detail));
        }
        Ok(values)
    };
    let severities: Vec<&str> = Severity::ALL.iter().map(|severity| severity.name()).collect();
    let states: Vec<&str> = AlertState::ALL.iter().map(|state| state.name()).collect();
    let known: Vec<&str> = KINDS.into_iter().chain([WEBHOOK_DISABLED]).collect();
    let kinds = names("kind", &known)?;
    let severities = names("severity", &severities)?;
    let states = names("state", &states)?;
    let rule_ids: Option<Vec<i64>> =
        parameters.all("rule_id").iter().map(|id| id.parse().ok().filter(|id| *id > 0)).collect();
    let Some(rule_ids) = rule_ids else {
        return Err(Problem::parameter("rule_id", "invalid_value", "a rule's id"));
    };
    let group = |text: &str| {
        let is_one = (1..=GROUP_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
        is_one.then(|| text.to_owned())
    };
    Ok(AlertQuery {
        rule_ids,
        kinds,
        severities,
        states: states.iter().filter_map(|state| state.parse().ok()).collect(),
        group: parameters.read("group", GROUP, group)?,
        since: parameters.read("since", RFC3339_IN_QUERY, Timestamp::parse)?,
        until: parameters.read("until", RFC3339_IN_QUERY, Timestamp::parse)?,
    })
}

/// An alert.
#[utoipa::path(
    get,
    path = "/api/v1/alerts/{id}/",
    operation_id = "alert_get",
    tag = "Watching",
    params(("id" = i64, Path, description = "The alert's id")),
    responses(
        (status = 200, description = "The alert", body = shapes::Alert),
        (status = 404, description = "The tenant has no such alert",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn get(
    request: HttpRequest,
    id: web::Path<String>,
    caller: Reader,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let (id, tenant) = (id_of(&id)?, caller.tenant());
    let alert = App::of(&request).read(move |store| store.alert_get(tenant, id)).await?;
    let answer = json(&alert.ok_or_else(none_such)?.to_json());
    Ok(HttpResponse::Ok().content_type("application/json").body(answer))
}

/// Notes that a person has seen an alert. One that is acknowledged or over already stays as it is.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/acknowledge/",
    operation_id = "alert_acknowledge",
    tag = "Watching",
    params(("id" = i64, Path, description = "The alert's id")),
    request_body = shapes::AlertNote,
    responses(
        (status = 200, description = "The alert", body = shapes::Alert),
        (status = 404, description = "The tenant has no such alert",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "The note is invalid",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn acknowledge(
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: Payload,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    settle(&request, &id, &mut payload, &caller, AlertState::Acknowledged).await
}

/// Notes that an alert is over. One that is over already stays as it is.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/resolve/",
    operation_id = "alert_resolve",
    tag = "Watching",
    params(("id" = i64, Path, description = "The alert's id")),
    request_body = shapes::AlertNote,
    responses(
        (status = 200, description = "The alert", body = shapes::Alert),
        (status = 404, description = "The tenant has no such alert",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "The note is invalid",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn resolve(
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: Payload,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    settle(&request, &id, &mut payload, &caller, AlertState::Resolved).await
}

async fn settle(
    request: &HttpRequest,
    id: &str,
    payload: &mut Payload,
    caller: &Admin,
    state: AlertState,
) -> Result<HttpResponse, Problem> {
    QueryString::of(request)?.finish()?;
    accept::require(request, "application/json")?;
    let note = note(request, payload).await?;
    let (id, tenant) = (id_of(id)?, caller.tenant());
    let settled =
        App::of(request).read(move |store| store.alert_settle(tenant, id, state, note)).await?;
    let answer = json(&settled.to_json());
    Ok(HttpResponse::Ok().content_type("application/json").body(answer))
}

/// The note of a body, which may be left out.
async fn note(request: &HttpRequest, payload: &mut Payload) -> Result<Option<String>, Problem> {
    if !json_object::has_body(request) {
        return Ok(None);
    }
    let body = json_object::read(request, payload).await?;
    let mut members = Members::parse(&body)?;
    let note = members.prose("note", NOTE_CHARS_MAX);
    members.finish()?;
    Ok(note)
}

fn id_of(text: &str) -> Result<i64, Problem> {
    text.parse().ok().filter(|id| *id > 0).ok_or_else(none_such)
}

fn none_such() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such alert")
}
