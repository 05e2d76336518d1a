//! Presence: the state of each device and each application in the log.
//!
//! Both can be read as a list and one by name. The code for both is here once.

pub(crate) mod applications;
pub(crate) mod devices;

use actix_web::{HttpRequest, HttpResponse};
use conn_log_store::{Page, PageQuery, Store, StoreError, TenantId};
use serde::Serialize;

use crate::http::accept;
use crate::http::app::App;
use crate::http::auth::Reader;
use crate::http::cursor::{CursorKey as _, ListTag};
use crate::http::page_links::PageLinks;
use crate::http::pages;
use crate::http::problem::{Problem, ProblemKind, json};
use crate::http::query_string::QueryString;

/// A kind of row that the log keeps by name, and how it is read from the store.
trait Present: Send + Sized + 'static {
    /// The row as answers show it.
    type Shown<'a>: From<&'a Self> + Serialize;

    /// The tag of the list's cursors.
    const LIST: ListTag;

    /// The text of the problem if no row has that name.
    const NONE_SUCH: &'static str;

    fn name(&self) -> &str;

    /// The filters of the list.
    type Filter: Send + 'static;

    /// Takes the filters out of a query string.
    fn filter(parameters: &mut QueryString) -> Result<Self::Filter, Problem>;

    /// Reads a page of rows. Blocks the thread.
    fn list(
        store: &Store,
        tenant: TenantId,
        filter: &Self::Filter,
        query: &PageQuery<String>,
    ) -> Result<Page<Self>, StoreError>;

    /// Reads the row of that name. Blocks the thread.
    fn get(store: &Store, tenant: TenantId, name: &str) -> Result<Option<Self>, StoreError>;
}

async fn list<T: Present>(request: HttpRequest, caller: Reader) -> Result<HttpResponse, Problem> {
    let mut parameters = QueryString::of(&request)?;
    let filter = T::filter(&mut parameters)?;
    let query = pages::page_query(&mut parameters, T::LIST)?;
    parameters.finish()?;
    accept::require(&request, "application/json")?;
    let (tenant, asked) = (caller.tenant(), query.clone());
    let page = App::of(&request).read(move |store| T::list(store, tenant, &filter, &asked)).await?;
    let key = |item: &T| item.name().to_owned();
    let links = PageLinks::of(&request, T::LIST, &query.start, &page, key);
    Ok(links.respond(page.items.iter().map(|item| json(&T::Shown::from(item)))))
}

async fn get<T: Present>(
    request: HttpRequest,
    name: &str,
    caller: Reader,
) -> Result<HttpResponse, Problem> {
    QueryString::of(&request)?.finish()?;
    accept::require(&request, "application/json")?;
    let none_such = || Problem::new(ProblemKind::NotFound, T::NONE_SUCH);
    let name = String::of_bytes(name.as_bytes()).ok_or_else(none_such)?;
    let tenant = caller.tenant();
    let found = App::of(&request).read(move |store| T::get(store, tenant, &name)).await?;
    Ok(HttpResponse::Ok().json(T::Shown::from(&found.ok_or_else(none_such)?)))
}
