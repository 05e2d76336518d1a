//! Marks: events that begin, suspend or end sessions, by session key. Nothing here does I/O.

use conn_log_core::Timestamp;
use foldhash::HashMap;

use crate::derive::facts::{Fact, Step, TimePosition};

/// The key that groups events into sessions: device and application, and the session id if there is
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    pub(super) device: i32,
    pub(super) application: i32,
    pub(super) session_id: Option<&'a str>,
}

/// An event that sessions depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(super) position: TimePosition,
    pub(super) step: Step,
    pub(super) status: i32,
    pub(super) duration: Option<f64>,
}

impl Mark {
    /// The mark of an event. A failed event is no mark, unless it is an end.
    fn of(fact: &Fact) -> Option<Self> {
        let step = fact.step.filter(|step| fact.is_success || *step == Step::Terminated)?;
        let (status, duration) = (fact.status, fact.duration);
        Some(Mark { position: fact.position(), step, status, duration })
    }
}

/// The new events of a batch for one key.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) marks: Vec<Mark>,
    /// The timestamps of marks and all other events, in order; empty without a session timeout.
    pub(super) times: Vec<Timestamp>,
    /// The latest timestamp of marks and all other events.
    pub(super) last_at: Timestamp,
    /// The id of the first event.
    pub(super) first_event: i64,
}

/// The new events of each key. `has_timeout` if sessions can time out.
pub(super) fn news_of(facts: &[Fact], has_timeout: bool) -> HashMap<Key<'_>, News> {
    let mut by_key: HashMap<Key<'_>, News> = HashMap::default();
    for fact in facts {
        let key = Key {
            device: fact.device,
            application: fact.application,
            session_id: fact.session_id.as_deref(),
        };
        let nothing = || News {
            marks: Vec::new(),
            times: Vec::new(),
            last_at: fact.timestamp,
            first_event: fact.id,
        };
        let news = by_key.entry(key).or_insert_with(nothing);
        news.last_at = news.last_at.max(fact.timestamp);
        news.first_event = news.first_event.min(fact.id);
        news.marks.extend(Mark::of(fact));
        if has_timeout {
            news.times.push(fact.timestamp);
        }
    }
    for news in by_key.values_mut() {
        news.times.sort_unstable();
    }
    by_key
}
