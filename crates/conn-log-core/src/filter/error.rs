//! Errors in filters.

/// An error in one filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {detail}")]
pub struct FilterError {
    /// The filter's name, such as `since`; `metadata` for every filter on metadata; empty for a
    /// whole JSON filter.
    pub parameter: String,
    /// The code, for programs.
    pub code: FilterErrorCode,
    /// A description, for people.
    pub detail: String,
}

impl FilterError {
    pub(super) fn new(
        parameter: &str,
        code: FilterErrorCode,
        detail: impl Into<String>,
    ) -> FilterError {
        FilterError { parameter: parameter.to_owned(), code, detail: detail.into() }
    }
}

/// The stable name of an error in a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterErrorCode {
    /// More values than a query may have.
    TooMany,
    /// A value that the filter does not accept.
    InvalidValue,
    /// A second value of a filter that accepts only one.
    Repeated,
    /// No filter has this name.
    Unknown,
    /// A JSON type that the filter does not accept.
    WrongType,
}

impl FilterErrorCode {
    /// The name in answers to clients.
    pub fn as_str(self) -> &'static str {
        match self {
            FilterErrorCode::TooMany => "too_many",
            FilterErrorCode::InvalidValue => "invalid_value",
            FilterErrorCode::Repeated => "repeated",
            FilterErrorCode::Unknown => "unknown",
            FilterErrorCode::WrongType => "wrong_type",
        }
    }
}
