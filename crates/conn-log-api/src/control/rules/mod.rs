//! `/alert_rules/`: the rules of a tenant's log.

mod reading;
mod shapes;

use actix_web::http::header;
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use conn_log_core::Timestamp;
use conn_log_core::alert::{Rule, starter_rules};
use conn_log_store::{Created, Store, StoreError, StoredRule, TenantId};
use serde_json::{Map, Value};

use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::{Admin, Reader};
use crate::http::cursor::ListTag;
use crate::http::entity_tag::IfMatch;
use crate::http::idempotency::{self, CreatedAnswer, IdempotencyKey, Keyed};
use crate::http::json_object::{self, Members};
use crate::http::page_links::PageLinks;
use crate::http::pages::{self, PageParameters};
use crate::http::patch;
use crate::http::problem::{Problem, ProblemKind, json};
use crate::http::query_string::QueryString;
use crate::log::query::RFC3339_IN_QUERY;

/// The tag of this list's cursors.
const LIST: ListTag = ListTag(b'R');

/// The rules of the tenant, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/alert_rules/",
    operation_id = "alert_rule_list",
    tag = "Watching",
    params(PageParameters),
    responses((status = 200, description = "A page", body = shapes::AlertRulePage)),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let query = pages::page_query(&mut parameters, LIST)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, asked) = (caller.tenant(), query.clone());
    let app = App::of(&request);
    let page = app.read(move |store| store.rule_list(tenant, &asked)).await?;
    let links = PageLinks::of(&request, LIST, &query.start, &page, |rule| rule.id);
    Ok(links.respond(
        page.items
            .iter()
            .map(|rule| json(&shapes::answer(rule, app.store.rule_state(tenant, rule.id)))),
    ))
}

/// Creates a rule. It looks at the events that come after it.
#[utoipa::path(
    post,
    path = "/api/v1/alert_rules/",
    operation_id = "alert_rule_create",
    tag = "Watching",
    params(IdempotencyKey),
    request_body = shapes::NewAlertRule,
    responses(
        (status = 201, description = "The rule", body = shapes::AlertRule),
        (status = 422, description = "A value is invalid, the tenant has the maximum number of rules, or the key belongs to another body",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn create(
    request: HttpRequest,
    mut payload: Payload,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let body = json_object::read(&request, &mut payload).await?;
    let (app, tenant) = (App::of(&request), caller.tenant());
    let keyed = Keyed::of(&request, "/api/v1/alert_rules/", &body)?;
    if let Some(answer) = keyed.answered(&app, tenant).await? {
        return Ok(answer.into_replayed());
    }
    let object = Members::parse(&body)?.into_values()?;
    let rule = reading::rule(&app, tenant, object).await?;
    let once = keyed.once(|rule| created(rule).to_bytes());
    match app.read(move |store| store.rule_create_once(tenant, rule, once)).await? {
        Created::New(rule) => Ok(created(&rule).into_response()),
        Created::Repeated(repeated) => Ok(idempotency::replay(repeated)?.into_replayed()),
    }
}

fn created(rule: &StoredRule) -> CreatedAnswer {
    CreatedAnswer {
        location: format!("/api/v1/alert_rules/{}/", rule.id),
        etag: Some(shapes::tag(rule)),
        body: json(&shapes::answer(rule, None)),
    }
}

/// A rule.
#[utoipa::path(
    get,
    path = "/api/v1/alert_rules/{id}/",
    operation_id = "alert_rule_get",
    tag = "Watching",
    params(("id" = i64, Path, description = "The rule's id")),
    responses(
        (status = 200, description = "The rule", body = shapes::AlertRule),
        (status = 404, description = "The tenant has no such rule",
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
    let (id, tenant, app) = (id_of(&id)?, caller.tenant(), App::of(&request));
    let rule = app.read(move |store| store.rule_get(tenant, id)).await?.ok_or_else(none_such)?;
    Ok(answer(&app, tenant, &rule))
}

/// Changes the members of a rule that are given; a member that is null gets its default. A body of the type
/// application/merge-patch+json (RFC 7396) is merged into members that are objects, JSON replaces them. If the rule then finds
/// something else, it has a new version, which looks at the events that come after it. With If-Match a rule that was
/// changed meanwhile stays as it is.
#[utoipa::path(
    patch,
    path = "/api/v1/alert_rules/{id}/",
    operation_id = "alert_rule_change",
    tag = "Watching",
    params(
        ("id" = i64, Path, description = "The rule's id"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the rule that is meant"),
    ),
    request_body = shapes::AlertRuleChange,
    responses(
        (status = 200, description = "The rule", body = shapes::AlertRule),
        (status = 409, description = "The rule was changed meanwhile",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "The tenant has no such rule",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value is invalid",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn change(
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: Payload,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    let if_match = IfMatch::of(&request);
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let (body, patch) = patch::read(&request, &mut payload).await?;
    let changes = Members::parse(&body)?.into_values()?;
    let (id, tenant, app) = (id_of(&id)?, caller.tenant(), App::of(&request));
    let old = app.read(move |store| store.rule_get(tenant, id)).await?.ok_or_else(none_such)?;
    if_match.require(&shapes::tag(&old))?;
    let mut object = old.rule.to_json();
    patch.apply(&mut object, changes.clone());
    // Tells the faults of the names that only the log knows.
    reading::rule(&app, tenant, object).await?;
    let changed = app.read(move |store| {
        store.rule_change(tenant, id, move |old| {
            if_match.require(&shapes::tag(old))?;
            let mut object = old.rule.to_json();
            patch.apply(&mut object, changes);
            Rule::from_json(object).map_err(Problem::from)
        })
    });
    let rule = changed.await??;
    Ok(answer(&app, tenant, &rule))
}

/// Deletes a rule. Its alerts stay; silences and sessions that go on are resolved. With If-Match a rule that was
/// changed meanwhile stays.
#[utoipa::path(
    delete,
    path = "/api/v1/alert_rules/{id}/",
    operation_id = "alert_rule_delete",
    tag = "Watching",
    params(
        ("id" = i64, Path, description = "The rule's id"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the rule that is meant"),
    ),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 409, description = "The rule was changed meanwhile",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "The tenant has no such rule",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn delete(
    request: HttpRequest,
    id: web::Path<String>,
    caller: Admin,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    let (id, tenant, if_match) = (id_of(&id)?, caller.tenant(), IfMatch::of(&request));
    let check = move |rule: &StoredRule| if_match.require(&shapes::tag(rule));
    App::of(&request).read(move |store| store.rule_delete(tenant, id, check)).await??;
    Ok(HttpResponse::NoContent().finish())
}

/// Runs a rule over the events of a time of the past and stores nothing. It ends after some seconds, and then says how
/// far it got.
#[utoipa::path(
    post,
    path = "/api/v1/alert_rules/preview/",
    operation_id = "alert_rule_preview",
    tag = "Watching",
    params(
        ("since" = Option<DateTime<Utc>>, Query, description = "In place of the member"),
        ("until" = Option<DateTime<Utc>>, Query, description = "In place of the member"),
    ),
    request_body = shapes::AlertRulePreview,
    responses(
        (status = 200, description = "What the rule would have raised", body = shapes::AlertPreview),
        (status = 422, description = "A value is invalid",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn preview(
    request: HttpRequest,
    mut payload: Payload,
    caller: Reader,
) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let times = ["since", "until"]
        .map(|name| (name, parameters.read(name, RFC3339_IN_QUERY, Timestamp::parse)));
    parameters.finish()?;
    let mut object = object(&request, &mut payload).await?;
    for (name, time) in times {
        object.extend(time?.map(|time| (name.to_owned(), time.to_string().into())));
    }
    let (app, tenant) = (App::of(&request), caller.tenant());
    let ((since, until), mut faults) = reading::span(&mut object);
    reading::take_in_rule(&mut object, &mut faults);
    // A rule that is only tried needs no name.
    object.entry("name").or_insert_with(|| "preview".into());
    let rule = reading::rule_with(&app, tenant, object, faults).await?;
    let permit = app.previews.clone().try_acquire_owned();
    let Ok(permit) = permit else {
        return Err(Problem::overloaded("too many previews are running", 5));
    };
    let found = app.read(move |store| {
        let _permit = permit;
        store.rule_preview(tenant, rule, since, until)
    });
    let answer = shapes::preview(&found.await?);
    Ok(HttpResponse::Ok().content_type("application/json").body(json(&answer)))
}

/// Creates the starter rules that are missing, by their names.
#[utoipa::path(
    post,
    path = "/api/v1/alert_rules/install/",
    operation_id = "alert_rule_install",
    tag = "Watching",
    responses((status = 200, description = "The rules that were missing", body = shapes::InstalledRules)),
    security(("bearer" = [])),
)]
pub(crate) async fn install(request: HttpRequest, caller: Admin) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let tenant = caller.tenant();
    let installed =
        App::of(&request).read(move |store| store.rule_install(tenant, starter_rules())).await?;
    let rules: Vec<Value> = installed.iter().map(|rule| shapes::answer(rule, None)).collect();
    let answer = serde_json::json!({"installed": rules});
    Ok(HttpResponse::Ok().content_type("application/json").body(json(&answer)))
}

fn answer(app: &App, tenant: TenantId, rule: &StoredRule) -> HttpResponse {
    let answer = shapes::answer(rule, app.store.rule_state(tenant, rule.id));
    HttpResponse::Ok()
        .insert_header((header::ETAG, shapes::tag(rule)))
        .content_type("application/json")
        .body(json(&answer))
}

async fn object(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<Map<String, Value>, Problem> {
    accept::require(request, "application/json")?;
    let body = json_object::read(request, payload).await?;
    Members::parse(&body)?.into_values()
}

fn id_of(text: &str) -> Result<i64, Problem> {
    text.parse().ok().filter(|id| *id > 0).ok_or_else(none_such)
}

fn none_such() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such rule")
}

/// Checks that the tenant has the rules that a webhook or a silence names. A name of no rule is a typing
/// error: it would match no alert.
///
/// # Errors
/// 422 at that place of the body, with the names of no rule.
pub(crate) async fn require(
    app: &App,
    tenant: TenantId,
    pointer: &str,
    names: Vec<Value>,
) -> Result<(), Problem> {
    if names.is_empty() {
        return Ok(());
    }
    let is_unknown = move |store: &Store| -> Result<Vec<Value>, StoreError> {
        let mut unknown = Vec::new();
        for name in names {
            let id = name.as_i64().or_else(|| name.as_str()?.parse().ok());
            let rule = id.map(|id| store.rule_get(tenant, id)).transpose()?;
            if rule.flatten().is_none() {
                unknown.push(name);
            }
        }
        Ok(unknown)
    };
    let unknown = app.read(is_unknown).await?;
    if unknown.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = unknown.iter().map(Value::to_string).collect();
    let detail = format!("there is no rule with the id {}", names.join(", "));
    Err(json_object::invalid_value(pointer.to_owned(), "unknown_value", detail))
}
