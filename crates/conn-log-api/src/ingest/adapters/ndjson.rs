//! NDJSON: one event per line. Empty lines are skipped; a truncated last line is that line's fault.
//!
//! A byte order mark is skipped at the start of every line, and not of the first alone: files that
//! have one are sent one after the other.

use conn_log_core::without_byte_order_mark;

use super::nesting::nests_little;
use super::{Checker, Hold};
use crate::ingest::submitted::{BodyFault, Submitted};

/// The lines of a body. Most of its bytes are looked at here alone, so that a search of many bytes at
/// once pays.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut begin = 0;
    memchr::memchr_iter(b'\n', body).chain([body.len()]).map(move |end| {
        let line = &body[begin..end];
        begin = end + 1;
        line
    })
}

pub(super) fn read(
    body: &[u8],
    checker: &Checker<'_>,
    hold: Hold<'_>,
) -> Result<Submitted, BodyFault> {
    lines(body).try_for_each(nests_little)?;
    let lines = lines(body).map(without_byte_order_mark).zip(1..);
    let lines = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    let items = lines
        .map(|(line, number)| checker.item(Some(number), line.strip_suffix(b"\r").unwrap_or(line)));
    checker.batch(items, hold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_a_line_more_than_ends_of_lines() {
        for body in ["", "\n", "a", "a\n", "a\nb", "\n\na\r\n\nb\n\n"] {
            let expected: Vec<&str> = body.split('\n').collect();
            let found: Vec<&[u8]> = lines(body.as_bytes()).collect();
            assert_eq!(found, expected.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
        }
    }
}
