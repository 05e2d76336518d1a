//! The number of a tenant.

/// A tenant's number. Every question to a log has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub i32);

impl TenantId {
    /// The tenant `default`, which exists from the start.
    pub const DEFAULT: TenantId = TenantId(1);
}
