//! `GET /devices/` and `GET /devices/{device_id}/`: presence of devices.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use conn_log_core::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Reader;
use crate::http::derived_list;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::query_string::QueryString;

/// A device, as the log knows it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Device<'a> {
    device_id: &'a str,
    /// The earliest timestamp of its events.
    #[schema(value_type = DateTime<Utc>)]
    first_seen: Timestamp,
    /// The latest: a late event does not move it back.
    #[schema(value_type = DateTime<Utc>)]
    last_seen: Timestamp,
    /// Whether the latest success among established, resumed, suspended and terminated is one of
    /// the first two.
    connected: bool,
    last_application_id: &'a str,
    /// The address of the latest event that has one.
    #[schema(value_type = Option<String>, required)]
    last_ip_address: Option<IpAddr>,
    last_status: &'a str,
    events: i64,
    /// Events with another status than success.
    failures: i64,
    open_sessions: i64,
}

impl<'a> From<&'a conn_log_store::Device> for Device<'a> {
    fn from(device: &'a conn_log_store::Device) -> Self {
        Device {
            device_id: &device.device_id,
            first_seen: device.first_seen,
            last_seen: device.last_seen,
            connected: device.connected,
            last_application_id: &device.last_application_id,
            last_ip_address: device.last_ip_address,
            last_status: &device.last_status,
            events: device.events,
            failures: device.failures,
            open_sessions: device.open_sessions,
        }
    }
}

/// A page of devices.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct DevicePage<'a> {
    results: Vec<Device<'a>>,
    #[schema(required)]
    next: Option<String>,
    #[schema(required)]
    previous: Option<String>,
}

/// The devices that the log knows, by id.
#[utoipa::path(
    get,
    path = "/api/v1/devices/",
    tag = "Presence",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 1,000; 100 unless given"),
        ("cursor" = Option<String>, Query, description = "From a page's next or previous"),
    ),
    responses(
        (status = 200, description = "A page", body = DevicePage<'_>),
        (status = 400, description = "A parameter is unknown or has a value it does not take",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let query = derived_list::page_query(&mut parameters, derived_list::name_of)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, asked) = (caller.tenant(), query.clone());
    let page = App::of(&request).read(move |store| store.device_list(tenant, &asked)).await?;
    Ok(derived_list::respond(
        &request,
        &query,
        &page,
        |device| device.device_id.clone().into_bytes(),
        Device::from,
    ))
}

/// One device.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device_id}/",
    tag = "Presence",
    params(("device_id" = String, Path, description = "The device's id")),
    responses(
        (status = 200, description = "The device", body = Device<'_>),
        (status = 404, description = "No event of such a device is in the token's log",
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
    let no_such = || Problem::new(ProblemKind::NotFound, "there is no such device in this log");
    let id = derived_list::name_of(id.as_bytes()).ok_or_else(no_such)?;
    let device =
        App::of(&request).read(move |store| store.device_get(caller.tenant(), &id)).await?;
    Ok(HttpResponse::Ok().json(Device::from(&device.ok_or_else(no_such)?)))
}
