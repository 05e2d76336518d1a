//! `GET /devices/` and `GET /devices/{device_id}/`: presence of devices.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use conn_log_core::Timestamp;
use conn_log_store::{DeviceFilter, Page, PageQuery, Store, StoreError, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use super::Present;
use crate::http::auth::Reader;
use crate::http::cursor::ListTag;
use crate::http::pages::{PageParameters, described_page};
use crate::http::problem::Problem;
use crate::http::query_string::QueryString;
use crate::log::query::{self, RFC3339_IN_QUERY};
use crate::log::shapes::FilterValue;

/// A device with events in the log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Device<'a> {
    device_id: &'a str,
    /// The earliest timestamp of its events.
    #[schema(value_type = DateTime<Utc>)]
    first_seen: Timestamp,
    /// The latest timestamp of its events.
    #[schema(value_type = DateTime<Utc>)]
    last_seen: Timestamp,
    /// Whether one of its sessions is open and not suspended.
    connected: bool,
    last_application_id: &'a str,
    /// The address of the latest event that has one.
    #[schema(value_type = Option<String>, required)]
    last_ip_address: Option<IpAddr>,
    last_status: &'a str,
    #[schema(minimum = 0)]
    events: i64,
    /// Events with another status than success.
    #[schema(minimum = 0)]
    failures: i64,
    /// The number of its open sessions, including suspended ones.
    #[schema(minimum = 0)]
    open_sessions: i64,
}

described_page! {
    /// A page of devices.
    DevicePage, Device<'static>
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

impl Present for conn_log_store::Device {
    type Shown<'a> = Device<'a>;

    const LIST: ListTag = ListTag(b'D');

    const NONE_SUCH: &'static str = "there is no such device in this log";

    fn name(&self) -> &str {
        &self.device_id
    }

    type Filter = DeviceFilter;

    fn filter(parameters: &mut QueryString) -> Result<DeviceFilter, Problem> {
        Ok(DeviceFilter {
            connected: parameters.parsed("connected", "true or false")?,
            application_ids: query::repeatable(parameters, "application_id")?,
            seen_since: parameters.read("seen_since", RFC3339_IN_QUERY, Timestamp::parse)?,
            seen_until: parameters.read("seen_until", RFC3339_IN_QUERY, Timestamp::parse)?,
        })
    }

    fn list(
        store: &Store,
        tenant: TenantId,
        filter: &DeviceFilter,
        query: &PageQuery<String>,
    ) -> Result<Page<Self>, StoreError> {
        store.device_list(tenant, filter, query)
    }

    fn get(store: &Store, tenant: TenantId, name: &str) -> Result<Option<Self>, StoreError> {
        store.device_get(tenant, name)
    }
}

/// The devices with events in the log, by id.
#[utoipa::path(
    get,
    path = "/api/v1/devices/",
    operation_id = "device_list",
    tag = "Presence",
    params(
        ("connected" = Option<bool>, Query, description = "true: only connected devices; false: only other devices"),
        ("application_id" = inline(Option<Vec<FilterValue>>), Query, max_items = 100,
            description = "Devices with events of this application. Repeatable"),
        ("seen_since" = Option<DateTime<Utc>>, Query, description = "last_seen is at this time or later"),
        ("seen_until" = Option<DateTime<Utc>>, Query, description = "last_seen is before this time"),
        PageParameters,
    ),
    responses((status = 200, description = "A page", body = DevicePage)),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    super::list::<conn_log_store::Device>(request, caller).await
}

/// One device.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device_id}/",
    operation_id = "device_get",
    tag = "Presence",
    params(("device_id" = String, Path, min_length = 1, description = "The device's id")),
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
    super::get::<conn_log_store::Device>(request, &id, caller).await
}
