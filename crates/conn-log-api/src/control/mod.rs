//! Administration of a log: its tokens and its rules. For callers with the scope `admin`.

pub(crate) mod rules;
pub(crate) mod tokens;
