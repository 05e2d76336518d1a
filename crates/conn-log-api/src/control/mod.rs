//! What a log is run by: its tokens. For callers with the scope `admin`.

pub(crate) mod tokens;
