//! Pages of a list: their query parameters and their answers.

use conn_log_store::{PageQuery, PageStart};
use utoipa::IntoParams;

use super::cursor::{self, CursorKey, ListTag};
use super::problem::Problem;
use super::query_string::QueryString;

/// Maximum results of one page: some hundred kilobytes of JSON.
const LIMIT_MAX: usize = 1_000;

/// Results of one page if the request does not set a limit.
const LIMIT_DEFAULT: usize = 100;

/// The parameters of every list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only described")]
pub(crate) struct PageParameters {
    /// Maximum number of results, 1 to 1,000; 100 if absent.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// An opaque position, from the links next and previous of a page.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

/// Describes a page of a list under a name of its own: the schema of a generic type would hold its
/// item's whole schema again.
macro_rules! described_page {
    ($(#[$doc:meta])* $name:ident, $item:ident $(<$lifetime:lifetime>)?) => {
        $(#[$doc])*
        #[derive(utoipa::ToSchema)]
        #[allow(dead_code, reason = "only described")]
        pub(crate) struct $name {
            results: Vec<$item $(<$lifetime>)?>,
            /// The address of the next page.
            #[schema(required)]
            next: Option<String>,
            /// The address of the previous page.
            #[schema(required)]
            previous: Option<String>,
        }
    };
}
pub(crate) use described_page;

/// Takes the limit out of a query string.
pub(crate) fn limit(parameters: &mut QueryString) -> Result<usize, Problem> {
    let read = |text: &str| text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    let limit = parameters.read("limit", "a whole number from 1 to 1,000", read)?;
    Ok(limit.unwrap_or(LIMIT_DEFAULT))
}

/// Takes limit and cursor out of a query string.
pub(crate) fn page_query<P: CursorKey>(
    parameters: &mut QueryString,
    list: ListTag,
) -> Result<PageQuery<P>, Problem> {
    let limit = limit(parameters)?;
    let read = |text: &str| cursor::decode(list, text);
    let start = parameters.read("cursor", "a cursor of this list", read)?;
    Ok(PageQuery { start: start.unwrap_or(PageStart::First), limit })
}
