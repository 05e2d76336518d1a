//! Presence of devices and applications.

pub(crate) mod applications;
pub(crate) mod devices;
