//! Presence: what the log knows of each device and each application, by its name.
//!
//! Both are read in the same two ways, a list and one by its name, which are written here once.

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

/// A kind of thing that the log knows by name: the store's row of it, and how it is read.
trait Present: Send + Sized + 'static {
    /// As answers show it.
    type Shown<'a>: From<&'a Self> + Serialize;

    /// Marks the cursors of the list.
    const LIST: ListTag;

    /// What to say where there is none of that name.
    const NONE_SUCH: &'static str;

    fn name(&self) -> &str;

    /// What a list can be narrowed to.
    type Filter: Send + 'static;

    /// Takes the filters out of a query string.
    fn filter(parameters: &mut QueryString) -> Result<Self::Filter, Problem>;

    /// Blocks the thread.
    fn list(
        store: &Store,
        tenant: TenantId,
        filter: &Self::Filter,
        query: &PageQuery<String>,
    ) -> Result<Page<Self>, StoreError>;

    /// Blocks the thread.
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
