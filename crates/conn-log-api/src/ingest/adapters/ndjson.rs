//! NDJSON: one event per line. Empty lines are skipped; a truncated last line is that line's fault.

use super::nesting::nests_little;
use super::{Checker, Hold};
use crate::ingest::submitted::{BodyFault, Submitted};

pub(super) fn read(
    body: &[u8],
    checker: &Checker<'_>,
    hold: Hold<'_>,
) -> Result<Submitted, BodyFault> {
    body.split(|byte| *byte == b'\n').try_for_each(nests_little)?;
    let lines = body.split(|byte| *byte == b'\n').zip(1..);
    let lines = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    let items = lines
        .map(|(line, number)| checker.item(Some(number), line.strip_suffix(b"\r").unwrap_or(line)));
    checker.batch(items, hold)
}
