//! Query parameters: every one is known, or the request is refused.

use std::str::FromStr;

use actix_web::HttpRequest;
use percent_encoding::percent_decode;

use crate::problem::{Problem, ProblemKind};

/// The parameters of one request, taken out one by one. What is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct QueryString(Vec<(String, String)>);

impl QueryString {
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let pairs = pairs(request.query_string().as_bytes())
            .map_err(|fault| Problem::new(ProblemKind::InvalidQuery, fault))?;
        Ok(QueryString(pairs))
    }

    /// Every value of a repeatable parameter.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(n, _)| n == name).map(|(_, value)| value).collect()
    }

    /// The parameters that are left, for other code to take out what it knows.
    pub(crate) fn pairs(&mut self) -> &mut Vec<(String, String)> {
        &mut self.0
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

/// The pairs of a text in the form of `application/x-www-form-urlencoded`. What that form's own rules
/// would mend, a stray percent sign or bytes that are not UTF-8, is a fault: mended, two different
/// names could come out the same.
pub(crate) fn pairs(text: &[u8]) -> Result<Vec<(String, String)>, String> {
    let is_escape = |rest: &[u8]| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit);
    if !text.split(|byte| *byte == b'%').skip(1).all(is_escape) {
        return Err("a % is not followed by two hexadecimal digits".to_owned());
    }
    if percent_decode(text).decode_utf8().is_err() {
        return Err("not UTF-8".to_owned());
    }
    serde_urlencoded::from_bytes(text).map_err(|error| error.to_string())
}

/// Unknown parameters named in one problem at most.
const UNKNOWN_TOLD_MAX: usize = 20;
