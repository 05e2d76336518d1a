//! A simulated week of a fleet of devices, and incidents to plant in it: for demonstrations, and for
//! the test that the starter rules raise nothing in a normal week and each incident once.
//!
//! The same [`Week`] always has the same events. Nothing here does I/O or reads a clock.

mod dice;
mod incidents;
mod week;

pub use incidents::Incident;
pub use week::Week;
