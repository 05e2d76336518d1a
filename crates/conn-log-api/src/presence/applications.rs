//! `GET /applications/` and `GET /applications/{application_id}/`: presence of applications.

use actix_web::{HttpRequest, HttpResponse, web};
use conn_log_core::Timestamp;
use conn_log_store::{Page, PageQuery, Store, StoreError, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use super::Present;
use crate::http::auth::Reader;
use crate::http::cursor::ListTag;
use crate::http::pages::{PageParameters, described_page};
use crate::http::problem::Problem;
use crate::http::query_string::QueryString;

/// An application with events in the log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Application<'a> {
    application_id: &'a str,
    /// The earliest timestamp of its events.
    #[schema(value_type = DateTime<Utc>)]
    first_seen: Timestamp,
    /// The latest timestamp of its events.
    #[schema(value_type = DateTime<Utc>)]
    last_seen: Timestamp,
    /// The number of devices with events of it.
    #[schema(minimum = 0)]
    devices: i64,
    /// The number of devices that have an open session with it that is not suspended.
    #[schema(minimum = 0)]
    connected_devices: i64,
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
    /// A page of applications.
    ApplicationPage, Application<'static>
}

impl<'a> From<&'a conn_log_store::Application> for Application<'a> {
    fn from(application: &'a conn_log_store::Application) -> Self {
        Application {
            application_id: &application.application_id,
            first_seen: application.first_seen,
            last_seen: application.last_seen,
            devices: application.devices,
            connected_devices: application.connected_devices,
            events: application.events,
            failures: application.failures,
            open_sessions: application.open_sessions,
        }
    }
}

impl Present for conn_log_store::Application {
    type Shown<'a> = Application<'a>;

    const LIST: ListTag = ListTag(b'A');

    const NONE_SUCH: &'static str = "there is no such application in this log";

    fn name(&self) -> &str {
        &self.application_id
    }

    type Filter = ();

    fn filter(_: &mut QueryString) -> Result<(), Problem> {
        Ok(())
    }

    fn list(
        store: &Store,
        tenant: TenantId,
        (): &(),
        query: &PageQuery<String>,
    ) -> Result<Page<Self>, StoreError> {
        store.application_list(tenant, query)
    }

    fn get(store: &Store, tenant: TenantId, name: &str) -> Result<Option<Self>, StoreError> {
        store.application_get(tenant, name)
    }
}

/// The applications with events in the log, by id.
#[utoipa::path(
    get,
    path = "/api/v1/applications/",
    operation_id = "application_list",
    tag = "Presence",
    params(PageParameters),
    responses((status = 200, description = "A page", body = ApplicationPage)),
    security(("bearer" = [])),
)]
pub(crate) async fn list(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    super::list::<conn_log_store::Application>(request, caller).await
}

/// One application.
#[utoipa::path(
    get,
    path = "/api/v1/applications/{application_id}/",
    operation_id = "application_get",
    tag = "Presence",
    params(("application_id" = String, Path, min_length = 1, description = "The application's id")),
    responses(
        (status = 200, description = "The application", body = Application<'_>),
        (status = 404, description = "No event of such an application is in the token's log",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(crate) async fn get(
    request: HttpRequest,
    id: web::Path<String>,
    caller: Reader,
) -> Result<HttpResponse, Problem> {
    super::get::<conn_log_store::Application>(request, &id, caller).await
}
