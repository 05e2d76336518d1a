//! `GET /device_app_connection_log/stats/`: counts, failures, distinct devices and percentiles.

mod answer;
mod query;
mod sending;

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use conn_log_store::StatisticsError;
use tokio::time::timeout;

use answer::Body;

use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Reader;
use crate::http::problem::Problem;
use crate::http::query_string::QueryString;
use crate::log::known_names;
use crate::log::shapes::SelectionParameters;

/// How long a request waits for a permit to compute, and a large answer for a permit to be sent.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Counts, failures, distinct devices and percentiles of events, in steps of time and by groups.
#[utoipa::path(
    get,
    path = "/api/v1/device_app_connection_log/stats/",
    operation_id = "event_statistics",
    tag = "Events",
    params(
        SelectionParameters,
        ("interval" = inline(Option<answer::IntervalName>), Query,
            description = "A week begins on Monday; without an interval, all time is one step"),
        ("timezone" = Option<String>, Query, min_length = 1, description = "An IANA name, UTC by default: hours, \
            days, weeks and months begin by its clocks"),
        ("group_by" = inline(Option<Vec<answer::GroupKey>>), Query,
            description = "Repeatable, or with commas"),
        ("sort" = inline(Option<answer::SortName>), Query,
            description = "The order of groups within a step; ties go by keys"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100_000,
            description = "With sort: only the first groups of each step"),
    ),
    responses(
        (status = 200, description = "The figures", body = answer::Statistics<'_>),
        (status = 400, description = "A parameter is unknown, has a value it does not take, or \
            the answer would be too large",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn stats(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let asked = query::of(QueryString::of(&request)?)?;
    accept::require(&request, "application/json")?;
    let app = App::of(&request);
    let (types, statuses) = (&asked.connection_types, &asked.statuses);
    known_names::require(&app, caller.tenant(), types, statuses).await?;
    let permit = timeout(PERMIT_WAIT_MAX, app.statistics.clone().acquire_owned()).await;
    let Ok(Ok(permit)) = permit else {
        return Err(Problem::overloaded("too many statistics are being computed", 5));
    };
    let (body, first) = app
        .read(move |store| {
            // Held until the work ends, even if no request waits for it any more.
            let _permit = permit;
            let groups = store.statistics(caller.tenant(), &asked)?;
            let body = Body { interval: asked.interval, by: asked.group_by, groups };
            let first = body.part(0);
            Ok::<_, StatisticsError>((body, first))
        })
        .await?;
    let first = first.map_err(|error| Problem::internal(&error))?;
    sending::respond(&request, body, first).await
}
