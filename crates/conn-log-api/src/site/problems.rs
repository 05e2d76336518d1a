//! `/problems/…`: the pages that explain the types of problems.

use actix_web::{HttpResponse, web};

use super::html;
use crate::http::problem::{Problem, ProblemKind};

/// One kind of problem, explained.
#[utoipa::path(get, path = "/problems/{slug}", operation_id = "problem_get", tag = "Running",
    params(("slug" = String, Path, description = "The last part of a problem's type")),
    responses(
        (status = 200, description = "What the problem means and what to do", content_type = "text/html"),
        (status = 404, description = "No such problem",
            body = crate::http::openapi::Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn page(slug: web::Path<String>) -> Result<HttpResponse, Problem> {
    let kind = ProblemKind::ALL.iter().find(|kind| kind.slug() == slug.as_str());
    let kind = kind.ok_or_else(|| Problem::new(ProblemKind::NotFound, "no such problem"))?;
    let body = format!("{}<p><a href=\"/problems/\">All problems</a></p>", section(*kind));
    Ok(html::page(kind.title(), &body))
}

/// All kinds of problems.
#[utoipa::path(get, path = "/problems/", operation_id = "problem_list", tag = "Running",
    responses((status = 200, description = "All kinds of problems", content_type = "text/html")))]
pub(crate) async fn index() -> HttpResponse {
    let sections: Vec<String> = ProblemKind::ALL.iter().map(|kind| section(*kind)).collect();
    html::page("Problems", &format!("<h1>Problems</h1>{}", sections.concat()))
}

/// The HTML of one kind. All of it is this program's own text, so nothing needs to be escaped.
fn section(kind: ProblemKind) -> String {
    format!(
        "<h2 id=\"{slug}\">{title}</h2><p>Status <strong>{status}</strong> · type \
         <code>/problems/{slug}</code></p><p>{text}</p>",
        slug = kind.slug(),
        title = kind.title(),
        status = kind.status().as_u16(),
        text = kind.explanation(),
    )
}
