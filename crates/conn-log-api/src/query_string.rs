//! Query parameters: every one is known, or the request is refused.

use std::str::FromStr;

use actix_web::HttpRequest;

use crate::problem::{Problem, ProblemKind};

/// The parameters of one request, taken out one by one. What is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct QueryString(Vec<(String, String)>);

impl QueryString {
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let pairs = serde_urlencoded::from_str(request.query_string())
            .map_err(|error| Problem::new(ProblemKind::InvalidQuery, error.to_string()))?;
        Ok(QueryString(pairs))
    }

    /// Every value of a repeatable parameter.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(n, _)| n == name).map(|(_, value)| value).collect()
    }

    /// Every parameter whose name starts with `prefix`, without the prefix.
    pub(crate) fn prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let taken = self.0.extract_if(.., |(name, _)| name.starts_with(prefix));
        taken.map(|(name, value)| (name[prefix.len()..].to_owned(), value)).collect()
    }

    /// The value of a parameter that may stand once.
    pub(crate) fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Problem::parameter(name, "repeated", "this parameter stands once at most")),
        }
    }

    /// The same, read as `T`; `expected` says what it takes.
    pub(crate) fn parsed<T: FromStr>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        self.read(name, expected, |text| text.parse().ok())
    }

    /// The same, read by `read`.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        match read(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(Problem::parameter(name, "invalid_value", expected)),
        }
    }

    /// Whether nothing is left.
    ///
    /// # Errors
    /// 400 that names every unknown parameter.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let errors: Vec<_> = self
            .0
            .iter()
            .take(UNKNOWN_TOLD_MAX)
            .map(|(name, _)| {
                let name: String = name.chars().take(64).collect();
                serde_json::json!({"parameter": name, "code": "unknown",
                    "detail": "there is no such parameter here"})
            })
            .collect();
        Err(Problem::new(ProblemKind::InvalidQuery, "unknown query parameter")
            .with_member("errors", &errors))
    }
}

/// Unknown parameters named in one problem at most.
const UNKNOWN_TOLD_MAX: usize = 20;
