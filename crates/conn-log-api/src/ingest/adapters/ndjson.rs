//! NDJSON: one event per line. Empty lines are skipped; a truncated last line is that line's fault.
//!
//! A byte order mark is skipped at the start of every line, and not of the first alone: files that
//! have one are sent one after the other.

use conn_log_core::without_byte_order_mark;

use super::nesting::nests_little;
use super::{Checker, Hold};
use crate::ingest::submitted::{BodyFault, Submitted};

pub(super) fn read(
    body: &[u8],
    checker: &Checker<'_>,
    hold: Hold<'_>,
) -> Result<Submitted, BodyFault> {
    body.split(|byte| *byte == b'\n').try_for_each(nests_little)?;
    let lines = body.split(|byte| *byte == b'\n').map(without_byte_order_mark).zip(1..);
    let lines = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    let items = lines
        .map(|(line, number)| checker.item(Some(number), line.strip_suffix(b"\r").unwrap_or(line)));
    checker.batch(items, hold)
}
