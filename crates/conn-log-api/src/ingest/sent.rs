//! Events as they were sent, for those that are refused and kept.

use std::borrow::Cow;
use std::cell::Cell;

use conn_log_core::EventPolicy;

/// Bytes that are kept of an event: as many as its metadata may have.
const SENT_BYTES_MAX: usize = 16 << 10;

/// Bytes kept for a request's events that the store may still refuse. An event beyond it keeps its
/// beginning only: few events are refused by the store, and all of them wait in memory.
const REFUSABLE_BYTES_MAX: usize = 16 << 20;

/// Bytes kept of an event beyond that: enough to see which one it is.
const BEGINNING_BYTES: usize = 256;

/// Which events of a request are kept as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// None.
    Nothing,
    /// Those that are refused, or that the store may refuse: the events with an `event_id`.
    Refusable,
    /// All: one event that is refused keeps all others out of the log.
    All,
}

/// An event as sent, redacted and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) body: Vec<u8>,
    /// Whether it is only the beginning.
    pub(crate) is_truncated: bool,
}

impl Sent {
    /// The bytes that are kept of an event.
    pub(crate) fn of(bytes: &[u8], policy: &EventPolicy) -> Self {
        Sent::cut(bytes, SENT_BYTES_MAX, policy)
    }

    fn cut(bytes: &[u8], bytes_max: usize, policy: &EventPolicy) -> Self {
        let end = bytes.len().min(bytes_max);
        let kept = match std::str::from_utf8(bytes) {
            Ok(text) => &bytes[..text.floor_char_boundary(end)],
            Err(_) => &bytes[..end],
        };
        let text = String::from_utf8_lossy(kept);
        let mut body = match policy.redact(&text) {
            // Bytes that are no text are kept as they are.
            Cow::Borrowed(_) => kept.to_vec(),
            Cow::Owned(redacted) => redacted.into_bytes(),
        };
        let mut is_truncated = kept.len() < bytes.len();
        if body.len() > bytes_max {
            let end = String::from_utf8_lossy(&body).floor_char_boundary(bytes_max);
            body.truncate(end);
            is_truncated = true;
        }
        Sent { body, is_truncated }
    }
}

/// The room that is left for a request's events that the store may refuse.
#[derive(Debug)]
pub(crate) struct Budget(Cell<usize>);

impl Budget {
    pub(crate) fn new() -> Self {
        Budget(Cell::new(REFUSABLE_BYTES_MAX))
    }

    /// The bytes that are kept of an event that the store may refuse.
    pub(crate) fn keep(&self, bytes: &[u8], policy: &EventPolicy) -> Sent {
        let bytes_max = if bytes.len() <= self.0.get() { SENT_BYTES_MAX } else { BEGINNING_BYTES };
        let sent = Sent::cut(bytes, bytes_max, policy);
        self.0.set(self.0.get().saturating_sub(sent.body.len()));
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(bytes: &[u8]) -> Sent {
        Sent::of(bytes, &EventPolicy::default())
    }

    #[test]
    fn what_is_short_is_kept_to_the_byte() {
        for bytes in [&b"{ \"a\": 1 }"[..], b"\xff\0", "gerät".as_bytes(), b""] {
            assert_eq!(sent(bytes), Sent { body: bytes.to_vec(), is_truncated: false });
        }
    }

    #[test]
    fn what_is_long_is_cut_between_two_characters() {
        let text = format!("a{}", "ä".repeat(10_000));
        let kept = sent(text.as_bytes());
        assert!(kept.is_truncated);
        assert_eq!(kept.body, text.as_bytes()[..SENT_BYTES_MAX - 1]);
    }

    #[test]
    fn what_redaction_makes_longer_is_cut_too() {
        let text = r#""pin":1,"#.repeat(2_000);
        let kept = sent(text.as_bytes());
        assert!(kept.is_truncated && kept.body.len() <= SENT_BYTES_MAX);
        assert!(!String::from_utf8(kept.body).unwrap().contains(":1"));
    }

    #[test]
    fn a_secret_in_bytes_that_are_no_text_is_redacted() {
        let kept = sent(b"{\"password\":\"\xffhunter2\"}");
        assert!(!String::from_utf8_lossy(&kept.body).contains("hunter2"));
    }

    #[test]
    fn beyond_the_budget_the_beginning_is_kept() {
        let (budget, policy) = (Budget::new(), EventPolicy::default());
        let event = vec![b'a'; SENT_BYTES_MAX];
        for _ in 0..REFUSABLE_BYTES_MAX / SENT_BYTES_MAX {
            assert!(!budget.keep(&event, &policy).is_truncated);
        }
        assert_eq!(budget.keep(&event, &policy).body.len(), BEGINNING_BYTES);
    }
}
