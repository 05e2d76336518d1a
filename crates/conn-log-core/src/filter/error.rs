//! Why a filter cannot be taken.

/// What is wrong with one filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {detail}")]
pub struct FilterError {
    /// The filter's name, such as `since`; `metadata` for every filter on metadata; empty for the
    /// whole of a JSON filter.
    pub parameter: String,
    /// What, for programs.
    pub code: FilterErrorCode,
    /// What, for people.
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

/// The stable name of what is wrong with a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterErrorCode {
    /// More values than a query may have.
    TooMany,
    /// A value that the filter does not take.
    InvalidValue,
    /// A second value of a filter that takes one.
    Repeated,
    /// No filter has this name.
    Unknown,
    /// Another JSON type than the filter's own.
    WrongType,
}

impl FilterErrorCode {
    /// The name as clients see it.
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
