//! Administration of a log: its tokens. For callers with the scope `admin`.

pub(crate) mod tokens;
