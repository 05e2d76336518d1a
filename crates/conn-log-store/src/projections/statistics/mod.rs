//! Statistics: counts, distinct devices and percentiles, kept in rollups of several levels.
//!
//! A [`tally::Tally`] is what is known of some events; two of them add up to one. A rollup
//! ([`cells`]) is a row of tallies, one for each of the finer parts of a span of time of an
//! application or device. A question ([`query`]) adds up the rollups of the coarsest level that
//! can answer it, the events at its edges, and those that no rollup has yet. Only [`rows`] and
//! [`query`] do I/O.

pub(super) mod cells;
pub(super) mod codec;
pub(super) mod figures;
pub(super) mod groups;
pub(super) mod query;
pub(super) mod rows;
pub(super) mod spread;
pub(super) mod tally;
